//! A policy that was published, and what became of one that was to be.

use serde::Serialize;

use super::changes::Written;
use super::line;
use crate::flow::policy_publish::PublishedNow;
use crate::flow::policy_source::{FoundPolicy, PolicySource};
use crate::output::Report;

/// What `policy publish` did.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyPublishReport {
    repository: String,
    name: String,
    /// The name that the policy gives itself.
    policy: String,
    version: u64,
    /// The version before, where there is one and it can be told.
    before: Option<u64>,
    digest: String,
    role: String,
    /// Whether these very bytes were published already.
    unchanged: bool,
    #[serde(flatten)]
    written: Option<Written>,
}

impl PolicyPublishReport {
    /// Of what was done.
    #[must_use]
    pub fn new(source: &PolicySource, done: &PublishedNow) -> Self {
        Self {
            repository: source.repository.to_string(),
            name: source.name.to_string(),
            policy: done.title.clone(),
            version: done.edition.version,
            before: done.before,
            digest: done.edition.digest.to_oci(),
            role: done.role.to_string(),
            unchanged: done.published.is_none(),
            written: done.published.as_ref().map(Written::from),
        }
    }
}

impl Report for PolicyPublishReport {
    const SCHEMA: &'static str = "bulla/policy-publish/v1";

    fn text(&self) -> String {
        let mut text = String::new();
        let Self { repository, name, version, role, digest, .. } = self;
        line(&mut text, format_args!("{repository}#{name} version {version}, by {role}: {digest}"));
        text
    }
}

/// A published policy, as it would be used now.
#[derive(Clone, Debug, Serialize)]
pub struct PublishedPolicyReport {
    repository: String,
    name: String,
    version: u64,
    role: String,
    signed_at: Option<String>,
    valid_until: String,
    digest: String,
    offline: Option<String>,
    text: String,
}

impl PublishedPolicyReport {
    /// Of what was found.
    #[must_use]
    pub fn new(source: &PolicySource, found: &FoundPolicy) -> Self {
        Self {
            repository: source.repository.to_string(),
            name: source.name.to_string(),
            version: found.published.edition.version,
            role: found.role.to_string(),
            signed_at: found.signed_at.map(|at| at.to_string()),
            valid_until: found.valid_until.to_string(),
            digest: found.published.edition.digest.to_oci(),
            offline: found.offline.clone(),
            text: String::from_utf8_lossy(&found.bytes).into_owned(),
        }
    }
}

impl Report for PublishedPolicyReport {
    const SCHEMA: &'static str = "bulla/published-policy/v1";

    fn text(&self) -> String {
        self.text.clone()
    }
}
