//! The embedded store: a hash-chained journal that is the truth, files for long values, and
//! an index made from both that may be lost at any time.
//!
//! ```text
//! LOCK FORMAT store-id
//! journal/000000000001.log ...   segments of records: frame.rs, codec.rs, fields.rs, journal.rs
//! journal/CHECKPOINT             how far the index is on the disk: checkpoint.rs
//! blobs/ab/cd/<sha256>           values over 4 KiB, targets packed: blobs.rs, packed.rs
//! index/                         sled: rows.rs, index.rs, apply.rs
//! ```
//!
//! A commit: long values to their files, then one group of records with one sync, then the
//! index, then the heads in memory, then the answers. Opening: recover.rs.

mod apply;
mod backup;
mod blobs;
mod check;
mod checkpoint;
mod codec;
mod commit;
mod fields;
mod frame;
mod heads;
mod index;
mod intake;
mod journal;
mod keeper;
mod layout;
mod mark;
mod pace;
mod packed;
mod pieces;
mod read;
mod recover;
mod restore;
mod rows;
mod shared;
mod walk;

use std::any::Any;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use bulla_keys_schema::digest::{Hashed, Sha256Digest};
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::request::RequestId;
use bulla_keys_schema::time::UtcTime;
use bytes::Bytes;

pub use backup::{BackupError, BackupReport, backup, verify_backup};
pub use check::check_journal;
pub use layout::OpenError;
pub use mark::{WentBack, default_mark};
pub(crate) use packed::pack;
pub use restore::{RestoreError, Restored, restore};

use super::inspect::{self, Inspected};
use super::{
    Announcement, Change, CheckReport, Closing, Head, HeadToken, LastVersions, NewRequest, OpenRequest,
    OpenedValue, OperationId, Position, Publication, PublishError, Published, Removal, SealedOnlineKeys,
    Staged, StoreError, StoredRequest, TrustStore,
};
use codec::{Entry, INLINE_BYTES};
use commit::{Committer, new_timestamp, replayed};
use intake::Intake;
use layout::Layout;
use pace::Pace;
use rows::{KeysRow, OperationRow};
use shared::Shared;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file of the high-water mark; `None` for [`default_mark`].
    pub high_water: Option<PathBuf>,
    /// Takes the store as it is and moves the high-water mark there, even backwards.
    pub accept_loss: bool,
    /// Size of a journal segment, in bytes.
    pub segment_bytes: u32,
    /// Commits that may wait before [`PublishError::Busy`].
    pub queue: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { high_water: None, accept_loss: false, segment_bytes: 64 * 1024 * 1024, queue: 1_024 }
    }
}

/// A store in a folder of this machine.
#[derive(Debug)]
pub struct EmbeddedStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    running: RwLock<Option<Running>>,
    threads: Mutex<Option<Threads>>,
    went_back: Option<WentBack>,
    pace: Arc<Pace>,
}

#[derive(Clone, Debug)]
struct Running {
    shared: Arc<Shared>,
    intake: Intake,
}

#[derive(Debug)]
struct Threads {
    committer: JoinHandle<()>,
    keeper: JoinHandle<()>,
    stop: Sender<()>,
    lock: File,
}

