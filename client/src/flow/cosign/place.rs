//! One thing that is put into a registry next to what others have put there.
//!
//! The tags of cosign's layout, and the index that stands in for a list of referrers, are read,
//! changed and written again. Registries give no way to do that at once that all of them have, so
//! whoever writes at the same time may overwrite us, and we them. Everything is therefore done so
//! that it can be done again: what is there already is left alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::PublicKey;
use bulla_keys_schema::names::{RepositoryName, Tag};
use bulla_keys_schema::sigstore::{
    Attached, BUNDLE, DSSE_ENVELOPE, Descriptor, EMPTY_CONFIG, EMPTY_CONFIG_BYTES, FallbackIndex, INDEX,
    PREDICATE_TYPE, ReferrerManifest, SIGNATURE, SIMPLE_SIGNING, SigManifest,
};
use bulla_keys_schema::time::UtcTime;
use bytes::Bytes;

use super::write::WriteError;
use crate::flow::Ports;
use crate::port::registry::{ManifestPush, Over};
use crate::port::{Manifest, RegistryError, Wanted};

/// How often a tag is read and changed anew because it changed in between.
const TRIES: u32 = 12;

/// A layer of the `.sig` or `.att` manifest of an image.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) attached: Attached,
    pub(super) subject: Sha256Digest,
    blob: Bytes,
    descriptor: Descriptor,
    /// Who signed it, where the layer itself says so.
    key: Option<PublicKey>,
}

impl Layer {
    /// The payload of a signature.
    pub(super) fn signature(
        subject: Sha256Digest,
        payload: Bytes,
        signature: &[u8],
        key: &PublicKey,
    ) -> Self {
        let descriptor = Descriptor::of(SIMPLE_SIGNING, &payload);
        Self {
            attached: Attached::Signatures,
            subject,
            descriptor: descriptor.annotate(SIGNATURE, &STANDARD.encode(signature)),
            blob: payload,
            key: Some(key.clone()),
        }
    }

    /// An envelope. Old readers want a note for the signature, and nothing in it.
    pub(super) fn envelope(subject: Sha256Digest, envelope: Bytes, predicate_type: &str) -> Self {
        let descriptor = Descriptor::of(DSSE_ENVELOPE, &envelope);
        Self {
            attached: Attached::Attestations,
            subject,
            descriptor: descriptor.annotate(SIGNATURE, "").annotate(PREDICATE_TYPE, predicate_type),
            blob: envelope,
            key: None,
        }
    }

    pub(super) fn tag(&self) -> Tag {
        self.attached.tag(self.subject)
    }

    /// Puts it there. Whether it was not there before.
    pub(super) async fn put(
        &self,
        ports: Ports<'_>,
        repository: &RepositoryName,
    ) -> Result<bool, WriteError> {
        let tag = self.tag();
        let occupied =
            |source| WriteError::Occupied { repository: repository.clone(), tag: tag.clone(), source };
        change(ports, repository, &tag, |current| {
            let mut manifest = match current {
                Some(current) => SigManifest::parse(current.bytes()).map_err(occupied)?,
                None => SigManifest::new(),
            };
            if manifest.layers().iter().any(|layer| self.is_same(layer)) {
                return Ok(None);
            }
            manifest.append(self.descriptor.clone()).map_err(occupied)?;
            Ok(Some(Change {
                blobs: vec![self.blob.clone(), manifest.config().into()],
                bytes: manifest.to_bytes().into(),
                media_type: manifest.media_type().to_owned(),
            }))
        })
        .await
    }

    /// The same payload, with a signature of the same key. A key may well sign with other bytes
    /// each time; whatever does not verify is somebody's dirt.
    fn is_same(&self, other: &Descriptor) -> bool {
        if other.digest != self.descriptor.digest || other.media_type != self.descriptor.media_type {
            return false;
        }
        let Some(key) = &self.key else { return true };
        let signature = other.annotations.get(SIGNATURE).and_then(|text| STANDARD.decode(text).ok());
        signature.is_some_and(|signature| key.verify(&self.blob, &signature).is_ok())
    }
}

/// A bundle that refers to an image.
#[derive(Clone, Debug)]
pub(super) struct Referrer {
    pub(super) subject: Descriptor,
    bundle: Bytes,
    manifest: ReferrerManifest,
    /// What is there instead: the same bundle, put there another time.
    found: Option<Descriptor>,
    /// The registry keeps the list of referrers, and said that it lists this one.
    is_listed: bool,
}

impl Referrer {
    pub(super) fn new(subject: &Descriptor, bundle: Bytes, predicate_type: &str, now: UtcTime) -> Self {
        let descriptor = Descriptor::of(BUNDLE, &bundle);
        Self {
            manifest: ReferrerManifest::new(&descriptor, subject, predicate_type, now),
            subject: subject.clone(),
            bundle,
            found: None,
            is_listed: false,
        }
    }

    /// The digest of the manifest that is there in the end.
    pub(super) fn digest(&self) -> Sha256Digest {
        self.found.as_ref().map_or_else(|| self.manifest.entry().digest, |found| found.digest)
    }

