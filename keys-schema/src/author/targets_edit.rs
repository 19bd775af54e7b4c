//! Making and changing targets roles.

use std::collections::{BTreeMap, BTreeSet};

use crate::dialect::Dialect;
use crate::digest::{Hashes, Sha256Digest};
use crate::json::Object;
use crate::key::{Fingerprint, KeyId};
use crate::metadata::{
    Children, DelegatedRole, Delegations, Denial, DenyList, ImageFacts, KeyEntry, KeyTable, RoleKeys, Scope,
    TargetInfo, Targets, Threshold, Tombstone, Version,
};
use crate::names::{DelegatedRoleName, RELEASES, REVOCATIONS, RepositoryName, RoleName, TargetPath};
use crate::time::UtcTime;

/// Bytes of what a document notes of images: ten thousand tags have to fit beside it into
/// [`limits::TARGETS_BYTES`](crate::limits::TARGETS_BYTES).
const FACTS_BYTES: usize = 1_500_000;

/// Whom to let speak for what.
#[derive(Clone, Debug)]
pub struct Delegation {
    /// The role's name.
    pub name: DelegatedRoleName,
    /// Its keys.
    pub keys: Vec<KeyEntry>,
    /// How many of them must sign.
    pub threshold: Threshold,
    /// What it may speak for: patterns, or in Notary's dialect prefixes.
    pub scope: Scope,
    /// Whether a search that this scope matches ends with it; Notary does not know that.
    pub terminating: bool,
}

/// A targets document being written.
#[derive(Clone, Debug)]
pub struct TargetsEdit {
    dialect: Dialect,
    targets: Targets,
}

impl TargetsEdit {
    /// A document of `role` that lists nothing yet.
    #[must_use]
    pub const fn new(dialect: Dialect, role: RoleName, version: Version, expires: UtcTime) -> Self {
        let targets = Targets {
            repository: None,
            role: Some(role),
            version,
            expires,
            targets: BTreeMap::new(),
            delegations: None,
            revoked: BTreeMap::new(),
            extra: Object::new(),
        };
        Self { dialect, targets }
    }

    /// Binds the document to the repository that the root names, or to none if it names none.
    #[must_use]
    pub fn for_repository(mut self, repository: Option<RepositoryName>) -> Self {
        self.targets.repository = repository;
        self
    }

    /// The document after `before`; `None` at the end of the version range.
    #[must_use]
    pub fn next(dialect: Dialect, before: &Targets, expires: UtcTime) -> Option<Self> {
        let targets = Targets { version: before.version.next()?, expires, ..before.clone() };
        Some(Self { dialect, targets })
    }

    /// Goes on with a document that was written and not signed yet.
    #[must_use]
    pub const fn resume(dialect: Dialect, targets: Targets) -> Self {
        Self { dialect, targets }
    }

    /// Lists a target by digest and length in bytes. Listing clears the tombstone.
    pub fn set_target(&mut self, path: &TargetPath, digest: Sha256Digest, length: u64) {
        self.targets.revoked.remove(path);
        let info = TargetInfo { length, hashes: Hashes::sha256(digest), custom: None };
        self.targets.targets.insert(path.as_str().to_owned(), info);
    }

    /// Lists a target and says when: the form in which a signer lists what it vouches for.
    /// Notary's clients know no such member, and may drop it.
    pub fn sign_target(&mut self, path: &TargetPath, digest: Sha256Digest, length: u64, at: UtcTime) {
        if self.dialect == Dialect::Notary1 {
            return self.set_target(path, digest, length);
        }
        self.targets.revoked.remove(path);
        self.targets.targets.insert(path.as_str().to_owned(), TargetInfo::signed(digest, length, at));
    }

