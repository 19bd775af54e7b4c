//! What errors about reports of scanners mean.

use bulla_keys_schema::attest::{InvalidReport, NoEvidence, ReportFormat, Unfit};

use super::{Exit, Explained, hint};
use crate::command::gate::{NoDigest, Unusable, UnusableReport};

pub(super) fn explain(error: &anyhow::Error) -> Option<Explained> {
    if error.is::<NoDigest>() {
        return Some((Exit::Usage, hint("name what was scanned: --image REPOSITORY@sha256:DIGEST")));
    }
    let error: &UnusableReport = error.downcast_ref()?;
    if let Some(option) = error.option {
        let what = if option == "--vex" { "an OpenVEX document" } else { "the metadata.json of Trivy" };
        return Some((Exit::Configuration, hint(&format!("name {what}: {option} FILE"))));
    }
    Some(match &error.reason {
        Unusable::Missing | Unusable::NoFile => {
            (Exit::NoEvidence, hint("scan the image first: trivy image -f json -o FILE IMAGE"))
        }
        Unusable::File { .. } => (Exit::Configuration, hint("name another file: --report FILE")),
        Unusable::Invalid(error) => invalid(error),
        Unusable::NoEvidence(error) => no_evidence(error),
    })
}

pub(super) fn invalid(error: &InvalidReport) -> Explained {
    let again = "have the scanner write the report again, with its own --output";
    match error {
        InvalidReport::Unfit(unfit) => self::unfit(unfit),
        InvalidReport::OtherFormat { found, .. } => {
            (Exit::Configuration, hint(&format!("say what it is: --type {found}")))
        }
        InvalidReport::Unknown => {
            (Exit::Configuration, hint("name a report in JSON of trivy or grype, or in SARIF or CycloneDX"))
        }
        InvalidReport::TooLarge | InvalidReport::TooMany | InvalidReport::TooManyFindings => {
            (Exit::Configuration, hint("scan for vulnerabilities alone: trivy image --scanners vuln"))
        }
        InvalidReport::Ambiguous { .. }
        | InvalidReport::Duplicate { .. }
        | InvalidReport::Json { .. }
        | InvalidReport::Member { .. }
        | InvalidReport::TooDeep => (Exit::Configuration, hint(again)),
    }
}

fn unfit(unfit: &Unfit) -> Explained {
    match unfit {
        Unfit::NoContent | Unfit::FailedRun => {
            (Exit::NoEvidence, hint("scan again, and look at what the scanner says"))
        }
        Unfit::NothingScanned => (
            Exit::NoEvidence,
            hint("scan for vulnerabilities, without skipping: trivy image --scanners vuln"),
        ),
        Unfit::NotAnImage { .. } | Unfit::Cluster => {
            (Exit::NoEvidence, hint("scan the image: trivy image -f json -o FILE IMAGE"))
        }
        Unfit::OldTrivy => (Exit::Configuration, hint("update Trivy, and scan again")),
        Unfit::NoVulnerabilities { format: ReportFormat::CycloneDx } => (
            Exit::NoEvidence,
            hint("have the scanner write its own format: trivy image -f json, or grype -o json"),
        ),
        Unfit::NoVulnerabilities { .. }
        | Unfit::EmptyInventory
        | Unfit::NoInventory { .. }
        | Unfit::NoVex { .. } => {
            (Exit::NoEvidence, hint("name the report of a scan: trivy image -f json, or grype -o json"))
        }
        Unfit::Envelope => (Exit::Configuration, hint("name the report itself")),
    }
}

fn no_evidence(error: &NoEvidence) -> Explained {
    let to_do = match error {
        NoEvidence::NamesNoImage => "scan the image by its digest, in the registry: REPOSITORY@sha256:DIGEST",
        NoEvidence::OtherImage { .. } => "scan this image: REPOSITORY@sha256:DIGEST",
        NoEvidence::Filtered(_) => {
            "scan without options and files that leave findings out; for grype and headers of the kernel: GRYPE_MATCH_UPSTREAM_KERNEL_HEADERS=true"
        }
        NoEvidence::NoTime => "use the scanner's own JSON, which has the time, or leave --max-age out",
        NoEvidence::Stale { .. } => "scan again",
        NoEvidence::NoDatabaseTime => "name the file beside Trivy's database: --db-metadata metadata.json",
        NoEvidence::StaleDatabase { .. } => "update the scanner's database, and scan again",
        NoEvidence::NoSecretScan => {
            "scan for secrets, too, and say so: --scan-args 'image --scanners vuln,secret'"
        }
        NoEvidence::NoSystem => "use the report of Trivy, which says it, or leave --deny-eol-os out",
        NoEvidence::InFuture { .. } | NoEvidence::DatabaseInFuture { .. } => {
            "correct the clock, here or where the scan was made, and scan again"
        }
    };
    (Exit::NoEvidence, hint(to_do))
}
