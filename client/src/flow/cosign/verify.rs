//! Verify by keys alone: what cosign and podman would be asked, with one answer for both layouts.
//!
//! Such a signature says that somebody had a key and meant these bytes. It says nothing of a tag, of
//! when, and of whether it was taken back: that is what trust metadata is for.

use std::collections::BTreeMap;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::PublicKey;
use bulla_keys_schema::metadata::Platform;
use bulla_keys_schema::names::{ImageRef, RepositoryName, Tag};
use bulla_keys_schema::sigstore::{InvalidQuestion, Judgement, Question};

use super::look::look;
use crate::port::registry::NotAnIndex;
use crate::port::{Manifest, Registry, RegistryError, Wanted};

/// What is asked for of the signatures.
#[derive(Clone, Debug)]
pub struct Request {
    /// The image.
    pub image: ImageRef,
    /// Which image of an index to use.
    pub platform: Option<Platform>,
    /// What must be proven, whatever the image.
    pub terms: Terms,
}

/// What must be proven of an image.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Whose signatures count.
    pub keys: Vec<PublicKey>,
    /// How many of them must have signed.
    pub threshold: usize,
    /// What they must have signed with it.
    pub annotations: BTreeMap<String, String>,
    /// Of what type an attestation must be, where one is asked for and not a signature.
    pub predicate_type: Option<String>,
}

impl Terms {
    /// The question for one manifest.
    ///
    /// # Errors
    /// The keys or the threshold make none.
    pub fn question(
        &self,
        repository: &RepositoryName,
        image: Sha256Digest,
    ) -> Result<Question, InvalidQuestion> {
        let question = Question::new(repository, image, &self.keys, self.threshold)?;
        let question = question.with_annotations(self.annotations.clone());
        Ok(match &self.predicate_type {
            Some(predicate_type) => question.for_attestation(predicate_type),
            None => question,
        })
    }
}

/// What is proven.
#[derive(Clone, Debug)]
pub struct Proven {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag that was looked up, once, to get the digest. No signature names it.
    pub tag: Option<Tag>,
    /// What to pull.
    pub digest: Sha256Digest,
    /// The manifest that is signed: this one, or the index that lists it.
    pub signed: Sha256Digest,
    /// How many keys had to sign.
    pub threshold: usize,
    /// By what.
    pub judgement: Judgement,
    /// Why there may be more beside the image.
    pub unseen: Vec<String>,
}

/// Decides whether the keys signed the image.
///
/// # Errors
/// [`CosignError::NotFound`] and [`CosignError::NotOurs`] are the answer "no"; every other error means
/// that there is none.
pub async fn verify(registry: &dyn Registry, request: &Request) -> Result<Proven, CosignError> {
    let repository = request.image.repository();
    // Before anybody is asked: keys that cannot do are a mistake of the caller.
    request.terms.question(repository, Sha256Digest::from_bytes([0; 32]))?;
    let subject = subject(registry, request).await?;
    let mut refused = None;
    for signed in &subject.manifests {
        match judge(registry, &request.terms, repository, *signed).await {
            Ok((judgement, unseen)) => {
                return Ok(Proven {
                    repository: repository.clone(),
                    tag: request.image.tag().filter(|_| request.image.digest().is_none()).cloned(),
                    digest: subject.digest,
                    signed: *signed,
                    threshold: request.terms.threshold,
                    judgement,
                    unseen,
                });
            }
            // Of an index and its image, the one that was asked for first says why not; unless the
            // other could not be looked at.
            Err(error) => refused = Some(worse(refused, error)),
        }
    }
    Err(refused.unwrap_or(CosignError::Question(InvalidQuestion::NoKeys)))
}

/// Judges one manifest.
///
/// # Errors
/// As for [`verify`].
pub async fn judge(
    registry: &dyn Registry,
    terms: &Terms,
    repository: &RepositoryName,
    image: Sha256Digest,
) -> Result<(Judgement, Vec<String>), CosignError> {
    let question = terms.question(repository, image)?;
    let looked = look(registry, &question).await;
    let judgement = question.judge(&looked.found);
    if judgement.holds() {
        return Ok((judgement, looked.unseen.iter().map(ToString::to_string).collect()));
    }
    let image = ImageRef::pinned(repository, image);
    if let Some(source) = looked.unseen.into_iter().next() {
        return Err(CosignError::NotSeen { image, source });
    }
    if looked.found.is_empty() {
        return Err(CosignError::NotFound { image });
    }
    let (threshold, judgement) = (terms.threshold, Box::new(judgement));
    Err(CosignError::NotOurs { image, threshold, judgement })
}

