//! `docker trust` with a login whose password is a token of `bullad`. It needs no engine to read,
//! nor to sign a tag that is published already.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulla_tests::cli::{Cli, PASSPHRASE};
use bulla_tests::notary::refused;
use bulla_tests::peers::debian;
use serde_json::json;

use crate::client::{GUN, HASH, notary};
use crate::program::{Trial, tls};

#[test]
fn docker_of_debian_12_logs_in_with_a_token() {
    logs_in_with_a_token("bookworm");
}

#[test]
fn docker_of_debian_13_logs_in_with_a_token() {
    logs_in_with_a_token("trixie");
}

#[test]
fn docker_of_the_next_debian_logs_in_with_a_token() {
    logs_in_with_a_token("forky");
}

/// Somebody who is logged in to the registry of [`GUN`] with `token`, or not at all.
struct Docker {
    cli: Cli,
    config: PathBuf,
}

impl Docker {
    fn new(program: &str, trial: &Trial, port: u16, token: Option<&str>) -> Self {
        let cli = Cli::new(program);
        let config = cli.folder.path().join(".docker");
        let host = format!("localhost:{port}");
        let authorities = config.join("tls").join(&host);
        std::fs::create_dir_all(&authorities).expect("a folder");
        std::fs::copy(trial.path("tls/ca.pem"), authorities.join("ca.crt")).expect("it can be copied");
        if let Some(token) = token {
            let login = STANDARD.encode(format!("anybody:{token}"));
            let file = json!({"auths": {"localhost:5000": {"auth": login}}}).to_string();
            std::fs::write(config.join("config.json"), file).expect("written");
        }
        let cli = cli
            .with("DOCKER_CONFIG", config.to_str().expect("paths of tests are text"))
            .with("DOCKER_HOST", "unix:///nonexistent")
            .with("DOCKER_CONTENT_TRUST_SERVER", &format!("https://{host}"))
            .with("DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE", PASSPHRASE)
            .with("DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE", PASSPHRASE);
        Self { cli, config }
    }

    /// His keys and cache.
    fn trust(&self) -> String {
        self.config.join("trust").to_str().expect("paths of tests are text").to_owned()
    }

    /// Whether he sees that the tag is signed; he must be told that nothing is there if not.
    fn sees_the_signature(&self) -> bool {
        let ran = self.cli.run(&["trust", "inspect", GUN]);
        if ran.code != 0 {
            refused(&ran, "no signatures or cannot access");
            return false;
        }
        let shown = ran.json();
        let tags = shown[0]["SignedTags"].as_array().expect("a list");
        tags.iter().any(|tag| tag["SignedTag"] == "v1" && tag["Digest"] == HASH)
    }
}

fn logs_in_with_a_token(suite: &str) {
    let Some(program) = debian::program(suite, "docker") else { return };
    let program = program.to_str().expect("paths of builds are text");
    for public in [false, true] {
        let mut trial = Trial::new();
        let section = format!("auth.anonymous_read = {public}\n{}", tls(&trial));
        let port = trial.start(&section).expect("it starts");
        let (writer, reader) = (trial.own_token("ci", "publish"), trial.own_token("dev", "read"));
        let Some(notary) = notary(&trial, port, Some(&format!("ci:{writer}"))) else { return };
        let user = |token: Option<&str>| Docker::new(program, &trial, port, token);

        let ci = user(Some(&writer));
        ci.cli.run(&["trust", "key", "generate", "ci"]).ok();
        ci.cli.run(&["trust", "signer", "add", "--key", "ci.pub", "ci", GUN]).ok();
        let folder = ci.trust();
        let roles = ["-r", "targets/releases", "-r", "targets/ci"];
        let put = ["-d", &folder, "addhash", "-p", GUN, "v1", "3", "--sha256", HASH];
        notary.ok(&[&put[..], &roles].concat());
        ci.cli.run(&["trust", "sign", &format!("{GUN}:v1")]).ok();

        assert!(user(Some(&reader)).sees_the_signature());
        assert_eq!(user(None).sees_the_signature(), public);
        // A wrong password does not make anybody of somebody.
        assert!(!user(Some(&format!("{reader}x"))).sees_the_signature());
        for token in [Some(reader.as_str()), None] {
            let other = user(token);
            other.cli.run(&["trust", "key", "generate", "eve"]).ok();
            let add = ["trust", "signer", "add", "--key", "eve.pub", "eve", "localhost:5000/team/new"];
            refused(&other.cli.run(&add), "not authorized");
        }
    }
}
