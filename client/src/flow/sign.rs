//! Sign: resolve the digest, read the current state, write the entry, publish, read back; then
//! sign with the same keys in the registry, for those who look there.

use std::collections::{BTreeMap, BTreeSet};

use bulla_keys_schema::author::TargetsEdit;
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::KeyName;
use bulla_keys_schema::limits;
use bulla_keys_schema::metadata::{self, DelegatedRole, Denial, DenyList, ImageFacts, Targets, Version};
use bulla_keys_schema::names::{ImageRef, RELEASES, RoleName, SignerName, Tag, TargetPath};
use bulla_keys_schema::policy::{Policy, Verdict};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::CurrentState;

use crate::flow::Ports;
use crate::flow::cosign::write::{self, Image, WriteFailure, Written};
use crate::flow::facts;
use crate::flow::layout::{self, Authority, Layout, Signers};
use crate::flow::lifetimes;
use crate::flow::publish::{self, Edit, Edited, Footing, How, PublishError, Published};
use crate::flow::signing::{KeyRing, TooFewKeys};
use crate::flow::verdict::{BeforeSigning, NewSignature, Signing};
use crate::flow::verify::{KeyHolder, VerifyError};
use crate::flow::vouching::holders;
use crate::port::registry::NotAnIndex;
use crate::port::{Manifest, Platform, RegistryError, Wanted};

/// What to sign, and as whom.
#[derive(Clone, Debug)]
pub struct Request {
    /// The image; it must have a tag.
    pub image: ImageRef,
    /// Size of the manifest in bytes. With it and a digest, no registry is asked.
    pub size: Option<u64>,
    /// The signer, where this home holds keys of several.
    pub signer: Option<SignerName>,
    /// Read the images that an index lists.
    pub platforms: bool,
    /// What to do with the change.
    pub how: How,
    /// Sign in the registry as well, along with these annotations. Not where no registry is asked.
    pub in_registry: Option<BTreeMap<String, String>>,
    /// Sign only what policies let pass.
    pub policy: Option<Required>,
}

/// Policies that have to let an image pass before it is signed.
#[derive(Clone, Debug)]
pub struct Required {
    /// The policies, all of them.
    pub policies: Vec<Policy>,
    /// The platform that will be used, where a policy asks for it.
    pub platform: Option<metadata::Platform>,
}

/// What was signed.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The tag.
    pub tag: Tag,
    /// What it means from now on.
    pub digest: Sha256Digest,
    /// Size of the manifest, in bytes.
    pub size: u64,
    /// The images of an index, if asked for.
    pub platforms: Vec<Platform>,
    /// The documents and keys.
    pub published: Published,
    /// What is in the registry now, or would be.
    pub in_registry: Vec<Written>,
    /// Why the entry does not say what the image is, where the registry was asked.
    pub no_facts: Option<String>,
}

