//! Docker Content Trust as its users have it: `docker` of three releases, an engine and a registry,
//! with the trust server of old and with `bullad`. The same steps, the same answers.

use std::collections::BTreeMap;
use std::process::Command;

use bulla_tests::docker::{Docker, pushed};
use bulla_tests::docker_site::{Site, matrix};
use bulla_tests::notary::{Notary, refused};
use bulla_tests::notary_keys::OpensslKey;
use bulla_tests::notary_matrix::{Column, OK, Outcome, REFUSED};
use serde_json::json;

#[test]
fn docker_of_debian_12_does_all_it_can_do() {
    life("bookworm");
}

#[test]
fn docker_of_debian_13_does_all_it_can_do() {
    life("trixie");
}

#[test]
fn docker_of_the_next_debian_does_all_it_can_do() {
    life("forky");
}

fn life(suite: &str) {
    matrix(suite, |site, column| {
        let desk = Desk::new(site);
        desk.signers(column);
        desk.signing(column);
        desk.consumers(column);
        desk.with_notary(column);
        desk.taking_back(column);
        desk.removing_a_signer(column);
    });
}

/// The people of one repository.
struct Desk<'a> {
    site: &'a Site<'a>,
    name: String,
    /// Began the repository, and signs.
    alice: Docker,
    /// Signs as well.
    bob: Docker,
    consumer: Docker,
}

impl<'a> Desk<'a> {
    fn new(site: &'a Site<'a>) -> Self {
        let name = site.repository("team/app");
        Self { site, name, alice: site.user(), bob: site.user(), consumer: site.user() }
    }

    fn image(&self, tag: &str) -> String {
        format!("{}:{tag}", self.name)
    }

    /// Pushes an image without signing it. Returns its id and its digest.
    fn push_unsigned(&self, tag: &str, content: &str) -> (String, String) {
        let image = self.image(tag);
        let id = self.alice.make_image(&image, &format!("{content} of {}", self.name));
        (id, pushed(&self.alice.ok(&["push", &image])))
    }

    /// What a consumer gets who pulls `tag`: the id of the image.
    fn pull(&self, tag: &str) -> String {
        let image = self.image(tag);
        self.consumer.trusting(&["pull", &image]).ok();
        self.consumer.image_id(&image)
    }

    fn pull_refused(&self, tag: &str) -> Outcome {
        let image = self.image(tag);
        let _absent = self.consumer.run(&["image", "rm", "--force", &image]);
        refused(&self.consumer.trusting(&["pull", &image]), &format!("No valid trust data for {tag}"));
        assert_ne!(self.consumer.run(&["image", "inspect", &image]).code, 0, "it was pulled");
        REFUSED
    }

    fn tags(&self) -> BTreeMap<String, (String, Vec<String>)> {
        let tags = self.consumer.signed_tags(&self.name).into_iter();
        tags.map(|(tag, digest, signers)| (tag, (digest, signers))).collect()
    }

    /// Asserts who signed what of `tag`.
    fn signed(&self, tag: &str, digest: &str, signers: &[&str]) {
        let signers: Vec<String> = signers.iter().map(|signer| (*signer).to_owned()).collect();
        assert_eq!(self.tags().get(tag), Some(&(digest.to_owned(), signers)), "{tag}");
    }

    fn signers(&self, column: &mut Column) {
        let (alice, bob) = (&self.alice, &self.bob);
        column.step("trust inspect, of a repository that nobody began", || {
            let ran = self.consumer.run(&["trust", "inspect", &self.name]);
            refused(&ran, "no signatures or cannot access");
            REFUSED
        });
        column.step("trust key generate", || {
            alice.ok(&["trust", "key", "generate", "alice"]);
            assert!(alice.file("alice.pub").is_file());
            assert_eq!(alice.keys_of("alice").len(), 1);
            OK
        });
        column.step("trust key load", || {
            let key = OpensslKey::ecdsa(&bob.file(""), "bob");
            bob.ok(&["trust", "key", "load", "--name", "bob", key.private.to_str().unwrap()]);
            assert_eq!(bob.keys_of("bob").len(), 1);
            OK
        });
        column.step("trust key load, of a key that docker made", || {
            let key = self.consumer.file("eve.key");
            std::fs::copy(&alice.keys_of("alice")[0], &key).unwrap();
            let ran = self.consumer.run(&["trust", "key", "load", "--name", "eve", key.to_str().unwrap()]);
            assert!(ran.code == 0 && ran.stdout.contains("Successfully imported"), "{ran:?}");
            assert_eq!(self.consumer.keys_of("eve").len(), 0);
            "exit 0, nothing loaded"
        });
        column.step("trust signer add, which begins the repository", || {
            alice.ok(&["trust", "signer", "add", "--key", "alice.pub", "alice", &self.name]);
            assert_eq!(self.consumer.signers(&self.name), ["alice"]);
            OK
        });
        column.step("trust signer add, of somebody else", || {
            let key = bob.file("bob.pub");
            alice.ok(&["trust", "signer", "add", "--key", key.to_str().unwrap(), "bob", &self.name]);
            assert_eq!(self.consumer.signers(&self.name), ["bob", "alice"]);
            OK
        });
    }

