//! `bulla` on repositories in legacy mode, with `bullad` and with the server that they were made
//! for; and Debian's `notary` on the same repositories.

use std::path::Path;
use std::thread;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_tests::cli::{Cli, PASSPHRASE, private_file};
use bulla_tests::notary::{Notary, RunningTrustServer};
use bulla_tests::notary_keys::OpensslKey;
use bulla_tests::notary_matrix::{self, Column, OK, REFUSED};
use bulla_tests::peers::debian;
use bulla_tests::programs::{expect, program};

/// No registry is asked: these are only names.
const OURS: &str = "registry.test:5000/demo/ours";
const THEIRS: &str = "registry.test:5000/demo/theirs";

#[test]
fn bulla_and_notary_trust_each_other() {
    if debian::program(debian::BOOKWORM, "notary").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    notary_matrix::run("bulla", folder.path(), |server, column| {
        let (admin, bob, reader) = (user(server), user(server), Notary::new(server).unwrap());
        let ours = Ours { server, admin, bob, reader };
        ours.without_signers(column);
        ours.with_signers(column);
        ours.at_once(column);
        ours.taken_back(column);
        let theirs = Theirs { admin: user(server), notary: Notary::new(server).unwrap() };
        theirs.read(column);
        theirs.written(column);
    });
}

/// Somebody who uses `bulla`.
fn user(server: &RunningTrustServer) -> Cli {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    Cli::new(&text(&program("bulla")))
        .with("BULLA_SERVER", &server.url)
        .with("BULLA_CA_CERT", &text(&server.ca_cert))
        .with("BULLA_PASSPHRASE", PASSPHRASE)
}

fn image(repository: &str, tag: &str) -> String {
    format!("{repository}:{tag}@{}", Sha256Digest::of(tag.as_bytes()).to_oci())
}

fn sign(user: &Cli, repository: &str, tag: &str, more: &[&str]) {
    let size = tag.len().to_string();
    expect(user, 0, &[&["sign", &image(repository, tag), "--size", &size], more].concat());
}

/// Who vouches for a tag that is trusted.
fn vouchers(user: &Cli, repository: &str, tag: &str) -> Vec<String> {
    let answer = expect(user, 0, &["resolve", &image(repository, tag), "--output", "json"]).json();
    assert_eq!(answer["digest"], Sha256Digest::of(tag.as_bytes()).to_oci());
    let roles = answer["signed_by"].as_array().unwrap().iter();
    roles.map(|voucher| voucher["role"].as_str().unwrap().to_owned()).collect()
}

/// The lines of a table of `notary` that begin with `name`.
fn rows(table: &str, name: &str) -> Vec<String> {
    let rows = table.lines().filter(|row| row.split_whitespace().next() == Some(name));
    rows.map(str::to_owned).collect()
}

/// A repository that `bulla` begins.
struct Ours<'a> {
    server: &'a RunningTrustServer,
    admin: Cli,
    /// A signer with keys of his own.
    bob: Cli,
    reader: Notary,
}

