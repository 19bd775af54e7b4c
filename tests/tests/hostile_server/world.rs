//! A consumer, and a server that is about to mislead it.

use bulla_tests::simulator::support::{Files, Repo, TestKey};
use bulla_tests::simulator::{Answer, Consumer, Fault, Registry, Server};

pub const NAME: &str = "registry.example.com/team/app";
pub const V1: &str = "registry.example.com/team/app:v1";
pub const MALLORY: TestKey = TestKey::new("mallory");
pub const DAY: i64 = 24 * 3600;

/// A consumer who trusts version 2 of a repository, and a server about to show version 3.
pub struct World {
    pub server: Server,
    pub registry: Registry,
    pub consumer: Consumer,
    /// What the consumer saw first.
    pub first: Repo,
    /// What the consumer trusts.
    pub trusted: Repo,
    /// What an honest server would show now.
    pub next: Repo,
}

impl World {
    pub async fn new() -> Self {
        Self::of(&Repo::released()).await
    }

    pub async fn of(first: &Repo) -> Self {
        let (server, registry) = (Server::default(), Registry::default());
        registry.push("v1", Repo::MANIFEST);
        let mut trusted = first.clone();
        trusted.sign("v2", b"the manifest of v2");
        let mut next = trusted.clone();
        next.sign("v3", b"the manifest of v3");
        let consumer = Consumer::new(&server, &registry).pinned(NAME, first.digest_pin());
        for repo in [first, &trusted] {
            server.serve(NAME, repo.files());
            assert_eq!(consumer.verify(V1).await.exit, 0);
        }
        let _asked = server.asked();
        Self { server, registry, consumer, first: first.clone(), trusted, next }
    }

    /// Shows a repository, and every older file beside it.
    pub fn show(&self, repo: &Repo) {
        self.server.serve(NAME, repo.files());
    }

    /// Shows the next version with this done to it.
    pub fn show_spoilt(&self, spoil: impl FnOnce(&mut Repo)) {
        let mut repo = self.next.clone();
        spoil(&mut repo);
        self.show(&repo);
    }

    /// Shows the next version with one file that misbehaves.
    pub fn show_faulty(&self, file: &str, fault: Fault) {
        self.show(&self.next);
        self.server.spoil(file, fault);
    }

    /// An honest server again, one version further than any attacker was.
    pub async fn recover(&self) -> Answer {
        let mut honest = self.next.clone();
        honest.targets.bump();
        honest.sign("v4", b"the manifest of v4");
        let mut files = Files::new();
        for repo in [&self.first, &self.trusted, &self.next, &honest] {
            files.extend(repo.files());
        }
        self.server.heal();
        self.server.serve_only(NAME, files);
        self.consumer.verify(V1).await
    }
}

pub fn newcomer_of(repo: &Repo, file: &str, fault: Fault) -> Consumer {
    let (server, registry) = (Server::default(), Registry::default());
    server.serve(NAME, repo.files());
    server.spoil(file, fault);
    Consumer::new(&server, &registry).pinned(NAME, repo.digest_pin())
}

pub fn newcomer(repo: &Repo) -> Consumer {
    let (server, registry) = (Server::default(), Registry::default());
    server.serve(NAME, repo.files());
    Consumer::new(&server, &registry).pinned(NAME, repo.digest_pin())
}