    /// Notes what the image behind a target is, beside what else is noted of it. A document has room
    /// for so much of that: beyond it, what was noted of the oldest targets goes, first the values of
    /// labels, then their names, then the rest. Notary's clients may drop such members.
    pub fn note_facts(&mut self, path: &TargetPath, facts: &ImageFacts) {
        if self.dialect == Dialect::Notary1 {
            return;
        }
        if let Some(info) = self.targets.targets.get_mut(path.as_str()) {
            *info = info.clone().with_facts(facts);
            self.make_room();
        }
    }

    fn make_room(&mut self) {
        let bytes = |info: &TargetInfo| info.facts_bytes();
        let mut total: usize = self.targets.targets.values().map(bytes).sum();
        if total <= FACTS_BYTES {
            return;
        }
        let mut oldest: Vec<(Option<UtcTime>, String)> =
            self.targets.targets.iter().map(|(name, info)| (info.signed_at(), name.clone())).collect();
        oldest.sort();
        for shorten in
            [TargetInfo::without_label_values, TargetInfo::without_labels, TargetInfo::without_facts]
        {
            for (_, name) in &oldest {
                if total <= FACTS_BYTES {
                    return;
                }
                let Some(info) = self.targets.targets.get_mut(name) else { continue };
                total = total.saturating_sub(bytes(info));
                *info = shorten(info.clone());
                total = total.saturating_add(bytes(info));
            }
        }
    }

    /// Denies a digest, in the document of `revocations`. `known` is what the target was listed
    /// with, if that is known.
    pub fn deny(&mut self, denial: &Denial, known: Option<&TargetInfo>) {
        let path = DenyList::path(denial.digest);
        self.targets.revoked.remove(&path);
        self.targets.targets.insert(path.as_str().to_owned(), denial.write(known));
    }

    /// Takes a target off the list, without a tombstone. Returns what was listed.
    pub fn remove_target(&mut self, path: &TargetPath) -> Option<TargetInfo> {
        self.targets.targets.remove(path.as_str())
    }

    /// Takes a target off the list and leaves a tombstone, so that readers can tell "revoked"
    /// from "never signed".
    pub fn revoke_target(&mut self, path: &TargetPath, tombstone: Tombstone) {
        self.targets.targets.remove(path.as_str());
        self.targets.revoked.insert(path.clone(), tombstone);
    }

    /// Adds a delegation, or replaces the one of the same name in its place; its end stays as it
    /// was. `releases` goes first, `revocations` right after it, all others last.
    ///
    /// # Errors
    /// Fewer keys than the threshold, the same key twice, no pattern, or the document uses
    /// hash bins.
    pub fn set_delegation(&mut self, delegation: &Delegation) -> Result<(), TargetsEditError> {
        let Delegation { name, keys, threshold, scope, terminating } = delegation;
        if !threshold.is_met_by(keys.len()) {
            let (keys, threshold) = (keys.len(), *threshold);
            return Err(TargetsEditError::TooFewKeys { name: name.clone(), keys, threshold });
        }
        if is_empty(scope) {
            return Err(TargetsEditError::NoPattern { name: name.clone() });
        }
        let delegations = self.targets.delegations.get_or_insert_with(|| Delegations {
            keys: KeyTable::new(),
            children: Children::Roles(Vec::new()),
            extra: Object::new(),
        });
        let Children::Roles(roles) = &mut delegations.children else {
            return Err(TargetsEditError::HashBins);
        };
        let key_ids = list_keys(self.dialect, &mut delegations.keys, keys)
            .map_err(|fingerprint| TargetsEditError::DuplicateKey { name: name.clone(), fingerprint })?;
        let role = DelegatedRole {
            name: name.clone(),
            keys: RoleKeys { key_ids, threshold: *threshold },
            terminating: *terminating,
            scope: scope.clone(),
            ends: None,
            extra: Object::new(),
        };
        let is_releases = |role: &DelegatedRole| role.name.as_str() == RELEASES;
        match roles.iter_mut().find(|known| known.name == *name) {
            Some(known) => *known = DelegatedRole { ends: known.ends, ..role },
            None if name.as_str() == RELEASES => roles.insert(0, role),
            None if name.as_str() == REVOCATIONS => {
                roles.insert(usize::from(roles.first().is_some_and(is_releases)), role);
            }
            None => roles.push(role),
        }
        Ok(())
    }

