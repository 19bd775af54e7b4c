//! The program from the outside, against a server in this process: the commands a person
//! types, their exit codes, and every JSON answer against its schema.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_tests::cli::{Cli, PASSPHRASE, Ran, private_file};
use bulla_tests::server::{BEGIN, TestServer};
use serde_json::Value;

const NAME: &str = "reg.example.com/team/app";

/// A report of a scanner with one finding, of unknown severity.
const SARIF: &str =
    r#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"t"}},"results":[{"ruleId":"CVE-2030-1"}]}]}"#;

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
    // The folder of the test stands for any: paths are absolute.
    let answer: Value = serde_json::from_str(&ran.stdout.replace("$DIR", "/folder")).unwrap();
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

    requests(&server, &admin).await;
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
    ask(&admin, 0, &[&add[..3], &["carol"], &add[4..]].concat()).await;
    ask(&admin, 0, &["sign", &image("v2", "two"), "--size", "3"]).await;
    let digest = Sha256Digest::of(b"two").to_oci();
    let denied = ask(&admin, 0, &["revoke", NAME, "--digest", &digest, "--reason", "leaked"]).await;
    assert_eq!((&denied["denied"], &denied["tags"][0]), (&true.into(), &"v2".into()));
    let refused = ask(&consumer, 14, &["verify", &format!("{NAME}@{digest}")]).await;
    assert_eq!(refused["revocation"]["by"][0]["roles"][0], "targets");
    assert_eq!(ask(&consumer, 0, &["inspect", NAME]).await["denied"][0]["digest"], digest);
    ask(&admin, 0, &["revoke", NAME, "--digest", &digest, "--undo"]).await;
    ask(&admin, 0, &["sign", &image("v2", "two"), "--size", "3"]).await;
    let gone = ask(&admin, 0, &["signer", "revoke", NAME, "carol", "--since", "2026-01-01"]).await;
    assert_eq!((&gone["known_from"], &gone["taken_off"][0]), (&"server-record".into(), &"v2".into()));

    ask(&admin, 0, &["key", "list", "--online"]).await;
    ask(&admin, 0, &["key", "show", "root"]).await;
    ask(&admin, 0, &["key", "list"]).await;
    let out = admin.folder.path().join("alice.pem");
    let out = out.to_str().unwrap();
    ask(&admin, 0, &["key", "export", "alice", "--format", "docker", "--role", "alice", "--out", out]).await;
    ask(&admin, 0, &["key", "import", out, "--name", "copy", "--dry-run"]).await;
    let passphrase = admin.folder.path().join("passphrase");
    private_file(&passphrase, PASSPHRASE);
    let new = ["--new-passphrase-file", passphrase.to_str().unwrap()];
    ask(&admin, 0, &[&["key", "import", out, "--name", "copy"], &new[..]].concat()).await;
    let root = admin.folder.path().join("root.pem");
    let root = root.to_str().unwrap();
    ask(&admin, 0, &["key", "export", "root", "--format", "cosign", "--out", root]).await;
    let loaded = ask(&admin, 0, &["key", "load", root, "--name", "loaded"]).await;
    assert_eq!(loaded["private_key_stored"], false);
    let file = admin.folder.path().join("keys.backup");
    let [file, phrase] = [&file, &passphrase].map(|path| path.to_str().unwrap());
    let made = ask(&admin, 0, &["key", "backup", "--out", file, "--passphrase-file", phrase]).await;
    assert_eq!(made["left_out"], serde_json::json!(["loaded"]));
    // The other root key of the second repository is somebody else's.
    let verify = ["key", "backup", "--verify", file, "--passphrase-file", phrase];
    let checked = ask(&admin, 12, &verify).await;
    assert_eq!(checked["complete"], false, "{checked:#}");
    ask(&admin, 0, &[&verify[..], &["--partial"]].concat()).await;
    ask(&admin, 0, &["key", "restore", file, "--passphrase-file", phrase]).await;
    ask(&admin, 12, &["key", "load", out, "--name", "again", NAME]).await;
    ask(&admin, 0, &["key", "remove", "loaded"]).await;
    fs::write(admin.home("keys/part.pub"), "what a killed command left").unwrap();
    ask(&admin, 0, &["key", "remove", "part"]).await;
    ask(&admin, 0, &["trust", "list"]).await;
    ask(&admin, 0, &["key", "generate", "bob"]).await;
    let out = admin.folder.path().join("bob.json");
    let out = out.to_str().unwrap();
    ask(&admin, 0, &["signer", "enrol", NAME, "bob", "--key", "bob", "--out", out]).await;
    ask(&admin, 0, &["rotate", NAME, "targets", "--dry-run"]).await;
    ask(&admin, 0, &["rotate", NAME, "targets", "timestamp"]).await;
    ask(&admin, 2, &["rotate", NAME, "nobody"]).await;
    ask(&admin, 0, &["renew", NAME]).await;
    ask(&admin, 0, &["renew", NAME, "root"]).await;
    ask(&admin, 0, &["status", NAME]).await;
    ask(&consumer, 13, &["status", NAME, "--warn", "100d"]).await;
    ask(&consumer, 13, &["renew", NAME, "--within", "100d"]).await;
    let report = admin.folder.path().join("report.json");
    fs::write(&report, SARIF).unwrap();
    let key = admin.home("keys/bob.pub");
    let key = key.to_str().unwrap();
    ask(&admin, 0, &["signer", "add", NAME, "scanner", "--key", key, "--tags", "att/**"]).await;
    let scanned = format!("{NAME}@{}", Sha256Digest::of(b"two").to_oci());
    let attest = ["attest", &scanned, report.to_str().unwrap(), "--size", "3", "--unbound"];
    ask(&admin, 0, &[&attest[..], &["--dry-run"]].concat()).await;
    let made = ask(&admin, 0, &attest).await;
    let listed = ask(&admin, 0, &["attestation", "list", &scanned]).await;
    assert_eq!(listed["attestations"][0]["envelope"], made["envelope"]);
    ask(&admin, 0, &["attestation", "show", &scanned]).await;
    ask(&admin, 21, &["attestation", "show", &scanned, "sbom"]).await;
    let gate = ["gate", "--report", report.to_str().unwrap(), "--max-high", "0"];
    ask(&admin, 20, &gate).await;
    policies(&admin).await;
    let key = admin.home("keys/alice.pub");
    let nowhere = format!("127.0.0.1:1/team/app@{}", Sha256Digest::of(b"an image").to_oci());
    ask(&admin, 31, &["verify", "--key", key.to_str().unwrap(), &nowhere]).await;
    let seen = SEEN.lock().unwrap().clone();
    let all = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let all: BTreeSet<String> =
        all.filter_map(|name| Some(name.strip_suffix(".schema.json")?.to_owned())).collect();
    let files = [
        "backup",
        "key-sidecar",
        "policy-entry",
        "policy-file",
        "policy-tests",
        "signature",
        "signing-request",
        "signing-request-export",
        "trust",
        "used-policies",
    ];
    // Needs a registry: tests/cosign_import.rs.
    let files = [&files[..], &["cosign-import"]].concat();
    let files: Vec<String> = files.into_iter().map(str::to_owned).collect();
    let unseen: Vec<_> = all.iter().filter(|name| !seen.contains(*name) && !files.contains(name)).collect();
    assert!(unseen.is_empty(), "no command answered by {unseen:?}");
    let pins: Value = toml::from_str(&fs::read_to_string(consumer.home("trust.toml")).unwrap()).unwrap();
    require_schema("trust", &pins);
}

