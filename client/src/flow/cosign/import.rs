//! Import: tags that cosign signed become tags of the trust metadata, all in one publication.
//!
//! A signature of cosign names no time, and mostly no tag, so it cannot tell that a tag was moved back,
//! or that it was revoked. What the metadata knows already therefore comes first: a tag that means
//! something else there is not moved unasked, and what was revoked is never brought back. Notary's
//! repositories do not know what was revoked; there somebody has to say that nothing was.

use std::collections::{BTreeMap, BTreeSet};

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::{DelegatedRole, Targets};
use bulla_keys_schema::names::{DelegatedRoleName, PathPattern, RepositoryName, SignerName, Tag, TargetPath};
use bulla_keys_schema::sigstore::{InvalidQuestion, Judgement};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::CurrentState;
use bytes::Bytes;

use super::verify::{CosignError, Terms, judge};
use crate::flow::Ports;
use crate::flow::layout::{Layout, Signers};
use crate::flow::publish::{self, Edit, Edited, How, PublishError, Published};
use crate::flow::sign::{self, Entry, Listing, SignError};
use crate::flow::signing::KeyRing;
use crate::port::{Manifest, RegistryError, Wanted};

/// Bytes of manifests that go along with a publication; the metadata can do without them.
const FILE_BYTES: usize = 8 * 1024 * 1024;

/// What to import, and as whom.
#[derive(Clone, Debug)]
pub struct Request {
    /// The repository.
    pub repository: RepositoryName,
    /// What must be proven of an image.
    pub terms: Terms,
    /// Which tags; all without it.
    pub tags: Option<PathPattern>,
    /// The signer, where this home holds keys of several.
    pub signer: Option<SignerName>,
    /// Sign tags that mean something else in the metadata, too.
    pub moves: bool,
    /// Take signatures that were made for another tag.
    pub any_tag: bool,
    /// Take it that nothing was revoked where the repository keeps no record of that.
    pub none_revoked: bool,
    /// What to do with the change.
    pub how: How,
}

/// What became of each tag.
#[derive(Clone, Debug)]
pub struct Import {
    /// The tags, in their order.
    pub tags: Vec<Outcome>,
    /// The documents and keys, if there was anything to publish.
    pub published: Option<Published>,
}

/// How an import ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Some tag is signed, now or before, and every one could be looked at.
    Done,
    /// No tag is.
    Nothing,
    /// Some tag could not be looked at.
    NotSeen,
}

impl Import {
    /// How it ends.
    #[must_use]
    pub fn end(&self) -> End {
        let any = |is: fn(&Fate) -> bool| self.tags.iter().any(|outcome| is(&outcome.fate));
        if any(|fate| matches!(fate, Fate::Refused(Refusal::NotSeen { .. }))) {
            return End::NotSeen;
        }
        if any(|fate| !matches!(fate, Fate::Refused(_))) { End::Done } else { End::Nothing }
    }
}

/// What became of one tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The tag.
    pub tag: Tag,
    /// What it means at the registry, if that could be read.
    pub digest: Option<Sha256Digest>,
    /// What became of it.
    pub fate: Fate,
}

/// What becomes of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The metadata says the same already.
    Known,
    /// It is signed, or would be.
    Imported,
    /// It is not.
    Refused(Refusal),
}

/// Why a tag is not imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It means something else in the metadata.
    #[error("it is signed as {} already", signed.map_or_else(|| "something else".to_owned(), |digest| digest.to_oci()))]
    Moved {
        /// What it means there.
        signed: Option<Sha256Digest>,
    },
    /// It is not signed as it must be.
    #[error("{reason}")]
    NotProven {
        /// What is missing.
        reason: String,
    },
    /// It could not be looked at: asked again, the answer may be another.
    #[error("{reason}")]
    NotSeen {
        /// Why not.
        reason: String,
    },
    /// Notary's repositories forget what was revoked, and cosign's signatures outlive it.
    #[error("it may have been revoked, of which a legacy repository keeps no record")]
    MaybeRevoked,
    /// Nobody here may sign it.
    #[error("{reason}")]
    NotOurs {
        /// Why not.
        reason: String,
    },
    /// Its signatures name other tags, and not this one.
    #[error("it is signed as {}, and not as this tag", list(named))]
    OtherTag {
        /// Those.
        named: Vec<Tag>,
    },
    /// The tag, or what it means, was revoked.
    #[error("it was revoked")]
    Revoked,
}

