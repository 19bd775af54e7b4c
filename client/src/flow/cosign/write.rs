//! Signatures and attestations for those who look for them in the registry: cosign, podman,
//! skopeo. In both layouts, with plain keys, and next to whatever others have put there.
//!
//! The trust server stays the authority. What lies in a registry can be deleted, and copied to
//! other names, by whoever may push.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bulla_keys_schema::attest::{Envelope, IN_TOTO};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::{PublicKey, SignError, Signer};
use bulla_keys_schema::names::{RepositoryName, Tag};
use bulla_keys_schema::sigstore::{
    Attached, Bundle, Descriptor, IMAGE_SIGNATURE, INDEX, InvalidBundle, InvalidManifest, MANIFEST,
    SimpleSigning, image_statement,
};
use bytes::Bytes;
use serde_json::Value;

use super::place::{Layer, Referrer};
use crate::flow::Ports;
use crate::port::registry::NotAnIndex;
use crate::port::{EntropyError, Manifest, RegistryError};

/// How often everything is looked through again, because others overwrote it.
const ROUNDS: u32 = 8;
/// How long a rival may take between reading and writing. Ours take as long as we do, roughly.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Images of one index that are signed: each takes a dozen requests.
const CHILDREN: usize = 256;

/// An image that is to be signed in its registry.
#[derive(Clone, Debug)]
pub struct Image {
    /// Where it lies.
    pub repository: RepositoryName,
    /// Its tag, which the signature names.
    pub tag: Option<Tag>,
    /// Its manifests, see [`subjects`].
    pub subjects: Vec<Descriptor>,
    /// What is signed along.
    pub annotations: BTreeMap<String, String>,
}

/// The manifest, and those of the images that it lists if it is an index: whoever pulls one of
/// them looks for its signature, and not for that of the index.
///
/// # Errors
/// An index that cannot be read, or with more images than anybody can sign.
pub fn subjects(manifest: &Manifest) -> Result<Vec<Descriptor>, NotAnIndex> {
    let json: Value = serde_json::from_slice(manifest.bytes()).unwrap_or_default();
    let children = json.get("manifests").and_then(Value::as_array);
    let said = json.get("mediaType").and_then(Value::as_str).or_else(|| manifest.media_type());
    let usual = if children.is_some() { INDEX } else { MANIFEST };
    let own = Descriptor::new(said.unwrap_or(usual), manifest.digest(), manifest.size());
    let mut subjects = vec![own];
    for child in children.into_iter().flatten() {
        let text = |name: &str| child.get(name).and_then(Value::as_str);
        let digest = text("digest").and_then(|text| Sha256Digest::parse_oci(text).ok()).ok_or(NotAnIndex)?;
        let size = child.get("size").and_then(Value::as_u64).ok_or(NotAnIndex)?;
        if subjects.iter().all(|known| known.digest != digest) {
            subjects.push(Descriptor::new(text("mediaType").unwrap_or(MANIFEST), digest, size));
        }
    }
    if subjects.len() > CHILDREN + 1 { Err(NotAnIndex) } else { Ok(subjects) }
}

/// Something that is in the registry, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The manifest that it is about.
    pub subject: Sha256Digest,
    /// What it is.
    pub kind: Kind,
    /// The tag at which it lies, or the digest of its manifest; none in a dry run.
    pub place: Option<String>,
    /// It was not there before.
    pub is_new: bool,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A layer of the `.sig` manifest.
    Signature,
    /// A layer of the `.att` manifest.
    Attestation,
    /// A Sigstore bundle that refers to the image.
    Bundle,
}

impl Kind {
    /// Its name in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Attestation => "attestation",
            Self::Bundle => "bundle",
        }
    }
}

impl Image {
    /// What the signatures name: `repository:tag`, which podman's usual policy wants.
    #[must_use]
    pub fn reference(&self) -> String {
        match &self.tag {
            Some(tag) => format!("{}:{tag}", self.repository),
            None => self.repository.to_string(),
        }
    }

