//! Writing metadata: edits that keep what they do not touch, drafts, signatures.
//!
//! Every document that leaves this room has been verified by the same counter that judges
//! documents of others, or can only be sealed into an update, where it will be, or still asks for
//! signatures.

mod derive;
mod draft;
mod root_edit;
mod targets_edit;

pub use derive::{next_snapshot, next_timestamp};
pub use draft::{Draft, SignError, SignedMetadata, Unsealed};
pub use root_edit::{RoleSpec, RootEdit, RootEditError};
pub use targets_edit::{Delegation, TargetsEdit, TargetsEditError};
