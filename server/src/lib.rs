//! bullad: keeps signed trust metadata for container image repositories.
//!
//! Two doors for tests and for embedding: [`router::build_router`] and
//! [`lifecycle::Server`]. What is decided on trust is decided in `bulla-keys-schema`; this
//! crate listens, stores, signs the online roles and answers.

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

pub mod app;
pub mod auth;
pub mod clock;
pub mod command;
pub mod config;
mod http;
pub mod lifecycle;
mod lookup;
pub mod metrics;
mod phase;
mod private_file;
pub mod publish;
pub mod router;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod vault;
