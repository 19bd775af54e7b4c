//! Look: gather what lies beside an image in its registry, in both layouts, and judge nothing.
//!
//! Both are always looked at: a bundle must not hide a signature of the older layout, nor the other
//! way round. What could not be looked at is told apart from what is not there.

use std::collections::{BTreeMap, BTreeSet};

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::limits;
use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::sigstore::{
    Attached, BUNDLE, Content, DSSE_ENVELOPE, EMPTY_CONFIG, Found, MANIFEST, Origin, Question, Reason,
    ReferrerManifest, SIGNATURE, SIMPLE_SIGNING, SigManifest, is_bundle,
};
use bytes::Bytes;

use crate::port::{Descriptor, Registry, RegistryError, Wanted};

/// Bytes that are fetched for one image at most: whoever may push could keep us busy.
const BUDGET: u64 = 256 * 1024 * 1024;

/// What was found, and what could not be looked at.
#[derive(Debug, Default)]
pub struct Looked {
    /// What there is.
    pub found: Vec<Found>,
    /// Why there may be more.
    pub unseen: Vec<RegistryError>,
}

/// Gathers what may answer `question`.
pub async fn look(registry: &dyn Registry, question: &Question) -> Looked {
    let (blobs, judged, looked) = (BTreeMap::new(), BTreeSet::new(), Looked::default());
    let mut eyes = Eyes { registry, question, blobs, judged, left: BUDGET, looked };
    eyes.attached().await;
    eyes.referrers().await;
    eyes.looked
}

struct Eyes<'a> {
    registry: &'a dyn Registry,
    question: &'a Question,
    /// Signatures of several keys are often over one payload. By digest and length: an entry that lies
    /// about the length must not spoil another one of the same bytes.
    blobs: BTreeMap<(Sha256Digest, u64), Result<Bytes, Reason>>,
    /// Envelopes and bundles that are added already: the same one again proves nothing more, and
    /// checking each of a thousand copies would take us hours.
    judged: BTreeSet<Sha256Digest>,
    /// What is left of the bytes that may be fetched.
    left: u64,
    looked: Looked,
}

