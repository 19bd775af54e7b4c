//! Backups of running stores, restores, and going back in time.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::request::RequestId;
use bulla_server::store::embedded::{
    BackupError, EmbeddedStore, OpenError, Options, RestoreError, backup, default_mark, restore,
    verify_backup,
};
use bulla_server::store::{
    Closed, Closing, HeadToken, LastVersions, NewRequest, Publication, PublishError, RequestState,
    StoreError, TrustStore as _,
};
use bulla_tests::crash::copy_folder;
use bulla_tests::store_contract::{
    Shape, assert_readable, name, publication, publish_run, removal, time, version,
};
use tempfile::TempDir;

const SHAPE: Shape = Shape { large: 7_000, salt: 0 };

fn options() -> Options {
    Options { segment_bytes: 128 * 1024, ..Options::default() }
}

struct Folders {
    folder: TempDir,
}

impl Folders {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

async fn publish(data: &Path, repository: &str, numbers: std::ops::RangeInclusive<u64>) {
    let store = EmbeddedStore::open(data, &options()).unwrap();
    let repository = name(repository);
    let token = store.head(&repository).await.unwrap().map(|head| head.token);
    publish_run(&store, &repository, token, numbers, SHAPE).await;
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_of_a_running_store_grow_and_restore() {
    let folders = Folders::new();
    let (data, out) = (folders.at("data"), folders.at("out"));
    let store = Arc::new(EmbeddedStore::open(&data, &options()).unwrap());
    let writer = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            publish_run(&*store, &name("example.com/a"), None, 1..=60, SHAPE).await;
        })
    };
    let mut last = 0;
    while !writer.is_finished() {
        let report = backup(&data, &out).unwrap();
        assert!(report.position >= last);
        last = report.position;
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    let report = backup(&data, &out).unwrap();
    assert_eq!((report.position, report.records), (60, 60));
    assert_eq!(backup(&data, &out).unwrap(), report, "a second one adds nothing");
    let there = folders.at("restored");
    let restored = restore(&out, &there, &options()).unwrap();
    assert_eq!(restored.went_back, None);
    let copy = EmbeddedStore::open(&there, &options()).unwrap();
    for number in [1, 30, 60] {
        let repository = name("example.com/a");
        let expected = store.head(&repository).await.unwrap();
        assert_eq!(copy.head(&repository).await.unwrap(), expected);
        for new in publication(&repository, Some(HeadToken(1)), number, SHAPE).documents {
            assert_eq!(
                copy.by_version(&repository, &new.role, new.version).await.unwrap(),
                Some(new.bytes.bytes().clone())
            );
        }
    }
    assert_readable(&copy, &name("example.com/a"), 1, SHAPE).await;
    assert_eq!(copy.check().await.unwrap(), store.check().await.unwrap());
}

/// What only the records of a head, of a removal and of signing requests say is in the backup
/// too.
#[tokio::test]
async fn backups_carry_dialects_removals_and_requests() {
    let folders = Folders::new();
    let (data, out, there) = (folders.at("data"), folders.at("out"), folders.at("restored"));
    let (notary, gone) = (name("example.com/notary"), name("example.com/gone"));
    let store = EmbeddedStore::open(&data, &options()).unwrap();
    let first = Publication { dialect: Dialect::Notary1, ..publication(&notary, None, 1, SHAPE) };
    store.publish(first).await.unwrap();
    let last = publish_run(&store, &gone, None, 1..=4, SHAPE).await;
    store.remove(removal(&gone, last.token, 0)).await.unwrap();
    let id = |number: u8| RequestId::from_bytes([number; 16]);
    for (number, length) in [(1, 40), (2, 9_000), (3, 9_001)] {
        let (repository, expected, not_after) = (gone.clone(), None, time(9));
        let bytes = vec![number; length].into();
        let request = NewRequest { repository, id: id(number), expected, not_after, bytes };
        store.put_request(request).await.unwrap();
    }
    let request = RequestState { id: id(3), revision: 1 };
    let (repository, how, actor) = (gone.clone(), Closed::Cancelled, "somebody".to_owned());
    store.close_request(Closing { repository, request, how, actor, at: time(8) }).await.unwrap();
    backup(&data, &out).unwrap();
    restore(&out, &there, &options()).unwrap();
    let copy = EmbeddedStore::open(&there, &options()).unwrap();
    assert_eq!(copy.open_requests(&gone).await.unwrap().len(), 2);
    for number in 1..=3 {
        let expected = store.request(&gone, id(number)).await.unwrap();
        assert!(expected.is_some());
        assert_eq!(copy.request(&gone, id(number)).await.unwrap(), expected);
    }
    assert_eq!(copy.head(&notary).await.unwrap().unwrap().dialect, Dialect::Notary1);
    assert_eq!(copy.head(&notary).await.unwrap(), store.head(&notary).await.unwrap());
    let known = LastVersions { timestamp: version(4), snapshot: version(4) };
    assert_eq!(copy.last_versions(&gone).await.unwrap(), Some(known));
    assert_eq!(copy.last_versions(&notary).await.unwrap(), None);
    assert_eq!(copy.check().await.unwrap(), store.check().await.unwrap());
}

