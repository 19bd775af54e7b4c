//! Revoked tags and denied digests, through the shipped programs and before foreign clients; and
//! servers that would rather have the deny list forgotten.

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::json::{Json, Object};
use bulla_tests::notary_matrix::{self, OK, REFUSED};
use bulla_tests::peers::second_opinion::second_opinion;
use bulla_tests::programs::{expect, program};
use bulla_tests::simulator::support::{Doc, Repo, delegation, lists, now};
use bulla_tests::simulator::{Consumer, Fault, Registry, Server};
use bulla_tests::story::Story;

const NAME: &str = "registry.example.com/team/app";
const V1: &str = "registry.example.com/team/app:v1";

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_digest_is_refused_whoever_signs_it() {
    let story = Story::begin();
    story.add("alice", &[]);
    let bad = story.sign(&story.admin, "v1", "alice");
    story.sign(&story.admin, "v2", "alice");
    let consumer = story.user(&[]);
    let followers = story.followers().await;
    followers.see("v1").await;

    let revoke = ["revoke", &story.name, "--digest", &bad, "--reason", "leaks a token"];
    let dry = expect(&story.admin, 0, &[&revoke[..], &["--dry-run"]].concat());
    assert!(dry.stdout.contains("taken off: v1"), "{dry:?}");
    expect(&consumer, 0, &["verify", &story.image("v1")]);
    expect(&story.admin, 0, &revoke);

    let by_digest = format!("{}@{bad}", story.name);
    for (image, role) in [(&story.image("v1"), "releases"), (&by_digest, "revocations")] {
        for verb in ["verify", "resolve"] {
            let ran = consumer.run(&[verb, image, "--output", "json"]);
            assert_eq!(ran.code, 14, "{ran:?}");
            let revocation = ran.json()["revocation"].clone();
            assert_eq!(revocation["reason"], "leaks a token");
            assert_eq!(
                (&revocation["role"], &revocation["by"][0]["roles"][0]),
                (&role.into(), &"targets".into())
            );
        }
    }
    let ran = expect(&consumer, 14, &["verify", &by_digest]);
    assert!(ran.stderr.contains("was revoked by targets (key ") && ran.stderr.contains(" at 2"), "{ran:?}");
    let inspected = expect(&consumer, 0, &["inspect", &story.name]).json();
    assert_eq!(inspected["denied"][0]["digest"], bad);
    assert_eq!(inspected["roles"][5]["role"], "revocations");

    // The same image under another name, and before any passphrase is asked for.
    story.push("v3", "v1");
    let silent = story.user(&["alice"]).without("BULLA_PASSPHRASE");
    let refused = expect(&silent, 14, &["sign", &story.image("v3")]);
    assert!(refused.stderr.contains("leaks a token"), "{refused:?}");

    followers.miss("v1").await;
    followers.see("v2").await;
    story.sign(&story.admin, "v4", "alice");
    followers.see("v4").await;
    story.followers().await.see("v4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_keys_of_the_list_take_a_digest_off_it() {
    let story = Story::begin();
    story.add("alice", &[]);
    let bad = story.sign(&story.admin, "v1", "alice");
    let revoke = ["revoke", &story.name, "--digest", &bad];
    let undo = [&revoke[..], &["--undo", "--reason", "wrong digest"]].concat();
    expect(&story.admin, 2, &undo);
    expect(&story.admin, 0, &revoke);
    expect(&story.admin, 14, &revoke);
    let signer = story.user(&["alice"]);
    let refused = expect(&signer, 12, &undo);
    assert!(refused.stderr.contains("revocations needs 1 of its keys, none is here"), "{refused:?}");
    expect(&signer, 12, &["revoke", &story.name, "--digest", &format!("sha256:{}", "0".repeat(64))]);
    expect(&story.admin, 0, &undo);
    expect(&story.admin, 2, &undo);
    // No tag comes back by itself.
    expect(&signer, 14, &["verify", &story.image("v1")]);
    expect(&signer, 0, &["sign", &story.image("v1")]);
    expect(&signer, 0, &["verify", &story.image("v1")]);
    story.followers().await.see("v1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_can_be_denied_before_there_is_a_signer_and_by_who_has_few_keys() {
    let story = Story::begin();
    let bad = story.push("v1", "v1");
    expect(&story.admin, 0, &["sign", &story.image("v1")]);
    expect(&story.admin, 0, &["revoke", &story.name, "--digest", &bad]);
    expect(&story.admin, 14, &["verify", &story.image("v1")]);
    // A digest that nobody has signed so far.
    let other = story.push("v2", "v2");
    expect(&story.admin, 0, &["revoke", &story.name, "--digest", &other]);
    expect(&story.admin, 14, &["sign", &story.image("v2")]);
    story.add("alice", &[]);
    let third = story.sign(&story.admin, "v3", "alice");
    story.sign(&story.admin, "v4", "alice");

    // Who has no key of alice takes the tag off where he can, and says where it stays.
    let officer = story.user(&["targets"]);
    let denied = expect(&officer, 0, &["revoke", &story.name, "--digest", &third]);
    assert!(denied.stdout.contains("still listed by alice: v3"), "{denied:?}");
    assert!(denied.stderr.contains("bulla refuses it all the same"), "{denied:?}");
    let followers = story.followers().await;
    followers.miss("v3").await;
    // Alice signs on, and her next document goes without it.
    let alice = story.user(&["alice"]);
    story.sign(&alice, "v5", "alice");
    followers.see("v5").await;
    expect(&alice, 14, &["verify", &story.image("v3")]);
}

#[test]
fn who_revoked_a_tag_is_still_known_when_somebody_else_has_signed_since() {
    let story = Story::begin();
    story.add("alice", &[]);
    story.add("bob", &[]);
    story.sign(&story.admin, "v1", "alice");
    let alice = story.user(&["alice"]);
    expect(&alice, 0, &["revoke", &story.image("v1"), "--reason", "bad build"]);
    story.sign(&story.user(&["bob"]), "v2", "bob");
    let ran = expect(&alice, 14, &["verify", &story.image("v1")]);
    assert!(
        ran.stderr.contains("was revoked by alice (key ") && ran.stderr.contains(": bad build"),
        "{ran:?}"
    );
    let refused =
        expect(&alice, 2, &["revoke", &story.image("v2"), "--digest", &format!("sha256:{}", "0".repeat(64))]);
    assert!(refused.stderr.contains("a tag and a digest are named"), "{refused:?}");
    expect(&alice, 2, &["revoke", &story.name]);
}

#[test]
fn in_legacy_repositories_the_tags_go_and_the_digest_may_come_back() {
    let folder = tempfile::tempdir().unwrap();
    notary_matrix::run("revoke --digest", folder.path(), |server, column| {
        let admin = bulla_tests::cli::Cli::new(program("bulla").to_str().unwrap())
            .with("BULLA_SERVER", &server.url)
            .with("BULLA_CA_CERT", server.ca_cert.to_str().unwrap())
            .with("BULLA_PASSPHRASE", bulla_tests::cli::PASSPHRASE);
        let name = "registry.test:5000/demo/app";
        let digest = Sha256Digest::of(b"x").to_oci();
        let image = |tag: &str| format!("{name}:{tag}@{digest}");
        column.step("revoke --digest", || {
            for key in ["root", "targets", "alice"] {
                expect(&admin, 0, &["key", "generate", key]);
            }
            expect(&admin, 0, &["init", name, "--mode", "legacy"]);
            let alice = admin.home("keys/alice.pub");
            expect(&admin, 0, &["signer", "add", name, "alice", "--key", alice.to_str().unwrap()]);
            for tag in ["1", "2"] {
                expect(&admin, 0, &["sign", &image(tag), "--size", "1"]);
            }
            let revoked = expect(&admin, 0, &["revoke", name, "--digest", &digest]);
            assert!(revoked.stdout.contains("taken off: 1\ntaken off: 2"), "{revoked:?}");
            assert!(revoked.stderr.contains("can sign this digest again"), "{revoked:?}");
            for tag in ["1", "2"] {
                expect(&admin, 12, &["resolve", &image(tag)]);
            }
            expect(&admin, 12, &["revoke", name, "--digest", &digest]);
            expect(&admin, 0, &["sign", &image("1"), "--size", "1"]);
            OK
        });
        column.step("revoke --digest --undo", || {
            let refused = expect(&admin, 2, &["revoke", name, "--digest", &digest, "--undo"]);
            assert!(refused.stderr.contains("has no deny list"), "{refused:?}");
            REFUSED
        });
    });
}

/// `alice` vouches for `v1`, and this digest is denied.
fn denying(denied: &[u8]) -> Repo {
    let mut repo = Repo::released();
    repo.delegate("targets", &delegation("revocations", &[Repo::TARGETS], &["sha256/*"]));
    let mut list = Doc::new(&lists("revocations", &[]), &[Repo::TARGETS]);
    let digest = Sha256Digest::of(denied).to_string();
    let hashes = Object::from([("sha256".to_owned(), Json::from(digest.as_str()))]);
    let custom = Object::from([("revoked_at".to_owned(), Json::from("2029-12-31T00:00:00Z"))]);
    let info = Object::from([
        ("length".to_owned(), Json::Integer(0)),
        ("hashes".to_owned(), Json::Object(hashes)),
        ("custom".to_owned(), Json::Object(custom)),
    ]);
    let entries = Object::from([(format!("sha256/{digest}"), Json::Object(info))]);
    list.set("targets", Json::Object(entries));
    repo.delegated.insert("revocations".to_owned(), list);
    repo
}

#[tokio::test]
async fn whoever_serves_the_list_cannot_have_it_forgotten() {
    let (server, registry) = (Server::default(), Registry::default());
    registry.push("v1", Repo::MANIFEST);
    let first = denying(b"other");
    server.serve(NAME, first.files());
    let consumer = Consumer::new(&server, &registry).pinned(NAME, first.digest_pin());
    assert_eq!(consumer.verify(V1).await.exit, 0);

    let mut denied = denying(Repo::MANIFEST);
    denied.targets_doc("revocations").bump();
    denied.renew();
    server.serve(NAME, denied.files());
    let answer = consumer.verify(V1).await;
    assert_eq!(answer.exit, 14, "{}", answer.text);
    assert!(answer.text.contains("revoked by revocations at 2029-12-31T00:00:00Z"), "{}", answer.text);

    // Back to the list before, in a snapshot that is new.
    let mut older = denying(b"other");
    older.renew().renew();
    server.serve(NAME, older.files());
    let answer = consumer.verify(V1).await;
    assert_eq!(answer.exit, 15, "{}", answer.text);
    assert!(answer.text.contains("revocations went back from version 2 to 1"), "{}", answer.text);

    // A newer list that nobody hands out, one that is expired, and one that others signed.
    let mut newer = denying(b"other");
    newer.targets_doc("revocations").bump().bump();
    newer.renew().renew().renew();
    server.serve(NAME, newer.files());
    server.spoil("3.revocations.json", Fault::Status(404));
    let answer = consumer.verify(V1).await;
    assert_eq!((answer.exit, answer.text.contains("revocations is missing")), (15, true), "{}", answer.text);
    server.heal();
    let mut expired = newer.clone();
    expired.targets_doc("revocations").set("expires", now().to_string());
    expired.renew();
    server.serve(NAME, expired.files());
    let answer = consumer.verify(V1).await;
    assert_eq!(
        (answer.exit, answer.text.contains("revocations version 3 expired")),
        (13, true),
        "{}",
        answer.text
    );
    let mut forged = newer.clone();
    forged.targets_doc("revocations").signed_by(&[Repo::ALICE]);
    forged.renew().renew();
    server.serve(NAME, forged.files());
    let answer = consumer.verify(V1).await;
    assert_eq!(answer.exit, 12, "{}", answer.text);
}

/// The crate `tuf` reads members that it does not know, or it could not check the signatures.
#[test]
fn the_crate_tuf_reads_targets_with_a_deny_list_and_an_end() {
    let mut repo = denying(b"other");
    let ends = Object::from([("alice".to_owned(), Json::from("2030-06-01T00:00:00Z"))]);
    repo.targets.set("x_bulla_expires", Json::Object(ends));
    let documents = repo.documents();
    let document = |role: &str| documents[&role.parse().unwrap()].clone();
    let root = repo.roots[0].bytes();
    let (timestamp, snapshot, targets) = (document("timestamp"), document("snapshot"), document("targets"));
    second_opinion(&[&root], &timestamp, &snapshot, &targets).unwrap();
    repo.targets.signed_by(&[Repo::ALICE]);
    let forged = repo.targets.bytes();
    assert!(second_opinion(&[&root], &timestamp, &snapshot, &forged).is_err(), "signed by somebody else");
}
