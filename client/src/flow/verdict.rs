//! Verdict: everything that is known of an image, verified, and what a policy says of it.
//!
//! "No" is an answer here as well when the trust metadata says it: the policy names the check, so
//! that whoever asks gets one form of answer. Errors are for what could not be decided.

mod attested;
mod before_signing;
mod pinned;
pub(super) mod standing;
mod together;

use std::collections::BTreeMap;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::{ImageFacts, Platform};
use bulla_keys_schema::names::{ImageRef, RepositoryName};
use bulla_keys_schema::policy::{
    AskedImage, Case, CheckId, Demands, ListedAttestation, Outcome, Policy, SignedImage, Standing, Verdict,
};
use bulla_keys_schema::time::UtcTime;

use crate::flow::Ports;
use crate::flow::facts;
use crate::flow::refresh::{RefreshError, Session};
use crate::flow::verify::{self, Trusted, VerifyError};
use crate::flow::vouching::Repository;
use crate::port::{Manifest, Wanted};

pub use before_signing::{BeforeSigning, NewSignature, Signing};
pub use together::{Moved, Together, together};

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The image.
    pub image: &'a ImageRef,
    /// The platform that will be used, if that is known.
    pub platform: Option<&'a Platform>,
    /// Whether the registry is asked what it serves for a tag.
    pub compares: bool,
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The verdict.
    pub verdict: Verdict,
    /// What to pull by, if the image may be pulled.
    pub reference: Option<String>,
    /// When it was judged.
    pub judged_at: UtcTime,
    /// Why the trust server was not asked, if it was not.
    pub offline: Option<String>,
    /// What could not be looked at, and why.
    pub notes: Vec<String>,
}

/// Judges an image.
///
/// # Errors
/// Nothing could be decided: the cache, the pins or the registry cannot be used. A refusal is an
/// answer.
pub async fn judge(ports: Ports<'_>, question: Question<'_>) -> Result<Answer, VerifyError> {
    let now = ports.clock.now();
    if let Some(verdict) = refused_unasked(&question, now) {
        return Ok(Answer { verdict, reference: None, judged_at: now, offline: None, notes: vec![] });
    }
    let mut known = match look(ports, &question).await {
        Ok(known) => known,
        Err(error) => Known::refused(standing::of(&error).ok_or(error)?),
    };
    let mut verdict = question.policy.evaluate(&known.case(&question), now);
    if known.facts.is_none() && lacks_facts(&verdict) {
        known.ask_for_facts(ports, &question).await?;
        if known.facts.is_some() {
            verdict = question.policy.evaluate(&known.case(&question), now);
        }
    }
    let reference = reference(ports, &question, &verdict).await?;
    Ok(Answer { verdict, reference, judged_at: now, offline: known.offline, notes: known.notes })
}

/// The verdict on an image whose registry is blocked: nobody is asked about it.
fn refused_unasked(question: &Question<'_>, now: UtcTime) -> Option<Verdict> {
    let standing = Standing::Refused {
        check: CheckId::TrustNoData,
        message: "nobody was asked, because the registry is blocked".to_owned(),
        digest: question.image.digest(),
    };
    let verdict = question.policy.evaluate(&Known::refused(standing).case(question), now);
    let is_blocked = verdict.first_failure().is_some_and(|check| check.id == CheckId::RegistryBlocked);
    (is_blocked && !verdict.is_allowed()).then_some(verdict)
}

/// What was found out about an image.
struct Known {
    standing: Standing,
    manifest: Option<Manifest>,
    facts: Option<ImageFacts>,
    attestations: Vec<ListedAttestation>,
    offline: Option<String>,
    notes: Vec<String>,
}

impl Known {
    const fn refused(standing: Standing) -> Self {
        Self {
            standing,
            manifest: None,
            facts: None,
            attestations: Vec::new(),
            offline: None,
            notes: Vec::new(),
        }
    }

    fn case(&self, question: &Question<'_>) -> Case {
        Case {
            image: AskedImage {
                repository: question.image.repository().clone(),
                tag: question.image.tag().cloned(),
                digest: question.image.digest(),
                platform: question.platform.cloned(),
            },
            standing: self.standing.clone(),
            facts: self.facts.clone(),
            attestations: self.attestations.clone(),
            // Nothing here remembers for good what was seen first.
            first_seen: BTreeMap::new(),
        }
    }

    /// Reads the facts from the registry, where no signer noted them.
    async fn ask_for_facts(&mut self, ports: Ports<'_>, question: &Question<'_>) -> Result<(), VerifyError> {
        let Standing::Signed(image) = &self.standing else { return Ok(()) };
        let (repository, digest) = (question.image.repository(), image.digest);
        let manifest = match self.manifest.take() {
            Some(manifest) => Ok(manifest),
            None => ports.registry.manifest(repository, &Wanted::Digest(digest)).await,
        };
        let facts = match manifest {
            Ok(manifest) if manifest.digest() != digest => {
                Err(facts::FactsError::OtherBytes { wanted: digest })
            }
            Ok(manifest) => facts::read(ports.registry, repository, manifest.bytes()).await,
            Err(error) => Err(error.into()),
        };
        match facts {
            Ok(facts) => {
                let children = subjects(digest, Some(&facts)).split_off(1);
                self.facts = Some(facts);
                if !children.is_empty() {
                    self.attestations = attestations(ports, question, digest, self.facts.as_ref()).await?;
                }
            }
            Err(error) => self.notes.push(format!("no facts of the image: {error}")),
        }
        Ok(())
    }
}

