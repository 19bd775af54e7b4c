//! `docker`, `notary` and `bulla` on the same repositories: what one signs the others trust, what one
//! takes back the others refuse.

use bulla_tests::cli::{Cli, PASSPHRASE, private_file};
use bulla_tests::docker::{Docker, pushed};
use bulla_tests::docker_site::{Site, matrix};
use bulla_tests::notary::{Notary, refused};
use bulla_tests::notary_matrix::{Column, OK, Outcome, REFUSED};
use bulla_tests::programs::expect;

#[test]
fn bulla_and_docker_of_debian_12_trust_each_other() {
    matrix("bookworm", all);
}

#[test]
fn bulla_and_docker_of_debian_13_trust_each_other() {
    matrix("trixie", all);
}

#[test]
fn bulla_and_docker_of_the_next_debian_trust_each_other() {
    matrix("forky", all);
}

fn all(site: &Site<'_>, column: &mut Column) {
    let docker = DockerFirst { name: site.repository("docker"), alice: site.user(), bulla: site.bulla() };
    docker.verified(column);
    docker.taken_over(column, site);
    let bulla = BullaFirst {
        name: site.repository("bulla"),
        admin: site.bulla(),
        pusher: site.user(),
        consumer: site.user(),
    };
    bulla.without_signers(column);
    bulla.with_signers(column, site);
    bulla.taken_back(column);
}

/// A repository that docker began.
struct DockerFirst {
    name: String,
    alice: Docker,
    bulla: Cli,
}

impl DockerFirst {
    fn image(&self, tag: &str) -> String {
        format!("{}:{tag}", self.name)
    }

    fn verified(&self, column: &mut Column) {
        let (alice, bulla) = (&self.alice, &self.bulla);
        column.step("bulla verify, of what docker signed", || {
            alice.ok(&["trust", "key", "generate", "alice"]);
            alice.ok(&["trust", "signer", "add", "--key", "alice.pub", "alice", &self.name]);
            alice.make_image(&self.image("1"), &format!("one of {}", self.name));
            let digest = pushed(&alice.ok(&["trust", "sign", &self.image("1")]));
            expect(bulla, 10, &["verify", &self.image("1")]);
            let root = alice.root_sha256(&self.name);
            expect(bulla, 0, &["trust", "add", &self.name, "--mode", "legacy", "--root-sha256", &root]);
            let pinned = expect(bulla, 0, &["verify", &self.image("1")]).stdout;
            assert_eq!(pinned.trim(), format!("{}@sha256:{digest}", self.name));
            OK
        });
        column.step("bulla verify, of a tag that docker did not sign", || {
            push(alice, &self.image("2"), "two");
            expect(bulla, 12, &["verify", &self.image("2")]);
            REFUSED
        });
        column.step("bulla verify, of a tag that was moved without a signature", || {
            push(alice, &self.image("1"), "another one");
            expect(bulla, 15, &["verify", &self.image("1")]);
            REFUSED
        });
        column.step("bulla inspect --pretty, docker trust inspect --pretty", || {
            let shown = expect(bulla, 0, &["inspect", "--pretty", &self.name]).stdout;
            assert_eq!(shown, alice.ok(&["trust", "inspect", "--pretty", &self.name]));
            "the same text"
        });
    }

    /// Whoever leaves docker keeps his keys.
    fn taken_over(&self, column: &mut Column, site: &Site<'_>) {
        let (alice, bulla) = (&self.alice, &self.bulla);
        column.step("bulla key import, sign, with the keys of docker", || {
            let passphrase = alice.file("passphrase");
            private_file(&passphrase, PASSPHRASE);
            for role in ["root", "targets", "alice"] {
                let keys = alice.keys_of(role);
                let [key] = keys.as_slice() else { panic!("{keys:?}") };
                let import = ["key", "import", "--name", role, "--new-passphrase-file"];
                expect(
                    bulla,
                    0,
                    &[&import[..], &[passphrase.to_str().unwrap(), key.to_str().unwrap()]].concat(),
                );
            }
            let (id, digest) = push(alice, &self.image("3"), "three");
            expect(bulla, 0, &["sign", &self.image("3"), "--as", "alice"]);
            assert!(signed(&site.user(), &self.name, "3", &digest, &["alice"]));
            assert_eq!(pull(alice, &site.user(), &self.image("3"), &id), OK);
            OK
        });
        column.step("bulla signer add, trust sign by docker", || {
            let bob = site.user();
            bob.ok(&["trust", "key", "generate", "bob"]);
            let key = bob.file("bob.pub");
            expect(bulla, 0, &["signer", "add", &self.name, "bob", "--key", key.to_str().unwrap()]);
            let (_, digest) = push(&bob, &self.image("4"), "four");
            bob.ok(&["trust", "sign", &self.image("4")]);
            let pinned = expect(bulla, 0, &["verify", &self.image("4")]).stdout;
            assert_eq!(pinned.trim(), format!("{}@sha256:{digest}", self.name));
            assert!(signed(&site.user(), &self.name, "4", &digest, &["bob"]));
            OK
        });
        column.step("bulla verify, of what docker revoked", || {
            expect(bulla, 0, &["verify", &self.image("3")]);
            alice.ok(&["trust", "revoke", "--yes", &self.image("3")]);
            expect(bulla, 12, &["verify", &self.image("3")]);
            REFUSED
        });
        column.step("trust sign, after bulla published", || {
            let (id, digest) = push(alice, &self.image("5"), "five");
            alice.ok(&["trust", "sign", &self.image("5")]);
            assert!(signed(&site.user(), &self.name, "5", &digest, &["alice"]));
            pull(alice, &site.user(), &self.image("5"), &id)
        });
    }
}

