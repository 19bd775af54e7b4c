//! Uploads to a real `bullad` by somebody who has a token and bad intentions, or bad luck: each
//! broken rule is named, nothing of it is stored, and the repository stays readable.

use std::process::Command;
use std::time::Duration;

use bulla::adapter::system_clock::SystemClock;
use bulla::port::Clock as _;
use bulla_keys_schema::dialect::tuf1::{key_id, key_object};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::json::Json;
use bulla_keys_schema::key::PublicKey;
use bulla_keys_schema::limits;
use bulla_keys_schema::wire::{Head, IDEMPOTENCY_KEY, OnlineKey, OnlineKeys, Problem, ProblemCode, Receipt};
use bulla_tests::cli::Cli;
use bulla_tests::programs::{Bullad, expect, program};
use bulla_tests::simulator::BOB;
use bulla_tests::simulator::support::{Doc, Repo, TestKey, delegation};
use reqwest::multipart::{Form, Part};
use reqwest::{Certificate, Client, Method, RequestBuilder, Response};
use tempfile::TempDir;

const NAME: &str = "registry.example.com/team/app";
const MALLORY: TestKey = TestKey::new("mallory");

/// A guarded server, and what its clients need.
struct World {
    folder: TempDir,
    server: Bullad,
    client: Client,
}

/// One part: its name, its file name, its bytes.
type PartOf = (&'static str, Option<String>, Vec<u8>);

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Bullad::start_guarded(folder.path());
        let authority = Certificate::from_pem(&std::fs::read(&server.ca_cert).unwrap()).unwrap();
        let client = Client::builder().no_proxy().tls_certs_only([authority]).build().unwrap();
        Self { folder, server, client }
    }

    fn token(&self, name: &str, can: &str, scope: &str) -> String {
        let made = Command::new(program("bullad"))
            .args(["token", "create", name, "--can", can, "--scope", scope, "--expires", "1d", "--data"])
            .arg(self.folder.path().join("data"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        // A running server looks for new tokens once a second.
        std::thread::sleep(Duration::from_millis(1200));
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    }

    fn request(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.server.url)).bearer_auth(token)
    }

    async fn online_keys(&self, token: &str, repository: &str) -> OnlineKeys {
        let path = format!("/api/v1/repositories/{repository}/online-keys");
        self.request(token, Method::POST, &path).send().await.unwrap().json().await.unwrap()
    }

    async fn head(&self, token: &str, repository: &str) -> Head {
        let path = format!("/api/v1/repositories/{repository}/head");
        self.request(token, Method::GET, &path).send().await.unwrap().json().await.unwrap()
    }

    async fn publish(
        &self,
        token: &str,
        repository: &str,
        (expected, id): (Option<&str>, &str),
        parts: Vec<PartOf>,
    ) -> Response {
        let mut form = Form::new();
        for (name, file, bytes) in parts {
            let part = Part::bytes(bytes);
            form = match file {
                Some(file) => form.part(name, part.file_name(file)),
                None => form.part(name, part),
            };
        }
        let request =
            self.request(token, Method::POST, &format!("/api/v1/repositories/{repository}/publish"));
        let request = match expected {
            Some(token) => request.header("if-match", format!("\"{token}\"")),
            None => request.header("if-none-match", "*"),
        };
        let id = hex::encode(&Sha256Digest::of(id.as_bytes()).as_bytes()[..16]);
        request.header(IDEMPOTENCY_KEY, id).multipart(form).send().await.unwrap()
    }

    /// Makes `repository`, whose roots list the keys that the server made for it.
    async fn create(&self, token: &str, repository: &str) -> (Repo, String) {
        let mut repo = listing(&self.online_keys(token, repository).await);
        repo.made_for(repository);
        let response = self.publish(token, repository, (None, repository), all(&repo)).await;
        (repo, accepted(response).await.token)
    }

    /// Somebody who may read everything and has pinned `repo`.
    fn reader(&self, repository: &str, repo: &Repo) -> Cli {
        let reader = self.server.user().with("BULLA_TOKEN", &self.token("reader", "read", "**"));
        let root = Sha256Digest::of(&repo.roots[0].bytes()).to_string();
        expect(&reader, 0, &["trust", "add", repository, "--root-sha256", &root]);
        reader
    }
}

/// A repository of which the server signs snapshot and timestamp.
fn listing(online: &OnlineKeys) -> Repo {
    let mut repo = Repo::released();
    repo.expire_at(SystemClock.now().plus_seconds(30 * 24 * 3600));
    trust_online(&mut repo.roots[0], &online.snapshot, &online.timestamp);
    repo
}

