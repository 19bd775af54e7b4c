//! Backups that are none, that were cut or changed, or that were made to do harm: each is refused
//! for its own reason, and nothing is written.

use std::fs;
use std::path::{Path, PathBuf};

use bulla::adapter::backup_file::{Identity, Lock, encrypt};
use bulla_keys_schema::key::{KeyAlgorithm, Passphrase, SealedKey, SecretKey};
use bulla_tests::backup_site::{refused, text};
use bulla_tests::cli::{Cli, PASSPHRASE};
use bulla_tests::programs::program;
use serde_json::{Value, json};

/// Somebody with an empty home, an identity of age, and a good document.
struct Victim {
    cli: Cli,
    identity: PathBuf,
    recipient: Identity,
}

impl Victim {
    fn new() -> Self {
        let cli = Cli::new(program("bulla").to_str().unwrap()).with("BULLA_PASSPHRASE", PASSPHRASE);
        let recipient = Identity::generate();
        let identity = cli.folder.path().join("identity");
        fs::write(&identity, recipient.to_secret().as_bytes()).unwrap();
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&identity, closed).unwrap();
        Self { cli, identity, recipient }
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.cli.folder.path().join("hostile.backup");
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Both commands that open a backup refuse this one; nothing is in the home.
    fn refuses(&self, path: &Path, code: i32, words: &str) {
        for command in
            [&["key", "restore", text(path)][..], &["key", "backup", "--verify", text(path), "--offline"]]
        {
            refused(&self.cli.run(&[command, &["--identity", text(&self.identity)]].concat()), code, words);
            assert!(!self.cli.home("keys").exists() && !self.cli.home("trust.toml").exists(), "{words}");
        }
    }

    fn refuses_document(&self, document: &Value, code: i32, words: &str) {
        self.refuses(&self.file(&self.encrypted(document)), code, words);
    }

    fn encrypted(&self, document: &Value) -> Vec<u8> {
        encrypt(document.to_string().as_bytes(), &Lock::Recipients(&[self.recipient.recipient()])).unwrap()
    }
}

fn key(name: &str, secret: u8, public: u8) -> Value {
    let make = |seed: u8| SecretKey::from_seed(KeyAlgorithm::Ed25519, &[seed; 32].into()).unwrap();
    let sealed = SealedKey::seal(&make(secret), &Passphrase::new(PASSPHRASE.to_owned()), [1; 32], [2; 24]);
    let public = make(public).public_key().clone();
    let description = json!({
        "schema_version": 1,
        "name": name,
        "fingerprint": public.fingerprint().to_string(),
        "algorithm": "ed25519",
        "created": "2026-11-01T10:20:30Z",
        "roles": [],
    });
    json!({
        "name": name,
        "private_key": sealed.to_pem(),
        "public_key": public.to_pem(),
        "description": description.to_string(),
    })
}

fn document(keys: &[Value]) -> Value {
    json!({
        "schema": "bulla/backup/v1",
        "id": "ab".repeat(16),
        "created": "2026-11-01T10:20:30Z",
        "keys": keys,
        "pins": "",
        "repositories": [],
    })
}

fn with(pointer: &str, value: Value) -> Value {
    let mut changed = document(&[key("alice", 1, 1)]);
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    changed.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(name.to_owned(), value);
    changed
}

#[test]
fn the_document_behind_all_of_these_is_good() {
    let victim = Victim::new();
    let path = victim.file(&victim.encrypted(&document(&[key("alice", 1, 1)])));
    let ran = victim.cli.run(&["key", "restore", text(&path), "--identity", text(&victim.identity)]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(victim.cli.home("keys/alice.key").exists());
}

#[test]
fn files_that_are_no_backup() {
    let victim = Victim::new();
    let good = victim.encrypted(&document(&[key("alice", 1, 1)]));
    for end in [good.len() - 1, good.len() / 2, 60, 22] {
        victim.refuses(&victim.file(&good[..end]), 15, "cut off or altered");
    }
    for at in [good.len() - 1, 40] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let code = victim
            .cli
            .run(&["key", "restore", text(&victim.file(&bad)), "--identity", text(&victim.identity)])
            .code;
        assert!(matches!(code, 2 | 15), "{code}");
        assert!(!victim.cli.home("keys").exists());
    }
    let verify = ["key", "backup", "--verify"];
    for other in [&b""[..], b"PK\x03\x04", b"-----BEGIN AGE ENCRYPTED FILE-----\n", b"{}"] {
        let path = victim.file(other);
        refused(
            &victim.cli.run(&[&verify[..], &[text(&path)]].concat()),
            2,
            "not a backup: it is no file of age",
        );
    }
    let huge = victim.cli.folder.path().join("huge.backup");
    fs::File::create(&huge).unwrap().set_len(100 * 1024 * 1024).unwrap();
    victim.refuses(&huge, 2, "is larger than");
    victim.refuses(&victim.cli.folder.path().join("absent"), 2, "cannot read");
}

