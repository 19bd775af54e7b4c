//! A request, bound to the state that the reader trusts.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::dialect::{Dialect, InvalidMetadata, Signature};
use crate::digest::{Hashed, Sha256Digest};
use crate::key::{Fingerprint, KeyId, PublicKey, SignError, Signer};
use crate::limits;
use crate::metadata::{DenyList, Root, Targets, Version};
use crate::names::{DelegatedRoleName, RepositoryName, RoleName};
use crate::request::base::{Body, Outlook, Signers, targets_of};
use crate::request::{
    BaseDocument, Count, Diff, DocumentSignature, DocumentStatus, KeySet, RequestId, RequestStatus,
    SignatureFile, SigningRequest,
};
use crate::time::UtcTime;
use crate::verify::submission::{
    CurrentState, Rejection, Submission, check_online_keys, check_unsigned_root, check_unsigned_targets,
};
use crate::verify::{Proposed, Verified};

/// How far the clocks of two people may be apart, in seconds.
const CLOCKS: i64 = 24 * 60 * 60;

/// A request whose documents fit the state that the reader trusts, but for signatures that are
/// missing still.
#[derive(Clone, Debug)]
pub struct OpenRequest {
    pub(super) request: SigningRequest,
    pub(super) current: Option<CurrentState>,
    pub(super) documents: BTreeMap<RoleName, OpenDocument>,
}

/// One document and who must sign it.
#[derive(Clone, Debug)]
pub(super) struct OpenDocument {
    pub(super) body: Body,
    pub(super) signers: Vec<Signers>,
    pub(super) payload_sha256: Sha256Digest,
    /// The distinct keys of each of `signers` that signed, counted once.
    signed: Vec<BTreeSet<Fingerprint>>,
}

impl SigningRequest {
    /// Binds the request to the `current` state of `repository`; `None` if there is no such
    /// repository yet.
    ///
    /// # Errors
    /// It is over, or stale, or for something else, or breaks a rule that its upload would be
    /// refused for, or holds a signature that is none.
    pub fn open(
        self,
        repository: &RepositoryName,
        current: Option<&CurrentState>,
        now: UtcTime,
    ) -> Result<OpenRequest, OpenError> {
        if self.repository != *repository {
            return Err(OpenError::OtherRepository { found: self.repository });
        }
        if self.not_after.is_over(now) {
            return Err(OpenError::Expired { not_after: self.not_after });
        }
        if self.not_after.seconds_since(now) > limits::REQUEST_SECONDS + CLOCKS {
            return Err(OpenError::TooLong { not_after: self.not_after });
        }
        if current.is_some_and(|current| current.root().dialect() != self.dialect) {
            return Err(OpenError::OtherMode);
        }
        require_fresh(&self.base, current)?;
        let bodies = read(&self)?;
        let outlook = Outlook::new(self.dialect, current, &bodies);
        check(&self, &outlook, &bodies, current, now)?;
        let documents = bodies.iter().map(|(role, body)| {
            let document = OpenDocument::new(body.clone(), outlook.signers(role));
            document.require_signatures(role)?;
            Ok((role.clone(), document))
        });
        let documents = documents.collect::<Result<_, OpenError>>()?;
        Ok(OpenRequest { request: self, current: current.cloned(), documents })
    }

    /// Names the current documents that the documents of this request build on. For whoever
    /// makes a request.
    ///
    /// # Errors
    /// A document that cannot be read.
    pub fn with_base(mut self, current: Option<&CurrentState>) -> Result<Self, OpenError> {
        let bodies = read(&self)?;
        self.base = Outlook::new(self.dialect, current, &bodies).base();
        Ok(self)
    }
}

impl OpenRequest {
    /// The request, with all signatures so far.
    #[must_use]
    pub const fn request(&self) -> &SigningRequest {
        &self.request
    }

    /// Who signed each document, and who still may.
    #[must_use]
    pub fn status(&self) -> RequestStatus {
        RequestStatus {
            documents: self.documents.iter().map(|(role, document)| document.status(role)).collect(),
        }
    }

