//! The judge of a server that was stopped in the worst moment: what it had told, and whether
//! it still tells the same.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::wire::{Change, ChangeList, DocumentRef, Head, Receipt, document_file_name};
use futures_util::StreamExt as _;
use reqwest::Client;
use tempfile::TempDir;

use super::{Event, ServerProcess, events};
use crate::peers::{ForeignClient, Repository};
use crate::programs::program;

/// Requests that a judge has under way at the same time.
const AT_ONCE: usize = 8;

/// Everything that the server has ever told to anybody.
#[derive(Default)]
pub struct Known {
    /// Acknowledged publishes and their repositories.
    pub acks: Vec<(String, Receipt)>,
    /// The highest version of each repository's timestamp that was shown.
    shown: BTreeMap<String, u64>,
    followers: BTreeMap<String, Follower>,
    http: Client,
}

/// Clients of others that remember what they saw of one repository.
struct Follower {
    root: Vec<u8>,
    memory: TempDir,
}

impl Known {
    /// Adds what a `server-writer` has printed. Returns how many publishes were known before.
    pub fn learn(&mut self, lines: &[String]) -> usize {
        let before = self.acks.len();
        for event in events(lines.iter().map(String::as_str)) {
            match event {
                Event::Published { repository, receipt, .. } => {
                    self.saw(&repository, receipt.current[&RoleName::Timestamp].version.get());
                    self.acks.push((repository, receipt));
                }
                Event::Shown { repository, version } => self.saw(&repository, version),
                Event::Surprise { answer } => panic!("the server answers {answer}"),
                Event::Sent { .. }
                | Event::Refused { .. }
                | Event::Unanswered { .. }
                | Event::Ended { .. } => {}
            }
        }
        before
    }

    fn saw(&mut self, repository: &str, version: u64) {
        let highest = self.shown.entry(repository.to_owned()).or_default();
        *highest = version.max(*highest);
    }

    /// Starts the server again and compares what it serves with what it had acknowledged from
    /// the `first` publish on, and with everything it had shown. Returns it, still running.
    pub async fn judge(&self, data: &Path, first: usize) -> ServerProcess {
        let server = start_again(data);
        for (repository, shown) in &self.shown {
            let timestamp: serde_json::Value = self.json(&server, &tuf(repository, "timestamp.json")).await;
            let served = timestamp["signed"]["version"].as_u64().unwrap();
            assert!(served >= *shown, "{repository}: timestamp {shown} was shown, now it is {served}");
        }
        let new = &self.acks[first..];
        self.judge_heads(&server, new).await;
        self.judge_feed(&server, new).await;
        let mut seen = HashSet::new();
        let documents = new.iter().flat_map(|(repository, receipt)| {
            let versioned = receipt.current.iter().filter(|(role, _)| **role != RoleName::Timestamp);
            versioned.map(move |(role, document)| (repository.as_str(), role, document))
        });
        let documents = documents.filter(|(repository, role, document)| {
            seen.insert((repository.to_string(), role.to_string(), document.version.get()))
        });
        let reads = documents
            .map(|(repository, role, document)| self.judge_document(&server, repository, role, document));
        futures_util::stream::iter(reads).buffer_unordered(AT_ONCE).collect::<()>().await;
        server
    }

    /// The served bytes are those that were acknowledged, and so is the image they list.
    async fn judge_document(
        &self,
        server: &ServerProcess,
        repository: &str,
        role: &RoleName,
        document: &DocumentRef,
    ) {
        let name = document_file_name(role, Some(document.version));
        let bytes = self.bytes(server, &tuf(repository, &name)).await;
        assert_eq!(bytes.len() as u64, document.length, "{repository} {name}");
        assert_eq!(Sha256Digest::of(&bytes), document.sha256, "{repository} {name}");
        let content: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let Some(digest) = content["signed"]["targets"]["latest"]["hashes"]["sha256"].as_str() else {
            return;
        };
        let target = self.bytes(server, &format!("/tuf/{repository}/targets/{digest}.latest")).await;
        assert_eq!(
            hex::encode(Sha256Digest::of(&target).as_bytes()),
            digest,
            "{repository} {name}: its image"
        );
    }

