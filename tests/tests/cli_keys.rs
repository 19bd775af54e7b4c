//! `bulla key` with real files: what is written, with which permissions, and what never is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use bulla_keys_schema::key::{Passphrase, SealedKey};
use bulla_tests::cli::{Cli, PASSPHRASE, Ran};

fn cli() -> Cli {
    Cli::new(env!("CARGO_BIN_EXE_bulla-cli"))
}

fn with_passphrase() -> Cli {
    cli().with("BULLA_PASSPHRASE", PASSPHRASE)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn files(cli: &Cli) -> Vec<String> {
    let Ok(entries) = fs::read_dir(cli.home("keys")) else { return vec![] };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn refused(ran: &Ran, code: i32, words: &str) {
    assert_eq!(ran.code, code, "{}", ran.stderr);
    assert!(ran.stderr.contains(words), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
}

fn opens(cli: &Cli, name: &str, passphrase: &str) -> bool {
    let text = fs::read_to_string(cli.home(&format!("keys/{name}.key"))).unwrap();
    SealedKey::parse(&text).unwrap().open(&Passphrase::new(passphrase.to_owned())).is_ok()
}

#[test]
fn a_key_is_three_files_closed_to_others() {
    let cli = with_passphrase();
    let ran = cli.run(&["key", "generate", "alice"]);
    let shown = ran.ok();
    assert_eq!(files(&cli), ["alice.json", "alice.key", "alice.pub"]);
    assert_eq!(mode(&cli.home("keys")), 0o700);
    assert_eq!(mode(&cli.home("")), 0o700);
    assert_eq!(mode(&cli.home("keys/alice.key")), 0o600);
    assert_eq!(mode(&cli.home("keys/alice.pub")), 0o644);
    assert!(opens(&cli, "alice", PASSPHRASE));
    assert_eq!(cli.run(&["key", "show", "alice"]).ok(), shown);
    let exported = cli.run(&["key", "export", "alice"]).ok();
    assert_eq!(exported, fs::read_to_string(cli.home("keys/alice.pub")).unwrap());
    let json = cli.run(&["key", "show", "alice", "--output", "json"]).json();
    assert_eq!(json["schema"], "bulla/key/v1");
    assert_eq!(json["public_key"], exported.as_str());
    assert_eq!(json["algorithm"], "ecdsa-p256");
    cli.run(&["key", "generate", "bob", "--algorithm", "ed25519"]).ok();
    let list = cli.run(&["key", "list", "--output", "json"]).json();
    assert_eq!(list["keys"][0]["name"], "alice");
    assert_eq!(list["keys"][1]["algorithm"], "ed25519");
}

#[test]
fn a_key_is_never_overwritten() {
    let cli = with_passphrase();
    cli.run(&["key", "generate", "alice"]).ok();
    let before = fs::read(cli.home("keys/alice.key")).unwrap();
    refused(&cli.run(&["key", "generate", "alice"]), 2, "key alice exists already");
    assert_eq!(fs::read(cli.home("keys/alice.key")).unwrap(), before);
    // Nor is somebody's public key, which may be the only copy.
    fs::write(cli.home("keys/carol.pub"), "precious").unwrap();
    refused(&cli.run(&["key", "generate", "carol"]), 2, "carol.pub");
    assert_eq!(fs::read_to_string(cli.home("keys/carol.pub")).unwrap(), "precious");
    assert!(!cli.home("keys/carol.key").exists());
}

#[test]
fn two_at_once_make_one_key() {
    let cli = with_passphrase();
    let start = |_| {
        let mut command = cli.command(&["key", "generate", "alice"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let running: Vec<_> = (0..4).map(start).collect();
    let ended: Vec<_> = running.into_iter().map(|mut child| child.wait().unwrap().code().unwrap()).collect();
    assert_eq!(ended.iter().filter(|code| **code == 0).count(), 1, "{ended:?}");
    assert_eq!(files(&cli), ["alice.json", "alice.key", "alice.pub"]);
    cli.run(&["key", "show", "alice"]).ok();
}

#[test]
fn a_failed_write_leaves_nothing() {
    let cli = with_passphrase();
    fs::create_dir_all(cli.home("keys")).unwrap();
    // A folder stands where the description goes: public file written, description refused.
    fs::create_dir(cli.home("keys/alice.json")).unwrap();
    let ran = cli.run(&["key", "generate", "alice"]);
    assert_ne!(ran.code, 0);
    assert_eq!(files(&cli), ["alice.json"]);
}

#[test]
fn a_killed_program_leaves_no_half_key() {
    let cli = with_passphrase();
    for delay in [0, 20, 60, 100, 140, 180] {
        let mut child = cli.command(&["key", "generate", "alice"]).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        if cli.home("keys/alice.key").exists() {
            assert!(opens(&cli, "alice", PASSPHRASE));
        }
    }
}

#[test]
fn nobody_to_ask_is_an_error_that_names_the_variable() {
    let cli = cli();
    let ran = cli.run(&["key", "generate", "ci.key-1"]);
    refused(&ran, 2, "there is no terminal to ask on");
    assert!(ran.stderr.contains("BULLA_PASSPHRASE_CI_KEY_1"), "{}", ran.stderr);
    assert_eq!(files(&cli), [""; 0]);
    refused(&cli.with("BULLA_PASSPHRASE", "").run(&["key", "generate", "a"]), 2, "is empty");
}

#[test]
fn a_passphrase_is_changed_with_the_old_one_only() {
    let cli = cli().with("BULLA_PASSPHRASE_ALICE", PASSPHRASE);
    cli.run(&["key", "generate", "alice"]).ok();
    let new = cli.folder.path().join("new");
    fs::write(&new, "battery staple\n").unwrap();
    let args = ["key", "passwd", "alice", "--new-passphrase-file", new.to_str().unwrap()];
    refused(&cli.run(&["key", "passwd", "alice"]), 2, "needs a new passphrase");
    let cli = cli.with("BULLA_PASSPHRASE_ALICE", "wrong");
    refused(&cli.run(&args), 2, "wrong passphrase");
    assert!(opens(&cli, "alice", PASSPHRASE));
    let cli = cli.with("BULLA_PASSPHRASE_ALICE", PASSPHRASE);
    cli.run(&args).ok();
    assert!(opens(&cli, "alice", "battery staple") && !opens(&cli, "alice", PASSPHRASE));
    assert_eq!(mode(&cli.home("keys/alice.key")), 0o600);
}

#[test]
fn private_files_open_to_others_are_refused() {
    let cli = with_passphrase();
    cli.run(&["key", "generate", "alice"]).ok();
    let new = cli.folder.path().join("new");
    fs::write(&new, "x").unwrap();
    for mode in [0o640, 0o604, 0o660] {
        fs::set_permissions(cli.home("keys/alice.key"), fs::Permissions::from_mode(mode)).unwrap();
        let ran = cli.run(&["key", "passwd", "alice", "--new-passphrase-file", new.to_str().unwrap()]);
        refused(&ran, 3, "open to others");
        assert!(ran.stderr.contains("chmod 600"), "{}", ran.stderr);
    }
}

#[test]
fn swapped_public_files_are_noticed() {
    let cli = with_passphrase();
    cli.run(&["key", "generate", "alice"]).ok();
    cli.run(&["key", "generate", "mallory"]).ok();
    fs::copy(cli.home("keys/mallory.pub"), cli.home("keys/alice.pub")).unwrap();
    refused(&cli.run(&["key", "show", "alice"]), 3, "another key");
    let sidecar = fs::read_to_string(cli.home("keys/mallory.json")).unwrap().replace("mallory", "alice");
    fs::write(cli.home("keys/alice.json"), sidecar).unwrap();
    let new = cli.folder.path().join("new");
    fs::write(&new, "x").unwrap();
    let ran = cli.run(&["key", "passwd", "alice", "--new-passphrase-file", new.to_str().unwrap()]);
    refused(&ran, 3, "does not belong to its private file");
}

#[test]
fn dry_runs_change_nothing() {
    let cli = with_passphrase();
    cli.run(&["key", "generate", "alice", "--dry-run"]).ok();
    assert_eq!(files(&cli), [""; 0]);
    cli.run(&["key", "generate", "alice"]).ok();
    cli.run(&["key", "remove", "alice", "--dry-run"]).ok();
    assert_eq!(files(&cli).len(), 3);
    cli.run(&["key", "remove", "alice"]).ok();
    assert_eq!(files(&cli), [""; 0]);
    refused(&cli.run(&["key", "remove", "alice"]), 2, "no key named alice");
}

#[test]
fn pins_are_kept_and_never_replaced_by_the_way() {
    let cli = with_passphrase();
    cli.run(&["key", "generate", "root"]).ok();
    let key = cli.home("keys/root.pub");
    let key = key.to_str().unwrap();
    cli.run(&["trust", "add", "reg.example.com/team/**", "--root-key", key]).ok();
    let (one, two) = ("1".repeat(64), "2".repeat(64));
    cli.run(&["trust", "add", "reg.example.com/team/app", "--root-sha256", &one]).ok();
    let ran = cli.run(&["trust", "add", "reg.example.com/team/app", "--root-sha256", &two]);
    refused(&ran, 3, "is pinned already");
    let list = cli.run(&["trust", "list", "--output", "json"]).json();
    assert_eq!(list["schema"], "bulla/pins/v1");
    assert_eq!(list["pins"][0]["scope"], "reg.example.com/team/**");
    assert_eq!(list["pins"][0]["root_threshold"], 1);
    assert_eq!(list["pins"][1]["root_sha256"], one);
    assert_eq!(mode(&cli.home("trust.toml")), 0o600);
    cli.run(&["trust", "remove", "reg.example.com/team/app"]).ok();
    fs::write(cli.home("trust.toml"), "version = 1\npins = []\n").unwrap();
    refused(&cli.run(&["trust", "list"]), 3, "invalid pins");
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let cli = with_passphrase();
    let mut child = cli.command(&["completions", "bash"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn manual_pages_are_written() {
    let cli = cli();
    let folder = cli.folder.path().join("man");
    fs::create_dir(&folder).unwrap();
    cli.run(&["man", folder.to_str().unwrap()]).ok();
    assert!(folder.join("bulla-key-generate.1").exists());
    refused(&cli.run(&["man", "/no/such/folder"]), 2, "cannot write manual pages");
}
