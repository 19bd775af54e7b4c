//! A whole state that came in a file: judged as if a server had sent it, but for expiry, which
//! a file that was carried around cannot meet.

use crate::names::RoleName;
use crate::verify::chain::{listed, listed_as, refuse_rollback, require_version};
use crate::verify::submission::CurrentState;
use crate::verify::{ChainError, Floor};

/// Requires that the documents of `state` belong together, as its timestamp and snapshot list
/// them. Each is signed by the right keys, but so were all that came before it: whoever carries
/// the file could mix old and new, and have people sign on top of what was taken back long ago.
/// Those that the file is to build on must not be older than `floor` says; the others may have
/// moved on while it was carried.
///
/// # Errors
/// One is not the one that is listed, or older than what was seen before.
pub fn require_whole<'a>(
    state: &CurrentState,
    floor: &Floor,
    builds_on: impl IntoIterator<Item = &'a RoleName>,
) -> Result<(), ChainError> {
    let (timestamp, snapshot) = (state.timestamp(), state.snapshot());
    let wanted = &timestamp.payload().snapshot;
    listed_as(snapshot.bytes().clone(), &RoleName::Snapshot, wanted)?;
    require_version(&RoleName::Snapshot, wanted.version, snapshot.version())?;
    if let Some(root) = snapshot.payload().meta.get(&RoleName::Root) {
        listed_as(state.root().bytes().clone(), &RoleName::Root, root)?;
    }
    let delegated = state.delegated().iter();
    let delegated = delegated.map(|(name, document)| (RoleName::Delegated(name.clone()), document));
    for (role, document) in [(RoleName::Targets, state.targets())].into_iter().chain(delegated) {
        let info = listed(snapshot, &role)?;
        listed_as(document.bytes().clone(), &role, info)?;
        require_version(&role, info.version, document.version())?;
    }
    let seen = floor.targets_versions();
    for role in builds_on {
        if let (Some(trusted), Some(found)) = (seen.get(role), state.last_version(role)) {
            refuse_rollback(role, *trusted, found)?;
        }
    }
    Ok(())
}
