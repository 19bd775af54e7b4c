//! `bulla key load`: what a pipeline does with a key in a variable, what is left on the disk, and
//! what happens when the variable is gone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_tests::cli::{Cli, PASSPHRASE, Ran, private_file};
use bulla_tests::server::{BEGIN, TestServer};

const NAME: &str = "reg.example.com/team/app";
const OTHER: &str = "reg.example.com/team/other";
const VARIABLE: &str = "SIGNING_KEY";

/// A repository whose signer `alice` has her key in a file of her own, and a job that has nothing
/// but a pin.
struct Site {
    server: TestServer,
    admin: Cli,
    /// Alice's key in docker's form: a weakly encrypted PEM file.
    docker: String,
    /// The same, as cosign's file.
    cosign: String,
}

impl Site {
    async fn new() -> Self {
        let server = TestServer::start().await;
        // The program has the clock of the machine.
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        server.clock.advance(i64::try_from(now).unwrap() - BEGIN);
        let admin = cli(&server);
        for key in ["root", "targets", "alice"] {
            ok(&admin, &["key", "generate", key]);
        }
        for repository in [NAME, OTHER] {
            ok(&admin, &["init", repository]);
        }
        let public = admin.home("keys/alice.pub");
        ok(&admin, &["signer", "add", NAME, "alice", "--key", public.to_str().unwrap()]);
        for format in ["docker", "cosign"] {
            ok(&admin, &["key", "export", "alice", "--format", format, "--out", format]);
        }
        let read = |format: &str| fs::read_to_string(admin.folder.path().join(format)).unwrap();
        Self { docker: read("docker"), cosign: read("cosign"), server, admin }
    }

    /// A machine that trusts the repositories and has no keys.
    fn job(&self) -> Cli {
        let job = cli(&self.server);
        let root = self.admin.home("keys/root.pub");
        for repository in [NAME, OTHER] {
            ok(&job, &["trust", "add", repository, "--root-key", root.to_str().unwrap()]);
        }
        job
    }

    /// The secret number of the key, in all the ways in which it could lie in a file.
    fn traces(&self) -> Vec<Vec<u8>> {
        let text = fs::read_to_string(self.admin.home("keys/alice.key")).unwrap();
        let sealed = bulla_keys_schema::key::SealedKey::parse(&text).unwrap();
        let secret = sealed.open(&bulla_keys_schema::key::Passphrase::new(PASSPHRASE.to_owned())).unwrap();
        let der = secret.to_pkcs8_der();
        let number = der[36..68].to_vec();
        let mut traces = vec![hex::encode(&number).into_bytes(), number];
        let bodies = [&self.docker, &self.cosign].map(|text| text.lines().filter(|line| line.len() == 64));
        traces.extend(bodies.into_iter().flatten().map(|line| line.as_bytes().to_vec()));
        traces.extend([&self.docker, &self.cosign].map(|text| STANDARD.encode(text).into_bytes()));
        traces
    }
}

fn cli(server: &TestServer) -> Cli {
    Cli::new(env!("CARGO_BIN_EXE_bulla-cli"))
        .with("BULLA_PASSPHRASE", PASSPHRASE)
        .with("BULLA_SERVER", &server.url(""))
}

/// The server runs in this process, so it must not be kept from working.
fn run(cli: &Cli, args: &[&str]) -> Ran {
    tokio::task::block_in_place(|| cli.run(args))
}

fn ok(cli: &Cli, args: &[&str]) -> String {
    run(cli, args).ok()
}

#[track_caller]
fn refused(ran: &Ran, code: i32, words: &str) {
    assert_eq!(ran.code, code, "{ran:?}");
    assert!(ran.stderr.contains(words) && ran.stderr.contains("\nhint: "), "{ran:?}");
    assert_eq!(ran.stdout, "");
}

fn image(tag: &str) -> String {
    format!("{NAME}:{tag}@{}", Sha256Digest::of(tag.as_bytes()).to_oci())
}

fn sign(cli: &Cli, tag: &str) -> Ran {
    run(cli, &["sign", &image(tag), "--size", &tag.len().to_string()])
}

/// Every file below `folder`, with its content.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(folder) else { return vec![] };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.display().to_string(), fs::read(&path).unwrap())),
        }
    }
    found
}

