//! Repositories laid out as Bulla lays them out, and what their signers do to them.

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::json::{Json, Object};
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::Pin;

use super::support::{Doc, Repo, TestKey, delegation, info};

/// The second signer.
pub const BOB: TestKey = TestKey::new("bob");

const REPOSITORY: &str = "x_bulla_repository";
const REVOKED: &str = "x_bulla_revoked";

impl Repo {
    /// `releases`, then `alice` for `v*`, then `bob` for `nightly-*`; alice vouches for `v1`.
    #[must_use]
    pub fn released() -> Self {
        let mut repo = Self::bare();
        for (name, keys, pattern) in [
            ("releases", &[Self::ALICE, BOB][..], "*"),
            ("alice", &[Self::ALICE][..], "v*"),
            ("bob", &[BOB][..], "nightly-*"),
        ] {
            repo.delegate("targets", &delegation(name, keys, &[pattern]));
        }
        repo.add("releases", &["v1"], &[Self::ALICE]);
        repo.add("alice", &["v1"], &[Self::ALICE]).add("bob", &[], &[BOB]);
        repo
    }

    /// The pin of its first root's digest.
    #[must_use]
    pub fn digest_pin(&self) -> Pin {
        Pin::Digest(Sha256Digest::of(&self.roots.first().expect("a first root").bytes()))
    }

    /// Every document says that it is made for this repository.
    pub fn made_for(&mut self, repository: &str) -> &mut Self {
        let documents = self.roots.iter_mut().chain([&mut self.targets]).chain(self.delegated.values_mut());
        documents.for_each(|doc| {
            doc.set(REPOSITORY, repository);
        });
        self
    }

    /// `role` lists `tag` with the digest and length of `manifest`, in a new version.
    pub fn list(&mut self, role: &str, tag: &str, manifest: &[u8]) -> &mut Self {
        let doc = self.targets_doc(role);
        doc.set(&format!("targets/{tag}"), entry(manifest));
        doc.bump();
        self
    }

    /// `alice` and `releases` list `tag`, and the server has signed that.
    pub fn sign(&mut self, tag: &str, manifest: &[u8]) -> &mut Self {
        self.list("alice", tag, manifest).list("releases", tag, manifest).renew()
    }

    /// `role` no longer lists `tag` and says that it was revoked.
    pub fn revoke(&mut self, role: &str, tag: &str, manifest: &[u8]) -> &mut Self {
        let doc = self.targets_doc(role);
        if doc.get(&format!("targets/{tag}")).is_some() {
            doc.remove(&format!("targets/{tag}"));
        }
        if doc.get(REVOKED).is_none() {
            doc.set(REVOKED, Json::Object(Object::new()));
        }
        let tombstone = [
            ("sha256", Sha256Digest::of(manifest).to_string()),
            ("reason", "leaked a password".to_owned()),
            ("revoked_at", "2029-12-31T00:00:00Z".to_owned()),
        ];
        let tombstone = tombstone.map(|(name, value)| (name.to_owned(), Json::from(value)));
        doc.set(&format!("{REVOKED}/{tag}"), Json::Object(Object::from(tombstone)));
        doc.bump();
        self
    }

    /// The next snapshot and timestamp.
    pub fn renew(&mut self) -> &mut Self {
        self.snapshot.bump();
        self.timestamp.bump();
        self
    }

    /// A next root with other keys for snapshot and timestamp, which sign from now on.
    pub fn rotate_online_keys(&mut self, snapshot: TestKey, timestamp: TestKey) -> &mut Self {
        let root = self.next_root();
        root.trust("roles/snapshot", &[snapshot], 1).trust("roles/timestamp", &[timestamp], 1);
        self.snapshot.signed_by(&[snapshot]);
        self.timestamp.signed_by(&[timestamp]);
        self
    }

    /// Everything expires at `moment`.
    pub fn expire_at(&mut self, moment: UtcTime) -> &mut Self {
        let online = [&mut self.targets, &mut self.snapshot, &mut self.timestamp];
        let all = self.roots.iter_mut().chain(self.delegated.values_mut()).chain(online);
        all.for_each(|doc| {
            doc.set("expires", moment.to_string());
        });
        self
    }

    /// The bytes of the current document of a targets role.
    #[must_use]
    pub fn bytes_of(&self, role: &str) -> bytes::Bytes {
        let role: RoleName = role.parse().expect("a role");
        match role {
            RoleName::Targets => self.targets.bytes(),
            _ => self.delegated.get(role.as_str()).expect("a delegated role").bytes(),
        }
    }
}

impl Doc {
    /// One version further.
    pub fn bump(&mut self) -> &mut Self {
        let next = i64::try_from(self.version().get() + 1).expect("a small version");
        self.set_number("version", next)
    }
}

/// An entry of a targets role.
fn entry(manifest: &[u8]) -> Json {
    let Json::Object(mut members) = info(1, manifest) else { panic!("an entry is an object") };
    members.remove("version");
    Json::Object(members)
}
