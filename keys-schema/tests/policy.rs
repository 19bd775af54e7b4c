//! Policies: the example of the specification, every row of its tables, every check with a case that
//! fails it alone, and what must hold whatever the numbers are.

#![expect(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]
#![expect(unreachable_pub, reason = "the crate of a test has no outside")]

#[path = "policy/checks.rs"]
mod checks;
#[path = "policy/example.rs"]
mod example;
#[path = "policy/fixture.rs"]
mod fixture;
#[path = "policy/hostile.rs"]
mod hostile;
#[path = "policy/loading.rs"]
mod loading;
#[path = "policy/properties.rs"]
mod properties;
#[path = "policy/schema.rs"]
mod schema;
#[path = "policy/semantics.rs"]
mod semantics;
#[path = "policy/validity.rs"]
mod validity;
