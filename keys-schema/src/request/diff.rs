//! What a request would change, in terms that a signer can judge: computed on his own machine,
//! against the state that he trusts himself. Every difference is named, also those that mean
//! nothing to this program: a change must not hide behind a harmless reason.

use std::collections::BTreeSet;

use crate::digest::Sha256Digest;
use crate::json::Object;
use crate::key::{Fingerprint, KeyAlgorithm, KeyId};
use crate::metadata::{KeyEntry, KeyTable, RoleKeys, Root, Scope, Threshold, TopLevelRole, Version};
use crate::names::{RepositoryName, RoleName};
use crate::request::base::{Body, targets_of};
use crate::request::{KeySet, OpenRequest};
use crate::time::UtcTime;
use crate::verify::Verified;

mod targets;

pub use targets::diff_targets;

/// All that a request would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    /// By document.
    pub roles: Vec<ChangedRole>,
    /// What a signer should know besides.
    pub warnings: Vec<Warning>,
}

/// What one document would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedRole {
    /// Its role.
    pub role: RoleName,
    /// The current version; `None` for a new role.
    pub before: Option<Version>,
    /// The version that it would have.
    pub after: Version,
    /// The changes, keys first.
    pub changes: Vec<Change>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A key of a role, which root or a delegator names.
    Key {
        /// The role that it may sign.
        of: RoleName,
        /// What happens to it.
        change: KeyChange,
        /// The id that the document declares.
        id: KeyId,
        /// The key itself; `None` where this program cannot verify with it.
        key: Option<(Fingerprint, KeyAlgorithm)>,
    },
    /// How many keys must sign a role.
    Threshold {
        /// The role.
        of: RoleName,
        /// Before; `None` for a new role.
        before: Option<Threshold>,
        /// After.
        after: Threshold,
    },
    /// Another role may speak.
    DelegationAdded {
        /// Its name.
        name: RoleName,
        /// What for.
        scope: Scope,
        /// Whether a search ends with it.
        terminating: bool,
    },
    /// A role may speak no more.
    DelegationRemoved {
        /// Its name.
        name: RoleName,
    },
    /// A role may speak for something else.
    Delegation {
        /// Its name.
        name: RoleName,
        /// What for, before.
        before: Scope,
        /// What for, after.
        after: Scope,
        /// Whether a search ends with it, after.
        terminating: bool,
    },
    /// Until when a role may speak.
    DelegationEnds {
        /// Its name.
        name: RoleName,
        /// After; `None`: for as long as it is delegated to.
        after: Option<UtcTime>,
    },
    /// The priority of the delegated roles.
    DelegationOrder {
        /// Their names, first to last.
        after: Vec<RoleName>,
    },
    /// A tag.
    Target {
        /// Its name.
        path: String,
        /// What it stood for; `None` if it is new.
        before: Option<Listed>,
        /// What it will stand for; `None` if it is taken out.
        after: Option<Listed>,
    },
    /// A tag is taken back with a signed note.
    Revoked {
        /// Its name.
        path: String,
        /// What it stood for.
        digest: Sha256Digest,
        /// Why.
        reason: Option<String>,
    },
    /// The signed note that a tag was taken back goes away.
    RevocationRemoved {
        /// The tag.
        path: String,
    },
    /// The repository that the document is made for.
    Repository {
        /// After.
        after: Option<RepositoryName>,
    },
    /// When the document expires.
    Expires {
        /// Before; `None` for a new role.
        before: Option<UtcTime>,
        /// After.
        after: UtcTime,
    },
    /// Something that this program gives no meaning to.
    Other {
        /// Where.
        what: String,
    },
}

/// What happens to a key of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// It may sign from now on.
    Added,
    /// The same key under another id, or in another certificate.
    Reissued,
    /// It may sign no more.
    Removed,
}

/// A target by what identifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The digest of its bytes.
    pub digest: Option<Sha256Digest>,
    /// Their number.
    pub length: u64,
}

/// What a signer should know before he signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// No root key of before stays.
    AllRootKeysReplaced,
    /// A document would expire earlier than the one before.
    ExpiresEarlier {
        /// Of which role.
        role: RoleName,
    },
    /// One person could change everything, or lose it.
    FewHolders {
        /// How many keys root has.
        holders: usize,
    },
    /// As many keys must sign as there are: nobody may lose his.
    NoSpareKey {
        /// How many.
        keys: usize,
    },
    /// A new root key has not signed: nobody has shown that he holds it.
    NotProven {
        /// Which.
        key: Fingerprint,
    },
    /// One key is listed under two ids: it counts once.
    SameKeyTwice {
        /// The role.
        role: RoleName,
        /// The key.
        key: Fingerprint,
    },
    /// Fewer keys must sign than before.
    ThresholdFalls {
        /// The role.
        role: RoleName,
        /// Before.
        before: Threshold,
        /// After.
        after: Threshold,
    },
    /// This program cannot verify with a new key.
    UnusableKey {
        /// The role.
        role: RoleName,
        /// The id that the document declares.
        id: KeyId,
    },
}

