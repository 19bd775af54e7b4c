//! Key files across programs, with the programs themselves: what docker, notary and cosign made is taken
//! over by `bulla key import`, and what `bulla key export` writes they read and sign with.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::PublicKey;
use bulla_tests::cli::{Cli, PASSPHRASE, private_file};
use bulla_tests::docker::pushed;
use bulla_tests::docker_site::{Site, matrix};
use bulla_tests::notary::Notary;
use bulla_tests::notary_matrix::{Column, OK};
use bulla_tests::peers::{absent, debian};
use bulla_tests::programs::expect;

fn cli() -> Cli {
    let cli = Cli::new(env!("CARGO_BIN_EXE_bulla-cli")).with("BULLA_PASSPHRASE", PASSPHRASE);
    private_file(&cli.folder.path().join("new"), "battery staple");
    cli
}

/// Takes `file` over under `name`; what is answered.
#[track_caller]
fn import(cli: &Cli, file: &Path, name: &str) -> serde_json::Value {
    let new = cli.folder.path().join("new");
    let [file, new] = [file, &new].map(|path| path.to_str().unwrap());
    let args = ["key", "import", file, "--name", name, "--new-passphrase-file", new, "--output", "json"];
    let ran = cli.run(&args);
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.json()
}

fn public(answer: &serde_json::Value) -> PublicKey {
    PublicKey::from_pem(answer["public_key"].as_str().unwrap()).unwrap()
}

fn program(suite: &str, name: &str) -> Option<PathBuf> {
    debian::program(suite, name)
}

fn run(program: &Path, folder: &Path, variables: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(args).current_dir(folder).env_clear().env("HOME", folder);
    command.envs(variables.iter().copied()).output().unwrap()
}