impl EmbeddedStore {
    /// Opens the store in `data`, or makes one in an empty folder. Blocks while the journal
    /// since the last checkpoint is replayed, or the whole if the index is lost.
    ///
    /// # Errors
    /// [`OpenError`]: in use, not a store, another format, or damaged.
    pub fn open(data: &Path, options: &Options) -> Result<Self, OpenError> {
        let opened = recover::open(Layout::new(data), options)?;
        let shared = Arc::new(opened.shared);
        let (queue, requests) = sync_channel(options.queue);
        let pace = Arc::<Pace>::default();
        let committer = Committer::new(Arc::clone(&shared), opened.writer, Arc::clone(&pace));
        let committer = Arc::new(Mutex::new(committer));
        let at_queue = Arc::clone(&committer);
        let thread = spawn("store-commit", &shared, move |_| Committer::run(&at_queue, &requests))?;
        let (stop, stopped) = channel();
        let keeper = spawn("store-keep", &shared, move |shared| keeper::run(shared, &stopped))?;
        let intake = Intake { queue, thread: thread.thread().clone(), committer, pace: Arc::clone(&pace) };
        let running = Running { shared, intake };
        let threads = Threads { committer: thread, keeper, stop, lock: opened.lock };
        let inner = Inner {
            running: RwLock::new(Some(running)),
            threads: Mutex::new(Some(threads)),
            went_back: opened.went_back,
            pace,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Set if the store is older than its high-water mark. It can be read then, but every
    /// commit is refused with [`StoreError::WentBack`]: signing on top of an older state
    /// would look like a rollback attack to everyone who saw the newer one.
    #[must_use]
    pub fn went_back(&self) -> Option<&WentBack> {
        self.inner.went_back.as_ref()
    }

    fn running(&self) -> Result<Running, StoreError> {
        let running = self.inner.running.read().unwrap_or_else(PoisonError::into_inner);
        running.clone().ok_or(StoreError::Closed)
    }

    fn writable(&self) -> Result<Running, StoreError> {
        match &self.inner.went_back {
            Some(back) => Err(StoreError::WentBack { mark: back.mark, position: back.position }),
            None => self.running(),
        }
    }

    /// Runs something that waits for the disk where waiting is allowed.
    async fn blocking<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Shared) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = self.running()?.shared;
        tokio::task::spawn_blocking(move || act(&shared)).await.map_err(|_| StoreError::Closed)
    }
}

#[async_trait]
impl TrustStore for EmbeddedStore {
    async fn head(&self, repository: &RepositoryName) -> Result<Option<Arc<Head>>, StoreError> {
        let running = self.inner.running.read().unwrap_or_else(PoisonError::into_inner);
        let shared = &running.as_ref().ok_or(StoreError::Closed)?.shared;
        Ok(shared.heads.get(repository).map(|current| Arc::clone(&current.head)))
    }

    async fn by_version(
        &self,
        repository: &RepositoryName,
        role: &RoleName,
        version: Version,
    ) -> Result<Option<Bytes>, StoreError> {
        let running = self.running()?;
        let Some(row) = read::version_row(&running.shared, repository, role, version)? else {
            return Ok(None);
        };
        drop(running);
        self.blocking(move |shared| shared.value(&row)).await?.map(Some)
    }

    async fn by_digest(
        &self,
        repository: &RepositoryName,
        digest: Sha256Digest,
    ) -> Result<Option<Bytes>, StoreError> {
        let running = self.running()?;
        let Some(row) = read::digest_row(&running.shared, repository, digest)? else { return Ok(None) };
        drop(running);
        self.blocking(move |shared| shared.value(&row)).await?.map(Some)
    }

    async fn length(
        &self,
        repository: &RepositoryName,
        digest: Sha256Digest,
    ) -> Result<Option<u64>, StoreError> {
        let row = read::digest_row(&self.running()?.shared, repository, digest)?;
        Ok(row.map(|row| row.length))
    }

    async fn open(
        &self,
        repository: &RepositoryName,
        digest: Sha256Digest,
        packed: bool,
    ) -> Result<Option<OpenedValue>, StoreError> {
        let running = self.running()?;
        let Some(row) = read::digest_row(&running.shared, repository, digest)? else { return Ok(None) };
        drop(running);
        self.blocking(move |shared| shared.open(&row, packed)).await?.map(Some)
    }

    fn announce(&self) -> Announcement {
        let pace = &self.inner.pace;
        Announcement::new(Arc::clone(&pace.announced), pace.is_single())
    }

    fn stage(&self, documents: &[Hashed]) -> Staged {
        let Ok(Running { shared, .. }) = self.writable() else { return Staged::default() };
        let long = documents.iter().filter(|bytes| bytes.len() > INLINE_BYTES);
        // What cannot be written is tried again, and told then.
        Staged::new(long.filter_map(|bytes| Early::stage(&shared, bytes)).collect())
    }

