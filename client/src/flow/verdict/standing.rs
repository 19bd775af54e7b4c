//! What the trust metadata says of an image, in the words of a policy.

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::names::{RELEASES, RoleName};
use bulla_keys_schema::policy::{self, CheckId, Standing};
use bulla_keys_schema::verify::{ChainError, RootError};

use crate::flow::refresh::RefreshError;
use crate::flow::verify::{Refusal, VerifyError, Voucher};
use crate::port::TrustServerError;

/// The check that an error is a failure of; nothing where it says nothing about the image.
pub(super) fn of(error: &VerifyError) -> Option<Standing> {
    let (check, digest) = match error {
        VerifyError::NothingNamed => (CheckId::RefEmpty, None),
        VerifyError::Refresh(error) => (refresh(error)?, None),
        VerifyError::Refused(refusal) => refused(refusal),
        VerifyError::Registry(_) => return None,
    };
    Some(Standing::Refused { check, message: error.to_string(), digest })
}

/// The same of metadata that cannot be had or trusted.
pub(in crate::flow) fn refresh(error: &RefreshError) -> Option<CheckId> {
    Some(match error {
        RefreshError::Cache(_) | RefreshError::Pins(_) | RefreshError::Registry(_) => return None,
        RefreshError::Chain(error) => chain(error),
        RefreshError::LostRoot { .. } | RefreshError::Server(TrustServerError::TooLarge { .. }) => {
            CheckId::MetaRollback
        }
        RefreshError::NotCached { .. }
        | RefreshError::TargetNotCached { .. }
        | RefreshError::UnknownRepository { .. }
        | RefreshError::Server(_) => CheckId::TrustNoData,
        RefreshError::NotPinned { .. }
        | RefreshError::OtherChain { .. }
        | RefreshError::PinNotMet { .. }
        | RefreshError::PinsDiffer { .. } => CheckId::TrustNoRoot,
        RefreshError::Offline { refusal, .. } => return refresh(refusal),
        RefreshError::Root(RootError::ClockWentBack { .. } | RootError::Expired { .. }) => {
            CheckId::MetaExpired
        }
        RefreshError::Root(RootError::Verify(_)) => CheckId::MetaThreshold,
        RefreshError::Root(RootError::TooLarge { .. } | RootError::TooLong | RootError::Version { .. }) => {
            CheckId::MetaRollback
        }
    })
}

/// The same of a document that cannot be trusted.
pub(in crate::flow) const fn chain(error: &ChainError) -> CheckId {
    match error {
        ChainError::Ended { .. } | ChainError::Expired { .. } => CheckId::MetaExpired,
        ChainError::Verify { .. } => CheckId::MetaThreshold,
        ChainError::Mismatch { .. }
        | ChainError::Missing { .. }
        | ChainError::NotDelegated { .. }
        | ChainError::Outlives { .. }
        | ChainError::RoleRemoved { .. }
        | ChainError::Rollback { .. }
        | ChainError::TooLarge { .. }
        | ChainError::Version { .. } => CheckId::MetaRollback,
    }
}

fn refused(refusal: &Refusal) -> (CheckId, Option<Sha256Digest>) {
    match refusal {
        Refusal::Denied { denial, .. } => (CheckId::RevokedDigest, Some(denial.digest)),
        Refusal::DigestNotSigned { digest, .. } => (CheckId::TagUnknown, Some(*digest)),
        Refusal::Layout { .. } => (CheckId::MetaRollback, None),
        Refusal::Moved { served, .. } => (CheckId::TagMismatch, Some(*served)),
        Refusal::NotSigned { .. } | Refusal::NotVouched { .. } => (CheckId::TagUnknown, None),
        Refusal::Revoked { tombstone, .. } => (CheckId::RevokedTag, Some(tombstone.digest)),
        Refusal::Size { .. } => (CheckId::TagMismatch, None),
    }
}

/// Those of `vouchers` who are signers: `releases` lists what others vouch for, and `targets` is
/// the admin.
pub(super) fn roles(vouchers: &[Voucher]) -> impl Iterator<Item = &Voucher> {
    vouchers.iter().filter(|voucher| match &voucher.role {
        RoleName::Delegated(name) => name.as_str() != RELEASES,
        _ => false,
    })
}

/// The signers among `vouchers`, as a policy counts them.
pub(super) fn signers(vouchers: &[Voucher]) -> Vec<policy::Voucher> {
    let signer = |voucher: &Voucher| {
        // Other tools give names that no policy can write.
        let name = voucher.role.as_str().parse().ok()?;
        let Voucher { keys, signed_at, expires, .. } = voucher;
        Some(policy::Voucher { name, keys: keys.clone(), signed_at: *signed_at, expires: *expires })
    };
    roles(vouchers).filter_map(signer).collect()
}
