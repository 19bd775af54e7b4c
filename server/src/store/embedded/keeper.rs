//! The thread that brings the index to the disk once a second and then moves CHECKPOINT and
//! the high-water mark. Nothing waits for it: the journal alone makes commits durable.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::checkpoint::{self, Checkpoint, Progress};
use super::layout::fatal;
use super::shared::Shared;
use crate::store::StoreError;

const RHYTHM: Duration = Duration::from_secs(1);

/// Works until `stop` is closed, which must happen after the committer has ended.
pub(super) fn run(shared: &Shared, stop: &Receiver<()>) {
    let mut kept: Option<Progress> = None;
    while stop.recv_timeout(RHYTHM) == Err(RecvTimeoutError::Timeout) {
        let progress = shared.progress();
        if kept != Some(progress) {
            keep(shared, progress, false);
            kept = Some(progress);
        }
    }
    keep(shared, shared.progress(), true);
}

/// Brings everything up to `progress` to the disk and says so.
pub(super) fn keep(shared: &Shared, progress: Progress, clean: bool) {
    if let Err(error) = shared.index.sync() {
        fatal("write", &shared.layout.index(), &error);
    }
    if let Err(error) = note(shared, progress, clean) {
        // An older checkpoint means only a longer replay, an older mark a weaker one.
        tracing::warn!(%error, "cannot move the checkpoint");
    }
}

fn note(shared: &Shared, progress: Progress, clean: bool) -> Result<(), StoreError> {
    checkpoint::write(&shared.layout, Checkpoint { progress, clean })?;
    match &shared.mark {
        Some(mark) => mark.set(&progress.cursor),
        None => Ok(()),
    }
}
