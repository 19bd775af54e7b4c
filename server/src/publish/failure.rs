//! Why a change was not made.

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::{BrokenState, Rejection};

use super::SealFailure;
use crate::store::{HeadToken, PublishError, StoreError};
use crate::vault::VaultError;

/// A change was not made; nothing of it is stored.
#[derive(Debug, thiserror::Error)]
pub enum PublishFailure {
    /// Built on a head that is not current.
    #[error("the repository has changed meanwhile")]
    Conflict {
        /// The head as it is now, `None` if there is no such repository.
        current: Option<HeadToken>,
    },
    /// The upload breaks a rule.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Two documents of one role that can have only one.
    #[error("{role} was uploaded twice")]
    Twice {
        /// Which role.
        role: RoleName,
    },
    /// The repository is of the other mode: nothing of this kind can be uploaded to it.
    #[error("{repository} is in {} mode and takes no changes of the other mode", mode(*found))]
    OtherMode {
        /// Which repository.
        repository: RepositoryName,
        /// How its documents are encoded.
        found: Dialect,
    },
    /// A document is not what its file name says.
    #[error("{role} was uploaded as version {named}, its content says {found}")]
    Misnamed {
        /// Which role.
        role: RoleName,
        /// In the file name.
        named: Version,
        /// In the document.
        found: Version,
    },
    /// The same version was published before with other bytes.
    #[error("the upload contradicts what was published before: {what}")]
    Contradiction {
        /// What contradicts what.
        what: String,
    },
    /// All documents of the repository together would be too much to be read at once.
    #[error("the repository would have more than {most} bytes of metadata")]
    TooLarge {
        /// How many it may have.
        most: u64,
    },
    /// More roles than one snapshot can list.
    #[error("the snapshot would list more than {most} roles; names that were once used count as well")]
    TooManyRoles {
        /// How many it may list.
        most: usize,
    },
    /// The repository has no online keys to sign with.
    #[error("the repository has no online keys")]
    NoOnlineKeys,
    /// The server could not complete the update.
    #[error(transparent)]
    Seal(#[from] SealFailure),
    /// What is stored does not verify.
    #[error("{repository}: {source}")]
    Broken {
        /// Which repository.
        repository: RepositoryName,
        /// What is wrong with it.
        source: BrokenState,
    },
    /// Online keys could not be had.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Too many commits are waiting.
    #[error("too many publications are waiting")]
    Busy,
    /// Signing with this clock could make dates that nobody can correct.
    #[error("the clock of the server shows {now}, which is before a time it showed already")]
    Clock {
        /// What it shows.
        now: UtcTime,
    },
    /// The system's random numbers failed.
    #[error("the system gives no random numbers")]
    Randomness,
    /// The server stopped in the middle.
    #[error("the work was interrupted")]
    Interrupted,
}

const fn mode(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Notary1 => "legacy",
        Dialect::Tuf1 => "spec",
    }
}

impl From<PublishError> for PublishFailure {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Conflict { current } => Self::Conflict { current },
            PublishError::Invalid { what } | PublishError::Full { what } => Self::Contradiction { what },
            PublishError::Busy => Self::Busy,
            PublishError::Store(error) => Self::Store(error),
        }
    }
}
