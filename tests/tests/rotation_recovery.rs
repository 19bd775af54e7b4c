//! A thief of the server's keys raised the versions of what they sign, and the server was put back
//! from a backup: what it shows now looks like a rollback to everybody. Other online keys, listed
//! by a new root, make clients forget what they saw (TUF 1.0, 5.3.11).

use std::path::{Path, PathBuf};
use std::process::Command;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_tests::cli::Cli;
use bulla_tests::notary::Notary;
use bulla_tests::peers::{ForeignClient, Repository, debian};
use bulla_tests::programs::{Bullad, expect, program};

const NAME: &str = "registry.test:5000/demo/recovered";

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_saw_higher_versions_accept_lower_ones_after_a_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("first");
    std::fs::create_dir(&first).unwrap();
    let server = Bullad::start(&first);
    let admin = server.user();
    begin(&admin, &[]);
    let reader = server.user();
    let root = expect(&admin, 0, &["inspect", NAME]).json()["root_sha256"].as_str().unwrap().to_owned();
    expect(&reader, 0, &["trust", "add", NAME, "--root-sha256", &root]);
    let backup = backup(&first);
    for tag in ["later-1", "later-2", "later-3"] {
        sign(&admin, tag);
    }
    let state = tempfile::tempdir().unwrap();
    let followed = follow(&server, &state, &admin).await;
    assert!(followed.iter().all(|(_, seen)| seen.is_ok()), "{followed:?}");
    expect(&reader, 0, &["resolve", &image("later-3")]);
    drop(server);

    let server = restore(&backup, &first, &folder.path().join("second"));
    let (admin, reader) = (moved(admin, &server), moved(reader, &server));
    for user in [&admin, &reader] {
        let refused = expect(user, 15, &["resolve", &image("before")]);
        assert!(refused.stderr.contains("went back from version"), "{refused:?}");
    }
    for (client, seen) in follow(&server, &state, &admin).await {
        assert!(seen.is_err(), "{} goes back: {seen:?}", client.name());
    }
    // Anything but new keys for both roles is as impossible as it was.
    expect(&admin, 15, &["sign", &image("after"), "--size", "5"]);
    expect(&admin, 15, &["rotate", NAME, "timestamp"]);
    expect(&admin, 15, &["rotate", NAME, "snapshot", "timestamp", "root"]);
    let dry = expect(&admin, 0, &["rotate", NAME, "snapshot", "timestamp", "--dry-run"]);
    assert!(dry.stderr.contains("older metadata than this home has seen"), "{dry:?}");
    expect(&admin, 15, &["resolve", &image("before")]);

    expect(&admin, 0, &["rotate", NAME, "snapshot", "timestamp"]);
    for (client, seen) in follow(&server, &state, &admin).await {
        assert!(seen.is_ok(), "{}: {seen:?}", client.name());
    }
    for user in [&admin, &reader] {
        expect(user, 0, &["resolve", &image("before")]);
        expect(user, 12, &["resolve", &image("later-3")]);
    }
    sign(&admin, "after");
    expect(&reader, 0, &["resolve", &image("after")]);
}

/// In legacy mode new online keys excuse less: our clients remember the versions of targets as
/// well, and follow once these have caught up. Notary's own hold what comes first against what
/// they remember, and fail once; then they have the new root, under which that counts no more.
#[tokio::test(flavor = "multi_thread")]
async fn legacy_clients_wait_until_versions_have_caught_up() {
    if debian::program(debian::BOOKWORM, "notary").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("first");
    std::fs::create_dir(&first).unwrap();
    let server = Bullad::start(&first);
    let admin = server.user();
    begin(&admin, &["--mode", "legacy"]);
    let (reader, notary) = (server.user(), Notary::at(&server.url, &server.ca_cert).unwrap());
    let root = expect(&admin, 0, &["inspect", NAME]).json()["root_sha256"].as_str().unwrap().to_owned();
    let pin = ["trust", "add", NAME, "--mode", "legacy", "--root-sha256", &root];
    expect(&reader, 0, &pin);
    let backup = backup(&first);
    for tag in ["later-1", "later-2"] {
        sign(&admin, tag);
    }
    expect(&reader, 0, &["resolve", &image("later-2")]);
    notary.ok(&["lookup", NAME, "later-2"]);
    drop(server);

    let server = restore(&backup, &first, &folder.path().join("second"));
    let (admin, reader) = (moved(admin, &server), moved(reader, &server));
    let notary = notary.asking(&server.url).unwrap();
    let lookup = ["lookup", NAME, "before"];
    notary.refused(&lookup, "is lower than current version");
    let refused = expect(&admin, 15, &["rotate", NAME, "snapshot", "timestamp"]);
    assert!(refused.stderr.contains("targets went back"), "{refused:?}");
    // Somebody with the same keys, who has seen nothing of what was lost.
    let successor = server.user();
    expect(&successor, 0, &pin);
    let keys = Command::new("cp").arg("-a").arg(admin.home("keys")).arg(successor.home("")).status();
    assert!(keys.unwrap().success());
    expect(&successor, 0, &["rotate", NAME, "snapshot", "timestamp"]);
    // Ours accepts the lower versions of the online roles, but not that of targets.
    let refused = expect(&reader, 15, &["resolve", &image("before")]);
    assert!(refused.stderr.contains("targets went back"), "{refused:?}");
    notary.refused(&lookup, "is lower than current version");
    assert!(notary.ok(&lookup).starts_with("before sha256:"));
    notary.refused(&["lookup", NAME, "later-2"], "No valid trust data for later-2");
    for tag in ["again-1", "again-2"] {
        sign(&successor, tag);
    }
    for user in [&admin, &reader] {
        expect(user, 0, &["resolve", &image("again-2")]);
        expect(user, 12, &["resolve", &image("later-2")]);
    }
    assert!(notary.ok(&lookup).starts_with("before sha256:"));
}

