//! Bytes to model and back. A dialect is a value; whatever judges is written once, above.
//!
//! Each dialect has a room of its own.

mod envelope;
mod fields;
mod listed;
pub mod notary1;
pub mod tuf1;

pub use envelope::{Envelope, Signature};
pub use fields::InvalidMetadata;

use crate::digest::{Hashed, Hashes};
use crate::json::Object;
use crate::key::{Certificate, KeyId, PublicKey};
use crate::metadata::{MetaInfo, Root, Snapshot, Targets, Timestamp, Version};

/// Which encoding of trust metadata a repository uses. Fixed by the local trust entry and
/// never sniffed from bytes (C32, downgrade).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Notary v1: repositories in `legacy` mode.
    Notary1,
    /// TUF 1.0: repositories in `spec` mode.
    Tuf1,
}

impl Dialect {
    /// The id that documents of this dialect declare for what `entry` holds.
    #[must_use]
    pub fn key_id(self, key: &PublicKey, certificate: Option<&Certificate>) -> KeyId {
        match (self, certificate) {
            (Self::Tuf1, _) => tuf1::key_id(key),
            (Self::Notary1, None) => notary1::key_id(key),
            (Self::Notary1, Some(certificate)) => notary1::certificate_key_id(certificate),
        }
    }

    /// How a document describes `bytes` of another one. Notary lists no versions, and both
    /// digests.
    #[must_use]
    pub fn describe(self, version: Version, bytes: &Hashed) -> MetaInfo {
        let length = u64::try_from(bytes.len()).ok();
        let sha256 = bytes.digest();
        match self {
            Self::Tuf1 => MetaInfo { version: Some(version), length, hashes: Some(Hashes::sha256(sha256)) },
            Self::Notary1 => {
                let hashes = Hashes::new(Some(sha256), Some(bytes.sha512()));
                MetaInfo { version: None, length, hashes }
            }
        }
    }
}

/// A kind of metadata document.
///
/// Implemented by [`Root`], [`Targets`], [`Snapshot`] and [`Timestamp`].
pub trait Document: Sized + Clone {
    /// What `_type` says, in lower case.
    const TYPE: &'static str;

    /// Reads the `signed` member of an envelope, which may be incomplete afterwards: large parts are taken over.
    ///
    /// # Errors
    /// Another type, an unsupported version of the specification, a missing or malformed member.
    fn decode(dialect: Dialect, signed: &mut Object) -> Result<Self, InvalidMetadata>;

    /// Writes the `signed` member of an envelope.
    fn encode(&self, dialect: Dialect) -> Object;

    /// The version of the document.
    fn version(&self) -> Version;

    /// When the document may no longer be used.
    fn expires(&self) -> crate::time::UtcTime;
}

macro_rules! document {
    ($type:ty, $name:literal, $room:ident) => {
        impl Document for $type {
            const TYPE: &'static str = $name;

            fn decode(dialect: Dialect, signed: &mut Object) -> Result<Self, InvalidMetadata> {
                match dialect {
                    Dialect::Notary1 => notary1::$room::decode(signed),
                    Dialect::Tuf1 => tuf1::$room::decode(signed),
                }
            }

            fn encode(&self, dialect: Dialect) -> Object {
                match dialect {
                    Dialect::Notary1 => notary1::$room::encode(self),
                    Dialect::Tuf1 => tuf1::$room::encode(self),
                }
            }

            fn version(&self) -> Version {
                self.version
            }

            fn expires(&self) -> crate::time::UtcTime {
                self.expires
            }
        }
    };
}

document!(Root, "root", root);
document!(Snapshot, "snapshot", snapshot);
document!(Targets, "targets", targets);
document!(Timestamp, "timestamp", timestamp);
