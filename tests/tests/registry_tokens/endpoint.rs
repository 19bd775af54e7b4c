//! The token server that `bullad` is itself: what it gives to whom, and where it sends clients.
//!
//! It hands a password back to whoever presents it, so nothing else may come out of it, and nobody
//! may be led to present a password elsewhere.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulla_keys_schema::time::UtcTime;
use bulla_server::auth::TokenFile;
use reqwest::{Certificate, Client, Method, Version};
use serde_json::Value;

use crate::program::{Trial, section, tls};

const ENDPOINT: &str = "/v2/_bulla/token";
const BASIC: &str = "Basic realm=\"bullad\"";

/// What came back: status, `WWW-Authenticate`, body.
type Answer = (u16, Vec<String>, String);

/// A client of a plain server.
struct Caller {
    client: Client,
    port: u16,
}

impl Caller {
    fn of(port: u16) -> Self {
        Self { client: Client::builder().no_proxy().build().expect("a client"), port }
    }

    async fn send(&self, method: Method, path: &str, authorization: Option<&str>) -> Answer {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        // Part of some bodies.
        let mut request = self.client.request(method, url).header("x-request-id", "same");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let answer = request.send().await.expect("an answer");
        let headers = answer.headers();
        assert!(headers.get("cache-control").is_some_and(|value| value == "no-store"), "{path}");
        let challenges = headers.get_all("www-authenticate").iter();
        let challenges = challenges.map(|value| value.to_str().expect("a text").to_owned()).collect();
        (answer.status().as_u16(), challenges, answer.text().await.expect("a text"))
    }
}

fn basic(credentials: &str) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

fn given(answer: &Answer) -> String {
    assert_eq!(answer.0, 200, "{answer:?}");
    let answer: Value = serde_json::from_str(&answer.2).expect("JSON");
    assert_eq!(answer.as_object().expect("an object").len(), 2);
    assert!(answer["expires_in"].as_u64().is_some_and(|seconds| seconds >= 60));
    answer["token"].as_str().expect("a text").to_owned()
}

/// A token that was good until a moment ago.
fn expired(trial: &Trial) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let at = |before: u64| {
        UtcTime::from_unix_seconds(i64::try_from(now - before).expect("a number")).expect("a time")
    };
    let (name, rights) = ("late".parse().expect("a name"), "admin".parse().expect("rights"));
    let scopes = vec!["**".parse().expect("a scope")];
    let file = TokenFile::in_data(&trial.path("data"));
    file.create(name, rights, scopes, at(100), Some(at(1))).expect("a token").to_string()
}

#[tokio::test]
async fn a_password_comes_back_and_nothing_else_does() {
    let mut trial = Trial::new();
    let caller = Caller::of(trial.start("").expect("it starts"));
    let (reader, late) = (trial.own_token("reader", "read"), expired(&trial));
    for user in ["ci", "", "anybody at all"] {
        let path = format!("{ENDPOINT}?service=bullad&scope=repository:r.io/a:*&account=root");
        let right = basic(&format!("{user}:{reader}"));
        assert_eq!(given(&caller.send(Method::GET, &path, Some(&right)).await), reader);
    }
    for presented in [
        basic(&format!("ci:{reader}x")),
        basic(&format!("ci:{}", &reader[..reader.len() - 1])),
        basic(&format!("ci:{}", reader.to_lowercase())),
        basic(&format!("{reader}:")),
        basic(&reader),
        basic("ci:"),
        basic(":"),
        basic("ci:anonymous"),
        basic(&format!("ci:{late}")),
        basic(&format!("ci:{reader}{}", "x".repeat(8000))),
        basic(&format!("{}:{reader}", "u".repeat(8000))),
        "Basic".to_owned(),
        "Basic ".to_owned(),
        "Basic ???".to_owned(),
        format!("Bearer {reader}"),
        "Bearer anonymous".to_owned(),
        "Digest username=\"ci\"".to_owned(),
        reader.clone(),
    ] {
        let (status, challenges, body) = caller.send(Method::GET, ENDPOINT, Some(&presented)).await;
        assert_eq!((status, challenges), (401, vec![BASIC.to_owned()]), "{presented}");
        let body: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(body["errors"][0]["code"], "UNAUTHORIZED");
    }
    let right = basic(&format!("ci:{reader}"));
    for method in ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "EVIL"] {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let answer = caller.send(method.clone(), ENDPOINT, Some(&right)).await;
        assert_eq!(answer, (405, vec![], String::new()), "{method}");
    }
    for path in
        ["/v2/_bulla/token/", "//v2/_bulla/token", "/v2/_bulla%2Ftoken", "/v2/%5Fbulla/token", "/v2/_bulla"]
    {
        let (status, _, body) = caller.send(Method::GET, path, Some(&right)).await;
        assert!(status == 404 && !body.contains(&reader), "{path}");
    }
    let log = std::fs::read_to_string(trial.path("log")).expect("a log");
    assert!(log.contains(ENDPOINT) && log.contains("\"caller\":\"reader\""));
    assert!(!log.contains("bulla_") && !log.contains(&STANDARD.encode(&reader)[..20]), "{log}");
}