impl Diff {
    pub(super) fn of(request: &OpenRequest) -> Self {
        let mut roles = Vec::new();
        let mut warnings = Vec::new();
        let current = request.current.as_ref();
        for (role, document) in &request.documents {
            let (before, changes, mut found) = match &document.body {
                Body::Root(after) => {
                    let before = current.map(|current| current.root().payload());
                    let (changes, mut found) = diff_root(before, after.payload());
                    let signed = document.signers.iter().filter(|signers| signers.set != KeySet::Old);
                    let signed: BTreeSet<_> =
                        signed.flat_map(|signers| after.signed_by(&signers.keys, &signers.table)).collect();
                    found.extend(not_proven(&changes, &signed));
                    (before.map(|before| before.version), changes, found)
                }
                Body::Targets(after) => {
                    let before = current.and_then(|current| targets_of(current, role)).map(Verified::payload);
                    let (changes, found) = diff_targets(role, before, after.payload());
                    (before.map(|before| before.version), changes, found)
                }
            };
            warnings.append(&mut found);
            roles.push(ChangedRole { role: role.clone(), before, after: document.body.version(), changes });
        }
        Self { roles, warnings }
    }
}

/// What `after` changes; everything, where there is no `before`.
#[must_use]
pub fn diff_root(before: Option<&Root>, after: &Root) -> (Vec<Change>, Vec<Warning>) {
    let (mut changes, mut warnings) = (Vec::new(), Vec::new());
    for role in [TopLevelRole::Root, TopLevelRole::Targets, TopLevelRole::Snapshot, TopLevelRole::Timestamp] {
        let old = before.map(|before| (before.role(role), &before.keys));
        diff_keys(&name(role), old, (after.role(role), &after.keys), &mut changes, &mut warnings);
    }
    let old = before.map(|before| (before.repository.as_ref(), before.expires));
    diff_header(
        &RoleName::Root,
        old,
        (after.repository.as_ref(), after.expires),
        &mut changes,
        &mut warnings,
    );
    if before.is_some_and(|before| before.consistent_snapshot != after.consistent_snapshot) {
        changes.push(Change::Other { what: format!("consistent_snapshot: {}", after.consistent_snapshot) });
    }
    diff_table(before.map(|before| &before.keys), &after.keys, &used(after), &mut changes);
    diff_extra("", before.map(|before| &before.extra), &after.extra, &mut changes);
    let keys = after.root.fingerprints(&after.keys);
    if keys.len() < 2 {
        warnings.push(Warning::FewHolders { holders: keys.len() });
    } else if after.root.threshold.get() as usize == keys.len() {
        warnings.push(Warning::NoSpareKey { keys: keys.len() });
    }
    let old = before.map(|before| before.root.fingerprints(&before.keys));
    if old.is_some_and(|old| old.is_disjoint(&keys)) {
        warnings.push(Warning::AllRootKeysReplaced);
    }
    (changes, warnings)
}

fn not_proven(changes: &[Change], signed: &BTreeSet<Fingerprint>) -> Vec<Warning> {
    let new = changes.iter().filter_map(|change| match change {
        Change::Key { of: RoleName::Root, change: KeyChange::Added, key: Some((key, _)), .. } => Some(*key),
        _ => None,
    });
    new.filter(|key| !signed.contains(key)).map(|key| Warning::NotProven { key }).collect()
}

