//! What signatures beside an image prove, and what they do not.

use std::collections::BTreeMap;

use bulla_keys_schema::key::Fingerprint;
use bulla_keys_schema::names::ImageRef;
use bulla_keys_schema::sigstore::{Judgement, Origin, Other, Proof};
use serde::Serialize;

use crate::flow::cosign::verify::{CosignError, Proven};
use crate::output::Report;

/// The answer of `verify --key`.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum CosignReport {
    /// "Yes", as far as such signatures go.
    Signed {
        /// The repository.
        repository: String,
        /// The tag that was looked up; no signature binds it.
        tag: Option<String>,
        /// What to pull.
        digest: String,
        /// What to pull, as a reference.
        reference: String,
        /// The manifest that is signed: this one, or the index that lists it.
        signed: String,
        /// The keys that signed.
        keys: Vec<String>,
        /// How many had to.
        threshold: usize,
        /// What the signatures say more than "these bytes".
        binds: Binds,
        /// Whether it was taken back is known to nobody.
        revocation: &'static str,
        /// What is good.
        proofs: Vec<ProofReport>,
        /// What is not, and why.
        others: Vec<OtherReport>,
        /// Why there may be more.
        unseen: Vec<String>,
    },
    /// "No", or no answer.
    Refused {
        /// Names the reason, stable.
        reason: &'static str,
        /// The reason in words.
        message: String,
        /// The keys that signed, if not enough of them did.
        keys: Vec<String>,
        /// What is not good, and why.
        others: Vec<OtherReport>,
        /// The exit code.
        exit_code: u8,
    },
}

/// What signatures bind.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Binds {
    tag: bool,
    time: bool,
    repository: bool,
}

/// One layer or bundle that counts.
#[derive(Clone, Debug, Serialize)]
pub struct ProofReport {
    layout: &'static str,
    digest: String,
    keys: Vec<String>,
    names: Option<String>,
    annotations: BTreeMap<String, String>,
}

/// One that does not.
#[derive(Clone, Debug, Serialize)]
pub struct OtherReport {
    layout: &'static str,
    digest: String,
    reason: String,
}

impl From<&Proven> for CosignReport {
    fn from(proven: &Proven) -> Self {
        let judgement = &proven.judgement;
        Self::Signed {
            repository: proven.repository.to_string(),
            tag: proven.tag.as_ref().map(ToString::to_string),
            digest: proven.digest.to_oci(),
            reference: ImageRef::pinned(&proven.repository, proven.digest),
            signed: proven.signed.to_oci(),
            keys: texts(&judgement.keys()),
            threshold: proven.threshold,
            binds: Binds { tag: false, time: false, repository: judgement.binds_repository() },
            revocation: "unknown",
            proofs: judgement.proofs.iter().map(ProofReport::from).collect(),
            others: judgement.others.iter().map(OtherReport::from).collect(),
            unseen: proven.unseen.clone(),
        }
    }
}

impl CosignReport {
    /// "No", with the exit code that goes with it. `None` for errors that are about something else.
    #[must_use]
    pub fn refused(error: &CosignError, exit_code: u8) -> Option<Self> {
        let (reason, judgement) = match error {
            CosignError::NotFound { .. } => ("not-found", None),
            CosignError::NotOurs { judgement, .. } => ("not-ours", Some(judgement)),
            CosignError::NotSeen { .. } => ("not-seen", None),
            _ => return None,
        };
        let others = judgement.iter().flat_map(|judgement| &judgement.others);
        Some(Self::Refused {
            reason,
            message: error.to_string(),
            keys: judgement.map(|judgement| texts(&judgement.keys())).unwrap_or_default(),
            others: others.map(OtherReport::from).collect(),
            exit_code,
        })
    }
}

impl From<&Proof> for ProofReport {
    fn from(proof: &Proof) -> Self {
        let (layout, digest) = place(proof.origin);
        let names = proof.reference.clone();
        let annotations = proof.annotations.clone();
        Self { layout, digest, keys: texts(&proof.keys), names, annotations }
    }
}

impl From<&Other> for OtherReport {
    fn from(other: &Other) -> Self {
        let (layout, digest) = place(other.origin);
        Self { layout, digest, reason: other.reason.to_string() }
    }
}

/// One line for each thing that does not count, for people; of many, the first ones.
#[must_use]
pub fn not_counted(judgement: &Judgement) -> Vec<String> {
    const SHOWN: usize = 8;
    let all = judgement.others.iter().map(OtherReport::from);
    let mut lines: Vec<String> = all
        .take(SHOWN)
        .map(|other| format!("not counted: {} {}: {}", other.layout, other.digest, other.reason))
        .collect();
    if let Some(more) = judgement.others.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        lines.push(format!("not counted: {more} more"));
    }
    lines
}

fn place(origin: Origin) -> (&'static str, String) {
    match origin {
        Origin::Signature(digest) => ("sig", digest.to_oci()),
        Origin::Attestation(digest) => ("att", digest.to_oci()),
        Origin::Referrer(digest) => ("bundle", digest.to_oci()),
    }
}

fn texts<'a>(keys: impl IntoIterator<Item = &'a Fingerprint>) -> Vec<String> {
    keys.into_iter().map(ToString::to_string).collect()
}

impl Report for CosignReport {
    const SCHEMA: &'static str = "bulla/cosign-verdict/v1";

    /// The reference to pull by and nothing else, so that it can be given to another program.
    fn text(&self) -> String {
        match self {
            Self::Signed { reference, .. } => format!("{reference}\n"),
            Self::Refused { .. } => String::new(),
        }
    }
}
