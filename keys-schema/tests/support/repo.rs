//! A repository: documents that describe each other.

use std::collections::{BTreeMap, BTreeSet};

use bulla_keys_schema::author::{Delegation, RoleSpec, RootEdit, TargetsEdit};
use bulla_keys_schema::dialect::tuf1::{file_name, parse_file_name};
use bulla_keys_schema::digest::{Hashes, Sha256Digest};
use bulla_keys_schema::json::{Json, Object};
use bulla_keys_schema::metadata::{
    KeyEntry, MetaInfo, Scope, Snapshot, Targets, Threshold, Timestamp, Version,
};
use bulla_keys_schema::names::RoleName;
use bytes::Bytes;

use super::{DIALECT, Doc, Files, TestKey, later, repository};

/// Roots, targets, delegated roles, and what the online roles say of them.
#[derive(Clone)]
pub struct Repo {
    pub roots: Vec<Doc>,
    pub targets: Doc,
    pub delegated: BTreeMap<String, Doc>,
    pub snapshot: Doc,
    pub timestamp: Doc,
    /// Roles that the snapshot leaves out.
    pub unlisted: BTreeSet<String>,
    /// Whether files carry their version in their name.
    pub consistent: bool,
}

impl Default for Repo {
    fn default() -> Self {
        Self::new()
    }
}

impl Repo {
    pub const ROOT: TestKey = TestKey::new("root");
    pub const TARGETS: TestKey = TestKey::new("targets");
    pub const SNAPSHOT: TestKey = TestKey::new("snapshot");
    pub const TIMESTAMP: TestKey = TestKey::new("timestamp");
    pub const ALICE: TestKey = TestKey::new("alice");

    /// What the tag `v1` stands for.
    pub const MANIFEST: &'static [u8] = b"the manifest of v1";

    /// One key per role; `alice` may speak for `v*` and lists `v1`.
    pub fn new() -> Self {
        let root = RootEdit::first(
            DIALECT,
            &spec(&[Self::ROOT], 1),
            &spec(&[Self::TARGETS], 1),
            &spec(&[Self::SNAPSHOT], 1),
            &spec(&[Self::TIMESTAMP], 1),
            later(),
        );
        let mut targets = TargetsEdit::new(DIALECT, RoleName::Targets, Version::FIRST, later());
        targets.set_delegation(&delegation("alice", &[Self::ALICE], &["v*"])).unwrap();
        Self {
            roots: vec![Doc::new(&root.unwrap().for_repository(repository()).finish(), &[Self::ROOT])],
            targets: Doc::new(&targets.for_repository(Some(repository())).finish(), &[Self::TARGETS]),
            delegated: BTreeMap::from([(
                "alice".to_owned(),
                Doc::new(&lists("alice", &["v1"]), &[Self::ALICE]),
            )]),
            snapshot: empty_snapshot(),
            timestamp: empty_timestamp(),
            unlisted: BTreeSet::new(),
            consistent: true,
        }
    }

    /// The same with `v1` in the top-level targets and no delegation.
    pub fn flat() -> Self {
        let mut repo = Self::new();
        repo.targets = Doc::new(&lists("targets", &["v1"]), &[Self::TARGETS]);
        repo.delegated.clear();
        repo
    }

    /// The same without targets, to be filled by [`Self::delegate`].
    pub fn bare() -> Self {
        let mut repo = Self::flat();
        repo.targets = Doc::new(&lists("targets", &[]), &[Self::TARGETS]);
        repo
    }

    /// The role `role` delegates to `delegation` beside what it delegates to already.
    pub fn delegate(&mut self, role: &str, delegation: &Delegation) -> &mut Self {
        let doc = self.targets_doc(role);
        if doc.get("delegations").is_none() {
            let empty = [("keys", Json::Object(Object::new())), ("roles", Json::Array(Vec::new()))];
            let empty = empty.map(|(name, value)| (name.to_owned(), value));
            doc.set("delegations", Json::Object(Object::from(empty)));
        }
        let mut edit = TargetsEdit::new(DIALECT, RoleName::Targets, Version::FIRST, later());
        edit.set_delegation(delegation).unwrap();
        let written = Doc::new(&edit.finish(), &[]);
        for (id, object) in written.get("delegations/keys").unwrap().as_object().unwrap() {
            doc.set(&format!("delegations/keys/{id}"), object.clone());
        }
        doc.push("delegations/roles", written.get("delegations/roles/0").unwrap().clone());
        self
    }

    /// Adds the document of a delegated role.
    pub fn add(&mut self, role: &str, names: &[&str], signers: &[TestKey]) -> &mut Self {
        self.delegated.insert(role.to_owned(), Doc::new(&lists(role, names), signers));
        self
    }

