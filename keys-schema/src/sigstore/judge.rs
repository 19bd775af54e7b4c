//! What the signatures found beside an image prove.
//!
//! Anybody who may push can put things there, so everything is looked at by itself: one layer or one
//! bundle must be good in every respect, or it proves nothing. What is broken, or somebody else's, is
//! listed with its reason. It hides nothing that is good, and stops nothing.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::bundle::{Bundle, InvalidBundle};
use super::manifest::InvalidManifest;
use super::simple_signing::{InvalidPayload, SimpleSigning};
use super::statement::{IMAGE_SIGNATURE, Said};
use crate::attest::{Attestation, Envelope, IN_TOTO, InvalidAttestation, InvalidEnvelope, InvalidStatement};
use crate::digest::Sha256Digest;
use crate::json::shown;
use crate::key::{Fingerprint, KeyAlgorithm, PublicKey};
use crate::limits::SIMPLE_SIGNING_BYTES;
use crate::names::{RepositoryName, Tag};

/// Where something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A layer of the `.sig` manifest, by the digest of its payload.
    Signature(Sha256Digest),
    /// A layer of the `.att` manifest, by the digest of its envelope.
    Attestation(Sha256Digest),
    /// What refers to the image, by the digest of its manifest.
    Referrer(Sha256Digest),
}

/// What was found there.
#[derive(Clone, Debug)]
pub enum Content {
    /// A payload of simple signing, and the note with its signature.
    Payload {
        /// The payload, as it came.
        bytes: Bytes,
        /// The note.
        signature: Option<String>,
    },
    /// A DSSE envelope.
    Envelope(Bytes),
    /// A bundle.
    Bundle(Bytes),
    /// Something that could not be had, or is known to be none of these.
    Nothing(Reason),
}

/// Something that lies beside an image.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where.
    pub origin: Origin,
    /// What.
    pub content: Content,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Question {
    repository: RepositoryName,
    image: Sha256Digest,
    keys: BTreeMap<Fingerprint, PublicKey>,
    threshold: usize,
    annotations: BTreeMap<String, String>,
    predicate_type: String,
}

impl Question {
    /// Whether `threshold` of `keys` signed the manifest with digest `image`, as one of `repository`.
    ///
    /// # Errors
    /// No key, a key of an algorithm that cosign uses in another way, or a threshold that nothing or
    /// everything meets. One key counts once, in however many files it is.
    pub fn new(
        repository: &RepositoryName,
        image: Sha256Digest,
        keys: &[PublicKey],
        threshold: usize,
    ) -> Result<Self, InvalidQuestion> {
        if let Some(key) = keys.iter().find(|key| key.algorithm() == KeyAlgorithm::RsaPss) {
            return Err(InvalidQuestion::Rsa { key: key.fingerprint() });
        }
        let keys: BTreeMap<_, _> = keys.iter().map(|key| (key.fingerprint(), key.clone())).collect();
        if keys.is_empty() {
            return Err(InvalidQuestion::NoKeys);
        }
        if threshold == 0 || threshold > keys.len() {
            return Err(InvalidQuestion::Threshold { threshold, keys: keys.len() });
        }
        let (repository, annotations) = (repository.clone(), BTreeMap::new());
        let predicate_type = IMAGE_SIGNATURE.to_owned();
        Ok(Self { repository, image, keys, threshold, annotations, predicate_type })
    }

    /// And signed all of these annotations with it.
    #[must_use]
    pub fn with_annotations(mut self, annotations: BTreeMap<String, String>) -> Self {
        self.annotations = annotations;
        self
    }

    /// Not a signature, but an attestation of this type.
    #[must_use]
    pub fn for_attestation(mut self, predicate_type: &str) -> Self {
        predicate_type.clone_into(&mut self.predicate_type);
        self
    }

    /// The same of another manifest: one that an index lists, or the index.
    #[must_use]
    pub fn of(&self, image: Sha256Digest) -> Self {
        Self { image, ..self.clone() }
    }

    /// The manifest that it is about.
    #[must_use]
    pub const fn image(&self) -> Sha256Digest {
        self.image
    }

    /// The repository.
    #[must_use]
    pub const fn repository(&self) -> &RepositoryName {
        &self.repository
    }

    /// How many keys must have signed.
    #[must_use]
    pub const fn threshold(&self) -> usize {
        self.threshold
    }

    /// Whether it is about signatures, and not about attestations.
    #[must_use]
    pub fn is_of_signatures(&self) -> bool {
        self.predicate_type == IMAGE_SIGNATURE
    }

