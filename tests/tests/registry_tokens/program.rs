//! `[auth.registry]` in the program: what stops its start, and what it answers.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulla_server::tls::DevelopmentTls;
use bulla_tests::programs::program;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::mint::{Certified, Signer, pem, token};
use crate::with;

const PATIENCE: Duration = Duration::from_secs(30);

/// `bullad serve --config` in a folder of its own.
pub(crate) struct Trial {
    folder: TempDir,
    process: Option<Child>,
    /// Of the key of `good.pem` and `good.json`.
    pub(crate) certificate: Vec<u8>,
}

impl Trial {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("kek"), "00".repeat(32)).expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(folder.path().join("kek"), mode).expect("set");
        let own = Certified::by_itself("server", Signer::p256(7), |_| ());
        std::fs::write(folder.path().join("good.pem"), pem(&[&own.der])).expect("written");
        let keys = json!({"keys": [Signer::p256(7).jwk("k")]}).to_string();
        std::fs::write(folder.path().join("good.json"), keys).expect("written");
        Self { folder, process: None, certificate: own.der }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts it with these lines at the end of the file. Its port, or why it did not start.
    pub(crate) fn start(&mut self, lines: &str) -> Result<u16, String> {
        let config = format!(
            "server.listen = '127.0.0.1:0'\nstore.data = 'data'\nstore.kind = 'memory'\n\
             vault.key_file = 'kek'\n{lines}\n"
        );
        std::fs::write(self.path("bullad.toml"), config).expect("written");
        let log = self.path("log");
        let mut command = Command::new(program("bullad"));
        command.args(["serve", "--config", "bullad.toml"]).current_dir(self.folder.path()).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).expect("a log"));
        let process = self.process.insert(command.spawn().expect("bullad can be started"));
        let started = Instant::now();
        loop {
            let ended = process.try_wait().expect("it can be asked");
            let said = std::fs::read_to_string(&log).expect("a log");
            if let Some(status) = ended {
                assert!(!status.success(), "{said}");
                return Err(said);
            }
            let port = said.split_once("\"address\":\"127.0.0.1:").and_then(|(_, rest)| rest.split_once('"'));
            if let Some((port, _)) = port {
                return Ok(port.parse().expect("a port"));
            }
            assert!(started.elapsed() < PATIENCE, "bullad neither starts nor refuses: {said}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A token of the server's own, for everything.
    pub(crate) fn own_token(&self, name: &str, can: &str) -> String {
        self.own_token_for(name, can, "**")
    }

    /// The same, for the repositories of `scope`.
    pub(crate) fn own_token_for(&self, name: &str, can: &str, scope: &str) -> String {
        let mut command = Command::new(program("bullad"));
        command
            .args(["token", "create", name, "--scope", scope, "--can", can, "--expires", "1d", "--data"])
            .env_clear();
        let output = command.arg(self.path("data")).output().expect("bullad can be started");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _gone = process.kill().and_then(|()| process.wait());
        }
    }
}

const GOOD: [(&str, &str); 4] = [
    ("realm", "'https://auth.example.com/token'"),
    ("service", "'trust'"),
    ("issuer", "'issuer'"),
    ("jwks", "'good.json'"),
];

/// The section that gives `trial` a certificate of an authority of its own.
pub(crate) fn tls(trial: &Trial) -> String {
    let files = DevelopmentTls::in_folder(trial.path("tls")).expect("a certificate");
    format!("\n[tls]\ncertificate = '{}'\nkey = '{}'\n", files.certificate().display(), files.key().display())
}

/// The good section with one setting made anew; with an empty value, left out.
pub(crate) fn section(key: &str, value: &str) -> String {
    let others =
        GOOD.iter().filter(|(name, _)| *name != key).map(|(name, value)| format!("{name} = {value}\n"));
    let new = if value.is_empty() { String::new() } else { format!("{key} = {value}\n") };
    format!("[auth.registry]\n{}{new}", others.collect::<String>())
}

