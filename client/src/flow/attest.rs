//! Attest: find out which image a report is of, sign what it says, list the envelope in the attester's
//! role and publish both at once; then put it beside the image, for those who look there.

pub mod only;
mod subject;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use bulla_keys_schema::attest::{
    Attestation, AttestationPath, Envelope, IN_TOTO, InvalidPredicate, Predicate,
};
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::json::{Json, Object};
use bulla_keys_schema::key::{self, PublicKey};
use bulla_keys_schema::metadata::{DelegatedRole, TargetInfo, Targets};
use bulla_keys_schema::names::{ImageRef, RoleName, SignerName, TargetPath};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::CurrentState;

use crate::flow::Ports;
use crate::flow::cosign::write::{self, WriteFailure, Written};
use crate::flow::layout::{Authority, Signers};
use crate::flow::publish::{self, Edit, Footing, How, PublishError, Published};
use crate::flow::refresh::Purpose;
use crate::flow::sign::{self, Listing, authority, choose_signer, role_name};
use crate::flow::signing::{KeyRing, TooFewKeys};
use crate::port::RegistryError;
use subject::{Question, Subject};

/// Our member of `custom`: the image that an envelope is about. For lists only; the envelope decides.
const SUBJECT: &str = "x_bulla_subject";
/// Our member of `custom`: the type of what it says. For lists only.
const PREDICATE_TYPE: &str = "x_bulla_predicate_type";

/// What to attest, and as whom.
#[derive(Clone, Debug)]
pub struct Request {
    /// The image, by tag or digest.
    pub image: ImageRef,
    /// Size of the manifest in bytes. With it and a digest, no registry is asked.
    pub size: Option<u64>,
    /// What is said of it.
    pub predicate: Predicate,
    /// Take a report that names no image.
    pub unbound: bool,
    /// The attester, where this home holds keys of several.
    pub signer: Option<SignerName>,
    /// How many of this kind the attester lists for the image from then on; older ones go.
    pub keep: NonZeroUsize,
    /// Put it beside the image as well. Not where no registry is asked.
    pub in_registry: bool,
    /// What to do with the change.
    pub how: How,
}

/// What was attested.
#[derive(Clone, Debug)]
pub struct Attested {
    /// The image.
    pub subject: Sha256Digest,
    /// What everybody reads in it.
    pub attestation: Attestation,
    /// The role that lists it.
    pub role: RoleName,
    /// Where the envelope is listed; nothing in a dry run, where nothing is signed.
    pub path: Option<AttestationPath>,
    /// The digest of the envelope; nothing in a dry run.
    pub digest: Option<Sha256Digest>,
    /// What is listed no more.
    pub dropped: Vec<String>,
    /// The documents and keys.
    pub published: Published,
    /// What is in the registry now.
    pub in_registry: Vec<Written>,
}

