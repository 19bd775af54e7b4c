//! What a policy's `[trust]` may and may not bring about: it makes no home forget what it has seen by
//! another policy, gets nobody's token, and does not say where things are published.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bulla_keys_schema::author::TargetsEdit;
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::Version;
use bulla_tests::cli::Cli;
use bulla_tests::crash::copy_folder;
use bulla_tests::judged::Judged;
use bulla_tests::programs::{Bullad, expect};
use bulla_tests::simulator::support::{Doc, Files, Repo, TestKey, delegation, later, repository};
use bulla_tests::simulator::{Loopback, Program, Reply, Request};
use bytes::Bytes;
use serde_json::Value;
use tempfile::TempDir;

const SIGNED: &str = "signing = { required = true, signers = ['alice'] }\n";
const MALLORY: TestKey = TestKey::new("mallory");
const TOKEN: &str = "bulla_a-token-that-is-nobodys-business";

fn failed(verdict: &Value) -> &str {
    let checks = verdict["checks"].as_array().unwrap();
    checks.iter().find(|check| check["result"] == "fail").unwrap()["id"].as_str().unwrap()
}

/// A trust server for the same repository, whose admin is another.
struct Other {
    server: Bullad,
    admin: Cli,
    root_key: String,
    _folder: TempDir,
}

impl Other {
    /// There, too, alice signed `v1`; she has another key here.
    fn begin(judged: &Judged) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Bullad::start(folder.path());
        let admin = server.user().leaving_registries_alone();
        for key in ["root", "targets", "alice"] {
            expect(&admin, 0, &["key", "generate", key, "--algorithm", "ecdsa-p256"]);
        }
        expect(&admin, 0, &["init", &judged.name]);
        let key = admin.home("keys/alice.pub");
        let key = ["--key", key.to_str().unwrap(), "--tags", "*"];
        expect(&admin, 0, &[&["signer", "add", &judged.name, "alice"], &key[..]].concat());
        expect(&admin, 0, &["sign", &judged.image("v1"), "--as", "alice"]);
        let shown = expect(&admin, 0, &["key", "show", "root", "--output", "json"]).json();
        let root_key = format!("sha256:{}", shown["fingerprint"].as_str().unwrap());
        Self { server, admin, root_key, _folder: folder }
    }

    /// A policy that trusts this server.
    fn policy(&self, judged: &Judged) -> String {
        let text = std::fs::read_to_string(judged.policy_by(&self.root_key, SIGNED)).unwrap();
        judged.file("other.toml", &text.replace(&judged.server.url, &self.server.url))
    }
}

/// A server that starts from a copy of another one's folder: as it was, with the same keys.
struct PutBack {
    server: Bullad,
    _folder: TempDir,
}

impl PutBack {
    fn of(data: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy_folder(data, &folder.path().join("data"));
        Self { server: Bullad::start(folder.path()), _folder: folder }
    }
}

/// The data of the server that `Judged` runs.
fn data(judged: &Judged) -> PathBuf {
    judged.server.ca_cert.ancestors().nth(2).unwrap().to_owned()
}

/// `verify --policy` of `v1`, at whatever server.
fn verify(user: &Cli, code: i32, judged: &Judged, policy: &str, server: &Bullad) -> Value {
    let image = judged.image("v1");
    let asked = ["verify", &image, "--policy", policy, "--server", &server.url, "--output", "json"];
    let authority = ["--ca-cert", server.ca_cert.to_str().unwrap()];
    expect(user, code, &[&asked[..], &authority].concat()).json()
}

#[test]
fn another_policy_does_not_make_a_home_forget() {
    let judged = Judged::begin();
    let _ = judged.push("v1", "1000");
    judged.sign("v1", "alice");
    let other = Other::begin(&judged);
    let (one, two) = (judged.policy(SIGNED), other.policy(&judged));
    let wrong = judged.policy_by(&format!("sha256:{}", "1".repeat(64)), SIGNED);
    let user = judged.stranger();
    verify(&user, 0, &judged, &one, &judged.server);
    // By itself the other policy is as good; here it would have to make the home forget.
    verify(&judged.stranger(), 0, &judged, &two, &other.server);

    let earlier = PutBack::of(&data(&judged));
    expect(&judged.admin, 0, &["revoke", &judged.image("v1")]);
    // Who never saw the revocation believes what was put back: it is still valid.
    verify(&judged.stranger(), 0, &judged, &one, &earlier.server);

    assert_eq!(failed(&verify(&user, 14, &judged, &one, &judged.server)), "revoked.tag");
    let require_memory = || {
        let refused = verify(&user, 15, &judged, &one, &earlier.server);
        assert_eq!((failed(&refused), &refused["reference"]), ("meta.rollback", &Value::Null));
    };
    require_memory();
    assert_eq!(failed(&verify(&user, 10, &judged, &two, &other.server)), "trust.no_root");
    require_memory();
    assert_eq!(failed(&verify(&user, 10, &judged, &wrong, &judged.server)), "trust.no_root");
    require_memory();
    // A pin of this home is its owner's word, and goes before.
    let root = expect(&other.admin, 0, &["inspect", &judged.name]).json();
    expect(&user, 0, &["trust", "add", &judged.name, "--root-sha256", root["root_sha256"].as_str().unwrap()]);
    verify(&user, 0, &judged, &two, &other.server);
}

