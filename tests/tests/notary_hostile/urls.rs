//! Names of repositories and of files in URLs: whatever the spelling, nobody reaches what he did
//! not name.

use std::collections::BTreeSet;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_tests::legacy::follow;
use bulla_tests::server::TestServer;

use crate::local::{begin, raw, statuses};
use crate::site::{Site, tuf};

const GUN: &str = "localhost:5000/team/app";

/// Names that are none, as they may stand in a URL.
fn names() -> Vec<String> {
    let mut names: Vec<String> = [
        "",
        "/",
        "//",
        ".",
        "..",
        "../..",
        "a/../localhost:5000/team/app",
        "a/./b",
        "localhost:5000/team/../team/app",
        "localhost:5000/team/%2e%2e/team/app",
        "localhost:5000/team/%2E%2E%2Fteam/app",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "localhost:5000/team/app/",
        "/localhost:5000/team/app",
        "localhost:5000//team/app",
        "localhost:5000/team//app",
        "localhost:5000/team/app%2F",
        "localhost:5000%2F%2Fteam/app",
        "localhost:5000/team/app%00",
        "localhost:5000/team/app%0a",
        "localhost:5000/team/app%20",
        "localhost:5000/team/app%3fx",
        "localhost:5000/team/app%23",
        "localhost:5000/team/app%252F",
        "localhost:5000/team%5capp",
        "localhost:5000/team\\app",
        "localhost:5000/team/app;x=1",
        "localhost:5000/Team/app",
        "localhost:5000/team/App",
        "localhost:05000/team/app",
        "localhost:+5000/team/app",
        "localhost:70000/team/app",
        "localhost:5000:1/team/app",
        "user@localhost:5000/team/app",
        "https:/localhost:5000/team/app",
        "*",
        "%2a",
        "localhost:5000/*",
        "localhost:5000/team/app*",
        "localhost:5000/team/%C3%A4pp",
        "localhost:5000/team/a\u{430}pp",
        "localhost:5000/team/%ef%bd%81pp",
        "localhost:5000/team/app%ff",
        "localhost:5000/team/app%",
        "localhost:5000/team/app%zz",
        "_trust",
        "_trust/tuf",
        "a/_trust",
        "a/_trust/tuf",
        "a/%5ftrust/b",
        "localhost:5000/_trust/tuf/app",
        "{}",
        "\"",
        "'",
    ]
    .map(str::to_owned)
    .into();
    names.push("a".repeat(256));
    names.push("a/".repeat(10_000) + "a");
    names.push(format!("localhost:5000/{}", "b".repeat(20_000)));
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_name_reaches_another_repository() {
    let server = TestServer::start().await;
    begin(&server, GUN, false).await;
    let before = follow(&server, GUN).await;
    let body = "--b--\r\n";
    for name in names() {
        for (method, file) in [
            ("GET", "root.json"),
            ("HEAD", "root.json"),
            ("GET", "timestamp.key"),
            ("POST", "snapshot.key"),
            ("POST", ""),
            ("DELETE", ""),
        ] {
            let request = format!(
                "{method} {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: multipart/form-data; \
                 boundary=b\r\ncontent-length: {}\r\n\r\n{body}",
                tuf(&name, file),
                body.len()
            );
            let answer = raw(&server, request.as_bytes()).await;
            let status = statuses(&answer);
            let what = format!("{method} {name:.100} {file}");
            assert!(matches!(status[..], [400 | 404 | 405 | 414 | 431]), "{what}: {answer:.300}");
        }
    }
    let after = follow(&server, GUN).await;
    assert_eq!(before.top.timestamp().bytes(), after.top.timestamp().bytes());
    let names = server.app.store.list(None, 10).await.unwrap();
    assert_eq!(names, [GUN.parse().unwrap()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_name_is_a_name_like_any_other() {
    let site = Site::start();
    let deep = format!("localhost:5000/{}", ["a"; 120].join("/"));
    for gun in [format!("localhost:5000/{}", "a".repeat(240)), deep, "a".to_owned()] {
        let insider = site.begin(&gun, false).await;
        site.is_readable(&insider, &mut crate::site::Reader::of(&gun)).await;
        for spelled in [gun.replace('/', "%2F"), gun.replace('a', "%61")] {
            assert_eq!(site.get(&tuf(&spelled, "root.json")).await.status(), 200, "{spelled}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_named_in_one_way() {
    let site = Site::start();
    let gun = "localhost:5000/team/files";
    let mut insider = site.begin(gun, false).await;
    let files = insider.tagged(&["targets", "targets/releases", "targets/alice"], "here-only");
    site.publish(&mut insider, files).await;
    let digest = Sha256Digest::of(&insider.published["targets"].1).to_string();
    let foreign = Sha256Digest::of(b"nobody has this").to_string();
    for (file, status) in [
        (format!("targets.{digest}.json"), 200),
        (format!("targets.{}.json", digest.to_uppercase()), 404),
        (format!("targets.{foreign}.json"), 404),
        (format!("targets.{digest}{}.json", "0".repeat(64)), 404),
        (format!("targets.{}.json", &digest[..63]), 404),
        (format!("targets.{digest}.json.json"), 404),
        (format!("targets.{digest}"), 404),
        (format!("3.targets.{digest}.json"), 404),
        ("01.root.json".into(), 200),
        ("1.root.json".into(), 200),
        ("2.root.json".into(), 404),
        ("00.root.json".into(), 404),
        ("-1.root.json".into(), 404),
        ("+1.root.json".into(), 404),
        ("1e0.root.json".into(), 404),
        ("0x1.root.json".into(), 404),
        ("%31.root.json".into(), 200),
        ("\u{661}.root.json".into(), 404),
        (format!("{}.root.json", "1".repeat(1_000)), 404),
        ("root.json%00".into(), 404),
        ("ROOT.json".into(), 404),
        ("root.JSON".into(), 404),
        ("targets%2Freleases.json".into(), 200),
        ("targets/releases.json".into(), 200),
        ("targets/Releases.json".into(), 404),
        ("targets//releases.json".into(), 404),
        ("targets/releases/.json".into(), 404),
        ("targets/_trust/tuf/root.json".into(), 404),
    ] {
        let answer = site.get(&tuf(gun, &file)).await;
        assert_eq!(answer.status(), status, "{file}");
        if status == 404 {
            bulla_tests::legacy::refusal(answer).await;
        }
    }
    // What one repository has nobody reads under the name of another.
    site.begin("localhost:5000/team/other", false).await;
    let files: BTreeSet<String> = insider
        .published
        .iter()
        .map(|(role, (_, bytes))| format!("{role}.{}.json", Sha256Digest::of(bytes)))
        .collect();
    for file in &files {
        for (gun, status) in [(gun, 200), ("localhost:5000/team/other", 404), ("localhost:5000/team", 404)] {
            assert_eq!(site.get(&tuf(gun, file)).await.status(), status, "{gun} {file}");
        }
    }
}
