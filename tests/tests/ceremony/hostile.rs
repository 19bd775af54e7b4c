//! What must not work, by the real programs.

use bulla_keys_schema::request::{RequestExport, SignatureFile, SigningRequest};
use bulla_tests::programs::expect;

use crate::site::{Site, said};

fn read(path: &str) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_over_are_not_signed() {
    let site = Site::begun(&[]);
    let (name, alice, bob) = (site.name.as_str(), &site.alice, &site.bob);
    expect(bob, 0, &["key", "generate", "bob-2"]);

    // Cancelled.
    let id = site.ask_to_replace_bob();
    let signed = site.carol_signs(&id, 0);
    let waits =
        |name| expect(alice, 0, &["status", name]).stdout.contains(&format!("request show {name} {id}"));
    assert!(waits(name));
    expect(alice, 0, &["request", "cancel", name, &id, "--dry-run"]);
    expect(alice, 0, &["request", "cancel", name, &id]);
    assert!(!waits(name));
    for arguments in [vec!["request", "sign", name, &id, "--yes"], vec!["request", "submit", &signed]] {
        let refused = expect(bob, 40, &arguments);
        assert!(refused.stderr.contains("cancelled") && refused.stderr.contains("hint: "), "{refused:?}");
    }

    // Overtaken by another change.
    let (late, soon) = (site.ask_to_replace_bob(), site.ask(&["rotate", name, "targets"], "another key"));
    let before = site.carol_signs(&late, 0);
    expect(bob, 0, &["request", "sign", name, &soon, "--yes"]);
    for arguments in [vec!["request", "show", name, &late], vec!["request", "submit", &before]] {
        expect(bob, 40, &arguments);
    }
    let listed = expect(alice, 0, &["request", "list", name]);
    assert_eq!(listed.stdout, "no open signing request\n");

    // Expired: until then it waits, and after that nobody can sign it.
    let arguments = ["rotate", name, "root", "--threshold", "1", "--request-expires", "2s"];
    let id = site.ask(&arguments, "in a hurry");
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let over = loop {
        let ran = bob.run(&["request", "show", name, &id]);
        match ran.code {
            41 => assert!(std::time::Instant::now() < give_up, "{ran:?}"),
            _ => break ran,
        }
    };
    assert_eq!(over.code, 40, "{over:?}");
    expect(
        alice,
        2,
        &[
            "rotate",
            name,
            "root",
            "--threshold",
            "1",
            "--request",
            "--reason",
            "x",
            "--request-expires",
            "91d",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reason_does_not_hide_what_changes() {
    let site = Site::begun(&[]);
    let (name, bob) = (site.name.as_str(), &site.bob);
    let mallory = site.server.user();
    expect(&mallory, 0, &["key", "generate", "mallory"]);
    let key = site.public(&mallory, "mallory");
    let id = site.ask(&["rotate", name, "root", "--add", &key, "--threshold", "1"], "routine renewal");
    let shown = expect(bob, 41, &["request", "show", name, &id]);
    for words in [
        "+ key of root: ",
        "keys that must sign root: 2 -> 1",
        "warning: fewer keys must sign root",
        "warning: not proven",
    ] {
        assert!(shown.stdout.contains(words), "{words}: {shown:?}");
    }
    let asked = expect(bob, 2, &["request", "sign", name, &id]);
    assert!(asked.stderr.contains("fewer keys must sign root than before: 2 -> 1"), "{asked:?}");
    // Mallory's key is in the new root and not in the old one: it proves itself, and decides nothing.
    let pins = ["alice", "bob", "carol"].map(|key| site.file(&format!("{key}.pub")));
    let pins: Vec<&str> = pins.iter().flat_map(|file| ["--root-key", file.as_str()]).collect();
    expect(&mallory, 0, &[&["trust", "add", name, "--threshold", "2"], &pins[..]].concat());
    expect(&mallory, 41, &["request", "sign", name, &id, "--yes"]);
    assert_eq!(site.shown(bob, &id)["complete"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn tampered_files_and_strange_keys_are_refused() {
    let site = Site::begun(&[]);
    let (name, alice, bob, carol) = (site.name.as_str(), &site.alice, &site.bob, &site.carol);
    expect(bob, 0, &["key", "generate", "bob-2"]);
    let id = site.ask_to_replace_bob();
    let file = site.file("request");
    expect(alice, 0, &["request", "export", name, &id, "--out", &file]);
    expect(alice, 2, &["request", "export", name, &id, "--out", &file]);
    let export = RequestExport::parse(&read(&file)).unwrap();
    let bad = |edit: &dyn Fn(&mut RequestExport), code: i32| {
        let (mut export, path) = (export.clone(), site.file("bad"));
        edit(&mut export);
        std::fs::write(&path, export.to_bytes()).unwrap();
        let out = site.file("bad.signed");
        let refused = expect(carol, code, &["request", "sign", "--file", &path, "--out", &out, "--yes"]);
        assert!(!std::path::Path::new(&out).exists() && refused.stderr.contains("hint: "), "{refused:?}");
        said(&refused)
    };
    let root = || bulla_keys_schema::names::RoleName::Root;
    let spoil = |request: &mut SigningRequest, from: &str, to: &str| {
        let text = String::from_utf8(request.documents[&root()].to_vec()).unwrap();
        assert!(text.contains(from), "{text}");
        request.documents.insert(root(), text.replacen(from, to, 1).into());
    };
    // Carol has only her pin so far.
    bad(&|export| export.roots.clear(), 15);
    // Alice's signature is over something else then.
    bad(&|export| spoil(&mut export.request, "\"threshold\":2", "\"threshold\":1"), 15);
    // Another base, and no base at all: somebody says that the repository is new.
    bad(&|export| export.request.base.clear(), 40);
    bad(&|export| export.documents.clear(), 2);
    let over = |request: &mut SigningRequest| {
        request.created_at = request.created_at.plus_seconds(-60);
        request.not_after = request.created_at.plus_seconds(1);
    };
    bad(&|export| over(&mut export.request), 40);
    let cut = site.file("cut");
    std::fs::write(&cut, &read(&file)[..1000]).unwrap();
    expect(carol, 2, &["request", "show", "--file", &cut]);

    // A key that nobody named.
    let mallory = site.server.user();
    expect(&mallory, 0, &["key", "generate", "mallory"]);
    expect(&mallory, 10, &["request", "sign", name, &id, "--yes"]);
    let pins = ["alice", "bob", "carol"].map(|key| site.file(&format!("{key}.pub")));
    let pins: Vec<&str> = pins.iter().flat_map(|file| ["--root-key", file.as_str()]).collect();
    expect(&mallory, 0, &[&["trust", "add", name, "--threshold", "2"], &pins[..]].concat());
    expect(&mallory, 12, &["request", "sign", name, &id, "--yes"]);

    // Signatures: of somebody else, over something else, twice.
    let signed = site.carol_signs(&id, 0);
    let honest = SignatureFile::parse(&read(&signed)).unwrap();
    let forged = |edit: &dyn Fn(&mut SignatureFile), code: i32| {
        let (mut signatures, path) = (honest.clone(), site.file("forged"));
        edit(&mut signatures);
        std::fs::write(&path, signatures.to_bytes()).unwrap();
        expect(bob, code, &["request", "submit", &path]);
    };
    forged(&|file| file.signatures[0].signature.reverse(), 15);
    forged(&|file| file.signatures[0].payload_sha256 = bulla_keys_schema::digest::Sha256Digest::of(b""), 15);
    forged(&|file| file.signatures[0].role = bulla_keys_schema::names::RoleName::Targets, 2);
    forged(
        &|file| {
            file.signatures[0].key =
                bulla_keys_schema::digest::Sha256Digest::of(b"x").to_string().parse().unwrap()
        },
        12,
    );
    assert_eq!(site.shown(bob, &id)["documents"][0]["counts"][0]["signed"].as_array().unwrap().len(), 1);
    let proof = expect(bob, 41, &["request", "sign", name, &id, "--dry-run"]);
    assert!(proof.stderr.contains("would sign with"), "{proof:?}");
    let once = expect(bob, 0, &["request", "submit", &signed, "--dry-run"]);
    assert!(once.stderr.contains("dry run"), "{once:?}");
    expect(bob, 0, &["request", "submit", &signed]);
    expect(bob, 40, &["request", "submit", &signed]);

    // Carol has seen the new root by now; an export of before shows her less than she knows.
    let next = site.ask(&["rotate", name, "targets"], "another key");
    let newer = site.file("newer");
    expect(alice, 0, &["request", "export", name, &next, "--out", &newer]);
    expect(carol, 41, &["request", "show", "--file", &newer]);
    expect(carol, 15, &["request", "show", "--file", &file]);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_do_not_belong_together_are_no_state() {
    let site = Site::begun(&[]);
    let (name, alice, bob, carol) = (site.name.as_str(), &site.alice, &site.bob, &site.carol);
    let id = site.ask(&["rotate", name, "targets"], "another key");
    let export = |file: &str| {
        let file = site.file(file);
        expect(alice, 0, &["request", "export", name, &id, "--out", &file]);
        RequestExport::parse(&read(&file)).unwrap()
    };
    let before = export("before");
    expect(alice, 0, &["request", "cancel", name, &id]);
    site.sign_tag("v1");
    let id = site.ask(&["rotate", name, "root", "--threshold", "1"], "in a hurry");
    let file = site.file("after");
    expect(alice, 0, &["request", "export", name, &id, "--out", &file]);
    expect(carol, 41, &["request", "show", "--file", &file]);
    let after = RequestExport::parse(&read(&file)).unwrap();
    let targets = || bulla_keys_schema::names::RoleName::Targets;
    assert_ne!(before.documents[&targets()], after.documents[&targets()]);
    // Every signature in it is good.
    let mut mixed = after;
    mixed.documents.insert(targets(), before.documents[&targets()].clone());
    let path = site.file("mixed");
    std::fs::write(&path, mixed.to_bytes()).unwrap();
    let refused = expect(carol, 15, &["request", "show", "--file", &path]);
    assert!(refused.stderr.contains("targets"), "{refused:?}");
    // Whoever has seen the newer targets signs nothing on top of the older ones.
    expect(bob, 41, &["request", "show", name, &id]);
    let refused = expect(bob, 15, &["request", "show", "--file", &site.file("before")]);
    assert!(refused.stderr.contains("went back"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hides_a_repository_gets_no_other_first_root() {
    let site = Site::begun(&[]);
    let name = site.name.as_str();
    expect(&site.bob, 0, &["inspect", name]);
    let other = tempfile::tempdir().unwrap();
    let other = bulla_tests::programs::Bullad::start(other.path());
    let mallory = other.user();
    expect(&mallory, 0, &["key", "generate", "mallory"]);
    let (theirs, bobs) = (site.public(&mallory, "mallory"), site.public(&site.bob, "bob"));
    let begin = ["init", name, "--root-threshold", "2", "--root-key", &theirs, "--root-key", &bobs];
    let ask = ["--targets-key", "mallory", "--request", "--reason", "the first root", "--output", "json"];
    let asked = mallory.run(&[&begin[..], &ask].concat());
    assert_eq!(asked.code, 41, "{asked:?}");
    let id = asked.json()["request"].as_str().unwrap().to_owned();
    let bob =
        site.bob.with("BULLA_SERVER", &other.url).with("BULLA_CA_CERT", other.ca_cert.to_str().unwrap());
    let refused = expect(&bob, 40, &["request", "sign", name, &id, "--yes"]);
    // Which only his own home can tell: the server says that there is none.
    assert!(refused.stderr.contains("the current one is v1"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_root_of_other_keys_than_the_pinned_ones_is_not_signed() {
    let site = Site::new(&[]);
    let (name, id) = (site.name.as_str(), site.ask_for_first_root());
    expect(&site.bob, 0, &["key", "generate", "other"]);
    let [other, alices] =
        [(&site.bob, "other"), (&site.alice, "alice")].map(|(who, key)| site.public(who, key));
    expect(&site.bob, 0, &["trust", "add", name, "--root-key", &other]);
    let refused = expect(&site.bob, 15, &["request", "sign", name, &id, "--yes"]);
    assert!(refused.stderr.contains("satisfies the pin"), "{refused:?}");
    expect(&site.bob, 0, &["trust", "remove", name]);
    expect(&site.bob, 0, &["trust", "add", name, "--root-key", &alices]);
    expect(&site.bob, 41, &["request", "show", name, &id]);
}