/// Signs.
///
/// # Errors
/// See [`SignError`].
pub async fn sign(ports: Ports<'_>, request: &Request) -> Result<Signed, SignError> {
    let image = &request.image;
    let tag = image.tag().cloned().ok_or_else(|| SignError::NoTag { image: image.to_string() })?;
    let subject = resolve(ports, request, &tag).await?;
    let (facts, no_facts) = subject.facts(ports, image).await;
    let (digest, size) = (subject.digest, subject.size);
    let entry = Entry { path: tag.target_path(), digest, size, facts };
    let mut gates = Vec::new();
    if let Some(Required { policies, platform }) = &request.policy {
        let (facts, platform) = (entry.facts.as_ref(), platform.as_ref());
        for policy in policies {
            let signing = Signing { image, tag: &tag, digest, size, facts, platform };
            let looked = BeforeSigning::look(ports, policy, &signing).await;
            gates.push(looked.map_err(|error| SignError::Judge(Box::new(error)))?);
        }
    }
    let image_there = subject.image(request, &tag)?;
    let mut ring = KeyRing::load(ports).map_err(PublishError::from)?;
    let (footing, how, mut signer) = (Footing::default(), request.how.clone(), None);
    let plan = |state: &CurrentState, ring: &KeyRing<'_>, now| {
        let documents = edit(state, ring, now, &entry, request.signer.as_ref())?;
        if let Some(edited) = documents.first() {
            gates.iter().try_for_each(|gate| require_allowed(gate, edited, now))?;
        }
        signer = documents.first().map(|edited| (edited.role.clone(), edited.authority.clone()));
        let files = subject.manifest.iter().map(|manifest| manifest.bytes().clone()).collect();
        Ok::<_, SignError>(Edit { documents, files, ..Edit::default() })
    };
    let published = publish::publish_with(&mut ring, &footing, ports, image.repository(), how, plan).await?;
    let platforms = subject.platforms;
    let mut signed = Signed { tag, digest, size, platforms, published, in_registry: vec![], no_facts };
    if let (Some(image), Some((role, authority))) = (image_there, signer)
        && signed.published.request.is_none()
    {
        let keys = ring.choose(&role, &authority, &BTreeSet::new())?;
        signed.in_registry = if signed.published.done {
            let written = image.sign(ports, &ring.signers(&keys)).await;
            written.map_err(|source| not_in_registry(&signed, &image, ring.names(&keys), source))?
        } else {
            image.plan(keys.len())
        };
    }
    Ok(signed)
}

/// What would be refused at pull is not signed.
fn require_allowed(gate: &BeforeSigning<'_>, edited: &Edited, now: UtcTime) -> Result<(), SignError> {
    let Edited { role, document, authority } = edited;
    let keys = authority.keys.fingerprints(&authority.table);
    let new = NewSignature { role: role.clone(), keys, expires: document.expires };
    let verdict = gate.with(&new, now);
    if verdict.is_allowed() {
        return Ok(());
    }
    Err(SignError::Policy { verdict: Box::new(verdict), judged_at: now })
}

fn not_in_registry(signed: &Signed, image: &Image, keys: Vec<KeyName>, source: WriteFailure) -> SignError {
    let image = format!("{}@{}", image.reference(), signed.digest.to_oci());
    SignError::NotInRegistry { image, keys, source: Box::new(source) }
}

struct Subject {
    digest: Sha256Digest,
    size: u64,
    manifest: Option<Manifest>,
    platforms: Vec<Platform>,
}

impl Subject {
    /// What the image is, if the registry was asked.
    async fn facts(&self, ports: Ports<'_>, image: &ImageRef) -> (Option<ImageFacts>, Option<String>) {
        let Some(manifest) = &self.manifest else { return (None, None) };
        match facts::read(ports.registry, image.repository(), manifest.bytes()).await {
            Ok(facts) => (Some(facts), None),
            Err(error) => (None, Some(error.to_string())),
        }
    }

    /// What to sign in the registry, if it was asked and is to be written to.
    fn image(&self, request: &Request, tag: &Tag) -> Result<Option<Image>, SignError> {
        let (Some(manifest), Some(annotations)) = (&self.manifest, &request.in_registry) else {
            return Ok(None);
        };
        let (repository, tag) = (request.image.repository().clone(), Some(tag.clone()));
        let subjects = write::subjects(manifest).map_err(|_| SignError::Images)?;
        Ok(Some(Image { repository, tag, subjects, annotations: annotations.clone() }))
    }
}

/// What a tag is to mean.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) path: TargetPath,
    pub(super) digest: Sha256Digest,
    pub(super) size: u64,
    pub(super) facts: Option<ImageFacts>,
}

