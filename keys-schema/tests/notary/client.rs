//! A consumer that follows a repository and carries along what it accepted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::{Children, MetaInfo, Targets};
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::{Pin, RootChain, RootError, TrustedTargets, Verified};
use bytes::Bytes;

use crate::server::Served;
use crate::{DIALECT, now, repository};

/// What a consumer pinned and stored.
#[derive(Clone)]
pub struct Client {
    pub now: UtcTime,
    roots: Vec<Bytes>,
    timestamp: Option<Bytes>,
    snapshot: Option<Bytes>,
    targets: BTreeMap<RoleName, Bytes>,
}

/// What a run saw.
pub struct View {
    /// Every role that was accepted.
    pub roles: BTreeMap<RoleName, Verified<Targets>>,
    /// Roles that are delegated to, and why they were not accepted.
    pub refused: BTreeMap<RoleName, String>,
}

impl View {
    /// The names on the wire of all roles that were accepted and list `tag`.
    pub fn listing(&self, tag: &str) -> BTreeSet<&str> {
        let listing = self.roles.iter().filter(|(_, doc)| doc.payload().targets.contains_key(tag));
        listing.map(|(role, _)| role.as_str()).collect()
    }
}

impl Client {
    /// Trusts the first root that is served.
    pub fn new(served: &Served) -> Self {
        let first = served.roots.values().next().unwrap().clone();
        Self { now: now(), roots: vec![first], timestamp: None, snapshot: None, targets: BTreeMap::new() }
    }

    /// A run; what is accepted is stored at once.
    pub fn follow(&mut self, served: &Served) -> Result<View, String> {
        let chain = self.chain(served).map_err(|error| error.to_string())?;
        let root = chain.finish(self.now, None).map_err(|error| error.to_string())?;
        let floor = root.floor(self.timestamp.clone(), self.snapshot.clone());
        let floor = floor.with_targets(self.targets.clone());
        let timestamp = root.timestamp(floor, served.timestamp.clone()).map_err(|error| error.to_string())?;
        self.timestamp = Some(timestamp.timestamp().bytes().clone());
        let bytes = fetch(served, timestamp.wanted())?;
        let snapshot = timestamp.snapshot(bytes).map_err(|error| error.to_string())?;
        self.snapshot = Some(snapshot.snapshot().bytes().clone());
        let bytes = fetch(served, snapshot.wanted().map_err(|error| error.to_string())?)?;
        let targets = snapshot.targets(bytes).map_err(|error| error.to_string())?;
        self.targets.insert(RoleName::Targets, targets.targets().bytes().clone());
        Ok(self.walk(&targets, served))
    }

    fn chain(&mut self, served: &Served) -> Result<RootChain, RootError> {
        let pin = Pin::Digest(Sha256Digest::of(&self.roots[0]));
        let mut chain = RootChain::start(DIALECT, self.roots[0].clone(), &pin)?
            .require_repository(&repository(), false)?;
        for root in &self.roots[1..] {
            chain.step(root.clone())?;
        }
        chain.mark_stored();
        while let Some(next) = chain.wanted().and_then(|version| served.roots.get(&version.get())) {
            chain.step(next.clone())?;
            self.roots.push(next.clone());
        }
        Ok(chain)
    }

    /// All delegations, breadth first. A role that cannot be accepted is a warning.
    fn walk(&mut self, top: &TrustedTargets, served: &Served) -> View {
        let mut view = View { roles: BTreeMap::new(), refused: BTreeMap::new() };
        view.roles.insert(RoleName::Targets, top.targets().clone());
        let mut delegators = VecDeque::from([top.targets().clone()]);
        while let Some(delegator) = delegators.pop_front() {
            let Some(delegations) = &delegator.payload().delegations else { continue };
            let Children::Roles(children) = &delegations.children else { continue };
            for child in children {
                let role = RoleName::Delegated(child.name.clone());
                let bytes = top.wanted(&child.name).map_err(|error| error.to_string());
                let bytes = bytes.and_then(|wanted| fetch(served, wanted));
                let document = bytes.and_then(|bytes| {
                    top.delegated_by(&delegator, &child.name, bytes).map_err(|error| error.to_string())
                });
                match document {
                    Ok(document) => {
                        self.targets.insert(role.clone(), document.bytes().clone());
                        delegators.push_back(document.clone());
                        view.roles.insert(role, document);
                    }
                    Err(error) => drop(view.refused.insert(role, error)),
                }
            }
        }
        view
    }
}

fn fetch(served: &Served, wanted: &MetaInfo) -> Result<Bytes, String> {
    let digest = wanted.hashes.as_ref().unwrap().as_sha256().unwrap();
    served.files.get(&digest).cloned().ok_or_else(|| format!("{digest} is not there"))
}