struct Subject {
    digest: Sha256Digest,
    /// What may be signed: the image itself, and the index that it was found through.
    manifests: Vec<Sha256Digest>,
}

/// From tag to digest, once: whatever the tag means later, this is what is judged and pulled.
async fn subject(registry: &dyn Registry, request: &Request) -> Result<Subject, CosignError> {
    let image = &request.image;
    let wanted = match (image.digest(), image.tag(), &request.platform) {
        (Some(digest), _, None) => return Ok(Subject { digest, manifests: vec![digest] }),
        (Some(digest), ..) => Wanted::Digest(digest),
        (None, Some(tag), _) => Wanted::Tag(tag.clone()),
        (None, None, _) => return Err(CosignError::NothingNamed),
    };
    let manifest = registry.manifest(image.repository(), &wanted).await?;
    let index = manifest.digest();
    match &request.platform {
        None => Ok(Subject { digest: index, manifests: vec![index] }),
        Some(platform) => {
            let digest = child(&manifest, image, platform)?;
            Ok(Subject { digest, manifests: vec![index, digest] })
        }
    }
}

/// The image of that platform. The index was hashed, so its signature covers this digest.
fn child(index: &Manifest, image: &ImageRef, platform: &Platform) -> Result<Sha256Digest, CosignError> {
    let platforms = index.platforms()?;
    let fits = |name: &str| name.parse().is_ok_and(|offered| platform.accepts(&offered));
    let mut fitting = platforms.iter().filter(|entry| fits(&entry.name));
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Ok(only.digest),
        _ => Err(CosignError::NoPlatform {
            image: image.to_string(),
            platform: platform.clone(),
            known: platforms.iter().map(|entry| entry.name.clone()).collect(),
        }),
    }
}

/// Which of two refusals says more: one that is no answer at all, then the first.
fn worse(before: Option<CosignError>, error: CosignError) -> CosignError {
    match (before, error) {
        (None, error) => error,
        (Some(CosignError::NotFound { .. }), error @ CosignError::NotOurs { .. })
        | (
            Some(CosignError::NotFound { .. } | CosignError::NotOurs { .. }),
            error @ CosignError::NotSeen { .. },
        ) => error,
        (Some(before), _) => before,
    }
}

/// Why there is no "yes".
#[derive(Debug, thiserror::Error)]
pub enum CosignError {
    /// The manifest is no index, or cannot be read as one.
    #[error("there are no images of several platforms to choose from: {0}")]
    Index(#[from] NotAnIndex),
    /// The index lists no such image, or several.
    #[error("{image} has no single image for {platform}; it has {}", known.join(", "))]
    NoPlatform {
        /// The index.
        image: String,
        /// What was asked for.
        platform: Platform,
        /// What it has.
        known: Vec<String>,
    },
    /// Nothing lies beside the image.
    #[error("{image} has no signature in its registry")]
    NotFound {
        /// The image.
        image: String,
    },
    /// There is something, and it is not enough.
    #[error("{image} is signed by {} of the keys given, and {threshold} must have signed", judgement.keys().len())]
    NotOurs {
        /// The image.
        image: String,
        /// How many keys must have signed.
        threshold: usize,
        /// What there is.
        judgement: Box<Judgement>,
    },
    /// Neither tag nor digest.
    #[error("neither a tag nor a digest is named")]
    NothingNamed,
    /// There may be signatures that could not be looked at.
    #[error("cannot look at all signatures of {image}: {source}")]
    NotSeen {
        /// The image.
        image: String,
        /// Why not.
        source: RegistryError,
    },
    /// The keys or the threshold are no question.
    #[error(transparent)]
    Question(#[from] InvalidQuestion),
    /// The registry gave no manifest.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}