/// A repository that `bulla` began.
struct BullaFirst {
    name: String,
    admin: Cli,
    /// Only puts images into the registry.
    pusher: Docker,
    consumer: Docker,
}

impl BullaFirst {
    fn image(&self, tag: &str) -> String {
        format!("{}:{tag}", self.name)
    }

    fn without_signers(&self, column: &mut Column) {
        column.step("pull, of what bulla signed without signers", || {
            for key in ["root", "targets", "dave"] {
                expect(&self.admin, 0, &["key", "generate", key]);
            }
            expect(&self.admin, 0, &["init", "--mode", "legacy", &self.name]);
            let (id, digest) = push(&self.pusher, &self.image("1"), "one");
            expect(&self.admin, 0, &["sign", &self.image("1")]);
            assert!(signed(&self.consumer, &self.name, "1", &digest, &["Repo Admin"]));
            pull(&self.pusher, &self.consumer, &self.image("1"), &id)
        });
    }

    fn with_signers(&self, column: &mut Column, site: &Site<'_>) {
        let (admin, consumer) = (&self.admin, &self.consumer);
        column.step("pull, of what a signer signed with bulla", || {
            let key = admin.home("keys/dave.pub");
            expect(admin, 0, &["signer", "add", &self.name, "dave", "--key", key.to_str().unwrap()]);
            assert_eq!(consumer.signers(&self.name), ["dave"]);
            let (id, digest) = push(&self.pusher, &self.image("2"), "two");
            expect(admin, 0, &["sign", &self.image("2"), "--as", "dave"]);
            assert!(signed(consumer, &self.name, "2", &digest, &["dave"]));
            pull(&self.pusher, consumer, &self.image("2"), &id)
        });
        column.step("pull, of what bulla did not sign", || {
            push(&self.pusher, &self.image("3"), "three");
            pull_refused(consumer, &self.image("3"))
        });
        column.step("pull, of what bulla signed anew", || {
            let (id, digest) = push(&self.pusher, &self.image("2"), "another two");
            expect(admin, 0, &["sign", &self.image("2"), "--as", "dave"]);
            assert!(signed(consumer, &self.name, "2", &digest, &["dave"]));
            pull(&self.pusher, consumer, &self.image("2"), &id)
        });
        column.step("notary list, lookup, of what bulla signed", || {
            let notary = Notary::new(site.server).unwrap();
            assert!(notary.ok(&["lookup", &self.name, "2"]).starts_with("2 sha256:"));
            let listed = notary.ok(&["list", &self.name, "-r", "targets/dave"]);
            assert!(listed.lines().any(|line| line.starts_with("2 ")), "{listed}");
            OK
        });
        column.step("bulla inspect --pretty, docker trust inspect --pretty", || {
            let shown = expect(admin, 0, &["inspect", "--pretty", &self.name]).stdout;
            assert_eq!(shown, consumer.ok(&["trust", "inspect", "--pretty", &self.name]));
            "the same text"
        });
    }

    fn taken_back(&self, column: &mut Column) {
        let (admin, consumer) = (&self.admin, &self.consumer);
        column.step("pull, of what bulla revoked", || {
            expect(admin, 0, &["revoke", &self.image("2")]);
            pull_refused(consumer, &self.image("2"))
        });
        column.step("trust inspect, after bulla signer remove", || {
            push(&self.pusher, &self.image("4"), "four");
            expect(admin, 0, &["sign", &self.image("4"), "--as", "dave"]);
            expect(admin, 0, &["signer", "remove", &self.name, "dave"]);
            assert!(consumer.signers(&self.name).is_empty());
            OK
        });
        column.step("pull, of what the removed signer signed", || pull_refused(consumer, &self.image("4")));
    }
}

/// Pushes an image without signing it. Returns its id and its digest.
fn push(user: &Docker, image: &str, content: &str) -> (String, String) {
    let id = user.make_image(image, &format!("{content} of {image}"));
    (id, pushed(&user.ok(&["push", image])))
}

/// The consumer pulls `image`, which the engine no longer has, and gets what has this id.
fn pull(pusher: &Docker, consumer: &Docker, image: &str, id: &str) -> Outcome {
    pusher.ok(&["image", "rm", "--force", id]);
    consumer.trusting(&["pull", image]).ok();
    assert_eq!(consumer.image_id(image), id);
    OK
}

fn pull_refused(consumer: &Docker, image: &str) -> Outcome {
    refused(&consumer.trusting(&["pull", image]), "No valid trust data for");
    REFUSED
}

/// Whether docker says that these signers, and nobody else, signed `tag`.
fn signed(user: &Docker, name: &str, tag: &str, digest: &str, signers: &[&str]) -> bool {
    user.signed_tags(name).iter().any(|row| row.0 == tag && row.1 == digest && row.2 == signers)
}
