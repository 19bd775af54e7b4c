//! Repositories that are deleted and begun again, as Debian's `notary` sees it: what those see who knew them
//! before. What was deleted must not come back, and nobody must be locked out by it.

use bulla_tests::notary::{Notary, RunningTrustServer, refused};
use bulla_tests::notary_matrix::{self, Column, OK, REFUSED};
use bulla_tests::peers::debian;

/// SHA-256 of whatever image.
const DIGEST: &str = "c0535e4be2b79ffd93291305436bf889314e4a3faec05ecffcbb7df31ad9e51a";

#[test]
fn deleted_repositories_are_begun_again() {
    if debian::program(debian::BOOKWORM, "notary").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    notary_matrix::run("notary 0.7.0, deleting", folder.path(), |server, column| {
        with_a_new_root(server, column);
        with_the_same_root(server, column);
    });
}

fn with_a_new_root(server: &RunningTrustServer, column: &mut Column) {
    const GUN: &str = "registry.test:5000/demo/app";
    const LONGER: &str = "registry.test:5000/demo/app2";
    let user = || Notary::new(server).unwrap();
    let (admin, other_admin, reader) = (user(), user(), user());
    column.step("delete", || {
        begin(&admin, GUN);
        // Two roots later a cached one cannot begin a repository.
        for _ in 0..2 {
            admin.run_with(&["key", "rotate", GUN, "root"], "yes\n").ok();
        }
        let keys = admin.cli.folder.path().join("keys.pem");
        admin.ok(&["key", "export", "-o", keys.to_str().unwrap()]);
        other_admin.ok(&["key", "import", keys.to_str().unwrap()]);
        other_admin.ok(&["list", GUN]);
        reader.ok(&["list", GUN]);
        admin.ok(&["delete", GUN]);
        assert!(!admin.trust().join("tuf").join(GUN).join("metadata").exists());
        assert!(admin.ok(&["list", GUN]).contains("v1"), "only the cache was to be deleted");
        OK
    });
    column.step("delete --remote", || {
        begin(&admin, LONGER);
        admin.ok(&["delete", "--remote", GUN]);
        user().refused(&["list", GUN], "does not have trust data for");
        let ran = user().run(&["list", LONGER]);
        if server.is_bullad() {
            assert!(ran.code == 0 && ran.stdout.contains("v1"), "{ran:?}");
            return OK;
        }
        refused(&ran, "does not have trust data for");
        "ok, and deleted app2 as well"
    });
    column.step("delete --remote, of nothing", || {
        admin.ok(&["delete", "--remote", GUN]);
        OK
    });
    column.step("list, of a deleted repository, by a client that knew it", || {
        let ran = reader.run(&["list", GUN]);
        assert!(ran.code == 0 && ran.stdout.contains("v1"), "{ran:?}");
        assert!(ran.stderr.contains("using cached timestamp"), "{ran:?}");
        "ok, from the cache, with a warning"
    });
    column.step("publish, by a client that knew it with root version 3", || {
        let ran = other_admin.run(&["addhash", "-p", GUN, "v2", "9", "--sha256", DIGEST]);
        refused(&ran, "The root metadata is invalid: ");
        user().refused(&["list", GUN], "does not have trust data for");
        REFUSED
    });
    column.step("init, publish, with a new root", || {
        admin.ok(&["init", GUN]);
        admin.ok(&["addhash", "-p", GUN, "again", "9", "--sha256", DIGEST]);
        let listed = user().ok(&["list", GUN]);
        assert!(listed.contains("again") && !listed.contains("v1"), "{listed}");
        OK
    });
    column.step("list, with a new root, by a client that knew the old one", || {
        refused(&reader.run(&["list", GUN]), "could not rotate trust to a new trusted root");
        REFUSED
    });
}

/// Whoever still has the repository in his cache publishes it again as it was.
fn with_the_same_root(server: &RunningTrustServer, column: &mut Column) {
    const GUN: &str = "registry.test:5000/demo/same";
    let user = || Notary::new(server).unwrap();
    let (admin, deleter, reader) = (user(), user(), user());
    column.step("publish, by a client that knew it with root version 1", || {
        begin(&admin, GUN);
        admin.ok(&["addhash", "-p", GUN, "v2", "2", "--sha256", DIGEST]);
        reader.ok(&["list", GUN]);
        deleter.ok(&["delete", "--remote", GUN]);
        admin.ok(&["addhash", "-p", GUN, "v3", "3", "--sha256", DIGEST]);
        let listed = user().ok(&["list", GUN]);
        assert!(listed.contains("v3"), "{listed}");
        OK
    });
    column.step("list, of what was published again, by a client that knew it", || {
        let ran = reader.run(&["list", GUN]);
        if server.is_bullad() {
            assert!(ran.code == 0 && ran.stdout.contains("v3"), "{ran:?}");
            return OK;
        }
        refused(&ran, "is lower than current version");
        "refused: lower version"
    });
}

/// Begins a repository that holds `v1`.
fn begin(admin: &Notary, gun: &str) {
    admin.ok(&["init", gun]);
    admin.ok(&["addhash", "-p", gun, "v1", "1", "--sha256", DIGEST]);
}
