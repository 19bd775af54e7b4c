//! `bulla key list` and `bulla key show`: which roles a key signs for, and how many days are left, from
//! what this home verified before, or from the server.

use bulla_keys_schema::digest::Sha256Digest;
use bulla_tests::cli::{Cli, PASSPHRASE, Ran};
use bulla_tests::server::{BEGIN, TestServer};
use serde_json::Value;

const NAME: &str = "reg.example.com/team/app";

async fn serve() -> TestServer {
    let server = TestServer::start().await;
    // The program has the clock of the machine.
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    server.clock.advance(i64::try_from(now).unwrap() - BEGIN);
    server
}

/// The server runs in this process, so it must not be kept from working.
fn run(cli: &Cli, args: &[&str]) -> Ran {
    tokio::task::block_in_place(|| cli.run(args))
}

/// A home that began a repository with the signer alice, whom the server has seen.
fn begun(server: &TestServer, mode: &str) -> Cli {
    let cli = Cli::new(env!("CARGO_BIN_EXE_bulla-cli"))
        .with("BULLA_PASSPHRASE", PASSPHRASE)
        .with("BULLA_SERVER", &server.url(""));
    for key in ["root", "targets", "alice", "idle"] {
        run(&cli, &["key", "generate", key]).ok();
    }
    run(&cli, &["init", "--mode", mode, NAME]).ok();
    let public = cli.home("keys/alice.pub");
    run(&cli, &["signer", "add", NAME, "alice", "--key", public.to_str().unwrap()]).ok();
    let image = format!("{NAME}:v1@{}", Sha256Digest::of(b"one").to_oci());
    run(&cli, &["sign", &image, "--size", "3", "--as", "alice"]).ok();
    cli
}

/// The roles of a key as a list says them: role, state, days left.
fn roles(list: &Value, key: &str) -> Vec<(String, String, Option<i64>)> {
    let keys = list["keys"].as_array().unwrap();
    let key = keys.iter().find(|found| found["name"] == key).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let role = |held: &Value| (text(&held["role"]), text(&held["state"]), held["days_left"].as_i64());
    key["roles"].as_array().unwrap().iter().map(role).collect()
}

fn current(role: &str, roles: &[(String, String, Option<i64>)]) -> i64 {
    let found = roles.iter().find(|(name, ..)| name == role).unwrap_or_else(|| panic!("{role}: {roles:?}"));
    assert_eq!(found.1, "current", "{roles:?}");
    found.2.unwrap_or_else(|| panic!("{role}: {roles:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn days_are_counted_from_what_was_verified() {
    for mode in ["spec", "legacy"] {
        let server = serve().await;
        let cli = begun(&server, mode);
        let away = cli.with("BULLA_SERVER", "http://localhost:1");
        let listed = run(&away, &["key", "list", "--output", "json"]);
        assert_eq!(listed.stderr, "", "{mode}");
        let list = listed.json();
        let days = |key: &str, role: &str| current(role, &roles(&list, key));
        assert!(days("root", "root") > 300 && days("targets", "targets") > 80, "{list:#}");
        assert!(days("alice", "alice") > 80 && days("alice", "releases") > 0, "{list:#}");
        assert!(roles(&list, "idle").is_empty());
        let text = run(&away, &["key", "list"]).ok();
        let line = text.lines().map(str::trim).find(|line| line.starts_with("root ")).unwrap();
        assert!(line.contains(NAME) && line.ends_with("days left"), "{text}");
        let shown = run(&away, &["key", "show", "alice"]).ok();
        assert!(shown.contains(&format!("holds:       alice of {NAME}, ")), "{shown}");
        // The server is asked only where that was wanted, and its silence hides nothing else.
        let online = run(&away, &["key", "list", "--online"]);
        let text = format!("warning: roles in {NAME} are not known: ");
        assert!(online.code == 0 && !online.stderr.contains(&text), "the cache serves: {online:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_lost_its_role_says_so() {
    let server = serve().await;
    let cli = begun(&server, "spec");
    run(&cli, &["signer", "remove", NAME, "alice"]).ok();
    let list = run(&cli, &["key", "list", "--online", "--output", "json"]).json();
    let alice = roles(&list, "alice");
    assert!(!alice.is_empty() && alice.iter().all(|(_, state, _)| state == "former"), "{alice:?}");
    let shown = run(&cli, &["key", "show", "alice", "--online"]).ok();
    assert!(shown.contains(&format!("alice of {NAME} before, and no longer")), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cache_only_notes_are_left() {
    let server = serve().await;
    let cli = begun(&server, "spec");
    std::fs::remove_dir_all(cli.home("cache")).unwrap();
    let list = run(&cli, &["key", "list", "--output", "json"]).json();
    assert_eq!(roles(&list, "root"), [("root".to_owned(), "noted".to_owned(), None)]);
    let text = run(&cli, &["key", "list"]).ok();
    assert!(text.contains("not known"), "{text}");
    let list = run(&cli, &["key", "list", "--online", "--output", "json"]).json();
    assert!(current("root", &roles(&list, "root")) > 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_somebody_changed_is_not_believed() {
    let server = serve().await;
    let cli = begun(&server, "spec");
    let folder = std::fs::read_dir(cli.home("cache")).unwrap().next().unwrap().unwrap().path();
    let snapshot = folder.join("snapshot.json");
    let text = std::fs::read_to_string(&snapshot).unwrap();
    std::fs::write(&snapshot, text.replace("20", "30")).unwrap();
    let ran = run(&cli, &["key", "list", "--output", "json"]);
    assert!(ran.stderr.contains(&format!("warning: roles in {NAME} are not known: ")), "{ran:?}");
    assert_eq!(roles(&ran.json(), "root"), [("root".to_owned(), "noted".to_owned(), None)]);
}