/// Attests.
///
/// # Errors
/// See [`AttestError`].
pub async fn attest(ports: Ports<'_>, request: &Request) -> Result<Attested, AttestError> {
    let repository = request.image.repository();
    let Request { image, size, predicate, unbound, .. } = request;
    let question = Question { image, size: *size, predicate, unbound: *unbound };
    let subject = subject::find(ports, question).await?;
    let (payload, attestation) = request.predicate.statement(repository.as_str(), subject.digest)?;
    let state = publish::current_state(Purpose::Change, ports, repository).await?;
    let is_legacy = state.root().dialect() == Dialect::Notary1;
    if is_legacy && subject.descriptor.is_none() {
        return Err(AttestError::LegacyWithoutRegistry);
    }
    let mut ring = KeyRing::load(ports).map_err(PublishError::from)?;
    ring.collect(request.how.is_request());
    let attester = Attester::choose(&state, &ring, ports.clock.now(), request, &subject, &attestation)?;
    let keys = ring.choose(&attester.role, &attester.authority, &BTreeSet::new())?;
    ring.collect(false);
    if !request.how.is_dry_run() {
        ring.unlock(&keys.iter().copied().collect()).map_err(PublishError::from)?;
    }
    // One signature: a bundle must not have more. The role's threshold stands behind the listing.
    let signers: Vec<_> = ring.signers(&keys).into_iter().take(1).collect();
    let envelope = Envelope::sign(IN_TOTO, &payload, &signers)?;
    let key = signers.first().map(|signer| signer.public_key().clone());
    let place = AttestationPath::new(subject.digest, attestation.kind, envelope.digest());
    let mut attested = Attested {
        subject: subject.digest,
        path: key.is_some().then(|| place.clone()),
        digest: key.is_some().then(|| envelope.digest()),
        role: attester.role.clone(),
        attestation,
        dropped: vec![],
        published: Published {
            roles: vec![],
            keys: vec![],
            still_expired: vec![],
            done: false,
            request: None,
        },
        in_registry: vec![],
    };
    let there = There { ports, request, subject: &subject, envelope: &envelope, key: key.as_ref() };
    // Whoever keeps the bytes has them before anybody is told of them.
    if is_legacy {
        attested.in_registry =
            there.write(&attested).await.map_err(|failure| AttestError::RegistryFirst(Box::new(failure)))?;
    }
    let entry = Entry {
        place,
        envelope: &envelope,
        key: key.as_ref(),
        keep: request.keep,
        attestation: &attested.attestation,
    };
    let mut dropped = vec![];
    let plan = |state: &CurrentState, ring: &KeyRing<'_>, now: UtcTime| {
        let (edit, gone) = entry.list(state, ring, now, &attester.name)?;
        dropped = gone;
        Ok::<_, AttestError>(edit)
    };
    let (footing, how) = (Footing::default(), request.how.clone());
    let published = publish::publish_with(&mut ring, &footing, ports, repository, how, plan).await?;
    (attested.published, attested.dropped) = (published, dropped);
    if !is_legacy && request.in_registry && attested.published.request.is_none() {
        let written = there.write(&attested).await;
        attested.in_registry = written.map_err(|source| AttestError::NotInRegistry {
            image: ImageRef::pinned(repository, subject.digest),
            source: Box::new(source),
        })?;
    }
    Ok(attested)
}

/// The role that attests.
struct Attester {
    name: SignerName,
    role: RoleName,
    authority: Authority,
}

impl Attester {
    /// The named one, or the only one whose keys are here. The name of the envelope ends in digits that
    /// nobody knows before it is signed: no pattern that makes sense looks at them, and the entry itself
    /// is held against it later.
    fn choose(
        state: &CurrentState,
        ring: &KeyRing<'_>,
        now: UtcTime,
        request: &Request,
        subject: &Subject,
        attestation: &Attestation,
    ) -> Result<Self, AttestError> {
        let path = AttestationPath::new(subject.digest, attestation.kind, subject.digest).to_target_path();
        let signers = Signers::of(state.targets().payload());
        let signers = signers.ok_or_else(|| AttestError::NoAttester { unable: vec![] })?;
        let chosen = choose_signer(&signers, ring, now, &path, request.signer.as_ref());
        let role = chosen.map_err(|error| AttestError::of(error, attestation))?;
        let name = role.name.as_str().parse().map_err(|_| AttestError::NoAttester { unable: vec![] })?;
        Ok(Self { name, role: role_name(role), authority: authority(&signers, role) })
    }
}

/// An envelope on its way into the attester's document.
struct Entry<'a> {
    place: AttestationPath,
    envelope: &'a Envelope,
    /// Who signed it; nobody in a dry run.
    key: Option<&'a PublicKey>,
    keep: NonZeroUsize,
    attestation: &'a Attestation,
}

