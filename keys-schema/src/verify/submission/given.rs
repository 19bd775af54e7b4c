//! Snapshots that come with an upload: in Notary's dialect, their key may be held by the owner
//! of the repository. They are compared with what is stored, not only with what was sent
//! along: one that points to documents nobody has would make a repository unreadable for good.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::dialect::notary1::{role_from_wire, role_to_wire};
use crate::digest::Hashed;
use crate::key::Fingerprint;
use crate::metadata::{MetaInfo, Snapshot, TopLevelRole};
use crate::names::{DelegatedRoleName, RoleName};
use crate::verify::Verified;
use crate::verify::submission::{
    AcceptedUpdate, Rejection, Retired, profile, raw, require_next, require_unexpired,
};

impl AcceptedUpdate {
    /// Takes the uploaded snapshot along, if there is one, or makes sure that none is needed
    /// or that the server can sign it, having the keys in `held`.
    pub(super) fn with_given_snapshot(
        mut self,
        uploaded: Option<Hashed>,
        held: &BTreeSet<Fingerprint>,
    ) -> Result<Self, Rejection> {
        let Some(bytes) = uploaded else {
            if profile::is_held(self.root.payload(), TopLevelRole::Snapshot, held) {
                return Ok(self);
            }
            // The last one stays, and so do roles that it leaves out.
            if let Some(before) = self.before.clone().filter(|_| self.uploaded.is_empty()) {
                self.retire_unlisted(before.snapshot())?;
            }
            if self.needs_snapshot() {
                return Err(Rejection::Missing { role: RoleName::Snapshot });
            }
            return Ok(self);
        };
        let snapshot = self.check_snapshot(bytes)?;
        self.retire_unlisted(&snapshot)?;
        self.given_snapshot = Some(snapshot);
        Ok(self)
    }

    fn check_snapshot(&self, bytes: Hashed) -> Result<Verified<Snapshot>, Rejection> {
        let role = RoleName::Snapshot;
        let root = self.root.payload();
        let snapshot = raw::<Snapshot>(self.root.dialect(), &role, bytes)?
            .verify(&root.snapshot, &root.keys)
            .map_err(|source| Rejection::Verify { role: role.clone(), source })?;
        let before = self.before.as_ref().map(|before| before.snapshot().version());
        require_next(self.root.dialect(), &role, before, snapshot.version())?;
        require_unexpired(&role, snapshot.expires(), self.now)?;
        for (role, listed) in &snapshot.payload().meta {
            let refused = |what| Err(Rejection::Snapshot { role: role.clone(), what });
            match self.known(role) {
                None => return refused("lists a document that is neither stored nor uploaded"),
                Some(bytes) if !is_listed(bytes, listed) => {
                    return refused("lists other bytes than those stored or uploaded");
                }
                Some(_) => {}
            }
        }
        Ok(snapshot)
    }

    /// The bytes that a snapshot may list for `role`.
    fn known(&self, role: &RoleName) -> Option<&Bytes> {
        match role {
            RoleName::Root => Some(self.root.bytes()),
            RoleName::Targets => Some(self.targets.bytes()),
            RoleName::Delegated(name) => {
                let current = self.delegated.get(name).map(Verified::bytes);
                current.or_else(|| self.retired.get(name).map(|retired| &retired.bytes))
            }
            RoleName::Snapshot | RoleName::Timestamp => None,
        }
    }

    /// No client asks for a role that the snapshot does not list, nor for those below it.
    fn retire_unlisted(&mut self, snapshot: &Verified<Snapshot>) -> Result<(), Rejection> {
        let meta = &snapshot.payload().meta;
        let is_listed = |name: &DelegatedRoleName| {
            let wire = role_to_wire(&RoleName::Delegated(name.clone()));
            let above = wire.match_indices('/').skip(1).filter_map(|(at, _)| wire.get(..at));
            let mut way = above.chain([wire.as_str()]);
            way.all(|wire| role_from_wire(wire).is_some_and(|role| meta.contains_key(&role)))
        };
        let unlisted: Vec<_> = self.delegated.keys().filter(|name| !is_listed(name)).cloned().collect();
        for name in unlisted {
            if self.uploaded.contains(&name) {
                let role = RoleName::Delegated(name);
                return Err(Rejection::Snapshot {
                    role,
                    what: "does not list an uploaded document, or a role above it",
                });
            }
            if let Some(document) = self.delegated.remove(&name) {
                let retired = Retired { version: document.version(), bytes: document.bytes().clone() };
                self.retired.insert(name, retired);
            }
        }
        Ok(())
    }
}

fn is_listed(bytes: &Bytes, info: &MetaInfo) -> bool {
    let length = info.length.is_none_or(|length| usize::try_from(length) == Ok(bytes.len()));
    length && info.hashes.as_ref().is_some_and(|hashes| hashes.match_bytes(bytes))
}
