//! `bullad` as a program: what it prints, refuses, keeps, and how it ends.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use bulla_keys_schema::wire::{OnlineKeys, RepositoryList};
use bulla_tests::programs::program;
use reqwest::{Certificate, Client};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The program with nothing of this process's environment.
fn bullad(arguments: &[&str]) -> Command {
    let mut command = Command::new(program("bullad"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    bullad(arguments).output().expect("bullad can be started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A running server, killed when it is dropped.
struct Running {
    process: Child,
    lines: Vec<String>,
}

impl Running {
    /// Waits for `wanted` lines on stdout, which a server prints once it listens.
    fn start(command: &mut Command, wanted: usize) -> Self {
        let mut process =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("bullad can be started");
        let output = BufReader::new(process.stdout.take().expect("a pipe"));
        let lines: Vec<_> = output.lines().take(wanted).map_while(Result::ok).collect();
        if lines.len() < wanted {
            let mut words = String::new();
            process.stderr.take().expect("a pipe").read_to_string(&mut words).expect("text");
            panic!("bullad did not start: {words}");
        }
        Self { process, lines }
    }

    fn development(data: &Path) -> Self {
        let arguments = ["serve", "--dev", "--listen", "127.0.0.1:0", "--data"];
        Self::start(bullad(&arguments).arg(data), 3)
    }

    /// Sends SIGTERM; returns the exit code and everything that was logged.
    fn stop(mut self) -> (Option<i32>, String) {
        let pid = Pid::from_child(&self.process);
        kill_process(pid, Signal::TERM).expect("it is running");
        let mut log = String::new();
        self.process.stderr.take().expect("a pipe").read_to_string(&mut log).expect("text");
        (self.process.wait().expect("it ends").code(), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.process.kill().and_then(|()| self.process.wait());
    }
}

fn client(authority: &Path) -> Client {
    let authority = Certificate::from_pem(&fs::read(authority).expect("readable")).expect("a certificate");
    Client::builder().no_proxy().tls_certs_only([authority]).build().expect("a client")
}

async fn keys(client: &Client, url: &str) -> OnlineKeys {
    let url = format!("{url}/api/v1/repositories/r.io/app/online-keys");
    client.post(url).send().await.expect("an answer").json().await.expect("keys")
}

#[tokio::test(flavor = "multi_thread")]
async fn development_needs_nothing_and_prints_what_to_export() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("da ta");
    let server = Running::development(&data);
    let [url, authority, docker] = server.lines.as_slice() else { panic!("three lines") };
    let url = url.strip_prefix("export BULLA_SERVER=").expect("the server").to_owned();
    let port = url.strip_prefix("https://localhost:").expect("TLS on localhost");
    assert_ne!(port.parse(), Ok(0_u16));
    assert_eq!(docker, &format!("export DOCKER_CONTENT_TRUST_SERVER={url}"));
    let ca = data.join("tls/ca.pem");
    assert_eq!(authority, &format!("export BULLA_CA_CERT='{}'", ca.display()));

    let client = client(&ca);
    let made = keys(&client, &url).await;
    for name in ["localhost", "127.0.0.1", "[::1]"] {
        let url = format!("https://{name}:{port}/api/v1/repositories");
        let answer = client.get(&url).send().await;
        // Only IPv4 loopback is listened on; the names are all in the certificate.
        assert_eq!(answer.is_ok(), name != "[::1]", "{name}");
    }
    for secret in ["kek", "tls/ca.key", "tls/server.key"] {
        let mode = fs::metadata(data.join(secret)).expect("it was made").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("stopped"), "{log}");

    let again = Running::development(&data);
    let url = again.lines[0].strip_prefix("export BULLA_SERVER=").expect("the server").to_owned();
    assert_eq!(keys(&client, &url).await, made, "another start, the same authority and keys");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_data_folder_it_takes_that_of_the_user() {
    let home = tempfile::tempdir().expect("a folder");
    let arguments = ["serve", "--dev", "--listen", "127.0.0.1:0"];
    drop(Running::start(bullad(&arguments).env("HOME", home.path()), 3));
    assert!(home.path().join(".local/share/bullad-dev/FORMAT").is_file());
    let without = run(&arguments);
    assert!(text(&without.stderr).contains("hint: give --data DIR"), "{}", text(&without.stderr));
}

#[test]
fn one_folder_has_one_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let _first = Running::development(folder.path());
    let second = bullad(&["serve", "--dev", "--listen", "127.0.0.1:0", "--data"]).arg(folder.path()).output();
    let second = second.expect("bullad can be started");
    assert_eq!(second.status.code(), Some(1));
    assert!(second.stdout.is_empty());
}

#[test]
fn development_stays_on_loopback() {
    let folder = tempfile::tempdir().expect("a folder");
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:443"] {
        let refused = bullad(&["serve", "--dev", "--listen", address, "--data"])
            .arg(folder.path().join("data"))
            .output()
            .expect("bullad can be started");
        assert_eq!(refused.status.code(), Some(1), "{address}");
        assert!(text(&refused.stderr).contains("loopback only"), "{}", text(&refused.stderr));
        assert!(!folder.path().join("data").exists(), "{address}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_encryption_key_is_replaced_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let client = Client::builder().no_proxy().build().expect("a client");
    let config = configuration(&folder, "");
    let (server, url) = serve(&config);
    let create = ["token", "create", "ci", "--scope", "**", "--can", "admin", "--expires", "90d"];
    let made = run(&[create.as_slice(), &["--config", &config]].concat());
    assert!(made.status.success(), "{}", text(&made.stderr));
    let token = text(&made.stdout).trim().to_owned();
    let ask = async |url: &str, name: &str| -> OnlineKeys {
        let url = format!("{url}/api/v1/repositories/{name}/online-keys");
        let answer = client.post(url).bearer_auth(&token).send().await.expect("an answer");
        answer.json().await.expect("keys")
    };
    // The file of tokens is looked at once in a second.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let mut before = Vec::new();
    for name in ["r.io/a", "r.io/b", "r.io/c"] {
        before.push(ask(&url, name).await);
    }
    server.stop();

    let (kek, old) = (folder.path().join("kek"), folder.path().join("kek.old"));
    fs::rename(&kek, &old).expect("renamed");
    fs::write(&kek, "22".repeat(32)).expect("written");
    fs::set_permissions(&kek, fs::Permissions::from_mode(0o600)).expect("changed");
    let wrong = folder.path().join("kek.wrong");
    fs::write(&wrong, "33".repeat(32)).expect("written");
    fs::set_permissions(&wrong, fs::Permissions::from_mode(0o600)).expect("changed");
    let with_old = |path: &Path| configuration(&folder, &format!("old_key_file = \"{}\"\n", path.display()));

    let refused = run(&["serve", "--config", &with_old(&wrong)]);
    assert_eq!(refused.status.code(), Some(1));
    let words = text(&refused.stderr);
    assert!(words.contains("cannot reseal the online keys of r.io/") && words.contains("hint: "), "{words}");

    let mut command = bullad(&["serve", "--config", &with_old(&old)]);
    let process =
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("bullad can be started");
    let mut replaced = Running { process, lines: Vec::new() };
    let mut log = BufReader::new(replaced.process.stderr.take().expect("a pipe"));
    let mut line = String::new();
    log.read_line(&mut line).expect("a line");
    replaced.process.stderr = Some(log.into_inner());
    assert!(line.contains("\"resealed\":3") && line.contains("old_key_file can be taken out"), "{line}");
    drop(replaced);

    let (server, url) = serve(&configuration(&folder, ""));
    for (name, before) in ["r.io/a", "r.io/b", "r.io/c"].into_iter().zip(&before) {
        let after = ask(&url, name).await;
        assert_eq!((&after.snapshot, &after.timestamp), (&before.snapshot, &before.timestamp), "{name}");
        assert_eq!((before.generation, after.generation), (1, 2), "{name}: stored anew once");
    }
    server.stop();
}

/// A configuration on a free port, with its key-encryption key.
fn configuration(folder: &TempDir, more: &str) -> String {
    let kek = folder.path().join("kek");
    if !kek.exists() {
        fs::write(&kek, "11".repeat(32)).expect("written");
        fs::set_permissions(&kek, fs::Permissions::from_mode(0o600)).expect("changed");
    }
    let (data, path) = (folder.path().join("data"), folder.path().join("bullad.toml"));
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[store]\ndata = \"{}\"\n[vault]\nkey_file = \"{}\"\n{more}",
        data.display(),
        kek.display()
    );
    fs::write(&path, text).expect("written");
    path.to_str().expect("text").to_owned()
}

/// A server with a configuration prints nothing; its log tells the address.
fn serve(config: &str) -> (Running, String) {
    let mut command = bullad(&["serve", "--config", config]);
    let mut process =
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("bullad can be started");
    let mut line = String::new();
    let mut log = BufReader::new(process.stderr.take().expect("a pipe"));
    log.read_line(&mut line).expect("a line");
    process.stderr = Some(log.into_inner());
    let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no event: {line}"));
    let address = event["address"].as_str().unwrap_or_else(|| panic!("no address: {line}")).to_owned();
    (Running { process, lines: Vec::new() }, format!("http://{address}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_shown_once_and_never_logged() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = configuration(&folder, "");
    let (server, url) = serve(&config);
    let create = ["token", "create", "ci", "--scope", "r.io/**", "--can", "read,publish", "--expires", "90d"];
    let made = run(&[create.as_slice(), &["--config", &config]].concat());
    assert!(made.status.success(), "{}", text(&made.stderr));
    let token = text(&made.stdout).trim().to_owned();
    assert!(token.starts_with("bulla_") && !text(&made.stderr).contains(&token));
    let twice = run(&[create.as_slice(), &["--config", &config]].concat());
    assert!(!twice.status.success() && text(&twice.stderr).contains("exists"));
    let listed = text(&run(&["token", "list", "--config", &config]).stdout);
    assert!(listed.contains("ci") && listed.contains("r.io/**") && !listed.contains(&token), "{listed}");

    let client = Client::builder().no_proxy().build().expect("a client");
    let ask = async |path: &str| {
        client.get(format!("{url}{path}")).bearer_auth(&token).send().await.expect("an answer")
    };
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert!(ask("/api/v1/repositories").await.json::<RepositoryList>().await.is_ok());
    assert_eq!(ask("/api/v1/repositories/r.io/a/head").await.status(), 404);
    assert!(run(&["token", "revoke", "ci", "--config", &config]).status.success());
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert_eq!(ask("/api/v1/repositories").await.status(), 401);
    let (code, log) = server.stop();
    assert_eq!(code, Some(0));
    assert!(log.contains("\"caller\":\"ci\"") && log.contains("\"request_id\""), "{log}");
    assert!(!log.contains(token.strip_prefix("bulla_").expect("a token")), "{log}");
    assert!(!log.contains(&"11".repeat(32)), "{log}");
}

#[test]
fn configurations_are_strict() {
    let folder = tempfile::tempdir().expect("a folder");
    for (more, variable, part) in [
        ("[limits]\npart = 3\n", None, "unknown field `part`"),
        ("[vault]\n", None, "duplicate key"),
        ("[lifetimes]\ntimestamp = \"soon\"\n", None, "soon"),
        ("", Some(("BULLAD_SERVER_LISTEN", "0.0.0.0:0")), "server.listen"),
        ("", Some(("BULLAD_SERVER_PORT", "3")), "port"),
        ("", Some(("BULLAD_TYPO", "3")), "BULLAD_TYPO"),
        ("[log]\nlevel = \"loud,,=\"\n", None, "log.level"),
    ] {
        let config = configuration(&folder, more);
        let mut command = bullad(&["serve", "--config", &config]);
        command.envs(variable);
        let refused = command.output().expect("bullad can be started");
        let words = text(&refused.stderr);
        assert!(!refused.status.success() && words.contains(part), "{more} {variable:?}: {words}");
    }
    let absent = run(&["serve", "--config", "/nowhere/bullad.toml"]);
    assert_eq!(absent.status.code(), Some(3));
    assert!(text(&absent.stderr).contains("/nowhere/bullad.toml"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_or_exposed_key_encryption_key_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = configuration(&folder, "");
    let kek = folder.path().join("kek");
    fs::set_permissions(&kek, fs::Permissions::from_mode(0o644)).expect("changed");
    let exposed = run(&["serve", "--config", &config]);
    assert!(text(&exposed.stderr).contains("chmod 600"), "{}", text(&exposed.stderr));

    let data = folder.path().join("data");
    let server = Running::development(&data);
    let url = server.lines[0].strip_prefix("export BULLA_SERVER=").expect("the server").to_owned();
    let client = client(&data.join("tls/ca.pem"));
    let user = bulla_tests::publisher::Publisher::new(&keys(&client, &url).await);
    let mut form = reqwest::multipart::Form::new();
    for upload in user.first() {
        let bulla_tests::server::Upload::Metadata(name, bytes) = upload else { panic!("documents only") };
        form = form.part("metadata", reqwest::multipart::Part::bytes(bytes).file_name(name));
    }
    let publish = client
        .post(format!("{url}/api/v1/repositories/r.io/app/publish"))
        .header("if-none-match", "*")
        .header("idempotency-key", "0".repeat(32))
        .multipart(form);
    assert_eq!(publish.send().await.expect("an answer").status(), 200);
    let read = async |server: &Running| {
        let url = server.lines[0].strip_prefix("export BULLA_SERVER=").expect("the server");
        let url = format!("{url}/tuf/r.io/app/metadata/timestamp.json");
        client.get(url).send().await.expect("an answer").bytes().await.expect("a body")
    };
    let before = read(&server).await;
    server.stop();
    let again = Running::development(&data);
    assert_eq!(read(&again).await, before, "another start, the same repository");
    again.stop();

    fs::set_permissions(&kek, fs::Permissions::from_mode(0o600)).expect("changed");
    let wrong = run(&["serve", "--config", &config]);
    let words = text(&wrong.stderr);
    assert_eq!(wrong.status.code(), Some(1), "{words}");
    assert!(words.contains("were sealed under key-encryption key"), "{words}");
}

#[test]
fn helps_completions_and_manual_pages_are_there() {
    for arguments in [
        vec!["--help"],
        vec!["serve", "--help"],
        vec!["token", "--help"],
        vec!["token", "create", "--help"],
        vec!["token", "list", "--help"],
        vec!["token", "revoke", "--help"],
        vec!["completions", "--help"],
        vec!["man", "--help"],
    ] {
        let output = run(&arguments);
        assert!(output.status.success(), "{arguments:?}");
        let name = format!("bullad {}", arguments.join(" ")).replace(" --help", "").replace(' ', "-");
        insta::assert_snapshot!(name, text(&output.stdout));
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(text(&run(&["completions", shell]).stdout).contains("bullad"), "{shell}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    assert!(run(&["man", folder.path().to_str().expect("text")]).status.success());
    let page = fs::read_to_string(folder.path().join("bullad-serve.1")).expect("a page for each command");
    assert!(page.contains("loopback"));
}
