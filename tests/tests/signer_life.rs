//! What a signer may do, for how long, and how it ends, through the shipped programs and before
//! foreign clients.

use std::time::{Duration, Instant};

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::Threshold;
use bulla_tests::cli::{Cli, PASSPHRASE};
use bulla_tests::notary::Notary;
use bulla_tests::notary_matrix::{self, OK, REFUSED};
use bulla_tests::peers::static_files::StaticFiles;
use bulla_tests::peers::{ForeignClient, Repository, debian};
use bulla_tests::programs::{expect, program};
use bulla_tests::simulator::BOB;
use bulla_tests::simulator::support::{Repo, delegation};
use bulla_tests::story::Story;

/// How long a test asks for something that has to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A moment `seconds` from now, as it is typed.
fn moment(seconds: i64) -> String {
    let moment = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_to_sign_ends_for_everybody() {
    let story = Story::begin();
    story.add("bob", &[]);
    let over = moment(-60);
    let key = story.public_key("alice");
    let add = ["signer", "add", &story.name, "alice", "--key", &key, "--expires"];
    let refused = expect(&story.admin, 2, &[&add[..], &[&over]].concat());
    assert!(refused.stderr.contains("is over already"), "{refused:?}");

    let end = moment(25);
    story.add("alice", &["--expires", &end]);
    story.sign(&story.admin, "v1", "alice");
    let listed = expect(&story.admin, 0, &["signer", "list", &story.name, "--output", "json"]).json();
    let alice =
        listed["signers"].as_array().unwrap().iter().find(|signer| signer["name"] == "alice").unwrap();
    assert_eq!((&alice["ends"], &alice["expires"]), (&end.as_str().into(), &end.as_str().into()));
    let consumer = story.user(&[]);
    expect(&consumer, 0, &["verify", &story.image("v1")]);
    let followers = story.followers().await;
    followers.see("v1").await;

    story.push("v2", "v2");
    let image = story.image("v2");
    let started = Instant::now();
    let ended = loop {
        let ran = story.admin.run(&["sign", &image, "--as", "alice", "--dry-run"]);
        if ran.code != 0 || started.elapsed() > PATIENCE {
            break ran;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    assert_eq!(ended.code, 13, "{ended:?}");
    assert!(ended.stderr.contains(&format!("the right of alice to sign ended at {end}")), "{ended:?}");
    let ran = story.verify(&consumer, &story.image("v1"));
    assert_eq!(ran.code, 13, "{ran:?}");

    // Whoever publishes next takes the tag off for clients that know nothing of the end.
    story.sign(&story.user(&["bob"]), "b1", "bob");
    // tough reads all roles before it looks for one, and refuses all if one is expired.
    let followers = followers.without(ForeignClient::Tough);
    followers.miss("v1").await;
    followers.see("b1").await;
    let revoked = expect(&consumer, 14, &["verify", &story.image("v1")]);
    assert!(revoked.stderr.contains("the right of alice to sign ended"), "{revoked:?}");
    expect(&consumer, 0, &["verify", &story.image("b1")]);
    expect(&story.admin, 0, &["signer", "remove", &story.name, "alice"]);
    story.followers().await.see("b1").await;
}

#[test]
fn an_enrolment_keeps_to_the_end() {
    let story = Story::begin();
    let alice = story.user(&["alice"]);
    let (short, long) = (moment(24 * 3600), moment(48 * 3600));
    let enrol = |end: &str, file: &str| {
        let file = story.admin.folder.path().join(file).to_str().unwrap().to_owned();
        let enrol = ["signer", "enrol", &story.name, "alice", "--key", "alice", "--out", &file];
        expect(&alice, 0, &[&enrol[..], &["--expires", end]].concat());
        file
    };
    let key = story.public_key("alice");
    let add = ["signer", "add", &story.name, "alice", "--key", &key, "--expires", &short, "--enrolment"];
    let refused = expect(&story.admin, 2, &[&add[..], &[&enrol(&long, "long.json")]].concat());
    assert!(refused.stderr.contains("after the right to sign ends"), "{refused:?}");
    expect(&story.admin, 0, &[&add[..], &[&enrol(&short, "short.json")]].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_and_thresholds_bind_the_signer() {
    let story = Story::begin();
    expect(&story.admin, 0, &["key", "generate", "alice2"]);
    let second = story.public_key("alice2");
    story.add("alice", &["--key", &second, "--threshold", "2", "--tags", "v*"]);
    story.sign(&story.admin, "v1", "alice");
    let followers = story.followers().await;
    followers.see("v1").await;
    story.push("latest", "v1");
    let out = expect(&story.admin, 12, &["sign", &story.image("latest"), "--as", "alice"]);
    assert!(out.stderr.contains("alice may not sign the tag latest"), "{out:?}");
    let alone = story.user(&["alice"]);
    let out = expect(&alone, 12, &["sign", &story.image("v1")]);
    assert!(out.stderr.contains("alice needs 2 of its keys, 1 is here"), "{out:?}");
    let both = story.user(&["alice", "alice2"]);
    story.sign(&both, "v2", "alice");
    followers.see("v2").await;
}

/// A server without our rules serves what no client may believe.
#[tokio::test(flavor = "multi_thread")]
async fn foreign_clients_hold_a_signer_to_its_patterns_and_its_threshold() {
    let mut within = Repo::bare();
    within.delegate("targets", &delegation("alice", &[Repo::ALICE], &["v*"]));
    let mut beyond = within.clone();
    within.add("alice", &["v1"], &[Repo::ALICE]);
    beyond.add("alice", &["v1", "latest"], &[Repo::ALICE]);
    let mut pair = delegation("alice", &[Repo::ALICE, BOB], &["v*"]);
    pair.threshold = Threshold::new(2).unwrap();
    let mut signed_by_both = Repo::bare();
    signed_by_both.delegate("targets", &pair).add("alice", &["v1"], &[Repo::ALICE, BOB]);
    let mut signed_by_one = signed_by_both.clone();
    signed_by_one.alice().signed_by(&[Repo::ALICE]);
    for (repo, tag, is_there) in [
        (&within, "v1", true),
        (&beyond, "latest", false),
        (&signed_by_both, "v1", true),
        (&signed_by_one, "v1", false),
    ] {
        let mut repo = repo.clone();
        repo.expire_at(moment(24 * 3600).parse().unwrap());
        let folder = tempfile::tempdir().unwrap();
        for part in ["metadata", "targets"] {
            std::fs::create_dir(folder.path().join(part)).unwrap();
        }
        for (name, bytes) in repo.files() {
            std::fs::write(folder.path().join("metadata").join(name), bytes).unwrap();
        }
        let target = format!("targets/{}.{tag}", Sha256Digest::of(Repo::MANIFEST));
        std::fs::write(folder.path().join(target), Repo::MANIFEST).unwrap();
        let files = StaticFiles::serve(folder.path());
        let served = Repository {
            metadata_url: files.url("metadata"),
            targets_url: files.url("targets"),
            root: repo.roots[0].bytes().to_vec(),
            ca_cert: None,
            now: None,
        };
        for client in ForeignClient::present() {
            let memory = folder.path().join(client.name());
            let seen = client.follow(&served, &memory, Some(tag)).await;
            assert_eq!(seen.is_ok(), is_there, "{} and {tag}: {seen:?}", client.name());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_key_goes_out_of_every_role_and_its_tags_are_shared_out() {
    let story = Story::begin();
    story.add("alice", &[]);
    story.add("bob", &[]);
    // Carol holds one of alice's keys beside one of her own.
    expect(&story.admin, 0, &["key", "generate", "carol"]);
    let (carol, alice) = (story.public_key("carol"), story.public_key("alice"));
    let carol = ["signer", "add", &story.name, "carol", "--key", &carol, "--key", &alice, "--tags", "c*"];
    expect(&story.admin, 0, &carol);
    let before = story.sign(&story.admin, "v1", "alice");
    // Whole seconds: the theft is later than the first tag and earlier than the second.
    let stolen = moment(1);
    while moment(0) <= stolen {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    story.sign(&story.admin, "v2", "alice");
    story.sign(&story.admin, "v3", "alice");
    let thief = story.user(&["alice"]);

    let revoke = ["signer", "revoke", &story.name, "alice", "--since", &stolen, "--reason", "stolen laptop"];
    let revoke = [&revoke[..], &["--re-sign-as", "bob", "--checked", "v3", "--output", "json"]].concat();
    let dry = expect(&story.admin, 0, &[&revoke[..], &["--dry-run"]].concat()).json();
    let done = expect(&story.admin, 0, &revoke).json();
    for answer in [&dry, &done] {
        let signed: Vec<_> = answer["signed"].as_array().unwrap().iter().map(|entry| &entry["tag"]).collect();
        assert_eq!(signed, ["v2", "v3"], "{answer:#}");
        assert!(answer["signed"][0]["signed_at"].is_string(), "{answer:#}");
        assert_eq!(answer["known_from"], "server-record");
        assert_eq!(
            (&answer["taken_over"], &answer["taken_off"]),
            (&vec!["v1", "v3"].into(), &vec!["v2"].into())
        );
        assert_eq!(answer["taken_out_of"], serde_json::json!(["carol"]));
        assert_eq!(answer["top_level"], serde_json::json!([]));
    }
    let consumer = story.user(&[]);
    let kept = expect(&consumer, 0, &["verify", &story.image("v1"), "--output", "json"]).json();
    assert_eq!((&kept["digest"], &kept["signed_by"][1]["role"]), (&before.into(), &"bob".into()));
    expect(&consumer, 0, &["verify", &story.image("v3")]);
    let gone = expect(&consumer, 14, &["verify", &story.image("v2")]);
    assert!(gone.stderr.contains("stolen laptop"), "{gone:?}");
    for tag in ["v4", "c1"] {
        story.push(tag, tag);
        expect(&thief, 12, &["sign", &story.image(tag)]);
    }
    story.sign(&story.user(&["carol"]), "c1", "carol");
    let followers = story.followers().await;
    followers.see("v1").await;
    followers.see("c1").await;
    followers.miss("v2").await;
}

#[test]
fn a_signer_without_heirs_takes_its_tags_along_and_top_level_keys_are_told() {
    let story = Story::begin();
    let targets = story.public_key("targets");
    expect(&story.admin, 0, &["signer", "add", &story.name, "carol", "--key", &targets]);
    story.sign(&story.admin, "v1", "carol");
    let revoked = expect(&story.admin, 0, &["signer", "revoke", &story.name, "carol"]);
    assert!(
        revoked.stdout.contains("had signed: v1") && revoked.stdout.contains("taken off: v1"),
        "{revoked:?}"
    );
    assert!(revoked.stderr.contains("targets lists one of these keys; run: bulla rotate"), "{revoked:?}");
    let gone = expect(&story.admin, 14, &["verify", &story.image("v1")]);
    assert!(gone.stderr.contains("signer carol was revoked"), "{gone:?}");
    let refused = expect(&story.admin, 2, &["signer", "revoke", &story.name, "carol"]);
    assert!(refused.stderr.contains("no signer named carol"), "{refused:?}");
}

#[test]
fn a_signer_of_a_legacy_repository_goes_as_well() {
    if debian::program(debian::BOOKWORM, "notary").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    notary_matrix::run("signer revoke", folder.path(), |server, column| {
        let admin = Cli::new(program("bulla").to_str().unwrap())
            .with("BULLA_SERVER", &server.url)
            .with("BULLA_CA_CERT", server.ca_cert.to_str().unwrap())
            .with("BULLA_PASSPHRASE", PASSPHRASE);
        let notary = Notary::new(server).unwrap();
        let name = "registry.test:5000/demo/app";
        let sign = |tag: &str, signer: &str| {
            let image = format!("{name}:{tag}@{}", Sha256Digest::of(tag.as_bytes()).to_oci());
            let size = tag.len().to_string();
            admin.run(&["sign", &image, "--size", &size, "--as", signer])
        };
        let add = |signer: &str, more: &[&str]| {
            let key = admin.home(&format!("keys/{signer}.pub")).to_str().unwrap().to_owned();
            expect(&admin, 0, &[&["signer", "add", name, signer, "--key", &key], more].concat())
        };
        let lists = |tag: &str| notary.run(&["lookup", name, tag]).code == 0;
        column.step("signer add --tags, --expires", || {
            for key in ["root", "targets", "alice", "bob"] {
                expect(&admin, 0, &["key", "generate", key]);
            }
            expect(&admin, 0, &["init", name, "--mode", "legacy"]);
            let added = add("alice", &["--tags", "v*", "--expires", "2099-12-31"]);
            assert!(added.stderr.contains("knows no end of a right to sign"), "{added:?}");
            add("bob", &[]);
            assert_eq!(sign("v1", "alice").code, 0);
            assert_eq!(sign("v2", "bob").code, 0);
            assert!(lists("v1") && lists("v2"));
            OK
        });
        column.step("sign, outside the prefix", || {
            assert_eq!(sign("latest", "alice").code, 12);
            REFUSED
        });
        column.step("signer revoke", || {
            let revoke = ["signer", "revoke", name, "alice", "--since", "2026-01-01", "--output", "json"];
            let revoked = expect(&admin, 0, &revoke);
            let answer = revoked.json();
            assert_eq!(
                answer["known_from"],
                if server.is_bullad() { "server-record" } else { "signers-word" }
            );
            assert_eq!(
                (&answer["signed"][0]["tag"], &answer["taken_off"]),
                (&"v1".into(), &vec!["v1"].into())
            );
            assert!(!lists("v1") && lists("v2"));
            assert_eq!(sign("v3", "alice").code, 2);
            OK
        });
        column.step("signer revoke --re-sign-as", || {
            add("alice", &[]);
            assert_eq!(sign("v4", "alice").code, 0);
            expect(&admin, 0, &["signer", "revoke", name, "bob", "--re-sign-as", "alice"]);
            assert!(lists("v2") && lists("v4"));
            OK
        });
    });
}
