//! What of a repository expires when.

use bulla_keys_schema::wire::RequestSummary;
use serde::Serialize;

use super::table;
use crate::flow::status::{Life, RoleStatus, Status};
use crate::output::Report;

/// The status of a repository.
#[derive(Clone, Debug, Serialize)]
pub struct StatusReport {
    repository: String,
    root_sha256: String,
    judged_at: String,
    roles: Vec<RoleReport>,
    requests: Option<Vec<RequestReport>>,
    offline: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct RoleReport {
    role: String,
    version: Option<u64>,
    expires: Option<String>,
    life: &'static str,
    /// Nothing where nobody here can tell.
    signed_by_server: Option<bool>,
    threshold: u32,
    here: usize,
    keys: Vec<KeyReport>,
}

#[derive(Clone, Debug, Serialize)]
struct RequestReport {
    id: String,
    not_after: String,
    roles: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct KeyReport {
    fingerprint: String,
    name: Option<String>,
}

impl From<&Status> for StatusReport {
    fn from(status: &Status) -> Self {
        Self {
            repository: status.repository.to_string(),
            root_sha256: status.root_digest.to_string(),
            judged_at: status.now.to_string(),
            roles: status.roles.iter().map(role_report).collect(),
            requests: status.requests.as_ref().map(|open| open.iter().map(request_report).collect()),
            offline: status.offline.clone(),
        }
    }
}

impl Report for StatusReport {
    const SCHEMA: &'static str = "bulla/status/v1";

    fn text(&self) -> String {
        let rows = self.roles.iter().map(|role| {
            let who = match role.signed_by_server {
                Some(true) => "the trust server".to_owned(),
                Some(false) => keys(role),
                None => format!("the trust server or another owner: {}", keys(role)),
            };
            let expires = role.expires.clone().unwrap_or_default();
            vec![role.role.clone(), expires, role.life.to_owned(), who]
        });
        let roles = table(&["ROLE", "EXPIRES", "STATE", "KEYS"], rows);
        let requests = self.requests.iter().flatten().map(|request| {
            let (id, roles, end) = (&request.id, request.roles.join(", "), &request.not_after);
            format!(
                "waits for signatures until {end}: {roles} (bulla request show {} {id})\n",
                self.repository
            )
        });
        format!("{}\n{roles}{}", self.repository, requests.collect::<String>())
    }
}

fn keys(role: &RoleReport) -> String {
    let names = role.keys.iter().map(|key| key.name.clone().unwrap_or_else(|| short(&key.fingerprint)));
    let names: Vec<String> = names.collect();
    format!("{} of {}, {} here: {}", role.threshold, role.keys.len(), role.here, names.join(", "))
}

/// Enough of a fingerprint to tell keys apart on a screen.
fn short(fingerprint: &str) -> String {
    format!("{}...", fingerprint.chars().take(12).collect::<String>())
}

fn request_report(request: &RequestSummary) -> RequestReport {
    RequestReport {
        id: request.id.clone(),
        not_after: request.not_after.to_string(),
        roles: request.roles.iter().map(ToString::to_string).collect(),
    }
}

fn role_report(role: &RoleStatus) -> RoleReport {
    RoleReport {
        role: role.role.to_string(),
        version: role.document.map(|(version, _)| version.get()),
        expires: role.document.map(|(_, expires)| expires.to_string()),
        life: match role.life {
            Life::Fine => "fine",
            Life::Ending => "ending",
            Life::Over => "expired",
            Life::Unsigned => "not signed yet",
            Life::Closed => "closed",
        },
        signed_by_server: role.by_server,
        threshold: role.threshold.get(),
        here: role.here(),
        keys: role
            .keys
            .iter()
            .map(|(key, name)| KeyReport {
                fingerprint: key.to_string(),
                name: name.as_ref().map(ToString::to_string),
            })
            .collect(),
    }
}