    /// Lets a delegated role speak until `ends`, or for as long as it is delegated to. Returns
    /// whether there is such a delegation. Notary knows no such limit.
    pub fn end_delegation(&mut self, name: &DelegatedRoleName, ends: Option<UtcTime>) -> bool {
        let Some(delegations) = &mut self.targets.delegations else { return false };
        let Children::Roles(roles) = &mut delegations.children else { return false };
        let role = roles.iter_mut().find(|role| role.name == *name);
        role.map(|role| role.ends = ends).is_some()
    }

    /// Ends a delegation. Returns whether there was one.
    pub fn remove_delegation(&mut self, name: &DelegatedRoleName) -> bool {
        let Some(delegations) = &mut self.targets.delegations else { return false };
        let Children::Roles(roles) = &mut delegations.children else { return false };
        let before = roles.len();
        roles.retain(|role| role.name != *name);
        roles.len() < before
    }

    /// The finished document, without keys that no delegation names any more.
    #[must_use]
    pub fn finish(mut self) -> Targets {
        if let Some(Delegations { keys, children: Children::Roles(roles), .. }) =
            &mut self.targets.delegations
        {
            let used: BTreeSet<_> = roles.iter().flat_map(|role| &role.keys.key_ids).collect();
            keys.retain(|id, _| used.contains(id));
        }
        self.targets
    }
}

/// Why a targets document cannot be written like this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetsEditError {
    /// The same key twice: it would count once only.
    #[error("{name} lists key {fingerprint} twice")]
    DuplicateKey {
        /// Of which role.
        name: DelegatedRoleName,
        /// The key.
        fingerprint: Fingerprint,
    },
    /// The document delegates to hash bins, beside which no named role can stand.
    #[error("the document delegates to hash bins")]
    HashBins,
    /// The role could speak for nothing.
    #[error("{name} has no pattern")]
    NoPattern {
        /// Which role.
        name: DelegatedRoleName,
    },
    /// The threshold could never be met.
    #[error("{name} has {keys} keys for a threshold of {threshold}")]
    TooFewKeys {
        /// Which role.
        name: DelegatedRoleName,
        /// How many keys.
        keys: usize,
        /// The threshold.
        threshold: Threshold,
    },
}

/// A role with nothing to speak for would only be in the way.
fn is_empty(scope: &Scope) -> bool {
    match scope {
        Scope::HashPrefixes(texts) | Scope::Prefixes(texts) => texts.is_empty(),
        Scope::Paths(patterns) => patterns.is_empty(),
    }
}

/// Puts `keys` into `table`, under the ids it already declares for them where it does, and
/// never under an id that it declares for another key.
///
/// # Errors
/// The fingerprint of a key that stands in `keys` twice.
pub(super) fn list_keys(
    dialect: Dialect,
    table: &mut KeyTable,
    keys: &[KeyEntry],
) -> Result<Vec<KeyId>, Fingerprint> {
    let mut fingerprints = BTreeSet::new();
    let mut ids = Vec::with_capacity(keys.len());
    for entry in keys {
        // What cannot be verified with is nobody's key.
        let Some(key) = &entry.key else { continue };
        if !fingerprints.insert(key.fingerprint()) {
            return Err(key.fingerprint());
        }
        let is_known = |known: &KeyEntry| known.key == entry.key && known.certificate == entry.certificate;
        let known = table.iter().find(|(_, known)| is_known(known)).map(|(id, _)| id.clone());
        let id = known.unwrap_or_else(|| {
            let id = free_id(table, dialect.key_id(key, entry.certificate.as_ref()));
            table.insert(id.clone(), entry.clone());
            id
        });
        ids.push(id);
    }
    Ok(ids)
}