    /// No role stands behind a version that was acknowledged.
    async fn judge_heads(&self, server: &ServerProcess, new: &[(String, Receipt)]) {
        let last: BTreeMap<&str, &Receipt> =
            new.iter().map(|(repository, receipt)| (repository.as_str(), receipt)).collect();
        for (repository, _) in last {
            let head: Head = self.json(server, &format!("/api/v1/repositories/{repository}/head")).await;
            for (_, receipt) in new.iter().filter(|(name, _)| name == repository) {
                for (role, document) in &receipt.current {
                    let now = &head.current[role];
                    assert!(now.version >= document.version, "{repository}: {role} is at {}", now.version);
                    let same = now.version != document.version || now.sha256 == document.sha256;
                    assert!(same, "{repository}: two documents {} of {role}", now.version);
                }
            }
        }
    }

    /// Every acknowledged publish stands once in the feed, at the position it was told.
    async fn judge_feed(&self, server: &ServerProcess, new: &[(String, Receipt)]) {
        let Some(first) = new.iter().map(|(_, receipt)| receipt.position).min() else { return };
        let feed = self.feed(server, first - 1).await;
        for (repository, receipt) in new {
            let change =
                feed.get(&receipt.position).unwrap_or_else(|| panic!("{receipt:?} is not in the feed"));
            assert_eq!(change.repository.as_str(), repository, "at {}", receipt.position);
            let timestamp = change.documents.iter().find(|document| document.role == RoleName::Timestamp);
            let timestamp = timestamp.expect("every publish brings a timestamp");
            assert_eq!(timestamp.sha256, receipt.current[&RoleName::Timestamp].sha256, "{repository}");
        }
    }

    /// The feed after a position.
    pub async fn feed(&self, server: &ServerProcess, mut after: u64) -> BTreeMap<u64, Change> {
        let mut feed: BTreeMap<u64, Change> = BTreeMap::new();
        loop {
            let page: ChangeList = self.json(server, &format!("/api/v1/changes?after={after}")).await;
            if page.changes.is_empty() {
                break;
            }
            after = page.next;
            for change in page.changes {
                let position = change.position;
                assert!(feed.insert(position, change).is_none(), "two changes at {position}");
            }
        }
        feed
    }

    /// Two foreign clients verify every repository with their memory of all times before, and
    /// download an image.
    pub async fn follow(&mut self, server: &ServerProcess) {
        for (repository, shown) in self.shown.clone() {
            if !self.followers.contains_key(&repository) {
                let root = self.bytes(server, &tuf(&repository, "1.root.json")).await;
                self.followers.insert(repository.clone(), Follower { root, memory: TempDir::new().unwrap() });
            }
            let follower = &self.followers[&repository];
            let served = Repository {
                metadata_url: format!("{}/tuf/{repository}/metadata", server.url),
                targets_url: format!("{}/tuf/{repository}/targets", server.url),
                root: follower.root.clone(),
                ca_cert: None,
                now: None,
            };
            for client in [ForeignClient::SigstoreTuf, ForeignClient::Tough] {
                let memory = follower.memory.path().join(client.name());
                let seen = client.follow(&served, &memory, Some("latest")).await;
                let seen =
                    seen.unwrap_or_else(|refused| panic!("{} of {repository}: {refused:?}", client.name()));
                assert!(
                    seen.timestamp >= shown && seen.target.is_some(),
                    "{} of {repository}",
                    client.name()
                );
            }
        }
    }

    async fn json<T: serde::de::DeserializeOwned>(&self, server: &ServerProcess, path: &str) -> T {
        serde_json::from_slice(&self.bytes(server, path).await).unwrap()
    }

    async fn bytes(&self, server: &ServerProcess, path: &str) -> Vec<u8> {
        let request = self.http.get(format!("{}{path}", server.url)).bearer_auth(&server.token);
        let answer = request.send().await.unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.bytes().await.unwrap().to_vec()
    }
}

fn tuf(repository: &str, file: &str) -> String {
    format!("/tuf/{repository}/metadata/{file}")
}

/// Starts the server again. One that was killed holds its lock until the kernel has buried
/// it, which nobody here is told.
fn start_again(data: &Path) -> ServerProcess {
    let begin = Instant::now();
    loop {
        match ServerProcess::start(&program("bullad"), data) {
            Ok(server) => return server,
            Err(said)
                if said.contains("in use by another process")
                    && begin.elapsed() < Duration::from_secs(10) =>
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(said) => panic!("it does not start again: {said}"),
        }
    }
}
