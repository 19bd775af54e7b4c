//! Damage on the disk: named, never served, never mistaken for something else.

use std::fs;
use std::path::{Path, PathBuf};

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::request::RequestId;
use bulla_server::store::embedded::{EmbeddedStore, OpenError, Options, backup, check_journal, restore};
use bulla_server::store::{NewRequest, Position, StoreError, TrustStore as _};
use bulla_tests::store_contract::{Shape, document, name, publish_run, target, time, version};
use bytes::Bytes;
use tempfile::TempDir;

const LARGE: Shape = Shape { large: 9_000, salt: 0 };
const SMALL: Shape = Shape { large: 600, salt: 0 };

fn options() -> Options {
    Options { segment_bytes: 256 * 1024, ..Options::default() }
}

/// A closed store with ten publications of each of two repositories.
async fn filled() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let store = EmbeddedStore::open(&data, &options()).unwrap();
    publish_run(&store, &name("example.com/small"), None, 1..=10, SMALL).await;
    publish_run(&store, &name("example.com/large"), None, 1..=10, LARGE).await;
    store.close().await.unwrap();
    (folder, data)
}

fn segment(data: &Path) -> PathBuf {
    data.join("journal/000000000001.log")
}

/// Flips one bit in the middle of the first place where `wanted` stands in a file.
fn flip_in(path: &Path, wanted: &[u8]) -> usize {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.windows(wanted.len()).position(|window| window == wanted).unwrap() + wanted.len() / 2;
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
    at
}

/// As after a crash before the first checkpoint.
fn forget_checkpoint(data: &Path) {
    fs::remove_file(data.join("journal/CHECKPOINT")).unwrap();
}

#[tokio::test]
async fn damaged_values_are_named_and_not_served() {
    let (_folder, data) = filled().await;
    let (small, large) = (name("example.com/small"), name("example.com/large"));
    let value = document(&small, &RoleName::Targets, 4, SMALL);
    flip_in(&segment(&data), &value);
    let blob = Sha256Digest::of(&target(&large, 5, LARGE));
    let path = |digest: Sha256Digest| {
        let digest = digest.to_string();
        data.join("blobs").join(&digest[..2]).join(&digest[2..4]).join(&digest)
    };
    let packed = fs::read(path(blob)).unwrap();
    assert!(packed.len() < 1_000, "{} bytes of 9000", packed.len());
    flip_in(&path(blob), &packed);
    let missing = Sha256Digest::of(&target(&large, 6, LARGE));
    fs::remove_file(path(missing)).unwrap();

    let store = EmbeddedStore::open(&data, &options()).unwrap();
    let read = [
        (store.by_version(&small, &RoleName::Targets, version(4)).await, Sha256Digest::of(&value)),
        (store.by_digest(&large, blob).await, blob),
        (store.by_digest(&large, missing).await, missing),
    ];
    for (read, digest) in read {
        let Err(StoreError::Corrupt { what }) = read else { panic!("{read:?}") };
        assert!(what.contains(&digest.to_string()), "{what}");
    }
    assert!(store.by_version(&small, &RoleName::Targets, version(5)).await.unwrap().is_some());
    let report = store.check().await.unwrap();
    store.close().await.unwrap();
    let offline = check_journal(&data).unwrap();
    for defects in [&report.defects, &offline.defects] {
        for named in [
            ["record 4 ", "000000000001.log"],
            ["record 15 ", &blob.to_string()],
            ["record 16 ", &missing.to_string()],
        ] {
            let says = |defect: &&String| named.iter().all(|part| defect.contains(part));
            assert_eq!(defects.iter().filter(says).count(), 1, "{named:?} in {defects:#?}");
        }
    }
    assert_eq!(offline.records, 19, "all but the damaged one were read");
}

#[tokio::test]
async fn damage_before_later_records_stops_the_start() {
    let (_folder, data) = filled().await;
    flip_in(&segment(&data), &document(&name("example.com/small"), &RoleName::Targets, 4, SMALL));
    forget_checkpoint(&data);
    let before = fs::read(segment(&data)).unwrap();
    let refused = EmbeddedStore::open(&data, &options());
    let Err(OpenError::Store(StoreError::Corrupt { what })) = refused else { panic!("{refused:?}") };
    assert!(what.contains("000000000001.log at byte") && what.contains("record 3"), "{what}");
    assert_eq!(fs::read(segment(&data)).unwrap(), before, "nothing was cut off");
}