    async fn publish(&self, publication: Publication) -> Result<Published, PublishError> {
        let running = self.writable()?;
        let shared = &running.shared;
        let current = shared.heads.get(&publication.repository).map(|current| current.head.token);
        if current != publication.expected {
            return early_answer(shared, &publication.repository, current, publication.operation);
        }
        let mut values = publication.documents.iter().map(|new| &new.bytes).chain(&publication.targets);
        let has_long = values.any(|value| value.len() > INLINE_BYTES);
        let (publication, inspected) = if has_long {
            let prepare = move |shared: &Shared| {
                let inspected = inspect::inspect(&publication)?;
                store_long(shared, &inspected)?;
                Ok::<_, PublishError>((publication, inspected))
            };
            self.blocking(prepare).await??
        } else {
            let inspected = inspect::inspect(&publication)?;
            (publication, inspected)
        };
        let (commit, body) = codec::encode_commit(&publication, &inspected);
        running.intake.submit(Entry::Commit(commit), body, new_timestamp(&publication)).await
    }

    async fn remove(&self, removal: Removal) -> Result<Published, PublishError> {
        let running = self.writable()?;
        inspect::actor(&removal.actor)?;
        let current = running.shared.heads.get(&removal.repository);
        let Some(current) = current.as_ref().filter(|current| current.head.token == removal.expected) else {
            let current = current.map(|current| current.head.token);
            return early_answer(&running.shared, &removal.repository, current, removal.operation);
        };
        // The committer removes this very head or none.
        let (remove, body) = codec::encode_remove(&removal, inspect::last_versions(&current.head)?);
        running.intake.submit(Entry::Remove(remove), body, None).await
    }

    async fn last_versions(&self, repository: &RepositoryName) -> Result<Option<LastVersions>, StoreError> {
        self.running()?.shared.index.row(&rows::named(rows::LAST, repository))
    }

    async fn list(
        &self,
        after: Option<&RepositoryName>,
        max: usize,
    ) -> Result<Vec<RepositoryName>, StoreError> {
        Ok(self.running()?.shared.heads.list(after, max))
    }

    async fn changes(&self, after: Position, max: usize) -> Result<Vec<Change>, StoreError> {
        self.blocking(move |shared| read::changes(shared, after, max)).await?
    }

    async fn due(&self, before: UtcTime, max: usize) -> Result<Vec<RepositoryName>, StoreError> {
        Ok(self.running()?.shared.heads.due(before, max))
    }

    async fn online_keys(&self, repository: &RepositoryName) -> Result<Option<SealedOnlineKeys>, StoreError> {
        let shared = self.running()?.shared;
        let Some(row) = shared.index.row::<KeysRow>(&rows::named(rows::KEYS, repository))? else {
            return Ok(None);
        };
        let sealed = self.blocking(move |shared| shared.value(&row.sealed)).await??;
        Ok(Some(SealedOnlineKeys { generation: row.generation, sealed }))
    }

    async fn set_online_keys(
        &self,
        repository: &RepositoryName,
        expected: Option<u64>,
        sealed: Bytes,
    ) -> Result<u64, PublishError> {
        let running = self.writable()?;
        let generation = next_count(expected)?;
        let (keys, body) = codec::encode_keys(repository, generation, &sealed);
        if sealed.len() > INLINE_BYTES {
            let digest = keys.sealed.digest;
            self.blocking(move |shared| shared.blobs.store(digest, &sealed)).await??;
        }
        running.intake.submit(Entry::Keys(keys), body, None).await.map(|_| generation)
    }

    async fn with_online_keys(
        &self,
        after: Option<&RepositoryName>,
        max: usize,
    ) -> Result<Vec<RepositoryName>, StoreError> {
        let after = after.cloned();
        self.blocking(move |shared| read::with_online_keys(shared, after.as_ref(), max)).await?
    }

    async fn open_requests(&self, repository: &RepositoryName) -> Result<Vec<OpenRequest>, StoreError> {
        read::open_requests(&self.running()?.shared, repository)
    }

    async fn request(
        &self,
        repository: &RepositoryName,
        id: RequestId,
    ) -> Result<Option<StoredRequest>, StoreError> {
        let repository = repository.clone();
        self.blocking(move |shared| read::request(shared, &repository, id)).await?
    }

    async fn put_request(&self, request: NewRequest) -> Result<u64, PublishError> {
        let running = self.writable()?;
        let revision = next_count(request.expected)?;
        // The committer decides again; what is refused already here leaves no file behind.
        read::fits(&running.shared, &request)?;
        let (new, body) = codec::encode_request(&request, revision);
        if request.bytes.len() > INLINE_BYTES {
            let digest = new.value.digest;
            self.blocking(move |shared| shared.blobs.store(digest, &request.bytes)).await??;
        }
        running.intake.submit(Entry::Request(new), body, None).await.map(|_| revision)
    }

