//! The deny list: digests that nobody may vouch for any more, whatever is signed later.
//!
//! It is the document of the delegated role `revocations`. Each digest is a target named
//! `sha256/HEX`, listed with that very digest; when, why and by whom stands in its `custom`.
//! Clients that do not know the role never ask for such a name.

use std::collections::BTreeSet;

use crate::digest::{Hashes, Sha256Digest};
use crate::json::{Json, Object};
use crate::key::Fingerprint;
use crate::metadata::{Scope, TargetInfo, Targets, Tombstone};
use crate::names::{PathPattern, TargetPath};
use crate::time::UtcTime;

/// What the names of the list begin with.
const FOLDER: &str = "sha256/";
const REVOKED_AT: &str = "revoked_at";
const REVOKED_BY: &str = "revoked_by";
const REASON: &str = "reason";

/// A reading of the document of `revocations`.
#[derive(Clone, Copy, Debug)]
pub struct DenyList<'a>(&'a Targets);

/// One digest that was denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The digest.
    pub digest: Sha256Digest,
    /// When, by the clock of whoever denied it; `None` where the list does not say it readably.
    pub revoked_at: Option<UtcTime>,
    /// Why, in the words of whoever denied it.
    pub reason: Option<String>,
    /// The keys of whoever denied it, by its own word.
    pub revoked_by: BTreeSet<Fingerprint>,
}

impl<'a> DenyList<'a> {
    /// Reads `document` as a deny list.
    #[must_use]
    pub const fn new(document: &'a Targets) -> Self {
        Self(document)
    }

    /// The denial of a target listed with `hashes`. A name on the list counts, whatever its
    /// entry says beside; and so does an equal digest of another algorithm, or bytes could come
    /// back under the digest that the list names second.
    #[must_use]
    pub fn find(&self, hashes: &Hashes) -> Option<Denial> {
        let by_name = hashes.as_sha256().and_then(|digest| {
            let info = self.0.targets.get(Self::path(digest).as_str())?;
            Some(Denial::read(digest, info))
        });
        by_name.or_else(|| {
            let sha512 = hashes.as_sha512()?;
            let mut same = self.0.targets.iter().filter(|(_, info)| info.hashes.as_sha512() == Some(sha512));
            same.find_map(|(name, info)| Some(Denial::read(digest_of(name)?, info)))
        })
    }

    /// The denial of a digest.
    #[must_use]
    pub fn find_digest(&self, digest: Sha256Digest) -> Option<Denial> {
        self.find(&Hashes::sha256(digest))
    }

    /// Every denial, by digest.
    pub fn iter(&self) -> impl Iterator<Item = Denial> + use<'a> {
        self.0.targets.iter().filter_map(|(name, info)| Some(Denial::read(digest_of(name)?, info)))
    }

    /// The first name that is no entry of a deny list as Bulla writes it: another name, another
    /// digest than the name says, or no time.
    #[must_use]
    pub fn malformed(&self) -> Option<&'a str> {
        let is_entry = |name: &str, info: &TargetInfo| {
            digest_of(name).is_some_and(|digest| {
                info.hashes.as_sha256() == Some(digest) && Denial::read(digest, info).revoked_at.is_some()
            })
        };
        let mut wrong = self.0.targets.iter().filter(|(name, info)| !is_entry(name, info));
        wrong.next().map(|(name, _)| name.as_str())
    }

    /// The first digest of `before` that this list denies no more, or with fewer digests.
    #[must_use]
    pub fn missing(&self, before: DenyList<'_>) -> Option<String> {
        let covers = |new: &Hashes, old: &Hashes| {
            old.as_sha256().is_none_or(|digest| new.as_sha256() == Some(digest))
                && old.as_sha512().is_none_or(|digest| new.as_sha512() == Some(digest))
        };
        let kept = |name: &str, old: &TargetInfo| {
            self.0.targets.get(name).is_some_and(|new| covers(&new.hashes, &old.hashes))
        };
        let mut lost = before.0.targets.iter().filter(|(name, old)| !kept(name, old));
        lost.next().map(|(name, _)| name.clone())
    }

    /// The name under which a digest is listed.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a folder and hex digits, which the tests run through")]
    pub fn path(digest: Sha256Digest) -> TargetPath {
        format!("{FOLDER}{digest}").parse().expect("a target path")
    }

    /// What the role of the list may speak for, and nothing else.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a constant that the tests run through")]
    pub fn scope() -> Scope {
        let pattern: PathPattern = format!("{FOLDER}*").parse().expect("a pattern");
        Scope::Paths(vec![pattern])
    }
}

impl Denial {
    /// The same that a tombstone says of a name, of the digest whatever its name.
    #[must_use]
    pub fn from_tombstone(tombstone: &Tombstone) -> Self {
        Self {
            digest: tombstone.digest,
            revoked_at: Some(tombstone.revoked_at),
            reason: tombstone.reason.clone(),
            revoked_by: tombstone.revoked_by.clone(),
        }
    }

