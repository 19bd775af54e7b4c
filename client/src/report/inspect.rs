//! A repository and its signers, for people and programs.

use serde::Serialize;

use super::table;
use crate::flow::inspect::{DeniedState, Inspection, RevokedState, RoleState, SignerState, TagState};
use crate::output::Report;

/// The signers of a repository.
#[derive(Clone, Debug, Serialize)]
pub struct SignersReport {
    repository: String,
    signers: Vec<SignerReport>,
}

#[derive(Clone, Debug, Serialize)]
struct SignerReport {
    name: String,
    patterns: Vec<String>,
    threshold: u32,
    keys: Vec<String>,
    version: Option<u64>,
    expires: Option<String>,
    expired: bool,
    ends: Option<String>,
    tags: usize,
}

impl SignersReport {
    /// Of an inspection.
    #[must_use]
    pub fn new(inspection: &Inspection) -> Self {
        let signers = inspection.signers.iter().map(|signer| signer_report(inspection, signer)).collect();
        Self { repository: inspection.repository.to_string(), signers }
    }
}

impl Report for SignersReport {
    const SCHEMA: &'static str = "bulla/signers/v1";

    fn text(&self) -> String {
        signer_table(&self.signers)
    }
}

/// A repository, inspected.
#[derive(Clone, Debug, Serialize)]
pub struct InspectReport {
    repository: String,
    root_sha256: String,
    roles: Vec<RoleReport>,
    signers: Vec<SignerReport>,
    tags: Vec<TagReport>,
    denied: Vec<DeniedReport>,
    offline: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct RoleReport {
    role: String,
    version: u64,
    expires: String,
    expired: bool,
    threshold: u32,
    keys: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct TagReport {
    tag: String,
    digest: Option<String>,
    size: Option<u64>,
    signed_by: Vec<String>,
    revoked_at: Option<String>,
    reason: Option<String>,
    revoked_by: Vec<String>,
    #[serde(skip)]
    is_revoked: bool,
}

#[derive(Clone, Debug, Serialize)]
struct DeniedReport {
    digest: String,
    revoked_at: Option<String>,
    reason: Option<String>,
    revoked_by: Vec<String>,
}

impl From<&Inspection> for InspectReport {
    fn from(inspection: &Inspection) -> Self {
        Self {
            repository: inspection.repository.to_string(),
            root_sha256: inspection.root_digest.to_string(),
            roles: inspection.roles.iter().map(|role| role_report(inspection, role)).collect(),
            signers: inspection.signers.iter().map(|signer| signer_report(inspection, signer)).collect(),
            tags: inspection.tags.iter().map(tag_report).collect(),
            denied: inspection.denied.iter().map(denied_report).collect(),
            offline: inspection.offline.clone(),
        }
    }
}

impl Report for InspectReport {
    const SCHEMA: &'static str = "bulla/inspect/v1";

    fn text(&self) -> String {
        let mut text = format!("{}\nroot sha256: {}\n\n", self.repository, self.root_sha256);
        let roles = self.roles.iter().map(|role| {
            let keys = format!("{} of {}", role.threshold, role.keys.len());
            vec![role.role.clone(), role.version.to_string(), keys, expiry(&role.expires, role.expired)]
        });
        text += &table(&["ROLE", "VERSION", "KEYS", "EXPIRES"], roles);
        if !self.signers.is_empty() {
            text.push('\n');
            text += &signer_table(&self.signers);
        }
        text.push('\n');
        let tags = self.tags.iter().map(|tag| {
            let by = match &tag.revoked_at {
                Some(at) => format!("REVOKED {at}"),
                None if tag.is_revoked => "REVOKED".to_owned(),
                None => tag.signed_by.join(", "),
            };
            vec![tag.tag.clone(), tag.digest.clone().unwrap_or_default(), by]
        });
        text += &table(&["TAG", "DIGEST", "SIGNED BY"], tags);
        if !self.denied.is_empty() {
            text.push('\n');
            let denied = self.denied.iter().map(|denied| {
                let at = denied.revoked_at.clone().unwrap_or_default();
                vec![denied.digest.clone(), at, denied.reason.clone().unwrap_or_default()]
            });
            text += &table(&["DENIED DIGEST", "SINCE", "REASON"], denied);
        }
        text
    }
}

fn role_report(inspection: &Inspection, role: &RoleState) -> RoleReport {
    RoleReport {
        role: role.role.to_string(),
        version: role.version.get(),
        expires: role.expires.to_string(),
        expired: role.expires.is_over(inspection.now),
        threshold: role.threshold.get(),
        keys: role.keys.iter().map(ToString::to_string).collect(),
    }
}

fn signer_report(inspection: &Inspection, signer: &SignerState) -> SignerReport {
    SignerReport {
        name: signer.name.to_string(),
        patterns: signer.patterns.clone(),
        threshold: signer.threshold.get(),
        keys: signer.keys.iter().map(ToString::to_string).collect(),
        version: signer.document.map(|(version, _)| version.get()),
        expires: signer.document.map(|(_, expires)| expires.to_string()),
        expired: signer.document.is_some_and(|(_, expires)| expires.is_over(inspection.now)),
        ends: signer.ends.map(|ends| ends.to_string()),
        tags: signer.tags,
    }
}

fn tag_report(tag: &TagState) -> TagReport {
    let revoked = tag.revoked.as_ref();
    TagReport {
        tag: tag.tag.clone(),
        digest: tag.digest.map(|digest| digest.to_oci()),
        size: tag.size,
        signed_by: tag.signed_by.iter().map(ToString::to_string).collect(),
        revoked_at: revoked.and_then(|revoked| revoked.at).map(|at| at.to_string()),
        reason: revoked.and_then(|revoked| revoked.reason.clone()),
        revoked_by: revoked.map(revoked_by).unwrap_or_default(),
        is_revoked: revoked.is_some(),
    }
}

fn denied_report(denied: &DeniedState) -> DeniedReport {
    DeniedReport {
        digest: denied.digest.to_oci(),
        revoked_at: denied.revoked.at.map(|at| at.to_string()),
        reason: denied.revoked.reason.clone(),
        revoked_by: revoked_by(&denied.revoked),
    }
}

fn revoked_by(revoked: &RevokedState) -> Vec<String> {
    revoked.by.iter().map(|holder| holder.key.to_string()).collect()
}

fn signer_table(signers: &[SignerReport]) -> String {
    let rows = signers.iter().map(|signer| {
        let keys = format!("{} of {}", signer.threshold, signer.keys.len());
        let expires = match &signer.expires {
            Some(expires) => expiry(expires, signer.expired),
            None => "not signed yet".to_owned(),
        };
        vec![signer.name.clone(), signer.patterns.join(", "), keys, signer.tags.to_string(), expires]
    });
    table(&["SIGNER", "TAGS ALLOWED", "KEYS", "TAGS", "EXPIRES"], rows)
}

fn expiry(expires: &str, expired: bool) -> String {
    if expired { format!("{expires} (expired)") } else { expires.to_owned() }
}
