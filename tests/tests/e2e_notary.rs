//! Debian's `notary` program, unmodified, through the whole life of a repository, with the server it was
//! written for and with `bullad`. The same steps, the same answers.

use std::thread;

use bulla_tests::notary::{Notary, RunningTrustServer, refused};
use bulla_tests::notary_keys::OpensslKey;
use bulla_tests::notary_matrix::{self, Column, OK, REFUSED};
use bulla_tests::peers::debian;
use serde_json::Value;

/// No registry is asked: this is only a name.
const GUN: &str = "registry.test:5000/demo/app";

/// SHA-256 of whatever image.
const DIGEST: &str = "c0535e4be2b79ffd93291305436bf889314e4a3faec05ecffcbb7df31ad9e51a";

/// The roles in which docker and `alice` sign.
const BOTH: &str = "targets/releases,targets/alice";

#[test]
fn notary_does_all_it_can_do() {
    if debian::program(debian::BOOKWORM, "notary").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    notary_matrix::run("notary 0.7.0", folder.path(), |server, column| {
        let desk = Desk::new(server);
        desk.first_publication(column);
        desk.targets(column);
        desk.delegations(column);
        desk.rotations(column);
        desk.repairs(column);
        desk.keys(column);
        desk.without_a_server(column);
    });
}

/// The people of one repository.
struct Desk<'a> {
    server: &'a RunningTrustServer,
    admin: Notary,
    /// Holds the key of the delegations, and nothing else.
    delegate: Notary,
    reader: Notary,
    alice: OpensslKey,
}

impl<'a> Desk<'a> {
    fn new(server: &'a RunningTrustServer) -> Self {
        let user = || Notary::new(server).unwrap();
        let (admin, delegate, reader) = (user(), user(), user());
        let alice = OpensslKey::ecdsa(delegate.cli.folder.path(), "alice");
        Self { server, admin, delegate, reader, alice }
    }

    /// The names of all targets that `user` comes to see, sorted, with the role of each.
    fn listed(user: &Notary) -> Vec<(String, String)> {
        let text = user.ok(&["list", GUN]);
        let rows = text.lines().skip_while(|line| !line.starts_with("---")).skip(1);
        let mut rows: Vec<_> = rows
            .filter_map(|row| {
                let mut columns = row.split_whitespace();
                Some((columns.next()?.to_owned(), columns.next_back()?.to_owned()))
            })
            .collect();
        rows.sort();
        rows
    }

    fn sees(user: &Notary, expected: &[(&str, &str)]) {
        let expected: Vec<_> =
            expected.iter().map(|(name, role)| ((*name).to_owned(), (*role).to_owned())).collect();
        assert_eq!(Self::listed(user), expected);
    }

    /// What a client that never saw the repository reads of `role`.
    fn document(&self, role: &str) -> Value {
        let fresh = Notary::new(self.server).unwrap();
        fresh.ok(&["list", GUN]);
        let file = fresh.trust().join("tuf").join(GUN).join("metadata").join(format!("{role}.json"));
        let document: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        document["signed"].clone()
    }

    /// The keys that the root names for `role`.
    fn keys_of(&self, role: &str) -> Value {
        let keys = self.document("root")["roles"][role]["keyids"].clone();
        assert_eq!(keys.as_array().unwrap().len(), 1, "{keys}");
        keys
    }