    /// As an entry of the list. `known` is what the denied target was listed with, if that is
    /// known: its other digests are denied along.
    #[must_use]
    pub fn write(&self, known: Option<&TargetInfo>) -> TargetInfo {
        let mut custom = Object::new();
        if let Some(at) = self.revoked_at {
            custom.insert(REVOKED_AT.to_owned(), Json::from(at.to_string()));
        }
        if let Some(reason) = &self.reason {
            custom.insert(REASON.to_owned(), Json::from(reason.as_str()));
        }
        if !self.revoked_by.is_empty() {
            let keys = self.revoked_by.iter().map(|key| Json::from(key.to_string()));
            custom.insert(REVOKED_BY.to_owned(), Json::Array(keys.collect()));
        }
        let sha512 = known.and_then(|info| info.hashes.as_sha512());
        let hashes = Hashes::new(Some(self.digest), sha512);
        TargetInfo {
            length: known.map_or(0, |info| info.length),
            hashes: hashes.unwrap_or(Hashes::sha256(self.digest)),
            custom: Some(Json::Object(custom)),
        }
    }

    /// What cannot be read is left out: the digest is denied all the same.
    fn read(digest: Sha256Digest, info: &TargetInfo) -> Self {
        let member = |name: &str| info.custom.as_ref()?.as_object()?.get(name);
        let keys = member(REVOKED_BY).and_then(Json::as_array).unwrap_or_default();
        Self {
            digest,
            revoked_at: member(REVOKED_AT).and_then(|value| value.as_str()?.parse().ok()),
            reason: member(REASON).and_then(Json::as_str).map(str::to_owned),
            revoked_by: keys.iter().filter_map(|key| key.as_str()?.parse().ok()).collect(),
        }
    }
}

fn digest_of(name: &str) -> Option<Sha256Digest> {
    name.strip_prefix(FOLDER)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::author::TargetsEdit;
    use crate::dialect::Dialect;
    use crate::digest::Sha512Digest;
    use crate::metadata::Version;
    use crate::names::RoleName;

    fn list(entries: &[(&str, TargetInfo)]) -> Targets {
        let expires = "2031-01-01T00:00:00Z".parse().unwrap();
        let role: RoleName = "revocations".parse().unwrap();
        let mut list = TargetsEdit::new(Dialect::Tuf1, role, Version::FIRST, expires).finish();
        list.targets = entries.iter().map(|(name, info)| ((*name).to_owned(), info.clone())).collect();
        list
    }

    fn denial() -> Denial {
        Denial {
            digest: Sha256Digest::of(b"bad"),
            revoked_at: Some("2030-01-01T00:00:00Z".parse().unwrap()),
            reason: Some("leaks".to_owned()),
            revoked_by: BTreeSet::new(),
        }
    }

    #[test]
    fn reads_what_it_writes() {
        let name = DenyList::path(denial().digest);
        let document = list(&[(name.as_str(), denial().write(None))]);
        let list = DenyList::new(&document);
        assert_eq!(list.find_digest(denial().digest), Some(denial()));
        assert_eq!(list.find_digest(Sha256Digest::of(b"good")), None);
        assert_eq!((list.malformed(), list.iter().count()), (None, 1));
        assert!(DenyList::scope().matches(&name));
    }

    #[test]
    fn a_denied_digest_of_another_algorithm_counts() {
        let hashes = Hashes::new(Some(denial().digest), Some(Sha512Digest::of(b"bad"))).unwrap();
        let known = TargetInfo { length: 3, hashes, custom: None };
        let document = list(&[(DenyList::path(denial().digest).as_str(), denial().write(Some(&known)))]);
        let disguised = Hashes::new(Some(Sha256Digest::of(b"good")), Some(Sha512Digest::of(b"bad"))).unwrap();
        assert_eq!(DenyList::new(&document).find(&disguised).unwrap().digest, denial().digest);
    }

    #[test]
    fn an_entry_that_cannot_be_read_denies_all_the_same_and_is_malformed() {
        let bare = TargetInfo { length: 0, hashes: Hashes::sha256(Sha256Digest::of(b"other")), custom: None };
        let document = list(&[(DenyList::path(denial().digest).as_str(), bare)]);
        let list = DenyList::new(&document);
        assert_eq!(list.find_digest(denial().digest).unwrap().revoked_at, None);
        assert!(list.malformed().is_some());
    }

    #[test]
    fn a_list_without_an_entry_or_with_fewer_digests_lacks_it() {
        let hashes = Hashes::new(Some(denial().digest), Some(Sha512Digest::of(b"bad"))).unwrap();
        let known = TargetInfo { length: 3, hashes, custom: None };
        let name = DenyList::path(denial().digest);
        let full = list(&[(name.as_str(), denial().write(Some(&known)))]);
        let weaker = list(&[(name.as_str(), denial().write(None))]);
        let empty = list(&[]);
        let missing = |after: &Targets, before: &Targets| DenyList::new(after).missing(DenyList::new(before));
        assert_eq!(missing(&full, &full), None);
        assert_eq!(missing(&full, &weaker), None);
        assert_eq!(missing(&weaker, &full), Some(name.to_string()));
        assert_eq!(missing(&empty, &weaker), Some(name.to_string()));
    }
}