/// Notary's server takes a misspelt `auth` for none, and lets everybody in.
#[test]
fn a_wrong_setting_stops_the_start_and_is_named() {
    let mut trial = Trial::new();
    for (lines, named) in [
        ("auth.type = 'token'".to_owned(), "type"),
        ("auth = 'token'".to_owned(), "auth"),
        ("auth.anonymous_read = 'no'".to_owned(), "anonymous_read"),
        ("[auth.registy]\nrealm = 'https://a/'".to_owned(), "registy"),
        ("[auth.token]\nrealm = 'https://a/'".to_owned(), "token"),
        ("[Auth]".to_owned(), "Auth"),
        ("[auth.registry]".to_owned(), "realm"),
        (section("realm", ""), "realm"),
        (section("service", ""), "service"),
        (section("issuer", ""), "issuer"),
        (section("issuer", "''"), "auth.registry.issuer"),
        (section("service", "' '"), "auth.registry.service"),
        (section("realm", "''"), "auth.registry.realm"),
        (section("realm", "'http://auth.example.com/'"), "auth.registry.realm"),
        (section("jwks", ""), "auth.registry.jwks"),
        (section("rootcertbundel", "'good.pem'"), "rootcertbundel"),
        (section("autoredirect", "true"), "autoredirect"),
        (section("algorithms", "[]"), "auth.registry.algorithms"),
        (section("algorithms", "['none']"), "none"),
        (section("algorithms", "['HS256']"), "HS256"),
        (section("algorithms", "['es256']"), "es256"),
        (section("algorithms", "'ES256'"), "ES256"),
        (section("leeway", "'1h'"), "auth.registry.leeway"),
        (section("leeway", "60"), "leeway"),
    ] {
        let message = trial.start(&lines).expect_err(&lines);
        assert!(message.contains(named), "{lines}\n{message}");
    }
    assert!(trial.start(&section("algorithms", "['ES256']\nleeway = '5s'")).is_ok());
}

#[test]
fn a_file_without_usable_keys_stops_the_start_and_is_named() {
    let mut trial = Trial::new();
    let good = std::fs::read_to_string(trial.path("good.pem")).expect("readable");
    let key = Signer::p256(7).jwk("k");
    let weak = Certified::by_itself("weak", Signer::rsa(1024), |_| ());
    let secret = good.replace("CERTIFICATE", "PRIVATE KEY");
    for (setting, content, reason) in [
        ("rootcertbundle", None, "cannot read"),
        ("rootcertbundle", Some(String::new()), "no certificate"),
        ("rootcertbundle", Some("nothing\n".to_owned()), "no certificate"),
        ("rootcertbundle", Some(good.replace("-----END", "END")), "no PEM"),
        ("rootcertbundle", Some(good.replace("MII", "MIJ")), "malformed"),
        ("rootcertbundle", Some(format!("{good}{secret}")), "section 2"),
        ("rootcertbundle", Some(pem(&[&weak.der])), "2048"),
        ("rootcertbundle", Some(" ".repeat(1024 * 1024 + 1)), "1 MiB"),
        ("jwks", None, "cannot read"),
        ("jwks", Some(String::new()), "not a JWK set"),
        ("jwks", Some("{\"keys\":[]}".to_owned()), "no key"),
        ("jwks", Some(good.clone()), "not a JWK set"),
        ("jwks", Some(json!({"keys": [with(key.clone(), "d", json!("AA"))]}).to_string()), "private"),
        ("jwks", Some(json!({"keys": [{"kty": "oct", "kid": "k", "k": "AA"}]}).to_string()), "symmetric"),
        ("jwks", Some(json!({"keys": [with(key.clone(), "kid", Value::Null)]}).to_string()), "kid"),
        ("jwks", Some(json!({"keys": [Signer::rsa(1024).jwk("k")]}).to_string()), "2048"),
    ] {
        let file = trial.path("file");
        let _absent = std::fs::remove_file(&file);
        if let Some(content) = &content {
            std::fs::write(&file, content).expect("written");
        }
        let lines = section("jwks", "") + &format!("{setting} = '{}'", file.display());
        let message = trial.start(&lines).expect_err(&lines);
        let setting = format!("auth.registry.{setting}");
        let path = file.display().to_string();
        for part in [setting.as_str(), &path, reason] {
            assert!(message.contains(part), "{part} in {message}");
        }
    }
    let narrow = section("algorithms", "['EdDSA']");
    assert!(trial.start(&narrow).expect_err("no such key").contains("auth.registry.issuer"));
    let both = section("rootcertbundle", "'good.pem'");
    assert!(trial.start(&both).is_ok());
}

fn registry_token(access: Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let header = json!({"typ": "JWT", "alg": "ES256", "kid": "k"});
    let claims = json!({"iss": "issuer", "aud": "trust", "exp": now + 300, "access": access});
    token(&header.to_string(), &claims.to_string(), &Signer::p256(7))
}

