//! Backups of stores that earlier programs made, backups that grew over a change of the format,
//! and what an interrupted backup leaves.

use std::fs;
use std::path::{Path, PathBuf};

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::request::RequestId;
use bulla_server::store::embedded::{
    BackupError, BackupReport, EmbeddedStore, Options, RestoreError, backup, check_journal, restore,
    verify_backup,
};
use bulla_server::store::{NewRequest, Position, TrustStore as _};
use bulla_tests::crash::copy_folder;
use bulla_tests::store_contract::{Shape, assert_readable, name, publish_run, target, time};
use tempfile::TempDir;

/// Targets that are packed today.
const SHAPE: Shape = Shape { large: 9_000, salt: 3 };
const NAME: &str = "example.com/a";
const PRESENT: &str = "bulla store 4\n";
const BEFORE: [&str; 2] = ["bulla store 2\n", "bulla store 3\n"];

fn options() -> Options {
    Options { segment_bytes: 4 * 1024, ..Options::default() }
}

async fn publish(data: &Path, numbers: std::ops::RangeInclusive<u64>) {
    let store = EmbeddedStore::open(data, &options()).unwrap();
    let token = store.head(&name(NAME)).await.unwrap().map(|head| head.token);
    publish_run(&store, &name(NAME), token, numbers, SHAPE).await;
    store.close().await.unwrap();
}

fn blob(data: &Path, number: u64) -> PathBuf {
    let digest = Sha256Digest::of(&target(&name(NAME), number, SHAPE)).to_string();
    data.join("blobs").join(&digest[..2]).join(&digest[2..4]).join(&digest)
}

fn is_packed(data: &Path, number: u64) -> bool {
    fs::read(blob(data, number)).unwrap() != target(&name(NAME), number, SHAPE)
}

/// A store as a program of a format before leaves it: no signing request, no packed value, and
/// its mark.
async fn made_before(data: &Path, format: &str, count: u64) {
    publish(data, 1..=count).await;
    for number in 1..=count {
        assert!(is_packed(data, number));
        fs::write(blob(data, number), target(&name(NAME), number, SHAPE)).unwrap();
    }
    fs::write(data.join("FORMAT"), format).unwrap();
}

async fn assert_holds(data: &Path, count: u64, requests: usize) {
    assert_eq!(check_journal(data).unwrap().defects, Vec::<String>::new());
    let store = EmbeddedStore::open(data, &options()).unwrap();
    assert_eq!(store.went_back(), None);
    assert_eq!(fs::read_to_string(data.join("FORMAT")).unwrap(), PRESENT);
    assert_eq!(u64::try_from(store.changes(Position(0), 1_000).await.unwrap().len()).unwrap(), count);
    for number in 1..=count {
        assert_readable(&store, &name(NAME), number, SHAPE).await;
    }
    assert_eq!(store.open_requests(&name(NAME)).await.unwrap().len(), requests);
    assert_eq!(store.check().await.unwrap().defects, Vec::<String>::new());
    store.close().await.unwrap();
}

/// One backup folder, filled before and after the store was taken over.
#[tokio::test]
async fn backups_grow_over_a_change_of_the_format() {
    for format in BEFORE {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (data, out) = (at("data"), at("out"));
        made_before(&data, format, 6).await;
        backup(&data, &out).unwrap();
        assert_eq!(fs::read_to_string(out.join("FORMAT")).unwrap(), format);
        restore(&out, &at("old"), &options()).unwrap();
        assert_holds(&at("old"), 6, 0).await;

        publish(&data, 7..=9).await;
        let store = EmbeddedStore::open(&data, &options()).unwrap();
        let (repository, id) = (name(NAME), RequestId::from_bytes([7; 16]));
        let bytes = vec![7; 9_000].into();
        let new = NewRequest { repository, id, expected: None, not_after: time(9), bytes };
        store.put_request(new).await.unwrap();
        store.close().await.unwrap();
        backup(&data, &out).unwrap();
        assert_eq!(fs::read_to_string(out.join("FORMAT")).unwrap(), PRESENT);
        restore(&out, &at("mixed"), &options()).unwrap();
        for copy in ["out", "mixed"] {
            assert_eq!([1, 6, 7, 9].map(|number| is_packed(&at(copy), number)), [false, false, true, true]);
        }
        assert_holds(&at("mixed"), 9, 1).await;

        // The restored ones go on, each in the backup that it came from.
        publish(&at("mixed"), 10..=12).await;
        backup(&at("mixed"), &out).unwrap();
        restore(&out, &at("grown"), &options()).unwrap();
        assert_holds(&at("grown"), 12, 1).await;
        assert!(matches!(backup(&at("old"), &out), Err(BackupError::Foreign { .. })));
    }
}

