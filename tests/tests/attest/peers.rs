//! Clients that this project did not write download the envelope of an attestation like any target.

use bulla_tests::peers::{ForeignClient, Repository, absent};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn every_client_downloads_the_envelope() {
    let server = TestServer::start().await;
    // The clients live in the present.
    let present = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    server.clock.advance(i64::try_from(present).unwrap() - bulla_tests::server::BEGIN);
    let desk = Desk::of(&server);
    let (_, image) = begin(&desk).await;
    add(&desk, "alice", desk.key("alice"), "*").await.unwrap();
    add(&desk, "ci-trivy", desk.key("trivy"), "att/**").await.unwrap();
    sign_tag(&desk, Some("alice")).await.unwrap();
    let made = attest(&desk, &trivy(image, 2)).await.unwrap();
    let seen = found(&desk).await;
    let envelope = seen[0].standing.as_ref().unwrap().envelope.bytes().to_vec();

    let repository = Repository {
        metadata_url: server.url(&format!("/tuf/{NAME}/metadata")),
        targets_url: server.url(&format!("/tuf/{NAME}/targets")),
        root: server.get(&format!("/tuf/{NAME}/metadata/1.root.json")).await.bytes().await.unwrap().to_vec(),
        ca_cert: None,
        now: None,
    };
    let state = tempfile::tempdir().unwrap();
    let target = made.path.unwrap().to_string();
    let clients = ForeignClient::present();
    if clients.is_empty() {
        absent("a TUF client", "source .ci/peers");
    }
    for client in clients {
        if client == ForeignClient::Tough {
            // Its `*` matches slashes, against the specification, so its search ends at `releases`.
            let refused = client.follow(&repository, &state.path().join(client.name()), Some(&target)).await;
            assert_eq!(refused.unwrap_err().kind, "TargetNotFound", "it learned what a pattern is");
            continue;
        }
        let seen = client.follow(&repository, &state.path().join(client.name()), Some(&target)).await;
        let seen = seen.unwrap_or_else(|refused| panic!("{}: {refused:?}", client.name()));
        assert_eq!(seen.target.as_deref(), Some(&envelope[..]), "{}", client.name());
    }
}
