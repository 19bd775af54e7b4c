//! Attestations of a legacy repository, whose servers keep no targets: the registry keeps the bytes, and
//! the signed list says which of them count.

use bulla::adapter::Patience;
use bulla::adapter::connection::Connection;
use bulla::adapter::notary_http::NotaryHttp;
use bulla::flow::key::{KeyPorts, generate};
use bulla_keys_schema::key::KeyAlgorithm;
use bulla_keys_schema::sigstore::Attached;

use super::*;

fn desk(server: &TestServer) -> Desk<'_> {
    let url = server.url("").parse().unwrap();
    let notary = NotaryHttp::new(Connection::new(url, None, None, Patience::default()).unwrap());
    Desk::with(Box::new(notary), server.clock.as_ref())
}

fn key(desk: &Desk<'_>, name: &str) -> PublicKey {
    let ports = desk.ports();
    let ports = KeyPorts {
        keys: ports.keys,
        passphrases: ports.passphrases,
        entropy: ports.entropy,
        clock: ports.clock,
    };
    generate(ports, &name.parse().unwrap(), KeyAlgorithm::EcdsaP256).unwrap().public
}

#[tokio::test]
async fn the_registry_keeps_the_bytes_and_the_list_is_signed() {
    let server = TestServer::start().await;
    let admin = desk(&server);
    for name in ["root", "targets"] {
        key(&admin, name);
    }
    let begin = init::Request {
        repository: repository(),
        mode: Mode::Legacy,
        root_keys: vec!["root".parse().unwrap()],
        root_threshold: 1,
        targets_key: "targets".parse().unwrap(),
        how: false.into(),
    };
    let begun = init::init(admin.ports(), &begin).await.unwrap();
    let image = admin.registry.push(&format!("{NAME}:1"), "one");
    sign_tag(&admin, None).await.unwrap();
    add(&admin, "ci-trivy", key(&admin, "trivy"), "att/**").await.unwrap();
    sign_tag(&admin, None).await.unwrap();
    attest(&admin, &trivy(image, 2)).await.unwrap();
    server.clock.advance(60);
    attest(&admin, &trivy(image, 0)).await.unwrap();

    assert_eq!(high(&found(&admin).await), [Some(0), Some(2)], "the time of signing is in the list");
    let mut offline = request(predicate(&trivy(image, 1)).unwrap());
    offline.image = format!("{NAME}@{}", image.to_oci()).parse().unwrap();
    offline.size = Some(3);
    let refused = attest::attest(admin.ports(), &offline).await.unwrap_err();
    assert!(matches!(refused, AttestError::LegacyWithoutRegistry), "{refused}");

    // Somebody with a registry that keeps nothing of it.
    let consumer = desk(&server);
    pin(&consumer, &begun, Mode::Legacy);
    consumer.registry.push(&format!("{NAME}:1"), "one");
    let seen = found(&consumer).await;
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|found| *unsound(found) == Unsound::Missing));
    let tag = Attached::Attestations.tag(image).to_string();
    assert!(admin.registry.kept().manifest(NAME, &tag).is_some());
}
