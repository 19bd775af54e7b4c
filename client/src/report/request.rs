//! What signing requests answer: what would change, in full, and how far it is.

mod changes;

use std::collections::{BTreeMap, BTreeSet};

use bulla_keys_schema::key::Fingerprint;
use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::request::{Count, DocumentStatus, RequestStatus, SignatureFile};
use bulla_keys_schema::wire::RequestSummary;
use serde::Serialize;

use super::{line, table};
use crate::flow::request::{Holder, Judged};
use crate::output::Report;

use changes::ChangeReport;

/// Digits of a fingerprint that stand for a key without a name.
const SHORT: usize = 12;
const DAY: i64 = 24 * 60 * 60;
const HOUR: i64 = 60 * 60;

/// A request, judged here.
#[derive(Clone, Debug, Serialize)]
pub struct RequestReport {
    repository: String,
    request: String,
    reason: String,
    created_by: String,
    created_at: String,
    not_after: String,
    digest: String,
    complete: bool,
    /// Whether the server has published it; `None` where nobody asked the server.
    published: Option<bool>,
    root_sha256: Option<String>,
    documents: Vec<DocumentReport>,
    warnings: Vec<String>,
    #[serde(skip)]
    status: Vec<String>,
    /// Whether people have seen the changes already.
    #[serde(skip)]
    is_brief: bool,
}

#[derive(Clone, Debug, Serialize)]
struct DocumentReport {
    role: String,
    current_version: Option<u64>,
    version: u64,
    payload_sha256: String,
    changes: Vec<ChangeReport>,
    counts: Vec<CountReport>,
}

#[derive(Clone, Debug, Serialize)]
struct CountReport {
    keys: &'static str,
    threshold: u32,
    signed: Vec<KeyReport>,
    missing: Vec<KeyReport>,
}

#[derive(Clone, Debug, Serialize)]
struct KeyReport {
    fingerprint: String,
    name: Option<String>,
    here: bool,
}

impl RequestReport {
    /// Of a request as this home judges it.
    #[must_use]
    pub fn new(judged: &Judged) -> Self {
        let request = judged.open.request();
        let (status, diff) = (judged.open.status(), judged.open.diff());
        let (names, said) = (Names(&judged.holders), changes::said(&request.files));
        let documents = status.documents.iter().zip(&diff.roles).map(|(status, changed)| DocumentReport {
            role: status.role.to_string(),
            current_version: changed.before.map(|version| version.get()),
            version: status.version.get(),
            payload_sha256: status.payload_sha256.to_string(),
            changes: changed.changes.iter().map(|change| ChangeReport::new(change, &names, &said)).collect(),
            counts: status.counts.iter().map(|count| names.count(count)).collect(),
        });
        let left = left(request.not_after.seconds_since(judged.now));
        let is_first = judged.current.is_none() && status.is_complete();
        Self {
            repository: request.repository.to_string(),
            request: request.id.to_string(),
            reason: request.reason.to_string(),
            created_by: request.created_by.to_string(),
            created_at: request.created_at.to_string(),
            not_after: request.not_after.to_string(),
            digest: judged.open.digest().to_string(),
            complete: status.is_complete(),
            published: None,
            root_sha256: is_first.then(|| root_digest(judged)).flatten(),
            documents: documents.collect(),
            warnings: diff.warnings.iter().map(|warning| changes::warning(warning, &names)).collect(),
            status: lines(&status, &names, &left),
            is_brief: false,
        }
    }

    /// The same after signatures were handed in: in words, only how far it is.
    #[must_use]
    pub const fn handed_in(mut self, published: bool) -> Self {
        self.published = Some(published);
        self.is_brief = true;
        self
    }

    fn write_changes(&self, text: &mut String) {
        line(text, format_args!("request:    {}", self.request));
        line(text, format_args!("repository: {}", self.repository));
        line(text, format_args!("reason:     {}", self.reason));
        line(text, format_args!("made:       {} by {}", self.created_at, self.created_by));
        line(text, format_args!("expires:    {}", self.not_after));
        line(text, format_args!("digest:     {}", self.digest));
        for document in &self.documents {
            let before = document.current_version.map_or_else(|| "new".to_owned(), |v| format!("v{v}"));
            line(text, format_args!("\n{} {before} -> v{}", document.role, document.version));
            for change in &document.changes {
                line(text, format_args!("  {}", change.text));
            }
            if document.changes.is_empty() {
                line(text, format_args!("  nothing but its version"));
            }
        }
        if !self.warnings.is_empty() {
            text.push('\n');
        }
        for warning in &self.warnings {
            line(text, format_args!("warning: {warning}"));
        }
        text.push('\n');
    }
}

impl Report for RequestReport {
    const SCHEMA: &'static str = "bulla/request/v1";

    fn text(&self) -> String {
        let mut text = String::new();
        if !self.is_brief {
            self.write_changes(&mut text);
        }
        for status in &self.status {
            line(&mut text, format_args!("{status}"));
        }
        if let Some(digest) = &self.root_sha256 {
            line(&mut text, format_args!("root sha256: {digest}"));
        }
        text
    }
}

/// Signatures that were written into a file.
#[derive(Clone, Debug, Serialize)]
pub struct SignaturesReport {
    file: String,
    signatures: Vec<SignatureReport>,
    #[serde(flatten)]
    request: RequestReport,
}