#[track_caller]
fn ok(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn private_files(trust: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(trust.join("private")).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn keys_that_docker_made_are_taken_over() {
    for suite in ["bookworm", "trixie", "forky"] {
        let Some(docker) = program(suite, "docker") else { continue };
        let version = ok(&run(&docker, Path::new("/"), &[], &["--version"]));
        let folder = tempfile::tempdir().unwrap();
        let variables = [("DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE", PASSPHRASE)];
        let made = run(&docker, folder.path(), &variables, &["trust", "key", "generate", "alice"]);
        if !made.status.success() && version.contains(" 29.") {
            continue;
        }
        ok(&made);
        let private = private_files(&folder.path().join(".docker/trust"));
        let cli = cli();
        let answer = import(&cli, &private[0], "alice");
        let key = &answer["keys"][0];
        let theirs = fs::read_to_string(folder.path().join("alice.pub")).unwrap();
        assert_eq!(public(key), PublicKey::from_pem_with_headers(&theirs).unwrap(), "{version}");
        assert_eq!(
            (&key["labelled_role"], &key["was_protected_by"]["kind"]),
            (&"alice".into(), &"pbkdf2-sha1".into())
        );
        assert_eq!(key["was_protected_by"]["work"], 2048);
        assert_eq!(key["was_protected_by"]["weak"], true);
    }
}

#[test]
fn keys_that_notary_made_are_taken_over_whole() {
    let Some(notary) = program(debian::BOOKWORM, "notary") else { return };
    let folder = tempfile::tempdir().unwrap();
    let variables =
        ["ROOT", "TARGETS", "SNAPSHOT", "DELEGATION"].map(|role| format!("NOTARY_{role}_PASSPHRASE"));
    let variables: Vec<(&str, &str)> = variables.iter().map(|name| (name.as_str(), PASSPHRASE)).collect();
    let run =
        |args: &[&str]| ok(&run(&notary, folder.path(), &variables, &[&["-d", "trust"], args].concat()));
    run(&["key", "generate", "ecdsa"]);
    for (role, gun) in [("targets", "localhost:15000/demo/app"), ("targets", "localhost:15000/demo/two")] {
        let plain =
            Command::new("openssl").args(["ecparam", "-name", "prime256v1", "-genkey", "-noout"]).output();
        let Ok(plain) = plain else { return absent("openssl", "apt-get install openssl") };
        fs::write(folder.path().join("plain"), plain.stdout).unwrap();
        run(&["key", "import", "-r", role, "-g", gun, "plain"]);
    }
    run(&["key", "export", "-o", "bundle"]);
    let bundle = folder.path().join("bundle");
    fs::set_permissions(&bundle, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(fs::read_to_string(&bundle).unwrap().matches("path: ").count(), 3);
    let cli = cli();
    let answer = import(&cli, &bundle, "old");
    let keys = answer["keys"].as_array().unwrap();
    let mut names: Vec<&str> = keys.iter().map(|key| key["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["old-root", "old-targets", "old-targets-2"]);
    assert_eq!(keys.iter().filter(|key| key["was_protected_by"]["kind"] == "pbkdf2-sha1").count(), 3);
    let shown = cli.run(&["key", "list"]).ok();
    assert!(
        shown.contains("localhost:15000/demo/app") && shown.contains("localhost:15000/demo/two"),
        "{shown}"
    );
    // All or nothing: one name that is taken keeps the others out.
    let again = cli.run(&["key", "import", bundle.to_str().unwrap(), "--name", "old"]);
    assert!(again.code == 2 && again.stderr.contains("exists already"), "{again:?}");
}

fn cosigns() -> Vec<PathBuf> {
    let named = std::env::var_os("BULLA_COSIGN");
    if named.is_none() {
        absent("cosign", "source .ci/peers");
    }
    named.iter().flat_map(std::env::split_paths).collect()
}

#[test]
fn cosign_and_bulla_pass_keys_on_to_each_other() {
    for cosign in cosigns() {
        let cli = cli();
        let folder = cli.folder.path();
        let run = |passphrase: &str, args: &[&str]| {
            run(
                &cosign,
                folder,
                &[("COSIGN_PASSWORD", passphrase), ("HTTPS_PROXY", "http://127.0.0.1:9")],
                args,
            )
        };
        ok(&run(PASSPHRASE, &["generate-key-pair"]));
        let answer = import(&cli, &folder.join("cosign.key"), "theirs");
        let key = &answer["keys"][0];
        assert_eq!(key["public_key"], fs::read_to_string(folder.join("cosign.pub")).unwrap());
        assert_eq!(
            (&key["was_protected_by"]["kind"], &key["was_protected_by"]["weak"]),
            (&"scrypt".into(), &false.into())
        );

        cli.run(&["key", "generate", "ours"]).ok();
        let export = ["key", "export", "ours", "--format", "cosign", "--out", "ours.key"];
        cli.run(&export).ok();
        let mode = fs::metadata(folder.join("ours.key")).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, 0o600);
        let again = cli.run(&export);
        assert!(again.code == 2 && again.stderr.contains("ours.key exists already"), "{again:?}");
        let public = fs::read_to_string(cli.home("keys/ours.pub")).unwrap();
        fs::write(folder.join("ours.pub"), &public).unwrap();
        assert_eq!(ok(&run(PASSPHRASE, &["public-key", "--key", "ours.key"])), public);
        assert!(!run("wrong", &["public-key", "--key", "ours.key"]).status.success());
        fs::write(folder.join("blob"), "a blob").unwrap();
        let mut sign = vec!["sign-blob", "--yes", "--tlog-upload=false", "--new-bundle-format=false"];
        if ok(&run("", &["sign-blob", "--help"])).contains("--use-signing-config") {
            sign.push("--use-signing-config=false");
        }
        sign.extend(["--key", "ours.key", "--output-signature", "signature", "blob"]);
        ok(&run(PASSPHRASE, &sign));
        let verify = [
            "verify-blob",
            "--insecure-ignore-tlog",
            "--key",
            "ours.pub",
            "--signature",
            "signature",
            "blob",
        ];
        ok(&run("", &verify));

        // What other programs read comes back as it was.
        for format in ["pkcs8", "docker"] {
            let file = format!("ours.{format}");
            cli.run(&["key", "export", "ours", "--format", format, "--role", "alice", "--out", &file]).ok();
            let answer = import(&cli, &folder.join(&file), &format!("back-{format}"));
            assert_eq!(answer["keys"][0]["public_key"], public);
        }
    }
}

#[test]
fn docker_of_debian_12_and_notary_sign_with_our_keys() {
    matrix("bookworm", sign_with_our_keys);
}

#[test]
fn docker_of_debian_13_and_notary_sign_with_our_keys() {
    matrix("trixie", sign_with_our_keys);
}

#[test]
fn docker_of_the_next_debian_and_notary_sign_with_our_keys() {
    matrix("forky", sign_with_our_keys);
}

fn sign_with_our_keys(site: &Site<'_>, column: &mut Column) {
    let name = site.repository("exported");
    let admin = site.bulla();
    let export = |key: &str, role: &[&str]| {
        let out = admin.folder.path().join(format!("{key}{}.docker", role.len()));
        let args = ["key", "export", key, "--format", "docker", "--out", out.to_str().unwrap()];
        expect(&admin, 0, &[&args[..], role].concat());
        out.to_str().unwrap().to_owned()
    };
    column.step("docker trust key load, trust sign, with a signer's key of bulla", || {
        for key in ["root", "targets", "dave"] {
            expect(&admin, 0, &["key", "generate", key]);
        }
        expect(&admin, 0, &["init", "--mode", "legacy", &name]);
        let public = admin.home("keys/dave.pub");
        expect(&admin, 0, &["signer", "add", &name, "dave", "--key", public.to_str().unwrap()]);
        let dave = site.user();
        let loaded = dave.ok(&["trust", "key", "load", &export("dave", &[])]);
        assert!(loaded.contains("Successfully imported"), "{loaded}");
        assert_eq!(dave.keys_of("dave").len(), 1, "docker says so even where it imported nothing");
        let image = format!("{name}:docker");
        dave.make_image(&image, "signed by docker");
        let digest = pushed(&dave.ok(&["trust", "sign", &image]));
        let verified = expect(&admin, 0, &["verify", &image]).stdout;
        assert_eq!(verified.trim(), format!("{name}@sha256:{digest}"));
        OK
    });
    column.step("notary key import, addhash, with a signer's key of bulla", || {
        let dave = Notary::new(site.server).unwrap();
        dave.ok(&[
            "key",
            "import",
            &export("dave", &["--role", "dave", "--new-passphrase-file", &passphrase(&admin)]),
        ]);
        assert_eq!(private_files(dave.trust()).len(), 1);
        let digest = Sha256Digest::of(b"notary").to_string();
        let roles = "targets/dave,targets/releases";
        dave.ok(&["addhash", &name, "notary", "6", "--sha256", &digest, "-r", roles, "-p"]);
        let image = format!("{name}:notary@sha256:{digest}");
        expect(&admin, 0, &["verify", &image]);
        OK
    });
    column.step("notary key import, delegation add, with the targets key of bulla", || {
        let owner = Notary::new(site.server).unwrap();
        owner.ok(&["key", "import", &export("targets", &[])]);
        let public = admin.home("keys/root.pub");
        owner.ok(&[
            "delegation",
            "add",
            &name,
            "targets/erin",
            public.to_str().unwrap(),
            "--all-paths",
            "-p",
        ]);
        let listed = owner.ok(&["delegation", "list", &name]);
        assert!(listed.contains("targets/erin"), "{listed}");
        OK
    });
}

/// A file with the passphrase that notary is told for every key.
fn passphrase(admin: &Cli) -> String {
    let file = admin.folder.path().join("passphrase");
    private_file(&file, PASSPHRASE);
    file.to_str().unwrap().to_owned()
}
