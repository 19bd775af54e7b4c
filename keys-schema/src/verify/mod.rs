//! Judging metadata: the checks C1 to C32 of a TUF client, and those of a publisher.
//!
//! * [`Verified`]: the only signature counter and the only proof that it was satisfied.
//! * [`RootChain`] to [`TrustedTargets`]: the client workflow, one type per step, each
//!   consuming the last, so that no step can be left out or taken early.
//! * [`Walk`]: the search through delegations.
//! * [`Submission`](submission::Submission): an upload, checked by the same types as a client would.

mod brought;
mod chain;
mod floor;
mod pin;
mod proposed;
mod root_chain;
pub mod submission;
mod verified;
mod walk;

pub use brought::require_whole;
pub use chain::{ChainError, TrustedRoot, TrustedSnapshot, TrustedTargets, TrustedTimestamp};
pub use floor::Floor;
pub use pin::Pin;
pub use proposed::Proposed;
pub use root_chain::{RootChain, RootError};
pub use verified::{RawMetadata, Verified, VerifyError};
pub use walk::{Found, Need, Step, Walk, WalkError};