    pub fn alice(&mut self) -> &mut Doc {
        self.targets_doc("alice")
    }

    pub fn root(&mut self) -> &mut Doc {
        self.roots.last_mut().unwrap()
    }

    /// A second root, equal but for its version, and signed as the first.
    pub fn next_root(&mut self) -> &mut Doc {
        let mut next = self.root().clone();
        let version = i64::try_from(next.version().get() + 1).unwrap();
        next.set_number("version", version);
        self.roots.push(next);
        self.root()
    }

    /// A document of targets kind.
    pub fn targets_doc(&mut self, role: &str) -> &mut Doc {
        match role {
            "targets" => &mut self.targets,
            delegated => self.delegated.get_mut(delegated).unwrap(),
        }
    }

    /// The newest document of every role.
    pub fn documents(&self) -> BTreeMap<RoleName, Bytes> {
        let files = self.files().into_iter();
        let mut documents: BTreeMap<_, _> =
            files.map(|(name, bytes)| (parse_file_name(&name).unwrap().1, bytes)).collect();
        documents.insert(RoleName::Root, self.roots.last().unwrap().bytes());
        documents
    }

    /// All files as a server would serve them. Snapshot and timestamp describe what is below
    /// them, except where a test already wrote something else there.
    pub fn files(&self) -> Files {
        let mut files = Files::new();
        for root in &self.roots {
            files.insert(file(&RoleName::Root, root.version(), true), root.bytes());
        }
        let mut snapshot = self.snapshot.clone();
        let targets = [("targets", &self.targets)].into_iter();
        for (name, doc) in targets.chain(self.delegated.iter().map(|(name, doc)| (name.as_str(), doc))) {
            let bytes = doc.bytes();
            if !self.unlisted.contains(name) {
                snapshot.describe(&format!("{name}.json"), doc.version(), &bytes);
            }
            files.insert(file(&name.parse().unwrap(), doc.version(), self.consistent), bytes);
        }
        let bytes = snapshot.bytes();
        let mut timestamp = self.timestamp.clone();
        timestamp.describe("snapshot.json", snapshot.version(), &bytes);
        files.insert(file(&RoleName::Snapshot, snapshot.version(), self.consistent), bytes);
        files.insert("timestamp.json".to_owned(), timestamp.bytes());
        files
    }
}

/// The file name of a document.
pub fn file(role: &RoleName, version: impl Into<Option<Version>>, consistent: bool) -> String {
    file_name(role, version, consistent)
}

/// A document of `role` that lists these names, each for [`Repo::MANIFEST`].
pub fn lists(role: &str, names: &[&str]) -> Targets {
    let mut edit = TargetsEdit::new(DIALECT, role.parse().unwrap(), Version::FIRST, later());
    for name in names {
        let length = u64::try_from(Repo::MANIFEST.len()).unwrap();
        edit.set_target(&name.parse().unwrap(), Sha256Digest::of(Repo::MANIFEST), length);
    }
    edit.for_repository(Some(repository())).finish()
}

/// A delegation with threshold 1 that does not end a search.
pub fn delegation(name: &str, keys: &[TestKey], patterns: &[&str]) -> Delegation {
    Delegation {
        name: name.parse().unwrap(),
        keys: keys.iter().map(|key| KeyEntry::new(key.public())).collect(),
        threshold: Threshold::ONE,
        scope: Scope::Paths(patterns.iter().map(|pattern| pattern.parse().unwrap()).collect()),
        terminating: false,
    }
}

/// Who shall sign a role.
fn spec(keys: &[TestKey], threshold: u64) -> RoleSpec {
    let keys = keys.iter().map(|key| KeyEntry::new(key.public())).collect();
    RoleSpec { keys, threshold: Threshold::new(threshold).unwrap() }
}

fn empty_snapshot() -> Doc {
    let snapshot =
        Snapshot { version: Version::FIRST, expires: later(), meta: BTreeMap::new(), extra: Object::new() };
    Doc::new(&snapshot, &[Repo::SNAPSHOT])
}

fn empty_timestamp() -> Doc {
    let snapshot = MetaInfo {
        version: Some(Version::FIRST),
        length: None,
        hashes: Some(Hashes::sha256(Sha256Digest::of(b""))),
    };
    let timestamp = Timestamp {
        version: Version::FIRST,
        expires: later(),
        snapshot,
        signed_at: None,
        extra: Object::new(),
    };
    let mut doc = Doc::new(&timestamp, &[Repo::TIMESTAMP]);
    doc.remove("meta/snapshot.json");
    doc
}
