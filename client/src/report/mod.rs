//! What commands answer: one form for people, one JSON form with a versioned schema
//! (`keys-schema/schema`).

mod attestation;
mod backup;
mod certificate;
mod changes;
mod cosign;
mod cosign_import;
mod docker;
mod gate;
mod inspect;
mod junit;
mod key_changes;
mod keys;
mod pins;
mod policy;
mod policy_file;
mod published_policy;
mod request;
mod rotate;
mod sarif;
mod signer_revoke;
mod status;
mod verdict;

use std::fmt::Write as _;

use comfy_table::{Table, presets};
use serde::Serialize;

pub use attestation::{AttestReport, AttestationReport, AttestationsReport};
pub use backup::{BackupCheckReport, BackupReport, Openers, RestoreReport};
pub use certificate::CertificateReport;
pub use changes::{
    EnrolmentReport, InitReport, RevokeDigestReport, RevokeReport, SignReport, SignerChangeReport,
};
pub use cosign::{CosignReport, not_counted};
pub use cosign_import::CosignImportReport;
pub use docker::DockerReport;
pub use gate::{GateReport, LeftOut};
pub use inspect::{InspectReport, SignersReport};
pub use key_changes::{KeyExportReport, KeyImportReport, KeyLoadReport};
pub use keys::{KeyRemainsReport, KeyReport, KeysReport};
pub use pins::{PinReport, PinsReport};
pub use policy::{ExplanationReport, PolicyVerdictReport, Surroundings};
pub use policy_file::{ImportReport, PolicyReport, PolicyTestReport, PolicyTestsReport};
pub use published_policy::{PolicyPublishReport, PublishedPolicyReport};
pub use request::{RequestReport, RequestsReport, SignaturesReport};
pub use rotate::{RenewReport, RotateReport};
pub use signer_revoke::SignerRevokeReport;
pub use status::StatusReport;
pub use verdict::{KeyHolderReport, RevocationReport, VerdictReport, VoucherReport};

use crate::output::Report;

/// Why a command failed.
#[derive(Clone, Debug, Serialize)]
pub struct ErrorReport {
    /// What and where.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// The exit code.
    pub exit_code: u8,
}

impl Report for ErrorReport {
    const SCHEMA: &'static str = "bulla/error/v1";

    fn text(&self) -> String {
        let mut text = format!("error: {}\n", self.message);
        if let Some(hint) = &self.hint {
            line(&mut text, format_args!("hint: {hint}"));
        }
        text
    }

    fn junit(&self) -> Option<String> {
        Some(junit::of_error(&self.message))
    }

    fn sarif(&self) -> Option<serde_json::Value> {
        Some(sarif::of_error(&self.message))
    }
}

fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    for row in rows {
        // What metadata of others says must not steer the terminal.
        table.add_row(row.into_iter().map(|cell| cell.escape_debug().to_string().replace("\\'", "'")));
    }
    table.trim_fmt() + "\n"
}

fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = text.write_fmt(words);
    text.push('\n');
}