/// The digest of bytes that we hashed, or of the user's own word with `--size`.
async fn resolve(ports: Ports<'_>, request: &Request, tag: &Tag) -> Result<Subject, SignError> {
    let image = &request.image;
    if let (Some(digest), Some(size)) = (image.digest(), request.size) {
        if request.platforms {
            return Err(SignError::PlatformsOffline);
        }
        return Ok(Subject { digest, size, manifest: None, platforms: vec![] });
    }
    let wanted = image.digest().map_or_else(|| Wanted::Tag(tag.clone()), Wanted::Digest);
    let manifest = ports.registry.manifest(image.repository(), &wanted).await?;
    if let Some(asked) = image.digest().filter(|digest| *digest != manifest.digest()) {
        return Err(SignError::OtherDigest { asked, found: manifest.digest() });
    }
    if let Some(asked) = request.size.filter(|size| *size != manifest.size()) {
        return Err(SignError::OtherSize { asked, found: manifest.size() });
    }
    let platforms = if request.platforms { manifest.platforms()? } else { vec![] };
    let (digest, size) = (manifest.digest(), manifest.size());
    Ok(Subject { digest, size, manifest: Some(manifest), platforms })
}

fn edit(
    state: &CurrentState,
    ring: &KeyRing<'_>,
    now: UtcTime,
    entry: &Entry,
    wanted: Option<&SignerName>,
) -> Result<Vec<Edited>, SignError> {
    let listing = Listing { state, now, entries: std::slice::from_ref(entry) };
    require_not_denied(state, entry.digest)?;
    match Layout::of(state.targets().payload()).ok_or(SignError::HashBins)? {
        Layout::Alone => {
            if let Some(name) = wanted {
                return Err(SignError::UnknownSigner { name: name.clone() });
            }
            Ok(vec![listing.at_top()?])
        }
        Layout::Signers(signers) => {
            let signer = choose_signer(&signers, ring, now, &entry.path, wanted)?;
            let releases = signers.releases().ok_or(SignError::NoReleases)?;
            [signer, releases].into_iter().map(|role| listing.delegated(&signers, role)).collect()
        }
    }
}

/// Asked before any passphrase: the server and every consumer would refuse it.
///
/// # Errors
/// The digest is on the deny list, or the list that there is cannot be read.
pub fn require_not_denied(state: &CurrentState, digest: Sha256Digest) -> Result<(), SignError> {
    let targets = state.targets().payload();
    let Some((role, _)) = layout::revocations(state.root().dialect(), targets) else { return Ok(()) };
    let list = state.revocations().ok_or_else(|| SignError::Missing { role: role_name(role) })?;
    match DenyList::new(list.payload()).find_digest(digest) {
        None => Ok(()),
        Some(denial) => {
            let by = holders(state.root().payload(), targets, &denial.revoked_by);
            Err(SignError::Denied { denial: Box::new(denial), by })
        }
    }
}

/// The signer to sign as: the named one, or the only one whose keys are here and whose
/// patterns match, of those who may still sign.
pub(super) fn choose_signer<'a>(
    signers: &Signers<'a>,
    ring: &KeyRing<'_>,
    now: UtcTime,
    path: &TargetPath,
    wanted: Option<&SignerName>,
) -> Result<&'a DelegatedRole, SignError> {
    let none = BTreeSet::new();
    if let Some(name) = wanted {
        let role = signers.all().find(|role| role.name == *name.role());
        let role = role.ok_or_else(|| SignError::UnknownSigner { name: name.clone() })?;
        if !role.scope.matches(path) {
            return Err(SignError::OutOfScope { name: name.to_string(), tag: path.to_string() });
        }
        require_right(role, now)?;
        ring.choose(&role_name(role), &authority(signers, role), &none)?;
        return Ok(role);
    }
    let (mut able, mut unable, mut over) = (vec![], vec![], None);
    for role in signers.for_path(path) {
        if let Err(error) = require_right(role, now) {
            over = over.or(Some(error));
            continue;
        }
        match ring.choose(&role_name(role), &authority(signers, role), &none) {
            Ok(_) => able.push(role),
            Err(error) => unable.push(error),
        }
    }
    match able.as_slice() {
        [only] => Ok(only),
        [] => match over.filter(|_| unable.is_empty()) {
            Some(over) => Err(over),
            None => Err(SignError::NoSigner { tag: path.to_string(), unable }),
        },
        several => {
            let names = several.iter().map(|role| role.name.to_string()).collect();
            Err(SignError::SeveralSigners { names })
        }
    }
}

