//! Targets: what a role vouches for, and whom it lets speak.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::{Hashes, Sha256Digest};
use crate::json::{Json, Object};
use crate::key::Fingerprint;
use crate::metadata::{KeyTable, RoleKeys, Version};
use crate::names::{DelegatedRoleName, PathPattern, RepositoryName, RoleName, TargetPath};
use crate::time::UtcTime;

/// What one targets role says (TUF 1.0, 4.5); delegated roles have the same form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// The repository this document is made for, where its signer said so; see
    /// [`Root::repository`](crate::metadata::Root::repository).
    pub repository: Option<RepositoryName>,
    /// Which role this document is of, where its signer said so. TUF leaves the name to the
    /// file: a signer of two roles could then find a document of one served as the other.
    pub role: Option<RoleName>,
    /// Version of this document.
    pub version: Version,
    /// When it may no longer be used.
    pub expires: UtcTime,
    /// Name to length and digests. Names are kept as listed; they are looked up by
    /// [`TargetPath`], so a hostile name is never found.
    pub targets: BTreeMap<String, TargetInfo>,
    /// Whom this role lets speak.
    pub delegations: Option<Delegations>,
    /// Names that this role took back, until it lists them again. Other clients ignore them.
    pub revoked: BTreeMap<TargetPath, Tombstone>,
    /// Members this crate does not interpret, kept when the document is edited.
    pub extra: Object,
}

impl Targets {
    /// The delegation to `role`, if this role names it.
    #[must_use]
    pub fn delegation(&self, role: &DelegatedRoleName) -> Option<&DelegatedRole> {
        match &self.delegations.as_ref()?.children {
            Children::Roles(roles) => roles.iter().find(|child| child.name == *role),
            Children::Succinct(_) => None,
        }
    }
}

/// One target as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetInfo {
    /// Length in bytes.
    pub length: u64,
    /// Digests of the bytes.
    pub hashes: Hashes,
    /// Whatever the signer added; signed, not interpreted here.
    pub custom: Option<Json>,
}

/// Our member of `custom` in the documents of signers: when the entry was signed.
const SIGNED_AT: &str = "x_bulla_signed_at";

impl TargetInfo {
    /// A target by digest and length in bytes, as signed at `at`. Only the signer's own clock
    /// and word stand behind that.
    #[must_use]
    pub fn signed(digest: Sha256Digest, length: u64, at: UtcTime) -> Self {
        let custom = Object::from([(SIGNED_AT.to_owned(), Json::from(at.to_string()))]);
        Self { length, hashes: Hashes::sha256(digest), custom: Some(Json::Object(custom)) }
    }

    /// When the entry was signed, in the words of whoever signed it.
    #[must_use]
    pub fn signed_at(&self) -> Option<UtcTime> {
        self.custom.as_ref()?.as_object()?.get(SIGNED_AT)?.as_str()?.parse().ok()
    }

    /// Whether both mean the same bytes, whatever else is said of them.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.hashes == other.hashes && self.length == other.length
    }
}

/// A signed "no longer": what was withdrawn, when, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The digest the name stood for.
    pub digest: Sha256Digest,
    /// Why, in the words of whoever revoked it.
    pub reason: Option<String>,
    /// When it was revoked, by the revoker's clock.
    pub revoked_at: UtcTime,
    /// The keys of whoever revoked it, by its own word: later versions of the document carry the
    /// tombstone on with the signatures of others.
    pub revoked_by: BTreeSet<Fingerprint>,
}

/// Whom a role lets speak, and with which keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegations {
    /// The keys of all children.
    pub keys: KeyTable,
    /// The children.
    pub children: Children,
    /// Members this crate does not interpret.
    pub extra: Object,
}

/// Children listed one by one, or as hash bins (TAP 15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Children {
    /// In order of priority.
    Roles(Vec<DelegatedRole>),
    /// Equal bins over the digest of the target path.
    Succinct(SuccinctRoles),
}

/// One child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegatedRole {
    /// Its name.
    pub name: DelegatedRoleName,
    /// Who signs it.
    pub keys: RoleKeys,
    /// Whether a search that its scope matches ends with it.
    pub terminating: bool,
    /// What it may speak for.
    pub scope: Scope,
    /// When it may speak no more. No document of it lasts longer, so that clients which do not
    /// know this limit keep it as well.
    pub ends: Option<UtcTime>,
    /// Members this crate does not interpret.
    pub extra: Object,
}

