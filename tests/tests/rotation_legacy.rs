//! Every role of a repository in legacy mode gets other keys, with `bullad` and with the server that
//! such repositories were made for. `notary` as it is follows: where it knew the repository
//! before, and where it begins now.

use std::path::{Path, PathBuf};

use bulla_keys_schema::digest::Sha256Digest;
use bulla_tests::cli::{Cli, PASSPHRASE, private_file};
use bulla_tests::notary::{Notary, RunningTrustServer};
use bulla_tests::notary_matrix::{self, Column, OK, REFUSED};
use bulla_tests::peers::debian;
use bulla_tests::programs::{expect, program};
use serde_json::Value;

/// No registry is asked: this is only a name.
const NAME: &str = "registry.test:5000/demo/rotated";
/// A repository that `notary` begins.
const THEIRS: &str = "registry.test:5000/demo/handed-over";

#[test]
fn notary_follows_the_rotation_of_every_role() {
    if debian::program(debian::BOOKWORM, "notary").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    notary_matrix::run("bulla rotate", folder.path(), |server, column| {
        let site = Site { server, admin: user(server), knowing: Notary::new(server).unwrap() };
        site.begin(column);
        for roles in [
            &["targets"][..],
            &["alice"],
            &["timestamp"],
            &["snapshot"],
            &["root"],
            &["root"],
            &["snapshot", "timestamp"],
            &["root", "targets", "alice", "snapshot", "timestamp"],
        ] {
            site.rotate(column, roles);
        }
        site.pinned_long_ago(column);
        site.refuse(column);
        site.share(column);
        site.renew(column);
        hand_over(server, column);
    });
}

struct Site<'a> {
    server: &'a RunningTrustServer,
    admin: Cli,
    /// Somebody who has read the repository before each rotation.
    knowing: Notary,
}

impl Site<'_> {
    fn begin(&self, column: &mut Column) {
        column.step("init, signer add, sign", || {
            let admin = &self.admin;
            for key in ["root", "targets", "alice"] {
                expect(admin, 0, &["key", "generate", key]);
            }
            expect(admin, 0, &["init", NAME, "--mode", "legacy"]);
            self.sign("0", &[]);
            let alice = admin.home("keys/alice.pub");
            expect(admin, 0, &["signer", "add", NAME, "alice", "--key", alice.to_str().unwrap()]);
            self.sign("1", &["--as", "alice"]);
            self.seen("1");
            OK
        });
    }

    fn rotate(&self, column: &mut Column, roles: &[&'static str]) {
        let command = match roles {
            [role] => role,
            [_, _] => "snapshot timestamp",
            _ => "all at once",
        };
        column.step(command, || {
            let before = self.inspect();
            let reader = self.reader();
            expect(&self.admin, 0, &[&["rotate", NAME], roles].concat());
            let after = self.inspect();
            for role in roles {
                let (before, after) = (keys_of(&before, role), keys_of(&after, role));
                assert!(before != after && after.len() == 1, "{role}: {before:?}, {after:?}");
            }
            self.seen("1");
            expect(&reader, 0, &["resolve", &image(NAME, "1")]);
            let tag = format!("v{}", after["roles"][0]["version"]);
            self.sign(&tag, &["--as", "alice"]);
            self.seen(&tag);
            expect(&reader, 0, &["resolve", &image(NAME, &tag)]);
            OK
        });
    }

    fn pinned_long_ago(&self, column: &mut Column) {
        column.step("fresh readers, pinned to the first root and to its key", || {
            let file = first_root(&self.admin.home("cache")).expect("the first root is kept");
            let digest = Sha256Digest::of(&std::fs::read(file).unwrap()).to_string();
            let key = self.admin.home("keys/root.pub");
            for pin in [["--root-sha256", &digest], ["--root-key", key.to_str().unwrap()]] {
                let reader = user(self.server);
                expect(&reader, 0, &[&["trust", "add", NAME, "--mode", "legacy"], &pin[..]].concat());
                expect(&reader, 0, &["resolve", &image(NAME, "1")]);
            }
            OK
        });
    }

    fn refuse(&self, column: &mut Column) {
        column.step("root, to a key that fits into no certificate", || {
            expect(&self.admin, 0, &["key", "generate", "edwards", "--algorithm", "ed25519"]);
            let refused = expect(&self.admin, 2, &["rotate", NAME, "root", "--key", "edwards"]);
            assert!(refused.stderr.contains("no ecdsa-p256 key"), "{refused:?}");
            let key = user(self.server);
            expect(&key, 0, &["key", "generate", "elsewhere"]);
            let file = key.home("keys/elsewhere.pub");
            let refused = expect(&self.admin, 2, &["rotate", NAME, "root", "--add", file.to_str().unwrap()]);
            assert!(refused.stderr.contains("only its holder can make"), "{refused:?}");
            self.seen("1");
            REFUSED
        });
    }

    fn share(&self, column: &mut Column) {
        column.step("root, to a key of somebody else in its certificate", || {
            let other = user(self.server);
            let folder = other.folder.path().to_owned();
            for key in ["first", "second"] {
                expect(&other, 0, &["key", "generate", key, "--algorithm", "ecdsa-p256"]);
            }
            let export = |key: &str, repository: &str| {
                let made = expect(&other, 0, &["key", "export", key, "--certificate", repository]);
                let file = folder.join(format!("{key}.crt"));
                std::fs::write(&file, made.stdout).unwrap();
                file.to_str().unwrap().to_owned()
            };
            let before = keys_of(&self.inspect(), "root");
            let wrong = export("first", THEIRS);
            let refused = expect(&self.admin, 2, &["rotate", NAME, "root", "--add", &wrong]);
            assert!(refused.stderr.contains(&format!("is for {THEIRS}")), "{refused:?}");
            let first = export("first", NAME);
            expect(&self.admin, 0, &["rotate", NAME, "root", "--add", &first]);
            let shared = keys_of(&self.inspect(), "root");
            assert!(before.iter().all(|key| shared.contains(key)) && shared.len() == 2, "{shared:?}");
            self.seen("1");
            // A file named without a folder is one all the same.
            let nowhere = expect(&self.admin, 2, &["rotate", NAME, "root", "--add", "nowhere.crt"]);
            assert!(nowhere.stderr.contains("cannot read nowhere.crt"), "{nowhere:?}");
            let second = export("second", NAME);
            let keys = ["--key", &before[0], "--key", &second];
            let print = expect(&self.admin, 2, &[&["rotate", NAME, "root"], &keys[..]].concat());
            assert!(print.stderr.contains(&before[0]), "{print:?}");
            expect(&self.admin, 0, &["rotate", NAME, "root", "--remove", &first, "--add", &second]);
            let after = keys_of(&self.inspect(), "root");
            assert!(after != shared && after.len() == 2, "{after:?}");
            self.seen("1");
            self.sign("shared", &["--as", "alice"]);
            self.seen("shared");
            OK
        });
    }

    fn renew(&self, column: &mut Column) {
        column.step("renew", || {
            let before = self.inspect();
            assert_eq!(expect(&self.admin, 0, &["renew", NAME]).stdout, "nothing renewed\n");
            expect(&self.admin, 0, &["renew", NAME, "--within", "20000d"]);
            let after = self.inspect();
            for role in ["root", "targets", "releases", "alice"] {
                let version = |of: &Value| of_role(of, role)["version"].as_u64().unwrap();
                assert_eq!(version(&before) + 1, version(&after), "{role}");
            }
            self.seen("1");
            expect(&self.admin, 0, &["status", NAME]);
            OK
        });
    }

    fn sign(&self, tag: &str, more: &[&str]) {
        sign(&self.admin, NAME, tag, more);
    }

    /// By `notary` that knew the repository, and by one that did not.
    fn seen(&self, tag: &str) {
        let digest = Sha256Digest::of(tag.as_bytes());
        for reader in [&self.knowing, &Notary::new(self.server).unwrap()] {
            let found = reader.ok(&["lookup", NAME, tag]);
            assert_eq!(found.trim(), format!("{tag} sha256:{digest} {}", tag.len()));
        }
    }

    /// Somebody who trusts the root of now, and has looked once.
    fn reader(&self) -> Cli {
        let reader = user(self.server);
        let root = self.inspect()["root_sha256"].as_str().unwrap().to_owned();
        expect(&reader, 0, &["trust", "add", NAME, "--mode", "legacy", "--root-sha256", &root]);
        expect(&reader, 0, &["resolve", &image(NAME, "1")]);
        reader
    }

    fn inspect(&self) -> Value {
        expect(&self.admin, 0, &["inspect", NAME]).json()
    }
}