/// The keys and the threshold of one role, as its delegator before and after names them.
fn diff_keys(
    of: &RoleName,
    before: Option<(&RoleKeys, &KeyTable)>,
    (after, table): (&RoleKeys, &KeyTable),
    changes: &mut Vec<Change>,
    warnings: &mut Vec<Warning>,
) {
    let old = before.map(|(keys, table)| listed(keys, table)).unwrap_or_default();
    let new = listed(after, table);
    let change = |change, entry: &ListedKey<'_>| Change::Key {
        of: of.clone(),
        change,
        id: entry.id.clone(),
        key: entry.key(),
    };
    for entry in &new {
        match old.iter().find(|known| known.is_same_key(entry)) {
            None => {
                changes.push(change(KeyChange::Added, entry));
                if entry.key().is_none() {
                    warnings.push(Warning::UnusableKey { role: of.clone(), id: entry.id.clone() });
                }
            }
            Some(_) if !old.iter().any(|known| known.is_same_entry(entry)) => {
                changes.push(change(KeyChange::Reissued, entry));
            }
            Some(_) => {}
        }
    }
    for entry in old.iter().filter(|entry| !new.iter().any(|known| known.is_same_key(entry))) {
        changes.push(change(KeyChange::Removed, entry));
    }
    let threshold = before.map(|(keys, _)| keys.threshold);
    if threshold != Some(after.threshold) {
        changes.push(Change::Threshold { of: of.clone(), before: threshold, after: after.threshold });
    }
    if let Some(before) = threshold.filter(|before| *before > after.threshold) {
        warnings.push(Warning::ThresholdFalls { role: of.clone(), before, after: after.threshold });
    }
    let mut seen = BTreeSet::new();
    for key in new.iter().filter_map(ListedKey::key).map(|(key, _)| key) {
        if !seen.insert(key) {
            warnings.push(Warning::SameKeyTwice { role: of.clone(), key });
        }
    }
}

/// One key of a role.
struct ListedKey<'a> {
    id: &'a KeyId,
    entry: Option<&'a KeyEntry>,
}

impl ListedKey<'_> {
    fn key(&self) -> Option<(Fingerprint, KeyAlgorithm)> {
        let key = self.entry?.key.as_ref()?;
        Some((key.fingerprint(), key.algorithm()))
    }

    fn is_same_key(&self, other: &ListedKey<'_>) -> bool {
        match (self.key(), other.key()) {
            (Some(one), Some(other)) => one == other,
            (None, None) => self.id == other.id,
            _ => false,
        }
    }

    fn is_same_entry(&self, other: &ListedKey<'_>) -> bool {
        self.id == other.id
            && self.key() == other.key()
            && self.entry.map(|entry| &entry.certificate) == other.entry.map(|entry| &entry.certificate)
    }
}

fn listed<'a>(keys: &'a RoleKeys, table: &'a KeyTable) -> Vec<ListedKey<'a>> {
    keys.key_ids.iter().map(|id| ListedKey { id, entry: table.get(id) }).collect()
}

/// What the first lines of all documents say.
fn diff_header(
    role: &RoleName,
    before: Option<(Option<&RepositoryName>, UtcTime)>,
    (repository, expires): (Option<&RepositoryName>, UtcTime),
    changes: &mut Vec<Change>,
    warnings: &mut Vec<Warning>,
) {
    if before.and_then(|(name, _)| name) != repository {
        changes.push(Change::Repository { after: repository.cloned() });
    }
    let old = before.map(|(_, expires)| expires);
    if old != Some(expires) {
        changes.push(Change::Expires { before: old, after: expires });
    }
    if old.is_some_and(|old| old > expires) {
        warnings.push(Warning::ExpiresEarlier { role: role.clone() });
    }
}

/// Keys that no role uses, and what stands beside the keys that some do.
fn diff_table(
    before: Option<&KeyTable>,
    after: &KeyTable,
    used: &BTreeSet<&KeyId>,
    changes: &mut Vec<Change>,
) {
    for (id, entry) in after {
        let known = before.and_then(|before| before.get(id));
        let what = match known {
            None if !used.contains(id) => format!("key {id}, which no role uses"),
            Some(known) if known.declared != entry.declared => format!("how key {id} is declared"),
            _ => continue,
        };
        changes.push(Change::Other { what });
    }
}

/// Members that nobody here interprets.
fn diff_extra(at: &str, before: Option<&Object>, after: &Object, changes: &mut Vec<Change>) {
    let nothing = Object::new();
    let before = before.unwrap_or(&nothing);
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for name in names.into_iter().filter(|name| before.get(name) != after.get(name)) {
        changes.push(Change::Other { what: format!("{at}{name}") });
    }
}

fn used(root: &Root) -> BTreeSet<&KeyId> {
    TopLevelRole::ALL.into_iter().flat_map(|role| &root.role(role).key_ids).collect()
}

const fn name(role: TopLevelRole) -> RoleName {
    match role {
        TopLevelRole::Root => RoleName::Root,
        TopLevelRole::Snapshot => RoleName::Snapshot,
        TopLevelRole::Targets => RoleName::Targets,
        TopLevelRole::Timestamp => RoleName::Timestamp,
    }
}