    /// Whether every threshold is met.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.status().is_complete()
    }

    /// The documents, in the order of an upload.
    #[must_use]
    pub fn documents(&self) -> Vec<(RoleName, Version, Bytes)> {
        let documents = self.documents.iter();
        documents.map(|(role, doc)| (role.clone(), doc.body.version(), doc.body.bytes().clone())).collect()
    }

    /// The upload, once every threshold is met. It is judged like any other.
    #[must_use]
    pub fn submission(&self) -> Option<Submission> {
        if !self.is_complete() {
            return None;
        }
        let target_files = self.request.files.iter().cloned().map(Hashed::from).collect();
        let mut submission = Submission { target_files, ..Submission::default() };
        for (role, _, bytes) in self.documents() {
            let bytes = bytes.into();
            match role {
                RoleName::Root => submission.roots.push(bytes),
                RoleName::Delegated(name) => drop(submission.delegated.insert(name, bytes)),
                _ => submission.targets = Some(bytes),
            }
        }
        Some(submission)
    }

    /// What would change, compared with the state that the reader trusts.
    #[must_use]
    pub fn diff(&self) -> Diff {
        Diff::of(self)
    }

    /// The documents that `key` may sign and has not signed.
    #[must_use]
    pub fn wanted(&self, key: &Fingerprint) -> Vec<RoleName> {
        let wants = |document: &OpenDocument| document.may_sign(key) && !document.is_signed_by(key);
        self.documents.iter().filter(|(_, doc)| wants(doc)).map(|(role, _)| role.clone()).collect()
    }

    /// Signs every document that wants one of `signers`.
    ///
    /// # Errors
    /// A signer failed.
    pub fn sign(&self, signers: &[&dyn Signer]) -> Result<SignatureFile, SignError> {
        let mut signatures: Vec<DocumentSignature> = Vec::new();
        for signer in signers {
            let key = signer.public_key().fingerprint();
            if signatures.iter().any(|known| known.key == key) {
                continue;
            }
            for (role, document) in &self.documents {
                if document.may_sign(&key) && !document.is_signed_by(&key) {
                    signatures.push(DocumentSignature {
                        role: role.clone(),
                        payload_sha256: document.payload_sha256,
                        key,
                        signature: signer.sign(document.body.signed_bytes())?,
                    });
                }
            }
        }
        let (request, repository) = (self.request.id, self.request.repository.clone());
        Ok(SignatureFile { request, repository, signatures })
    }

    /// One digest for everything that is to be signed: what holders read to each other. It
    /// covers neither the reason nor names, and stays the same when signatures come.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        let mut text = format!("bulla signing request\n{}\n", self.request.repository);
        for (role, document) in &self.documents {
            text.push_str(&format!("{role} {}\n", document.payload_sha256));
        }
        Sha256Digest::of(text.as_bytes())
    }

    /// Whether a server with the online keys `held` could complete the change.
    ///
    /// # Errors
    /// It could not, so that nobody should be asked to sign.
    pub fn require_online_keys(&self, held: &BTreeSet<Fingerprint>) -> Result<(), Rejection> {
        match self.documents.get(&RoleName::Root).map(|document| &document.body) {
            Some(Body::Root(root)) => check_online_keys(self.request.dialect, root.payload(), held),
            _ => Ok(()),
        }
    }

    /// The name of the request.
    #[must_use]
    pub const fn id(&self) -> RequestId {
        self.request.id
    }
}

impl OpenDocument {
    pub(super) fn new(body: Body, signers: Vec<Signers>) -> Self {
        let signed = signers.iter().map(|signers| body.signed_by(signers)).collect();
        Self { payload_sha256: body.payload_digest(), body, signers, signed }
    }

    fn status(&self, role: &RoleName) -> DocumentStatus {
        let counts = self.signers.iter().zip(&self.signed).map(|(signers, signed)| {
            let missing = signers.prints.difference(signed).copied().collect();
            let threshold = signers.keys.threshold;
            Count { keys: signers.set, threshold, signed: signed.clone(), missing }
        });
        DocumentStatus {
            role: role.clone(),
            version: self.body.version(),
            payload_sha256: self.payload_sha256,
            counts: counts.collect(),
        }
    }

    pub(super) fn may_sign(&self, key: &Fingerprint) -> bool {
        self.signers.iter().any(|signers| signers.prints.contains(key))
    }

    /// Whether `key` signed for every delegator that names it: two may do so under different
    /// ids.
    pub(super) fn is_signed_by(&self, key: &Fingerprint) -> bool {
        let mut naming =
            self.signers.iter().zip(&self.signed).filter(|(known, _)| known.prints.contains(key));
        naming.all(|(_, signed)| signed.contains(key))
    }

    /// A signature that is in the request already must be one: who made the request could make
    /// it look further than it is, or in the way of a good one under the same id.
    fn require_signatures(&self, role: &RoleName) -> Result<(), OpenError> {
        let delegators: Vec<_> = self.signers.iter().map(|s| (&s.keys, &*s.table)).collect();
        match self.body.stray_signature(&delegators) {
            Some(key_id) => Err(OpenError::Signature { role: role.clone(), key_id: key_id.clone() }),
            None => Ok(()),
        }
    }
}