/// Imports.
///
/// # Errors
/// See [`ImportError`]. That a tag is not imported is none.
pub async fn import(ports: Ports<'_>, request: &Request) -> Result<Import, ImportError> {
    request.terms.question(&request.repository, Sha256Digest::from_bytes([0; 32]))?;
    let mut gathered = Gathered::default();
    gathered.gather(ports, request).await?;
    if gathered.candidates.is_empty() {
        return Err(ImportError::NoTags { repository: request.repository.clone() });
    }
    let Gathered { mut candidates, manifests, .. } = gathered;
    let plan = |state: &CurrentState, ring: &KeyRing<'_>, now| {
        let documents = Plan { state, ring, now, request }.documents(&mut candidates)?;
        let signed = candidates.iter().filter(|candidate| candidate.outcome.fate == Fate::Imported);
        let signed: BTreeSet<_> = signed.filter_map(|candidate| candidate.outcome.digest).collect();
        let files = signed.iter().filter_map(|digest| manifests.get(digest).cloned()).collect();
        Ok(Edit { documents, files, ..Edit::default() })
    };
    let published = match publish::publish(ports, &request.repository, request.how.clone(), plan).await {
        Ok(published) => Some(published),
        Err(ImportError::Nothing) => None,
        Err(error) => return Err(error),
    };
    let tags = candidates.into_iter().map(|candidate| candidate.outcome).collect();
    Ok(Import { tags, published })
}

/// A tag on its way.
struct Candidate {
    outcome: Outcome,
    /// The size of its manifest, if that is signed as it must be.
    proven: Option<u64>,
}

/// The tags, and what was learned on the way.
#[derive(Default)]
struct Gathered {
    candidates: Vec<Candidate>,
    /// Several tags often mean the same.
    judged: BTreeMap<Sha256Digest, Result<Judgement, Refusal>>,
    /// The bytes of manifests that are signed, as far as they fit.
    manifests: BTreeMap<Sha256Digest, Bytes>,
    held: usize,
}

impl Gathered {
    /// Judges every tag that was asked for by its signatures.
    async fn gather(&mut self, ports: Ports<'_>, request: &Request) -> Result<(), ImportError> {
        let tags = ports.registry.tags(&request.repository).await?;
        let fits = |tag: &Tag| request.tags.as_ref().is_none_or(|tags| tags.matches(&tag.target_path()));
        for tag in tags.into_iter().filter(|tag| !is_beside(tag) && fits(tag)) {
            let wanted = Wanted::Tag(tag.clone());
            let (digest, proven) = match ports.registry.manifest(&request.repository, &wanted).await {
                Err(error) => (None, Err(Refusal::NotSeen { reason: error.to_string() })),
                Ok(manifest) => {
                    let verdict = self.verdict(ports, request, &manifest).await?;
                    let verdict = verdict.and_then(|judgement| require_tag(&judgement, &tag, request));
                    (Some(manifest.digest()), verdict.map(|()| self.keep(&manifest)))
                }
            };
            let fate =
                proven.as_ref().map_or_else(|refusal| Fate::Refused(refusal.clone()), |_| Fate::Imported);
            self.candidates.push(Candidate { outcome: Outcome { tag, digest, fate }, proven: proven.ok() });
        }
        Ok(())
    }

    async fn verdict(
        &mut self,
        ports: Ports<'_>,
        request: &Request,
        manifest: &Manifest,
    ) -> Result<Result<Judgement, Refusal>, ImportError> {
        let digest = manifest.digest();
        if let Some(known) = self.judged.get(&digest) {
            return Ok(known.clone());
        }
        let verdict = match judge(ports.registry, &request.terms, &request.repository, digest).await {
            Ok((judgement, _)) => Ok(judgement),
            Err(CosignError::Question(error)) => return Err(error.into()),
            Err(error @ CosignError::NotSeen { .. }) => Err(Refusal::NotSeen { reason: error.to_string() }),
            Err(error) => Err(Refusal::NotProven { reason: error.to_string() }),
        };
        self.judged.insert(digest, verdict.clone());
        Ok(verdict)
    }

