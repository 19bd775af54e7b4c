//! What one attack is.

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::verify::Pin;

use crate::support::{Client, Files, Repo, now, repository};

/// One defect that exactly one rule stands against.
pub struct Attack {
    /// Named after the defect, as its file is.
    pub name: &'static str,
    /// The checks of the client workflow, or the advisory, that it stands for.
    pub rules: &'static str,
    /// What the client says.
    pub error: &'static str,
    /// The repository with the defect, or without it and otherwise equal.
    pub build: fn(spoil: bool) -> Client,
}

/// A client that pinned the first root by its digest and has stored nothing else.
pub fn client(repo: &Repo) -> Client {
    client_of(repo, repo.files())
}

/// The same with these files served.
pub fn client_of(repo: &Repo, served: Files) -> Client {
    let first_root = repo.roots.first().unwrap().bytes();
    Client {
        pin: Pin::Digest(Sha256Digest::of(&first_root)),
        first_root,
        now: now(),
        last_accepted: None,
        stored: Files::new(),
        served,
        repository: repository(),
        named: false,
        target: "v1".to_owned(),
        target_bytes: Repo::MANIFEST.into(),
    }
}

/// A client that followed `before` to its end, and is served `after` now.
pub fn returning(before: &Repo, after: &Repo) -> Client {
    let run = client(before).run();
    assert_eq!(run.result.as_ref().err(), None, "the state before is healthy");
    Client { stored: run.stored, ..client_of(before, after.files()) }
}
