//! The program from the outside, against a server in this process: the commands a person
//! types, their exit codes, and every JSON answer against its schema.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_tests::cli::{Cli, PASSPHRASE, Ran};
use bulla_tests::server::{BEGIN, TestServer};
use serde_json::Value;

const NAME: &str = "reg.example.com/team/app";

/// Schemas that were answered by.
static SEEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../keys-schema/schema")
}

fn require_schema(name: &str, value: &Value) {
    let path = folder().join(format!("{name}.schema.json"));
    let schema: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let errors: Vec<String> = jsonschema::validator_for(&schema)
        .unwrap()
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{name}: {errors:?}\n{value:#}");
}

/// Runs with `--output json`, expects `code`, and an answer of the schema it names.
async fn ask(cli: &Cli, code: i32, args: &[&str]) -> Value {
    let args = [args, &["--output", "json"]].concat();
    let ran = run(cli, &args).await;
    assert_eq!(ran.code, code, "{args:?}\n{}{}", ran.stdout, ran.stderr);
    let answer = ran.json();
    let name = answer["schema"].as_str().unwrap().strip_prefix("bulla/").unwrap();
    let name = name.strip_suffix("/v1").unwrap().to_owned();
    require_schema(&name, &answer);
    SEEN.lock().unwrap().insert(name);
    answer
}

/// The server runs in this process, so it must not be kept from working.
async fn run(cli: &Cli, args: &[&str]) -> Ran {
    tokio::task::block_in_place(|| cli.run(args))
}

async fn serve() -> TestServer {
    let server = TestServer::start().await;
    // The program has the clock of the machine.
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    server.clock.advance(i64::try_from(now).unwrap() - BEGIN);
    server
}

fn cli(server: &TestServer) -> Cli {
    Cli::new(env!("CARGO_BIN_EXE_bulla-cli"))
        .with("BULLA_PASSPHRASE", PASSPHRASE)
        .with("BULLA_SERVER", &server.url(""))
}

fn image(tag: &str, content: &str) -> String {
    format!("{NAME}:{tag}@{}", Sha256Digest::of(content.as_bytes()).to_oci())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_life_of_a_repository() {
    let server = serve().await;
    let admin = cli(&server);
    ask(&admin, 2, &["init", NAME]).await;
    for key in ["root", "targets", "alice"] {
        ask(&admin, 0, &["key", "generate", key]).await;
    }
    ask(&admin, 0, &["init", NAME, "--dry-run"]).await;
    let begun = ask(&admin, 0, &["init", NAME]).await;
    ask(&admin, 3, &["init", NAME]).await;
    let one = image("v1", "one");
    ask(&admin, 0, &["sign", &one, "--size", "3", "--dry-run"]).await;
    assert_eq!(ask(&admin, 12, &["verify", &one]).await["reason"], "not-signed");
    ask(&admin, 0, &["sign", &one, "--size", "3"]).await;
    assert_eq!(ask(&admin, 0, &["verify", &one]).await["verdict"], "trusted");

    let consumer = cli(&server);
    ask(&consumer, 10, &["verify", &one]).await;
    let wrong = "0".repeat(64);
    ask(&consumer, 0, &["trust", "add", NAME, "--root-sha256", &wrong]).await;
    ask(&consumer, 15, &["verify", &one]).await;
    ask(&consumer, 0, &["trust", "remove", NAME]).await;
    ask(&consumer, 0, &["trust", "add", NAME, "--root-sha256", begun["root_sha256"].as_str().unwrap()]).await;
    let resolved = run(&consumer, &["resolve", &format!("{NAME}:v1")]).await;
    assert_eq!(resolved.ok(), format!("{}\n", one.replace(":v1@", "@")));
    let moved = ask(&consumer, 15, &["verify", &image("v1", "two")]).await;
    assert_eq!(moved["reason"], "moved");
    assert_eq!(moved["signed_digest"], Sha256Digest::of(b"one").to_oci());
    assert_eq!(moved["served_digest"], Sha256Digest::of(b"two").to_oci());
    ask(&consumer, 10, &["verify", "reg.example.com/other:1"]).await;

    let key = admin.home("keys/alice.pub");
    let add = ["signer", "add", NAME, "alice", "--key", key.to_str().unwrap()];
    let added = ask(&admin, 0, &add).await;
    assert_eq!(added["taken_over"][0], "v1");
    assert_eq!(ask(&admin, 0, &["signer", "list", NAME]).await["signers"][0]["name"], "alice");
    assert_eq!(ask(&consumer, 0, &["verify", &one]).await["signed_by"][1]["role"], "alice");
    let inspected = run(&consumer, &["inspect", NAME]).await;
    require_schema("inspect", &inspected.json());
    ask(&consumer, 0, &["inspect", &format!("{NAME}:v1")]).await;
    let pretty = run(&consumer, &["inspect", NAME, "--pretty"]).await.ok();
    assert!(pretty.contains("TAGS ALLOWED") && pretty.contains("alice"), "{pretty}");

    ask(&admin, 0, &["revoke", &format!("{NAME}:v1"), "--reason", "leaked"]).await;
    let revoked = ask(&consumer, 14, &["verify", &one]).await;
    assert!(revoked["message"].as_str().unwrap().ends_with(": leaked"), "{revoked}");
    ask(&admin, 14, &["revoke", &format!("{NAME}:v1")]).await;
    ask(&admin, 0, &["sign", &one, "--size", "3", "--as", "alice"]).await;
    ask(&consumer, 0, &["verify", &one]).await;
    let dropped = ask(&admin, 0, &["signer", "remove", NAME, "alice"]).await;
    assert_eq!(dropped["dropped"][0], "v1");

    ask(&admin, 0, &["key", "list"]).await;
    ask(&admin, 0, &["trust", "list"]).await;
    ask(&admin, 0, &["key", "generate", "bob"]).await;
    let out = admin.folder.path().join("bob.json");
    let out = out.to_str().unwrap();
    ask(&admin, 0, &["signer", "enrol", NAME, "bob", "--key", "bob", "--out", out]).await;
    let seen = SEEN.lock().unwrap().clone();
    let all = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let all: BTreeSet<String> =
        all.filter_map(|name| Some(name.strip_suffix(".schema.json")?.to_owned())).collect();
    let files = ["key-sidecar", "trust"].map(str::to_owned);
    let unseen: Vec<_> = all.iter().filter(|name| !seen.contains(*name) && !files.contains(name)).collect();
    assert!(unseen.is_empty(), "no command answered by {unseen:?}");
    let pins: Value = toml::from_str(&fs::read_to_string(consumer.home("trust.toml")).unwrap()).unwrap();
    require_schema("trust", &pins);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_and_words_are_kept_apart() {
    let server = serve().await;
    let admin = cli(&server);
    for key in ["root", "targets"] {
        let ran = run(&admin, &["key", "generate", key, "--quiet"]).await;
        assert_eq!(ran.stderr, "");
    }
    run(&admin, &["init", NAME]).await.ok();
    let ran = run(&admin, &["sign", &image("v1", "one"), "--size", "3"]).await;
    assert!(ran.stderr.contains("signed"), "{}", ran.stderr);
    assert_eq!(ran.stdout.lines().count(), 1);
    let ran = run(&admin, &["verify", &image("v1", "one")]).await;
    assert!(ran.stderr.contains("is signed by targets"), "{}", ran.stderr);
    assert_eq!(ran.ok(), format!("{}\n", image("v1", "one").replace(":v1@", "@")));
    let away = admin.with("BULLA_SERVER", "http://localhost:1");
    let ran = run(&away, &["verify", &image("v1", "one")]).await;
    assert!(
        ran.stderr.starts_with("warning: cannot reach the trust server http://localhost:1"),
        "{}",
        ran.stderr
    );
    ran.ok();
    let ran = run(&away, &["sign", &image("v2", "two"), "--size", "3"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (31, ""), "{}", ran.stderr);
    let away = away.without("BULLA_SERVER");
    assert_eq!(run(&away, &["sign", &image("v2", "two"), "--size", "3"]).await.code, 3);
    run(&away, &["verify", &image("v1", "one")]).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_file_names_the_server() {
    let server = serve().await;
    let admin = cli(&server).without("BULLA_SERVER");
    for key in ["root", "targets"] {
        run(&admin, &["key", "generate", key]).await.ok();
    }
    assert_eq!(run(&admin, &["init", NAME]).await.code, 3);
    let config = admin.home("config.toml");
    fs::write(&config, format!("server = '{}'\noutput = 'json'\n", server.url(""))).unwrap();
    require_schema("init", &run(&admin, &["init", NAME]).await.json());
    fs::write(&config, "sever = 'https://trust.example.com'\n").unwrap();
    let ran = run(&admin, &["key", "list"]).await;
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("unknown field `sever`"), "{}", ran.stderr);
}