impl Entry<'_> {
    /// The next document of the attester, and what it lists no more.
    fn list(
        &self,
        state: &CurrentState,
        ring: &KeyRing<'_>,
        now: UtcTime,
        name: &SignerName,
    ) -> Result<(Edit, Vec<String>), AttestError> {
        let path = self.place.to_target_path();
        let signers = Signers::of(state.targets().payload());
        let signers = signers.ok_or_else(|| AttestError::NoAttester { unable: vec![] })?;
        let chosen = choose_signer(&signers, ring, now, &path, Some(name));
        let role = chosen.map_err(|error| AttestError::of(error, self.attestation))?;
        self.require_signed(&signers, role)?;
        let listing = Listing { state, now, entries: &[] };
        let mut edited = listing.delegated(&signers, role)?;
        edited.document.revoked.remove(&path);
        edited.document.targets.insert(path.as_str().to_owned(), self.info(now));
        let dropped = self.drop_old(&mut edited.document, &path);
        // Notary's servers keep no targets.
        let is_kept = state.root().dialect() == Dialect::Tuf1;
        let files = is_kept.then(|| self.envelope.bytes().clone()).into_iter().collect();
        Ok((Edit { documents: vec![edited], files, ..Edit::default() }, dropped))
    }

    /// While others changed the repository, the keys of the role may have become others.
    fn require_signed(&self, signers: &Signers<'_>, role: &DelegatedRole) -> Result<(), AttestError> {
        let Some(key) = self.key else { return Ok(()) };
        let listed = role.keys.fingerprints(signers.table());
        if listed.contains(&key.fingerprint()) {
            return Ok(());
        }
        Err(AttestError::KeysChanged { name: role.name.to_string() })
    }

    fn info(&self, now: UtcTime) -> TargetInfo {
        let length = self.envelope.bytes().len() as u64;
        let mut info = TargetInfo::signed(self.envelope.digest(), length, now);
        if let Some(Json::Object(custom)) = &mut info.custom {
            custom.extend([
                (SUBJECT.to_owned(), Json::from(self.place.subject.to_oci())),
                (PREDICATE_TYPE.to_owned(), Json::from(self.attestation.predicate_type.as_str())),
            ]);
        }
        info
    }

    /// Takes older ones of the same image, kind and type off the list. Nobody misses them, so they
    /// leave no tombstones.
    fn drop_old(&self, document: &mut Targets, new: &TargetPath) -> Vec<String> {
        let AttestationPath { subject, kind, .. } = &self.place;
        let is_alike = |(name, info): &(&String, &TargetInfo)| {
            let place = name.parse::<AttestationPath>();
            place.is_ok_and(|place| place.subject == *subject && place.kind == *kind)
                && hint(info, PREDICATE_TYPE) == Some(self.attestation.predicate_type.as_str())
                && name.as_str() != new.as_str()
        };
        let mut alike: Vec<_> = document.targets.iter().filter(is_alike).collect();
        alike.sort_by_key(|(_, info)| std::cmp::Reverse(info.signed_at()));
        let old = alike.into_iter().skip(self.keep.get() - 1).map(|(name, _)| name.clone());
        let old: Vec<String> = old.collect();
        old.iter().for_each(|name| drop(document.targets.remove(name)));
        old
    }
}

/// A text of ours in `custom`.
fn hint<'a>(info: &'a TargetInfo, name: &str) -> Option<&'a str> {
    info.custom.as_ref().and_then(Json::as_object).and_then(|custom: &Object| custom.get(name)?.as_str())
}

/// The place beside the image, in its registry.
struct There<'a> {
    ports: Ports<'a>,
    request: &'a Request,
    subject: &'a Subject,
    envelope: &'a Envelope,
    key: Option<&'a PublicKey>,
}

impl There<'_> {
    async fn write(&self, attested: &Attested) -> Result<Vec<Written>, WriteFailure> {
        let (Some(descriptor), Some(key)) = (&self.subject.descriptor, self.key) else { return Ok(vec![]) };
        let repository = self.request.image.repository();
        let uri = &attested.attestation.predicate_type;
        let subjects = std::slice::from_ref(descriptor);
        write::write_attestation(self.ports, repository, subjects, self.envelope, uri, key).await
    }
}

