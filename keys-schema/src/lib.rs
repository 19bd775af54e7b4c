//! The pure core of Bulla: formats, keys, verification and authoring.
//!
//! No input or output, no async, no clock, no randomness of its own. Whatever decides on
//! trust takes bytes, state and `now`, and returns a value.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        reason = "a test may panic"
    )
)]

pub mod attest;
pub mod author;
pub mod backup;
pub mod canonical;
pub mod dialect;
pub mod digest;
pub mod json;
pub mod key;
pub mod limits;
pub mod metadata;
pub mod names;
pub mod policy;
pub mod request;
pub mod sigstore;
pub mod time;
pub mod verify;
pub mod wire;