impl Ours<'_> {
    fn without_signers(&self, column: &mut Column) {
        let (admin, reader) = (&self.admin, &self.reader);
        column.step("init", || {
            for key in ["root", "second", "targets", "alice"] {
                expect(admin, 0, &["key", "generate", key]);
            }
            let init = ["init", OURS, "--mode", "legacy", "--root-key", "root", "--root-key", "second"];
            let dry = expect(admin, 0, &[&init[..], &["--dry-run"]].concat());
            assert!(dry.stderr.contains("nothing was changed"), "{dry:?}");
            let begun = expect(admin, 0, &init);
            assert!(begun.stderr.contains("--mode legacy --root-sha256"), "{begun:?}");
            OK
        });
        column.step("init, of a repository that is there", || {
            for key in ["root", "targets"] {
                expect(&self.bob, 0, &["key", "generate", key]);
            }
            let refused = expect(&self.bob, 2, &["init", OURS, "--mode", "legacy"]);
            assert!(refused.stderr.contains("exists already"), "{refused:?}");
            REFUSED
        });
        column.step("sign, verify, without signers", || {
            let unsigned = expect(admin, 12, &["resolve", &image(OURS, "1")]);
            assert!(unsigned.stderr.contains("keeps no record"), "{unsigned:?}");
            sign(admin, OURS, "1", &[]);
            assert_eq!(vouchers(admin, OURS, "1"), ["targets"]);
            let digest = Sha256Digest::of(b"1");
            assert_eq!(reader.ok(&["lookup", OURS, "1"]).trim(), format!("1 sha256:{digest} 1"));
            OK
        });
    }

    fn with_signers(&self, column: &mut Column) {
        let (admin, bob, reader) = (&self.admin, &self.bob, &self.reader);
        column.step("signer add", || {
            let alice = admin.home("keys/alice.pub");
            let alice = ["signer", "add", OURS, "alice", "--key", alice.to_str().unwrap()];
            let refused = expect(admin, 2, &[&alice[..], &["--tags", "v?"]].concat());
            assert!(refused.stderr.contains("only knows how a tag begins"), "{refused:?}");
            let added = expect(admin, 0, &alice);
            assert!(added.stdout.contains("taken over: 1"), "{added:?}");
            assert_eq!(vouchers(admin, OURS, "1"), ["releases", "alice"]);
            assert!(rows(&reader.ok(&["list", OURS]), "1")[0].ends_with("targets/releases"));

            expect(bob, 0, &["key", "generate", "bob"]);
            let key = bob.home("keys/bob.pub");
            let key = ["--key", key.to_str().unwrap(), "--tags", "rc-*"];
            expect(admin, 0, &[&["signer", "add", OURS, "bob"], &key[..]].concat());
            let listed = reader.ok(&["delegation", "list", OURS]);
            assert_eq!(rows(&listed, "targets/alice").len(), 1, "{listed}");
            assert!(rows(&listed, "targets/bob")[0].contains("rc-"), "{listed}");
            OK
        });
        column.step("sign, by a signer", || {
            sign(admin, OURS, "2", &["--as", "alice"]);
            let root = expect(admin, 0, &["inspect", OURS]).json()["root_sha256"].clone();
            let root = root.as_str().unwrap();
            expect(bob, 0, &["trust", "add", OURS, "--mode", "legacy", "--root-sha256", root]);
            assert_eq!(vouchers(bob, OURS, "2"), ["releases", "alice"]);
            expect(bob, 12, &["sign", &image(OURS, "3"), "--size", "1"]);
            sign(bob, OURS, "rc-1", &[]);
            assert_eq!(vouchers(admin, OURS, "rc-1"), ["releases", "bob"]);
            let listed = reader.ok(&["list", OURS, "-r", "targets/bob"]);
            assert_eq!(rows(&listed, "rc-1").len(), 1, "{listed}");
            OK
        });
        column.step("verify, with a pin for the other mode", || {
            let stranger = user(self.server);
            let key = admin.home("keys/root.pub");
            let key = ["--root-key", key.to_str().unwrap()];
            expect(&stranger, 0, &[&["trust", "add", OURS][..], &key].concat());
            let refused = stranger.run(&["resolve", &image(OURS, "1")]);
            assert!(matches!(refused.code, 10 | 15) && refused.stderr.contains("mode"), "{refused:?}");
            expect(&stranger, 0, &["trust", "remove", OURS]);
            expect(&stranger, 0, &[&["trust", "add", OURS, "--mode", "legacy"][..], &key].concat());
            assert_eq!(vouchers(&stranger, OURS, "1"), ["releases", "alice"]);
            REFUSED
        });
    }

    fn at_once(&self, column: &mut Column) {
        column.step("sign, by two signers at once", || {
            thread::scope(|scope| {
                for number in 0..3 {
                    scope.spawn(move || sign(&self.admin, OURS, &format!("{number}.0"), &["--as", "alice"]));
                    scope.spawn(move || sign(&self.bob, OURS, &format!("rc-{number}.0"), &[]));
                }
            });
            for number in 0..3 {
                assert_eq!(vouchers(&self.bob, OURS, &format!("{number}.0")), ["releases", "alice"]);
                assert_eq!(vouchers(&self.admin, OURS, &format!("rc-{number}.0")), ["releases", "bob"]);
            }
            OK
        });
    }

    fn taken_back(&self, column: &mut Column) {
        let (admin, bob, reader) = (&self.admin, &self.bob, &self.reader);
        column.step("revoke", || {
            let revoked = expect(admin, 0, &["revoke", &format!("{OURS}:2"), "--reason", "bad build"]);
            assert!(revoked.stderr.contains("the reason is lost"), "{revoked:?}");
            let refused = expect(bob, 12, &["resolve", &image(OURS, "2")]);
            assert!(refused.stderr.contains("may have been revoked"), "{refused:?}");
            reader.refused(&["lookup", OURS, "2"], "No valid trust data for 2");
            expect(admin, 12, &["revoke", &format!("{OURS}:2")]);
            REFUSED
        });
        column.step("signer remove", || {
            let removed = expect(admin, 0, &["signer", "remove", OURS, "bob"]);
            assert!(removed.stdout.contains("not signed any more: rc-1"), "{removed:?}");
            expect(admin, 12, &["resolve", &image(OURS, "rc-1")]);
            expect(bob, 12, &["sign", &image(OURS, "rc-2"), "--size", "4"]);
            let listed = reader.ok(&["list", OURS]);
            assert!(rows(&listed, "rc-1").is_empty() && !rows(&listed, "1").is_empty(), "{listed}");
            let listed = expect(admin, 0, &["signer", "list", OURS]).stdout;
            assert!(listed.contains("alice") && !listed.contains("bob"), "{listed}");
            OK
        });
    }
}