#[test]
fn a_file_that_asks_for_more_work_than_there_is_memory() {
    let victim = Victim::new();
    let file = encrypt(b"{}", &Lock::Passphrase(&Passphrase::new("p".to_owned()))).unwrap();
    let at = file.windows(4).position(|bytes| bytes == b" 18\n").unwrap();
    let mut huge = file;
    huge.splice(at + 1..at + 3, *b"40");
    let path = victim.file(&huge);
    let cli = Victim::new().cli.with("BULLA_BACKUP_PASSPHRASE", "p");
    refused(&cli.run(&["key", "restore", text(&path)]), 15, "2^40 rounds of scrypt");
}

#[test]
fn documents_that_say_more_or_something_else() {
    let victim = Victim::new();
    for (pointer, value, words) in [
        ("/extra", json!(1), "unknown field `extra`"),
        ("/keys/0/path", json!("/etc/cron.d/x"), "unknown field `path`"),
        ("/keys/0/name", json!("../../.ssh/authorized_keys"), "not a key name"),
        ("/keys/0/name", json!("/etc/passwd"), "not a key name"),
        ("/keys/0/name", json!("bob"), "is that of another key"),
        ("/keys/0/public_key", key("alice", 2, 2)["public_key"].clone(), "is that of another key"),
        ("/keys/0/private_key", json!("-----BEGIN PRIVATE KEY-----\n"), "not an encrypted key file"),
        ("/id", json!("../x"), "id: "),
    ] {
        victim.refuses_document(&with(pointer, value), 15, words);
    }
    victim.refuses_document(
        &with("/schema", json!("bulla/backup/v2")),
        2,
        "this program knows bulla/backup/v1 only",
    );
    victim.refuses_document(
        &with("/pins", json!("version = 1\nallow = 'all'\n")),
        15,
        "the pins in the backup are invalid",
    );
    let twice = document(&[key("alice", 1, 1), key("alice", 2, 2)]);
    victim.refuses_document(&twice, 15, "two keys are named alice");
    let mut loaded: Value =
        serde_json::from_str(key("alice", 1, 1)["description"].as_str().unwrap()).unwrap();
    loaded["loaded"] = json!({ "file": "/etc/shadow", "until": "2099-01-01T00:00:00Z" });
    let sent_away = with("/keys/0/description", json!(loaded.to_string()));
    victim.refuses_document(&sent_away, 15, "names another place for the private key");
}

#[test]
fn a_private_key_of_another_public_key_is_found_when_it_is_opened() {
    let victim = Victim::new();
    let path = victim.file(&victim.encrypted(&document(&[key("alice", 1, 1), key("bob", 3, 4)])));
    let verify =
        ["key", "backup", "--verify", text(&path), "--offline", "--identity", text(&victim.identity)];
    let ran = victim.cli.run(&[&verify[..], &["--output", "json"]].concat());
    refused(&ran, 15, "key bob in the backup opens, and is not the key that it should be");
    let answer = ran.json();
    assert_eq!(
        (&answer["keys"][0]["state"], &answer["keys"][1]["state"]),
        (&"proven".into(), &"broken".into())
    );
    assert_eq!(answer["complete"], false);
}

#[test]
fn thousands_of_keys_do_not_cost_thousands_of_openings() {
    let victim = Victim::new();
    let mut one = key("alice", 1, 1);
    let cli = victim.cli.with("BULLA_PASSPHRASE", "wrong");
    let description = one["description"].as_str().unwrap().to_owned();
    let keys: Vec<Value> = (0..70)
        .map(|at| {
            let name = format!("key-{at:02}");
            one["description"] = json!(description.replace("alice", &name));
            one["name"] = json!(name);
            one.clone()
        })
        .collect();
    let path = cli.folder.path().join("hostile.backup");
    let recipient = Lock::Recipients(&[victim.recipient.recipient()]);
    fs::write(&path, encrypt(document(&keys).to_string().as_bytes(), &recipient).unwrap()).unwrap();
    let verify = ["key", "backup", "--verify", text(&path), "--offline", "--output", "json"];
    let ran = cli.run(&[&verify[..], &["--identity", text(&victim.identity)]].concat());
    assert!(ran.stderr.contains("6 more keys were not tried, and are not proven: 64 before them"), "{ran:?}");
    let answer = ran.json();
    let states =
        |state: &str| answer["keys"].as_array().unwrap().iter().filter(|key| key["state"] == state).count();
    assert_eq!((states("wrong-passphrase"), states("not-tried")), (64, 6));
}