impl AttestError {
    /// Who signs tags and who attests is chosen in the same way, and told in other words.
    fn of(error: sign::SignError, attestation: &Attestation) -> Self {
        match error {
            sign::SignError::NoSigner { unable, .. } => Self::NoAttester { unable },
            sign::SignError::OutOfScope { name, .. } => {
                Self::MayNotAttest { name, kind: attestation.kind.to_string() }
            }
            error => Self::Sign(Box::new(error)),
        }
    }
}

/// Why nothing was attested.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// The index lists images in a way that cannot be read.
    #[error("the index lists images without a SHA-256 digest, or too many")]
    Images,
    /// The key that signed the envelope is none of the role any more.
    #[error("the keys of {name} were changed while we signed")]
    KeysChanged {
        /// The role.
        name: String,
    },
    /// The bytes would be nowhere.
    #[error("a legacy repository keeps attestations in the registry, and no registry was asked")]
    LegacyWithoutRegistry,
    /// The role may speak for other names.
    #[error("{name} may not attest anything of the kind {kind}")]
    MayNotAttest {
        /// The role.
        name: String,
        /// The kind.
        kind: String,
    },
    /// No key of this home may attest.
    #[error("no key here may attest anything of this image{}", explain(unable))]
    NoAttester {
        /// What each role in question lacks.
        unable: Vec<TooFewKeys>,
    },
    /// The repository alone is nothing that a report could be of.
    #[error("neither a tag nor a digest is named")]
    NothingNamed,
    /// It is published, but not beside the image.
    #[error("attested {image}, but it is not in the registry: {source}")]
    NotInRegistry {
        /// The image.
        image: String,
        /// Why.
        source: Box<WriteFailure>,
    },
    /// The registry sent other bytes than asked for.
    #[error("the registry sent a manifest with digest sha256:{found}, asked for sha256:{asked}")]
    OtherDigest {
        /// The digest typed.
        asked: Sha256Digest,
        /// The digest of what came.
        found: Sha256Digest,
    },
    /// The report is of another image.
    #[error("the report is not of {image}: it names another image")]
    OtherImage {
        /// The image that was typed.
        image: String,
    },
    /// The report cannot be attested.
    #[error(transparent)]
    Predicate(#[from] InvalidPredicate),
    /// The change could not be made.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The registry gave no manifest.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The registry, which keeps the bytes here, did not take them; nothing was published.
    #[error("nothing was attested: {0}")]
    RegistryFirst(Box<WriteFailure>),
    /// Several images of the index fit.
    #[error("the report is of several images of the index: {}", list(digests))]
    SeveralImages {
        /// Their digests.
        digests: Vec<Sha256Digest>,
    },
    /// Who attests is not clear, or the role has no right to.
    #[error(transparent)]
    Sign(Box<sign::SignError>),
    /// A key could not sign.
    #[error(transparent)]
    SignEnvelope(#[from] key::SignError),
    /// Too few keys of the attester.
    #[error(transparent)]
    TooFewKeys(#[from] TooFewKeys),
    /// The report does not say which image it is of.
    #[error("the report names no image")]
    Unbound,
}

impl From<sign::SignError> for AttestError {
    fn from(error: sign::SignError) -> Self {
        Self::Sign(Box::new(error))
    }
}

fn explain(unable: &[TooFewKeys]) -> String {
    let unable: Vec<String> = unable.iter().map(ToString::to_string).collect();
    if unable.is_empty() { String::new() } else { format!(": {}", unable.join("; ")) }
}

fn list(digests: &[Sha256Digest]) -> String {
    let digests: Vec<String> = digests.iter().map(Sha256Digest::to_oci).collect();
    digests.join(", ")
}