impl DelegatedRole {
    /// Whether it may speak no more at `now`.
    #[must_use]
    pub fn is_over(&self, now: UtcTime) -> bool {
        self.ends.is_some_and(|ends| ends.is_over(now))
    }
}

/// What a delegated role may speak for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Paths whose SHA-256, in lower-case hex, starts with one of these.
    HashPrefixes(Vec<String>),
    /// Paths that match one of these.
    Paths(Vec<PathPattern>),
    /// Paths that start with one of these; the empty one is every path (Notary only).
    Prefixes(Vec<String>),
}

impl Scope {
    /// Whether `path` is in scope.
    #[must_use]
    pub fn matches(&self, path: &TargetPath) -> bool {
        match self {
            Self::HashPrefixes(prefixes) => {
                let digest = Sha256Digest::of(path.as_str().as_bytes()).to_string();
                prefixes.iter().any(|prefix| digest.starts_with(prefix.as_str()))
            }
            Self::Paths(patterns) => patterns.iter().any(|pattern| pattern.matches(path)),
            Self::Prefixes(prefixes) => {
                prefixes.iter().any(|prefix| path.as_str().starts_with(prefix.as_str()))
            }
        }
    }
}

/// 2^`bit_length` bins named `PREFIX-HEX`, all with the same keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuccinctRoles {
    /// Who signs every bin.
    pub keys: RoleKeys,
    /// How many leading bits of the digest choose the bin: 1 to 32.
    pub bit_length: u8,
    /// What bin names start with.
    pub name_prefix: String,
}

impl SuccinctRoles {
    /// The bin for `path`. `None` only if the prefix cannot start a role name.
    #[must_use]
    pub fn bin(&self, path: &TargetPath) -> Option<DelegatedRoleName> {
        let digest = Sha256Digest::of(path.as_str().as_bytes());
        let [a, b, c, d, ..] = *digest.as_bytes();
        let number = u32::from_be_bytes([a, b, c, d]) >> (32 - u32::from(self.bit_length));
        let digits = usize::from(self.bit_length).div_ceil(4);
        format!("{}-{number:0digits$x}", self.name_prefix).parse().ok()
    }

    /// Whether `role` is one of the bins.
    #[must_use]
    pub fn contains(&self, role: &DelegatedRoleName) -> bool {
        let digits = usize::from(self.bit_length).div_ceil(4);
        let Some(number) =
            role.as_str().strip_prefix(&self.name_prefix).and_then(|rest| rest.strip_prefix('-'))
        else {
            return false;
        };
        number.len() == digits
            && number.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            && u32::from_str_radix(number, 16).is_ok_and(|n| u64::from(n) < 1 << self.bit_length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Threshold;

    #[test]
    fn bins_are_named_as_tap_15_says() {
        let keys = RoleKeys { key_ids: Vec::new(), threshold: Threshold::ONE };
        let path: TargetPath = "v1".parse().unwrap();
        let digest = Sha256Digest::of(b"v1").to_string();
        for (bits, name) in [
            (8, format!("bin-{}", &digest[..2])),
            (16, format!("bin-{}", &digest[..4])),
            (32, format!("bin-{}", &digest[..8])),
            (1, format!("bin-{}", u8::from(u8::from_str_radix(&digest[..2], 16).unwrap() >= 128))),
        ] {
            let roles = SuccinctRoles { keys: keys.clone(), bit_length: bits, name_prefix: "bin".into() };
            assert_eq!(roles.bin(&path).unwrap().as_str(), name);
        }
    }

    #[test]
    fn hash_prefixes_are_hex_of_the_path_digest() {
        let path: TargetPath = "v1".parse().unwrap();
        let digest = Sha256Digest::of(b"v1").to_string();
        assert!(Scope::HashPrefixes(vec![digest[..3].into()]).matches(&path));
        assert!(!Scope::HashPrefixes(vec![digest[1..5].into()]).matches(&path));
        assert!(!Scope::Paths(Vec::new()).matches(&path));
    }
}