    fn signing(&self, column: &mut Column) {
        let (alice, bob) = (&self.alice, &self.bob);
        let (one, two) = (self.image("1"), self.image("2"));
        column.step("trust sign, of a new tag", || {
            alice.make_image(&one, &format!("one of {}", self.name));
            let digest = pushed(&alice.ok(&["trust", "sign", &one]));
            self.signed("1", &digest, &["alice"]);
            OK
        });
        column.step("trust sign, of a second tag", || {
            alice.make_image(&two, &format!("two of {}", self.name));
            let digest = pushed(&alice.ok(&["trust", "sign", &two]));
            self.signed("2", &digest, &["alice"]);
            assert_eq!(self.tags().len(), 2);
            OK
        });
        column.step("trust sign, again by another signer", || {
            let digest = self.tags()["1"].0.clone();
            bob.ok(&["trust", "sign", &one]);
            self.signed("1", &digest, &["alice", "bob"]);
            OK
        });
        column.step("trust inspect", || {
            let shown = self.consumer.inspect(&self.name);
            assert_eq!(shown["Name"], *self.name);
            let tags: Vec<_> =
                shown["SignedTags"].as_array().unwrap().iter().map(|tag| &tag["SignedTag"]).collect();
            assert_eq!(tags, ["1", "2"]);
            let roles: Vec<_> =
                shown["AdministrativeKeys"].as_array().unwrap().iter().map(|role| &role["Name"]).collect();
            assert_eq!(roles, ["Root", "Repository"]);
            let of_tag = self.consumer.inspect(&two);
            assert_eq!(of_tag["SignedTags"][0]["Signers"], json!(["alice"]));
            assert_eq!(self.consumer.inspect(&self.image("ghost"))["SignedTags"], json!([]));
            OK
        });
        column.step("trust inspect --pretty", || {
            let shown = self.consumer.ok(&["trust", "inspect", "--pretty", &self.name]);
            for part in [
                &format!("Signatures for {}", self.name),
                "SIGNED TAG",
                &self.tags()["1"].0,
                "alice, bob",
                "List of signers and their keys for",
                "Administrative keys for",
                "Repository Key:",
                "Root Key:",
            ] {
                assert!(shown.contains(part), "{part}: {shown}");
            }
            OK
        });
        column.step("push, trusted", || {
            let three = self.image("3");
            alice.make_image(&three, &format!("three of {}", self.name));
            let digest = pushed(&alice.trusting(&["push", &three]).ok());
            self.signed("3", &digest, &["alice"]);
            OK
        });
    }

    fn consumers(&self, column: &mut Column) {
        let (alice, consumer) = (&self.alice, &self.consumer);
        column.step("pull, of a signed tag", || {
            let id = alice.image_id(&self.image("1"));
            alice.ok(&["image", "rm", "--force", &id]);
            assert_eq!(self.pull("1"), id);
            OK
        });
        column.step("pull, of an unsigned tag", || {
            self.push_unsigned("4", "four");
            self.pull_refused("4")
        });
        column.step("create, of an unsigned tag", || {
            let ran = consumer.trusting(&["create", &self.image("4"), "/nothing"]);
            refused(&ran, "No valid trust data for 4");
            REFUSED
        });
        column.step("pull, of a repository that nobody began", || {
            let ran = consumer.trusting(&["pull", &format!("{}-not:1", self.name)]);
            refused(&ran, "does not have trust data for");
            REFUSED
        });
        column.step("pull, of a tag that was moved without a signature", || {
            let signed = self.pull("1");
            let (moved, _) = self.push_unsigned("1", "another one");
            assert_eq!(consumer.image_id(&self.image("1")), moved);
            assert_eq!(self.pull("1"), signed);
            "ok, as signed"
        });
        column.step("pull, of a tag that was moved and signed", || {
            let image = self.image("1");
            let moved = alice.make_image(&image, &format!("the next one of {}", self.name));
            let digest = pushed(&alice.trusting(&["push", &image]).ok());
            self.signed("1", &digest, &["alice"]);
            alice.ok(&["image", "rm", "--force", &moved]);
            assert_eq!(self.pull("1"), moved);
            OK
        });
    }

