//! Policies of other tools, turned into one of ours.
//!
//! Never weaker than the source: what a rule of ours cannot say makes it a comment, so that its
//! images are refused until somebody has looked. Their keys do not come along, because ours names
//! signers; whoever held such a key becomes a signer of that name.

mod admission;
mod connaisseur;
mod containers;
mod draft;
mod source;

use bulla_keys_schema::key::Fingerprint;
use serde_json::Value;

use draft::Draft;
pub use source::{FILE_BYTES, InvalidSource};

/// What no other tool's file says: whom to trust.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The trust server.
    pub server: Option<String>,
    /// The root keys to pin.
    pub root_keys: Vec<Fingerprint>,
    /// How many of them must have signed a root.
    pub root_threshold: u64,
}

/// The result.
#[derive(Clone, Debug)]
pub struct Imported {
    /// What the source was.
    pub origin: &'static str,
    /// The policy, with comments.
    pub text: String,
    /// What could not be expressed.
    pub problems: Vec<String>,
    /// What is different and not weaker.
    pub notes: Vec<String>,
}

/// Turns the policy of another tool into one of ours called `name`.
///
/// # Errors
/// The text cannot be read, or is of no known tool.
pub fn import(text: &str, name: &str, trust: &Trust) -> Result<Imported, ImportError> {
    let documents = source::read(text)?;
    let mut draft = recognise(&documents).ok_or(ImportError::Unknown)?;
    if draft.rules.is_empty() && draft.rejected.is_empty() && draft.faults.is_empty() {
        return Err(ImportError::Empty);
    }
    draft.settle();
    let mut problems = draft.problems();
    if trust.root_keys.is_empty() && draft.needs_trust() {
        problems.push("no root key is named, so the policy cannot be loaded yet".to_owned());
    }
    Ok(Imported { origin: draft.origin, text: draft.write(name, trust), problems, notes: draft.notes })
}

fn recognise(documents: &[Value]) -> Option<Draft> {
    let first = documents.first()?;
    if first.get("transports").is_some() || (first.get("default").is_some_and(Value::is_array)) {
        return (documents.len() == 1).then(|| containers::read(first));
    }
    let values = first.get("application").unwrap_or(first);
    if values.get("validators").is_some() && values.get("policy").is_some() {
        return (documents.len() == 1).then(|| connaisseur::read(values));
    }
    let kinds: Option<Vec<&str>> = documents.iter().map(|document| document.get("kind")?.as_str()).collect();
    let kinds = kinds?;
    if kinds.iter().all(|kind| *kind == "ClusterImagePolicy") {
        return Some(admission::cluster_image_policies(documents));
    }
    if kinds.iter().all(|kind| matches!(*kind, "ClusterPolicy" | "Policy")) {
        return Some(admission::kyverno(documents));
    }
    None
}

/// The texts of a list, or the one text.
fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => vec![],
    }
}

/// The entries of a list.
fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Why nothing was imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The file says nothing.
    #[error("the file has no rule")]
    Empty,
    /// It cannot be read.
    #[error(transparent)]
    Source(#[from] InvalidSource),
    /// It is of no tool that is known here.
    #[error("this is no policy that can be imported")]
    Unknown,
}
