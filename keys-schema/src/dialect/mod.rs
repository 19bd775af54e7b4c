//! Bytes to model and back. A dialect is a value; whatever judges is written once, above.
//!
//! `notary1`, the other dialect, gets its own room beside `tuf1`.

mod envelope;
mod fields;
pub mod tuf1;

pub use envelope::{Envelope, Signature};
pub use fields::InvalidMetadata;

use crate::json::Object;
use crate::metadata::{Root, Snapshot, Targets, Timestamp};

/// Which encoding of trust metadata a repository uses. Fixed by the local trust entry and
/// never sniffed from bytes (C32, downgrade).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// TUF 1.0.
    Tuf1,
}

/// A kind of metadata document.
///
/// Implemented by [`Root`], [`Targets`], [`Snapshot`] and [`Timestamp`].
pub trait Document: Sized + Clone {
    /// What `_type` says.
    const TYPE: &'static str;

    /// Reads the `signed` member of an envelope.
    ///
    /// # Errors
    /// Another type, an unsupported version of the specification, a missing or malformed member.
    fn decode(dialect: Dialect, signed: &Object) -> Result<Self, InvalidMetadata>;

    /// Writes the `signed` member of an envelope.
    fn encode(&self, dialect: Dialect) -> Object;

    /// The version of the document.
    fn version(&self) -> crate::metadata::Version;

    /// When the document may no longer be used.
    fn expires(&self) -> crate::time::UtcTime;
}

macro_rules! document {
    ($type:ty, $name:literal, $room:ident) => {
        impl Document for $type {
            const TYPE: &'static str = $name;

            fn decode(dialect: Dialect, signed: &Object) -> Result<Self, InvalidMetadata> {
                match dialect {
                    Dialect::Tuf1 => tuf1::$room::decode(signed),
                }
            }

            fn encode(&self, dialect: Dialect) -> Object {
                match dialect {
                    Dialect::Tuf1 => tuf1::$room::encode(self),
                }
            }

            fn version(&self) -> crate::metadata::Version {
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
