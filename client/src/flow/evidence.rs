//! Evidence: what attesters say about an image now, and whether it counts.
//!
//! What counts is listed in the current document of a role that may speak for that name, has the listed
//! digest, is signed by a key of that very role, and is about the image. Everything else is shown and
//! counts for nothing.

use std::collections::{BTreeMap, BTreeSet};

use bulla_keys_schema::attest::{
    Attestation, AttestationPath, Envelope, InvalidAttestation, InvalidEnvelope, Kind,
};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::{Fingerprint, PublicKey};
use bulla_keys_schema::limits;
use bulla_keys_schema::metadata::{DelegatedRole, TargetInfo, Targets};
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::{ChainError, Verified};
use bytes::Bytes;

use crate::flow::layout::{Signers, attests};
use crate::flow::refresh::RefreshError;
use crate::flow::sign::role_name;
use crate::flow::vouching::Repository;

/// Entries of one role about one image that are looked into. `bulla attest` leaves fewer.
const LOOKED_INTO: usize = 64;

/// Everything that is attested of an image, the newest first.
#[derive(Debug, Default)]
pub struct Evidence {
    /// What is listed, whether it counts or not.
    pub found: Vec<Found>,
    /// Roles that say nothing any more, because their document or their right has expired.
    pub silent: Vec<(RoleName, ChainError)>,
}

/// One entry of one role.
#[derive(Debug)]
pub struct Found {
    /// The role that lists it.
    pub role: RoleName,
    /// Its name.
    pub name: String,
    /// The image that it is listed for.
    pub subject: Sha256Digest,
    /// What kind it is listed as; nothing if its name is not well formed.
    pub kind: Option<Kind>,
    /// The digest of the envelope.
    pub digest: Option<Sha256Digest>,
    /// The length of the envelope, in bytes.
    pub length: u64,
    /// When it was signed, in the words of whoever did.
    pub signed_at: Option<UtcTime>,
    /// Until when the document that lists it can be used.
    pub expires: UtcTime,
    /// What it says, if it counts.
    pub standing: Result<Sound, Unsound>,
}

/// An attestation that counts.
#[derive(Debug)]
pub struct Sound {
    /// What it says.
    pub attestation: Attestation,
    /// The keys of the role that signed the envelope.
    pub signed_by: BTreeSet<Fingerprint>,
    /// The envelope, as it is kept.
    pub envelope: Envelope,
}

/// Reads what is attested of one of `images`: an image, and those that it consists of, if it is an index.
/// What was read before comes from the cache.
///
/// # Errors
/// A role cannot be had or trusted, for another reason than its age, or the bytes of an entry cannot be
/// asked for.
pub async fn evidence(
    repository: &Repository<'_>,
    images: &[Sha256Digest],
) -> Result<Evidence, RefreshError> {
    let mut evidence = Evidence::default();
    let Some(signers) = Signers::of(repository.targets()) else { return Ok(evidence) };
    for role in signers.all().filter(|role| attests(role)).take(limits::VISITED_ROLES) {
        if !repository.has_document(role) {
            continue;
        }
        match repository.role(role).await {
            Err(RefreshError::Chain(error @ (ChainError::Expired { .. } | ChainError::Ended { .. }))) => {
                evidence.silent.push((role_name(role), error));
            }
            document => {
                let speaker = Speaker { repository, role, keys: keys(&signers, role), document: document? };
                for image in images.iter().collect::<BTreeSet<_>>() {
                    evidence.found.extend(speaker.says(*image).await?);
                }
            }
        }
    }
    evidence.found.sort_by(|a, b| (b.signed_at, &a.role, &a.name).cmp(&(a.signed_at, &b.role, &b.name)));
    Ok(evidence)
}

fn keys<'s>(signers: &Signers<'s>, role: &'s DelegatedRole) -> Vec<&'s PublicKey> {
    role.keys.keys(signers.table()).map(|(_, key)| key).collect()
}

/// A role that attests, and what it says now.
struct Speaker<'a> {
    repository: &'a Repository<'a>,
    role: &'a DelegatedRole,
    keys: Vec<&'a PublicKey>,
    document: Verified<Targets>,
}