#[test]
fn a_damaged_key_is_not_taken_for_one_that_is_there() {
    let victim = Victim::new();
    let path = victim.file(&victim.encrypted(&document(&[key("alice", 1, 1)])));
    let restore = ["key", "restore", text(&path), "--identity", text(&victim.identity)];
    assert_eq!(victim.cli.run(&restore).code, 0);
    assert!(victim.cli.run(&restore).stdout.contains("already there"));
    let file = victim.cli.home("keys/alice.key");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let ran = victim.cli.run(&restore);
    refused(&ran, 3, "key alice is here, but ");
    assert!(ran.stderr.contains("bulla key remove alice"), "{}", ran.stderr);
    assert_eq!(victim.cli.run(&["key", "remove", "alice"]).code, 0);
    assert_eq!(victim.cli.run(&restore).code, 0);
    assert_eq!(fs::read(&file).unwrap(), whole);
}

#[test]
fn a_named_pipe_keeps_nobody_waiting() {
    let victim = Victim::new();
    let pipe = victim.cli.folder.path().join("pipe");
    let closed = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, closed).unwrap();
    victim.refuses(&pipe, 2, "it is no file");
}

#[test]
fn pins_of_a_stranger_do_not_take_the_place_of_ours() {
    let victim = Victim::new();
    let name = "registry.example.com/team/app";
    let (ours, theirs) = ("11".repeat(32), "22".repeat(32));
    let pins = format!("version = 1\n\n[[pin]]\nscope = \"{name}\"\nroot_sha256 = \"{theirs}\"\n");
    let path = victim.file(&victim.encrypted(&with("/pins", json!(pins))));
    victim.cli.run(&["trust", "add", name, "--root-sha256", &ours]).ok();
    let identity = ["--identity", text(&victim.identity)];
    let ran = victim.cli.run(&[&["key", "restore", text(&path)], &identity[..]].concat());
    refused(&ran, 3, "is pinned to another root");
    assert!(fs::read_to_string(victim.cli.home("trust.toml")).unwrap().contains(&ours));
    assert!(!victim.cli.home("keys/alice.key").exists());
    let verify = ["key", "backup", "--verify", text(&path), "--offline", "--output", "json"];
    let ran = victim.cli.run(&[&verify[..], &identity[..]].concat());
    assert_eq!(ran.json()["other_pins"][0], name);
    assert!(ran.stderr.contains("the one here counts"), "{}", ran.stderr);
}

