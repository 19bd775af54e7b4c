//! What a user does with a repository in legacy mode, in a line each.

use std::collections::BTreeMap;

use bulla::adapter::Patience;
use bulla::adapter::connection::Connection;
use bulla::adapter::notary_http::NotaryHttp;
use bulla::flow::init::{self, InitError};
use bulla::flow::inspect::{Inspection, inspect};
use bulla::flow::key::{KeyPorts, generate};
use bulla::flow::revoke::{self, RevokeError, Revoked};
use bulla::flow::sign::{self, SignError, Signed};
use bulla::flow::signer::{self, AddRequest, Added, SignerError};
use bulla::flow::verify::{Refusal, Trusted, VerifyError, resolve};
use bulla::pins::{Mode, Pin, PinnedRoot, Pins};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::{KeyAlgorithm, PublicKey, SecretKey};
use bulla_keys_schema::names::RepositoryName;
use bulla_tests::cli::Desk;
use bulla_tests::server::TestServer;
use bytes::Bytes;

pub const NAME: &str = "reg.example.com/team/app";

pub const DAY: i64 = 24 * 60 * 60;

pub const YEAR: i64 = 365 * DAY;

pub fn repository() -> RepositoryName {
    NAME.parse().unwrap()
}

pub fn notary(server: &TestServer) -> NotaryHttp {
    let url = server.url("").parse().unwrap();
    NotaryHttp::new(Connection::new(url, None, None, Patience::default()).unwrap())
}

pub fn desk(server: &TestServer) -> Desk<'_> {
    Desk::with(Box::new(notary(server)), server.clock.as_ref())
}

/// Root keys have to be of this kind, and docker's are.
pub fn key(desk: &Desk<'_>, name: &str) -> PublicKey {
    let ports = desk.ports();
    let ports = KeyPorts {
        keys: ports.keys,
        passphrases: ports.passphrases,
        entropy: ports.entropy,
        clock: ports.clock,
    };
    generate(ports, &name.parse().unwrap(), KeyAlgorithm::EcdsaP256).unwrap().public
}

pub async fn init(
    desk: &Desk<'_>,
    root_keys: &[&str],
    root_threshold: u64,
) -> Result<init::Begun, InitError> {
    let request = init::Request {
        repository: repository(),
        mode: Mode::Legacy,
        root_keys: root_keys.iter().map(|name| name.parse().unwrap()).collect(),
        root_threshold,
        targets_key: "targets".parse().unwrap(),
        how: false.into(),
    };
    init::init(desk.ports(), &request).await
}

pub async fn begin(desk: &Desk<'_>) -> init::Begun {
    key(desk, "root");
    key(desk, "targets");
    init(desk, &["root"], 1).await.unwrap()
}

pub fn pin(desk: &Desk<'_>, digest: Sha256Digest) {
    let root = PinnedRoot::Document(digest);
    let pin = Pin { scope: NAME.parse().unwrap(), mode: Mode::Legacy, root, server: None };
    Pins::update(desk.home(), |pins| pins.add(pin)).unwrap();
}

pub async fn sign_as(desk: &Desk<'_>, tag: &str, signer: Option<&str>) -> Result<Signed, SignError> {
    let digest = Sha256Digest::of(tag.as_bytes());
    let request = sign::Request {
        image: format!("{NAME}:{tag}@{}", digest.to_oci()).parse().unwrap(),
        size: Some(tag.len() as u64),
        signer: signer.map(|name| name.parse().unwrap()),
        platforms: false,
        how: false.into(),
        in_registry: Some(BTreeMap::new()),
        policy: None,
    };
    sign::sign(desk.ports(), &request).await
}

pub async fn sign(desk: &Desk<'_>, tag: &str) -> Signed {
    sign_as(desk, tag, None).await.unwrap()
}

pub async fn add(
    desk: &Desk<'_>,
    name: &str,
    keys: Vec<PublicKey>,
    tags: &str,
    enrolment: Option<Bytes>,
) -> Result<Added, SignerError> {
    let request = AddRequest {
        repository: repository(),
        name: name.parse().unwrap(),
        threshold: keys.len() as u64,
        keys,
        patterns: vec![tags.parse().unwrap()],
        ends: None,
        enrolment,
        how: false.into(),
    };
    signer::add(desk.ports(), &request).await
}

pub async fn remove(desk: &Desk<'_>, name: &str) -> signer::Removed {
    signer::remove(desk.ports(), &repository(), &name.parse().unwrap(), &false.into()).await.unwrap()
}

pub async fn revoke(desk: &Desk<'_>, tag: &str) -> Result<Revoked, RevokeError> {
    let request = revoke::Request {
        repository: repository(),
        tag: tag.parse().unwrap(),
        reason: Some("leaked".to_owned()),
        how: false.into(),
    };
    revoke::revoke(desk.ports(), &request).await
}

pub async fn check(desk: &Desk<'_>, tag: &str) -> Result<Trusted, VerifyError> {
    resolve(desk.ports(), &format!("{NAME}:{tag}").parse().unwrap()).await
}

/// The roles that vouch for a tag that is trusted.
pub async fn vouchers(desk: &Desk<'_>, tag: &str) -> Vec<String> {
    let trusted = check(desk, tag).await.unwrap();
    assert_eq!(trusted.digest, Sha256Digest::of(tag.as_bytes()));
    trusted.signed_by.iter().map(|voucher| voucher.role.to_string()).collect()
}

pub async fn refusal(desk: &Desk<'_>, tag: &str) -> Refusal {
    match check(desk, tag).await {
        Err(VerifyError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

pub async fn not_signed(desk: &Desk<'_>, tag: &str) -> bool {
    matches!(refusal(desk, tag).await, Refusal::NotSigned { is_certain: false, .. })
}

pub async fn seen(desk: &Desk<'_>) -> Inspection {
    inspect(desk.ports(), &repository(), None).await.unwrap()
}

pub async fn version(desk: &Desk<'_>, role: &str) -> u64 {
    let roles = seen(desk).await.roles;
    roles.iter().find(|state| state.role.as_str() == role).unwrap().version.get()
}

pub fn import(desk: &Desk<'_>, name: &str, secret: &SecretKey) {
    use bulla_keys_schema::key::{KeySidecar, Passphrase, SealedKey};
    let public = secret.public_key().clone();
    let sidecar = KeySidecar {
        loaded: None,
        name: name.parse().unwrap(),
        fingerprint: public.fingerprint(),
        algorithm: public.algorithm(),
        created: desk.ports().clock.now(),
        roles: vec![],
    };
    let sealed =
        SealedKey::seal(secret, &Passphrase::new(bulla_tests::cli::PASSPHRASE.to_owned()), [1; 32], [2; 24]);
    let key = bulla::port::StoredKey { name: name.parse().unwrap(), public, sidecar };
    desk.ports().keys.create(&key, &sealed).unwrap();
}
