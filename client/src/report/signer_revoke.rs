//! What `bulla signer revoke` answers.

use serde::Serialize;

use super::changes::Written;
use super::line;
use crate::flow::signed_since::{SignedEntry, Source};
use crate::flow::signer_revoke::{Request, SignerRevoked};
use crate::output::Report;

/// A signer that was revoked.
#[derive(Clone, Debug, Serialize)]
pub struct SignerRevokeReport {
    repository: String,
    signer: String,
    keys: Vec<String>,
    also_removed: Vec<String>,
    taken_out_of: Vec<String>,
    still_in: Vec<String>,
    top_level: Vec<String>,
    since: Option<String>,
    known_from: &'static str,
    signed: Vec<SignedReport>,
    taken_over: Vec<String>,
    taken_off: Vec<String>,
    #[serde(flatten)]
    written: Written,
}

#[derive(Clone, Debug, Serialize)]
struct SignedReport {
    tag: String,
    digest: Option<String>,
    signed_at: Option<String>,
}

impl SignerRevokeReport {
    /// Of what was done.
    #[must_use]
    pub fn new(request: &Request, revoked: &SignerRevoked) -> Self {
        fn names(things: &[impl ToString]) -> Vec<String> {
            things.iter().map(ToString::to_string).collect()
        }
        Self {
            repository: request.repository.to_string(),
            signer: request.name.to_string(),
            keys: names(&revoked.keys),
            also_removed: names(&revoked.also_removed),
            taken_out_of: names(&revoked.taken_out_of),
            still_in: names(&revoked.still_in),
            top_level: names(&revoked.top_level),
            since: request.since.map(|since| since.to_string()),
            known_from: match revoked.source {
                Source::Everything => "everything",
                Source::ServerRecord => "server-record",
                Source::SignersWord => "signers-word",
            },
            signed: revoked.signed.iter().map(signed).collect(),
            taken_over: revoked.taken_over.clone(),
            taken_off: revoked.taken_off.clone(),
            written: Written::from(&revoked.published),
        }
    }
}

fn signed(entry: &SignedEntry) -> SignedReport {
    SignedReport {
        tag: entry.tag.clone(),
        digest: entry.digest.map(|digest| digest.to_oci()),
        signed_at: entry.signed_at.map(|at| at.to_string()),
    }
}

impl Report for SignerRevokeReport {
    const SCHEMA: &'static str = "bulla/signer-revoke/v1";

    fn text(&self) -> String {
        let mut text = format!("{} {}\n", self.repository, self.signer);
        for entry in &self.signed {
            let digest = entry.digest.as_deref().unwrap_or_default();
            let at = entry.signed_at.as_deref().unwrap_or("at an unknown time");
            line(&mut text, format_args!("had signed: {} {digest} {at}", entry.tag.escape_debug()));
        }
        for tag in &self.taken_over {
            line(&mut text, format_args!("taken over: {}", tag.escape_debug()));
        }
        for tag in &self.taken_off {
            line(&mut text, format_args!("taken off: {}", tag.escape_debug()));
        }
        for role in &self.taken_out_of {
            line(&mut text, format_args!("keys taken out of: {role}"));
        }
        text
    }
}