#[tokio::test]
async fn a_torn_last_record_is_cut_off() {
    let (_folder, data) = filled().await;
    fs::remove_file(data.with_extension("high-water")).unwrap();
    flip_in(&segment(&data), &document(&name("example.com/large"), &RoleName::Timestamp, 10, LARGE));
    forget_checkpoint(&data);
    let store = EmbeddedStore::open(&data, &options()).unwrap();
    let large = name("example.com/large");
    let head = store.head(&large).await.unwrap().unwrap();
    assert_eq!(head.current[&RoleName::Targets].version, version(9));
    publish_run(&store, &large, Some(head.token), 10..=12, LARGE).await;
    store.close().await.unwrap();
    forget_checkpoint(&data);
    let store = EmbeddedStore::open(&data, &options()).unwrap();
    let report = store.check().await.unwrap();
    assert_eq!((report.records, report.defects), (22, Vec::new()));
}

#[tokio::test]
async fn records_that_were_synced_once_must_be_there() {
    let (_folder, data) = filled().await;
    flip_in(&segment(&data), &document(&name("example.com/large"), &RoleName::Timestamp, 10, LARGE));
    let refused = EmbeddedStore::open(&data, &options());
    assert!(matches!(refused, Err(OpenError::Store(StoreError::Corrupt { .. }))), "{refused:?}");
    assert!(!check_journal(&data).unwrap().defects.is_empty());
}

/// A publisher cannot write what recovery would take for a record: not even another store's
/// records are believed.
#[tokio::test]
async fn records_of_another_store_are_not_believed() {
    let (_folder, data) = filled().await;
    let (_other_folder, other) = filled().await;
    let foreign = fs::read(segment(&other)).unwrap();
    let mut journal = fs::read(segment(&data)).unwrap();
    let end = journal_end(&data);
    // Broken bytes behind the end, then whole records of higher groups.
    journal.truncate(end);
    journal.extend_from_slice(&[0xff; 64]);
    journal.extend_from_slice(&foreign[..journal_end(&other)]);
    fs::write(segment(&data), journal).unwrap();
    forget_checkpoint(&data);
    let store = EmbeddedStore::open(&data, &options()).unwrap();
    let report = store.check().await.unwrap();
    assert_eq!((report.records, report.defects), (20, Vec::new()));
    store.close().await.unwrap();
    assert_eq!(journal_end(&data), end);
}

/// Where the journal's only segment ends, as its checkpoint says.
fn journal_end(data: &Path) -> usize {
    let text = fs::read(data.join("journal/CHECKPOINT")).unwrap();
    let checkpoint: serde_json::Value = serde_json::from_slice(&text).unwrap();
    usize::try_from(checkpoint["cursor"]["end"][1].as_u64().unwrap()).unwrap()
}

#[tokio::test]
async fn a_damaged_index_is_rebuilt() {
    let (_folder, data) = filled().await;
    let small = name("example.com/small");
    for round in 0..3 {
        let db = data.join("index/db");
        let mut bytes = fs::read(&db).unwrap();
        for at in (round * 100..bytes.len()).step_by(600) {
            bytes[at] ^= 0x55;
        }
        fs::write(&db, bytes).unwrap();
        let checkpoint = data.join("journal/CHECKPOINT");
        let unclean = fs::read_to_string(&checkpoint).unwrap().replace("true", "false");
        fs::write(&checkpoint, unclean).unwrap();
        let store = EmbeddedStore::open(&data, &options()).unwrap();
        assert!(store.by_version(&small, &RoleName::Targets, version(4)).await.unwrap().is_some());
        assert_eq!(store.changes(Position(0), 100).await.unwrap().len(), 20);
        assert_eq!(store.check().await.unwrap().defects, Vec::<String>::new());
        store.close().await.unwrap();
    }
}