impl Speaker<'_> {
    async fn says(&self, image: Sha256Digest) -> Result<Vec<Found>, RefreshError> {
        let mut listed = listed(&self.document.payload().targets, image);
        listed.sort_by(|(a, one), (b, other)| (other.signed_at(), a).cmp(&(one.signed_at(), b)));
        let mut found = Vec::new();
        for (at, (name, info)) in listed.into_iter().enumerate() {
            let place = name.parse::<AttestationPath>().ok();
            let standing = match &place {
                None => Err(Unsound::Name),
                Some(_) if at >= LOOKED_INTO => Err(Unsound::TooMany),
                Some(place) => self.judge(place, info).await?,
            };
            found.push(Found {
                role: role_name(self.role),
                name: name.clone(),
                subject: image,
                kind: place.map(|place| place.kind),
                digest: info.hashes.as_sha256(),
                length: info.length,
                signed_at: info.signed_at(),
                expires: self.document.expires(),
                standing,
            });
        }
        Ok(found)
    }

    async fn judge(
        &self,
        place: &AttestationPath,
        info: &TargetInfo,
    ) -> Result<Result<Sound, Unsound>, RefreshError> {
        let path = place.to_target_path();
        let Some(digest) = info.hashes.as_sha256().filter(|digest| place.is_of(*digest)) else {
            return Ok(Err(Unsound::Name));
        };
        if !self.role.scope.matches(&path) {
            return Ok(Err(Unsound::Scope));
        }
        if self.repository.require_not_denied(&info.hashes).is_err() {
            return Ok(Err(Unsound::Denied));
        }
        let bytes = match usize::try_from(info.length) {
            Ok(length) if length <= limits::ENVELOPE_BYTES => {
                self.repository.session().target(&path, digest, length).await?
            }
            _ => return Ok(Err(Unsound::TooLarge { bytes: info.length })),
        };
        Ok(match bytes.filter(|bytes| is_listed(bytes, info)) {
            None => Err(Unsound::Missing),
            Some(bytes) => self.open(place, bytes),
        })
    }

    fn open(&self, place: &AttestationPath, bytes: Bytes) -> Result<Sound, Unsound> {
        let envelope = Envelope::parse(bytes)?;
        let (attestation, signed_by) = Attestation::open(&envelope, self.keys.iter().copied())?;
        if !attestation.is_of(&place.subject) {
            return Err(Unsound::OtherImage);
        }
        if attestation.kind != place.kind {
            return Err(Unsound::OtherKind { found: attestation.kind });
        }
        Ok(Sound { attestation, signed_by, envelope })
    }
}

/// What is listed for `image`, well formed or not: the digest stands in front of the name, and names are
/// in order.
fn listed(targets: &BTreeMap<String, TargetInfo>, image: Sha256Digest) -> Vec<(&String, &TargetInfo)> {
    let beginning = AttestationPath::beginning(image);
    let from = targets.range(beginning.clone()..);
    from.take_while(|(name, _)| name.starts_with(&beginning)).collect()
}

fn is_listed(bytes: &Bytes, info: &TargetInfo) -> bool {
    u64::try_from(bytes.len()) == Ok(info.length) && info.hashes.match_bytes(bytes)
}

/// Why an entry does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsound {
    /// The digest of the envelope is on the deny list.
    #[error("it was revoked")]
    Denied,
    /// Not an envelope.
    #[error(transparent)]
    Envelope(#[from] InvalidEnvelope),
    /// Not signed by a key of the role, or not readable.
    #[error(transparent)]
    Attestation(#[from] InvalidAttestation),
    /// Nobody has the bytes.
    #[error("nobody has the bytes that are listed")]
    Missing,
    /// The name does not say what an attestation's says.
    #[error("it is not listed under the name of an attestation")]
    Name,
    /// The statement is about other images.
    #[error("the statement is about another image")]
    OtherImage,
    /// The statement says something of another kind than its name.
    #[error("it is of the kind {found}, which its name does not say")]
    OtherKind {
        /// Its kind.
        found: Kind,
    },
    /// The role may not speak for that name.
    #[error("the role may not list that name")]
    Scope,
    /// Larger than an envelope may be.
    #[error("it has {bytes} bytes, more than {}", limits::ENVELOPE_BYTES)]
    TooLarge {
        /// Its length.
        bytes: u64,
    },
    /// There are too many entries, and this is one of the oldest.
    #[error("the role lists more than {LOOKED_INTO} for one image, and this is one of the oldest")]
    TooMany,
}
