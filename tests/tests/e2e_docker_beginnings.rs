//! How else `docker` begins a repository, and whose certificate it believes.

use bulla_server::tls::DevelopmentTls;
use bulla_tests::docker::{Docker, pushed};
use bulla_tests::docker_site::{Site, matrix};
use bulla_tests::notary::refused;
use bulla_tests::notary_matrix::{Column, OK, REFUSED};

#[test]
fn docker_of_debian_12_begins_repositories() {
    matrix("bookworm", all);
}

#[test]
fn docker_of_debian_13_begins_repositories() {
    matrix("trixie", all);
}

#[test]
fn docker_of_the_next_debian_begins_repositories() {
    matrix("forky", all);
}

fn all(site: &Site<'_>, column: &mut Column) {
    by_a_push(site, column);
    by_a_signature(site, column);
    with_certificates(site, column);
}

/// Without signers the repository key signs.
fn by_a_push(site: &Site<'_>, column: &mut Column) {
    column.step("push, trusted, of a new repository", || {
        let (user, name) = (site.user(), site.repository("direct"));
        let image = format!("{name}:1");
        let id = user.make_image(&image, &name);
        let digest = pushed(&user.trusting(&["push", &image]).ok());
        assert_eq!(user.signed_tags(&name), [row("1", &digest, &["Repo Admin"])]);
        user.ok(&["image", "rm", "--force", &id]);
        site.user().trusting(&["pull", &image]).ok();
        assert_eq!(user.image_id(&image), id);
        OK
    });
}

/// Who is logged in to the registry becomes the first signer.
fn by_a_signature(site: &Site<'_>, column: &mut Column) {
    let (carol, name) = (site.user(), site.repository("login"));
    let image = format!("{name}:1");
    column.step("trust sign, of a new repository, logged in", || {
        carol.log_in(&site.registry.host, "carol");
        carol.make_image(&image, &name);
        let digest = pushed(&carol.ok(&["trust", "sign", &image]));
        assert_eq!(carol.signed_tags(&name), [row("1", &digest, &["carol"])]);
        OK
    });
    column.step("trust signer remove, of the last one, answered with n", || {
        let ran = carol.run_with(&["trust", "signer", "remove", "carol", &name], "n\n");
        assert_eq!(site.user().signers(&name), ["carol"], "{ran:?}");
        "nothing done"
    });
    column.step("trust signer remove, of the last one, answered with y", || {
        carol.run_with(&["trust", "signer", "remove", "carol", &name], "y\n").ok();
        assert!(site.user().signers(&name).is_empty());
        OK
    });
    column.step("pull, after the last signer was removed", || {
        refused(&site.user().trusting(&["pull", &image]), "No valid trust data for 1");
        REFUSED
    });
    column.step("trust signer add, after the last one was removed", || {
        carol.ok(&["trust", "signer", "add", "--key", &key(&carol, "dave"), "dave", &name]);
        assert_eq!(site.user().signers(&name), ["dave"]);
        OK
    });
    column.step("trust sign, of a new repository, not logged in", || {
        let (user, name) = (site.user(), site.repository("nobody"));
        let image = format!("{name}:1");
        user.make_image(&image, &name);
        refused(&user.run(&["trust", "sign", &image]), "invalid delegation role name");
        REFUSED
    });
}

/// Docker checks the server's certificate only where the registry is not on this machine. Here only
/// the trust server is asked, so that the registry need not exist.
fn with_certificates(site: &Site<'_>, column: &mut Column) {
    const NAME: &str = "reg.test:5000/x/y";
    column.step("trust signer add, inspect, of reg.test:5000/x/y", || {
        let admin = site.user();
        admin.ok(&["trust", "signer", "add", "--key", &key(&admin, "alice"), "alice", NAME]);
        assert_eq!(site.user().signers(NAME), ["alice"]);
        OK
    });
    column.step("trust inspect, without the authority", || {
        let ran = site.user_without_ca().run(&["trust", "inspect", NAME]);
        refused(&ran, "no signatures or cannot access");
        REFUSED
    });
    column.step("trust signer add, without the authority", || {
        let user = site.user_without_ca();
        let ran = user.run(&["trust", "signer", "add", "--key", &key(&user, "bob"), "bob", NAME]);
        refused(&ran, "x509: certificate signed by unknown authority");
        assert_eq!(site.user().signers(NAME), ["alice"]);
        REFUSED
    });
    column.step("trust signer add, with another authority", || {
        let user = site.user_without_ca();
        let other = DevelopmentTls::in_folder(user.file("other")).unwrap();
        user.trust_authority(site.server, &other.authority_certificate());
        let ran = user.run(&["trust", "signer", "add", "--key", &key(&user, "bob"), "bob", NAME]);
        refused(&ran, "x509: certificate signed by unknown authority");
        REFUSED
    });
    column.step("trust inspect, without the authority, registry on this machine", || {
        assert!(!site.user_without_ca().signed_tags(&site.repository("direct")).is_empty());
        "ok, unchecked"
    });
}

/// Makes a signer's key and returns the file of its public part.
fn key(user: &Docker, signer: &str) -> String {
    user.ok(&["trust", "key", "generate", signer]);
    user.file(&format!("{signer}.pub")).display().to_string()
}

fn row(tag: &str, digest: &str, signers: &[&str]) -> (String, String, Vec<String>) {
    (tag.to_owned(), digest.to_owned(), signers.iter().map(|signer| (*signer).to_owned()).collect())
}
