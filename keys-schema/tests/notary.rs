//! Repositories in Notary's dialect: their whole life, hostile uploads and hostile servers, each
//! with one defect and beside a healthy twin, and bytes as Go's encoder writes them.

#![expect(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]
#![expect(clippy::disallowed_methods, reason = "the core reads no files, its tests read samples")]
#![expect(clippy::disallowed_types, reason = "the core knows no clock, its tests measure its cost")]
#![expect(unreachable_pub, reason = "the crate of a test has no outside")]

#[path = "notary/client.rs"]
mod client;
#[path = "notary/cost.rs"]
mod cost;
#[path = "notary/delegations.rs"]
mod delegations;
#[path = "support/doc.rs"]
#[expect(dead_code, reason = "the tests of the other dialect use the rest")]
mod doc;
#[path = "notary/formats.rs"]
mod formats;
#[path = "notary/life.rs"]
mod life;
#[path = "notary/papers.rs"]
mod papers;
#[path = "notary/replay.rs"]
mod replay;
#[path = "notary/roots.rs"]
mod roots;
#[path = "notary/samples.rs"]
mod samples;
#[path = "notary/served.rs"]
mod served;
#[path = "notary/server.rs"]
mod server;
#[path = "notary/snapshots.rs"]
mod snapshots;
#[path = "support/test_key.rs"]
mod test_key;
#[path = "notary/uploads.rs"]
mod uploads;

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::time::UtcTime;

use doc::Doc;
use test_key::TestKey;

/// The one dialect of these repositories.
const DIALECT: Dialect = Dialect::Notary1;

/// The clock of every test.
fn now() -> UtcTime {
    time("2030-01-01T00:00:00Z")
}

/// Long after [`now`].
fn later() -> UtcTime {
    time("2031-01-01T00:00:00Z")
}

fn time(text: &str) -> UtcTime {
    text.parse().unwrap()
}

/// The repository that everybody asks for.
fn repository() -> RepositoryName {
    "registry.example.com/team/app".parse().unwrap()
}
