//! A small repository in memory, with fixed keys and any defect on demand, and a client that
//! follows the workflow over a map of files. Neither reads a clock, a file or a network.

mod client;
mod doc;
mod repo;
mod test_key;

pub use client::Client;
pub use doc::{Doc, info, version_only};
pub use repo::{Repo, delegation, file, lists};
pub use test_key::TestKey;

use std::collections::BTreeMap;

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::time::UtcTime;
use bytes::Bytes;

/// The one dialect of these repositories.
pub const DIALECT: Dialect = Dialect::Tuf1;

/// Documents by file name.
pub type Files = BTreeMap<String, Bytes>;

/// The clock of every test.
pub fn now() -> UtcTime {
    time("2030-01-01T00:00:00Z")
}

/// Long after [`now`].
pub fn later() -> UtcTime {
    time("2031-01-01T00:00:00Z")
}

/// The repository that everybody asks for.
pub fn repository() -> RepositoryName {
    "registry.example.com/team/app".parse().unwrap()
}

/// A moment.
pub fn time(text: &str) -> UtcTime {
    text.parse().unwrap()
}