    /// Keeps the bytes if they fit, and says how many there are.
    fn keep(&mut self, manifest: &Manifest) -> u64 {
        let fits = self.held + manifest.bytes().len() <= FILE_BYTES;
        if fits && !self.manifests.contains_key(&manifest.digest()) {
            self.held += manifest.bytes().len();
            self.manifests.insert(manifest.digest(), manifest.bytes().clone());
        }
        manifest.size()
    }
}

/// Whoever may push can make any tag mean a signed image. Where the signature says as what it was signed,
/// that counts.
fn require_tag(judgement: &Judgement, tag: &Tag, request: &Request) -> Result<(), Refusal> {
    if request.any_tag || judgement.holds_for(tag) {
        return Ok(());
    }
    Err(Refusal::OtherTag { named: judgement.tags().into_iter().cloned().collect() })
}

/// Whether a tag belongs to the signatures of an image, and is none of an image itself.
fn is_beside(tag: &Tag) -> bool {
    let Some(rest) = tag.as_str().strip_prefix("sha256-") else { return false };
    let hex = rest.split('.').next().unwrap_or_default();
    hex.parse::<Sha256Digest>().is_ok()
}

/// One round of a change, from the state that is current.
struct Plan<'a> {
    state: &'a CurrentState,
    ring: &'a KeyRing<'a>,
    now: UtcTime,
    request: &'a Request,
}

