//! What every new document goes without, whoever writes it and why: digests that were denied,
//! and, in `releases`, tags that only a signer vouches for whose right to sign is over. The
//! server would refuse them; and no document outlasts the right of its signer.

use std::collections::BTreeSet;

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::metadata::{DelegatedRole, DenyList, TargetInfo, Targets, Tombstone};
use bulla_keys_schema::names::{RELEASES, REVOCATIONS, RoleName, TargetPath};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::CurrentState;

use crate::flow::layout::Layout;
use crate::flow::publish::{Edit, Edited};

/// Brings the documents of `edit` in line. Nothing of it applies to Notary's dialect, which
/// knows neither a deny list nor an end.
pub fn tidy(edit: &mut Edit, state: &CurrentState, now: UtcTime) {
    if state.root().dialect() == Dialect::Notary1 {
        return;
    }
    let written = |role: &str| edit.documents.iter().find(|edited| edited.role.as_str() == role);
    let targets =
        written("targets").map_or_else(|| state.targets().payload(), |edited| &edited.document).clone();
    let list = written(REVOCATIONS)
        .map(|edited| edited.document.clone())
        .or_else(|| state.revocations().map(|document| document.payload().clone()));
    // Nobody can sign for a role whose right is over.
    edit.documents.retain(|edited| !end_of(&targets, &edited.role).is_some_and(|end| end.is_over(now)));
    for edited in &mut edit.documents {
        if let Some(list) = list.as_ref().filter(|_| edited.role.as_str() != REVOCATIONS) {
            deny(&mut edited.document, DenyList::new(list));
        }
        if let Some(end) = end_of(&targets, &edited.role) {
            edited.document.expires = edited.document.expires.min(end);
        }
    }
    let lost = ended(edit, state, &targets, now);
    let releases = edit.documents.iter_mut().find(|edited| edited.role.as_str() == RELEASES);
    if let Some(Edited { document, .. }) = releases {
        for (path, tombstone) in lost {
            document.targets.remove(path.as_str());
            document.revoked.insert(path, tombstone);
        }
    }
}

fn end_of(targets: &Targets, role: &RoleName) -> Option<UtcTime> {
    match role {
        RoleName::Delegated(name) => targets.delegation(name)?.ends,
        _ => None,
    }
}

/// Takes denied digests off, with a tombstone that says what the deny list says.
fn deny(document: &mut Targets, list: DenyList<'_>) {
    let denied = document.targets.iter().filter_map(|(name, info)| {
        let denial = list.find(&info.hashes)?;
        let tombstone = Tombstone {
            digest: denial.digest,
            reason: denial.reason,
            revoked_at: denial.revoked_at?,
            revoked_by: denial.revoked_by,
        };
        Some((name.clone(), tombstone))
    });
    for (name, tombstone) in denied.collect::<Vec<_>>() {
        document.targets.remove(&name);
        if let Ok(path) = name.parse() {
            document.revoked.insert(path, tombstone);
        }
    }
}

/// Tags of the new `releases` that nobody vouches for any more because somebody's time is over.
fn ended(edit: &Edit, state: &CurrentState, targets: &Targets, now: UtcTime) -> Vec<(TargetPath, Tombstone)> {
    let Some(Layout::Signers(signers)) = Layout::of(targets) else { return vec![] };
    let Some(releases) = edit.documents.iter().find(|edited| edited.role.as_str() == RELEASES) else {
        return vec![];
    };
    let document = |role: &DelegatedRole| {
        let name = RoleName::Delegated(role.name.clone());
        let written = edit.documents.iter().find(|edited| edited.role == name);
        let stored = || state.delegated().get(&role.name).map(|document| document.payload());
        written.map(|edited| &edited.document).or_else(stored)
    };
    let vouches = |role: &&DelegatedRole, path: &TargetPath, info: &TargetInfo| {
        let listed = document(role).and_then(|document| document.targets.get(path.as_str()));
        role.scope.matches(path) && listed.is_some_and(|listed| listed.is_same(info))
    };
    let lost = releases.document.targets.iter().filter_map(|(name, info)| {
        let path: TargetPath = name.parse().ok()?;
        let (over, current): (Vec<_>, Vec<_>) =
            signers.all().filter(|role| vouches(role, &path, info)).partition(|role| role.is_over(now));
        if !current.is_empty() {
            return None;
        }
        let last = over.iter().max_by_key(|role| role.ends)?;
        let reason = format!("the right of {} to sign ended", last.name);
        let tombstone = Tombstone {
            digest: info.hashes.as_sha256()?,
            reason: Some(reason),
            revoked_at: last.ends?,
            revoked_by: BTreeSet::new(),
        };
        Some((path, tombstone))
    });
    lost.collect()
}