/// A repository whose owner signs the snapshot: the server takes that over.
fn hand_over(server: &RunningTrustServer, column: &mut Column) {
    column.step("snapshot, of a repository of notary", || {
        let (admin, notary) = (user(server), Notary::new(server).unwrap());
        notary.ok(&["init", "-p", THEIRS]);
        let file = notary.trust().join("tuf").join(THEIRS).join("metadata/root.json");
        let root = Sha256Digest::of(&std::fs::read(file).unwrap()).to_string();
        expect(&admin, 0, &["trust", "add", THEIRS, "--mode", "legacy", "--root-sha256", &root]);
        import(&admin, &notary, "root");
        import(&admin, &notary, "targets");
        expect(&admin, 0, &["rotate", THEIRS, "snapshot"]);
        sign(&admin, THEIRS, "1", &[]);
        let digest = Sha256Digest::of(b"1");
        assert_eq!(notary.ok(&["lookup", THEIRS, "1"]).trim(), format!("1 sha256:{digest} 1"));
        OK
    });
}

/// Takes a key over from `notary`.
fn import(admin: &Cli, notary: &Notary, role: &str) {
    let keys = std::fs::read_dir(notary.trust().join("private")).unwrap();
    let mut keys = keys.map(|entry| entry.unwrap().path());
    let is_wanted = |path: &Path| std::fs::read_to_string(path).unwrap().contains(&format!("role: {role}"));
    let key = keys.find(|path| is_wanted(path)).unwrap();
    let passphrase = admin.folder.path().join("passphrase");
    private_file(&passphrase, PASSPHRASE);
    let import = ["key", "import", "--name", role, "--new-passphrase-file"];
    expect(admin, 0, &[&import[..], &[passphrase.to_str().unwrap(), key.to_str().unwrap()]].concat());
}

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

fn first_root(folder: &Path) -> Option<PathBuf> {
    std::fs::read_dir(folder).ok()?.map(|entry| entry.unwrap().path()).find_map(|path| match path.is_dir() {
        true => first_root(&path),
        false => path.ends_with("1.root.json").then_some(path),
    })
}

fn of_role<'a>(inspected: &'a Value, role: &str) -> &'a Value {
    inspected["roles"].as_array().unwrap().iter().find(|found| found["role"] == role).unwrap()
}

fn keys_of(inspected: &Value, role: &str) -> Vec<String> {
    let keys = of_role(inspected, role)["keys"].as_array().unwrap().iter();
    keys.map(|key| key.as_str().unwrap().to_owned()).collect()
}
