//! Attestations of an image, as consumers see them: what counts, and what does not and why.

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::ImageFacts;
use bulla_keys_schema::names::{ImageRef, RepositoryName};

use crate::flow::Ports;
use crate::flow::evidence::{Evidence, evidence};
use crate::flow::facts;
use crate::flow::refresh::Session;
use crate::flow::verify::{self, VerifyError};
use crate::flow::vouching::Repository;
use crate::port::Wanted;

/// What is attested of an image.
#[derive(Debug)]
pub struct Attestations {
    /// The repository.
    pub repository: RepositoryName,
    /// The image.
    pub digest: Sha256Digest,
    /// What is said, the newest first.
    pub evidence: Evidence,
    /// Why the trust server was not asked, if it was not.
    pub offline: Option<String>,
    /// Why the images of an index were not looked for, if they were not.
    pub note: Option<String>,
}

/// Reads what is attested of `image`: of the digest that was typed, else of what the tag is signed as.
///
/// # Errors
/// The tag is not signed, or the trust metadata cannot be had or trusted.
pub async fn attestations(ports: Ports<'_>, image: &ImageRef) -> Result<Attestations, VerifyError> {
    let session = Session::open(ports, image.repository()).await?;
    let repository = Repository::open(session, image.repository()).await?;
    let (digest, known) = match image.digest() {
        Some(digest) => (digest, None),
        None => {
            let trusted = verify::find(&repository, image).await?;
            let facts = trusted.signed_by.iter().find_map(|voucher| voucher.facts.clone());
            (trusted.digest, facts)
        }
    };
    let (facts, note) = match known {
        Some(facts) => (Some(facts), None),
        None => ask(ports, image.repository(), digest, &repository).await,
    };
    let children = match &facts {
        Some(ImageFacts::Index(children)) => children.iter().map(|child| child.digest).collect(),
        Some(ImageFacts::Single(_)) | None => vec![],
    };
    let images: Vec<Sha256Digest> = [digest].into_iter().chain(children).collect();
    let evidence = evidence(&repository, &images).await?;
    repository.finish()?;
    Ok(Attestations {
        repository: image.repository().clone(),
        digest,
        evidence,
        offline: repository.session().offline().map(ToString::to_string),
        note,
    })
}

/// Which images an index consists of, where the metadata does not say. Without an answer, only what is
/// said of the index itself is found.
async fn ask(
    ports: Ports<'_>,
    name: &RepositoryName,
    digest: Sha256Digest,
    repository: &Repository<'_>,
) -> (Option<ImageFacts>, Option<String>) {
    if repository.session().offline().is_some() {
        return (None, None);
    }
    let manifest = match ports.registry.manifest(name, &Wanted::Digest(digest)).await {
        Ok(manifest) if manifest.digest() == digest => manifest,
        Ok(_) => return (None, Some("the registry sent another manifest".to_owned())),
        Err(error) => return (None, Some(error.to_string())),
    };
    // What is no image has no parts either.
    (facts::read(ports.registry, name, manifest.bytes()).await.ok(), None)
}