impl Plan<'_> {
    /// The documents that say what was proven, and what becomes of each tag.
    fn documents(&self, candidates: &mut [Candidate]) -> Result<Vec<Edited>, ImportError> {
        match Layout::of(self.state.targets().payload()).ok_or(SignError::HashBins)? {
            Layout::Alone => {
                if let Some(name) = &self.request.signer {
                    return Err(SignError::UnknownSigner { name: name.clone() }.into());
                }
                let top = Some(self.state.targets().payload());
                let entries = self.settle(candidates, |_| Ok(((), vec![top])))?;
                let entries: Vec<Entry> = entries.into_iter().map(|(entry, ())| entry).collect();
                Ok(vec![self.listing(&entries).at_top()?])
            }
            Layout::Signers(signers) => self.delegated(&signers, candidates),
        }
    }

    fn delegated(
        &self,
        signers: &Signers<'_>,
        candidates: &mut [Candidate],
    ) -> Result<Vec<Edited>, ImportError> {
        let releases = signers.releases().ok_or(SignError::NoReleases)?;
        let wanted = self.request.signer.as_ref();
        let settled = self.settle(candidates, |path| {
            let role = sign::choose_signer(signers, self.ring, self.now, path, wanted)?;
            Ok((role, vec![self.document(&role.name), self.document(&releases.name)]))
        })?;
        let mut by_role: BTreeMap<&DelegatedRoleName, (&DelegatedRole, Vec<Entry>)> = BTreeMap::new();
        for (entry, role) in &settled {
            by_role.entry(&role.name).or_insert((role, vec![])).1.push(entry.clone());
        }
        let all: Vec<Entry> = settled.iter().map(|(entry, _)| entry.clone()).collect();
        let mut documents = Vec::new();
        for (role, entries) in by_role.values().map(|(role, entries)| (*role, entries.as_slice())) {
            documents.push(self.listing(entries).delegated(signers, role)?);
        }
        documents.push(self.listing(&all).delegated(signers, releases)?);
        Ok(documents)
    }

    /// Compares each proven tag with what is known. `place` says who would sign it, and the
    /// documents where it would stand.
    fn settle<'d, R>(
        &self,
        candidates: &mut [Candidate],
        place: impl Fn(&TargetPath) -> Result<(R, Vec<Option<&'d Targets>>), SignError>,
    ) -> Result<Vec<(Entry, R)>, ImportError> {
        let mut entries = Vec::new();
        for candidate in candidates {
            let (Some(size), Some(digest)) = (candidate.proven, candidate.outcome.digest) else { continue };
            let path = candidate.outcome.tag.target_path();
            let fate = match self.refusal(&path, digest)? {
                Some(refusal) => Fate::Refused(refusal),
                None => match place(&path) {
                    Ok((role, documents)) => {
                        let fate = self.fate(&documents, &path, digest);
                        if fate == Fate::Imported {
                            entries.push((Entry { path, digest, size, facts: None }, role));
                        }
                        fate
                    }
                    Err(error @ (SignError::OutOfScope { .. } | SignError::NoSigner { .. })) => {
                        Fate::Refused(Refusal::NotOurs { reason: error.to_string() })
                    }
                    Err(error) => return Err(error.into()),
                },
            };
            candidate.outcome.fate = fate;
        }
        if entries.is_empty() { Err(ImportError::Nothing) } else { Ok(entries) }
    }

    /// Why it must not be signed, whoever asks. Cosign's signatures outlive every revocation.
    fn refusal(&self, path: &TargetPath, digest: Sha256Digest) -> Result<Option<Refusal>, ImportError> {
        match sign::require_not_denied(self.state, digest) {
            Ok(()) => {}
            Err(SignError::Denied { .. }) => return Ok(Some(Refusal::Revoked)),
            Err(error) => return Err(error.into()),
        }
        let delegated = self.state.delegated().values().map(|document| document.payload());
        let is_revoked = |document: &Targets| {
            document.revoked.contains_key(path)
                || document.revoked.values().any(|tombstone| tombstone.digest == digest)
        };
        let mut documents = std::iter::once(self.state.targets().payload()).chain(delegated);
        Ok(documents.any(is_revoked).then_some(Refusal::Revoked))
    }

    fn fate(&self, documents: &[Option<&Targets>], path: &TargetPath, digest: Sha256Digest) -> Fate {
        let digests: Vec<Option<Option<Sha256Digest>>> = documents
            .iter()
            .map(|document| Some(document.as_ref()?.targets.get(path.as_str())?.hashes.as_sha256()))
            .collect();
        if digests.iter().all(|known| *known == Some(Some(digest))) {
            return Fate::Known;
        }
        let other = digests.iter().flatten().find(|known| **known != Some(digest));
        // The last one is what everybody resolves tags by: after a revocation a signer may still list it.
        let is_listed = digests.last() == Some(&Some(Some(digest)));
        let is_forgetful = self.state.root().dialect() == Dialect::Notary1;
        match other {
            Some(signed) if !self.request.moves => Fate::Refused(Refusal::Moved { signed: *signed }),
            _ if is_forgetful && !is_listed && !self.request.none_revoked => {
                Fate::Refused(Refusal::MaybeRevoked)
            }
            _ => Fate::Imported,
        }
    }

    fn document(&self, role: &DelegatedRoleName) -> Option<&Targets> {
        self.state.delegated().get(role).map(|document| document.payload())
    }

    const fn listing<'e>(&'e self, entries: &'e [Entry]) -> Listing<'e> {
        Listing { state: self.state, now: self.now, entries }
    }
}

fn list(tags: &[Tag]) -> String {
    let tags: Vec<&str> = tags.iter().map(Tag::as_str).collect();
    tags.join(", ")
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// No tag is left to sign. Never seen outside: what became of each tag is the answer.
    #[error("there is nothing to sign")]
    Nothing,
    /// There is no such tag.
    #[error("the registry has no such tag in {repository}")]
    NoTags {
        /// The repository.
        repository: RepositoryName,
    },
    /// The change could not be made.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The keys or the threshold are no question.
    #[error(transparent)]
    Question(#[from] InvalidQuestion),
    /// The registry gave no list of tags.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The tags cannot be signed.
    #[error(transparent)]
    Sign(Box<SignError>),
}

impl From<SignError> for ImportError {
    fn from(error: SignError) -> Self {
        Self::Sign(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_signatures_are_no_images() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let is = |text: &str| is_beside(&text.parse().unwrap());
        for beside in ["", ".sig", ".att", ".sbom", ".new"] {
            assert!(is(&format!("sha256-{hex}{beside}")), "{beside}");
        }
        for image in ["sha256-", "sha256-00.sig", "v1", &format!("v-{hex}.sig"), &format!("sha256-{hex}0")] {
            assert!(!is(image), "{image}");
        }
    }
}