#[test]
fn a_narrower_pin_of_a_stranger_does_not_overrule_ours() {
    let victim = Victim::new();
    let (ours, theirs) = ("11".repeat(32), "22".repeat(32));
    victim.cli.run(&["trust", "add", "registry.example.com/team/**", "--root-sha256", &ours]).ok();
    let before = fs::read_to_string(victim.cli.home("trust.toml")).unwrap();
    let identity = ["--identity", text(&victim.identity)];
    for scope in ["registry.example.com/team/app", "registry.example.com/team/app/**"] {
        let pins = format!("version = 1\n\n[[pin]]\nscope = \"{scope}\"\nroot_sha256 = \"{theirs}\"\n");
        let path = victim.file(&victim.encrypted(&with("/pins", json!(pins))));
        let ran = victim.cli.run(&[&["key", "restore", text(&path)], &identity[..]].concat());
        refused(&ran, 3, &format!("{scope} is pinned to another root"));
        assert!(!victim.cli.home("keys/alice.key").exists());
        let verify = ["key", "backup", "--verify", text(&path), "--offline", "--output", "json"];
        let ran = victim.cli.run(&[&verify[..], &identity[..]].concat());
        assert_eq!(ran.json()["other_pins"][0], scope);
        // One that says the same is in nobody's way.
        let same = pins.replace(&theirs, &ours);
        let path = victim.file(&victim.encrypted(&with("/pins", json!(same))));
        let ran = victim.cli.run(&[&["key", "restore", text(&path), "--dry-run"], &identity[..]].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    assert_eq!(fs::read_to_string(victim.cli.home("trust.toml")).unwrap(), before);
}

#[test]
fn more_pins_than_a_home_can_have_are_refused() {
    let victim = Victim::new();
    let root = "22".repeat(32);
    let entry = |at| format!("[[pin]]\nscope = \"registry.example.com/{at}\"\nroot_sha256 = \"{root}\"\n");
    let pins = (0..50_000).map(entry).fold("version = 1\n".to_owned(), |all, one| all + &one);
    victim.refuses_document(&with("/pins", json!(pins)), 15, "larger than 4 MiB");
}

#[test]
fn a_pin_in_a_backup_does_not_say_who_gets_our_token() {
    let victim = Victim::new();
    let name = "registry.example.com/team/app";
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let server = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let root = "22".repeat(32);
    let pins = format!(
        "version = 1\n\n[[pin]]\nscope = \"{name}\"\nroot_sha256 = \"{root}\"\nserver = \"{server}\"\n"
    );
    let path = victim.file(&victim.encrypted(&with("/pins", json!(pins))));
    let identity = ["--identity", text(&victim.identity)];
    let cli = victim.cli.with("BULLA_TOKEN", "secret");
    let ran = cli.run(&[&["key", "backup", "--verify", text(&path)], &identity[..]].concat());
    // Nobody knows of what its key is: what was not seen may be that.
    refused(&ran, 3, "no trust server is configured");
    let asked = listener.accept().err().map(|error| error.kind());
    assert_eq!(asked, Some(std::io::ErrorKind::WouldBlock), "it was asked");
    // Whoever restores it sees where it would lead.
    let restore = [&["key", "restore", text(&path)], &identity[..]].concat();
    let ran = cli.run(&[&restore[..], &["--dry-run"]].concat());
    assert!(ran.stdout.contains(&server), "{}", ran.stdout);
    assert!(ran.stdout.contains(&format!("pin {name} trusts document sha256:{root} (spec)")), "{ran:?}");
    assert!(ran.stderr.contains("whoever made this one chose its pins"), "{ran:?}");
    // And afterwards, nobody is asked there.
    let ran = cli.run(&[&restore[..], &["--output", "json"]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains(&format!("was not taken from it: {server}")), "{ran:?}");
    let answer = ran.json();
    let pin = &answer["pins"][0];
    assert_eq!((&answer["pins_by_anybody"], &pin["root_sha256"]), (&true.into(), &root.clone().into()));
    assert_eq!((&pin["server"], &pin["server_not_taken"]), (&Value::Null, &server.clone().into()));
    assert!(!fs::read_to_string(cli.home("trust.toml")).unwrap().contains("server"), "{answer}");
    refused(&cli.run(&["inspect", name]), 3, "no trust server is configured");
    let asked = listener.accept().err().map(|error| error.kind());
    assert_eq!(asked, Some(std::io::ErrorKind::WouldBlock), "it was asked");
    assert_eq!(cli.run(&restore).code, 0, "a second time");
    // A server that was ours before is in nobody's way.
    cli.run(&["trust", "remove", name]).ok();
    cli.run(&["trust", "add", name, "--root-sha256", &root, "--pin-server", &server]).ok();
    let again = cli.run(&[&restore[..], &["--output", "json"]].concat());
    assert_eq!(again.json()["pins"][0]["state"], "already-there", "{again:?}");
    assert!(fs::read_to_string(cli.home("trust.toml")).unwrap().contains(&server));
}

#[test]
fn a_backup_with_a_passphrase_brings_its_servers_back() {
    let cli = Cli::new(program("bulla").to_str().unwrap()).with("BULLA_BACKUP_PASSPHRASE", "battery staple");
    let (name, server, root) =
        ("registry.example.com/team/app", "https://trust.example.com", "22".repeat(32));
    cli.run(&["trust", "add", name, "--root-sha256", &root, "--pin-server", server]).ok();
    let path = cli.folder.path().join("pins.backup");
    cli.run(&["key", "backup", "--out", text(&path)]).ok();
    fs::remove_file(cli.home("trust.toml")).unwrap();
    let ran = cli.run(&["key", "restore", text(&path), "--output", "json"]);
    let pin = &ran.json()["pins"][0];
    assert!(pin["server"].as_str().unwrap().starts_with(server), "{ran:?}");
    assert_eq!((&pin["server_not_taken"], &ran.json()["pins_by_anybody"]), (&Value::Null, &false.into()));
    assert!(!ran.stderr.contains("chose its pins"), "{ran:?}");
    assert!(fs::read_to_string(cli.home("trust.toml")).unwrap().contains(server));
}
