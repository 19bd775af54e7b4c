//! How large a repository may become, and how many large ones are worked on at once.
//!
//! Whoever changes a repository reads all of it, and renewal does so with nobody asking. What
//! was read may need twenty times its bytes. Without bounds, one publisher could make a
//! repository that no machine can read any more, and stop the server for everybody.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::available_parallelism;

use bulla_keys_schema::dialect::notary1;
use bulla_keys_schema::limits;
use bulla_keys_schema::names::RoleName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::PublishFailure;
use crate::store::{DocumentRef, Head};

/// Most bytes of all current targets documents of one repository: a dozen of the largest. The
/// others have bounds of their own, and must not be what is one byte too long when the server
/// signs them anew.
const MOST: u64 = 64 * 1024 * 1024;
/// The part of it that is there for roles below delegated ones: those who sign for one role
/// must not use up what the others need.
const BELOW: u64 = MOST / 2;
/// Most roles that a snapshot lists, root and targets among them.
const ROLES: usize = limits::DELEGATIONS + 2;
/// More bytes than this are worked on beside the others, so that they do not hold up small ones.
const HEAVY: u64 = 256 * 1024;

/// Room for heavy work: as much at once as there are processors.
pub(super) struct Room(Arc<Semaphore>);

/// A place in it, for as long as anybody holds it; `None` for light work.
pub(super) type Place = Option<Arc<OwnedSemaphorePermit>>;

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(available_parallelism().map_or(2, usize::from))))
    }
}

impl Room {
    /// Waits for a place to work on all of `head` and on `added` bytes besides. While it is
    /// held, nobody waits for another one.
    pub(super) async fn for_all_of(&self, head: Option<&Head>, added: usize) -> Place {
        let stored: u64 = head.map_or(0, |head| total(&head.current));
        if stored.saturating_add(u64::try_from(added).unwrap_or(u64::MAX)) <= HEAVY {
            return None;
        }
        // It is never closed.
        Arc::clone(&self.0).acquire_owned().await.ok().map(Arc::new)
    }
}

/// Whether so many bytes are heavy work.
pub(super) fn is_heavy(bytes: usize) -> bool {
    u64::try_from(bytes).unwrap_or(u64::MAX) > HEAVY
}

/// Does `work` on a thread of its own if it is heavy. It keeps its place to its end, also when
/// nobody waits for it any more: a client that hangs up does not stop it.
pub(super) async fn beside<T: Send + 'static>(
    place: &Place,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PublishFailure> {
    let Some(place) = place.clone() else { return Ok(work()) };
    let work = move || {
        let done = work();
        drop(place);
        done
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| PublishFailure::Interrupted)
}

/// Whether a repository may grow to `after`. One that is too large already may shrink.
///
/// # Errors
/// All targets documents together, or those of roles below delegated ones, have too many bytes.
pub(super) fn check(
    before: Option<&Head>,
    after: &BTreeMap<RoleName, DocumentRef>,
) -> Result<(), PublishFailure> {
    let grows = |sum: fn(&BTreeMap<RoleName, DocumentRef>) -> u64, most: u64| {
        let sum_before = before.map_or(0, |head| sum(&head.current));
        sum(after) > most.max(sum_before)
    };
    if grows(targets, MOST) {
        return Err(PublishFailure::TooLarge { most: MOST });
    }
    if grows(below, BELOW) {
        return Err(PublishFailure::TooLarge { most: BELOW });
    }
    Ok(())
}

/// Whether a snapshot can list so many roles.
///
/// # Errors
/// It cannot: names that were once used stay.
pub(super) fn check_roles(listed: usize) -> Result<(), PublishFailure> {
    if listed > ROLES { Err(PublishFailure::TooManyRoles { most: ROLES }) } else { Ok(()) }
}

fn total(current: &BTreeMap<RoleName, DocumentRef>) -> u64 {
    sum(current, |_| true)
}

fn targets(current: &BTreeMap<RoleName, DocumentRef>) -> u64 {
    sum(current, |role| matches!(role, RoleName::Targets | RoleName::Delegated(_)))
}

fn below(current: &BTreeMap<RoleName, DocumentRef>) -> u64 {
    sum(current, is_below)
}