fn require_right(role: &DelegatedRole, now: UtcTime) -> Result<(), SignError> {
    match role.ends {
        Some(ends) if ends.is_over(now) => Err(SignError::Ended { name: role.name.to_string(), ends }),
        _ => Ok(()),
    }
}

/// Entries on their way into documents.
pub(super) struct Listing<'a> {
    pub(super) state: &'a CurrentState,
    pub(super) now: UtcTime,
    pub(super) entries: &'a [Entry],
}

impl Listing<'_> {
    pub(super) fn at_top(&self) -> Result<Edited, SignError> {
        let before = Some(self.state.targets().payload());
        self.list(RoleName::Targets, before, repository_authority(self.state))
    }

    pub(super) fn delegated(&self, signers: &Signers<'_>, role: &DelegatedRole) -> Result<Edited, SignError> {
        let before = self.state.delegated().get(&role.name).map(|document| document.payload());
        let is_spec = self.state.root().dialect() == Dialect::Tuf1;
        if before.is_none() && is_spec && role.name.as_str() == RELEASES {
            return Err(SignError::Missing { role: role_name(role) });
        }
        self.list(role_name(role), before, authority(signers, role))
    }

    /// The document after `before`; without one, the first of a role, or the first that counts
    /// again after others that do not.
    fn list(
        &self,
        role: RoleName,
        before: Option<&Targets>,
        authority: Authority,
    ) -> Result<Edited, SignError> {
        let dialect = self.state.root().dialect();
        let expires = self.now.plus_seconds(lifetimes::targets(dialect));
        let edit = match before {
            Some(before) => TargetsEdit::next(dialect, before, expires),
            None => next_version(self.state, &role).map(|version| {
                TargetsEdit::new(dialect, role.clone(), version, expires)
                    .for_repository(self.state.root().payload().repository.clone())
            }),
        };
        let mut edit = edit.ok_or_else(|| SignError::LastVersion { role: role.clone() })?;
        for Entry { path, digest, size, facts } in self.entries {
            match &role {
                // When a signer signed what is asked when its key turns out to be stolen.
                RoleName::Delegated(name) if name.as_str() != RELEASES => {
                    edit.sign_target(path, *digest, *size, self.now);
                    if let Some(facts) = facts {
                        edit.note_facts(path, facts);
                    }
                }
                _ => edit.set_target(path, *digest, *size),
            }
        }
        Ok(Edited { role, document: edit.finish(), authority })
    }
}

/// The version after the last one of that name, even if it was delegated long ago: clients
/// remember. `None` at the end of the range, and long before it where only a document that
/// nobody's signature vouches for says what the last one was: a server could make it up, and
/// a role that we brought to the end of the range could never be changed again.
#[must_use]
pub fn next_version(state: &CurrentState, role: &RoleName) -> Option<Version> {
    let next = state.last_version(role).map_or(Some(Version::FIRST), Version::next)?;
    let is_claimed = matches!(role, RoleName::Delegated(name) if state.retired().contains_key(name));
    (!is_claimed || next.get() <= limits::FIRST_VERSION).then_some(next)
}

/// Who signs the top-level targets.
#[must_use]
pub fn repository_authority(state: &CurrentState) -> Authority {
    let root = state.root().payload();
    Authority { keys: root.targets.clone(), table: root.keys.clone() }
}

/// Who signs a delegated role.
#[must_use]
pub fn authority(signers: &Signers<'_>, role: &DelegatedRole) -> Authority {
    Authority { keys: role.keys.clone(), table: signers.table().clone() }
}

