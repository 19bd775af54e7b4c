//! `bulla policy import`

use std::path::{Path, PathBuf};

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::Fingerprint;
use bulla_keys_schema::policy::{Policy, PolicyError};

use super::file::{self, Unreadable, Unusable};
use crate::command::{Answered, Context, Exit};
use crate::config::ServerUrl;
use crate::flow::policy_import::{FILE_BYTES, ImportError, Trust, import};
use crate::report::ImportReport;

/// Turn a policy of another tool into one of ours, never a weaker one
///
/// Reads policy.json of podman and skopeo, ClusterImagePolicy, verifyImages of Kyverno, and values of
/// Connaisseur. What cannot be expressed becomes a comment, and its images are refused. Keys become
/// names of signers: who holds such a key is added as one.
#[derive(Debug, clap::Args)]
pub(in crate::command) struct Args {
    /// The file, in YAML or JSON
    file: PathBuf,
    /// The name of the policy [default: that of the file]
    #[arg(long)]
    name: Option<String>,
    /// The trust server to write into it
    #[arg(long, value_name = "URL")]
    trust_server: Option<ServerUrl>,
    /// A root key to pin: sha256:HEX; can be repeated
    #[arg(long, value_name = "FINGERPRINT", value_parser = fingerprint)]
    root_key: Vec<Fingerprint>,
    /// How many of them must have signed a root
    #[arg(long, value_name = "N", default_value_t = 1)]
    root_threshold: u64,
}

impl Args {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let unusable = |reason: ImportReason| UnusableImport::at(&self.file, reason);
        let text = file::read(&self.file, FILE_BYTES).map_err(|error| unusable(error.into()))?;
        let name = self.name.clone().unwrap_or_else(|| stem(&self.file));
        let trust = Trust {
            server: self.trust_server.as_ref().map(ToString::to_string),
            root_keys: self.root_key.clone(),
            root_threshold: self.root_threshold,
        };
        let mut imported = import(&text, &name, &trust).map_err(|error| unusable(error.into()))?;
        if imported.problems.is_empty() {
            // What is said to be whole can be loaded.
            Policy::parse(&imported.text).map_err(|error| unusable(error.into()))?;
        }
        imported.notes.iter().for_each(|note| context.output.say(&format!("note: {note}")));
        imported.problems.sort();
        imported.problems.iter().for_each(|problem| {
            context.output.warn(&format!("not expressed: {problem}"));
        });
        let report = ImportReport::from(imported);
        let whole = report.is_whole();
        context.output.answer(&report)?;
        if whole { Ok(()) } else { Err(Answered(Exit::Configuration).into()) }
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("imported").to_owned()
}

fn fingerprint(text: &str) -> Result<Fingerprint, &'static str> {
    let hex = match Sha256Digest::parse_oci(text) {
        Ok(digest) => digest.to_string(),
        Err(_) => text.to_owned(),
    };
    hex.parse().map_err(|_| "not a fingerprint: 64 hex digits, with or without sha256: before them")
}

/// A file that was not imported.
pub(in crate::command) type UnusableImport = Unusable<ImportReason>;

/// Why a file was not imported.
#[derive(Debug, thiserror::Error)]
pub(in crate::command) enum ImportReason {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] Unreadable),
    /// It is no policy that can be imported.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// What comes out of it is no policy.
    #[error("it makes no good policy: {0}")]
    Policy(#[from] PolicyError),
}