#[tokio::test]
async fn what_is_given_to_anybody_is_worth_nothing() {
    for public in [false, true] {
        let mut trial = Trial::new();
        let caller = Caller::of(trial.start(&format!("auth.anonymous_read = {public}")).expect("it starts"));
        let nobody = given(&caller.send(Method::GET, ENDPOINT, None).await);
        assert_eq!(nobody, "anonymous");
        let (nobody, gun) = (format!("Bearer {nobody}"), "/v2/localhost:5000/a/_trust");
        let documents = if public { 404 } else { 401 };
        for (method, path, status) in [
            (Method::GET, "/v2/".to_owned(), 401),
            (Method::GET, format!("{gun}/tuf/root.json"), documents),
            (Method::GET, format!("{gun}/tuf/timestamp.json"), documents),
            (Method::POST, format!("{gun}/tuf/"), 401),
            (Method::DELETE, format!("{gun}/tuf/"), 401),
            (Method::GET, format!("{gun}/tuf/snapshot.key"), 401),
            (Method::POST, format!("{gun}/tuf/snapshot.key"), 401),
            (Method::GET, "/v2/_trust/changefeed".to_owned(), 401),
            (Method::GET, "/tuf/r.io/a/metadata/timestamp.json".to_owned(), documents),
            (Method::GET, "/api/v1/repositories".to_owned(), 401),
            (Method::GET, "/api/v1/changes".to_owned(), 401),
            (Method::GET, "/api/v1/repositories/r.io/a/head".to_owned(), 401),
            (Method::POST, "/api/v1/repositories/r.io/a/online-keys".to_owned(), 401),
            (Method::DELETE, "/api/v1/repositories/r.io/a".to_owned(), 401),
        ] {
            let without = caller.send(method.clone(), &path, None).await;
            assert_eq!(without.0, status, "{method} {path}");
            assert_eq!(caller.send(method.clone(), &path, Some(&nobody)).await, without, "{method} {path}");
            for other in ["Bearer anonymous2", "Bearer Anonymous", "Bearer bulla_anonymous", "Bearer "] {
                let answer = caller.send(method.clone(), &path, Some(other)).await;
                assert_eq!((answer.0, answer.1), (status, without.1.clone()), "{method} {path} {other}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_is_good_for_what_it_was_made_for() {
    let mut trial = Trial::new();
    let caller = Caller::of(trial.start("").expect("it starts"));
    // Before the first one is used: the file is read again after a second only.
    let tokens = [
        trial.own_token("reader", "read"),
        trial.own_token("writer", "publish"),
        trial.own_token_for("stranger", "admin", "localhost:5000/other/**"),
    ];
    let gun = "/v2/localhost:5000/a/_trust/tuf";
    for (method, path, action, expected) in [
        (Method::GET, format!("{gun}/root.json"), "pull", [404, 404, 401]),
        (Method::GET, format!("{gun}/snapshot.key"), "push,pull", [401, 200, 401]),
        (Method::POST, format!("{gun}/"), "push,pull", [401, 400, 401]),
        (Method::POST, format!("{gun}/snapshot.key"), "*", [401, 401, 401]),
        (Method::DELETE, format!("{gun}/"), "*", [401, 401, 401]),
    ] {
        for (token, expected) in tokens.iter().zip(expected) {
            let exchanged = caller.send(Method::GET, ENDPOINT, Some(&basic(&format!("ci:{token}")))).await;
            let bearer = format!("Bearer {}", given(&exchanged));
            let (status, challenges, _) = caller.send(method.clone(), &path, Some(&bearer)).await;
            assert_eq!(status, expected, "{method} {path}");
            let realm =
                format!("Bearer realm=\"http://127.0.0.1:{}{ENDPOINT}\",service=\"bullad\"", caller.port);
            let challenge = format!("{realm},scope=\"repository:localhost:5000/a:{action}\"");
            let wanted = if status == 401 { vec![challenge] } else { vec![] };
            assert_eq!(challenges, wanted, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn there_is_one_token_server() {
    let mut trial = Trial::new();
    let caller = Caller::of(trial.start(&section("leeway", "'5s'")).expect("it starts"));
    let right = basic(&format!("ci:{}", trial.own_token("ci", "admin")));
    for presented in [None, Some(right.as_str()), Some("Basic eDp4")] {
        assert_eq!(caller.send(Method::GET, ENDPOINT, presented).await.0, 404);
    }
    let (status, challenges, _) = caller.send(Method::GET, "/v2/", Some("Bearer anonymous")).await;
    assert!(status == 401 && challenges[0].contains("auth.example.com"), "{challenges:?}");
}

/// Sends `head` as it is: the status of the answer and its challenges. Nothing if the connection
/// was cut instead.
fn raw(port: u16, head: &[u8]) -> Option<(String, Vec<String>)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("it can be set");
    // Whoever does not read on may close before all is sent.
    let _cut = stream.write_all(head);
    let mut answer = Vec::new();
    let _cut = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    let (head, _) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1).expect("a status").to_owned();
    let values = head.lines().filter_map(|line| line.strip_prefix("www-authenticate: "));
    Some((status, values.map(str::to_owned).collect()))
}

fn ping(host: &[u8]) -> Vec<u8> {
    [b"GET /v2/ HTTP/1.1\r\nConnection: close\r\nHost: ", host, b"\r\n\r\n"].concat()
}

/// The answer that sends a client to `origin`.
fn to(origin: &str) -> Option<(String, Vec<String>)> {
    let rest = "service=\"bullad\",scope=\"registry:catalog:*\"";
    Some(("401".to_owned(), vec![format!("Bearer realm=\"{origin}{ENDPOINT}\",{rest}")]))
}

/// The answer that sends a client nowhere.
fn nowhere() -> Option<(String, Vec<String>)> {
    Some(("401".to_owned(), vec![BASIC.to_owned()]))
}

#[test]
fn clients_are_sent_only_to_where_they_came_to() {
    let mut trial = Trial::new();
    let port = trial.start("server.trusted_proxy = true").expect("it starts");
    for host in ["trust.example.com", "trust.example.com:8443", "127.0.0.1:4443", "[::1]:4443"] {
        assert_eq!(raw(port, &ping(host.as_bytes())), to(&format!("https://{host}")), "{host}");
    }
    for host in [
        &b""[..],
        b"a\",realm=\"https://evil.example/",
        b"a\\",
        b"a, b",
        b"a b",
        b"a\tb",
        b"user:password@a.example",
        b"a.example/path",
        b"a.example?",
        b"a.example#",
        b"a.example:",
        b"a.example:0",
        b"a.example:99999",
        b"a.example:443:443",
        b"[::1",
        b"b\xc3\xbccher.example",
        b"\xff",
        b"a.example\r\nHost: a.example",
        b"a.example\r\nhOST: b.example",
        b"a.example\r\nHost:",
        b"\r\nX-Forwarded-Host: a.example\r\nForwarded: host=a.example",
        &[b'a'; 4000],
    ] {
        let found = raw(port, &ping(host));
        // What is no HTTP at all is refused as a whole.
        let refused = Some(("400".to_owned(), vec![]));
        assert!(found == nowhere() || found == refused, "{}: {found:?}", host.escape_ascii());
    }
    let lying = b"GET http://a.example/v2/ HTTP/1.1\r\nConnection: close\r\nHost: b.example\r\n\r\n";
    assert_eq!(raw(port, lying), nowhere());
    let proxied = b"GET http://a.example/v2/ HTTP/1.1\r\nConnection: close\r\nHost: a.example\r\n\r\n";
    assert_eq!(raw(port, proxied), to("https://a.example"));
    assert_eq!(raw(port, b"GET /v2/ HTTP/1.0\r\n\r\n"), nowhere());
    let forwarded = b"a.example\r\nX-Forwarded-Host: b.example\r\nX-Forwarded-Proto: http";
    assert_eq!(raw(port, &ping(forwarded)), to("https://a.example"));
    let mut huge = b"GET /v2/_bulla/token HTTP/1.1\r\nHost: a\r\nAuthorization: Basic ".to_vec();
    huge.extend(vec![b'A'; 4 * 1024 * 1024]);
    huge.extend(b"\r\n\r\n");
    let status = raw(port, &huge).map(|(status, _)| status);
    assert!(status.is_none() || status.as_deref() == Some("431"), "{status:?}");
    assert_eq!(raw(port, &ping(b"a.example")), to("https://a.example"));
}

#[test]
fn no_password_is_asked_for_in_the_clear() {
    let mut trial = Trial::new();
    let port = trial.start("").expect("it starts");
    for host in ["localhost", "localhost:80", "127.0.0.1", "[::1]:80"] {
        assert_eq!(raw(port, &ping(host.as_bytes())), to(&format!("http://{host}")), "{host}");
    }
    for host in
        ["trust.example.com", "localhost.example.com", "127.0.0.2", "10.0.0.1:80", "[::2]", "LOCALHOST"]
    {
        assert_eq!(raw(port, &ping(host.as_bytes())), nowhere(), "{host}");
    }
}

/// There the name stands elsewhere.
#[tokio::test]
async fn http2_knows_where_it_came_to_as_well() {
    let mut trial = Trial::new();
    let port = trial.start(&tls(&trial)).expect("it starts");
    let authority = std::fs::read(trial.path("tls/ca.pem")).expect("a certificate");
    let authority = Certificate::from_pem(&authority).expect("a certificate");
    let client = Client::builder().no_proxy().tls_certs_only([authority]).build().expect("a client");
    let answer = client.get(format!("https://localhost:{port}/v2/")).send().await.expect("an answer");
    assert_eq!(answer.version(), Version::HTTP_2);
    let found = answer.headers().get_all("www-authenticate").iter();
    let found = found.map(|value| value.to_str().expect("a text").to_owned()).collect();
    assert_eq!(Some((answer.status().as_str().to_owned(), found)), to(&format!("https://localhost:{port}")));
}