/// A signing request in the journal, and one in a file of its own.
#[tokio::test]
async fn damaged_requests_are_named_and_not_served() {
    let (_folder, data) = filled().await;
    let repository = name("example.com/small");
    let store = EmbeddedStore::open(&data, &options()).unwrap();
    let mut ids = Vec::new();
    for (number, length) in [(1_u8, 300), (2, 9_000), (3, 300), (4, 9_000)] {
        let (id, bytes) = (RequestId::from_bytes([number; 16]), Bytes::from(vec![0xa0 + number; length]));
        let (repository, expected, not_after) = (repository.clone(), None, time(9));
        store.put_request(NewRequest { repository, id, expected, not_after, bytes }).await.unwrap();
        ids.push(id);
    }
    store.close().await.unwrap();
    flip_in(&segment(&data), &[0xa1; 300]);
    let digest = Sha256Digest::of(&[0xa2; 9_000]).to_string();
    let file = data.join("blobs").join(&digest[..2]).join(&digest[2..4]).join(&digest);
    flip_in(&file, &[0xa2; 9_000]);

    let store = EmbeddedStore::open(&data, &options()).unwrap();
    for (at, id) in ids.iter().enumerate() {
        let read = store.request(&repository, *id).await;
        assert_eq!(matches!(read, Err(StoreError::Corrupt { .. })), at < 2, "{at}: {read:?}");
    }
    assert_eq!(store.open_requests(&repository).await.unwrap().len(), 4, "they can still be closed");
    let report = store.check().await.unwrap();
    store.close().await.unwrap();
    for defects in [report.defects, check_journal(&data).unwrap().defects] {
        for named in ["record 21 ", &digest] {
            assert!(defects.iter().any(|defect| defect.contains(named)), "{named} in {defects:#?}");
        }
    }
}

/// A store of a format before is read as it is, and marked so that the program that wrote it does
/// not take new records, or packed values, for damage. So is a backup of it.
#[tokio::test]
async fn stores_of_formats_before_are_taken_over() {
    for format in ["bulla store 2\n", "bulla store 3\n"] {
        taken_over(format).await;
    }
}

async fn taken_over(format: &str) {
    let (folder, data) = filled().await;
    let large = name("example.com/large");
    for number in 1..=10 {
        let value = target(&large, number, LARGE);
        let digest = Sha256Digest::of(&value).to_string();
        let file = data.join("blobs").join(&digest[..2]).join(&digest[2..4]).join(&digest);
        assert!(fs::read(&file).unwrap().len() < 1_000);
        fs::write(file, value).unwrap();
    }
    fs::write(data.join("FORMAT"), format).unwrap();
    let out = folder.path().join("out");
    backup(&data, &out).unwrap();
    assert_eq!(fs::read_to_string(out.join("FORMAT")).unwrap(), format);
    let restored = folder.path().join("restored");
    restore(&out, &restored, &options()).unwrap();
    for data in [&data, &restored] {
        assert_eq!(check_journal(data).unwrap().defects, Vec::<String>::new());
        let store = EmbeddedStore::open(data, &options()).unwrap();
        assert_eq!(store.changes(Position(0), 100).await.unwrap().len(), 20);
        assert_eq!(store.open_requests(&name("example.com/small")).await.unwrap(), []);
        let value = target(&large, 7, LARGE);
        assert_eq!(store.by_digest(&large, Sha256Digest::of(&value)).await.unwrap(), Some(value));
        assert_eq!(store.check().await.unwrap().defects, Vec::<String>::new());
        store.close().await.unwrap();
        assert_eq!(fs::read_to_string(data.join("FORMAT")).unwrap(), "bulla store 4\n");
    }
    backup(&data, &out).unwrap();
    assert_eq!(fs::read_to_string(out.join("FORMAT")).unwrap(), "bulla store 4\n");
}

#[tokio::test]
async fn folders_that_cannot_be_used_are_told_apart() {
    let (_folder, data) = filled().await;
    let store = EmbeddedStore::open(&data, &options()).unwrap();
    assert!(matches!(EmbeddedStore::open(&data, &options()), Err(OpenError::InUse { .. })));
    assert!(matches!(check_journal(&data), Err(OpenError::InUse { .. })));
    store.close().await.unwrap();
    for other in ["bulla store 1", "bulla store 99"] {
        fs::write(data.join("FORMAT"), format!("{other}\n")).unwrap();
        let refused = EmbeddedStore::open(&data, &options());
        let Err(error @ OpenError::Format { .. }) = refused else { panic!("{refused:?}") };
        let words = error.to_string();
        let (first, hint) = words.split_once("\nhint: ").unwrap();
        let known = "bulla store 4";
        assert!(
            first.ends_with(&format!("has the format `{other}`, this program reads `{known}`")),
            "{words}"
        );
        assert!(hint.contains("the version of bullad that wrote it"), "{words}");
        assert!(check_journal(&data).is_err(), "{other}");
    }
    fs::remove_file(data.join("FORMAT")).unwrap();
    assert!(matches!(EmbeddedStore::open(&data, &options()), Err(OpenError::NotAStore { .. })));
}
