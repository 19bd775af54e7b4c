//! Target files: up to 16 MiB, compressed on the disk, the same bytes for everybody; and what the
//! server refuses of them. Repositories of the other mode are not here.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::limits;
use bulla_keys_schema::wire::ProblemCode;
use bulla_server::config::LimitsConfig;
use bulla_server::store::embedded::{EmbeddedStore, Options, check_journal};
use bulla_tests::legacy;
use bulla_tests::publisher::{self, Publisher, receipt};
use bulla_tests::server::{BEGIN, Setup, TestServer, Upload, problem};
use reqwest::{Client, Method, Response};

const REPOSITORY: &str = "r.io/app";
/// A file that several readers share memory for.
const FILE_BYTES: usize = 1024 * 1024;

/// Something like a report: long, and alike in all places.
fn report(length: usize, salt: u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 64);
    for number in 0_u32.. {
        if bytes.len() >= length {
            break;
        }
        bytes.extend_from_slice(
            format!("{{\"id\":\"CVE-{salt}-{number}\",\"severity\":\"HIGH\"}},").as_bytes(),
        );
    }
    bytes.truncate(length);
    bytes
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("headers are text"))
}

fn url_of(bytes: &[u8]) -> String {
    format!("/tuf/{REPOSITORY}/targets/att/{}.abc.vulns.0123.json", Sha256Digest::of(bytes))
}

/// Where a value lies.
fn blob(data: &Path, bytes: &[u8]) -> PathBuf {
    let name = Sha256Digest::of(bytes).to_string();
    data.join("blobs").join(&name[..2]).join(&name[2..4]).join(&name)
}

async fn embedded(data: &Path, limits: LimitsConfig) -> TestServer {
    let store = Arc::new(EmbeddedStore::open(data, &Options::default()).expect("a new store"));
    TestServer::with(Setup { store, limits, ..Setup::default() }).await
}

