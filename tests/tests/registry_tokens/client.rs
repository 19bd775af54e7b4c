//! Debian's `notary` program, a token server, and `bullad` between them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulla_tests::notary::{Notary, refused};
use reqwest::Url;
use serde_json::{Value, json};

use crate::mint::{Signer, token, x5c};
use crate::program::{Trial, tls};

/// A token server: anybody may pull, `ann` may do what she asks for.
struct TokenServer {
    port: u16,
    /// The scopes that were asked for, after the user's name.
    asked: Arc<Mutex<Vec<String>>>,
}

impl TokenServer {
    fn start(certificate: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.expect("a caller"), &certificate, &noted);
            }
        });
        Self { port, asked }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().expect("no panic"))
    }
}

fn answer(mut stream: TcpStream, certificate: &[u8], noted: &Mutex<Vec<String>>) {
    let lines = BufReader::new(&stream).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let target = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    let url = Url::parse("http://127.0.0.1").and_then(|base| base.join(target)).expect("a URL");
    let ann = format!("Basic {}", STANDARD.encode("ann:secret"));
    let presented = head.iter().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("authorization").then(|| value.to_owned())
    });
    let (status, body) = if presented.as_ref().is_some_and(|presented| *presented != ann) {
        ("401 Unauthorized", Value::Null)
    } else {
        let user = if presented.is_some() { "ann" } else { "" };
        let scopes: Vec<String> = url
            .query_pairs()
            .filter(|(name, _)| name == "scope")
            .map(|(_, value)| value.into_owned())
            .collect();
        noted.lock().expect("no panic").extend(scopes.iter().map(|scope| format!("{user} {scope}")));
        ("200 OK", json!({"token": issue(user, &scopes, certificate)}))
    };
    let body = body.to_string();
    let length = body.len();
    // Whoever does not wait for the answer does without.
    let _gone = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
}

