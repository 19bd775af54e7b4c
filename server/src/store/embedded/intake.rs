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
        self.pace.add();
        let Some(request) = self.commit_here(request) else { return Ok(()) };
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
    /// are expected, or another one is being made. To wake the committer's thread and to be woken by it takes as
    /// long as the disk does.
    fn commit_here(&self, request: Request) -> Option<Request> {
        if !self.pace.is_alone() || !can_wait() {
            return Some(request);
        }
        let Ok(mut committer) = self.committer.try_lock() else { return Some(request) };
        block_in_place(|| committer.commit_one(request));
        None
    }
}

/// Whether another thread goes on with what this one leaves when it waits.
fn can_wait() -> bool {
    Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
}