    fn first_publication(&self, column: &mut Column) {
        let (admin, reader) = (&self.admin, &self.reader);
        column.step("list, of a repository that nobody began", || {
            reader.refused(&["list", GUN], "does not have trust data for");
            REFUSED
        });
        column.step("init", || {
            admin.ok(&["init", GUN]);
            let keys = admin.ok(&["key", "list"]);
            for role in ["root", "targets", "snapshot"] {
                assert!(keys.lines().any(|line| line.starts_with(role)), "{keys}");
            }
            OK
        });
        column.step("addhash, status, reset, publish", || {
            admin.ok(&["addhash", GUN, "v0", "1", "--sha256", DIGEST]);
            admin.ok(&["reset", GUN, "--all"]);
            admin.ok(&["addhash", GUN, "v1", "1234", "--sha256", DIGEST]);
            let status = admin.ok(&["status", GUN]);
            assert!(status.contains("v1") && !status.contains("v0"), "{status}");
            admin.ok(&["publish", GUN]);
            let status = admin.ok(&["status", GUN]);
            assert!(status.contains("No unpublished changes"), "{status}");
            OK
        });
        column.step("list, by a stranger", || {
            Self::sees(reader, &[("v1", "targets")]);
            OK
        });
        column.step("lookup", || {
            let found = reader.ok(&["lookup", GUN, "v1"]);
            assert_eq!(found.trim(), format!("v1 sha256:{DIGEST} 1234"));
            OK
        });
        column.step("lookup, of an unknown target", || {
            reader.refused(&["lookup", GUN, "ghost"], "No valid trust data for ghost");
            REFUSED
        });
        column.step("list, server URL with a slash at the end", || {
            let fresh = Notary::at(&format!("{}/", self.server.url), &self.server.ca_cert).unwrap();
            let ran = fresh.run(&["list", GUN]);
            if self.server.is_bullad() {
                assert_eq!(ran.code, 0, "{ran:?}");
                return OK;
            }
            refused(&ran, "301");
            "refused: 301"
        });
    }

