//! Whom `bulla` believes who a server is: the authorities that were named, and those of the system,
//! which `SSL_CERT_FILE` names here.

use std::fs;
use std::path::Path;

use bulla_tests::cli::Cli;
use bulla_tests::programs::{Bullad, expect};

const NAME: &str = "registry.example.com/team/app";
const UNREACHABLE: i32 = 31;

/// Somebody with a pin and nothing else, who is asked to look at the repository.
fn look(server: &Bullad, admin: &Cli, named: Option<&Path>, system: &Path) -> i32 {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let user = server.user().with("SSL_CERT_FILE", &text(system));
    let user = match named {
        Some(named) => user.with("BULLA_CA_CERT", &text(named)),
        None => user.without("BULLA_CA_CERT"),
    };
    fs::create_dir_all(user.home("")).unwrap();
    fs::copy(admin.home("trust.toml"), user.home("trust.toml")).unwrap();
    user.run(&["inspect", NAME]).code
}

#[test]
fn a_server_is_believed_if_a_named_authority_or_one_of_the_system_vouches_for_it() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Bullad::start(folder.path());
    let other = Bullad::start_in_memory(other.path());
    let admin = server.user();
    for key in ["root", "targets"] {
        expect(&admin, 0, &["key", "generate", key]);
    }
    expect(&admin, 0, &["init", NAME]);
    let (right, wrong) = (server.ca_cert.as_path(), other.ca_cert.as_path());
    let nothing = folder.path().join("nothing.pem");
    assert_eq!(look(&server, &admin, Some(right), wrong), 0, "named");
    assert_eq!(look(&server, &admin, Some(right), &nothing), 0, "named, and the system has none");
    assert_eq!(look(&server, &admin, None, right), 0, "the system's");
    assert_eq!(look(&server, &admin, Some(wrong), right), 0, "the system's, beside a named one");
    assert_eq!(look(&server, &admin, Some(wrong), wrong), UNREACHABLE, "neither");
    assert_eq!(look(&server, &admin, Some(wrong), &nothing), UNREACHABLE, "another, and the system has none");
    assert_eq!(look(&server, &admin, None, wrong), UNREACHABLE, "another of the system's");
    assert_eq!(look(&server, &admin, None, &nothing), UNREACHABLE, "none at all");
}