/// Each document that the request builds on must be the current one: if not, somebody changed
/// the repository meanwhile, and the change would undo that, or be refused.
fn require_fresh(
    base: &BTreeMap<RoleName, BaseDocument>,
    current: Option<&CurrentState>,
) -> Result<(), OpenError> {
    if let (true, Some(current)) = (base.is_empty(), current) {
        let current = Some(current.root().version());
        return Err(OpenError::Stale { role: RoleName::Root, base: None, current });
    }
    for (role, document) in base {
        let found = current.and_then(|current| BaseDocument::of(current, role));
        if found.as_ref() != Some(document) {
            let (base, current) = (Some(document.version), found.map(|found| found.version));
            return Err(OpenError::Stale { role: role.clone(), base, current });
        }
    }
    Ok(())
}

fn read(request: &SigningRequest) -> Result<BTreeMap<RoleName, Body>, OpenError> {
    let bodies = request.documents.iter().map(|(role, bytes)| {
        let unreadable = |source| OpenError::Document { role: role.clone(), source };
        let (dialect, bytes) = (request.dialect, bytes.clone());
        let body = match role {
            RoleName::Root => Body::Root(Proposed::read(dialect, bytes).map_err(unreadable)?),
            RoleName::Snapshot | RoleName::Timestamp => {
                return Err(OpenError::Rejected(Rejection::OnlineRole { role: role.clone() }));
            }
            _ => Body::Targets(Proposed::read(dialect, bytes).map_err(unreadable)?),
        };
        Ok((role.clone(), body))
    });
    bodies.collect()
}

/// The rules that the upload will be judged by, but for signatures.
fn check(
    request: &SigningRequest,
    outlook: &Outlook<'_>,
    bodies: &BTreeMap<RoleName, Body>,
    current: Option<&CurrentState>,
    now: UtcTime,
) -> Result<(), OpenError> {
    if bodies.is_empty() {
        return Err(OpenError::Rejected(Rejection::Empty));
    }
    let missing = |role| OpenError::Rejected(Rejection::Missing { role });
    let root = outlook.root().ok_or_else(|| missing(RoleName::Root))?;
    if current.is_none() && !bodies.contains_key(&RoleName::Targets) {
        return Err(missing(RoleName::Targets));
    }
    for (role, body) in bodies {
        let refused = |source| Rejection::Verify { role: role.clone(), source };
        match body {
            Body::Root(root) => {
                let before = current.and_then(|current| current.root().payload().repository.as_ref());
                root.require_repository(before).map_err(refused)?;
                check_unsigned_root(request.dialect, current, root.payload(), &request.repository, now)?;
            }
            Body::Targets(targets) => {
                targets.require_role(role, root).map_err(refused)?;
                require_named(
                    targets.payload(),
                    root,
                    current.and_then(|known| targets_of(known, role)),
                    role,
                )?;
                let rules = (request.dialect, root);
                check_unsigned_targets(current, rules, role, targets.payload(), now)?;
            }
        }
        if outlook.signers(role).is_empty() {
            return Err(OpenError::Rejected(Rejection::NotDelegated { role: role.clone() }));
        }
    }
    if outlook.base() != request.base {
        return Err(OpenError::Base);
    }
    if let Some(role) = outlook.orphan() {
        return Err(OpenError::Orphan { role });
    }
    if request.dialect == Dialect::Tuf1 {
        require_not_denied(outlook, bodies)?;
    }
    require_listed(request, bodies)
}

/// What the deny list names, nobody is asked to sign: neither of the current list nor of the one
/// that comes along.
fn require_not_denied(outlook: &Outlook<'_>, bodies: &BTreeMap<RoleName, Body>) -> Result<(), OpenError> {
    let own = RoleName::Delegated(DelegatedRoleName::revocations());
    let Some(list) = outlook.targets(&own).map(DenyList::new) else { return Ok(()) };
    for (role, body) in bodies.iter().filter(|(role, _)| **role != own) {
        let Body::Targets(targets) = body else { continue };
        for (path, info) in &targets.payload().targets {
            if let Some(denial) = list.find(&info.hashes) {
                let (role, path, digest) = (role.clone(), path.clone(), denial.digest);
                return Err(OpenError::Rejected(Rejection::DeniedDigest { role, path, digest }));
            }
        }
    }
    Ok(())
}

/// A document says which role it is of, where the repository is one whose documents do: one that
/// does not could be uploaded for another role that the same people sign.
fn require_named(
    targets: &Targets,
    root: &Root,
    before: Option<&Verified<Targets>>,
    role: &RoleName,
) -> Result<(), OpenError> {
    let was_named = before.is_none_or(|before| before.payload().role.is_some());
    if targets.role.is_none() && was_named && root.repository.is_some() {
        let what = "the document must say which role it is of";
        return Err(OpenError::Rejected(Rejection::Profile { role: role.clone(), what }));
    }
    Ok(())
}