    /// What [`Self::sign`] would write for each of so many keys, if nothing of it is there.
    #[must_use]
    pub fn plan(&self, keys: usize) -> Vec<Written> {
        let each = self.subjects.iter().flat_map(|subject| {
            let written = |kind| Written { subject: subject.digest, kind, place: None, is_new: true };
            [written(Kind::Signature), written(Kind::Bundle)]
        });
        each.flat_map(|written| std::iter::repeat_n(written, keys)).collect()
    }

    /// Signs every manifest with every key, in both layouts. What is there already is left alone.
    ///
    /// # Errors
    /// See [`WriteFailure`]. Everything can be repeated.
    pub async fn sign(
        &self,
        ports: Ports<'_>,
        signers: &[&dyn Signer],
    ) -> Result<Vec<Written>, WriteFailure> {
        let items = self.items(ports, signers).map_err(|error| WriteFailure { written: vec![], error })?;
        write(ports, &self.repository, items).await
    }

    fn items(&self, ports: Ports<'_>, signers: &[&dyn Signer]) -> Result<Vec<Item>, WriteError> {
        let mut items = Vec::new();
        for subject in &self.subjects {
            let payload: Bytes =
                SimpleSigning::new(&self.reference(), subject.digest, &self.annotations).to_bytes().into();
            let statement = image_statement(subject.digest, &self.annotations);
            for signer in signers {
                let (key, signature) = (signer.public_key(), signer.sign(&payload)?);
                items.push(Item::Layer(Box::new(Layer::signature(
                    subject.digest,
                    payload.clone(),
                    &signature,
                    key,
                ))));
                let envelope = Envelope::sign(IN_TOTO, &statement, &[*signer])?;
                items.push(bundle(ports, subject, &envelope, IMAGE_SIGNATURE, key)?);
            }
        }
        Ok(items)
    }
}

/// Puts an attestation next to each of `subjects`, which its statement must be about: as cosign 2
/// and as cosign 3 look for it.
///
/// # Errors
/// See [`WriteFailure`]. Everything can be repeated.
pub async fn write_attestation(
    ports: Ports<'_>,
    repository: &RepositoryName,
    subjects: &[Descriptor],
    envelope: &Envelope,
    predicate_type: &str,
    key: &PublicKey,
) -> Result<Vec<Written>, WriteFailure> {
    let mut items = Vec::new();
    for subject in subjects {
        let layer = Layer::envelope(subject.digest, envelope.bytes().clone(), predicate_type);
        items.push(Item::Layer(Box::new(layer)));
        let bundle = bundle(ports, subject, envelope, predicate_type, key);
        items.push(bundle.map_err(|error| WriteFailure { written: vec![], error })?);
    }
    write(ports, repository, items).await
}

fn bundle(
    ports: Ports<'_>,
    subject: &Descriptor,
    envelope: &Envelope,
    predicate_type: &str,
    key: &PublicKey,
) -> Result<Item, WriteError> {
    let bundle = Bundle::write(envelope, key)?.into();
    Ok(Item::Referrer(Box::new(Referrer::new(subject, bundle, predicate_type, ports.clock.now()))))
}

enum Item {
    Layer(Box<Layer>),
    Referrer(Box<Referrer>),
}

impl Item {
    async fn put(&mut self, ports: Ports<'_>, repository: &RepositoryName) -> Result<bool, WriteError> {
        match self {
            Self::Layer(layer) => layer.put(ports, repository).await,
            Self::Referrer(referrer) => referrer.put(ports, repository).await,
        }
    }

    fn written(&self, is_new: bool) -> Written {
        let (subject, kind, place) = match self {
            Self::Layer(layer) => {
                let kind = match layer.attached {
                    Attached::Signatures => Kind::Signature,
                    Attached::Attestations => Kind::Attestation,
                };
                (layer.subject, kind, layer.tag().to_string())
            }
            Self::Referrer(referrer) => (referrer.subject.digest, Kind::Bundle, referrer.digest().to_oci()),
        };
        Written { subject, kind, place: Some(place), is_new }
    }
}

