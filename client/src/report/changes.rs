//! What changes answer.

use bulla_keys_schema::key::KeyName;
use bulla_keys_schema::names::{ImageRef, RepositoryName};
use serde::Serialize;

use super::line;
use crate::flow::cosign::only;
use crate::flow::cosign::write::Written as InRegistry;
use crate::flow::deny::{self, Denied};
use crate::flow::init::Begun;
use crate::flow::publish::Published;
use crate::flow::revoke::Revoked;
use crate::flow::sign::Signed;
use crate::flow::signer::{Added, Removed};
use crate::output::Report;

/// A repository that was begun.
#[derive(Clone, Debug, Serialize)]
pub struct InitReport {
    repository: String,
    root_sha256: Option<String>,
    root_keys: Vec<String>,
    root_threshold: u32,
    root_expires: String,
    pinned_as: String,
    /// Root keys that have not signed.
    not_proven: Vec<String>,
    /// The signing request that waits for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    dry_run: bool,
}

impl InitReport {
    /// Of what `init` did.
    #[must_use]
    pub fn new(repository: &RepositoryName, begun: &Begun) -> Self {
        Self {
            repository: repository.to_string(),
            root_sha256: begun.root_digest.map(|digest| digest.to_string()),
            root_keys: begun.root_keys.iter().map(ToString::to_string).collect(),
            root_threshold: begun.threshold.get(),
            root_expires: begun.expires.to_string(),
            pinned_as: begun.scope.to_string(),
            not_proven: begun.not_proven.iter().map(ToString::to_string).collect(),
            request: begun.request.map(|id| id.to_string()),
            dry_run: !begun.done,
        }
    }
}

impl Report for InitReport {
    const SCHEMA: &'static str = "bulla/init/v1";

    fn text(&self) -> String {
        let mut text = format!("repository:     {}\n", self.repository);
        if let Some(digest) = &self.root_sha256 {
            line(&mut text, format_args!("root sha256:    {digest}"));
        }
        line(&mut text, format_args!("root threshold: {} of {}", self.root_threshold, self.root_keys.len()));
        for key in &self.root_keys {
            line(&mut text, format_args!("root key:       {key}"));
        }
        line(&mut text, format_args!("root expires:   {}", self.root_expires));
        text
    }
}

/// What a change wrote.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Written {
    pub(super) documents: Vec<DocumentReport>,
    signed_with: Vec<String>,
    /// The signing request that waits for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    dry_run: bool,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct DocumentReport {
    pub(super) role: String,
    pub(super) version: u64,
}

impl From<&Published> for Written {
    fn from(published: &Published) -> Self {
        let documents = published.roles.iter();
        Self {
            documents: documents
                .map(|(role, version)| DocumentReport { role: role.to_string(), version: version.get() })
                .collect(),
            signed_with: published.keys.iter().map(ToString::to_string).collect(),
            request: published.request.map(|id| id.to_string()),
            dry_run: !published.done && published.request.is_none(),
        }
    }
}

impl Written {
    /// Where nothing is written but to the registry.
    pub(super) fn in_registry(keys: &[KeyName], done: bool) -> Self {
        let signed_with = keys.iter().map(ToString::to_string).collect();
        Self { documents: vec![], signed_with, request: None, dry_run: !done }
    }
}

/// A tag that was signed.
#[derive(Clone, Debug, Serialize)]
pub struct SignReport {
    repository: String,
    /// None where only a digest was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    digest: String,
    size: u64,
    reference: String,
    platforms: Vec<PlatformReport>,
    in_registry: Vec<InRegistryReport>,
    #[serde(flatten)]
    written: Written,
}

/// Something that lies in the registry, next to the image.
#[derive(Clone, Debug, Serialize)]
pub(super) struct InRegistryReport {
    subject: String,
    kind: &'static str,
    /// None in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    new: bool,
}