    /// Puts it there. Whether it was not there before.
    pub(super) async fn put(
        &mut self,
        ports: Ports<'_>,
        repository: &RepositoryName,
    ) -> Result<bool, WriteError> {
        if self.is_listed {
            return Ok(false);
        }
        let listed = ports.registry.referrers(repository, self.subject.digest).await?;
        let entry = self.found.clone().unwrap_or_else(|| self.manifest.entry());
        if listed.iter().any(|known| known.digest == entry.digest) {
            return Ok(false);
        }
        self.found = self.find(ports, repository, &listed).await?;
        if self.found.is_some() {
            return Ok(false);
        }
        for blob in [self.bundle.clone(), Bytes::from_static(EMPTY_CONFIG_BYTES)] {
            ports.registry.push_blob(repository, blob).await?;
        }
        let push = ManifestPush {
            bytes: Bytes::copy_from_slice(self.manifest.to_bytes()),
            media_type: self.manifest.entry().media_type,
            tag: None,
            over: Over::Anything,
        };
        self.is_listed = ports.registry.push_manifest(repository, &push).await?.lists_subject;
        if !self.is_listed {
            self.list(ports, repository).await?;
        }
        Ok(true)
    }

    /// The manifest of the same bundle among those that refer to the image. Lists name types that
    /// are not true, so every manifest that might be it is opened.
    async fn find(
        &self,
        ports: Ports<'_>,
        repository: &RepositoryName,
        listed: &[Descriptor],
    ) -> Result<Option<Descriptor>, WriteError> {
        let bundle = Sha256Digest::of(&self.bundle);
        let is_candidate = |entry: &&Descriptor| {
            matches!(entry.artifact_type.as_deref(), None | Some("" | BUNDLE | EMPTY_CONFIG))
        };
        for entry in listed.iter().filter(is_candidate) {
            let manifest = match ports.registry.manifest(repository, &Wanted::Digest(entry.digest)).await {
                Ok(manifest) => manifest,
                // What is listed and not there, or not what it should be, is not ours.
                Err(
                    RegistryError::Unknown { .. }
                    | RegistryError::Mismatch { .. }
                    | RegistryError::TooLarge { .. },
                ) => continue,
                Err(error) => return Err(error.into()),
            };
            let Ok(manifest) = ReferrerManifest::parse(manifest.bytes()) else { continue };
            let is_of_image = manifest.subject().is_some_and(|of| of.digest == self.subject.digest);
            if is_of_image && manifest.bundle().is_some_and(|found| found.digest == bundle) {
                return Ok(Some(entry.clone()));
            }
        }
        Ok(None)
    }

    /// Lists it where the registry does not (distribution spec, "Pushing Manifests with Subject").
    async fn list(&self, ports: Ports<'_>, repository: &RepositoryName) -> Result<bool, WriteError> {
        let tag = FallbackIndex::tag(self.subject.digest);
        let occupied =
            |source| WriteError::Occupied { repository: repository.clone(), tag: tag.clone(), source };
        change(ports, repository, &tag, |current| {
            let mut index = match current {
                Some(current) => FallbackIndex::parse(current.bytes()).map_err(occupied)?,
                None => FallbackIndex::new(),
            };
            let is_new = index.append(self.manifest.entry()).map_err(occupied)?;
            let (bytes, media_type) = (index.to_bytes().into(), INDEX.to_owned());
            Ok(is_new.then_some(Change { blobs: vec![], bytes, media_type }))
        })
        .await
    }
}

/// What a tag shall mean, and the blobs that this needs.
struct Change {
    blobs: Vec<Bytes>,
    bytes: Bytes,
    media_type: String,
}

/// Reads what a tag means, and has `edit` say what it shall mean; nothing, if it may stay. Whether
/// it was changed.
async fn change(
    ports: Ports<'_>,
    repository: &RepositoryName,
    tag: &Tag,
    edit: impl Fn(Option<&Manifest>) -> Result<Option<Change>, WriteError> + Sync,
) -> Result<bool, WriteError> {
    let mut refused = None;
    let mut current = read(ports, repository, tag).await?;
    for _ in 0..TRIES {
        let Some(Change { blobs, bytes, media_type }) = edit(current.as_ref())? else { return Ok(false) };
        for blob in blobs {
            ports.registry.push_blob(repository, blob).await?;
        }
        // Uploads take time. The shorter the time between reading and writing, the better.
        let now = read(ports, repository, tag).await?;
        let before = version(current.as_ref());
        if version(now.as_ref()) != before {
            current = now;
            continue;
        }
        let over = if refused == Some(before) { Over::Anything } else { condition(now.as_ref()) };
        let push = ManifestPush { bytes, media_type, tag: Some(tag.clone()), over };
        match ports.registry.push_manifest(repository, &push).await {
            Ok(_) => return Ok(true),
            Err(RegistryError::Changed { .. }) => {
                // One that says so of what has not changed does not know what a condition is.
                refused = Some(before);
                current = read(ports, repository, tag).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(WriteError::TooBusy { repository: repository.clone(), tag: tag.clone() })
}

async fn read(
    ports: Ports<'_>,
    repository: &RepositoryName,
    tag: &Tag,
) -> Result<Option<Manifest>, WriteError> {
    match ports.registry.manifest(repository, &Wanted::Tag(tag.clone())).await {
        Ok(manifest) => Ok(Some(manifest)),
        Err(RegistryError::Unknown { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn version(manifest: Option<&Manifest>) -> Option<Sha256Digest> {
    manifest.map(Manifest::digest)
}

fn condition(current: Option<&Manifest>) -> Over {
    match current {
        None => Over::Nothing,
        Some(manifest) => manifest.entity_tag().map_or(Over::Anything, |tag| Over::Version(tag.to_owned())),
    }
}