/// The `usual` id, unless the table declares it for another key, which would be trusted in
/// its place.
fn free_id(table: &KeyTable, usual: KeyId) -> KeyId {
    let others = (1..).filter_map(|n: u32| format!("{usual}-{n}").parse().ok());
    let mut ids = std::iter::once(usual.clone()).chain(others);
    ids.find(|id| !table.contains_key(id)).unwrap_or(usual)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::tuf1::key_id;
    use crate::metadata::{Facts, Labels};

    #[test]
    fn what_is_noted_of_images_leaves_room_for_ten_thousand_tags() {
        let begin: UtcTime = "2030-01-02T03:04:05Z".parse().unwrap();
        let mut edit = TargetsEdit::new(Dialect::Tuf1, RoleName::Targets, Version::FIRST, begin);
        let label = |number: usize| (format!("org.example.label.{number}"), "x".repeat(100));
        let facts = ImageFacts::Single(Facts {
            config: Sha256Digest::of(b"config"),
            platform: None,
            user: "app".to_owned(),
            labels: Labels::Full((0..10).map(label).collect()),
            size: 1_000_000,
            layers: 12,
            base: None,
        });
        let count = 2_000;
        let path = |number: i64| format!("v1.2.{number}").parse::<TargetPath>().unwrap();
        for number in 0..count {
            let at = begin.plus_seconds(number);
            edit.targets.targets.insert(
                path(number).as_str().to_owned(),
                TargetInfo::signed(Sha256Digest::of(&number.to_be_bytes()), 500, at).with_facts(&facts),
            );
        }
        edit.note_facts(&path(count - 1), &facts);
        let noted: Vec<_> =
            (0..count).map(|number| edit.targets.targets[path(number).as_str()].facts()).collect();
        let bytes: usize = edit.targets.targets.values().map(TargetInfo::facts_bytes).sum();
        assert!(bytes <= FACTS_BYTES, "{bytes}");
        assert!(noted.iter().all(Option::is_some), "all still say who runs them");
        let labels = |facts: &Option<ImageFacts>| match facts {
            Some(ImageFacts::Single(facts)) => facts.labels.clone(),
            _ => Labels::TooLong,
        };
        assert_eq!(noted.last(), Some(&Some(facts)), "the newest is whole");
        assert!(matches!(labels(&noted[0]), Labels::Names(_)), "the oldest lost values first");
        // Notary's clients would hand such members back or not.
        let mut legacy = TargetsEdit::new(Dialect::Notary1, RoleName::Targets, Version::FIRST, begin);
        legacy.set_target(&path(1), Sha256Digest::of(b"x"), 1);
        legacy.note_facts(&path(1), noted.last().unwrap().as_ref().unwrap());
        assert_eq!(legacy.targets.targets["v1.2.1"].custom, None);
    }

    #[test]
    fn no_key_takes_the_place_of_another_through_its_id() {
        let [first, second] = [1, 2].map(|byte| {
            let seed = zeroize::Zeroizing::new([byte; 32]);
            let key = crate::key::SecretKey::from_seed(crate::key::KeyAlgorithm::Ed25519, &seed).unwrap();
            key.public_key().clone()
        });
        let [one, other] = [&first, &second].map(|key| KeyEntry::new(key.clone()));
        let mut table = KeyTable::from([(key_id(&first), other.clone())]);
        let ids = list_keys(Dialect::Tuf1, &mut table, &[one.clone(), other]).unwrap();
        let found: Vec<_> = ids.iter().map(|id| table[id].key.clone()).collect();
        assert_eq!(found, [Some(first.clone()), Some(second)]);
        let twice = list_keys(Dialect::Tuf1, &mut table, &[one.clone(), one]);
        assert_eq!(twice, Err(first.fingerprint()));
    }
}
