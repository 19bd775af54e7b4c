//! Why a report that was read decides nothing.

use super::Filtered;
use crate::digest::Sha256Digest;
use crate::time::UtcTime;

/// A report was read, and is no evidence for the image in question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoEvidence {
    /// It names no digest at all.
    #[error("the report does not say of which image it is")]
    NamesNoImage,
    /// It, or a part of it, names another image.
    #[error("the report is not of {}", image.to_oci())]
    OtherImage {
        /// The image in question.
        image: Sha256Digest,
    },
    /// Findings were taken out of it.
    #[error("{}", filtered(.0))]
    Filtered(Filtered),
    /// It has no time, where an age is demanded.
    #[error("the report does not say when the scan was")]
    NoTime,
    /// It is too old.
    #[error("the report is too old: the scan was at {at}")]
    Stale {
        /// When the scan was.
        at: UtcTime,
    },
    /// It is from the future.
    #[error("the report is from the future: it says the scan was at {at}")]
    InFuture {
        /// When the scan was said to be.
        at: UtcTime,
    },
    /// It does not say of when the scanner's database is, where an age is demanded.
    #[error("the report does not say of when the scanner's database is")]
    NoDatabaseTime,
    /// The scanner's database is too old.
    #[error("the scanner's database is too old: it is of {at}")]
    StaleDatabase {
        /// Of when it is.
        at: UtcTime,
    },
    /// The scanner's database is from the future.
    #[error("the scanner's database is from the future: it is said to be of {at}")]
    DatabaseInFuture {
        /// Of when it is said to be.
        at: UtcTime,
    },
    /// Secrets are limited, and nothing proves that the run looked for all of them.
    #[error("nothing proves that the scan looked for secrets")]
    NoSecretScan,
    /// The scanner does not say whether the image's system still gets advisories.
    #[error("the report does not say whether the image's system still gets advisories")]
    NoSystem,
}

fn filtered(filtered: &Filtered) -> String {
    match filtered {
        Filtered::Suppressed { findings } => {
            format!("the report is filtered: {findings} findings were taken out of it")
        }
        Filtered::Option { name } => format!("the report is filtered: the scanner was run with {name}"),
    }
}