    /// Judges everything that was found for the image.
    #[must_use]
    pub fn judge(&self, found: &[Found]) -> Judgement {
        let mut judgement = Judgement { proofs: Vec::new(), others: Vec::new(), threshold: self.threshold };
        for found in found {
            match self.prove(found) {
                Ok(proof) => judgement.proofs.push(proof),
                Err(reason) => judgement.others.push(Other { origin: found.origin, reason }),
            }
        }
        judgement
    }

    fn prove(&self, found: &Found) -> Result<Proof, Reason> {
        match &found.content {
            Content::Payload { bytes, signature } => self.payload(found.origin, bytes, signature.as_deref()),
            Content::Envelope(bytes) => self.envelope(found.origin, &Envelope::parse(bytes.clone())?),
            Content::Bundle(bytes) => match Bundle::parse(bytes)? {
                Bundle::Envelope(envelope) => self.envelope(found.origin, &envelope),
                Bundle::Certificate => Err(Reason::Certificate),
                Bundle::MessageSignature => Err(Reason::NoStatement),
            },
            Content::Nothing(reason) => Err(reason.clone()),
        }
    }

    fn payload(&self, origin: Origin, bytes: &[u8], signature: Option<&str>) -> Result<Proof, Reason> {
        if !self.is_of_signatures() {
            return Err(Reason::NoStatement);
        }
        if bytes.len() > SIMPLE_SIGNING_BYTES {
            return Err(Reason::TooLarge { bytes: bytes.len() as u64, limit: SIMPLE_SIGNING_BYTES });
        }
        let signature = signature.filter(|text| !text.is_empty()).ok_or(Reason::NoSignature)?;
        let signature = STANDARD.decode(signature).map_err(|_| Reason::NoSignature)?;
        let key = self.keys.values().find(|key| key.verify(bytes, &signature).is_ok());
        let keys = BTreeSet::from([key.ok_or(Reason::OtherKey)?.fingerprint()]);
        let payload = SimpleSigning::parse(bytes)?;
        self.require_image(payload.digest())?;
        if payload.repository().as_ref() != Some(&self.repository) {
            return Err(Reason::OtherRepository { named: shown(payload.reference()) });
        }
        let annotations = payload.annotations();
        self.require_annotations(&annotations)?;
        let reference = Some(shown(payload.reference()));
        Ok(Proof { origin, keys, reference, tag: payload.tag(), annotations })
    }

    fn envelope(&self, origin: Origin, envelope: &Envelope) -> Result<Proof, Reason> {
        let keys = envelope.verify(self.keys.values());
        if keys.is_empty() {
            return Err(Reason::OtherKey);
        }
        if envelope.payload_type() != IN_TOTO {
            return Err(Reason::NoStatement);
        }
        let said = Said::read(envelope.payload(), self.image)?;
        if !said.is_about {
            return Err(Reason::OtherImage { named: None });
        }
        if said.predicate_type != self.predicate_type {
            return Err(Reason::OtherStatement { predicate_type: shown(&said.predicate_type) });
        }
        // Cosign wraps a report that it does not know as one of nothing, and signs that.
        if Attestation::is_read(&said.predicate_type) {
            Attestation::read(envelope.payload())?;
        }
        self.require_annotations(&said.annotations)?;
        Ok(Proof { origin, keys, reference: None, tag: None, annotations: said.annotations })
    }

    fn require_image(&self, named: Sha256Digest) -> Result<(), Reason> {
        if named == self.image { Ok(()) } else { Err(Reason::OtherImage { named: Some(named) }) }
    }

    fn require_annotations(&self, signed: &BTreeMap<String, String>) -> Result<(), Reason> {
        match self.annotations.iter().find(|(name, text)| signed.get(*name) != Some(*text)) {
            Some((name, _)) => Err(Reason::Annotation { name: shown(name) }),
            None => Ok(()),
        }
    }
}

/// What was proven, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What is good in every respect.
    pub proofs: Vec<Proof>,
    /// What proves nothing, and why.
    pub others: Vec<Other>,
    threshold: usize,
}

impl Judgement {
    /// The keys that signed, each once.
    #[must_use]
    pub fn keys(&self) -> BTreeSet<Fingerprint> {
        self.proofs.iter().flat_map(|proof| &proof.keys).copied().collect()
    }

    /// Whether enough keys signed.
    #[must_use]
    pub fn holds(&self) -> bool {
        // A threshold is never 0, so nothing never holds.
        self.keys().len() >= self.threshold
    }

    /// Whether enough keys signed it as what `tag` means, or as whatever. A key that signed it as other
    /// tags alone does not count: bundles name no tag, so one that lies beside such a signature must not
    /// widen it.
    #[must_use]
    pub fn holds_for(&self, tag: &Tag) -> bool {
        let counts = |key: &Fingerprint| {
            let mut named = self.proofs.iter().filter(|proof| proof.keys.contains(key));
            let mut is_named = named.clone().filter_map(|proof| proof.tag.as_ref());
            named.all(|proof| proof.tag.is_none()) || is_named.any(|named| named == tag)
        };
        self.keys().into_iter().filter(counts).count() >= self.threshold
    }