async fn publish(
    server: &TestServer,
    publisher: &mut Publisher,
    token: &str,
    name: &str,
    file: &[u8],
) -> String {
    let upload = publisher.tag(name, file);
    let request = server.publish(REPOSITORY, Some(token), publisher::operation(token, 9), &upload);
    receipt(server.send(request).await).await.token
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_file_is_stored_small_and_served_as_it_came() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let server = embedded(&data, LimitsConfig::default()).await;
    let (mut publisher, first) = publisher::create(&server, REPOSITORY).await;
    let file = report(limits::TARGET_FILE_BYTES, 1);
    let digest = Sha256Digest::of(&file);
    let token = publish(&server, &mut publisher, &first.token, "v1", &file).await;

    let path = blob(&data, &file);
    let on_disk = std::fs::read(&path).expect("it has its file");
    assert!(on_disk.len() < file.len() / 5, "{} bytes", on_disk.len());

    let url = url_of(&file);
    let plain = server.get(&url).await;
    assert_eq!((plain.status().as_u16(), plain.content_length()), (200, Some(file.len() as u64)));
    assert_eq!(header(&plain, "etag"), format!("\"{digest}\""));
    assert_eq!((header(&plain, "content-encoding"), header(&plain, "vary")), ("", "accept-encoding"));
    assert!(plain.bytes().await.expect("a body") == file);

    let packed = server.request(Method::GET, &url).header("accept-encoding", "br, gzip");
    let packed = server.send(packed).await;
    assert_eq!((header(&packed, "content-encoding"), header(&packed, "vary")), ("gzip", "accept-encoding"));
    assert_eq!(header(&packed, "etag"), format!("W/\"{digest}\""));
    assert!(packed.bytes().await.expect("a body") == on_disk, "as it is on the disk");
    let unpacking = Client::builder().no_proxy().build().expect("a client");
    let unpacked = unpacking.get(server.url(&url)).send().await.expect("an answer");
    assert!(unpacked.bytes().await.expect("a body") == file);

    for tag in [format!("\"{digest}\""), format!("W/\"{digest}\"")] {
        let known = server.send(server.request(Method::GET, &url).header("if-none-match", tag)).await;
        assert_eq!((known.status().as_u16(), header(&known, "vary")), (304, "accept-encoding"));
        assert!(known.bytes().await.expect("a body").is_empty());
    }
    let head = server.send(server.request(Method::HEAD, &url)).await;
    assert_eq!((head.status().as_u16(), header(&head, "x-content-type-options")), (200, "nosniff"));

    // What is listed no more is still there for who has an older state.
    publish(&server, &mut publisher, &token, "v1", b"another").await;
    assert!(server.get(&url).await.bytes().await.expect("a body") == file);

    let mut damaged = on_disk.clone();
    damaged[on_disk.len() / 2] ^= 1;
    std::fs::write(&path, damaged).expect("written");
    for coding in ["identity", "gzip"] {
        let refused = server.request(Method::GET, &url).header("accept-encoding", coding);
        assert_eq!(server.send(refused).await.status(), 500, "{coding}");
    }
    std::fs::write(&path, on_disk).expect("written");
    server.stop().await.expect("it stops");
    assert_eq!(check_journal(&data).expect("readable").defects, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_nobody_listed_or_listed_otherwise_are_refused() {
    let server = TestServer::start().await;
    let (mut publisher, first) = publisher::create(&server, REPOSITORY).await;
    let file = report(200_000, 2);
    let good = publisher.tag("v1", &file);
    let with = |files: Vec<Vec<u8>>| {
        let mut parts = good[..2].to_vec();
        parts.extend(files.into_iter().map(Upload::Target));
        parts
    };
    let one_more = [&file[..], b" "].concat();
    let changed = [&file[1..], b" "].concat();
    for (number, (what, files, code)) in (0_u32..).zip([
        ("not listed", vec![file.clone(), b"{}".to_vec()], ProblemCode::Rejected),
        ("listed with another hash", vec![changed], ProblemCode::Rejected),
        ("one byte more than listed", vec![one_more], ProblemCode::Rejected),
        ("one byte less", vec![file[1..].to_vec()], ProblemCode::Rejected),
        ("an empty one", vec![Vec::new()], ProblemCode::Rejected),
        ("too large", vec![report(limits::TARGET_FILE_BYTES + 1, 3)], ProblemCode::TooLarge),
        ("too many", vec![file.clone(); 63], ProblemCode::TooLarge),
    ]) {
        let id = publisher::operation(what, number);
        let request = server.publish(REPOSITORY, Some(&first.token), id, &with(files));
        let found = problem(server.send(request).await).await;
        assert_eq!(found.code, code, "{what}: {found:?}");
        match code {
            ProblemCode::Rejected => {
                assert_eq!(found.rejection.expect("a rule").rule, "unlisted-file", "{what}");
            }
            _ => assert_eq!(found.status, 413, "{what}"),
        }
        if what == "too large" {
            assert_eq!(found.detail, "target is longer than 16777216 bytes");
        }
        // A connection whose upload was refused half way is closed: not that one.
        let fresh = Client::builder().no_proxy().build().expect("a client");
        let stored = fresh.get(server.url(&url_of(&file))).send().await.expect("an answer");
        assert_eq!(stored.status(), 404, "{what}: nothing is stored");
    }
    let request = server.publish(REPOSITORY, Some(&first.token), 77, &with(vec![file.clone(), file.clone()]));
    receipt(server.send(request).await).await;
    assert!(server.get(&url_of(&file)).await.bytes().await.expect("a body") == file);
}

/// The head of a publish that is `length` bytes long.
fn announce(server: &TestServer, length: usize) -> TcpStream {
    let mut connection = TcpStream::connect(server.address).expect("it listens");
    let head = format!(
        "POST /api/v1/repositories/{REPOSITORY}/publish HTTP/1.1\r\nhost: localhost\r\nif-none-match: *\r\n\
         idempotency-key: {:032x}\r\ncontent-type: multipart/form-data; boundary=b\r\n\
         content-length: {length}\r\n\r\n",
        length
    );
    connection.write_all(head.as_bytes()).expect("sent");
    connection
}

fn answer(mut connection: TcpStream) -> String {
    let mut text = vec![0; 2048];
    let count = connection.read(&mut text).expect("an answer");
    String::from_utf8_lossy(&text[..count]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_is_refused_before_it_is_sent() {
    let limits = LimitsConfig::default();
    let body = limits.body_bytes;
    let server = TestServer::with(Setup { limits, ..Setup::default() }).await;
    let connection = announce(&server, body + 1);
    let refused = tokio::task::spawn_blocking(move || answer(connection)).await.expect("an answer");
    assert!(refused.starts_with("HTTP/1.1 413"), "{refused}");
    assert!(refused.contains(&format!("the body is longer than {body} bytes")), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_publishers_share_the_memory_for_bodies() {
    let limits = LimitsConfig { total_body_bytes: 33 * 1024 * 1024, ..LimitsConfig::default() };
    let server = TestServer::with(Setup { limits, ..Setup::default() }).await;
    let (mut publisher, first) = publisher::create(&server, REPOSITORY).await;
    let waiting = announce(&server, 20 * 1024 * 1024);
    let file = report(limits::TARGET_FILE_BYTES, 4);
    let upload = publisher.tag("v1", &file);
    // The first publisher has sent nothing yet, but his memory is his.
    let began = std::time::Instant::now();
    while server.app.bodies.available_permits() > 14 * 1024 {
        assert!(began.elapsed().as_secs() < 10, "it was never reserved");
        tokio::task::yield_now().await;
    }
    let publish = || server.publish(REPOSITORY, Some(&first.token), 5, &upload);
    assert_eq!(problem(server.send(publish()).await).await.code, ProblemCode::Busy);
    drop(waiting);
    while server.app.bodies.available_permits() < 30 * 1024 {
        assert!(began.elapsed().as_secs() < 20, "it was never given back");
        tokio::task::yield_now().await;
    }
    receipt(server.send(publish()).await).await;
}

/// A publish whose client resets the connection goes on where a thread works on it, and so does
/// what it takes of the memory for bodies.
#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_gives_no_memory_back_before_the_storing_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let server = embedded(&data, LimitsConfig::default()).await;
    let (mut publisher, first) = publisher::create(&server, REPOSITORY).await;
    let (bodies, connections) = (&server.app.bodies, &server.app.connections);
    let (all, before) = (bodies.available_permits(), connections.available_permits());
    let file = report(FILE_BYTES, 9);
    let path = blob(&data, &file);
    std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("made");
    // Whoever opens a pipe to read it waits until somebody opens it to write, and closes it.
    assert!(std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
    let upload = publisher.tag("v1", &file);
    let request = server.publish(REPOSITORY, Some(&first.token), 5, &upload).build().expect("a request");
    let client = Client::builder().no_proxy().build().expect("a client");
    let sent = tokio::spawn(async move { client.execute(request).await.map(drop) });
    let began = std::time::Instant::now();
    let writer = loop {
        // There is nobody who reads yet, as long as this fails.
        let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("a small number");
        if let Ok(writer) = std::fs::OpenOptions::new().write(true).custom_flags(flags).open(&path) {
            break writer;
        }
        assert!(began.elapsed().as_secs() < 20, "it is not stored");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(connections.available_permits() < before && bodies.available_permits() < all);
    sent.abort();
    assert!(sent.await.expect_err("aborted").is_cancelled());
    while connections.available_permits() < before {
        assert!(began.elapsed().as_secs() < 20, "the connection is still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let held = all - bodies.available_permits();
    assert!(held * 1024 >= file.len(), "only {held} KiB are held while the file is stored");
    drop(writer);
    while bodies.available_permits() < all {
        assert!(began.elapsed().as_secs() < 40, "it was never given back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_large_files_share_memory_and_get_it_back() {
    let limits = LimitsConfig { total_target_bytes: 300 * 1024, ..LimitsConfig::default() };
    let server = TestServer::with(Setup { limits, ..Setup::default() }).await;
    let (mut publisher, first) = publisher::create(&server, REPOSITORY).await;
    let file = report(200 * 1024, 5);
    publish(&server, &mut publisher, &first.token, "v1", &file).await;
    let url = url_of(&file);
    let reads = (0..12).map(|_| async { server.get(&url).await.bytes().await.expect("a body") });
    for read in futures_util::future::join_all(reads).await {
        assert!(read == file);
    }
    let began = std::time::Instant::now();
    while server.app.reads.available_permits() != 300 {
        assert!(began.elapsed().as_secs() < 10, "{} of 300", server.app.reads.available_permits());
        tokio::task::yield_now().await;
    }
}

/// A server with one file, and room for one reader of it at a time.
async fn with_one_reader(folder: &Path, request_time: Duration) -> (TestServer, Vec<u8>) {
    let limits = LimitsConfig { total_target_bytes: FILE_BYTES, request_time, ..LimitsConfig::default() };
    let server = embedded(&folder.join("data"), limits).await;
    let (mut publisher, first) = publisher::create(&server, REPOSITORY).await;
    let file = report(FILE_BYTES, 6);
    publish(&server, &mut publisher, &first.token, "v1", &file).await;
    (server, file)
}

async fn permits_become(server: &TestServer, wanted: usize) {
    let began = std::time::Instant::now();
    while server.app.reads.available_permits() != wanted {
        let now = server.app.reads.available_permits();
        assert!(began.elapsed().as_secs() < 20, "{now} instead of {wanted}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Who asks and hangs up, again and again, must not have more read at once than there is memory
/// for: a thread that reads goes on.
#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_gives_no_memory_back_before_the_reading_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, file) = with_one_reader(folder.path(), Duration::from_secs(60)).await;
    let path = blob(&folder.path().join("data"), &file);
    let content = std::fs::read(&path).expect("it has its file");
    std::fs::remove_file(&path).expect("removed");
    // Whoever opens a pipe to read it waits until somebody opens it to write.
    assert!(std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
    let mut connection = TcpStream::connect(server.address).expect("it listens");
    let head = format!("GET {} HTTP/1.1\r\nhost: localhost\r\n\r\n", url_of(&file));
    connection.write_all(head.as_bytes()).expect("sent");
    permits_become(&server, 0).await;
    drop(connection);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(server.app.reads.available_permits(), 0, "it still reads");
    drop(std::fs::OpenOptions::new().write(true).open(&path).expect("somebody reads"));
    permits_become(&server, FILE_BYTES / 1024).await;
    std::fs::remove_file(&path).expect("removed");
    std::fs::write(&path, content).expect("written");
    assert!(server.get(&url_of(&file)).await.bytes().await.expect("a body") == file);
}

/// A client of HTTP/2 whose window lets nothing through: alive, and takes nothing until somebody
/// asks for the body.
fn idle_client() -> Client {
    let idle = Client::builder().no_proxy().gzip(false).http2_prior_knowledge();
    idle.http2_initial_stream_window_size(1024).build().expect("a client")
}

/// Many readers begin and take nothing, with memory for one: others read and publish as if they
/// were not there, long before anybody's time is over.
#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_keeps_nothing_from_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let request_time = Duration::from_secs(600);
    let limits = LimitsConfig { total_target_bytes: FILE_BYTES, request_time, ..LimitsConfig::default() };
    let server = embedded(&folder.path().join("data"), limits).await;
    let (mut publisher, first) = publisher::create(&server, REPOSITORY).await;
    let file = report(FILE_BYTES, 6);
    let token = publish(&server, &mut publisher, &first.token, "v1", &file).await;
    let (url, idle) = (url_of(&file), idle_client());
    let mut stalled = Vec::new();
    for _ in 0..20 {
        let held = idle.get(server.url(&url)).send().await.expect("an answer");
        assert_eq!((held.status().as_u16(), held.content_length()), (200, Some(file.len() as u64)));
        stalled.push(held);
    }
    let mut connections = Vec::new();
    for _ in 0..20 {
        let mut connection = TcpStream::connect(server.address).expect("it listens");
        let head = format!("GET {url} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        connection.write_all(head.as_bytes()).expect("sent");
        let mut begin = [0; 12];
        connection.read_exact(&mut begin).expect("an answer");
        assert_eq!(&begin, b"HTTP/1.1 200");
        connections.push(connection);
    }
    permits_become(&server, FILE_BYTES / 1024).await;
    let began = std::time::Instant::now();
    assert!(server.get(&url).await.bytes().await.expect("a body") == file);
    let other = report(FILE_BYTES, 7);
    publish(&server, &mut publisher, &token, "v2", &other).await;
    assert!(server.get(&url_of(&other)).await.bytes().await.expect("a body") == other);
    assert!(began.elapsed() < request_time / 4, "{:?}", began.elapsed());
    // Who begins to take it after all gets all of it.
    for held in stalled {
        assert!(held.bytes().await.expect("a body") == file);
    }
}

/// Puts another file in the place of one, at once: somebody may be reading it.
fn replace(path: &Path, bytes: &[u8]) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, bytes).expect("written");
    std::fs::rename(&beside, path).expect("renamed");
}

/// What changes after it was found whole and before it was all sent is not sent to its end, in
/// neither form.
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_while_it_is_taken_never_looks_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let server = embedded(&data, LimitsConfig::default()).await;
    let (mut publisher, first) = publisher::create(&server, REPOSITORY).await;
    let noise: Vec<u8> =
        (0..FILE_BYTES / 32).flat_map(|n| *Sha256Digest::of(&n.to_be_bytes()).as_bytes()).collect();
    let packs = report(8 * FILE_BYTES, 8);
    let token = publish(&server, &mut publisher, &first.token, "v1", &noise).await;
    publish(&server, &mut publisher, &token, "v2", &packs).await;
    for (value, coding) in [(&noise, "identity"), (&packs, "identity"), (&packs, "gzip")] {
        let path = blob(&data, value);
        let whole = std::fs::read(&path).expect("it has its file");
        assert!(whole.len() > 400_000 && (whole.len() < value.len()) == (value == &packs));
        let begin = async || {
            let begun = idle_client().get(server.url(&url_of(value))).header("accept-encoding", coding);
            let begun = begun.send().await.expect("an answer");
            assert_eq!(
                (begun.status().as_u16(), header(&begun, "content-encoding") == "gzip"),
                (200, coding == "gzip")
            );
            begun
        };
        let expected = if coding == "gzip" { &whole } else { value };
        for damage in ["changed", "cut", "longer", "gone"] {
            let mut damaged = whole.clone();
            let last = damaged.len() - 1;
            let begun = begin().await;
            match damage {
                "changed" => damaged[last / 2] ^= 1,
                "cut" => damaged.truncate(last / 2),
                "longer" => damaged.push(0),
                _ => std::fs::remove_file(&path).expect("removed"),
            }
            if damage != "gone" {
                replace(&path, &damaged);
            }
            match begun.bytes().await {
                Ok(taken) => {
                    // What follows was no part of what was found whole.
                    assert!(taken == *expected, "{coding}: {damage}");
                    assert_eq!(damage, "longer", "{coding}: {damage}");
                }
                Err(_) => assert_ne!(damage, "longer", "{coding}"),
            }
            replace(&path, &whole);
            assert!(begin().await.bytes().await.expect("a body") == *expected, "{coding}");
        }
    }
}

#[tokio::test]
async fn legacy_repositories_are_not_served_to_tuf_clients() {
    let server = TestServer::start().await;
    let repository = "docker.io/library/legacy";
    let publisher = legacy::Owner::init(&server, repository, false).await;
    legacy::publish(&server, repository, &publisher.first()).await;
    let served = server.get(&format!("/v2/{repository}/_trust/tuf/timestamp.json")).await;
    assert_eq!(served.status(), 200);
    let root = publisher.root_file().1;
    for path in [
        "metadata/timestamp.json".to_owned(),
        "metadata/root.json".to_owned(),
        "metadata/1.root.json".to_owned(),
        "metadata/targets.json".to_owned(),
        format!("targets/{}.root", Sha256Digest::of(&root)),
    ] {
        let refused = server.get(&format!("/tuf/{repository}/{path}")).await;
        assert_eq!(refused.status(), 404, "{path}");
        assert_eq!(header(&refused, "cache-control"), "no-store", "{path}");
    }
}

#[tokio::test]
async fn timestamps_tell_when_they_were_signed() {
    let server = TestServer::start().await;
    let (mut publisher, first) = publisher::create(&server, REPOSITORY).await;
    let signed_at = async || {
        let response = server.get(&format!("/tuf/{REPOSITORY}/metadata/timestamp.json")).await;
        let bytes = response.bytes().await.expect("a body");
        assert!(bytes.len() < limits::TIMESTAMP_BYTES / 8, "{} bytes", bytes.len());
        let value: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        value["signed"]["x_bulla_signed_at"].as_str().expect("a date").to_owned()
    };
    assert_eq!(signed_at().await, date(0));
    server.clock.advance(90);
    publish(&server, &mut publisher, &first.token, "v1", b"{}").await;
    assert_eq!(signed_at().await, date(90));
    // Half of its life is over.
    server.clock.advance(20 * 24 * 3600);
    let repository = REPOSITORY.parse().expect("a name");
    assert!(server.app.publisher.renew(&repository).await.expect("renewed"));
    assert_eq!(signed_at().await, date(90 + 20 * 24 * 3600));
}

fn date(seconds: i64) -> String {
    bulla_keys_schema::time::UtcTime::from_unix_seconds(BEGIN + seconds).expect("in the calendar").to_string()
}