fn require_listed(request: &SigningRequest, bodies: &BTreeMap<RoleName, Body>) -> Result<(), OpenError> {
    if request.files.is_empty() {
        return Ok(());
    }
    let targets = bodies.values().filter_map(|body| match body {
        Body::Root(_) => None,
        Body::Targets(targets) => Some(targets.payload().targets.values()),
    });
    // Looked up, not searched for: a short request can bring a million files of no bytes.
    let listed: BTreeSet<(Sha256Digest, u64)> =
        targets.flatten().filter_map(|info| Some((info.hashes.as_sha256()?, info.length))).collect();
    for file in &request.files {
        let digest = Sha256Digest::of(file);
        if file.len() > limits::MANIFEST_BYTES {
            let limit = limits::MANIFEST_BYTES;
            return Err(OpenError::Rejected(Rejection::TooLarge { role: RoleName::Targets, limit }));
        }
        if !u64::try_from(file.len()).is_ok_and(|length| listed.contains(&(digest, length))) {
            return Err(OpenError::Rejected(Rejection::UnlistedFile { digest }));
        }
    }
    Ok(())
}

impl Body {
    pub(super) fn version(&self) -> Version {
        match self {
            Self::Root(root) => root.payload().version,
            Self::Targets(targets) => targets.payload().version,
        }
    }

    pub(super) const fn bytes(&self) -> &Bytes {
        match self {
            Self::Root(root) => root.bytes(),
            Self::Targets(targets) => targets.bytes(),
        }
    }

    pub(super) fn signed_bytes(&self) -> &[u8] {
        match self {
            Self::Root(root) => root.signed_bytes(),
            Self::Targets(targets) => targets.signed_bytes(),
        }
    }

    pub(super) fn payload_digest(&self) -> Sha256Digest {
        Sha256Digest::of(self.signed_bytes())
    }

    pub(super) fn is_signature_of(&self, key: &PublicKey, signature: &Signature) -> bool {
        match self {
            Self::Root(root) => root.is_signature_of(key, signature),
            Self::Targets(targets) => targets.is_signature_of(key, signature),
        }
    }

    fn signed_by(&self, signers: &Signers) -> BTreeSet<Fingerprint> {
        match self {
            Self::Root(root) => root.signed_by(&signers.keys, &signers.table),
            Self::Targets(targets) => targets.signed_by(&signers.keys, &signers.table),
        }
    }

    fn stray_signature(
        &self,
        delegators: &[(&crate::metadata::RoleKeys, &crate::metadata::KeyTable)],
    ) -> Option<&KeyId> {
        match self {
            Self::Root(root) => root.stray_signature(delegators),
            Self::Targets(targets) => targets.stray_signature(delegators),
        }
    }
}

impl KeySet {
    /// What people call these keys.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new keys",
            Self::Old => "old keys",
            Self::Role => "keys",
        }
    }
}

/// Why a request cannot be acted on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It does not name exactly the documents that it builds on.
    #[error("it does not name exactly the documents that it builds on")]
    Base,
    /// A document cannot be read.
    #[error("{role}: {source}")]
    Document {
        /// Of which role.
        role: RoleName,
        /// Why.
        source: InvalidMetadata,
    },
    /// Nobody signed in time.
    #[error("it expired at {not_after}")]
    Expired {
        /// When.
        not_after: UtcTime,
    },
    /// A document that stays would no longer be signed by the right keys.
    #[error("{role} must be signed anew with this change, and is not part of it")]
    Orphan {
        /// Of which role.
        role: RoleName,
    },
    /// It is written for another mode than the repository's.
    #[error("it is written for another mode than the repository is in")]
    OtherMode,
    /// It is for another repository.
    #[error("it is for {found}")]
    OtherRepository {
        /// Which.
        found: RepositoryName,
    },
    /// Its upload would be refused, however many sign.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Something in it looks like a signature and is none that counts.
    #[error("{role} holds a signature under key id {key_id} that no key of the role made")]
    Signature {
        /// Of which role.
        role: RoleName,
        /// What it says.
        key_id: KeyId,
    },
    /// The repository has changed since.
    #[error("it builds on {role} {}, the current one is {}", name(*base), name(*current))]
    Stale {
        /// The role that changed.
        role: RoleName,
        /// The version that it builds on.
        base: Option<Version>,
        /// The current version: another, or the same with other content.
        current: Option<Version>,
    },
    /// It stays open longer than requests may.
    #[error("it stays open until {not_after}, longer than 90 days")]
    TooLong {
        /// How long.
        not_after: UtcTime,
    },
}

impl OpenError {
    /// Whether the repository went on without it: it can never be completed.
    #[must_use]
    pub const fn is_stale(&self) -> bool {
        matches!(self, Self::Stale { .. })
    }

    /// Whether its time is over.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::Expired { .. })
    }
}

fn name(version: Option<Version>) -> String {
    version.map_or_else(|| "(none)".to_owned(), |version| format!("v{version}"))
}
