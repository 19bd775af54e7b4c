//! The full check: reads every record and every value, replays the history in memory, and
//! compares the result with what readers are given.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::request::RequestId;

use super::blobs::Blobs;
use super::checkpoint;
use super::codec::{self, Close, Commit, Entry, Remove, Request, Value};
use super::frame::{Record, Seal};
use super::journal::{Cursor, Segments};
use super::layout::{Layout, OpenError};
use super::recover::is_fed;
use super::rows::{self, RequestRow, RequestRowState, ValueRow};
use super::shared::{Shared, decode};
use super::walk::{Walker, expect_all_segments};
use crate::store::inspect::{highest, is_replaceable};
use crate::store::{
    CheckReport, DocumentRef, LastVersions, OperationId, Position, PublicationKind, RequestState, StoreError,
    requests,
};

/// Checks journal and files of a store that no process works on. Changes nothing: the index
/// and an unfinished group at the end are for the next start to deal with.
///
/// # Errors
/// [`OpenError`]: in use, not a store, another format, or it cannot be read. Damage is not
/// an error but a defect in the report.
pub fn check_journal(data: &Path) -> Result<CheckReport, OpenError> {
    let layout = Layout::new(data);
    if !data.is_dir() {
        return Err(OpenError::NotAStore { path: data.to_owned(), what: "there is no such folder" });
    }
    let store_id = layout.identify()?;
    let _lock = layout.lock()?;
    let segments = Segments::new(layout.journal(), Seal::new(&store_id));
    let blobs = Blobs::new(layout.blobs());
    let mut audit = Audit::new(&segments, &blobs);
    if let Err(StoreError::Corrupt { what }) = expect_all_segments(&segments) {
        audit.report.defects.push(what);
    }
    audit.run(None)?;
    if let Some(found) = checkpoint::read(&layout)?
        && !segments.confirms(&found.progress.cursor)?
    {
        let seq = found.progress.cursor.seq;
        audit.defect(format!("record {seq}, which CHECKPOINT names, is not in the journal"));
    }
    Ok(audit.report)
}

/// Checks everything of an open store up to its present end.
///
/// # Errors
/// A file cannot be read. Damage is not an error but a defect in the report.
pub(super) fn check_open(shared: &Shared) -> Result<CheckReport, StoreError> {
    let limit = shared.progress().cursor;
    let mut audit = Audit::new(&shared.segments, &shared.blobs);
    audit.run(Some(limit))?;
    audit.compare_heads(shared, limit.seq);
    audit.compare_rows(shared, limit.seq)?;
    Ok(audit.report)
}

/// A repository as its records make it.
struct Replayed {
    id: u64,
    seq: u64,
    dialect: Dialect,
    current: BTreeMap<RoleName, DocumentRef>,
    /// Digests, and whether the document may be gone because renewals replaced it.
    versions: BTreeMap<(RoleName, Version), (Sha256Digest, bool)>,
}

/// A signing request as its records make it, as long as it is open.
struct Waiting {
    seq: u64,
    revision: u64,
    digest: Sha256Digest,
    length: u64,
}

struct Audit<'a> {
    segments: &'a Segments,
    blobs: &'a Blobs,
    report: CheckReport,
    repositories: BTreeMap<RepositoryName, Replayed>,
    removed: BTreeMap<RepositoryName, LastVersions>,
    keys: HashMap<RepositoryName, u64>,
    requests: BTreeMap<RepositoryName, BTreeMap<RequestId, Waiting>>,
    operations: HashSet<[u8; 16]>,
    blobs_seen: HashSet<Sha256Digest>,
    feed: Vec<u64>,
}

impl<'a> Audit<'a> {
    fn new(segments: &'a Segments, blobs: &'a Blobs) -> Self {
        Self {
            segments,
            blobs,
            report: CheckReport::default(),
            repositories: BTreeMap::new(),
            removed: BTreeMap::new(),
            keys: HashMap::new(),
            requests: BTreeMap::new(),
            operations: HashSet::new(),
            blobs_seen: HashSet::new(),
            feed: Vec::new(),
        }
    }