/// As Docker's token servers do: a part of what was asked for, never an error.
fn issue(user: &str, scopes: &[String], certificate: &[u8]) -> String {
    let entry = |scope: &String| {
        // From the right and from the left: a name holds colons.
        let (rest, actions) = scope.rsplit_once(':').expect("actions");
        let (kind, name) = rest.split_once(':').expect("a type");
        let granted: Vec<&str> =
            actions.split(',').filter(|action| !user.is_empty() || *action == "pull").collect();
        json!({"type": kind, "class": "", "name": name, "actions": granted})
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let header = json!({"typ": "JWT", "alg": "ES256", "x5c": x5c(&[certificate])});
    let claims = json!({
        "iss": "issuer", "sub": user, "aud": "trust", "jti": "1", "iat": now, "nbf": now, "exp": now + 300,
        "access": scopes.iter().map(entry).collect::<Vec<_>>(),
    });
    token(&header.to_string(), &claims.to_string(), &Signer::p256(7))
}

pub(crate) const GUN: &str = "localhost:5000/team/app";
pub(crate) const HASH: &str = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

/// `notary` with these credentials, as pipelines set them.
pub(crate) fn notary(trial: &Trial, port: u16, credentials: Option<&str>) -> Option<Notary> {
    let mut notary = Notary::at(&format!("https://localhost:{port}"), &trial.path("tls/ca.pem"))?;
    if let Some(credentials) = credentials {
        notary.cli = notary.cli.with("NOTARY_AUTH", &STANDARD.encode(credentials));
    }
    Some(notary)
}

#[test]
fn notary_gets_its_tokens_and_publishes() {
    let mut trial = Trial::new();
    let server = TokenServer::start(trial.certificate.clone());
    let section = format!(
        "[auth.registry]\nrealm = 'http://127.0.0.1:{}/token'\nservice = 'trust'\nissuer = 'issuer'\n\
         rootcertbundle = 'good.pem'\n{}",
        server.port,
        tls(&trial)
    );
    let port = trial.start(&section).expect("it starts");
    let Some(ann) = notary(&trial, port, Some("ann:secret")) else { return };
    ann.ok(&["init", "-p", GUN]);
    assert!(server.asked().contains(&format!("ann repository:{GUN}:push,pull")));
    ann.ok(&["addhash", "-p", GUN, "v1", "3", "--sha256", HASH]);
    ann.ok(&["key", "rotate", GUN, "snapshot", "-r"]);
    assert!(server.asked().contains(&format!("ann repository:{GUN}:*")));

    let anybody = notary(&trial, port, None).expect("it was there");
    assert!(anybody.ok(&["list", GUN]).contains(HASH));
    assert_eq!(server.asked(), [format!(" repository:{GUN}:pull")]);
    anybody.refused(&["init", "-p", "localhost:5000/team/other"], "authorized");
    anybody.refused(&["delete", "--remote", GUN], "authorized");
    let stranger = notary(&trial, port, Some("eve:guess")).expect("it was there");
    stranger.refused(&["delete", "--remote", GUN], "authorized");
    assert!(anybody.ok(&["list", GUN]).contains("v1"));

    ann.ok(&["delete", "--remote", GUN]);
    let later = notary(&trial, port, None).expect("it was there");
    later.refused(&["list", GUN], "does not have trust data");
}

/// With nothing else but tokens of our own, each as a password.
#[test]
fn notary_reads_and_publishes_without_another_token_server() {
    let mut trial = Trial::new();
    let port = trial.start(&tls(&trial)).expect("it starts");
    let password =
        |name: &str, can: &str, scope: &str| format!("{name}:{}", trial.own_token_for(name, can, scope));
    let (writer, admin) = (password("ci", "publish", "**"), password("admin", "admin", "**"));
    let (reader, stranger) = (password("dev", "read", "**"), password("eve", "admin", "localhost:5000/x/**"));
    let somebody = |credentials: &str| notary(&trial, port, Some(credentials));
    let Some(ci) = somebody(&writer) else { return };
    ci.ok(&["init", "-p", GUN]);
    ci.ok(&["addhash", "-p", GUN, "v1", "3", "--sha256", HASH]);
    ci.refused(&["key", "rotate", GUN, "snapshot", "-r"], "authorized");
    ci.refused(&["delete", "--remote", GUN], "authorized");

    // Each time with nothing in the cache.
    let new = |credentials: &str| somebody(credentials).expect("it was there");
    assert!(new(&reader).ok(&["list", GUN]).contains(HASH));
    assert!(new(&reader).ok(&["lookup", GUN, "v1"]).contains(HASH));
    let verified = new(&reader).run_with(&["verify", GUN, "v1"], "foo");
    assert_eq!(verified.ok(), "foo");
    refused(&new(&reader).run_with(&["verify", GUN, "v1"], "bar"), "checksum");
    new(&reader).refused(&["list", "localhost:5000/team/other"], "does not have trust data");
    new(&reader).refused(&["init", "-p", "localhost:5000/team/other"], "authorized");
    for gun in [GUN, "localhost:5000/team/other"] {
        new(&stranger).refused(&["list", gun], "not authorized to perform this operation");
        new(&format!("{writer}x")).refused(&["list", gun], "authentication required");
        notary(&trial, port, None).expect("it was there").refused(&["list", gun], "not authorized");
    }
    new(&format!("{admin}x")).refused(&["delete", "--remote", GUN], "authorized");

    let mut owner = ci.asking(&format!("https://localhost:{port}")).expect("it was there");
    owner.cli = owner.cli.with("NOTARY_AUTH", &STANDARD.encode(&admin));
    owner.ok(&["key", "rotate", GUN, "snapshot", "-r"]);
    owner.ok(&["key", "rotate", GUN, "timestamp", "-r"]);
    assert!(new(&reader).ok(&["list", GUN]).contains("v1"));
    owner.ok(&["delete", "--remote", GUN]);
    new(&reader).refused(&["list", GUN], "does not have trust data");
    let log = std::fs::read_to_string(trial.path("log")).expect("a log");
    assert!(log.contains("\"caller\":\"dev\"") && !log.contains("bulla_"), "{log}");
}

#[test]
fn anybody_reads_with_notary_what_is_for_everybody() {
    let mut trial = Trial::new();
    let port = trial.start(&format!("auth.anonymous_read = true\n{}", tls(&trial))).expect("it starts");
    let writer = format!("ci:{}", trial.own_token("ci", "publish"));
    let Some(ci) = notary(&trial, port, Some(&writer)) else { return };
    ci.ok(&["init", "-p", GUN]);
    ci.ok(&["addhash", "-p", GUN, "v1", "3", "--sha256", HASH]);

    let anybody = || notary(&trial, port, None).expect("it was there");
    assert!(anybody().ok(&["list", GUN]).contains(HASH));
    assert!(anybody().ok(&["lookup", GUN, "v1"]).contains(HASH));
    assert_eq!(anybody().run_with(&["verify", GUN, "v1"], "foo").ok(), "foo");
    anybody().refused(&["list", "localhost:5000/team/other"], "does not have trust data");
    anybody().refused(&["init", "-p", "localhost:5000/team/other"], "authorized");
    anybody().refused(&["delete", "--remote", GUN], "authorized");
    let user = anybody();
    user.ok(&["list", GUN]);
    user.refused(&["key", "rotate", GUN, "snapshot", "-r"], "authorized");
    assert!(anybody().ok(&["list", GUN]).contains("v1"));
}
