//! "Yes" and "no".

use bulla_keys_schema::names::{ImageRef, REVOCATIONS};
use serde::Serialize;

use crate::flow::verify::{KeyHolder, Refusal, Trusted};
use crate::output::Report;

/// The answer of `verify` and `resolve`.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum VerdictReport {
    /// "Yes".
    Trusted {
        /// The repository.
        repository: String,
        /// The tag.
        tag: String,
        /// What to pull.
        digest: String,
        /// Size of the manifest, in bytes.
        size: u64,
        /// What to pull, as a reference.
        reference: String,
        /// Who says so.
        signed_by: Vec<VoucherReport>,
        /// When to ask again at the latest.
        valid_until: String,
        /// Why the trust server was not asked.
        offline: Option<String>,
    },
    /// "No".
    Refused {
        /// Names the reason, stable.
        reason: &'static str,
        /// The reason in words.
        message: String,
        /// What the signers vouch for.
        signed_digest: Option<String>,
        /// What the registry serves.
        served_digest: Option<String>,
        /// Who revoked it, when and why, if that is the reason.
        revocation: Option<RevocationReport>,
        /// The exit code.
        exit_code: u8,
    },
}

/// A revocation.
#[derive(Clone, Debug, Serialize)]
pub struct RevocationReport {
    role: String,
    by: Vec<KeyHolderReport>,
    at: Option<String>,
    reason: Option<String>,
}

/// A key, and the roles that list it.
#[derive(Clone, Debug, Serialize)]
pub struct KeyHolderReport {
    key: String,
    roles: Vec<String>,
}

/// One role that lists the tag.
#[derive(Clone, Debug, Serialize)]
pub struct VoucherReport {
    role: String,
    keys: Vec<String>,
    expires: String,
}

impl VerdictReport {
    /// "No", with the exit code that goes with it.
    #[must_use]
    pub fn refused(refusal: &Refusal, exit_code: u8) -> Self {
        let (signed, served) = match refusal {
            Refusal::Moved { signed, served, .. } => (Some(signed.to_oci()), Some(served.to_oci())),
            Refusal::Denied { denial, .. } => (Some(denial.digest.to_oci()), None),
            Refusal::Revoked { tombstone, .. } => (Some(tombstone.digest.to_oci()), None),
            _ => (None, None),
        };
        Self::Refused {
            reason: match refusal {
                Refusal::DigestNotSigned { .. } | Refusal::NotSigned { .. } => "not-signed",
                Refusal::Layout { .. } => "layout",
                Refusal::Moved { .. } => "moved",
                Refusal::NotVouched { .. } => "not-vouched",
                Refusal::Denied { .. } | Refusal::Revoked { .. } => "revoked",
                Refusal::Size { .. } => "size",
            },
            message: refusal.to_string(),
            signed_digest: signed,
            served_digest: served,
            revocation: revocation(refusal),
            exit_code,
        }
    }
}

fn revocation(refusal: &Refusal) -> Option<RevocationReport> {
    let (role, by, at, reason) = match refusal {
        Refusal::Denied { denial, by, .. } => {
            (REVOCATIONS.to_owned(), by, denial.revoked_at, denial.reason.clone())
        }
        Refusal::Revoked { role, tombstone, by, .. } => {
            (role.to_string(), by, Some(tombstone.revoked_at), tombstone.reason.clone())
        }
        _ => return None,
    };
    let holder = |holder: &KeyHolder| KeyHolderReport {
        key: holder.key.to_string(),
        roles: holder.roles.iter().map(ToString::to_string).collect(),
    };
    let by = by.iter().map(holder).collect();
    Some(RevocationReport { role, by, at: at.map(|at| at.to_string()), reason })
}

impl From<&Trusted> for VerdictReport {
    fn from(trusted: &Trusted) -> Self {
        let signed_by = trusted.signed_by.iter();
        Self::Trusted {
            repository: trusted.repository.to_string(),
            tag: trusted.tag.to_string(),
            digest: trusted.digest.to_oci(),
            size: trusted.size,
            reference: ImageRef::pinned(&trusted.repository, trusted.digest),
            signed_by: signed_by
                .map(|voucher| VoucherReport {
                    role: voucher.role.to_string(),
                    keys: voucher.keys.iter().map(ToString::to_string).collect(),
                    expires: voucher.expires.to_string(),
                })
                .collect(),
            valid_until: trusted.valid_until.to_string(),
            offline: trusted.offline.clone(),
        }
    }
}

impl Report for VerdictReport {
    const SCHEMA: &'static str = "bulla/verdict/v1";

    /// The reference to pull by and nothing else, so that it can be given to another program.
    fn text(&self) -> String {
        match self {
            Self::Trusted { reference, .. } => format!("{reference}\n"),
            Self::Refused { .. } => String::new(),
        }
    }
}