/// A server that notes what it is asked, and knows nothing.
struct Curious {
    seen: Arc<Mutex<Vec<Request>>>,
    loopback: Loopback,
}

impl Curious {
    fn listen() -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&seen);
        let loopback = Loopback::serve(move |request| {
            notes.lock().unwrap().push(request.clone());
            Reply::new(404, Bytes::new())
        });
        Self { seen, loopback }
    }

    /// What it was asked since the last time.
    fn seen(&self) -> Vec<Request> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    /// Who is asked has to have been asked, and has to have been shown the token everywhere, or nowhere.
    fn require(&self, case: &str, is_shown: bool) {
        let seen = self.seen();
        assert!(!seen.is_empty(), "{case}: it was not asked");
        for request in seen {
            let said = request.headers.get("authorization").map(String::as_str);
            let bearer = format!("Bearer {TOKEN}");
            assert_eq!(said, is_shown.then_some(bearer.as_str()), "{case}: {} {request:?}", request.path);
            let whole = format!("{request:?}");
            assert!(is_shown || !whole.contains(TOKEN), "{case}: {whole}");
        }
    }

    /// A policy that names it.
    fn policy(&self, judged: &Judged) -> String {
        let text = std::fs::read_to_string(judged.policy(SIGNED)).unwrap();
        judged.file("curious.toml", &text.replace(&judged.server.url, &self.loopback.url()))
    }
}

fn configure(user: &Cli, text: &str) {
    std::fs::create_dir_all(user.home("")).unwrap();
    std::fs::write(user.home("config.toml"), text).unwrap();
}

#[test]
fn who_writes_a_policy_does_not_get_the_token() {
    let judged = Judged::begin();
    let _ = judged.push("v1", "1000");
    let curious = Curious::listen();
    let (image, policy) = (judged.image("v1"), curious.policy(&judged));
    let url = curious.loopback.url();
    let user = || judged.stranger().with("BULLA_TOKEN", TOKEN);
    let ask = |user: &Cli| {
        for command in ["verify", "resolve"] {
            let ran = user.run(&[command, &image, "--policy", &policy]);
            assert_eq!(ran.code, 10, "{ran:?}");
            assert!(!ran.stderr.contains(TOKEN), "{ran:?}");
        }
    };

    ask(&user());
    curious.require("named by the policy alone", false);
    // Another server that is trusted with the token does not make this one so.
    let elsewhere = user();
    configure(&elsewhere, &format!("server = '{}'\n", judged.server.url));
    ask(&elsewhere);
    curious.require("another one is configured", false);
    let similar = user();
    configure(&similar, &format!("server = '{url}/sub'\n"));
    ask(&similar);
    curious.require("another path of it is configured", false);

    let configured = user();
    configure(&configured, &format!("server = '{url}'\n"));
    ask(&configured);
    curious.require("configured", true);
    ask(&user().with("BULLA_SERVER", &url));
    curious.require("in the environment", true);
    let pinned = user();
    let root = expect(&judged.admin, 0, &["inspect", &judged.name]).json();
    let root = root["root_sha256"].as_str().unwrap();
    expect(&pinned, 0, &["trust", "add", &judged.name, "--root-sha256", root, "--pin-server", &url]);
    let _ = curious.seen();
    ask(&pinned);
    curious.require("in the pin", true);
}

#[test]
fn nothing_is_published_where_a_policy_says() {
    let judged = Judged::begin();
    let _ = judged.push("v1", "1000");
    let curious = Curious::listen();
    let (image, policy) = (judged.image("v1"), curious.policy(&judged));
    let sign = ["sign", &image, "--as", "alice", "--no-registry-signature", "--require-policy", &policy];

    // Nobody else is named: then there is no server.
    let admin = judged.admin.home("..");
    let admin = std::fs::canonicalize(admin).unwrap().join("home");
    let nowhere = judged.stranger().with("BULLA_TOKEN", TOKEN).with("BULLA_HOME", admin.to_str().unwrap());
    let refused = nowhere.run(&sign);
    assert_ne!(refused.code, 0, "{refused:?}");
    assert!(curious.seen().is_empty(), "{refused:?}");
    expect(&judged.stranger(), 12, &["verify", &image, "--policy", &judged.policy(SIGNED)]);

    // The one that the configuration names is the one.
    configure(&judged.admin, &format!("server = '{}'\n", judged.server.url));
    expect(&nowhere, 0, &[&sign[..], &["--dry-run"]].concat());
    expect(&nowhere, 0, &sign);
    assert!(curious.seen().is_empty());
    expect(&judged.stranger(), 0, &["verify", &image, "--policy", &judged.policy(SIGNED)]);
}