fn keys(cli: &Cli) -> Vec<String> {
    let Ok(entries) = fs::read_dir(cli.home("keys")) else { return vec![] };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn holds(file: &[u8], trace: &[u8]) -> bool {
    file.windows(trace.len()).any(|part| part == trace)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_signs_with_the_key_of_a_variable_and_keeps_nothing() {
    let site = Site::new().await;
    for (at, (text, written)) in [
        (site.docker.clone(), "PEM, encrypted weakly, with PBKDF2 with 2048 rounds of SHA-1"),
        (STANDARD.encode(&site.docker), "base64 of PEM, encrypted weakly"),
        (site.cosign.clone(), "PEM, encrypted, with scrypt with N=65536"),
        (STANDARD.encode(&site.cosign), "base64 of PEM, encrypted, with scrypt"),
    ]
    .into_iter()
    .enumerate()
    {
        let job = site.job().with(VARIABLE, &text);
        let shown = ok(&job, &["key", "load", "--from-env", VARIABLE, NAME]);
        let fingerprint = run(&site.admin, &["key", "show", "alice", "--output", "json"]).json();
        for part in [
            "name:        signing_key\n",
            &format!("fingerprint: {}\n", fingerprint["fingerprint"].as_str().unwrap()),
            &format!("key id:      {} in {NAME}\n", fingerprint["key_ids"]["spec"].as_str().unwrap()),
            &format!("written as:  {written}"),
            &format!("may sign:    alice of {NAME}, "),
            "loaded from: the variable SIGNING_KEY, until ",
            "$DIR/home/keys/signing_key.pub, $DIR/home/keys/signing_key.json; nothing secret\n",
        ] {
            assert!(shown.contains(part), "{part}\n{shown}");
        }
        assert_eq!(keys(&job), ["signing_key.json", "signing_key.pub"]);
        sign(&job, &format!("v{at}")).ok();
        ok(&job, &["verify", &image(&format!("v{at}"))]);
        let listed = ok(&job, &["key", "list"]);
        assert!(listed.contains("signing_key (loaded)") && listed.contains("days left"), "{listed}");
        let left = files(&job.home(""));
        assert!(left.len() > 4, "pins and cache are there: {left:?}");
        for (path, content) in &left {
            assert!(!content.is_empty() || path.ends_with("lock"), "{path}");
            assert!(!site.traces().iter().any(|trace| holds(content, trace)), "{path} holds the key");
            assert!(!holds(content, PASSPHRASE.as_bytes()), "{path} holds the passphrase");
        }
        ok(&job, &["key", "remove", "signing_key"]);
        assert_eq!(keys(&job), [""; 0]);
        refused(&sign(&job, "after"), 12, "alice needs 1 of its keys, none is here");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_the_clear_needs_no_passphrase() {
    let site = Site::new().await;
    let folder = site.admin.folder.path();
    ok(&site.admin, &["key", "export", "alice", "--format", "pkcs8", "--out", "pkcs8"]);
    let decrypt = ["pkey", "-in", "pkcs8", "-passin", &format!("pass:{PASSPHRASE}")];
    let openssl = std::process::Command::new("openssl").args(decrypt).current_dir(folder).output();
    let Ok(output) = openssl else {
        bulla_tests::peers::absent("openssl", "apt-get install openssl");
        return;
    };
    let pem = String::from_utf8(output.stdout).unwrap();
    let der = pem.lines().filter(|line| !line.starts_with('-')).collect::<String>();
    for (text, written) in [
        (pem.clone(), "PEM, in the clear"),
        (STANDARD.encode(&pem), "base64 of PEM, in the clear"),
        (der, "base64 of DER, in the clear"),
        (pem.trim_end().replace('\n', "\\n"), "PEM, in the clear"),
    ] {
        let job = site.job().with(VARIABLE, &text).without("BULLA_PASSPHRASE");
        let shown = ok(&job, &["key", "load", "--from-env", VARIABLE, "--name", "ci", NAME]);
        assert!(shown.contains(&format!("written as:  {written}\n")), "{shown}");
        sign(&job, "clear").ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_changes_or_goes_is_named() {
    let site = Site::new().await;
    let job = site.job().with(VARIABLE, &site.docker);
    ok(&job, &["key", "load", "--from-env", VARIABLE, NAME]);
    let job = job.without(VARIABLE);
    refused(&sign(&job, "v"), 2, "key signing_key: the variable SIGNING_KEY is not set");
    let job = job.with(VARIABLE, "");
    refused(&sign(&job, "v"), 2, "key signing_key: the variable SIGNING_KEY is empty");
    ok(&site.admin, &["key", "export", "root", "--format", "cosign", "--out", "another"]);
    let another = fs::read_to_string(site.admin.folder.path().join("another")).unwrap();
    let job = job.with(VARIABLE, &another);
    refused(&sign(&job, "v"), 3, "the variable SIGNING_KEY no longer holds key signing_key");
    let job = job.with(VARIABLE, &site.docker).with("BULLA_PASSPHRASE", "wrong");
    refused(&sign(&job, "v"), 2, "wrong passphrase");
    // Loading it again begins anew.
    let job = job.with("BULLA_PASSPHRASE", PASSPHRASE);
    ok(&job, &["key", "load", "--from-env", VARIABLE, NAME]);
    sign(&job, "v").ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_no_role_is_not_loaded() {
    let site = Site::new().await;
    let job = site.job().with(VARIABLE, &site.docker);
    let ran = run(&job, &["key", "load", "--from-env", VARIABLE, OTHER]);
    refused(&ran, 12, &format!("signs for no role of {OTHER}"));
    assert!(ran.stderr.contains("bulla signer list"), "{}", ran.stderr);
    assert!(!job.home("keys").exists());
    let ran = run(&job, &["key", "load", "--from-env", VARIABLE, OTHER, "--output", "json"]);
    assert_eq!((ran.code, ran.json()["exit_code"].as_i64()), (12, Some(12)));
    // Of some use is of use. Without names, the pinned repositories are asked.
    for args in
        [&["key", "load", "--from-env", VARIABLE][..], &["key", "load", "--from-env", VARIABLE, NAME, OTHER]]
    {
        let ran = run(&job, args);
        assert!(ran.stderr.contains(&format!("warning: the key signs for no role of {OTHER}")), "{ran:?}");
        assert!(ran.ok().contains(&format!("may sign:    alice of {NAME}")));
    }
    let json =
        run(&job, &["key", "load", "--from-env", VARIABLE, NAME, "--output", "json", "--dry-run"]).json();
    assert_eq!((json["private_key_stored"].as_bool(), json["dry_run"].as_bool()), (Some(false), Some(true)));
    let roles: Vec<&str> =
        json["may_sign"].as_array().unwrap().iter().map(|held| held["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["releases", "alice"]);
    assert_eq!(json["protected_by"]["kind"], "pbkdf2-sha1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_trusted_says_nothing_about_a_key() {
    let site = Site::new().await;
    let job = cli(&site.server).with(VARIABLE, &site.docker);
    refused(&run(&job, &["key", "load", "--from-env", VARIABLE, NAME]), 10, "is not pinned");
    let wrong = "0".repeat(64);
    ok(&job, &["trust", "add", NAME, "--root-sha256", &wrong]);
    refused(&run(&job, &["key", "load", "--from-env", VARIABLE, NAME]), 15, "pin");
    let away = site.job().with(VARIABLE, &site.docker).with("BULLA_SERVER", "http://localhost:1");
    refused(&run(&away, &["key", "load", "--from-env", VARIABLE, NAME]), 31, "cannot reach");
    assert!(!job.home("keys").exists() && !away.home("keys").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_is_forgotten() {
    let site = Site::new().await;
    let job = site.job().with(VARIABLE, &site.docker);
    ok(&job, &["key", "load", "--from-env", VARIABLE, "--hours", "1", NAME]);
    sign(&job, "v").ok();
    let note = job.home("keys/signing_key.json");
    let text = fs::read_to_string(&note).unwrap();
    let until = text.split("\"until\": \"").nth(1).unwrap().split('"').next().unwrap();
    fs::write(&note, text.replace(until, "2026-01-01T00:00:00Z")).unwrap();
    refused(&sign(&job, "w"), 12, "none is here");
    assert_eq!(keys(&job), [""; 0]);
    refused(&run(&job, &["key", "show", "signing_key"]), 2, "no key named signing_key");
    let never = run(&job, &["key", "load", "--from-env", VARIABLE, "--hours", "0", NAME]);
    assert_eq!((never.code, keys(&job).len()), (2, 0), "{never:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_read_where_it_is() {
    let site = Site::new().await;
    let job = site.job();
    let file = job.folder.path().join("alice.pem");
    fs::write(&file, &site.docker).unwrap();
    refused(&run(&job, &["key", "load", "alice.pem", NAME]), 3, "is open to others (mode 0644)");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let shown = ok(&job, &["key", "load", "alice.pem", NAME]);
    assert!(shown.contains("loaded from: $DIR/alice.pem, until "), "{shown}");
    sign(&job, "v").ok();
    fs::rename(&file, job.folder.path().join("elsewhere")).unwrap();
    refused(&sign(&job, "w"), 2, "cannot read $DIR/alice.pem");
    refused(&run(&job, &["key", "load"]), 2, "nothing says where the key is");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_key_is_never_replaced_and_a_loaded_one_never_taken_for_it() {
    let site = Site::new().await;
    let job = site.job().with(VARIABLE, &site.docker);
    ok(&job, &["key", "generate", "alice"]);
    let before = keys(&job);
    let ran = run(&job, &["key", "load", "--from-env", VARIABLE, "--name", "alice", NAME]);
    refused(&ran, 2, "key alice exists already");
    assert_eq!(keys(&job), before);
    ok(&job, &["key", "load", "--from-env", VARIABLE, "--name", "ci", NAME]);
    refused(&run(&job, &["key", "generate", "ci"]), 2, "key ci exists already");
    let new = job.folder.path().join("new");
    private_file(&new, "battery staple");
    let passwd = ["key", "passwd", "ci", "--new-passphrase-file", new.to_str().unwrap()];
    refused(&run(&job, &passwd), 2, "was loaded from the variable SIGNING_KEY and is not kept here");
    let json = run(&job, &["key", "show", "ci", "--output", "json"]).json();
    assert_eq!(json["loaded"]["variable"], VARIABLE);
}