#[tokio::test]
async fn damaged_backups_are_refused_before_anything_is_put_in_place() {
    let folders = Folders::new();
    let (data, out) = (folders.at("data"), folders.at("out"));
    publish(&data, "example.com/a", 1..=20).await;
    backup(&data, &out).unwrap();
    let mut files = Vec::new();
    list_files(&out, &mut files);
    assert!(files.len() > 20, "{files:?}");
    for file in files {
        let whole = fs::read(&file).unwrap();
        let mut bad = whole.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        for content in [Some(bad), Some(whole[..middle].to_vec()), None] {
            match content {
                Some(content) => fs::write(&file, content).unwrap(),
                None => fs::remove_file(&file).unwrap(),
            }
            assert!(verify_backup(&out).is_err(), "{}", file.display());
            assert!(restore(&out, &folders.at("there"), &options()).is_err(), "{}", file.display());
            assert!(!folders.at("there").exists());
        }
        fs::write(&file, whole).unwrap();
    }
    verify_backup(&out).unwrap();
}

/// A manifest is as foreign as the rest: it names the files of a backup, all and no others.
#[tokio::test]
async fn manifests_that_name_other_files_are_refused() {
    let folders = Folders::new();
    let (data, out, there) = (folders.at("data"), folders.at("out"), folders.at("there"));
    let store = EmbeddedStore::open(&data, &Options { segment_bytes: 16 * 1024, ..options() }).unwrap();
    publish_run(&store, &name("example.com/a"), None, 1..=30, SHAPE).await;
    store.close().await.unwrap();
    backup(&data, &out).unwrap();
    fs::write(folders.at("evil"), "evil").unwrap();
    let path = out.join("MANIFEST.json");
    let whole = fs::read(&path).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&whole).unwrap();
    let segments = manifest["files"].as_object().unwrap().len() - 2;
    assert!(segments > 1, "{manifest}");
    let digest = serde_json::json!(Sha256Digest::of(b"evil").to_string());
    let absolute = folders.at("evil").display().to_string();
    let mut refused = Vec::new();
    for name in ["../evil", "journal/../../evil", &absolute] {
        let mut more = manifest.clone();
        more["files"][name] = digest.clone();
        refused.push(more);
    }
    let mut empty = manifest.clone();
    empty["files"] = serde_json::json!({});
    refused.push(empty);
    for name in ["FORMAT", "store-id", "journal/000000000001.log", "journal/000000000002.log"] {
        let mut less = manifest.clone();
        less["files"].as_object_mut().unwrap().remove(name).expect(name);
        refused.push(less);
    }
    for manifest in refused {
        fs::write(&path, manifest.to_string()).unwrap();
        let verified = verify_backup(&out);
        assert!(matches!(verified, Err(BackupError::Damaged { .. })), "{verified:?}: {manifest}");
        let restored = restore(&out, &there, &options());
        let is_damaged = matches!(restored, Err(RestoreError::Backup(BackupError::Damaged { .. })));
        assert!(is_damaged, "{restored:?}: {manifest}");
        assert!(backup(&data, &out).is_err(), "{manifest}");
        let mut found: Vec<_> =
            fs::read_dir(folders.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        found.sort();
        assert_eq!(found, ["data", "data.high-water", "evil", "out"], "{manifest}");
    }
    fs::write(&path, whole).unwrap();
    restore(&out, &there, &options()).unwrap();
}

