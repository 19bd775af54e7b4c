//! `docker` as it is follows when `bulla` rotates every role of a repository: where it pulled from
//! it before, where it begins now, and as a signer who goes on with a key of its own.

use bulla_tests::cli::Cli;
use bulla_tests::docker::Docker;
use bulla_tests::docker_site::{Site, matrix};
use bulla_tests::notary_matrix::{Column, OK};
use bulla_tests::programs::expect;

#[test]
fn docker_of_debian_12_follows_the_rotation_of_every_role() {
    matrix("bookworm", all);
}

#[test]
fn docker_of_the_next_debian_follows_the_rotation_of_every_role() {
    matrix("forky", all);
}

fn all(site: &Site<'_>, column: &mut Column) {
    let rotated = Rotated {
        name: site.repository("rotated"),
        admin: site.bulla(),
        bob: site.user(),
        knowing: site.user(),
    };
    rotated.begin(column);
    for role in ["root", "targets", "dave", "snapshot", "timestamp"] {
        rotated.rotate(column, site, &[role]);
    }
    rotated.rotate(column, site, &["snapshot", "timestamp", "targets", "root", "dave"]);
}

struct Rotated {
    name: String,
    admin: Cli,
    /// A signer who uses docker, and pushes all images.
    bob: Docker,
    /// Pulls after each rotation.
    knowing: Docker,
}

impl Rotated {
    fn image(&self, tag: &str) -> String {
        format!("{}:{tag}", self.name)
    }

    fn begin(&self, column: &mut Column) {
        column.step("init, signers dave (bulla) and bob (docker), pull", || {
            let admin = &self.admin;
            for key in ["root", "targets", "dave"] {
                expect(admin, 0, &["key", "generate", key]);
            }
            expect(admin, 0, &["init", "--mode", "legacy", &self.name]);
            let dave = admin.home("keys/dave.pub");
            expect(admin, 0, &["signer", "add", &self.name, "dave", "--key", dave.to_str().unwrap()]);
            self.bob.ok(&["trust", "key", "generate", "bob"]);
            let bob = self.bob.file("bob.pub");
            expect(admin, 0, &["signer", "add", &self.name, "bob", "--key", bob.to_str().unwrap()]);
            self.signed_by_dave("begin");
            OK
        });
    }

    fn rotate(&self, column: &mut Column, site: &Site<'_>, roles: &[&'static str]) {
        let command = if let [role] = roles { role } else { "all at once" };
        column.step(command, || {
            expect(&self.admin, 0, &[&["rotate", &self.name], roles].concat());
            let tag = command.replace(' ', "-");
            let id = self.signed_by_dave(&tag);
            // Bob's client knows the keys of before as well.
            let theirs = self.image(&format!("{tag}-by-bob"));
            self.bob.make_image(&theirs, &theirs);
            self.bob.ok(&["trust", "sign", &theirs]);
            expect(&self.admin, 0, &["verify", &theirs]);
            self.pulled(&self.knowing, &self.image(&tag), &id);
            self.pulled(&site.user(), &self.image(&tag), &id);
            self.knowing.trusting(&["pull", &theirs]).ok();
            OK
        });
    }

    /// Pushes an image and signs it. Returns its id.
    fn signed_by_dave(&self, tag: &str) -> String {
        let image = self.image(tag);
        let id = self.bob.make_image(&image, &image);
        self.bob.ok(&["push", &image]);
        expect(&self.admin, 0, &["sign", &image, "--as", "dave"]);
        self.pulled(&self.knowing, &image, &id);
        id
    }

    /// The engine no longer has the image, and gets what has this id.
    fn pulled(&self, consumer: &Docker, image: &str, id: &str) {
        self.bob.ok(&["image", "rm", "--force", id]);
        consumer.trusting(&["pull", image]).ok();
        assert_eq!(consumer.image_id(image), id);
    }
}
