//! `bulla key backup` and `bulla key restore` with the real programs: a home is lost, and what was
//! signed for goes on; and a backup that grew old is found out before it is needed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bulla_tests::backup_site::{BACKUP_PASSPHRASE, NAME, Site, refused, text};
use bulla_tests::cli::private_file;
use bulla_tests::programs::expect;
use serde_json::Value;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Holds an answer against the schema that it names.
fn require_schema(answer: &Value) {
    let name =
        answer["schema"].as_str().unwrap().strip_prefix("bulla/").unwrap().strip_suffix("/v1").unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../keys-schema/schema");
    let schema = fs::read(folder.join(format!("{name}.schema.json"))).unwrap();
    let schema = jsonschema::validator_for(&serde_json::from_slice(&schema).unwrap()).unwrap();
    let errors: Vec<String> =
        schema.iter_errors(answer).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{name}: {errors:?}");
}

/// The state of a role in the answer of `--verify`.
fn state<'a>(answer: &'a Value, role: &str) -> &'a str {
    let roles = answer["repositories"][0]["roles"].as_array().unwrap();
    let found = roles.iter().find(|found| found["role"] == role);
    found.unwrap_or_else(|| panic!("{role} in {answer}"))["state"].as_str().unwrap()
}

#[test]
fn a_lost_home_is_brought_back_and_signs_again() {
    let site = Site::new();
    site.sign_and_verify(&site.admin, "v1");
    let before = fs::read(site.admin.home("keys/alice.key")).unwrap();
    let pins = fs::read_to_string(site.admin.home("trust.toml")).unwrap();
    let file = site.backup("keys.backup", &[]);
    assert_eq!(mode(&file), 0o600);
    let file = text(&file);
    expect(&site.admin, 0, &["key", "backup", "--verify", file]);

    site.lose();
    let planned = expect(&site.admin, 0, &["key", "restore", file, "--dry-run", "--output", "json"]).json();
    require_schema(&planned);
    assert_eq!((&planned["dry_run"], &planned["keys"][0]["state"]), (&true.into(), &"restored".into()));
    assert!(!site.admin.home("keys").exists(), "a dry run wrote keys");
    expect(&site.admin, 0, &["key", "restore", file]);
    assert_eq!(fs::read(site.admin.home("keys/alice.key")).unwrap(), before, "byte for byte");
    assert_eq!(fs::read_to_string(site.admin.home("trust.toml")).unwrap(), pins);
    assert_eq!(mode(&site.admin.home("keys/alice.key")), 0o600);
    assert_eq!(mode(&site.admin.home("trust.toml")), 0o600);
    let caches: Vec<_> =
        fs::read_dir(site.admin.home("cache")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [cache] = caches.as_slice() else { panic!("{caches:?}") };
    assert!(cache.join("1.root.json").exists(), "what was seen of the root is lost");
    site.sign_and_verify(&site.admin, "v2");

    let again = expect(&site.admin, 0, &["key", "restore", file, "--output", "json"]).json();
    assert!(again["keys"].as_array().unwrap().iter().all(|key| key["state"] == "already-there"), "{again}");
    assert_eq!(again["pins"][0]["state"], "already-there");
}

#[test]
fn a_backup_without_the_newest_targets_key_is_found_out() {
    let site = Site::new();
    let old = site.backup("old.backup", &[]);
    let verify = ["key", "backup", "--verify", text(&old), "--output", "json"];
    let answer = expect(&site.admin, 0, &verify).json();
    assert_eq!((&answer["complete"], state(&answer, "targets")), (&true.into(), "covered"), "{answer}");
    assert_eq!(answer["repositories"][0]["against"], "server");
    assert!(answer["keys"].as_array().unwrap().iter().all(|key| key["state"] == "proven"), "{answer}");

    expect(&site.admin, 0, &["rotate", NAME, "targets"]);
    assert_eq!(answer["keys"][2]["roles"][0]["role"], "targets", "{answer}");
    let ran = site.admin.run(&verify);
    refused(&ran, 12, &format!("does not bring back targets of {NAME}"));
    let answer = ran.json();
    require_schema(&answer);
    assert_eq!(answer["keys"][2]["roles"], serde_json::json!([]), "{answer}");
    assert_eq!((&answer["complete"], state(&answer, "targets")), (&false.into(), "lost"), "{answer}");
    assert_eq!(state(&answer, "root"), "covered");
    assert_eq!(state(&answer, "alice"), "covered");
    let roles = answer["repositories"][0]["roles"].as_array().unwrap();
    let targets = roles.iter().find(|role| role["role"] == "targets").unwrap();
    assert_eq!(targets["forgotten"], serde_json::json!(["targets-2"]), "{targets}");
    let words = site.admin.run(&["key", "backup", "--verify", text(&old)]);
    assert!(words.stdout.contains("NOT RECOVERABLE: 0 of 1 needed keys"), "{}", words.stdout);
    // A signer can still sign releases, but what this home had to say there is gone.
    assert!(
        words.stdout.contains("NOT WHOLE: 1 of 1 needed keys, but not in the backup: "),
        "{}",
        words.stdout
    );

    // On a machine that has nothing but the backup, the pins in it lead to the same.
    let elsewhere = site.elsewhere();
    let ran = elsewhere.run(&verify);
    refused(&ran, 12, "does not bring back targets");
    let stale = &ran.json()["repositories"][0]["stale"][0];
    assert_eq!((&stale["key"], &stale["role"]), (&"targets".into(), &"targets".into()), "{stale}");
    // The roots in the old backup know nothing of it, which is said.
    let ran = elsewhere.run(&[&verify[..], &["--offline"]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("the newest root in the backup only"), "{}", ran.stderr);
    assert_eq!(ran.json()["repositories"][0]["against"], "backup");
    assert_eq!(fs::read_dir(elsewhere.home("")).map(Iterator::count).unwrap_or_default(), 0);

    let new = site.backup("new.backup", &[]);
    expect(&site.admin, 0, &["key", "backup", "--verify", text(&new)]);
    site.lose();
    expect(&site.admin, 0, &["key", "restore", text(&new)]);
    site.sign_and_verify(&site.admin, "v1");
}

#[test]
fn a_legacy_repository_is_backed_up_as_well() {
    let site = Site::begun(&["--mode", "legacy"]);
    let old = site.backup("old.backup", &[]);
    let verify = ["key", "backup", "--verify", text(&old), "--output", "json"];
    let answer = expect(&site.elsewhere(), 0, &verify).json();
    assert_eq!((state(&answer, "root"), state(&answer, "releases")), ("covered", "covered"), "{answer}");
    expect(&site.admin, 0, &["rotate", NAME, "targets"]);
    refused(&site.elsewhere().run(&verify), 12, &format!("does not bring back targets of {NAME}"));
    let new = site.backup("new.backup", &[]);
    site.lose();
    expect(&site.admin, 0, &["key", "restore", text(&new)]);
    site.sign_and_verify(&site.admin, "v1");
}

#[test]
fn a_server_that_does_not_answer_is_not_taken_for_a_good_backup() {
    let site = Site::new();
    let file = site.backup("keys.backup", &[]);
    let away = site.elsewhere().with("BULLA_SERVER", "http://localhost:1");
    let ran = away.run(&["key", "backup", "--verify", text(&file), "--output", "json"]);
    refused(&ran, 31, "was not checked");
    assert_eq!(
        (&ran.json()["complete"], &ran.json()["repositories"][0]["against"]),
        (&false.into(), &"backup".into())
    );
    let ran = away.without("BULLA_SERVER").run(&["key", "backup", "--verify", text(&file)]);
    refused(&ran, 31, "no trust server is configured");
    assert!(ran.stderr.contains("--offline"), "{}", ran.stderr);
}

#[test]
fn keys_of_others_are_not_missed() {
    let site = Site::new();
    let file = site.backup("alice.backup", &["alice"]);
    // At home, the other keys are there and not in this backup.
    refused(&site.admin.run(&["key", "backup", "--verify", text(&file)]), 12, "does not bring back root");
    let elsewhere = site.elsewhere();
    let answer =
        expect(&elsewhere, 0, &["key", "backup", "--verify", text(&file), "--output", "json"]).json();
    assert_eq!((state(&answer, "alice"), state(&answer, "releases")), ("covered", "covered"));
    assert_eq!((state(&answer, "root"), state(&answer, "targets")), ("of-others", "of-others"));
}

#[test]
fn one_of_several_holders_backs_up_a_part() {
    let site = Site::new();
    expect(&site.admin, 0, &["key", "generate", "root-b"]);
    expect(&site.admin, 0, &["rotate", NAME, "root", "--add", "root-b", "--threshold", "2"]);
    let file = site.backup("part.backup", &["root"]);
    let elsewhere = site.elsewhere();
    let verify = ["key", "backup", "--verify", text(&file), "--output", "json"];
    let ran = elsewhere.run(&verify);
    refused(&ran, 12, "does not bring back root");
    assert_eq!(state(&ran.json(), "root"), "lost");
    let answer = expect(&elsewhere, 0, &[&verify[..], &["--partial"]].concat()).json();
    assert_eq!(state(&answer, "root"), "part");
}

#[test]
fn what_could_not_be_opened_is_said() {
    let site = Site::new();
    let file = site.backup("keys.backup", &[]);
    let stranger = site.elsewhere().without("BULLA_PASSPHRASE").with("BULLA_PASSPHRASE_ALICE", "wrong");
    let verify = ["key", "backup", "--verify", text(&file), "--output", "json"];
    let ran = stranger.run(&verify);
    // A passphrase that is wrong proves nothing: the key does not count.
    refused(&ran, 12, "does not bring back alice of");
    assert!(ran.stderr.contains("set BULLA_PASSPHRASE_ALICE to its passphrase"), "{}", ran.stderr);
    assert!(ran.stderr.contains("key root was not opened, and is not proven"), "{}", ran.stderr);
    let answer = ran.json();
    require_schema(&answer);
    assert_eq!((&answer["complete"], state(&answer, "alice")), (&false.into(), "lost"), "{answer}");
    // Those whose passphrase is somewhere else do.
    assert_eq!((state(&answer, "root"), state(&answer, "targets")), ("covered", "covered"), "{answer}");
    let keys = &answer["keys"];
    assert_eq!((&keys[0]["name"], &keys[0]["state"]), (&"alice".into(), &"wrong-passphrase".into()));
    assert!(keys[0]["reason"].as_str().unwrap().contains("wrong passphrase"), "{keys}");
    assert_eq!((&keys[1]["name"], &keys[1]["state"]), (&"root".into(), &"not-opened".into()));
    assert!(keys[1]["reason"].as_str().unwrap().contains("BULLA_PASSPHRASE_ROOT"), "{keys}");

    // The roots in the backup do not know of alice: then nobody saw that others make up for her.
    let offline = stranger.run(&[&verify[..], &["--offline"]].concat());
    refused(&offline, 12, "key alice did not open");
    assert_eq!(offline.json()["complete"], false);
    let right = stranger.without("BULLA_PASSPHRASE_ALICE");
    expect(&right, 0, &verify);
}

#[test]
fn nothing_is_overwritten_and_nothing_written_by_halves() {
    let site = Site::new();
    let file = site.backup("keys.backup", &[]);
    let other = site.elsewhere();
    expect(&other, 0, &["key", "generate", "targets"]);
    let mine = fs::read(other.home("keys/targets.key")).unwrap();
    let ran = other.run(&["key", "restore", text(&file)]);
    refused(&ran, 3, "nothing was restored: key targets is");
    assert!(!other.home("keys/alice.key").exists() && !other.home("trust.toml").exists());
    refused(&other.run(&["key", "restore", text(&file), "--as", "bob=bobby"]), 2, "no key named bob");
    refused(
        &other.run(&["key", "restore", text(&file), "--as", "targets=root"]),
        3,
        "two keys would be named root",
    );

    let wrong = "0".repeat(64);
    expect(&other, 0, &["trust", "add", NAME, "--root-sha256", &wrong]);
    let renamed = ["key", "restore", text(&file), "--as", "targets=team-targets"];
    refused(&other.run(&renamed), 3, &format!("{NAME} is pinned to another root"));
    assert!(!other.home("keys/alice.key").exists());
    expect(&other, 0, &[&renamed[..], &["--keys-only"]].concat());
    assert_eq!(fs::read(other.home("keys/targets.key")).unwrap(), mine);
    expect(&other, 0, &["key", "show", "team-targets"]);

    // A half of a key is in the way as well, and then no other key stays.
    let half = site.elsewhere();
    fs::create_dir_all(half.home("keys")).unwrap();
    fs::write(half.home("keys/targets.pub"), "precious").unwrap();
    refused(&half.run(&["key", "restore", text(&file)]), 2, "targets.pub");
    let left: Vec<_> =
        fs::read_dir(half.home("keys")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["targets.pub"]);
    assert!(!half.home("trust.toml").exists());
}

#[test]
fn a_backup_is_never_overwritten_and_never_open() {
    let site = Site::new();
    let file = site.backup("keys.backup", &[]);
    let before = fs::read(&file).unwrap();
    refused(&site.admin.run(&["key", "backup", "--out", text(&file)]), 2, "exists already");
    assert_eq!(fs::read(&file).unwrap(), before);
    let out = site.admin.folder.path().join("more.backup");
    let nobody = site.elsewhere().without("BULLA_BACKUP_PASSPHRASE");
    refused(&nobody.run(&["key", "backup", "--out", text(&out)]), 2, "needs a passphrase");
    refused(&nobody.run(&["key", "backup", "--verify", text(&file)]), 2, "needs a passphrase");
    let empty = site.elsewhere().with("BULLA_BACKUP_PASSPHRASE", "");
    refused(&empty.run(&["key", "backup", "--out", text(&out)]), 2, "is empty");
    let made = ["key", "backup", "--out", text(&out), "--shares", "3", "--threshold", "2", "--dry-run"];
    require_schema(&expect(&site.admin, 0, &[&made[..], &["--output", "json"]].concat()).json());
    assert!(!out.exists());
    let absent = site.admin.folder.path().join("absent/folder/b");
    refused(&site.admin.run(&["key", "backup", "--out", text(&absent)]), 2, "cannot write");
    refused(&site.admin.run(&["key", "backup", "--out", text(&out), "carol"]), 2, "no key named carol");

    let pass = site.admin.folder.path().join("pass");
    private_file(&pass, &format!("{BACKUP_PASSPHRASE}\n"));
    expect(&nobody, 0, &["key", "backup", "--verify", text(&file), "--passphrase-file", text(&pass)]);
}