/// A repository that `notary` begins. Its owner holds the key of the snapshot.
struct Theirs {
    admin: Cli,
    notary: Notary,
}

impl Theirs {
    fn notary_signs(&self, tag: &str, roles: &[&str]) {
        let digest = Sha256Digest::of(tag.as_bytes()).to_string();
        let size = tag.len().to_string();
        let add = ["addhash", "-p", THEIRS, tag, &size, "--sha256", &digest];
        let roles: Vec<&str> = roles.iter().flat_map(|role| ["-r", role]).collect();
        self.notary.ok(&[&add[..], &roles].concat());
    }

    fn read(&self, column: &mut Column) {
        let (admin, notary) = (&self.admin, &self.notary);
        column.step("verify, of what notary signed", || {
            notary.ok(&["init", THEIRS]);
            self.notary_signs("1", &[]);
            let file = notary.trust().join("tuf").join(THEIRS).join("metadata/root.json");
            let root = Sha256Digest::of(&std::fs::read(file).unwrap()).to_string();
            expect(admin, 10, &["resolve", &image(THEIRS, "1")]);
            expect(admin, 0, &["trust", "add", THEIRS, "--mode", "legacy", "--root-sha256", &root]);
            assert_eq!(vouchers(admin, THEIRS, "1"), ["targets"]);
            OK
        });
        column.step("verify, of what a delegate of notary signed", || {
            let alice = OpensslKey::ecdsa(notary.cli.folder.path(), "alice");
            alice.give_to(notary, "alice");
            let certificate = alice.certificate.to_str().unwrap();
            for role in ["targets/releases", "targets/alice"] {
                notary.ok(&["delegation", "add", "-p", THEIRS, role, certificate, "--all-paths"]);
            }
            self.notary_signs("2", &["targets/releases", "targets/alice"]);
            assert_eq!(vouchers(admin, THEIRS, "2"), ["releases", "alice"]);
            self.notary_signs("3", &["targets/releases"]);
            let refused = expect(admin, 12, &["resolve", &image(THEIRS, "3")]);
            assert!(refused.stderr.contains("no signer vouches for it"), "{refused:?}");
            OK
        });
    }

    fn written(&self, column: &mut Column) {
        let (admin, notary) = (&self.admin, &self.notary);
        let bob = admin.home("keys/bob.pub");
        let add_bob = ["signer", "add", THEIRS, "bob", "--key", bob.to_str().unwrap()];
        column.step("signer add, while the owner signs the snapshot", || {
            import_targets(admin, notary);
            expect(admin, 0, &["key", "generate", "bob"]);
            let refused = expect(admin, 2, &add_bob);
            assert!(refused.stderr.contains("notary key rotate"), "{refused:?}");
            REFUSED
        });
        column.step("signer add, sign, once the server signs it", || {
            notary.ok(&["key", "rotate", THEIRS, "snapshot", "-r"]);
            expect(admin, 0, &add_bob);
            sign(admin, THEIRS, "4", &[]);
            assert_eq!(vouchers(admin, THEIRS, "4"), ["releases", "bob"]);
            assert_eq!(vouchers(admin, THEIRS, "2"), ["releases", "alice"]);
            let listed = notary.ok(&["list", THEIRS]);
            assert!(rows(&listed, "4")[0].ends_with("targets/releases"), "{listed}");
            OK
        });
        column.step("addhash by notary, after bulla published", || {
            self.notary_signs("5", &["targets/releases", "targets/alice"]);
            assert_eq!(vouchers(admin, THEIRS, "5"), ["releases", "alice"]);
            assert_eq!(vouchers(admin, THEIRS, "4"), ["releases", "bob"]);
            OK
        });
        column.step("signer remove, of a delegate of notary", || {
            expect(admin, 0, &["signer", "remove", THEIRS, "alice"]);
            expect(admin, 12, &["resolve", &image(THEIRS, "5")]);
            assert_eq!(vouchers(admin, THEIRS, "4"), ["releases", "bob"]);
            let listed = notary.ok(&["list", THEIRS, "-r", "targets/releases"]);
            assert!(rows(&listed, "5").is_empty() && rows(&listed, "4").len() == 1, "{listed}");
            OK
        });
    }
}

/// Takes the repository's key over from `notary`.
fn import_targets(admin: &Cli, notary: &Notary) {
    let keys = std::fs::read_dir(notary.trust().join("private")).unwrap();
    let mut keys = keys.map(|entry| entry.unwrap().path());
    let key = keys.find(|path| std::fs::read_to_string(path).unwrap().contains("role: targets")).unwrap();
    let passphrase = admin.folder.path().join("passphrase");
    private_file(&passphrase, PASSPHRASE);
    let import = ["key", "import", "--name", "targets", "--new-passphrase-file"];
    expect(admin, 0, &[&import[..], &[passphrase.to_str().unwrap(), key.to_str().unwrap()]].concat());
}