async fn look(ports: Ports<'_>, question: &Question<'_>) -> Result<Known, VerifyError> {
    let image = question.image;
    let repository = open(ports, question.policy, question.image.repository()).await?;
    let trusted = verify::find(&repository, image).await?;
    let mut manifest = None;
    if question.compares && image.digest().is_none() {
        manifest = Some(verify::require_served(ports, &trusted).await?);
    }
    let facts = noted_facts(ports, question, &trusted, &mut manifest).await;
    let images = subjects(trusted.digest, facts.as_ref());
    let attestations = attested::gather(&repository, image.repository(), question.policy, &images).await?;
    let fresh_at = repository.session().fresh_at()?;
    repository.finish()?;
    Ok(Known {
        standing: Standing::Signed(Box::new(SignedImage {
            tag: trusted.tag.clone(),
            digest: trusted.digest,
            size: trusted.size,
            signers: standing::signers(&trusted.signed_by),
            demands: Demands::default(),
            fresh_at: Some(fresh_at),
            offline: trusted.offline.is_some(),
            valid_until: trusted.listed_until,
        })),
        manifest,
        facts,
        attestations,
        offline: trusted.offline,
        notes: vec![],
    })
}

/// The repository, opened under the pins of the home and of the policy.
async fn open<'a>(
    ports: Ports<'a>,
    policy: &Policy,
    name: &RepositoryName,
) -> Result<Repository<'a>, RefreshError> {
    let pin = pinned::pin(ports, policy, name)?;
    let session = Session::open_pinned(ports, name, pin.as_ref()).await?;
    Repository::open(session, name).await
}

async fn attestations(
    ports: Ports<'_>,
    question: &Question<'_>,
    digest: Sha256Digest,
    facts: Option<&ImageFacts>,
) -> Result<Vec<ListedAttestation>, VerifyError> {
    let repository = open(ports, question.policy, question.image.repository()).await?;
    let (name, images) = (question.image.repository(), subjects(digest, facts));
    Ok(attested::gather(&repository, name, question.policy, &images).await?)
}

/// The image and, where it is an index, the images of it.
fn subjects(digest: Sha256Digest, facts: Option<&ImageFacts>) -> Vec<Sha256Digest> {
    let children = match facts {
        Some(ImageFacts::Index(children)) => children.iter().map(|child| child.digest).collect(),
        Some(ImageFacts::Single(_)) | None => vec![],
    };
    [digest].into_iter().chain(children).collect()
}

/// What the signers note of the image. Which images an index consists of is held against the index
/// itself where a scan of one of them counts: else whoever signs could put an image that was scanned
/// in the place of one that was not.
async fn noted_facts(
    ports: Ports<'_>,
    question: &Question<'_>,
    trusted: &Trusted,
    manifest: &mut Option<Manifest>,
) -> Option<ImageFacts> {
    let facts = agreed_facts(trusted)?;
    let name = question.image.repository();
    let is_attested = question.policy.rule(name).is_some_and(|rule| !rule.attestations().is_empty());
    let ImageFacts::Index(children) = &facts else { return Some(facts) };
    if !is_attested {
        return Some(facts);
    }
    if manifest.is_none() {
        *manifest = ports.registry.manifest(name, &Wanted::Digest(trusted.digest)).await.ok();
    }
    let index = manifest.as_ref().filter(|index| index.digest() == trusted.digest)?;
    facts::lists(index.bytes(), children).then_some(facts)
}

/// What the signers note of the image, if all of them note the same: which of them counts, the
/// policy says, and one that does not must not speak for one that does.
fn agreed_facts(trusted: &Trusted) -> Option<ImageFacts> {
    let mut signers = standing::roles(&trusted.signed_by).map(|voucher| voucher.facts.as_ref());
    let first = signers.next()??;
    signers.all(|facts| facts == Some(first)).then(|| first.clone())
}

/// Whether a check failed that facts could have held up.
fn lacks_facts(verdict: &Verdict) -> bool {
    let wants = |id: CheckId| {
        let name = id.as_str();
        ["fact.", "base.", "att.", "sign.platform"].iter().any(|head| name.starts_with(head))
    };
    verdict.checks.iter().any(|check| wants(check.id) && check.result == Outcome::Fail)
}

/// What to pull by. Where nobody vouches for a digest and the policy lets the image pass all the
/// same, it is what the registry serves now.
async fn reference(
    ports: Ports<'_>,
    question: &Question<'_>,
    verdict: &Verdict,
) -> Result<Option<String>, VerifyError> {
    if !verdict.is_allowed() {
        return Ok(None);
    }
    let name = question.image.repository();
    let digest = match (verdict.digest.or(question.image.digest()), question.image.tag()) {
        (Some(digest), _) => digest,
        (None, Some(tag)) if question.compares => {
            ports.registry.manifest(name, &Wanted::Tag(tag.clone())).await?.digest()
        }
        (None, _) => return Ok(None),
    };
    Ok(Some(ImageRef::pinned(name, digest)))
}
