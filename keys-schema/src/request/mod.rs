//! Signing requests: a change that needs more signatures than one person has.
//!
//! A [`SigningRequest`] is a file that goes round. Whoever got it [opens](SigningRequest::open) it
//! against the state that he trusts himself: only an [`OpenRequest`] can be signed, completed or
//! shown. What signers send back is a [`SignatureFile`], which names what it signs by digest.
//!
//! Nothing in a request is believed: neither its reason, nor the names that it gives to keys, nor
//! the documents it builds on. Signatures are counted by the one counter of
//! [`verify`](crate::verify).

mod base;
mod diff;
mod export;
mod file;
mod merge;
mod open;
mod signatures;
mod status;
mod text;

pub use base::BaseDocument;
pub use diff::{Change, ChangedRole, Diff, KeyChange, Listed, Warning, diff_root, diff_targets};
pub use export::RequestExport;
pub use file::{InvalidRequest, SigningRequest};
pub use merge::{MergeError, Merged};
pub use open::{OpenError, OpenRequest};
pub use signatures::{DocumentSignature, SignatureFile};
pub use status::{Count, DocumentStatus, KeySet, RequestStatus};
pub use text::{InvalidRequestId, InvalidText, PlainText, RequestId};