    fn targets(&self, column: &mut Column) {
        let (admin, reader) = (&self.admin, &self.reader);
        let file = admin.cli.folder.path().join("file");
        column.step("add", || {
            std::fs::write(&file, "hello\n").unwrap();
            admin.ok(&["add", "-p", GUN, "file", file.to_str().unwrap()]);
            Self::sees(reader, &[("file", "targets"), ("v1", "targets")]);
            OK
        });
        column.step("verify", || {
            let ran = reader.run_with(&["verify", GUN, "file"], "hello\n");
            assert_eq!(ran.ok(), "hello\n");
            OK
        });
        column.step("verify, other bytes", || {
            let ran = reader.run_with(&["verify", GUN, "file"], "hullo\n");
            refused(&ran, "data not present in the trusted collection");
            REFUSED
        });
        column.step("add --custom", || {
            let custom = admin.cli.folder.path().join("custom.json");
            std::fs::write(&custom, r#"{"build":7,"by":"ci"}"#).unwrap();
            let arguments =
                ["add", "-p", GUN, "custom", file.to_str().unwrap(), "--custom", custom.to_str().unwrap()];
            admin.ok(&arguments);
            assert!(reader.ok(&["lookup", GUN, "custom"]).starts_with("custom sha256:"));
            OK
        });
        column.step("remove", || {
            admin.ok(&["remove", GUN, "file"]);
            admin.ok(&["remove", "-p", GUN, "custom"]);
            Self::sees(reader, &[("v1", "targets")]);
            OK
        });
    }

    fn delegations(&self, column: &mut Column) {
        let (admin, delegate, reader) = (&self.admin, &self.delegate, &self.reader);
        let certificate = self.alice.certificate();
        column.step("delegation add, list", || {
            admin.ok(&["delegation", "add", GUN, "targets/releases", certificate, "--all-paths"]);
            admin.ok(&delegation("targets/alice", certificate));
            let listed = reader.ok(&["delegation", "list", GUN]);
            assert!(listed.contains("targets/alice") && listed.contains("targets/releases"), "{listed}");
            OK
        });
        column.step("addhash --roles, without the snapshot key", || {
            self.alice.give_to(delegate, "alice");
            delegate.refused(&sign("v2", BOTH), "Metadata hierarchy is incomplete: ");
            delegate.ok(&["reset", GUN, "--all"]);
            REFUSED
        });
        column.step("key rotate snapshot -r", || {
            admin.ok(&["key", "rotate", GUN, "snapshot", "-r"]);
            OK
        });
        column.step("addhash --roles, by a delegate", || {
            delegate.ok(&sign("v2", BOTH));
            Self::sees(reader, &[("v1", "targets"), ("v2", "targets/releases")]);
            let of_alice = reader.ok(&["list", GUN, "-r", "targets/alice"]);
            assert!(of_alice.contains("v2"), "{of_alice}");
            OK
        });
        column.step("delegation of a delegation, RSA key", || {
            let rsa = OpensslKey::rsa(admin.cli.folder.path(), "qa");
            delegate.ok(&[
                "delegation",
                "add",
                "-p",
                GUN,
                "targets/alice/qa",
                rsa.certificate(),
                "--paths",
                "qa/",
            ]);
            rsa.give_to(admin, "qa");
            admin.ok(&sign("qa/1", "targets/alice/qa"));
            let expected = [("qa/1", "targets/alice/qa"), ("v1", "targets"), ("v2", "targets/releases")];
            Self::sees(reader, &expected);
            OK
        });
        column.step("two delegates publish at the same moment, 10 times", || self.at_the_same_moment());
    }

    /// Both hold the key of `targets/alice`'s owner, so that each can publish a role of his own.
    fn at_the_same_moment(&self) -> &'static str {
        let pair = |name| {
            let user = Notary::new(self.server).unwrap();
            let keys = OpensslKey::ecdsa(user.cli.folder.path(), name);
            keys.give_to(&user, name);
            let role = format!("targets/{name}");
            self.admin.ok(&delegation(&role, keys.certificate()));
            (user, role)
        };
        let users = [pair("carol"), pair("dave")];
        let refused = thread::scope(|scope| {
            let running = users.each_ref().map(|(user, role)| {
                scope.spawn(move || {
                    let publish = |round: usize| {
                        let tag = format!("{}-{round}", role.replace('/', "-"));
                        user.run(&sign(&tag, role)).code != 0
                    };
                    (0..10).filter(|round| publish(*round)).count()
                })
            });
            running.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        if self.server.is_bullad() {
            assert_eq!(refused, 0, "a publication was lost");
            let listed = Self::listed(&self.reader);
            assert_eq!(listed.iter().filter(|(_, role)| role == "targets/carol").count(), 10, "{listed:?}");
            assert_eq!(listed.iter().filter(|(_, role)| role == "targets/dave").count(), 10, "{listed:?}");
            return OK;
        }
        // What stays on the table would be published again by the steps that follow.
        if refused == 0 { "ok, by luck" } else { "some refused" }
    }

    fn rotations(&self, column: &mut Column) {
        let (admin, reader) = (&self.admin, &self.reader);
        let rotate = |role: &'static str, more: &[&str]| {
            let before = self.keys_of(role);
            admin.run_with(&[&["key", "rotate", GUN, role], more].concat(), "yes\n").ok();
            assert_ne!(self.keys_of(role), before);
        };
        column.step("key rotate timestamp -r", || {
            rotate("timestamp", &["-r"]);
            OK
        });
        column.step("key rotate timestamp", || {
            let said = "does not permit the client managing the timestamp key";
            admin.refused(&["key", "rotate", GUN, "timestamp"], said);
            REFUSED
        });
        column.step("key rotate targets", || {
            rotate("targets", &[]);
            OK
        });
        column.step("key rotate root, twice", || {
            rotate("root", &[]);
            rotate("root", &[]);
            OK
        });
        column.step("publish, by a client of before these rotations", || {
            self.delegate.ok(&sign("v3", BOTH));
            OK
        });
        column.step("list, by a client of before these rotations", || {
            assert!(Self::listed(reader).contains(&("v3".to_owned(), "targets/releases".to_owned())));
            OK
        });
        column.step("key rotate snapshot, and back with -r", || {
            rotate("snapshot", &[]);
            admin.ok(&["addhash", "-p", GUN, "v4", "4", "--sha256", DIGEST]);
            rotate("snapshot", &["-r"]);
            assert!(Self::listed(reader).contains(&("v4".to_owned(), "targets".to_owned())));
            OK
        });
    }

    fn repairs(&self, column: &mut Column) {
        let (admin, delegate, reader) = (&self.admin, &self.delegate, &self.reader);
        column.step("witness", || {
            for (user, role) in [(admin, "targets"), (delegate, "targets/releases")] {
                let before = self.document(role)["version"].as_u64().unwrap();
                user.ok(&["witness", "-p", GUN, role]);
                assert_eq!(self.document(role)["version"], before + 1, "{role}");
            }
            OK
        });
        column.step("delegation remove, of one role", || {
            admin.ok(&["delegation", "remove", "-y", "-p", GUN, "targets/alice"]);
            let listed = reader.ok(&["delegation", "list", GUN]);
            assert!(!listed.contains("targets/alice"), "{listed}");
            OK
        });
        column.step("delegation purge, of one key", || {
            let id = key_id(delegate, "alice").unwrap();
            admin.ok(&["delegation", "purge", "-p", GUN, "--key", &id]);
            let listed = reader.ok(&["delegation", "list", GUN]);
            assert!(!listed.contains(&id), "{listed}");
            delegate.refused(&sign("v5", BOTH), "");
            delegate.ok(&["reset", GUN, "--all"]);
            assert!(!Self::listed(reader).iter().any(|(name, _)| name == "v5"));
            OK
        });
        column.step("delegation add, of a role with new keys", || {
            let keys = OpensslKey::ecdsa(admin.cli.folder.path(), "erin");
            admin.ok(&delegation("targets/releases", keys.certificate()));
            keys.give_to(delegate, "erin");
            let said = if self.server.is_bullad() { "notary witness -p" } else { "trust server rejected" };
            delegate.refused(&sign("v6", "targets/releases"), said);
            delegate.ok(&["reset", GUN, "--all"]);
            "refused until witness"
        });
        column.step("witness, of a role with new keys", || {
            delegate.ok(&["witness", "-p", GUN, "targets/releases"]);
            delegate.ok(&sign("v6", "targets/releases"));
            assert!(Self::listed(reader).contains(&("v6".to_owned(), "targets/releases".to_owned())));
            OK
        });
    }

    fn keys(&self, column: &mut Column) {
        let admin = &self.admin;
        let other = Notary::new(self.server).unwrap();
        column.step("key export, import", || {
            let bundle = admin.cli.folder.path().join("exported.pem");
            admin.ok(&["key", "export", "-o", bundle.to_str().unwrap()]);
            other.ok(&["key", "import", bundle.to_str().unwrap()]);
            other.ok(&["addhash", "-p", GUN, "v7", "7", "--sha256", DIGEST]);
            assert!(Self::listed(&self.reader).contains(&("v7".to_owned(), "targets".to_owned())));
            OK
        });
        column.step("key remove", || {
            while let Some(id) = key_id(&other, "targets") {
                other.run_with(&["key", "remove", &id], "yes\n").ok();
            }
            other.refused(
                &["addhash", "-p", GUN, "v8", "8", "--sha256", DIGEST],
                "could not find necessary signing keys",
            );
            OK
        });
        column.step("key generate", || {
            let prefix = admin.cli.folder.path().join("made");
            admin.ok(&["key", "generate", "-r", "frank", "-o", prefix.to_str().unwrap()]);
            assert!(prefix.with_extension("pem").is_file());
            OK
        });
    }

    fn without_a_server(&self, column: &mut Column) {
        // Nobody listens on port 1.
        let alone = self.reader_at("https://localhost:1");
        column.step("list, server down", || {
            let ran = alone.run(&["list", GUN]);
            assert!(ran.code == 0 && ran.stdout.contains("v7"), "{ran:?}");
            assert!(ran.stderr.contains("using cached timestamp"), "{ran:?}");
            "ok, from the cache, with a warning"
        });
        column.step("publish, server down", || {
            alone.refused(&["addhash", "-p", GUN, "v8", "8", "--sha256", DIGEST], "");
            alone.ok(&["reset", GUN, "--all"]);
            REFUSED
        });
    }

    /// The reader's cache, with another address of the server.
    fn reader_at(&self, url: &str) -> Notary {
        self.reader.asking(url).unwrap()
    }
}

/// Arguments that sign `tag` in `roles` and publish it.
fn sign<'a>(tag: &'a str, roles: &'a str) -> [&'a str; 9] {
    ["addhash", "-p", GUN, tag, "5", "--sha256", DIGEST, "--roles", roles]
}

/// Arguments that give `role` to the holder of a certificate.
fn delegation<'a>(role: &'a str, certificate: &'a str) -> [&'a str; 7] {
    ["delegation", "add", "-p", GUN, role, certificate, "--all-paths"]
}

/// The id of the first private key that `holder` has for `role`.
fn key_id(holder: &Notary, role: &str) -> Option<String> {
    let listed = holder.ok(&["key", "list"]);
    let row = listed.lines().find(|line| line.starts_with(role))?;
    row.split_whitespace().find(|column| column.len() == 64).map(str::to_owned)
}