/// The name of a delegated role among all roles.
#[must_use]
pub fn role_name(role: &DelegatedRole) -> RoleName {
    RoleName::Delegated(role.name.clone())
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The digest is on the deny list.
    #[error("{} was revoked{}", denial.digest.to_oci(), explain_denial(denial, by))]
    Denied {
        /// What was denied, when and why.
        denial: Box<Denial>,
        /// Who did, as far as known.
        by: Vec<KeyHolder>,
    },
    /// The signer's right to sign was limited, and is over.
    #[error("the right of {name} to sign ended at {ends}")]
    Ended {
        /// The signer.
        name: String,
        /// When.
        ends: UtcTime,
    },
    /// The repository was laid out by another tool.
    #[error("the repository delegates to hash bins, where no signer has a name")]
    HashBins,
    /// The images of an index cannot be signed one by one.
    #[error("cannot read which images the index lists")]
    Images,
    /// The version counter is at its end.
    #[error("{role} has reached the last version there is")]
    LastVersion {
        /// The role.
        role: RoleName,
    },
    /// A delegated role has no document.
    #[error("{role} is delegated but was never published")]
    Missing {
        /// The role.
        role: RoleName,
    },
    /// The repository has signers but nowhere to list releases.
    #[error("the repository has signers, but no role `releases`")]
    NoReleases,
    /// No key of this home may sign.
    #[error("no key here may sign the tag {tag}{}", explain(unable))]
    NoSigner {
        /// The tag.
        tag: String,
        /// What each signer in question lacks.
        unable: Vec<TooFewKeys>,
    },
    /// A digest alone has no name to sign.
    #[error("{image} has no tag: a signature says what a tag means")]
    NoTag {
        /// The image.
        image: String,
    },
    /// The trust server has it, the registry does not, or not all of it.
    #[error("{image} is signed at the trust server, but not in the registry: {source}")]
    NotInRegistry {
        /// The image, with its digest.
        image: String,
        /// The keys that signed.
        keys: Vec<KeyName>,
        /// What is there, and why the rest is not.
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
    /// The typed size is wrong.
    #[error("the manifest has {found} bytes, not {asked}")]
    OtherSize {
        /// The size typed.
        asked: u64,
        /// The size of what came.
        found: u64,
    },
    /// The signer's patterns do not match.
    #[error("{name} may not sign the tag {tag}")]
    OutOfScope {
        /// The signer.
        name: String,
        /// The tag.
        tag: String,
    },
    /// The manifest is no index, or was not fetched.
    #[error("cannot list platforms: {0}")]
    Platforms(#[from] NotAnIndex),
    /// The platforms stand in the manifest, which was not fetched.
    #[error("cannot list platforms without the registry")]
    PlatformsOffline,
    /// A policy would refuse the image at pull.
    #[error("the policy {} refuses it{}", verdict.policy.name, first_failure(verdict))]
    Policy {
        /// What it says.
        verdict: Box<Verdict>,
        /// When it was asked.
        judged_at: UtcTime,
    },
    /// The policy could not be asked.
    #[error(transparent)]
    Judge(Box<VerifyError>),
    /// The change could not be made.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The registry gave no manifest.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Who signs is not clear.
    #[error("keys of several signers are here: {}", names.join(", "))]
    SeveralSigners {
        /// Their names.
        names: Vec<String>,
    },
    /// Too few keys of the signer.
    #[error(transparent)]
    TooFewKeys(#[from] TooFewKeys),
    /// No such signer.
    #[error("the repository has no signer named {name}")]
    UnknownSigner {
        /// The name.
        name: SignerName,
    },
}

fn explain_denial(denial: &Denial, by: &[KeyHolder]) -> String {
    let by: Vec<String> = by.iter().map(ToString::to_string).collect();
    let by = if by.is_empty() { String::new() } else { format!(" by {}", by.join(", ")) };
    let at = denial.revoked_at.map(|at| format!(" at {at}")).unwrap_or_default();
    let reason = denial.reason.as_ref().map(|reason| format!(": {}", reason.escape_debug()));
    format!("{by}{at}{}", reason.unwrap_or_default())
}

fn first_failure(verdict: &Verdict) -> String {
    verdict.first_failure().map(|check| format!(": {}", check.id)).unwrap_or_default()
}

fn explain(unable: &[TooFewKeys]) -> String {
    if unable.is_empty() {
        return ": no signer's patterns match it".to_owned();
    }
    let each: Vec<String> = unable.iter().map(ToString::to_string).collect();
    format!(": {}", each.join("; "))
}
