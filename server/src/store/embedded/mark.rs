//! The high-water mark: how far the store had come, kept outside of it. A folder that was
//! put back to an older state is noticed by it. Serving such a state would look to every
//! TUF client like a rollback attack, and signing on top of it would fork the history.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::journal::{Cursor, CursorText, Segments};
use super::layout::{OpenError, at, beside, write_whole};
use crate::store::{Position, StoreError};

/// The file of a mark.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    path: PathBuf,
    store_id: String,
}

/// The store is not the one, or not as far, as its high-water mark says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WentBack {
    /// The file of the mark.
    pub mark_file: PathBuf,
    /// Where the mark stands.
    pub mark: Position,
    /// Where the store stands.
    pub position: Position,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    store_id: String,
    cursor: CursorText,
}

/// Where the mark is kept if nothing else is said: beside the folder, `<data>.high-water`.
///
/// # Errors
/// Nothing can stand beside `data`, or it is named by `.` or `..` and cannot be found.
pub fn default_mark(data: &Path) -> Result<PathBuf, StoreError> {
    beside(data, "high-water")
}

/// The file of the mark: `said`, or the default.
///
/// # Errors
/// As [`default_mark`], or a mark of an earlier version is inside `data`: it may be the only one
/// that knows how far the store had come.
pub(super) fn place(data: &Path, said: Option<&Path>) -> Result<PathBuf, OpenError> {
    if let Some(said) = said {
        return Ok(said.to_owned());
    }
    let place = default_mark(data)?;
    // What was appended to `data/`, and to `data/.`.
    match [".high-water", "..high-water"].map(|name| data.join(name)).into_iter().find(|path| path.exists()) {
        Some(found) => Err(OpenError::MarkInside { found, place }),
        None => Ok(place),
    }
}

impl Mark {
    pub(super) const fn new(path: PathBuf, store_id: String) -> Self {
        Self { path, store_id }
    }

    /// Moves the mark.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn set(&self, cursor: &Cursor) -> Result<(), StoreError> {
        let text = Text { store_id: self.store_id.clone(), cursor: (*cursor).into() };
        let mut bytes =
            serde_json::to_vec(&text).map_err(|error| at("encode", &self.path)(io::Error::other(error)))?;
        bytes.push(b'\n');
        write_whole(&self.path, &bytes)
    }

    /// Compares the store, which ends at `end`, with the mark; `None` if all is well or there
    /// is no mark yet.
    ///
    /// # Errors
    /// The mark cannot be read or holds no mark: nobody can say then whether the store went
    /// back, and guessing would be wrong in the case that matters.
    pub(super) fn compare(&self, segments: &Segments, end: &Cursor) -> Result<Option<WentBack>, StoreError> {
        let bytes = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(at("read", &self.path))?,
        };
        let text: Option<Text> = serde_json::from_slice(&bytes).ok();
        let Some((text, mark)) = text.and_then(|text| text.cursor.parse().map(|cursor| (text, cursor)))
        else {
            let what = format!("{} holds no high-water mark", self.path.display());
            return Err(StoreError::Corrupt { what });
        };
        if text.store_id == self.store_id && mark.seq <= end.seq && segments.confirms(&mark)? {
            return Ok(None);
        }
        let (mark, position) = (Position(mark.seq), Position(end.seq));
        Ok(Some(WentBack { mark_file: self.path.clone(), mark, position }))
    }
}