    async fn close_request(&self, closing: Closing) -> Result<(), PublishError> {
        let running = self.writable()?;
        inspect::actor(&closing.actor)?;
        let (close, body) = codec::encode_close(&closing);
        running.intake.submit(Entry::Close(close), body, None).await.map(drop)
    }

    async fn with_requests(
        &self,
        after: Option<&RepositoryName>,
        max: usize,
    ) -> Result<Vec<RepositoryName>, StoreError> {
        let after = after.cloned();
        self.blocking(move |shared| read::with_requests(shared, after.as_ref(), max)).await?
    }

    async fn check(&self) -> Result<CheckReport, StoreError> {
        self.blocking(check::check_open).await?
    }

    async fn close(&self) -> Result<(), StoreError> {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || inner.shut_down()).await.map_err(|_| StoreError::Closed)
    }
}

impl Inner {
    /// Ends the threads, brings everything to the disk and releases the files. Doing it
    /// twice does nothing.
    fn shut_down(&self) {
        let running = self.running.write().unwrap_or_else(PoisonError::into_inner).take();
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (Some(Running { mut shared, intake }), Some(threads)) = (running, threads) else { return };
        drop(intake);
        // A thread that panicked has ended the process.
        drop(threads.committer.join());
        drop(threads.stop);
        drop(threads.keeper.join());
        // Reads that are under way hold the files a moment longer.
        for _ in 0..10_000 {
            match Arc::try_unwrap(shared) {
                Ok(last) => {
                    drop(last);
                    break;
                }
                Err(still_used) => shared = still_used,
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(threads.lock);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shut_down();
    }
}

/// A long value on the disk that no record names; cleared away when it is dropped.
#[derive(Debug)]
struct Early {
    shared: Arc<Shared>,
    digest: Sha256Digest,
}

impl Early {
    fn stage(shared: &Arc<Shared>, bytes: &Hashed) -> Option<Box<dyn Any + Send>> {
        shared.blobs.stage(bytes).ok()?;
        Some(Box::new(Self { shared: Arc::clone(shared), digest: bytes.digest() }))
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        self.shared.blobs.unstage(self.digest);
    }
}

/// The answer, before any value is written, where `current` is not the expected head: the
/// operation was done before, or somebody was faster.
///
/// # Errors
/// [`PublishError::Conflict`], [`PublishError::Invalid`] if it was an operation of another
/// repository, or the index cannot be read.
fn early_answer(
    shared: &Shared,
    repository: &RepositoryName,
    current: Option<HeadToken>,
    operation: OperationId,
) -> Result<Published, PublishError> {
    // The index knows an operation before its head can be seen.
    let row: Option<OperationRow> = shared.index.row(&rows::operation(operation))?;
    row.map_or(Err(PublishError::Conflict { current }), |row| replayed(&row, repository))
}

/// The generation or revision after `expected`, which counts from 1.
///
/// # Errors
/// [`PublishError::Conflict`]: nothing has the expected one.
fn next_count(expected: Option<u64>) -> Result<u64, PublishError> {
    let next = expected.unwrap_or(0).checked_add(1).filter(|_| expected != Some(0));
    next.ok_or(PublishError::Conflict { current: None })
}

fn store_long(shared: &Shared, inspected: &Inspected) -> Result<(), StoreError> {
    for new in inspected.documents.iter().filter(|new| new.bytes.len() > INLINE_BYTES) {
        shared.blobs.store(new.digest, &new.bytes)?;
    }
    for (digest, bytes) in inspected.targets.iter().filter(|(_, bytes)| bytes.len() > INLINE_BYTES) {
        shared.blobs.store_packed(*digest, bytes)?;
    }
    Ok(())
}

/// Starts a thread of the store, whose panic ends the process.
fn spawn(
    name: &'static str,
    shared: &Arc<Shared>,
    act: impl FnOnce(&Shared) + Send + 'static,
) -> Result<JoinHandle<()>, StoreError> {
    let shared = Arc::clone(shared);
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || shared.or_end(name, || act(&shared)))
        .map_err(|source| StoreError::Io { what: format!("start the thread {name}"), source })
}