fn trust_online(root: &mut Doc, snapshot: &OnlineKey, timestamp: &OnlineKey) {
    for (role, key) in [("roles/snapshot", snapshot), ("roles/timestamp", timestamp)] {
        let key = PublicKey::from_pem(&key.public_key).unwrap();
        root.trust(role, &[], 1).trust_as(role, key_id(&key).as_str(), key_object(&key));
    }
}

fn part(role: &str, doc: &Doc) -> PartOf {
    ("metadata", Some(format!("{}.{role}.json", doc.version())), doc.bytes().to_vec())
}

fn all(repo: &Repo) -> Vec<PartOf> {
    let mut parts = vec![part("root", &repo.roots[0]), part("targets", &repo.targets)];
    parts.extend(repo.delegated.iter().map(|(name, doc)| part(name, doc)));
    parts
}

/// The parts of these roles.
fn some(repo: &Repo, roles: &[&str]) -> Vec<PartOf> {
    let doc = |role: &str| match role {
        "root" => part(role, repo.roots.last().unwrap()),
        "targets" => part(role, &repo.targets),
        _ => part(role, &repo.delegated[role]),
    };
    roles.iter().map(|role| doc(role)).collect()
}

async fn accepted(response: Response) -> Receipt {
    let status = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

async fn problem(response: Response) -> Problem {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let problem: Problem = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: {text}"));
    assert_eq!(problem.status, status);
    problem
}

/// An upload that breaks one rule.
struct Breach {
    name: &'static str,
    make: fn(&mut Repo, &OnlineKeys) -> Vec<PartOf>,
    rule: &'static str,
    role: Option<&'static str>,
}

const BREACHES: &[Breach] = &[
    Breach {
        name: "nothing",
        make: |_, _| vec![("target", Some("x".into()), vec![])],
        rule: "empty",
        role: None,
    },
    Breach {
        name: "the same key under two ids",
        make: |repo, _| {
            let alice = "delegations/roles/1";
            repo.targets.bump().trust_as(alice, &"b".repeat(64), Repo::ALICE.object());
            some(repo, &["targets"])
        },
        rule: "duplicate-key",
        role: Some("alice"),
    },
    Breach {
        name: "a signer whose document is expired already",
        make: |repo, _| {
            repo.alice().bump().set("expires", "2020-01-01T00:00:00Z");
            some(repo, &["alice"])
        },
        rule: "expired",
        role: Some("alice"),
    },
    Breach {
        name: "no document for releases",
        make: |repo, _| {
            repo.targets.bump().set("delegations/roles/0/name", "releases2");
            repo.delegate("targets", &delegation("releases", &[Repo::ALICE], &["*"]));
            some(repo, &["targets"])
        },
        rule: "profile",
        role: Some("targets"),
    },
    Breach {
        name: "a role that nobody delegates to",
        make: |repo, _| {
            repo.add("mallory", &[], &[MALLORY]);
            repo.targets_doc("mallory").set("expires", "2099-01-01T00:00:00Z");
            some(repo, &["mallory"])
        },
        rule: "not-delegated",
        role: Some("mallory"),
    },
    Breach {
        name: "a root with other online keys",
        make: |repo, _| {
            repo.next_root().trust("roles/timestamp", &[MALLORY], 1);
            some(repo, &["root"])
        },
        rule: "online-keys",
        role: Some("timestamp"),
    },
    Breach {
        name: "a root that lets the server sign targets",
        make: |repo, online| {
            let key = PublicKey::from_pem(&online.snapshot.public_key).unwrap();
            repo.next_root().trust_as("roles/targets", key_id(&key).as_str(), key_object(&key));
            some(repo, &["root"])
        },
        rule: "online-key-offline",
        role: Some("targets"),
    },
    Breach {
        name: "a signer whose key the server holds",
        make: |repo, online| {
            let key = PublicKey::from_pem(&online.timestamp.public_key).unwrap();
            let alice = "delegations/roles/1";
            repo.targets.bump().trust_as(alice, key_id(&key).as_str(), key_object(&key));
            some(repo, &["targets"])
        },
        rule: "online-key-offline",
        role: Some("alice"),
    },
    Breach {
        name: "a threshold that nobody can meet",
        make: |repo, _| {
            repo.targets.bump().set_number("delegations/roles/1/threshold", 5);
            some(repo, &["targets"])
        },
        rule: "profile",
        role: Some("alice"),
    },
    Breach {
        name: "a root without versioned names",
        make: |repo, _| {
            repo.next_root().set("consistent_snapshot", Json::Bool(false));
            some(repo, &["root"])
        },
        rule: "profile",
        role: Some("root"),
    },
    Breach {
        name: "a name that climbs out",
        make: |repo, _| {
            let entry = repo.alice().get("targets/v1").unwrap().clone();
            let Some(Json::Object(mut listed)) = repo.alice().get("targets").cloned() else { panic!() };
            listed.insert("../../etc/passwd".into(), entry);
            repo.alice().bump().set("targets", Json::Object(listed));
            some(repo, &["alice"])
        },
        rule: "profile",
        role: Some("alice"),
    },
    Breach {
        name: "listed and revoked at once",
        make: |repo, _| {
            repo.revoke("alice", "v1", Repo::MANIFEST).list("alice", "v1", Repo::MANIFEST);
            repo.alice().set_number("version", 2);
            some(repo, &["alice"])
        },
        rule: "revoked-target",
        role: Some("alice"),
    },
    Breach {
        name: "one tag, two digests",
        make: |repo, _| {
            repo.list("targets", "v1", b"other");
            some(repo, &["targets"])
        },
        rule: "split-target",
        role: Some("alice"),
    },
    Breach {
        name: "a target that nobody lists",
        make: |repo, _| {
            repo.list("alice", "v2", b"2").list("releases", "v2", b"2");
            let mut parts = some(repo, &["alice", "releases"]);
            parts.push(("target", Some("x".into()), b"other".to_vec()));
            parts
        },
        rule: "unlisted-file",
        role: None,
    },
    Breach {
        name: "released without a signer",
        make: |repo, _| {
            repo.list("releases", "v2", b"2");
            some(repo, &["releases"])
        },
        rule: "unvouched",
        role: None,
    },
    Breach {
        name: "released by a signer outside its patterns",
        make: |repo, _| {
            repo.list("bob", "v2", b"2").list("releases", "v2", b"2");
            some(repo, &["bob", "releases"])
        },
        rule: "unvouched",
        role: None,
    },
    Breach {
        name: "a signer's word by another signer",
        make: |repo, _| {
            repo.list("alice", "v2", b"2").alice().signed_by(&[BOB]);
            some(repo, &["alice"])
        },
        rule: "signature",
        role: Some("alice"),
    },
    Breach {
        name: "a signer's document as releases",
        make: |repo, _| {
            let alice = repo.alice().bump().clone();
            vec![part("releases", &alice)]
        },
        rule: "signature",
        role: Some("releases"),
    },
    Breach {
        name: "bytes that are no metadata",
        make: |_, _| vec![("metadata", Some("2.alice.json".into()), b"hello".to_vec())],
        rule: "signature",
        role: Some("alice"),
    },
    Breach {
        name: "a member beside what is signed",
        make: |repo, _| {
            repo.alice().bump().rewrite("\"signatures\"", "\"x\":0,\"signatures\"");
            some(repo, &["alice"])
        },
        rule: "signature",
        role: Some("alice"),
    },
    Breach {
        name: "a root that the old keys did not sign",
        make: |repo, _| {
            repo.next_root().trust("roles/root", &[MALLORY], 1).signed_by(&[MALLORY]);
            some(repo, &["root"])
        },
        rule: "signature",
        role: Some("root"),
    },
    Breach {
        name: "a version that bricks the counter",
        make: |repo, _| {
            repo.alice().set_number("version", (1 << 31) - 1);
            some(repo, &["alice"])
        },
        rule: "version",
        role: Some("alice"),
    },
    Breach {
        name: "the version that is there, with other bytes",
        make: |repo, _| {
            repo.alice().set("x-comment", "other");
            some(repo, &["alice"])
        },
        rule: "version",
        role: Some("alice"),
    },
    Breach {
        name: "a root that skips a version",
        make: |repo, _| {
            repo.next_root().bump();
            some(repo, &["root"])
        },
        rule: "version",
        role: Some("root"),
    },
    Breach {
        name: "a timestamp",
        make: |repo, _| vec![part("timestamp", &repo.timestamp)],
        rule: "online-role",
        role: Some("timestamp"),
    },
    Breach {
        name: "one role twice",
        make: |repo, _| {
            repo.alice().bump();
            some(repo, &["alice", "alice"])
        },
        rule: "twice",
        role: Some("alice"),
    },
    Breach {
        name: "a file name that lies",
        make: |repo, _| {
            let bytes = repo.alice().bump().bytes().to_vec();
            vec![("metadata", Some("3.alice.json".into()), bytes)]
        },
        rule: "file-name",
        role: Some("alice"),
    },
    Breach {
        name: "more delegations than one search visits",
        make: |repo, _| {
            repo.targets.bump();
            for number in 0..40 {
                let name = format!("signer-{number}");
                repo.delegate("targets", &delegation(&name, &[MALLORY.nth(number)], &["x*"]));
                repo.add(&name, &[], &[MALLORY.nth(number)]);
            }
            repo.delegated.iter_mut().filter(|(name, _)| name.starts_with("signer-")).for_each(|(_, doc)| {
                doc.set("expires", "2099-01-01T00:00:00Z");
            });
            let names: Vec<String> = (0..40).map(|number| format!("signer-{number}")).collect();
            let roles: Vec<&str> = ["targets"].into_iter().chain(names.iter().map(String::as_str)).collect();
            some(repo, &roles)
        },
        rule: "too-large",
        role: Some("targets"),
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn every_broken_rule_is_named_and_nothing_is_stored() {
    let world = World::new();
    let token = world.token("publisher", "publish", "registry.example.com/**");
    let (repo, head) = world.create(&token, NAME).await;
    let online = world.online_keys(&token, NAME).await;
    let reader = world.reader(NAME, &repo);
    let image = format!("{NAME}:v1@{}", Sha256Digest::of(Repo::MANIFEST).to_oci());
    for breach in BREACHES {
        let parts = (breach.make)(&mut repo.clone(), &online);
        let response = world.publish(&token, NAME, (Some(&head), breach.name), parts).await;
        let found = problem(response).await;
        assert_eq!((found.code, found.status), (ProblemCode::Rejected, 422), "{}: {found:?}", breach.name);
        let rejection = found.rejection.unwrap_or_else(|| panic!("{}: no rule", breach.name));
        assert_eq!(
            (&*rejection.rule, rejection.role.as_deref()),
            (breach.rule, breach.role),
            "{}: {}",
            breach.name,
            found.detail
        );
        assert_eq!(world.head(&token, NAME).await.token, head, "{}", breach.name);
        expect(&reader, 0, &["verify", &image]);
    }
    let mut good = repo.clone();
    good.sign("v2", b"2");
    let parts = some(&good, &["alice", "releases"]);
    accepted(world.publish(&token, NAME, (Some(&head), "good"), parts).await).await;
    expect(&reader, 0, &["verify", &format!("{NAME}:v2@{}", Sha256Digest::of(b"2").to_oci())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_bounded_and_have_known_names() {
    let world = World::new();
    let token = world.token("publisher", "publish", "registry.example.com/**");
    let (mut repo, head) = world.create(&token, NAME).await;
    let reader = world.reader(NAME, &repo);
    let image = format!("{NAME}:v1@{}", Sha256Digest::of(Repo::MANIFEST).to_oci());
    let alice = repo.alice().bump().bytes().to_vec();
    let named = |file: &str| vec![("metadata", Some(file.to_owned()), alice.clone())];
    let spaces = |size: usize| vec![b' '; size];
    for (what, parts, code) in [
        ("a path", named("../2.alice.json"), ProblemCode::BadRequest),
        ("an encoded path", named("2.%2e%2e%2falice.json"), ProblemCode::Rejected),
        ("no version", named("alice.json"), ProblemCode::BadRequest),
        ("version 0", named("0.alice.json"), ProblemCode::BadRequest),
        ("a huge version", named("99999999999999999999.alice.json"), ProblemCode::BadRequest),
        ("no file name", vec![("metadata", None, alice.clone())], ProblemCode::BadRequest),
        (
            "an unknown part",
            vec![("snapshot", Some("2.alice.json".into()), alice.clone())],
            ProblemCode::BadRequest,
        ),
        (
            "a large timestamp",
            vec![("metadata", Some("2.timestamp.json".into()), spaces(limits::TIMESTAMP_BYTES + 1))],
            ProblemCode::TooLarge,
        ),
        (
            "a large role",
            vec![("metadata", Some("2.alice.json".into()), spaces(limits::TARGETS_BYTES + 1))],
            ProblemCode::TooLarge,
        ),
        (
            "a large target",
            vec![("target", Some("x".into()), spaces(limits::TARGET_FILE_BYTES + 1))],
            ProblemCode::TooLarge,
        ),
    ] {
        let found = problem(world.publish(&token, NAME, (Some(&head), what), parts).await).await;
        assert_eq!(found.code, code, "{what}: {found:?}");
        assert_eq!(world.head(&token, NAME).await.token, head, "{what}");
    }
    expect(&reader, 0, &["verify", &image]);
}

#[tokio::test(flavor = "multi_thread")]
async fn publishers_of_two_roles_both_succeed() {
    let world = World::new();
    let token = world.token("publisher", "publish", "registry.example.com/**");
    let (repo, head) = world.create(&token, NAME).await;
    let (mut alice, mut bob) = (repo.clone(), repo.clone());
    alice.list("alice", "v2", b"2");
    bob.list("bob", "nightly-1", b"n");
    let (one, other) = tokio::join!(
        world.publish(&token, NAME, (Some(&head), "one"), some(&alice, &["alice"])),
        world.publish(&token, NAME, (Some(&head), "other"), some(&bob, &["bob"])),
    );
    let statuses = [one.status().as_u16(), other.status().as_u16()];
    assert!(statuses.contains(&200) && statuses.contains(&412), "{statuses:?}");
    let (loser, id, role, doc) = match one.status().as_u16() {
        412 => (one, "one", "alice", &alice),
        _ => (other, "other", "bob", &bob),
    };
    let current = problem(loser).await.current_token.unwrap();
    accepted(world.publish(&token, NAME, (Some(&current), id), some(doc, &[role])).await).await;
    let head = world.head(&token, NAME).await;
    for role in ["alice", "bob"] {
        assert_eq!(head.current[&role.parse().unwrap()].version.get(), 2, "{role}");
    }
    // The tag is signed and not released: releases is one document, and both may write it.
    alice.list("releases", "v2", b"2");
    bob.list("releases", "nightly-1", b"n");
    let token_now = head.token;
    accepted(world.publish(&token, NAME, (Some(&token_now), "three"), some(&alice, &["releases"])).await)
        .await;
    let late = world.publish(&token, NAME, (Some(&token_now), "four"), some(&bob, &["releases"])).await;
    assert_eq!(problem(late).await.code, ProblemCode::ConcurrentChange, "no update is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_is_done_once_and_is_nothing_else_afterwards() {
    let world = World::new();
    let token = world.token("publisher", "publish", "registry.example.com/**");
    let other_token = world.token("other", "publish", "registry.example.com/**");
    let (mut repo, head) = world.create(&token, NAME).await;
    repo.list("alice", "v2", b"2");
    let parts = || some(&repo, &["alice"]);
    let first = accepted(world.publish(&token, NAME, (Some(&head), "once"), parts()).await).await;
    let again = accepted(world.publish(&token, NAME, (Some(&head), "once"), parts()).await).await;
    assert!(!first.replayed && again.replayed);
    assert_eq!((first.token.clone(), first.position), (again.token, again.position));
    // The id says what was done: other bytes or another repository are not it.
    let mut different = repo.clone();
    different.list("alice", "v3", b"3");
    let reused =
        world.publish(&token, NAME, (Some(&first.token), "once"), some(&different, &["alice"])).await;
    assert_eq!(problem(reused).await.rejection.map(|found| found.rule), Some("immutable".to_owned()));
    assert_eq!(world.head(&token, NAME).await.current[&"alice".parse().unwrap()].version.get(), 2);
    const SECOND: &str = "registry.example.com/team/second";
    let (mut second, second_head) = world.create(&other_token, SECOND).await;
    second.list("alice", "v2", b"2");
    let parts = some(&second, &["alice"]);
    let foreign =
        problem(world.publish(&other_token, SECOND, (Some(&second_head), "once"), parts).await).await;
    assert_eq!(foreign.rejection.as_ref().map(|found| &*found.rule), Some("immutable"), "{foreign:?}");
    assert!(!foreign.detail.contains(NAME), "whose id it was is not told: {foreign:?}");
    // A head token of another repository is no head token of this one.
    let mut next = repo.clone();
    next.list("alice", "v4", b"4");
    let crossed = world.publish(&token, NAME, (Some(&second_head), "crossed"), some(&next, &["alice"])).await;
    assert_eq!(problem(crossed).await.code, ProblemCode::ConcurrentChange);
}

#[tokio::test(flavor = "multi_thread")]
async fn repositories_do_not_see_each_other() {
    const OTHER: &str = "registry.example.com/secret/app";
    let world = World::new();
    let team = world.token("team", "publish", "registry.example.com/team/**");
    let secret = world.token("secret", "publish", "registry.example.com/secret/**");
    let (mut repo, head) = world.create(&team, NAME).await;
    let (mut hidden, hidden_head) = world.create(&secret, OTHER).await;
    hidden.list("alice", "v2", b"secret manifest").list("releases", "v2", b"secret manifest");
    let mut parts = some(&hidden, &["alice", "releases"]);
    parts.push(("target", Some("x".into()), b"secret manifest".to_vec()));
    accepted(world.publish(&secret, OTHER, (Some(&hidden_head), "hidden"), parts).await).await;
    let digest = Sha256Digest::of(b"secret manifest");
    let get = async |token: &str, path: String| {
        let answer = world.request(token, Method::GET, &path).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(get(&secret, format!("/tuf/{OTHER}/targets/{digest}.v2")).await.0, 200);
    assert_eq!(
        get(&team, format!("/tuf/{NAME}/targets/{digest}.v2")).await.0,
        404,
        "by digest, under another name"
    );
    // What is forbidden answers word for word like what is not there, but for the names.
    let absent = "registry.example.com/nowhere/a";
    for path in [
        "/tuf/{}/metadata/timestamp.json",
        "/tuf/{}/metadata/1.root.json",
        "/api/v1/repositories/{}/head",
        "/api/v1/repositories/{}/online-keys",
    ] {
        let plain = |text: String, name: &str| {
            let text = text.replace(name, "NAME");
            let request = text.find("request_id").map_or(text.len(), |at| at);
            text[..request].to_owned()
        };
        let (hidden_status, hidden_text) = get(&team, path.replace("{}", OTHER)).await;
        let (absent_status, absent_text) = get(&team, path.replace("{}", absent)).await;
        assert_eq!((hidden_status, absent_status), (404, 404), "{path}");
        assert_eq!(plain(hidden_text, OTHER), plain(absent_text, absent), "{path}");
    }
    let list = get(&team, "/api/v1/repositories".to_owned()).await.1;
    let changes = get(&team, "/api/v1/changes".to_owned()).await.1;
    assert!(list.contains(NAME) && !list.contains(OTHER) && !changes.contains(OTHER), "{list} {changes}");
    // Publishing is refused alike, wherever it would have led.
    repo.list("alice", "v2", b"2");
    for (name, expected) in [(OTHER, Some(&*hidden_head)), (OTHER, None), (absent, None)] {
        let found =
            problem(world.publish(&team, name, (expected, name), some(&repo, &["alice"])).await).await;
        assert_eq!(found.code, ProblemCode::NotFound, "{name}");
    }
    let reader = world.token("reader", "read", "registry.example.com/team/**");
    let found =
        problem(world.publish(&reader, NAME, (Some(&head), "read only"), some(&repo, &["alice"])).await)
            .await;
    assert_eq!(found.code, ProblemCode::Forbidden);
    let found = problem(
        world.publish("bulla_nonsense", NAME, (Some(&head), "nobody"), some(&repo, &["alice"])).await,
    )
    .await;
    assert_eq!(found.code, ProblemCode::Unauthenticated);
    accepted(world.publish(&team, NAME, (Some(&head), "team"), some(&repo, &["alice"])).await).await;
}

/// A root made for one repository is no root of another, nor are its documents.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_signed_for_one_repository_cannot_be_uploaded_to_another() {
    const OTHER: &str = "registry.example.com/team/other";
    let world = World::new();
    let token = world.token("publisher", "publish", "registry.example.com/**");
    let online = world.online_keys(&token, OTHER).await;
    let mut repo = listing(&online);
    repo.made_for(NAME);
    let found = problem(world.publish(&token, OTHER, (None, "root"), all(&repo)).await).await;
    assert_eq!(
        found.rejection.map(|rejection| rejection.rule),
        Some("signature".to_owned()),
        "{}",
        found.detail
    );
    let mut right = listing(&online);
    right.made_for(OTHER);
    let created = accepted(world.publish(&token, OTHER, (None, "right"), all(&right)).await).await;
    repo.list("alice", "v2", b"2").list("releases", "v2", b"2");
    let parts = some(&repo, &["alice", "releases"]);
    let found = problem(world.publish(&token, OTHER, (Some(&created.token), "alien"), parts).await).await;
    assert_eq!(
        found.rejection.map(|rejection| rejection.rule),
        Some("signature".to_owned()),
        "{}",
        found.detail
    );
}