/// However the folder is named, the mark stands beside it, and going back is noticed.
#[tokio::test]
async fn a_folder_named_with_a_slash_is_watched_too() {
    let folders = Folders::new();
    let (data, out) = (folders.at("data"), folders.at("out"));
    let slash = folders.at("data/");
    let dot = folders.at("data/journal/..");
    publish(&slash, "example.com/a", 1..=3).await;
    backup(&slash, &out).unwrap();
    publish(&dot, "example.com/a", 4..=5).await;
    assert!(folders.at("data.high-water").exists() && !data.join(".high-water").exists());
    fs::remove_dir_all(&data).unwrap();
    let back = restore(&out, &slash, &options()).unwrap().went_back.expect("noticed");
    assert_eq!((back.mark.0, back.position.0), (5, 3));
    assert!(EmbeddedStore::open(&dot, &options()).unwrap().went_back().is_some());
    // A mark that an earlier version left inside may know more than anything else.
    for inside in [".high-water", "..high-water"].map(|name| data.join(name)) {
        fs::rename(folders.at("data.high-water"), &inside).unwrap();
        let refused = EmbeddedStore::open(&slash, &options());
        let Err(OpenError::MarkInside { found, place }) = refused else { panic!("{refused:?}") };
        assert_eq!((&found, &place), (&inside, &folders.at("data.high-water")));
        fs::rename(found, place).unwrap();
        assert!(EmbeddedStore::open(&slash, &options()).unwrap().went_back().is_some());
    }
}

fn list_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { list_files(&path, files) } else { files.push(path) }
    }
}

#[tokio::test]
async fn going_back_in_time_is_noticed_and_can_be_accepted() {
    let folders = Folders::new();
    let (data, out) = (folders.at("data"), folders.at("out"));
    publish(&data, "example.com/a", 1..=5).await;
    backup(&data, &out).unwrap();
    publish(&data, "example.com/a", 6..=9).await;
    assert!(matches!(restore(&out, &data, &options()), Err(RestoreError::NotEmpty { .. })));
    fs::rename(&data, folders.at("lost")).unwrap();
    let back = restore(&out, &data, &options()).unwrap().went_back.expect("noticed");
    assert_eq!((back.mark.0, back.position.0), (9, 5));
    let store = EmbeddedStore::open(&data, &options()).unwrap();
    assert!(store.went_back().is_some(), "noticed again by every start");
    let repository = name("example.com/a");
    let head = store.head(&repository).await.unwrap().expect("it can be read");
    let next = || publication(&repository, Some(head.token), 6, SHAPE);
    let refused = store.publish(next()).await;
    assert!(matches!(refused, Err(PublishError::Store(StoreError::WentBack { .. }))), "{refused:?}");
    assert!(store.set_online_keys(&repository, None, bytes::Bytes::new()).await.is_err());
    let (id, bytes) = (RequestId::from_bytes([1; 16]), bytes::Bytes::new());
    let request =
        NewRequest { repository: repository.clone(), id, expected: None, not_after: time(9), bytes };
    let refused = store.put_request(request).await;
    assert!(matches!(refused, Err(PublishError::Store(StoreError::WentBack { .. }))), "{refused:?}");
    store.close().await.unwrap();
    let accepted = restore(&out, &data, &Options { accept_loss: true, ..options() }).unwrap();
    assert_eq!(accepted.went_back, None);
    let store = EmbeddedStore::open(&data, &options()).unwrap();
    assert_eq!(store.went_back(), None);
    store.publish(next()).await.unwrap();
}

/// The same length with other content is noticed by the chain digest.
#[tokio::test]
async fn another_history_is_noticed() {
    let folders = Folders::new();
    let (data, fork, out) = (folders.at("data"), folders.at("fork"), folders.at("out"));
    publish(&data, "example.com/a", 1..=3).await;
    copy_folder(&data, &fork);
    publish(&data, "example.com/a", 4..=6).await;
    backup(&data, &out).unwrap();
    publish(&fork, "example.com/b", 1..=4).await;
    let foreign = backup(&fork, &out);
    assert!(matches!(foreign, Err(BackupError::Foreign { .. })), "{foreign:?}");
    let mark = Options { high_water: Some(default_mark(&data).unwrap()), ..options() };
    let store = EmbeddedStore::open(&fork, &mark).unwrap();
    assert!(store.went_back().is_some());
    drop(store);
    let other = folders.at("other");
    publish(&other, "example.com/c", 1..=9).await;
    assert!(matches!(backup(&other, &out), Err(BackupError::Foreign { .. })));
    let store = EmbeddedStore::open(&other, &mark).unwrap();
    assert!(store.went_back().is_some(), "another store in the same place");
}
