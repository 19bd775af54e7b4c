//! The client workflow, driven over files in memory.

use std::fmt::Display;

use bulla_keys_schema::metadata::{MetaInfo, TargetInfo};
use bulla_keys_schema::names::{RepositoryName, RoleName, TargetPath};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::{Pin, RootChain, Step, TrustedRoot, TrustedTargets, Walk};
use bytes::Bytes;

use super::{DIALECT, Files, file};

/// What a consumer knows, what an earlier run stored, and what it is served now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub pin: Pin,
    pub first_root: Bytes,
    pub now: UtcTime,
    /// The `now` of the last run that succeeded.
    pub last_accepted: Option<UtcTime>,
    pub stored: Files,
    pub served: Files,
    pub repository: RepositoryName,
    /// Whether the pin is for many repositories, so that the root must name this one.
    pub named: bool,
    /// The name to look up.
    pub target: String,
    /// What the registry has under that name.
    pub target_bytes: Bytes,
}

/// How a run ended.
#[derive(Debug)]
pub struct Run {
    /// The role that lists the target, or why there is no answer.
    pub result: Result<RoleName, String>,
    /// What is stored now.
    pub stored: Files,
    /// What was asked for, in order.
    pub asked: Vec<String>,
}

impl Client {
    /// Refreshes, looks the target up, and compares the bytes.
    pub fn run(&self) -> Run {
        let mut session = Session { client: self, stored: self.stored.clone(), asked: Vec::new() };
        let result = session.run();
        Run { result, stored: session.stored, asked: session.asked }
    }
}

struct Session<'a> {
    client: &'a Client,
    stored: Files,
    asked: Vec<String>,
}

impl Session<'_> {
    fn run(&mut self) -> Result<RoleName, String> {
        let target: TargetPath = self.client.target.parse().map_err(text)?;
        let trusted = self.refresh()?;
        let (role, info) = self.find(&trusted, target)?;
        let bytes = &self.client.target_bytes;
        let length_fits = usize::try_from(info.length) == Ok(bytes.len());
        if !(length_fits && info.hashes.match_bytes(bytes)) {
            return Err(format!("{} has other bytes than listed", self.client.target));
        }
        Ok(role)
    }

    fn refresh(&mut self) -> Result<TrustedTargets, String> {
        let root = self.roots()?;
        let consistent = root.root().payload().consistent_snapshot;
        if root.online_keys_rotated() {
            self.stored.remove("timestamp.json");
            self.stored.remove("snapshot.json");
        }
        let stored = |name: &str| self.stored.get(name).cloned();
        let floor = root.floor(stored("timestamp.json"), stored("snapshot.json"));
        let timestamp = root.timestamp(floor, self.ask("timestamp.json")?).map_err(text)?;
        if timestamp.is_new() {
            self.store("timestamp.json", timestamp.timestamp().bytes());
        }
        let wanted = timestamp.wanted().clone();
        let bytes = self.ask_for(&RoleName::Snapshot, &wanted, consistent)?;
        let snapshot = timestamp.snapshot(bytes).map_err(text)?;
        self.store("snapshot.json", snapshot.snapshot().bytes());
        let wanted = snapshot.wanted().map_err(text)?.clone();
        let bytes = self.ask_for(&RoleName::Targets, &wanted, consistent)?;
        snapshot.targets(bytes).map_err(text)
    }

    /// Each root is stored before the next one is asked for (C8).
    fn roots(&mut self) -> Result<TrustedRoot, String> {
        let client = self.client;
        let mut chain = RootChain::start(DIALECT, client.first_root.clone(), &client.pin)
            .and_then(|chain| chain.require_repository(&client.repository, client.named))
            .map_err(text)?;
        let root_file = |version| file(&RoleName::Root, version, true);
        while let Some(bytes) = chain.wanted().and_then(|version| self.stored.get(&root_file(version))) {
            // A damaged store must not lock its owner out (C29): the server is asked again.
            if chain.step(bytes.clone()).is_err() {
                break;
            }
        }
        chain.mark_stored();
        while let Some(version) = chain.wanted() {
            let Ok(bytes) = self.ask(&root_file(version)) else { break };
            chain.step(bytes).map_err(text)?;
            self.store(&root_file(version), chain.latest().bytes());
        }
        chain.finish(client.now, client.last_accepted).map_err(text)
    }

    fn find(
        &mut self,
        trusted: &TrustedTargets,
        target: TargetPath,
    ) -> Result<(RoleName, TargetInfo), String> {
        let mut walk = Walk::new(trusted, target);
        let consistent = trusted.root().payload().consistent_snapshot;
        loop {
            match walk.step().map_err(text)? {
                Step::Found(found) => return Ok((found.role, found.info)),
                Step::NotFound => return Err(format!("no role lists {}", self.client.target)),
                Step::Fetch(need) => {
                    let role = RoleName::Delegated(need.role);
                    let bytes = self.ask_for(&role, &need.info, consistent)?;
                    walk.supply(bytes).map_err(text)?;
                }
            }
        }
    }

    fn ask_for(&mut self, role: &RoleName, info: &MetaInfo, consistent: bool) -> Result<Bytes, String> {
        self.ask(&file(role, info.version, consistent))
    }

    fn ask(&mut self, name: &str) -> Result<Bytes, String> {
        self.asked.push(name.to_owned());
        self.client.served.get(name).cloned().ok_or_else(|| format!("{name} is not there"))
    }

    fn store(&mut self, name: &str, bytes: &Bytes) {
        self.stored.insert(name.to_owned(), bytes.clone());
    }
}

fn text(error: impl Display) -> String {
    error.to_string()
}