/// The newest root lists keys that the server's older documents are not signed with, and nothing
/// else succeeds that root.
#[test]
fn a_backup_from_before_the_newest_root_is_named_as_such() {
    for roles in [&["targets"][..], &["root"]] {
        let folder = tempfile::tempdir().unwrap();
        let first = folder.path().join("first");
        std::fs::create_dir(&first).unwrap();
        let server = Bullad::start(&first);
        let admin = server.user();
        begin(&admin, &[]);
        let old = backup(&first);
        expect(&admin, 0, &[&["rotate", NAME], roles].concat());
        sign(&admin, "after");
        let new = first.join("newer");
        bullad(&["backup", &text(&first.join("data")), &text(&new)]);
        drop(server);

        let server = restore(&old, &first, &folder.path().join("second"));
        let admin = moved(admin, &server);
        let rotate = ["rotate", NAME, "snapshot", "timestamp"];
        let refused = expect(&admin, 15, &rotate);
        assert!(refused.stderr.contains("does not have root version 2"), "{refused:?}");
        drop(server);
        let server = restore(&new, &first, &folder.path().join("third"));
        let admin = moved(admin, &server);
        expect(&admin, 0, &rotate);
        expect(&admin, 0, &["resolve", &image("after")]);
    }
}

/// Who may publish may not have new online keys made, and is told which right it takes.
#[test]
fn new_online_keys_need_the_right_of_an_admin() {
    let folder = tempfile::tempdir().unwrap();
    let server = Bullad::start_guarded(folder.path());
    let token = |name: &str, can: &str| {
        let data = text(&folder.path().join("data"));
        let create = ["token", "create", name, "--can", can, "--scope", "**", "--expires", "1d"];
        bullad(&[&create[..], &["--data", &data]].concat()).trim().to_owned()
    };
    let (reads, publishes, rotates) =
        (token("reads", "read"), token("publishes", "publish"), token("rotates", "admin"));
    // A running server looks for new tokens once a second.
    std::thread::sleep(std::time::Duration::from_millis(1200));
    for mode in ["spec", "legacy"] {
        let name = format!("{NAME}-{mode}");
        let tag = format!("{name}:after@{}", Sha256Digest::of(b"after").to_oci());
        let user = server.user().with("BULLA_TOKEN", &publishes);
        for key in ["root", "targets"] {
            expect(&user, 0, &["key", "generate", key]);
        }
        expect(&user, 0, &["init", &name, "--mode", mode]);
        let rotate = ["rotate", &name, "snapshot", "timestamp"];
        let refused = expect(&user, 30, &rotate);
        assert!(refused.stderr.contains("--can admin"), "{mode}: {refused:?}");
        let user = user.with("BULLA_TOKEN", &reads);
        let refused = expect(&user, 30, &["sign", &tag, "--size", "5"]);
        assert!(refused.stderr.contains("--can publish"), "{mode}: {refused:?}");
        expect(&user.with("BULLA_TOKEN", &rotates), 0, &rotate);
    }
}

fn begin(admin: &Cli, more: &[&str]) {
    for key in ["root", "targets"] {
        expect(admin, 0, &["key", "generate", key]);
    }
    expect(admin, 0, &[&["init", NAME], more].concat());
    sign(admin, "before");
}

fn image(tag: &str) -> String {
    format!("{NAME}:{tag}@{}", Sha256Digest::of(tag.as_bytes()).to_oci())
}

fn sign(admin: &Cli, tag: &str) {
    let size = tag.len().to_string();
    expect(admin, 0, &["sign", &image(tag), "--size", &size]);
}

fn backup(folder: &Path) -> PathBuf {
    let out = folder.join("backup");
    bullad(&["backup", &text(&folder.join("data")), &text(&out)]);
    out
}

/// The server as it was when `backup` was made, with its own key-encryption key and certificate.
fn restore(backup: &Path, before: &Path, after: &Path) -> Bullad {
    std::fs::create_dir(after).unwrap();
    let data = after.join("data");
    bullad(&["restore", &text(backup), &text(&data)]);
    for file in ["kek", "tls"] {
        let copied = Command::new("cp").arg("-a").arg(before.join("data").join(file)).arg(&data).status();
        assert!(copied.unwrap().success());
    }
    Bullad::start(after)
}

fn bullad(arguments: &[&str]) -> String {
    let ran = Command::new(program("bullad")).args(arguments).output().unwrap();
    assert!(ran.status.success(), "{arguments:?}: {ran:?}");
    String::from_utf8(ran.stdout).unwrap()
}

fn moved(user: Cli, server: &Bullad) -> Cli {
    user.with("BULLA_SERVER", &server.url).with("BULLA_CA_CERT", &text(&server.ca_cert))
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

async fn follow(
    server: &Bullad,
    state: &tempfile::TempDir,
    admin: &Cli,
) -> Vec<(ForeignClient, Result<bulla_tests::peers::Observed, bulla_tests::peers::Refused>)> {
    let folders = std::fs::read_dir(admin.home("cache")).unwrap();
    let root = folders.map(|entry| entry.unwrap().path().join("1.root.json")).find(|path| path.exists());
    let tuf = |folder: &str| format!("{}/tuf/{NAME}/{folder}", server.url);
    let repository = Repository {
        metadata_url: tuf("metadata"),
        targets_url: tuf("targets"),
        root: std::fs::read(root.unwrap()).unwrap(),
        ca_cert: Some(server.ca_cert.clone()),
        now: None,
    };
    let mut all = Vec::new();
    for client in ForeignClient::present() {
        all.push((client, client.follow(&repository, &state.path().join(client.name()), None).await));
    }
    all
}
