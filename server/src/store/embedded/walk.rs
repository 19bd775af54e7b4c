//! Reading the journal in order, group by group, and judging what stands behind its end.
//!
//! A group that is not whole was never acknowledged: after a crash it is cut off. But if a
//! record of a *later* group stands behind a bad one, the bad one was synced once and has
//! been damaged since; nothing is cut off then.

use std::fs;
use std::fs::OpenOptions;

use super::frame::{Location, Parsed, Record, is_zero, segment_name};
use super::journal::{Cursor, Segments, allocate, sync_all};
use super::layout::{at, sync_folder};
use crate::store::StoreError;

/// Goes through the journal from some cursor.
pub(super) struct Walker<'a> {
    segments: &'a Segments,
    /// Behind the last whole group that was returned.
    pub(super) cursor: Cursor,
    loaded: Option<Loaded>,
}

struct Loaded {
    segment: u32,
    base: usize,
    bytes: Vec<u8>,
}

impl<'a> Walker<'a> {
    pub(super) const fn new(segments: &'a Segments, from: Cursor) -> Self {
        Self { segments, cursor: from, loaded: None }
    }

    /// The next whole group; `None` at the end of the journal or before damage.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub(super) fn next_group(&mut self) -> Result<Option<Vec<Record>>, StoreError> {
        let here = self.cursor.end;
        self.load(here)?;
        let mut group = self.group_at(here);
        if group.is_none() && matches!(self.parse(here), Parsed::Nothing) {
            let next = Location { segment: here.segment.saturating_add(1), offset: 0 };
            if self.segments.path(next.segment).exists() {
                self.load(next)?;
                group = self.group_at(next);
            }
        }
        if let Some(last) = group.as_ref().and_then(|group| group.last()) {
            self.cursor = Cursor {
                seq: last.seq,
                group: last.group,
                chain: last.chain,
                last: Some(last.at),
                end: last.end(),
            };
        }
        Ok(group)
    }

    /// Looks behind the end. True if something is there that must be cut off before writing.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] names the place, if records of later groups follow.
    pub(super) fn tail_is_dirty(&mut self) -> Result<bool, StoreError> {
        let end = self.cursor.end;
        let torn = self.cursor.group.saturating_add(1);
        let later: Vec<u32> =
            self.segments.numbers()?.into_iter().filter(|number| *number > end.segment).collect();
        self.load(end)?;
        let mut broken = end;
        if matches!(self.parse(end), Parsed::Nothing) && later.contains(&end.segment.saturating_add(1)) {
            broken = Location { segment: end.segment.saturating_add(1), offset: 0 };
        }
        let dirty = !later.is_empty() || !is_zero(self.rest(end));
        let beyond = |record: &Record| record.group > torn;
        let mut follower = self.search(end, beyond);
        for segment in later {
            if follower.is_some() {
                break;
            }
            let start = Location { segment, offset: 0 };
            self.load(start)?;
            follower = self.search(start, |record| segment > broken.segment || record.group > torn);
        }
        match follower {
            None => Ok(dirty),
            Some(follower) => Err(StoreError::Corrupt {
                what: format!(
                    "the journal is damaged in {broken}, behind record {}; record {} follows in {}",
                    self.cursor.seq, follower.seq, follower.at
                ),
            }),
        }
    }

    /// Removes what stands behind the end: an unfinished group that nobody was told of.
    ///
    /// # Errors
    /// A file cannot be changed. A failed sync ends the process (G9).
    pub(super) fn cut_tail(self) -> Result<(), StoreError> {
        let end = self.cursor.end;
        self.segments.forget();
        for number in self.segments.numbers()?.into_iter().rev().filter(|number| *number > end.segment) {
            let path = self.segments.path(number);
            fs::remove_file(&path).map_err(at("remove", &path))?;
        }
        let path = self.segments.path(end.segment);
        if path.exists() {
            let file = OpenOptions::new().write(true).open(&path).map_err(at("open", &path))?;
            let size = file.metadata().map_err(at("read", &path))?.len();
            file.set_len(u64::from(end.offset)).map_err(at("truncate", &path))?;
            sync_all(&file, &path);
            allocate(&file, size.max(u64::from(end.offset))).map_err(at("allocate", &path))?;
            sync_all(&file, &path);
        }
        sync_folder(self.segments.folder())
    }

    /// Goes on behind damage: puts the cursor before the next whole record and returns its
    /// seq, or `None` if no record follows. For the full check, which names all damage.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub(super) fn skip_damage(&mut self) -> Result<Option<u64>, StoreError> {
        let damaged = self.cursor;
        for segment in self.segments.numbers()?.into_iter().filter(|number| *number >= damaged.end.segment) {
            let mut from = Location { segment, offset: 0 };
            if segment == damaged.end.segment {
                from = damaged.end;
            }
            self.load(from)?;
            while let Some(found) = self.search(from, |record| record.seq > damaged.seq) {
                let (before, group) = (found.seq.saturating_sub(1), found.group.saturating_sub(1));
                self.cursor =
                    Cursor { seq: before, group, chain: found.chain_before, last: None, end: found.at };
                if self.group_at(found.at).is_some() {
                    return Ok(Some(found.seq));
                }
                // The rest of its group is damaged too.
                from = found.end();
            }
        }
        self.cursor = damaged;
        Ok(None)
    }

    /// The first whole record at or behind `from` in the loaded segment that `wanted` takes.
    pub(super) fn search(&self, from: Location, wanted: impl Fn(&Record) -> bool) -> Option<Record> {
        const BLOCK: usize = 4_096;
        let rest = self.rest(from);
        for (number, block) in rest.chunks(BLOCK).enumerate() {
            if is_zero(block) {
                continue;
            }
            for step in (0..block.len()).step_by(8) {
                let at = from.plus(number * BLOCK + step);
                let bytes = rest.get(number * BLOCK + step..)?;
                if self.segments.seal.claimed_len(bytes).is_none() {
                    continue;
                }
                if let Parsed::Whole(record) = self.parse(at)
                    && wanted(&record)
                {
                    return Some(*record);
                }
            }
        }
        None
    }

    /// Reads a segment from some offset on, unless it is loaded already.
    ///
    /// # Errors
    /// It exists and cannot be read.
    pub(super) fn load(&mut self, from: Location) -> Result<(), StoreError> {
        let base = usize::try_from(from.offset).unwrap_or(usize::MAX);
        if self.loaded.as_ref().is_some_and(|l| l.segment == from.segment && l.base <= base) {
            return Ok(());
        }
        let path = self.segments.path(from.segment);
        let length = match fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
            other => other.map_err(at("read", &path))?.len(),
        };
        let rest = length.saturating_sub(u64::from(from.offset));
        let bytes = if rest == 0 { Vec::new() } else { self.segments.read(from, rest)? };
        self.loaded = Some(Loaded { segment: from.segment, base, bytes });
        Ok(())
    }

    /// The loaded bytes from some place on.
    fn rest(&self, from: Location) -> &[u8] {
        let loaded = self.loaded.as_ref().filter(|loaded| loaded.segment == from.segment);
        let start = |loaded: &Loaded| usize::try_from(from.offset).ok()?.checked_sub(loaded.base);
        loaded.and_then(|loaded| loaded.bytes.get(start(loaded)?..)).unwrap_or_default()
    }

    fn parse(&self, from: Location) -> Parsed {
        match self.loaded.as_ref().filter(|loaded| loaded.segment == from.segment) {
            Some(loaded) => self.segments.seal.parse(&loaded.bytes, loaded.base, from),
            None => Parsed::Nothing,
        }
    }

    /// The group at `from`, if it is whole and continues the chain.
    fn group_at(&self, from: Location) -> Option<Vec<Record>> {
        let (mut seq, mut chain, mut place) = (self.cursor.seq, self.cursor.chain, from);
        let mut group: Vec<Record> = Vec::new();
        loop {
            let Parsed::Whole(record) = self.parse(place) else { return None };
            let left_fits = group.last().is_none_or(|before| before.left.checked_sub(1) == Some(record.left));
            let continues = seq.checked_add(1) == Some(record.seq)
                && record.chain_before == chain
                && self.cursor.group.checked_add(1) == Some(record.group)
                && left_fits;
            if !continues {
                return None;
            }
            (seq, chain, place) = (record.seq, record.chain, record.end());
            let is_last = record.left == 0;
            group.push(*record);
            if is_last {
                return Some(group);
            }
        }
    }
}

/// Checks that no segment is missing between the first and the last.
///
/// # Errors
/// [`StoreError::Corrupt`] names the missing one.
pub(super) fn expect_all_segments(segments: &Segments) -> Result<(), StoreError> {
    for (expected, found) in (1..).zip(segments.numbers()?) {
        if expected != found {
            let what = format!("the journal's segment {} is missing", segment_name(expected));
            return Err(StoreError::Corrupt { what });
        }
    }
    Ok(())
}
