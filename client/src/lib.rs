//! The client of Bulla: makes keys, signs, delegates and revokes, and decides before a pull
//! whether an image tag may be trusted.
//!
//! The rooms, each using only what stands to its right: `command -> (wiring, flow, output,
//! report); wiring -> adapter; flow -> (port, cache, pins); adapter -> port`. A flow tells
//! its story against ports, so tests drive it with hostile servers and registries.

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

pub mod adapter;
pub mod cache;
pub mod command;
pub mod config;
pub mod flow;
pub mod home;
pub mod output;
pub mod pins;
pub mod port;
pub mod report;
pub mod wiring;
