//! How a commit reaches the committer: through the queue, or, where no others are expected, at
//! once, on the thread that has it.

use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex};
use std::thread::Thread;

use bytes::Bytes;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

use super::codec::Entry;
use super::commit::{Committer, Request};
use super::pace::Pace;
use crate::store::{PublishError, Published, StoreError};

/// Where commits are handed in.
#[derive(Clone, Debug)]
pub(super) struct Intake {
    pub(super) queue: SyncSender<Request>,
    /// The thread that takes them out of the queue.
    pub(super) thread: Thread,
    pub(super) committer: Arc<Mutex<Committer>>,
    pub(super) pace: Arc<Pace>,
}

impl Intake {
    /// Hands a commit to the committer and waits for its answer.
    ///
    /// # Errors
    /// What the committer answers; too long, too many of them wait, or the store is closed.
    pub(super) async fn submit(
        self,
        entry: Entry,
        body: Vec<u8>,
        timestamp: Option<Bytes>,
    ) -> Result<Published, PublishError> {
        let (request, answer) = Request::new(entry, body, timestamp)?;
        self.hand_in(request)?;
        // While somebody could hand in commits, the store does not close.
        drop(self);
        answer.await.map_err(|_| StoreError::Closed)?
    }

    fn hand_in(&self, request: Request) -> Result<(), PublishError> {
        let Some(request) = self.commit_here(request) else { return Ok(()) };
        self.pace.add();
        let sent = self.queue.try_send(request);
        if sent.is_err() {
            self.pace.take_back();
        } else if self.pace.is_complete() {
            self.thread.unpark();
        }
        sent.map_err(|error| match error {
            TrySendError::Full(_) => PublishError::Busy,
            TrySendError::Disconnected(_) => StoreError::Closed.into(),
        })
    }

    /// Commits on this thread, whose other work another one takes over; gives the commit back if others
    /// are expected, or another one is being made. This saves waking the committer's thread and being woken by it.
    /// Until it is done, no time limit ends the request.
    fn commit_here(&self, request: Request) -> Option<Request> {
        if !request.is_upload() || !self.pace.is_idle() || !can_wait() {
            return Some(request);
        }
        let Ok(mut committer) = self.committer.try_lock() else { return Some(request) };
        block_in_place(|| {
            self.pace.add();
            committer.commit_one(request);
        });
        None
    }
}

/// Whether another thread goes on with what this one leaves when it waits.
fn can_wait() -> bool {
    Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::mpsc::{Receiver, sync_channel};

    use bulla_keys_schema::dialect::Dialect;
    use bulla_keys_schema::time::UtcTime;

    use super::super::codec::Commit;
    use super::super::layout::Layout;
    use super::super::{Options, recover};
    use super::*;
    use crate::store::{OperationId, PublicationKind};

    /// An intake whose queue nobody empties.
    fn intake(folder: &tempfile::TempDir) -> (Intake, Receiver<Request>) {
        let options = Options { high_water: Some(folder.path().join("mark")), ..Options::default() };
        let opened = recover::open(Layout::new(&folder.path().join("data")), &options).unwrap();
        let pace = Arc::<Pace>::default();
        let committer = Committer::new(Arc::new(opened.shared), opened.writer, Arc::clone(&pace));
        let (queue, waiting) = sync_channel(8);
        let committer = Arc::new(Mutex::new(committer));
        (Intake { queue, thread: std::thread::current(), committer, pace }, waiting)
    }

    /// A commit on top of a head that is not there.
    fn refused(kind: PublicationKind) -> Entry {
        let now = UtcTime::from_unix_seconds(0).unwrap();
        Entry::Commit(Commit {
            repository: "registry.example.com/a".parse().unwrap(),
            dialect: Dialect::Tuf1,
            expected: Some(7),
            operation: OperationId([1; 16]),
            kind,
            actor: "somebody".to_owned(),
            at: now,
            renew_at: now,
            documents: Vec::new(),
            targets: Vec::new(),
            current: BTreeMap::new(),
            completes: None,
        })
    }

    /// Whether the intake commits this itself.
    fn is_committed_here(intake: &Intake, entry: Entry) -> bool {
        let (request, mut answer) = Request::new(entry, Vec::new(), None).unwrap();
        intake.hand_in(request).unwrap();
        match answer.try_recv() {
            Ok(answer) => {
                assert!(matches!(answer, Err(PublishError::Conflict { current: None })), "{answer:?}");
                true
            }
            Err(_) => false,
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_single_upload_needs_no_other_thread() {
        let folder = tempfile::tempdir().unwrap();
        let (intake, waiting) = intake(&folder);
        for _ in 0..3 {
            assert!(is_committed_here(&intake, refused(PublicationKind::Publish)));
        }
        // Renewals come together, and share a sync.
        assert!(!is_committed_here(&intake, refused(PublicationKind::Renew)));
        // Something waits already.
        assert!(!is_committed_here(&intake, refused(PublicationKind::Publish)));
        assert_eq!(waiting.try_iter().count(), 2);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_upload_waits_for_the_group_that_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (intake, waiting) = intake(&folder);
        let writing = intake.committer.lock().unwrap();
        assert!(!is_committed_here(&intake, refused(PublicationKind::Publish)));
        drop(writing);
        assert_eq!(waiting.try_iter().count(), 1);
    }

    #[tokio::test]
    async fn the_only_thread_does_not_wait_for_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let (intake, waiting) = intake(&folder);
        assert!(!is_committed_here(&intake, refused(PublicationKind::Publish)));
        assert_eq!(waiting.try_iter().count(), 1);
    }
}