    /// The tags that it was signed as.
    #[must_use]
    pub fn tags(&self) -> BTreeSet<&Tag> {
        self.proofs.iter().filter_map(|proof| proof.tag.as_ref()).collect()
    }

    /// Whether it would hold by what names the repository alone: bundles name none.
    #[must_use]
    pub fn binds_repository(&self) -> bool {
        let naming = self.proofs.iter().filter(|proof| proof.reference.is_some());
        naming.flat_map(|proof| &proof.keys).collect::<BTreeSet<_>>().len() >= self.threshold
    }
}

/// One layer or bundle that is good in every respect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Where it lies.
    pub origin: Origin,
    /// The keys that signed it.
    pub keys: BTreeSet<Fingerprint>,
    /// The reference that it names, if it names one: its repository is the one asked for.
    pub reference: Option<String>,
    /// The tag of that reference, if it names one.
    pub tag: Option<Tag>,
    /// The annotations that are texts.
    pub annotations: BTreeMap<String, String>,
}

/// Something that proves nothing here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Where it lies.
    pub origin: Origin,
    /// Why.
    pub reason: Reason,
}

/// Why something proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Good but for an annotation that was asked for.
    #[error("it is not signed with the annotation {name} that was asked for")]
    Annotation {
        /// Its name.
        name: String,
    },
    /// Of the type that was asked for, by a given key, and it says nothing: its reader refuses it.
    #[error("it says nothing of its type: {0}")]
    Attestation(#[from] InvalidAttestation),
    /// The signer shows a certificate, and no keys were given for those.
    #[error("it is signed with a certificate, which no key given here verifies")]
    Certificate,
    /// No bundle.
    #[error(transparent)]
    Bundle(#[from] InvalidBundle),
    /// No envelope.
    #[error(transparent)]
    Envelope(#[from] InvalidEnvelope),
    /// No manifest, or one that lists too much.
    #[error("its manifest cannot be used: {0}")]
    Manifest(#[from] InvalidManifest),
    /// The registry lists it and does not have it, or has other bytes.
    #[error("the registry does not have what it lists")]
    Missing,
    /// No signature beside the payload, or not in base64.
    #[error("it has no signature")]
    NoSignature,
    /// Nothing that says something about an image.
    #[error("it is no statement about an image")]
    NoStatement,
    /// Of another image. A signature cannot be moved.
    #[error("it is of another image{}", named.map(|digest| format!(", {}", digest.to_oci())).unwrap_or_default())]
    OtherImage {
        /// Which, if it is one.
        named: Option<Sha256Digest>,
    },
    /// No given key has signed it.
    #[error("none of the keys given has signed it")]
    OtherKey,
    /// Neither signature nor bundle by its type.
    #[error("it is of type \"{media_type}\", which is none of ours")]
    OtherKind {
        /// Its type.
        media_type: String,
    },
    /// Made for another repository, and copied here.
    #[error("it is made for \"{named}\", which is another repository")]
    OtherRepository {
        /// The reference that it names.
        named: String,
    },
    /// By a given key, but not what was asked for: a statement that a scan failed is no signature.
    #[error("it is a statement of another type, {predicate_type}")]
    OtherStatement {
        /// The type.
        predicate_type: String,
    },
    /// No payload of simple signing, although a given key signed it.
    #[error("its payload is no signature of an image: {0}")]
    Payload(#[from] InvalidPayload),
    /// No statement, although a given key signed it.
    #[error(transparent)]
    Statement(#[from] InvalidStatement),
    /// Larger than anything of its kind.
    #[error("it has {bytes} bytes, more than {limit}")]
    TooLarge {
        /// How many it has, or says to have.
        bytes: u64,
        /// How many it may have.
        limit: usize,
    },
}

impl Reason {
    /// For what says that it is of this type.
    #[must_use]
    pub fn other_kind(media_type: &str) -> Self {
        Self::OtherKind { media_type: shown(media_type) }
    }
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuestion {
    /// Nobody is trusted.
    #[error("no key is given, so nobody's signature counts")]
    NoKeys,
    /// Cosign pads signatures of RSA keys in the older way.
    #[error("the key {key} is an RSA key, and cosign's signatures with those are not read")]
    Rsa {
        /// The key.
        key: Fingerprint,
    },
    /// Nothing would do, or nothing would ever do.
    #[error("{threshold} of {keys} different keys cannot be asked for")]
    Threshold {
        /// How many must sign.
        threshold: usize,
        /// How many different ones there are.
        keys: usize,
    },
}

#[cfg(test)]
mod tests;