/// Everything is there but the manifest, or less.
#[tokio::test]
async fn a_first_backup_that_was_interrupted_is_refused() {
    for format in BEFORE.into_iter().chain([PRESENT]) {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (data, out) = (at("data"), at("out"));
        made_before(&data, format, 6).await;
        for missing in [&["MANIFEST.json"][..], &["FORMAT"], &["store-id"], &["journal/000000000001.log"]] {
            backup(&data, &out).unwrap();
            for file in missing.iter().chain(&["MANIFEST.json"]) {
                fs::remove_file(out.join(file)).ok();
            }
            let words = refused(&out, &at("there"));
            let (first, hint) = words.split_once('\n').unwrap();
            assert!(first.contains("was never finished: it has no MANIFEST.json"), "{words}");
            assert!(first.contains(&out.display().to_string()), "{words}");
            assert!(hint.starts_with("hint: run `bullad backup` into it again"), "{words}");
        }
        backup(&data, &out).unwrap();
        restore(&out, &at("there"), &options()).unwrap();
        assert_holds(&at("there"), 6, 0).await;
    }
}

fn refused(out: &Path, there: &Path) -> String {
    assert!(matches!(verify_backup(out), Err(BackupError::Unfinished { .. })));
    let error = restore(out, there, &options()).unwrap_err();
    assert!(matches!(error, RestoreError::Backup(BackupError::Unfinished { .. })), "{error:?}");
    assert!(!there.exists());
    error.to_string()
}

/// The moments of a later backup into the same folder: its files come one after the other, its
/// manifest at the end. Until then the earlier backup is what is there.
#[tokio::test]
async fn a_later_backup_that_was_interrupted_leaves_the_earlier_one() {
    for format in [BEFORE[0], PRESENT] {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (data, early, late) = (at("data"), at("early"), at("late"));
        made_before(&data, format, 3).await;
        let before = backup(&data, &early).unwrap();
        // More than one segment of the journal.
        publish(&data, 4..=12).await;
        copy_folder(&early, &late);
        let after = backup(&data, &late).unwrap();
        let segments = fs::read_dir(late.join("journal")).unwrap().count();
        assert!(segments > 2, "{segments}");
        for moment in 0..5 {
            let (out, there) = (at("out"), at(&format!("there-{moment}")));
            copy_folder(&early, &out);
            copy_folder(&late.join("blobs"), &out.join("blobs"));
            match moment {
                0 => {}
                1 => torn(&late, &out),
                2 => copy_folder(&late.join("journal"), &out.join("journal")),
                _ => {
                    copy_folder(&late.join("journal"), &out.join("journal"));
                    fs::copy(late.join("FORMAT"), out.join("FORMAT")).unwrap();
                }
            }
            if moment == 4 {
                fs::write(out.join("MANIFEST.json.tmp"), "{").unwrap();
            }
            assert_eq!(stripped(&verify_backup(&out).unwrap()), stripped(&before), "{moment}");
            restore(&out, &there, &options()).unwrap();
            assert_holds(&there, 3, 0).await;
            assert_eq!(backup(&data, &out).unwrap(), after, "{moment}: and it can be finished");
            restore(&out, &at("whole"), &options()).unwrap();
            assert_holds(&at("whole"), 12, 0).await;
            for done in ["out", "whole"] {
                fs::remove_dir_all(at(done)).unwrap();
            }
            fs::remove_file(at("whole.high-water")).unwrap();
        }
    }
}

/// The end of the first segment was copied, and a part of the second.
fn torn(late: &Path, out: &Path) {
    for (segment, part) in [(1, 1), (2, 3)] {
        let name = format!("journal/{segment:012}.log");
        let whole = fs::read(late.join(&name)).unwrap();
        fs::write(out.join(&name), &whole[..whole.len() / part]).unwrap();
    }
}

/// What the manifest says: it counts no bytes.
fn stripped(report: &BackupReport) -> BackupReport {
    BackupReport { bytes: 0, ..report.clone() }
}
