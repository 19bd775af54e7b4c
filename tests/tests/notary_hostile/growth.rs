//! Repositories that grow and grow, within every limit of a single upload. Whoever changes one
//! reads all of it, and renewal does so with nobody asking: one that no machine can read would
//! stop the server for everybody.

use std::sync::atomic::Ordering;

use bulla_keys_schema::json::Json;
use bulla_server::config::LimitsConfig;
use bulla_tests::legacy::{File, follow, online_key, post};
use bulla_tests::server::{Setup, TestServer};
use reqwest::Method;

use crate::case::Answer::Refused;
use crate::case::judge;
use crate::gated::Gated;
use crate::insider::{Insider, delegation, sign, with};
use crate::local::{accept, begin};

const GUN: &str = "localhost:5000/team/app";
const LARGEST: usize = 5_000_000;

/// The next document of `wire`, which delegates to `names`, all with alice's key.
fn delegating(insider: &Insider, wire: &str, names: &[String]) -> File {
    let own = ["targets/releases", "targets/alice"].map(str::to_owned);
    let own = if wire == "targets" { &own[..] } else { &[] };
    let roles = own.iter().chain(names).map(|name| delegation(name, &[&insider.alice], 1)).collect();
    let document = insider.targets_document(wire, insider.next(wire));
    let keys = crate::insider::table([&insider.alice]);
    let document = with(document, "delegations/keys", Some(keys));
    let document = with(document, "delegations/roles", Some(Json::Array(roles)));
    (wire.to_owned(), sign(&document, &[insider.signer(wire)]))
}

fn padded(insider: &Insider, name: &str) -> File {
    let (name, mut bytes) = insider.file(name, 1);
    bytes.resize(LARGEST, b' ');
    (name, bytes)
}

/// Delegates from `wire` to `count` names, and publishes as large a document of each as there
/// may be, until one is refused with `reason`, which has to be the last one.
async fn fill(server: &TestServer, insider: &mut Insider, wire: &str, count: usize, reason: &'static str) {
    let names: Vec<String> = (0..count).map(|number| format!("{wire}/n{number}")).collect();
    let file = delegating(insider, wire, &names);
    accept(server, insider, vec![file]).await;
    let (last, others) = names.split_last().unwrap();
    for some in others.chunks(6) {
        let files = some.iter().map(|name| padded(insider, name)).collect();
        accept(server, insider, files).await;
    }
    let answer = server.send(post(server, GUN, &[padded(insider, last)])).await;
    judge(last, answer, Refused("ErrValidation", reason)).await.unwrap();
    // What is small goes on.
    accept(server, insider, vec![insider.file(last, 1)]).await;
    follow(server, GUN).await;
}

#[tokio::test]
async fn all_documents_together_have_an_end() {
    let server = TestServer::start().await;
    let mut insider = begin(&server, GUN, false).await;
    fill(&server, &mut insider, "targets", 14, "more than 67108864 bytes of metadata").await;
}

#[tokio::test]
async fn a_delegate_leaves_room_for_the_others() {
    let server = TestServer::start().await;
    let mut insider = begin(&server, GUN, false).await;
    fill(&server, &mut insider, "targets/alice", 7, "more than 33554432 bytes of metadata").await;
    let name = ["targets/bob".to_owned()];
    let file = delegating(&insider, "targets", &name);
    accept(&server, &mut insider, vec![file]).await;
    let files = vec![padded(&insider, &name[0])];
    accept(&server, &mut insider, files).await;
}

/// Names are never forgotten, or somebody could be shown an old document under a new one's name.
#[tokio::test]
async fn names_come_to_an_end_and_what_is_there_goes_on() {
    const AT_ONCE: usize = 500;

    let store = Gated::new();
    let limits = LimitsConfig { parts: AT_ONCE + 1, ..LimitsConfig::default() };
    let setup = || Setup { store: store.clone(), limits: limits.clone(), ..Setup::default() };
    let server = TestServer::with(setup()).await;
    let mut insider = begin(&server, GUN, false).await;
    let mut used = 0;
    let refused = loop {
        let names: Vec<String> = (used..used + AT_ONCE).map(|number| format!("targets/n{number}")).collect();
        let mut files = vec![delegating(&insider, "targets", &names)];
        files.extend(names.iter().map(|name| insider.file(name, 1)));
        let answer = server.send(post(&server, GUN, &files)).await;
        if answer.status() != 200 {
            break answer;
        }
        files.truncate(1);
        insider.accepted(files);
        used += AT_ONCE;
        assert!(used < 5_000);
    };
    judge("names", refused, Refused("ErrValidation", "more than 4098 roles")).await.unwrap();
    assert_eq!(used, 4_000);
    let files = insider.tagged(&["targets", "targets/alice"], "v1");
    accept(&server, &mut insider, files).await;
    follow(&server, GUN).await;
    // Who asks for a key does not have all of that read.
    let other = TestServer::with(setup()).await;
    let before = store.reads.load(Ordering::Relaxed);
    // Sealed by another server, so there is no answer; what it read for it counts.
    let path = crate::site::tuf(GUN, "snapshot.key");
    other.send(other.request(Method::GET, &path)).await;
    assert!(store.reads.load(Ordering::Relaxed) - before < 5);
    online_key(&server, GUN, "timestamp", Method::GET).await;
}