#[derive(Clone, Debug, Serialize)]
struct SignatureReport {
    role: String,
    fingerprint: String,
    payload_sha256: String,
}

impl SignaturesReport {
    /// Of a file of signatures over a request, which holds them already.
    #[must_use]
    pub fn new(file: &str, signatures: &SignatureFile, judged: &Judged) -> Self {
        let signatures = signatures.signatures.iter().map(|one| SignatureReport {
            role: one.role.to_string(),
            fingerprint: one.key.to_string(),
            payload_sha256: one.payload_sha256.to_string(),
        });
        Self { file: file.to_owned(), signatures: signatures.collect(), request: RequestReport::new(judged) }
    }
}

impl Report for SignaturesReport {
    const SCHEMA: &'static str = "bulla/signatures-made/v1";

    fn text(&self) -> String {
        let mut text = format!("{}\n", self.file);
        for status in &self.request.status {
            line(&mut text, format_args!("{status}"));
        }
        text
    }
}

/// The open requests of a repository.
#[derive(Clone, Debug, Serialize)]
pub struct RequestsReport {
    repository: String,
    requests: Vec<RequestSummary>,
}

impl RequestsReport {
    /// As the server lists them.
    #[must_use]
    pub fn new(repository: &RepositoryName, requests: Vec<RequestSummary>) -> Self {
        Self { repository: repository.to_string(), requests }
    }
}

impl Report for RequestsReport {
    const SCHEMA: &'static str = "bulla/requests/v1";

    fn text(&self) -> String {
        if self.requests.is_empty() {
            return "no open signing request\n".to_owned();
        }
        let rows = self.requests.iter().map(|request| {
            let roles: Vec<String> = request.roles.iter().map(ToString::to_string).collect();
            vec![
                request.id.clone(),
                roles.join(", "),
                request.not_after.to_string(),
                request.created_by.clone(),
                request.reason.clone(),
            ]
        });
        table(&["REQUEST", "ROLES", "EXPIRES", "BY", "REASON"], rows)
    }
}

/// What keys are called here.
pub(super) struct Names<'a>(&'a BTreeMap<Fingerprint, Holder>);

impl Names<'_> {
    /// The name of a key, or the beginning of its fingerprint.
    fn short(&self, key: &Fingerprint) -> String {
        match self.0.get(key) {
            Some(holder) => holder.name.clone(),
            None => key.to_string().chars().take(SHORT).collect(),
        }
    }

    /// The whole fingerprint, with the name if there is one and who says so.
    pub(super) fn whole(&self, key: &Fingerprint) -> String {
        match self.0.get(key) {
            Some(Holder { name, is_here: true }) => format!("{key} ({name}, in this home)"),
            Some(Holder { name, is_here: false }) => format!("{key} (called {name} in the request)"),
            None => key.to_string(),
        }
    }

    fn key(&self, key: &Fingerprint) -> KeyReport {
        let holder = self.0.get(key);
        KeyReport {
            fingerprint: key.to_string(),
            name: holder.map(|holder| holder.name.clone()),
            here: holder.is_some_and(|holder| holder.is_here),
        }
    }

    fn count(&self, count: &Count) -> CountReport {
        CountReport {
            keys: match count.keys.as_str() {
                "keys" => "role",
                "old keys" => "old",
                _ => "new",
            },
            threshold: count.threshold.get(),
            signed: count.signed.iter().map(|key| self.key(key)).collect(),
            missing: count.missing.iter().map(|key| self.key(key)).collect(),
        }
    }
}

fn lines(status: &RequestStatus, names: &Names<'_>, left: &str) -> Vec<String> {
    let line = |document: &DocumentStatus| {
        let counts: Vec<String> = document.counts.iter().map(|count| words(count, names)).collect();
        format!("{} v{}  {}  expires in {left}", document.role, document.version, counts.join("  "))
    };
    status.documents.iter().map(line).collect()
}

/// `old keys 2/3 (alice, bob; any 1 of carol, dave)`
fn words(count: &Count, names: &Names<'_>) -> String {
    let list = |keys: &BTreeSet<Fingerprint>| {
        let mut keys: Vec<String> = keys.iter().map(|key| names.short(key)).collect();
        keys.sort_unstable();
        keys.join(", ")
    };
    let mut parts = Vec::new();
    if !count.signed.is_empty() {
        parts.push(list(&count.signed));
    }
    let wanted = (count.threshold.get() as usize).saturating_sub(count.signed.len());
    if wanted > 0 {
        parts.push(format!("any {wanted} of {}", list(&count.missing)));
    }
    let (keys, signed) = (count.keys.as_str(), count.signed.len());
    format!("{keys} {signed}/{} ({})", count.threshold, parts.join("; "))
}

/// A span of time in its largest unit.
fn left(seconds: i64) -> String {
    match seconds {
        DAY.. => format!("{} d", seconds / DAY),
        HOUR.. => format!("{} h", seconds / HOUR),
        _ => format!("{} min", seconds / 60),
    }
}

fn root_digest(judged: &Judged) -> Option<String> {
    let documents = judged.open.documents();
    let root = documents.iter().find(|(role, ..)| role.as_str() == "root")?;
    Some(bulla_keys_schema::digest::Sha256Digest::of(&root.2).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_is_left_is_told_in_its_largest_unit() {
        let days = 6 * DAY + 5;
        assert_eq!((left(days), left(HOUR), left(90)), ("6 d".into(), "1 h".into(), "1 min".into()));
    }
}
