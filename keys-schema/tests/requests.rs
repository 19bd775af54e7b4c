//! Signing requests: the way of an honest one through several hands, and what becomes of those
//! that somebody tampered with.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may panic"
)]
#![expect(unreachable_pub, reason = "the crate of a test has no outside")]
#![expect(clippy::disallowed_methods, reason = "the core knows no clock, its tests measure its cost")]
#![expect(clippy::disallowed_types, reason = "the core knows no clock, its tests measure its cost")]

#[path = "requests/ceremony.rs"]
mod ceremony;
#[path = "requests/cost.rs"]
mod cost;
#[path = "requests/differences.rs"]
mod differences;
#[path = "requests/fixture.rs"]
mod fixture;
#[path = "requests/formats.rs"]
mod formats;
#[path = "requests/hostile.rs"]
mod hostile;
#[expect(dead_code, unused_imports, reason = "the repository is shared with tests that use all of it")]
mod support;