    /// `notary` on the same repository.
    fn with_notary(&self, column: &mut Column) {
        column.step("notary list, lookup, of what docker signed", || {
            let notary = Notary::new(self.site.server).unwrap();
            let digest = self.tags()["2"].0.clone();
            assert!(notary.ok(&["lookup", &self.name, "2"]).starts_with(&format!("2 sha256:{digest} ")));
            for role in ["targets/releases", "targets/alice"] {
                let listed = notary.ok(&["list", &self.name, "-r", role]);
                assert!(
                    listed.lines().any(|line| line.starts_with("2 ") && line.contains(&digest)),
                    "{listed}"
                );
            }
            OK
        });
        column.step("pull, of what notary signed", || {
            let (id, digest) = self.push_unsigned("5", "five");
            let size = self.manifest_size("5");
            let notary = Notary::sharing(self.site.server, &self.alice.trust()).unwrap();
            let roles = "targets/releases,targets/alice";
            notary.ok(&["addhash", "-p", &self.name, "5", &size, "--sha256", &digest, "--roles", roles]);
            self.signed("5", &digest, &["alice"]);
            self.alice.ok(&["image", "rm", "--force", &id]);
            assert_eq!(self.pull("5"), id);
            OK
        });
    }

    fn taking_back(&self, column: &mut Column) {
        let two = self.image("2");
        column.step("trust revoke, of a tag", || {
            self.alice.ok(&["trust", "revoke", "--yes", &two]);
            assert!(!self.tags().contains_key("2"));
            OK
        });
        column.step("pull, of a revoked tag", || self.pull_refused("2"));
        column.step("trust sign, of a revoked tag", || {
            self.alice.make_image(&two, &format!("two again of {}", self.name));
            let digest = pushed(&self.alice.ok(&["trust", "sign", &two]));
            self.signed("2", &digest, &["alice"]);
            OK
        });
    }

    fn removing_a_signer(&self, column: &mut Column) {
        let (alice, bob) = (&self.alice, &self.bob);
        let left = || self.consumer.signers(&self.name);
        // Since version 26 nothing is removed, and nobody is told.
        let works = self.site.major < 26;
        column.step("trust signer remove --force", || {
            let ran = alice.run(&["trust", "signer", "remove", "--force", "bob", &self.name]);
            assert_eq!(ran.code, 0, "{ran:?}");
            if works {
                assert_eq!(left(), ["alice"]);
                return OK;
            }
            assert_eq!(left(), ["bob", "alice"]);
            "exit 0, nothing done"
        });
        column.step("trust signer remove", || {
            let ran = alice.run_with(&["trust", "signer", "remove", "bob", &self.name], "y\n");
            if works {
                refused(&ran, "no signer bob for repository");
                return "refused: removed already";
            }
            assert_eq!(ran.code, 0, "{ran:?}");
            assert_eq!(left(), ["bob", "alice"]);
            "exit 0, nothing done"
        });
        column.step("trust sign, by the signer who was to be removed", || {
            let ran = bob.run(&["trust", "sign", &self.image("2")]);
            if works {
                refused(&ran, "no valid signing keys for delegation roles");
                assert_eq!(self.tags()["2"].1, ["alice"]);
                return REFUSED;
            }
            ran.ok();
            assert_eq!(self.tags()["2"].1, ["alice", "bob"]);
            "ok: still a signer"
        });
        column.step("trust sign, by the signer who is left", || {
            let image = self.image("6");
            alice.make_image(&image, &format!("six of {}", self.name));
            let digest = pushed(&alice.ok(&["trust", "sign", &image]));
            self.signed("6", &digest, &["alice"]);
            OK
        });
        column.step("trust revoke, of all tags", || {
            alice.ok(&["trust", "revoke", "--yes", &self.name]);
            // What other signers said of their tags stays, but releases none.
            assert!(self.tags().is_empty());
            OK
        });
        column.step("pull, after all tags were revoked", || self.pull_refused("6"));
    }

    /// The size of the manifest of `tag`, as the registry says it.
    fn manifest_size(&self, tag: &str) -> String {
        let image = format!("docker://{}", self.image(tag));
        let output = Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", &image]).output();
        output.unwrap().stdout.len().to_string()
    }
}
