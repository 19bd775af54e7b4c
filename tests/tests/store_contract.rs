//! The contract of the store, on both backends.

use std::sync::Arc;

use async_trait::async_trait;
use bulla_server::store::TrustStore;
use bulla_server::store::embedded::{EmbeddedStore, Options};
use bulla_server::store::memory::MemoryStore;
use bulla_tests::store_contract::Place;
use tempfile::TempDir;

struct Memory;

#[async_trait]
impl Place for Memory {
    async fn open(&self) -> Arc<dyn TrustStore> {
        Arc::new(MemoryStore::new())
    }

    async fn reopen(&self, store: Arc<dyn TrustStore>) -> Arc<dyn TrustStore> {
        store
    }
}

/// How a folder is left when its store stops.
#[derive(Clone, Copy, Debug)]
enum Stop {
    Clean,
    /// The index is gone: everything comes from the journal.
    WithoutIndex,
    /// As after a crash: the checkpoint is an old one.
    WithOldCheckpoint,
}

struct Folder {
    folder: TempDir,
    stop: Stop,
    /// The checkpoint of the first start.
    checkpoint: Vec<u8>,
}

impl Folder {
    fn new(stop: Stop) -> Self {
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("data");
        drop(EmbeddedStore::open(&data, &options()).unwrap());
        let checkpoint = std::fs::read(data.join("journal/CHECKPOINT")).unwrap();
        let unclean = String::from_utf8(checkpoint).unwrap().replace("true", "false");
        Self { folder, stop, checkpoint: unclean.into_bytes() }
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }
}

/// Small segments, so that the tests cross their borders.
fn options() -> Options {
    Options { segment_bytes: 64 * 1024, ..Options::default() }
}

#[async_trait]
impl Place for Folder {
    async fn open(&self) -> Arc<dyn TrustStore> {
        Arc::new(EmbeddedStore::open(&self.data(), &options()).unwrap())
    }

    async fn reopen(&self, store: Arc<dyn TrustStore>) -> Arc<dyn TrustStore> {
        store.close().await.unwrap();
        match self.stop {
            Stop::Clean => {}
            Stop::WithoutIndex => std::fs::remove_dir_all(self.data().join("index")).unwrap(),
            Stop::WithOldCheckpoint => {
                std::fs::write(self.data().join("journal/CHECKPOINT"), &self.checkpoint).unwrap();
            }
        }
        self.open().await
    }
}

bulla_tests::store_contract!(memory, Memory);
bulla_tests::store_contract!(embedded, Folder::new(Stop::Clean));
bulla_tests::store_contract!(embedded_rebuilt, Folder::new(Stop::WithoutIndex));
bulla_tests::store_contract!(embedded_replayed, Folder::new(Stop::WithOldCheckpoint));