    fn defect(&mut self, what: String) {
        self.report.defects.push(what);
    }

    /// Reads the journal, to `limit` or to its end, going on behind damage.
    fn run(&mut self, limit: Option<Cursor>) -> Result<(), StoreError> {
        let mut walker = Walker::new(self.segments, Cursor::start(&self.segments.seal));
        let reached = |walker: &Walker<'_>| limit.is_some_and(|limit| walker.cursor.seq >= limit.seq);
        while !reached(&walker) {
            let Some(group) = walker.next_group()? else {
                if !self.go_on_behind_damage(&mut walker, limit)? {
                    break;
                }
                continue;
            };
            for record in &group {
                self.record(record)?;
            }
        }
        let end = walker.cursor;
        if limit.is_some_and(|limit| limit.seq == end.seq && limit.chain != end.chain) {
            self.defect(format!("record {} ends another chain than the one in use", end.seq));
        }
        self.report.last_position = Position(end.seq);
        self.report.chain = Some(end.chain);
        self.report.repositories = u64::try_from(self.repositories.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// At a place where no whole group follows: true if the journal goes on behind it.
    fn go_on_behind_damage(
        &mut self,
        walker: &mut Walker<'_>,
        limit: Option<Cursor>,
    ) -> Result<bool, StoreError> {
        let before = walker.cursor;
        if limit.is_none() {
            match walker.tail_is_dirty() {
                Err(StoreError::Corrupt { .. }) => {}
                other => return other.map(|_| false),
            }
        }
        let next = before.seq.saturating_add(1);
        let place = before.end;
        if let Some(seq) = walker.skip_damage()? {
            self.defect(format!(
                "record {next} is damaged or missing in {place}; the next whole one is {seq}"
            ));
            return Ok(true);
        }
        self.defect(format!("record {next} is damaged or missing in {place}"));
        Ok(false)
    }

    fn record(&mut self, record: &Record) -> Result<(), StoreError> {
        self.report.records += 1;
        let entry = match decode(record) {
            Ok(entry) => entry,
            Err(error) => {
                self.defect(error.to_string());
                return Ok(());
            }
        };
        for value in entry.values() {
            self.value(record, value)?;
        }
        if is_fed(&entry) {
            self.feed.push(record.seq);
        }
        let problem = match entry {
            Entry::Commit(commit) => self.commit(record, commit),
            Entry::Remove(remove) => self.remove(record, &remove),
            Entry::Keys(keys) => {
                let before = self.keys.insert(keys.repository, keys.generation).unwrap_or(0);
                (before.checked_add(1) != Some(keys.generation))
                    .then(|| "skips a generation of keys".to_owned())
            }
            Entry::Request(request) => self.request(record, request),
            Entry::Close(Close { repository, request, .. }) => self.close(&repository, request),
        };
        if let Some(problem) = problem {
            self.defect(format!("record {} in {} {problem}", record.seq, record.at));
        }
        Ok(())
    }

    fn value(&mut self, record: &Record, value: &Value) -> Result<(), StoreError> {
        let found = match codec::inline(&record.body, value) {
            Some(bytes) if Sha256Digest::of(bytes) == value.digest => Ok(value.length),
            Some(_) => Err(format!("value {} has other bytes", value.digest)),
            None if !self.blobs_seen.insert(value.digest) => return Ok(()),
            None => match self.blobs.read(value.digest, value.length) {
                Ok(bytes) => Ok(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
                Err(StoreError::Corrupt { what }) => Err(what),
                Err(error) => return Err(error),
            },
        };
        self.report.documents += 1;
        match found {
            Ok(length) if length == value.length => self.report.bytes += length,
            Ok(length) => self.defect(format!(
                "record {} in {}: value {} has {length} bytes instead of {}",
                record.seq, record.at, value.digest, value.length
            )),
            Err(what) => self.defect(format!("record {} in {}: {what}", record.seq, record.at)),
        }
        Ok(())
    }

    fn commit(&mut self, record: &Record, commit: Commit) -> Option<String> {
        let repeated = self.repeated(commit.operation);
        let closed = commit.completes.and_then(|request| self.close(&commit.repository, request));
        let before = self.repositories.get(&commit.repository);
        let mut problem = repeated.or(closed);
        if before.map(|found| found.seq) != commit.expected {
            problem = Some("does not build on the state before it".to_owned());
        }
        if before.is_some_and(|found| found.dialect != commit.dialect) {
            problem = Some("changes the dialect of its repository".to_owned());
        }
        let id = before.map_or(record.seq, |found| found.id);
        if record.id != id {
            problem = Some(format!("names the repository {} instead of {id}", record.id));
        }
        let mut versions =
            self.repositories.remove(&commit.repository).map(|found| (found.versions, found.current));
        let (mut known, current_before) = versions.take().unwrap_or_default();
        let replaceable = commit.kind == PublicationKind::Renew;
        for new in commit.documents {
            let may_go = replaceable && is_replaceable(commit.dialect, &new.role);
            let key = (new.role, new.version);
            match known.get(&key) {
                Some((digest, _)) if *digest != new.value.digest => {
                    problem = Some(format!("changes the bytes of {} version {}", key.0, key.1));
                }
                _ => drop(known.insert(key, (new.value.digest, may_go))),
            }
        }
        for (role, reference) in &commit.current {
            let is_known =
                known.get(&(role.clone(), reference.version)).map(|known| known.0) == Some(reference.digest);
            if !is_known && current_before.get(role) != Some(reference) {
                problem =
                    Some(format!("makes {role} version {} current, which is not there", reference.version));
            }
        }
        let (seq, dialect, current) = (record.seq, commit.dialect, commit.current);
        let replayed = Replayed { id, seq, dialect, current, versions: known };
        self.repositories.insert(commit.repository, replayed);
        problem
    }

    fn remove(&mut self, record: &Record, remove: &Remove) -> Option<String> {
        let repeated = self.repeated(remove.operation);
        if !remove.keeps_keys {
            self.keys.remove(&remove.repository);
        }
        self.requests.remove(&remove.repository);
        let earlier = self.removed.get(&remove.repository).copied();
        self.removed.insert(remove.repository.clone(), highest(earlier, remove.last));
        let before = self.repositories.remove(&remove.repository);
        let Some(found) = before.filter(|found| found.seq == remove.expected && found.id == record.id) else {
            return Some("removes a state that is not the one before it".to_owned());
        };
        let versions =
            [(RoleName::Timestamp, remove.last.timestamp), (RoleName::Snapshot, remove.last.snapshot)];
        if versions.iter().any(|(role, last)| found.current.get(role).map(|now| now.version) != Some(*last)) {
            return Some("remembers other versions than those that it removes".to_owned());
        }
        repeated
    }

    fn request(&mut self, record: &Record, new: Request) -> Option<String> {
        let all = self.requests.entry(new.repository).or_default();
        let state = Waiting {
            seq: record.seq,
            revision: new.request.revision,
            digest: new.value.digest,
            length: new.value.length,
        };
        let length = state.length;
        let before = all.remove(&new.request.id).map_or(0, |before| before.revision);
        let others: Vec<_> = all.values().map(|other| other.length).collect();
        all.insert(new.request.id, state);
        if before.checked_add(1) != Some(new.request.revision) {
            return Some("skips a revision of a signing request".to_owned());
        }
        requests::fits(others.into_iter(), length).err().map(|error| format!("has no room: {error}"))
    }

    fn close(&mut self, repository: &RepositoryName, request: RequestState) -> Option<String> {
        let all = self.requests.get_mut(repository);
        let closed = all.and_then(|all| all.remove(&request.id)).map(|before| before.revision);
        (closed != Some(request.revision))
            .then(|| "closes a signing request in a state that is not the one before it".to_owned())
    }

    fn repeated(&mut self, operation: OperationId) -> Option<String> {
        (!self.operations.insert(operation.0)).then(|| "repeats an operation".to_owned())
    }

    /// Compares the heads that readers see with the replayed ones.
    fn compare_heads(&mut self, shared: &Shared, limit: u64) {
        let mut defects = Vec::new();
        let seen: BTreeMap<_, _> = shared.heads.all().into_iter().collect();
        for (name, current) in &seen {
            let head = &current.head;
            if head.token.0 > limit {
                continue;
            }
            let Some(replayed) = self.repositories.get(name) else {
                defects.push(format!("{name}: head {} is not in the journal", head.token));
                continue;
            };
            if replayed.seq != head.token.0
                || replayed.dialect != head.dialect
                || replayed.current != head.current
                || replayed.id != current.row.id
            {
                defects.push(format!("{name}: head {} differs from record {}", head.token, replayed.seq));
            }
            let timestamp = head.current.get(&RoleName::Timestamp).map(|now| now.digest);
            if timestamp != Some(Sha256Digest::of(&head.timestamp)) {
                defects.push(format!("{name}: head {} has another timestamp than it names", head.token));
            }
        }
        let quiet = shared.progress().cursor.seq == limit;
        for name in self.repositories.keys().filter(|name| quiet && !seen.contains_key(*name)) {
            defects.push(format!("{name}: has no head"));
        }
        self.report.defects.extend(defects);
    }

    /// Compares the rows of the index with the replayed history.
    fn compare_rows(&mut self, shared: &Shared, limit: u64) -> Result<(), StoreError> {
        let mut defects = Vec::new();
        let mut rows_found = Vec::new();
        for row in shared.index.scan(&[rows::FEED], &[rows::FEED]) {
            let (key, _) = row?;
            let seq = rows::feed_seq(&key).map_err(|error| super::index::damaged(&key, error))?;
            rows_found.extend((seq <= limit).then_some(seq));
        }
        if rows_found != self.feed {
            defects.push(format!("the feed has {} entries instead of {}", rows_found.len(), self.feed.len()));
        }
        for (name, replayed) in &self.repositories {
            let quiet = shared.heads.get(name).is_some_and(|now| now.row.seq == replayed.seq);
            for ((role, version), (digest, may_be_gone)) in &replayed.versions {
                let row: Option<ValueRow> = shared.index.row(&rows::version(replayed.id, role, *version))?;
                let is_current = replayed.current.get(role).is_some_and(|now| now.version == *version);
                match row {
                    Some(row) if row.digest == *digest => {}
                    None if !quiet || (*may_be_gone && !is_current) => {}
                    _ => defects
                        .push(format!("{name}: {role} version {version} is not in the index as published")),
                }
            }
        }
        for (name, all) in &self.requests {
            for (id, waiting) in all {
                let row: Option<RequestRow> = shared.index.row(&rows::request(name, *id))?;
                let is_there = row.as_ref().is_some_and(|row| {
                    let RequestRowState::Open { revision, value, .. } = &row.state else { return false };
                    row.seq == waiting.seq && *revision == waiting.revision && value.digest == waiting.digest
                });
                // A record behind the limit may have changed it.
                let quiet = shared.progress().cursor.seq == limit;
                let may_differ = !quiet || row.is_some_and(|row| row.seq > limit);
                if !is_there && !may_differ {
                    defects.push(format!("{name}: signing request {id} is not in the index as stored"));
                }
            }
        }
        for (name, last) in &self.removed {
            let row: Option<LastVersions> = shared.index.row(&rows::named(rows::LAST, name))?;
            // A removal behind the limit may have raised it.
            if row.is_none_or(|row| highest(Some(row), *last) != row) {
                defects.push(format!("{name}: the versions of its removal are not in the index"));
            }
        }
        self.report.defects.extend(defects);
        Ok(())
    }
}