/// A policy is read, asked, tried, imported and published.
async fn policies(admin: &Cli) {
    let top = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/policies");
    let [policy, tests] = ["company.toml", "tests"].map(|name| top.join(name).to_str().unwrap().to_owned());
    ask(admin, 0, &["policy", "check", &policy]).await;
    ask(admin, 0, &["policy", "test", &tests]).await;
    ask(admin, 20, &["verify", "bad.example.net/team/web:1", "--policy", &policy]).await;
    ask(admin, 0, &["policy", "explain", "bad.example.net/team/web:1", "--policy", &policy]).await;
    let source = admin.folder.path().join("policy.json");
    fs::write(&source, r#"{"default":[{"type":"reject"}],"transports":{"docker":{"a.b":[{"type":"insecureAcceptAnything"}]}}}"#)
        .unwrap();
    ask(admin, 0, &["policy", "import", source.to_str().unwrap()]).await;
    let published = admin.folder.path().join("published.toml");
    fs::write(&published, "policy = 1\nname = 'company'\nversion = 1\ndefault = 'deny'\n").unwrap();
    let publish = ["policy", "publish", NAME, published.to_str().unwrap()];
    let planned = ask(admin, 0, &[&publish[..], &["--dry-run"]].concat()).await;
    assert_eq!((&planned["dry_run"], &planned["before"]), (&true.into(), &Value::Null));
    ask(admin, 3, &["policy", "show", NAME]).await;
    assert_eq!(ask(admin, 0, &publish).await["version"], 1);
    assert_eq!(ask(admin, 0, &publish).await["unchanged"], true);
    assert_eq!(ask(admin, 0, &["policy", "show", NAME]).await["role"], "targets");
    let image = format!("{NAME}:v1");
    let refused = ask(admin, 3, &["verify", &image, "--policy-from", NAME, "--policy", &policy]).await;
    assert_eq!(refused["policy"]["name"], "company");
    let used: Value = toml::from_str(&fs::read_to_string(admin.home("policies.toml")).unwrap()).unwrap();
    require_schema("used-policies", &used);
}

/// Two people begin a repository, one of them by files.
async fn requests(server: &TestServer, admin: &Cli) {
    const SHARED: &str = "reg.example.com/team/shared";
    let other = cli(server);
    ask(&other, 0, &["key", "generate", "other", "--algorithm", "ecdsa-p256"]).await;
    ask(&other, 0, &["key", "export", "other", "--certificate", SHARED]).await;
    let key = other.home("keys/other.pub");
    let begin = ["init", SHARED, "--root-threshold", "2", "--root-key", "root", "--root-key"];
    let begin = [&begin[..], &[key.to_str().unwrap(), "--request", "--reason", "begin"]].concat();
    ask(admin, 0, &[&begin[..], &["--dry-run"]].concat()).await;
    let begun = ask(admin, 41, &begin).await;
    let id = begun["request"].as_str().unwrap();
    let listed = ask(admin, 0, &["request", "list", SHARED]).await;
    assert_eq!(listed["requests"][0]["id"], id);
    let shown = ask(&other, 41, &["request", "show", SHARED, id]).await;
    assert_eq!(shown["documents"][0]["changes"][0]["kind"], "key-added");
    let [file, signed] = ["request", "signed"].map(|name| other.folder.path().join(name));
    let [file, signed] = [&file, &signed].map(|path| path.to_str().unwrap());
    ask(admin, 0, &["request", "export", SHARED, id, "--out", file]).await;
    let exported: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    require_schema("signing-request", &exported["request"]);
    ask(&other, 0, &["request", "sign", "--file", file, "--out", signed, "--yes"]).await;
    require_schema("signature", &serde_json::from_slice(&fs::read(signed).unwrap()).unwrap());
    ask(admin, 2, &["request", "sign", SHARED, id, "--yes"]).await;
    ask(admin, 10, &["request", "cancel", SHARED, &"0".repeat(32), "--dry-run"]).await;
    ask(admin, 0, &["request", "submit", signed]).await;
    ask(admin, 40, &["request", "show", SHARED, id]).await;
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