/// Puts everything there, and looks again after as long as a rival may take to overwrite it, until
/// nothing is missing.
async fn write(
    ports: Ports<'_>,
    repository: &RepositoryName,
    mut items: Vec<Item>,
) -> Result<Vec<Written>, WriteFailure> {
    let mut written: Vec<Written> = Vec::new();
    for round in 0..ROUNDS {
        let mut longest = None;
        for (at, item) in items.iter_mut().enumerate() {
            let began = Instant::now();
            let is_new = match item.put(ports, repository).await {
                Ok(is_new) => is_new,
                Err(error) => return Err(WriteFailure { written, error }),
            };
            if is_new {
                longest = longest.max(Some(began.elapsed()));
            }
            match written.get_mut(at) {
                Some(known) => *known = item.written(known.is_new || is_new),
                None => written.push(item.written(is_new)),
            }
        }
        let Some(longest) = longest else { return Ok(written) };
        if let Err(error) = pause(ports, longest, round).await {
            return Err(WriteFailure { written, error: error.into() });
        }
    }
    let error = WriteError::Overwritten { repository: repository.clone() };
    Err(WriteFailure { written, error })
}

/// Longer and more random each time, so that rivals do not go on in step.
async fn pause(ports: Ports<'_>, longest: Duration, round: u32) -> Result<(), EntropyError> {
    let mut random = [0; 4];
    ports.entropy.fill(&mut random)?;
    let part = f64::from(u32::from_be_bytes(random)) / f64::from(u32::MAX);
    let pause = longest.saturating_mul(2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
    tokio::time::sleep(pause.mul_f64(part.mul_add(f64::from(round.min(4)), 1.0))).await;
    Ok(())
}

/// Not everything is in the registry.
#[derive(Debug, thiserror::Error)]
#[error("{error}{}", also(written))]
pub struct WriteFailure {
    /// What is there.
    pub written: Vec<Written>,
    /// Why the rest is not.
    #[source]
    pub error: WriteError,
}

fn also(written: &[Written]) -> String {
    let places: Vec<&str> = written.iter().filter_map(|written| written.place.as_deref()).collect();
    if places.is_empty() { String::new() } else { format!("; written before: {}", places.join(", ")) }
}

/// Why something could not be written to the registry.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The envelope fits into no bundle.
    #[error(transparent)]
    Bundle(#[from] InvalidBundle),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// Something else lies where it belongs, and is not thrown away.
    #[error("{repository}:{tag} holds something that nothing can be added to: {source}")]
    Occupied {
        /// The repository.
        repository: RepositoryName,
        /// The tag.
        tag: Tag,
        /// What is wrong with it.
        source: InvalidManifest,
    },
    /// Others overwrote it each time.
    #[error("others overwrite the signatures in {repository} each time we write them")]
    Overwritten {
        /// The repository.
        repository: RepositoryName,
    },
    /// The registry did not do it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A key could not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// Others changed it each time.
    #[error("{repository}:{tag} was changed by others each time we tried")]
    TooBusy {
        /// The repository.
        repository: RepositoryName,
        /// The tag.
        tag: Tag,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_signed_with_its_images() {
        let digest = |text: &str| Sha256Digest::of(text.as_bytes()).to_oci();
        let entry = |text: &str| format!(r#"{{"mediaType":"m","digest":"{}","size":7}}"#, digest(text));
        let index = format!(r#"{{"manifests":[{},{},{}]}}"#, entry("a"), entry("b"), entry("a"));
        let found = subjects(&Manifest::new(index.clone().into(), None)).unwrap();
        let digests: Vec<String> = found.iter().map(|subject| subject.digest.to_oci()).collect();
        assert_eq!(digests, [digest(&index), digest("a"), digest("b")], "each once");
        assert_eq!((found[0].media_type.as_str(), found[1].media_type.as_str()), (INDEX, "m"));
        let plain = subjects(&Manifest::new(r#"{"layers":[]}"#.into(), Some("x/y".to_owned()))).unwrap();
        assert_eq!((plain.len(), plain[0].media_type.as_str()), (1, "x/y"));
        for bad in [r#"{"manifests":[{"digest":"sha512:00","size":1}]}"#, r#"{"manifests":[{}]}"#] {
            assert_eq!(subjects(&Manifest::new(bad.into(), None)), Err(NotAnIndex), "{bad}");
        }
    }
}
