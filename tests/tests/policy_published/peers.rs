//! Clients that this project did not write download a policy like any target.

use bulla_tests::peers::{ForeignClient, Repository, absent};

use super::*;

#[test]
fn every_client_downloads_the_policy() {
    let site = Site::begin();
    site.add_role("alice", &["*"]);
    site.say(1, ALICE);
    site.add_role("rules", &["policy/prod*"]);
    site.publish(0, &site.file(1, BOB), &["--name", "prod", "--as", "rules"]);
    let tag = format!("{}:v1@{}", site.repo, Sha256Digest::of(b"x").to_oci());
    expect(&site.judged.admin, 0, &["sign", &tag, "--size", "1", "--as", "alice"]);
    let clients = ForeignClient::present();
    if clients.is_empty() {
        absent("a TUF client", "source .ci/peers");
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let root = runtime.block_on(root(&site));
    let base = format!("{}/tuf/{}", site.judged.server.url, site.repo);
    let repository = Repository {
        metadata_url: format!("{base}/metadata"),
        targets_url: format!("{base}/targets"),
        root,
        ca_cert: Some(site.judged.server.ca_cert.clone()),
        now: None,
    };
    let state = tempfile::tempdir().unwrap();
    for client in clients {
        for (target, text) in
            [("policy/default.toml", site.text(1, ALICE)), ("policy/prod.toml", site.text(1, BOB))]
        {
            let folder = state.path().join(format!("{}-{}", client.name(), target.replace('/', "-")));
            let seen = runtime.block_on(client.follow(&repository, &folder, Some(target)));
            if client == ForeignClient::Tough {
                // Against the specification it puts the digest in front of the whole name, and its `*`
                // matches slashes, so that its search ends at `releases`.
                let refused = seen.expect_err("it learned what a name with a slash is");
                let is_known =
                    refused.kind == "TargetNotFound" || refused.text.contains(".policy/default.toml");
                assert!(is_known, "{refused:?}");
                continue;
            }
            let seen = seen.unwrap_or_else(|refused| panic!("{}: {refused:?}", client.name()));
            assert_eq!(seen.target.as_deref(), Some(text.as_bytes()), "{}: {target}", client.name());
        }
    }
}

async fn root(site: &Site) -> Vec<u8> {
    let desk = site.desk();
    let (repository, role) = (site.repo.parse().unwrap(), RoleName::Root);
    let first = bulla::port::trust_server::Edition::Version(bulla_keys_schema::metadata::Version::FIRST);
    desk.ports().server.metadata(&repository, &role, first).await.unwrap().unwrap().to_vec()
}
