//! `journal/CHECKPOINT`: up to where the index is known to be on the disk, so that a start
//! replays only what follows.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use super::journal::{Cursor, CursorText};
use super::layout::{Layout, at, write_whole};
use crate::store::StoreError;

/// How far the index has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) cursor: Cursor,
    /// Rows of the feed up to there.
    pub(super) feed: u64,
}

/// A checkpoint as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) progress: Progress,
    /// Whether the store was closed in order and has not been opened since.
    pub(super) clean: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    clean: bool,
    feed: u64,
    cursor: CursorText,
}

/// Writes the checkpoint.
///
/// # Errors
/// It cannot be written; the old one stays.
pub(super) fn write(layout: &Layout, checkpoint: Checkpoint) -> Result<(), StoreError> {
    let path = layout.checkpoint();
    let Checkpoint { progress, clean } = checkpoint;
    let text = Text { clean, feed: progress.feed, cursor: progress.cursor.into() };
    let mut bytes =
        serde_json::to_vec(&text).map_err(|error| at("encode", &path)(io::Error::other(error)))?;
    bytes.push(b'\n');
    write_whole(&path, &bytes)
}

/// Reads the checkpoint; `None` if there is none that can be read. It only saves work, so
/// without it everything is replayed.
///
/// # Errors
/// The file exists and the system does not let it be read.
pub(super) fn read(layout: &Layout) -> Result<Option<Checkpoint>, StoreError> {
    let path = layout.checkpoint();
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(at("read", &path))?,
    };
    let text: Option<Text> = serde_json::from_slice(&bytes).ok();
    Ok(text.and_then(|text| {
        let progress = Progress { cursor: text.cursor.parse()?, feed: text.feed };
        Some(Checkpoint { progress, clean: text.clean })
    }))
}