impl From<&InRegistry> for InRegistryReport {
    fn from(written: &InRegistry) -> Self {
        Self {
            subject: written.subject.to_oci(),
            kind: written.kind.as_str(),
            place: written.place.clone(),
            new: written.is_new,
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct PlatformReport {
    platform: String,
    digest: String,
    size: u64,
}

impl SignReport {
    /// Of what `sign` did.
    #[must_use]
    pub fn new(repository: &RepositoryName, signed: &Signed) -> Self {
        let platforms = signed.platforms.iter();
        Self {
            repository: repository.to_string(),
            tag: Some(signed.tag.to_string()),
            digest: signed.digest.to_oci(),
            size: signed.size,
            reference: ImageRef::pinned(repository, signed.digest),
            platforms: platforms
                .map(|p| PlatformReport { platform: p.name.clone(), digest: p.digest.to_oci(), size: p.size })
                .collect(),
            in_registry: signed.in_registry.iter().map(InRegistryReport::from).collect(),
            written: Written::from(&signed.published),
        }
    }

    /// Of what `sign --only-registry` did.
    #[must_use]
    pub fn in_registry(request: &only::Request, signed: &only::Signed) -> Self {
        let repository = request.image.repository();
        Self {
            repository: repository.to_string(),
            tag: request.image.tag().map(ToString::to_string),
            digest: signed.digest.to_oci(),
            size: signed.size,
            reference: ImageRef::pinned(repository, signed.digest),
            platforms: vec![],
            in_registry: signed.written.iter().map(InRegistryReport::from).collect(),
            written: Written::in_registry(&request.keys, signed.done),
        }
    }
}

impl Report for SignReport {
    const SCHEMA: &'static str = "bulla/sign/v1";

    fn text(&self) -> String {
        let mut text = format!("{}\n", self.reference);
        for platform in &self.platforms {
            line(&mut text, format_args!("{} {}", platform.digest, platform.platform));
        }
        text
    }
}

/// A tag that was revoked.
#[derive(Clone, Debug, Serialize)]
pub struct RevokeReport {
    repository: String,
    tag: String,
    digest: String,
    still_listed_by: Vec<String>,
    #[serde(flatten)]
    written: Written,
}

impl RevokeReport {
    /// Of what `revoke` did.
    #[must_use]
    pub fn new(repository: &RepositoryName, tag: &str, revoked: &Revoked) -> Self {
        Self {
            repository: repository.to_string(),
            tag: tag.to_owned(),
            digest: revoked.digest.to_oci(),
            still_listed_by: revoked.still_listed_by.iter().map(ToString::to_string).collect(),
            written: Written::from(&revoked.published),
        }
    }
}

impl Report for RevokeReport {
    const SCHEMA: &'static str = "bulla/revoke/v1";

    fn text(&self) -> String {
        format!("{}:{} {}\n", self.repository, self.tag, self.digest)
    }
}

/// A digest that was forbidden, or allowed again.
#[derive(Clone, Debug, Serialize)]
pub struct RevokeDigestReport {
    repository: String,
    digest: String,
    denied: bool,
    tags: Vec<String>,
    still_listed: Vec<ListedReport>,
    #[serde(flatten)]
    written: Written,
}

#[derive(Clone, Debug, Serialize)]
struct ListedReport {
    role: String,
    tag: String,
}

impl RevokeDigestReport {
    /// Of what `revoke --digest` did.
    #[must_use]
    pub fn denied(request: &deny::Request, denied: &Denied) -> Self {
        let left = denied.left.iter();
        Self {
            repository: request.repository.to_string(),
            digest: request.digest.to_oci(),
            denied: denied.is_listed,
            tags: denied.tags.clone(),
            still_listed: left
                .map(|(role, tag)| ListedReport { role: role.to_string(), tag: tag.clone() })
                .collect(),
            written: Written::from(&denied.published),
        }
    }

    /// Of what `revoke --digest --undo` did.
    #[must_use]
    pub fn undone(request: &deny::Request, published: &Published) -> Self {
        Self {
            repository: request.repository.to_string(),
            digest: request.digest.to_oci(),
            denied: false,
            tags: vec![],
            still_listed: vec![],
            written: Written::from(published),
        }
    }
}

impl Report for RevokeDigestReport {
    const SCHEMA: &'static str = "bulla/revoke-digest/v1";

    fn text(&self) -> String {
        let mut text = format!("{} {}\n", self.repository, self.digest);
        for tag in &self.tags {
            line(&mut text, format_args!("taken off: {tag}"));
        }
        for left in &self.still_listed {
            line(&mut text, format_args!("still listed by {}: {}", left.role, left.tag));
        }
        text
    }
}

/// A signer who came or went.
#[derive(Clone, Debug, Serialize)]
pub struct SignerChangeReport {
    repository: String,
    signer: String,
    keys: Vec<String>,
    taken_over: Vec<String>,
    dropped: Vec<String>,
    #[serde(flatten)]
    written: Written,
}

impl SignerChangeReport {
    /// Of what `signer add` did.
    #[must_use]
    pub fn added(repository: &RepositoryName, signer: &str, added: &Added) -> Self {
        Self {
            repository: repository.to_string(),
            signer: signer.to_owned(),
            keys: added.keys.iter().map(ToString::to_string).collect(),
            taken_over: added.taken_over.clone(),
            dropped: vec![],
            written: Written::from(&added.published),
        }
    }

    /// Of what `signer remove` did.
    #[must_use]
    pub fn removed(repository: &RepositoryName, signer: &str, removed: &Removed) -> Self {
        Self {
            repository: repository.to_string(),
            signer: signer.to_owned(),
            keys: vec![],
            taken_over: vec![],
            dropped: removed.dropped.clone(),
            written: Written::from(&removed.published),
        }
    }
}

impl Report for SignerChangeReport {
    const SCHEMA: &'static str = "bulla/signer-change/v1";

    fn text(&self) -> String {
        let mut text = format!("{} {}\n", self.repository, self.signer);
        for tag in &self.taken_over {
            line(&mut text, format_args!("taken over: {tag}"));
        }
        for tag in &self.dropped {
            line(&mut text, format_args!("not signed any more: {tag}"));
        }
        text
    }
}

/// The file that a signer hands to the admin.
#[derive(Clone, Debug, Serialize)]
pub struct EnrolmentReport {
    repository: String,
    signer: String,
    file: String,
}

impl EnrolmentReport {
    /// Of what `signer enrol` wrote.
    #[must_use]
    pub fn new(repository: &RepositoryName, signer: &str, file: &str) -> Self {
        Self { repository: repository.to_string(), signer: signer.to_owned(), file: file.to_owned() }
    }
}

impl Report for EnrolmentReport {
    const SCHEMA: &'static str = "bulla/enrolment/v1";

    fn text(&self) -> String {
        format!("{}\n", self.file)
    }
}
