//! What the committer, the keeper and all readers of one open store have in common.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use bulla_keys_schema::digest::Sha256Digest;
use bytes::Bytes;

use super::blobs::Blobs;
use super::checkpoint::Progress;
use super::codec::{self, Entry};
use super::frame::{Location, Record};
use super::heads::Heads;
use super::index::Index;
use super::journal::Segments;
use super::layout::{Layout, fatal};
use super::mark::Mark;
use super::rows::ValueRow;
use crate::store::{OpenedValue, StoreError};

/// The parts of an open store.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) layout: Layout,
    pub(super) store_id: String,
    pub(super) segments: std::sync::Arc<Segments>,
    pub(super) blobs: Blobs,
    pub(super) index: Index,
    pub(super) heads: Heads,
    /// `None` if the store went back: the mark stays where it is then.
    pub(super) mark: Option<Mark>,
    /// How far the index has come.
    pub(super) progress: Mutex<Progress>,
}

impl Shared {
    pub(super) fn progress(&self) -> Progress {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does a part of the work of `whom`. If it panics, the process ends: commits would be made on top of what
    /// nobody knows, or not at all, or the mark would stand still, and nobody would notice.
    pub(super) fn or_end(&self, whom: &str, work: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            fatal("go on with", &self.layout.root, &whom);
        }
    }

    /// As [`Self::value`], to be sent; if `packed`, in the form in which it is stored.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] names the value.
    pub(super) fn open(&self, row: &ValueRow, packed: bool) -> Result<OpenedValue, StoreError> {
        match row.at {
            Some(_) => self.value(row).map(OpenedValue::whole),
            None => self.blobs.open(row.digest, row.length, packed),
        }
    }

    /// The bytes a row points to, compared with their digest.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] names the value.
    pub(super) fn value(&self, row: &ValueRow) -> Result<Bytes, StoreError> {
        read_value(&self.segments, &self.blobs, row)
    }
}

/// The bytes a row points to, compared with their digest.
///
/// # Errors
/// [`StoreError::Corrupt`] names the value.
pub(super) fn read_value(segments: &Segments, blobs: &Blobs, row: &ValueRow) -> Result<Bytes, StoreError> {
    let Some(at) = row.at else { return blobs.read(row.digest, row.length).map(Bytes::from) };
    if row.length > u64::try_from(codec::INLINE_BYTES).unwrap_or(u64::MAX) {
        return Err(StoreError::Corrupt {
            what: format!("value {} in {at} has an impossible length", row.digest),
        });
    }
    let bytes = segments.read(at, row.length)?;
    if Sha256Digest::of(&bytes) != row.digest {
        return Err(StoreError::Corrupt { what: format!("value {} in {at} has other bytes", row.digest) });
    }
    Ok(Bytes::from(bytes))
}

/// The record that an index row points to, decoded.
///
/// # Errors
/// [`StoreError::Corrupt`] if there is no such record.
pub(super) fn read_record(
    segments: &Segments,
    seq: u64,
    at: Location,
) -> Result<(Record, Entry), StoreError> {
    let record = segments
        .record(at)?
        .filter(|record| record.seq == seq)
        .ok_or_else(|| StoreError::Corrupt { what: format!("there is no record {seq} in {at}") })?;
    let entry = decode(&record)?;
    Ok((record, entry))
}

/// Decodes the body of a record.
///
/// # Errors
/// [`StoreError::Corrupt`] names the record.
pub(super) fn decode(record: &Record) -> Result<Entry, StoreError> {
    codec::decode(&record.body).map_err(|error| StoreError::Corrupt {
        what: format!("record {} in {}: {error}", record.seq, record.at),
    })
}