impl Eyes<'_> {
    const fn repository(&self) -> &RepositoryName {
        self.question.repository()
    }

    /// The manifest at the `.sig` or `.att` tag.
    async fn attached(&mut self) {
        let attached =
            if self.question.is_of_signatures() { Attached::Signatures } else { Attached::Attestations };
        let wanted = Wanted::Tag(attached.tag(self.question.image()));
        let manifest = match self.registry.manifest(self.repository(), &wanted).await {
            Ok(manifest) => manifest,
            Err(RegistryError::Unknown { .. }) => return,
            Err(error) => return self.looked.unseen.push(error),
        };
        let origin = |digest| match attached {
            Attached::Signatures => Origin::Signature(digest),
            Attached::Attestations => Origin::Attestation(digest),
        };
        let manifest_digest = manifest.digest();
        match SigManifest::parse(manifest.bytes()) {
            Err(error) => self.add(origin(manifest_digest), Content::Nothing(error.into())),
            Ok(manifest) => {
                for layer in manifest.layers() {
                    self.layer(origin(layer.digest), attached, layer).await;
                }
                for _ in 0..manifest.unreadable() {
                    let reason = Reason::OtherKind { media_type: String::new() };
                    self.add(origin(manifest_digest), Content::Nothing(reason));
                }
            }
        }
    }

    async fn layer(&mut self, origin: Origin, attached: Attached, layer: &Descriptor) {
        let (media_type, limit) = match attached {
            Attached::Signatures => (SIMPLE_SIGNING, limits::SIMPLE_SIGNING_BYTES),
            Attached::Attestations => (DSSE_ENVELOPE, limits::ENVELOPE_BYTES),
        };
        if layer.media_type != media_type {
            let reason = Reason::other_kind(&layer.media_type);
            return self.add(origin, Content::Nothing(reason));
        }
        let content = match self.blob(layer, limit).await {
            Some(Ok(bytes)) => match attached {
                Attached::Signatures => {
                    Content::Payload { bytes, signature: layer.annotations.get(SIGNATURE).cloned() }
                }
                Attached::Attestations if !self.judged.insert(layer.digest) => return,
                Attached::Attestations => Content::Envelope(bytes),
            },
            Some(Err(reason)) => Content::Nothing(reason),
            None => return,
        };
        self.add(origin, content);
    }

    /// Whatever says that it refers to the image. What is clearly something else, such as a list of
    /// packages, is passed over.
    async fn referrers(&mut self) {
        let listed = match self.registry.referrers(self.repository(), self.question.image()).await {
            Ok(listed) => listed,
            Err(error) => return self.looked.unseen.push(error),
        };
        for entry in listed.iter().filter(|entry| may_be_bundle(entry)) {
            if self.left == 0 {
                return self.looked.unseen.push(self.over_budget());
            }
            self.referrer(entry).await;
        }
    }

    async fn referrer(&mut self, entry: &Descriptor) {
        let origin = Origin::Referrer(entry.digest);
        let manifest = match self.registry.manifest(self.repository(), &Wanted::Digest(entry.digest)).await {
            Ok(manifest) => manifest,
            Err(error) => return self.missing(origin, error),
        };
        self.left = self.left.saturating_sub(manifest.size());
        let bundle = match ReferrerManifest::parse(manifest.bytes()) {
            Ok(manifest) => manifest.bundle().cloned(),
            Err(error) => return self.add(origin, Content::Nothing(error.into())),
        };
        let Some(bundle) = bundle else { return };
        let limit = if self.question.is_of_signatures() {
            limits::SIGNATURE_BUNDLE_BYTES
        } else {
            limits::BUNDLE_BYTES
        };
        match self.blob(&bundle, limit).await {
            Some(Ok(_)) if !self.judged.insert(bundle.digest) => {}
            Some(Ok(bytes)) => self.add(origin, Content::Bundle(bytes)),
            Some(Err(reason)) => self.add(origin, Content::Nothing(reason)),
            None => {}
        }
    }

    /// The bytes behind an entry. `None` where it could not be looked at.
    async fn blob(&mut self, entry: &Descriptor, limit: usize) -> Option<Result<Bytes, Reason>> {
        let place = (entry.digest, entry.size);
        if let Some(known) = self.blobs.get(&place) {
            return Some(known.clone());
        }
        if entry.size > limit as u64 {
            return Some(Err(Reason::TooLarge { bytes: entry.size, limit }));
        }
        let Some(left) = self.left.checked_sub(entry.size) else {
            self.looked.unseen.push(self.over_budget());
            return None;
        };
        self.left = left;
        // No more than the entry says: another size would not fit the budget.
        let size = usize::try_from(entry.size).unwrap_or(limit);
        let fetched = match self.registry.blob(self.repository(), entry.digest, size).await {
            Ok(bytes) => Ok(bytes),
            Err(RegistryError::Unknown { .. } | RegistryError::Mismatch { .. }) => Err(Reason::Missing),
            Err(RegistryError::TooLarge { .. }) => Err(Reason::Missing),
            Err(error) => {
                self.looked.unseen.push(error);
                return None;
            }
        };
        self.blobs.insert(place, fetched.clone());
        Some(fetched)
    }

    fn over_budget(&self) -> RegistryError {
        RegistryError::TooLarge {
            host: self.repository().host().unwrap_or_default().to_owned(),
            reference: format!("the signatures of {}@{}", self.repository(), self.question.image().to_oci()),
            limit: usize::try_from(BUDGET).unwrap_or(usize::MAX),
        }
    }

    fn missing(&mut self, origin: Origin, error: RegistryError) {
        match error {
            RegistryError::Unknown { .. } | RegistryError::Mismatch { .. } => {
                self.add(origin, Content::Nothing(Reason::Missing));
            }
            error => self.looked.unseen.push(error),
        }
    }

    fn add(&mut self, origin: Origin, content: Content) {
        self.looked.found.push(Found { origin, content });
    }
}

/// Whether an entry's types leave it open that it is a bundle. Cosign writes the type of the empty
/// configuration where the type of the artifact belongs.
fn may_be_bundle(entry: &Descriptor) -> bool {
    let is_manifest = entry.media_type == MANIFEST || entry.media_type.is_empty();
    let kind = entry.artifact_type.as_deref().unwrap_or_default();
    is_manifest && (kind.is_empty() || kind == EMPTY_CONFIG || kind == BUNDLE || is_bundle(kind))
}
