//! Trust folders of docker and notary, packed as their manuals say: `bulla key restore` takes their
//! keys over.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bulla_keys_schema::key::{Passphrase, SealedKey};
use bulla_tests::backup_site::{refused, text};
use bulla_tests::cli::{Cli, Ran, private_file};
use bulla_tests::peers::absent;
use bulla_tests::programs::{expect, program};

/// The passphrase of the older folder that notary's developers made.
const OLD: &str = "randompass";
/// That of the newer one, whose description says another.
const NEWER: &str = "password";
const NEW: &str = "a new passphrase";

struct Desk {
    cli: Cli,
    new: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let cli = Cli::new(program("bulla").to_str().unwrap()).with("BULLA_PASSPHRASE", OLD);
        let new = cli.folder.path().join("new-passphrase");
        private_file(&new, NEW);
        Self { cli, new }
    }

    /// Packs a folder of notary as `tar` does.
    fn pack(&self, folder: &Path, options: &str) -> PathBuf {
        let path = self.cli.folder.path().join("folder.tar");
        let status =
            Command::new("tar").arg("-C").arg(folder).args([options, text(&path), "private"]).status();
        assert!(status.unwrap().success());
        path
    }

    fn restore(&self, file: &Path, more: &[&str]) -> Ran {
        let arguments =
            ["key", "restore", text(file), "--new-passphrase-file", text(&self.new), "--output", "json"];
        self.cli.run(&[&arguments[..], more].concat())
    }
}

fn folder(version: &str) -> Option<PathBuf> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/notary-v1/compatibility").join(version);
    if !path.is_dir() {
        absent("shared/data/notary-v1", "put the project's data at ../shared/data");
        return None;
    }
    Some(path)
}

fn names(ran: &Ran, state: &str) -> Vec<String> {
    let answer = ran.json();
    let keys = answer["keys"].as_array().unwrap().iter().filter(|key| key["state"] == state);
    let mut names: Vec<String> = keys.map(|key| key["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn the_first_layout_of_notary_is_taken_over() {
    let Some(folder) = folder("notary0.1") else { return };
    let desk = Desk::new();
    let file = desk.pack(&folder, "-cf");
    let planned = desk.restore(&file, &["--dry-run"]);
    assert_eq!((planned.code, desk.cli.home("keys").exists()), (0, false), "{planned:?}");
    let ran = desk.restore(&file, &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(names(&ran, "restored"), ["root", "snapshot-samplerepo", "targets-samplerepo"]);
    let key = expect(&desk.cli, 0, &["key", "show", "targets-samplerepo"]).stdout;
    assert!(key.contains("docker.com/notary0.1/samplerepo"), "{key}");
    let sealed = fs::read_to_string(desk.cli.home("keys/root.key")).unwrap();
    let sealed = SealedKey::parse(&sealed).unwrap();
    assert!(sealed.open(&Passphrase::new(NEW.to_owned())).is_ok());
    assert!(sealed.open(&Passphrase::new(OLD.to_owned())).is_err());

    let again = desk.restore(&file, &[]);
    assert_eq!((again.code, names(&again, "already-there").len()), (0, 3), "{again:?}");
}

#[test]
fn a_name_in_the_tar_does_not_prove_that_a_key_is_there() {
    let desk = Desk::new();
    for name in ["alice", "bob"] {
        expect(&desk.cli, 0, &["key", "generate", name]);
    }
    let shown = expect(&desk.cli, 0, &["key", "show", "alice", "--output", "json"]).json();
    let id = shown["key_ids"]["legacy"].as_str().unwrap();
    let packed = desk.cli.folder.path().join("folder");
    fs::create_dir_all(packed.join("private")).unwrap();
    let file = packed.join("private").join(format!("{id}.key"));
    let export = |name: &str| {
        let _ = fs::remove_file(&file);
        let docker = ["--format", "docker", "--role", name, "--out", text(&file)];
        expect(&desk.cli, 0, &[&["key", "export", name], &docker[..]].concat());
        desk.pack(&packed, "-cf")
    };
    let tar = export("alice");
    let ran = desk.restore(&tar, &[]);
    assert_eq!((ran.code, names(&ran, "already-there")), (0, vec!["alice".to_owned()]), "{ran:?}");
    // Our private half is gone: the tar must not be thrown away.
    let sealed = fs::read(desk.cli.home("keys/alice.key")).unwrap();
    fs::write(desk.cli.home("keys/alice.key"), &sealed[..sealed.len() / 2]).unwrap();
    refused(&desk.restore(&tar, &[]), 3, "alice.key is not usable");
    fs::write(desk.cli.home("keys/alice.key"), &sealed).unwrap();
    // Another key lies under alice's id, and is the only copy.
    let tar = export("bob");
    expect(&desk.cli, 0, &["key", "remove", "bob"]);
    let ran = desk.restore(&tar, &[]);
    assert_eq!((ran.code, names(&ran, "restored")), (0, vec!["bob".to_owned()]), "{ran:?}");
    expect(&desk.cli, 0, &["key", "show", "bob"]);
}

#[test]
fn a_key_that_cannot_be_used_is_left_out_and_said() {
    let Some(folder) = folder("notary0.3") else { return };
    let desk = Desk::new();
    let desk = Desk { cli: desk.cli.with("BULLA_PASSPHRASE", NEWER), ..desk };
    let ran = desk.restore(&desk.pack(&folder, "-czf"), &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(names(&ran, "restored"), ["root", "snapshot-tst", "targets-tst"]);
    assert!(ran.stderr.contains("is left out: ") && ran.stderr.contains("RSA"), "{}", ran.stderr);
    assert_eq!(ran.json()["left_out"].as_array().unwrap().len(), 1);
}

#[test]
fn nothing_is_written_unless_every_key_opens_and_fits() {
    let Some(folder) = folder("notary0.1") else { return };
    let desk = Desk::new();
    let file = desk.pack(&folder, "-cf");
    let wrong = Desk { cli: desk.cli.with("BULLA_PASSPHRASE_TARGETS_SAMPLEREPO", "other"), ..desk };
    refused(&wrong.restore(&file, &[]), 2, "wrong passphrase");
    assert!(!wrong.cli.home("keys").exists());
    let desk = Desk { cli: wrong.cli.without("BULLA_PASSPHRASE_TARGETS_SAMPLEREPO"), ..wrong };
    expect(&desk.cli, 0, &["key", "generate", "root"]);
    let before = fs::read(desk.cli.home("keys/root.key")).unwrap();
    refused(&desk.restore(&file, &[]), 2, "key root exists already");
    assert!(!desk.cli.home("keys/targets-samplerepo.key").exists());
    assert_eq!(desk.restore(&file, &["--as", "root=old-root"]).code, 0);
    assert_eq!(fs::read(desk.cli.home("keys/root.key")).unwrap(), before);
    expect(&desk.cli, 0, &["key", "show", "old-root"]);

    let junk = desk.cli.folder.path().join("junk.tar");
    fs::write(&junk, "hello").unwrap();
    refused(&desk.restore(&junk, &[]), 2, "neither a backup nor a tar file");
}