fn sum(current: &BTreeMap<RoleName, DocumentRef>, counts: impl Fn(&RoleName) -> bool) -> u64 {
    let counted = current.iter().filter(|(role, _)| counts(role));
    counted.fold(0, |sum, (_, document)| sum.saturating_add(document.length))
}

/// Names of such roles begin with that of their delegator: in TUF's dialect with a dot behind,
/// in Notary's with a slash.
fn is_below(role: &RoleName) -> bool {
    let RoleName::Delegated(name) = role else { return false };
    name.as_str().contains('.') || notary1::role_to_wire(role).matches('/').count() > 1
}

#[cfg(test)]
mod tests {
    use bulla_keys_schema::dialect::Dialect;
    use bulla_keys_schema::digest::Sha256Digest;
    use bulla_keys_schema::metadata::Version;
    use bulla_keys_schema::time::UtcTime;
    use bytes::Bytes;

    use super::*;
    use crate::store::HeadToken;

    fn current(documents: &[(&str, u64)]) -> BTreeMap<RoleName, DocumentRef> {
        let one = |(role, length): &(&str, u64)| {
            let document =
                DocumentRef { version: Version::FIRST, digest: Sha256Digest::of(b""), length: *length };
            (role.parse().unwrap(), document)
        };
        documents.iter().map(one).collect()
    }

    fn head(documents: &[(&str, u64)]) -> Head {
        Head {
            token: HeadToken(1),
            dialect: Dialect::Notary1,
            current: current(documents),
            timestamp: Bytes::new(),
            renew_at: UtcTime::from_unix_seconds(0).unwrap(),
        }
    }

    #[test]
    fn repositories_grow_to_a_point_and_may_always_shrink() {
        let is_taken = |before: Option<&Head>, after: &[(&str, u64)]| check(before, &current(after)).is_ok();
        assert!(is_taken(None, &[("targets", MOST)]));
        assert!(is_taken(None, &[("targets", MOST), ("root", 9), ("snapshot", 9), ("timestamp", 9)]));
        assert!(!is_taken(None, &[("targets", MOST), ("alice", 1)]));
        assert!(is_taken(None, &[("alice", MOST)]));
        for below in ["alice/x", "alice.x", "targets/root/x"] {
            assert!(is_taken(None, &[("targets", 5), (below, BELOW)]), "{below}");
            assert!(!is_taken(None, &[(below, BELOW + 1)]), "{below}");
        }
        let large = head(&[("targets", MOST), ("alice/x", BELOW + 9)]);
        assert!(is_taken(Some(&large), &[("targets", MOST), ("alice/x", BELOW + 9)]));
        assert!(is_taken(Some(&large), &[("targets", MOST), ("alice/x", BELOW + 8)]));
        assert!(!is_taken(Some(&large), &[("targets", 1), ("alice/x", BELOW + 10)]));
        assert!(!is_taken(Some(&large), &[("targets", MOST + 1), ("alice/x", BELOW + 9)]));
        assert!(check_roles(ROLES).is_ok() && check_roles(ROLES + 1).is_err());
    }

    #[tokio::test]
    async fn only_heavy_work_waits() {
        let room = Room(Arc::new(Semaphore::new(1)));
        let (light, heavy) = (head(&[("targets", HEAVY)]), head(&[("targets", HEAVY + 1)]));
        assert!(room.for_all_of(Some(&light), 0).await.is_none());
        let place = room.for_all_of(Some(&light), 1).await;
        assert!(place.is_some() && room.0.available_permits() == 0);
        assert!(room.for_all_of(Some(&light), 0).await.is_none());
        drop(place);
        assert!(room.for_all_of(Some(&heavy), 0).await.is_some());
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_keeps_its_place() {
        let room = Room(Arc::new(Semaphore::new(1)));
        let (go, stop) = std::sync::mpsc::channel::<()>();
        {
            let place = room.for_all_of(None, usize::MAX).await;
            let work = beside(&place, move || stop.recv().is_ok());
            assert!(tokio::time::timeout(std::time::Duration::from_millis(20), work).await.is_err());
        }
        assert_eq!(room.0.available_permits(), 0);
        go.send(()).unwrap();
        assert!(room.for_all_of(None, usize::MAX).await.is_some());
        assert!(beside(&None, || true).await.unwrap());
    }
}