#[tokio::test]
async fn the_rights_of_a_token_count_on_every_route() {
    let mut trial = Trial::new();
    let port = trial.start(&section("leeway", "'5s'")).expect("it starts");
    let client = Client::builder().no_proxy().build().expect("a client");
    let ask = async |method: Method, path: &str, token: Option<&str>| {
        let mut request = client.request(method, format!("http://127.0.0.1:{port}{path}"));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.expect("an answer");
        (answer.status(), answer.text().await.expect("a text"))
    };
    let entry = |actions: &[&str]| json!([{"type": "repository", "name": "r.io/a", "actions": actions}]);
    let (reader, writer) = (registry_token(entry(&["pull"])), registry_token(entry(&["pull", "push"])));
    let nobody = registry_token(json!([]));
    let keys = "/api/v1/repositories/r.io/a/online-keys";

    for (method, path) in [(Method::GET, "/api/v1/repositories"), (Method::POST, keys)] {
        assert_eq!(ask(method.clone(), path, None).await.0, StatusCode::UNAUTHORIZED, "{path}");
        let forged = format!("{writer}x");
        assert_eq!(ask(method, path, Some(&forged)).await.0, StatusCode::UNAUTHORIZED, "{path}");
    }
    assert_eq!(ask(Method::POST, keys, Some(&nobody)).await.0, StatusCode::NOT_FOUND);
    assert_eq!(ask(Method::POST, keys, Some(&reader)).await.0, StatusCode::FORBIDDEN);
    assert_eq!(ask(Method::POST, keys, Some(&writer)).await.0, StatusCode::OK);
    assert_eq!(ask(Method::GET, keys, Some(&reader)).await.0, StatusCode::OK);

    // There is an `r.io/a` now and no `r.io/b`: whoever may see neither is told the same.
    let timestamp = |name: &str| format!("/tuf/{name}/metadata/timestamp.json");
    let (one, other) = (timestamp("r.io/a"), timestamp("r.io/b"));
    for token in [None, Some(nobody.as_str())] {
        assert_eq!(ask(Method::GET, &one, token).await, ask(Method::GET, &other, token).await);
    }
    let made = ask(Method::GET, keys, Some(&nobody)).await;
    assert_eq!(made.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn notary_routes_say_where_tokens_are_to_be_had() {
    let mut trial = Trial::new();
    let port = trial.start(&section("leeway", "'5s'")).expect("it starts");
    let client = Client::builder().no_proxy().build().expect("a client");
    let own = trial.own_token("ci", "read,publish");
    let challenge = async |method: Method, path: &str, authorization: Option<String>| {
        let mut request = client.request(method, format!("http://127.0.0.1:{port}{path}"));
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let answer = request.send().await.expect("an answer");
        let challenges: Vec<_> = answer.headers().get_all("www-authenticate").iter().collect();
        let challenges = challenges.iter().map(|value| value.to_str().expect("text").to_owned()).collect();
        (answer.status().as_u16(), challenges)
    };
    let bearer = |scope: &str| {
        let realm = "Bearer realm=\"https://auth.example.com/token\",service=\"trust\"";
        (401, vec![format!("{realm},scope=\"{scope}\"")])
    };
    let of = |action: &str| bearer(&format!("repository:localhost:5000/a:{action}"));
    let gun = "/v2/localhost:5000/a/_trust";
    let reader = registry_token(json!([{"type": "repository", "name": "r.io/a", "actions": ["pull"]}]));

    for presented in [None, Some("Basic eDp4".to_owned()), Some(format!("Bearer {reader}x"))] {
        assert_eq!(challenge(Method::GET, "/v2/", presented.clone()).await, bearer("registry:catalog:*"));
        let root = format!("{gun}/tuf/root.json");
        assert_eq!(challenge(Method::GET, &root, presented.clone()).await, of("pull"));
    }
    for presented in [None, Some(format!("Bearer {reader}"))] {
        for (method, path, action) in [
            (Method::GET, "tuf/root.json", "pull"),
            (Method::POST, "tuf/", "push,pull"),
            (Method::DELETE, "tuf/", "*"),
            (Method::GET, "tuf/snapshot.key", "push,pull"),
            (Method::POST, "tuf/snapshot.key", "*"),
        ] {
            let found = challenge(method.clone(), &format!("{gun}/{path}"), presented.clone()).await;
            assert_eq!(found, of(action), "{method} {path}");
        }
        let feed = challenge(Method::GET, "/v2/_trust/changefeed?records=1", presented.clone()).await;
        assert_eq!(feed, bearer("registry:catalog:*"));
    }
    let basic = format!("Basic {}", STANDARD.encode(format!("ci:{own}")));
    assert_eq!(challenge(Method::GET, "/v2/", Some(basic)).await, (200, vec![]));
    assert_eq!(challenge(Method::GET, "/v2/", Some(format!("Bearer {reader}"))).await, (200, vec![]));
}

/// Paths in the file count from where the program runs.
#[test]
fn a_bundle_alone_is_enough() {
    let mut trial = Trial::new();
    assert!(trial.start(&(section("jwks", "") + "rootcertbundle = 'good.pem'")).is_ok());
}