/// A repository for policies: `wide` may list anything, `rules` speaks for policies. Somebody who has the key
/// of `wide` and the server delegates a role that is called `rules`, too.
fn policies(signed_by: TestKey, wide_delegates: bool, text: &Bytes) -> Files {
    let mut repo = Repo::bare();
    repo.delegate("targets", &delegation("wide", &[MALLORY], &["*/*"]));
    repo.delegate("targets", &delegation("rules", &[Repo::ALICE], &["policy/*"]));
    repo.add("wide", &[], &[MALLORY]);
    if wide_delegates {
        repo.delegate("wide", &delegation("rules", &[MALLORY], &["policy/*"]));
    }
    let role = "rules".parse().unwrap();
    let mut edit = TargetsEdit::new(Dialect::Tuf1, role, Version::FIRST, later());
    let length = u64::try_from(text.len()).unwrap();
    edit.set_target(&"policy/default.toml".parse().unwrap(), Sha256Digest::of(text), length);
    let document = edit.for_repository(Some(repository())).finish();
    repo.delegated.insert("rules".to_owned(), Doc::new(&document, &[signed_by]));
    repo.files()
}

/// Serves them with the text, and shows the policy to somebody who has pinned the root.
fn show(code: i32, signed_by: TestKey, wide_delegates: bool) {
    let key = "1".repeat(64);
    let text = Bytes::from(format!(
        "policy = 1\nname = 'company'\nversion = 1\n[trust.'registry.example.com/**']\nroot_keys = ['sha256:{key}']\n\
         root_threshold = 1\n[[rule]]\nname = 'all'\nmatch = ['registry.example.com/**']\n{SIGNED}"
    ));
    let files = policies(signed_by, wide_delegates, &text);
    let root = Sha256Digest::of(&files["1.root.json"]).to_string();
    let given = text.clone();
    let server = Loopback::serve(move |request| {
        let (_, file) = request.path.rsplit_once('/').unwrap();
        let found = files.get(file).filter(|_| request.path.contains("/metadata/"));
        let found = found.or_else(|| file.ends_with(".default.toml").then_some(&given));
        found.map_or_else(|| Reply::new(404, Bytes::new()), |bytes| Reply::new(200, bytes.clone()))
    });
    let user = Program::new(&server.url());
    let name = repository().to_string();
    let pinned = user.run(&["trust", "add", &name, "--root-sha256", &root]);
    assert_eq!(pinned.code, 0, "{pinned:?}");
    let shown = user.run(&["policy", "show", &name]);
    assert_eq!(shown.code, code, "{shown:?}");
    assert_eq!(shown.stdout.as_bytes() == text, code == 0, "{shown:?}");
    let judged = user.run(&["verify", &format!("{name}:v1"), "--policy-from", &name, "--output", "json"]);
    // The policy itself trusts a root that is not this one.
    let why = if code == 0 { "trust.no_root" } else { "meta.threshold" };
    assert_eq!(failed(&judged.json()), why, "{judged:?}");
    assert_eq!(user.home("policies.toml").exists(), code == 0, "what is refused is not noted");
}

#[test]
fn a_role_of_the_same_name_says_nothing_about_policies() {
    // The admin's own role does, and is found behind the other.
    show(0, Repo::ALICE, false);
    // Its name alone does not make a document its own.
    show(12, MALLORY, true);
}

#[test]
fn what_was_seen_outlives_a_change_of_pins() {
    let judged = Judged::begin();
    let _ = judged.push("v1", "1000");
    judged.sign("v1", "alice");
    let policy = judged.policy(SIGNED);
    let text = std::fs::read_to_string(&policy).unwrap();
    let one_more = format!("root_keys = ['sha256:{}', ", "1".repeat(64));
    let next = judged.file("next.toml", &text.replace("root_keys = [", &one_more));
    let root = expect(&judged.admin, 0, &["inspect", &judged.name]).json();
    let root = root["root_sha256"].as_str().unwrap();
    let pin = ["trust", "add", &judged.name, "--root-sha256", root];
    let (by_policy, then_pinned, pinned) = (judged.stranger(), judged.stranger(), judged.stranger());
    expect(&pinned, 0, &pin);
    let earlier = PutBack::of(&data(&judged));
    expect(&judged.admin, 0, &["revoke", &judged.image("v1")]);
    for user in [&by_policy, &then_pinned, &pinned] {
        verify(user, 14, &judged, &policy, &judged.server);
    }
    expect(&then_pinned, 0, &pin);
    expect(&pinned, 0, &["trust", "remove", &judged.name]);
    let cases = [
        ("the policy names one more root key", &by_policy, &next),
        ("the home has a pin of its own now", &then_pinned, &policy),
        ("the home has no pin any more", &pinned, &policy),
    ];
    let (image, server) = (judged.image("v1"), &earlier.server);
    for (case, user, policy) in cases {
        let asked = ["verify", &image, "--policy", policy, "--server", &server.url];
        let ran = user.run(&[&asked[..], &["--ca-cert", server.ca_cert.to_str().unwrap()]].concat());
        assert_eq!(ran.code, 15, "{case}: {ran:?}");
    }
}
