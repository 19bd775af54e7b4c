//! Attestations from the report of a scanner to the consumer who counts its findings, against a server in
//! this process: who may attest, what is refused, what does not count, and what foreign clients download.

mod cli;
mod insider;
mod kinds;
mod legacy;
mod life;
mod peers;
mod subjects;
mod verdict;

use std::num::NonZeroUsize;

use bulla::flow::attest::{self, AttestError, Attested};
use bulla::flow::attestation::{Attestations, attestations};
use bulla::flow::evidence::{Found, Unsound};
use bulla::flow::init;
use bulla::flow::refresh::RefreshError;
use bulla::flow::sign;
use bulla::flow::signer::{self, AddRequest, SignerError};
use bulla::flow::verify::VerifyError;
use bulla::pins::{Mode, Pin, PinnedRoot, Pins};
use bulla_keys_schema::attest::{Declared, InvalidPredicate, Predicate, ReportFormat, Severity};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::PublicKey;
use bulla_keys_schema::names::RepositoryName;
use bulla_tests::cli::Desk;
use bulla_tests::server::TestServer;
use serde_json::{Value, json};

const NAME: &str = "reg.example.com/team/app";

fn repository() -> RepositoryName {
    NAME.parse().unwrap()
}

/// A report of Trivy about the image with that digest, with so many findings of high severity.
fn trivy(image: Sha256Digest, high: usize) -> Value {
    let finding = |number| {
        json!({
            "VulnerabilityID": format!("CVE-2030-{number}"),
            "PkgName": "p",
            "InstalledVersion": "1",
            "Severity": "HIGH",
        })
    };
    json!({
        "SchemaVersion": 2,
        "ArtifactType": "container_image",
        "CreatedAt": "2030-01-01T00:00:00Z",
        "Metadata": { "RepoDigests": [format!("{NAME}@{}", image.to_oci())] },
        "Results": [{
            "Target": "t",
            "Class": "os-pkgs",
            "Type": "alpine",
            "Packages": [{ "Name": "p" }],
            "Vulnerabilities": (0..high).map(finding).collect::<Vec<_>>(),
        }],
    })
}

fn predicate(report: &Value) -> Result<Predicate, InvalidPredicate> {
    Predicate::of_report(report.to_string().as_bytes(), None, &Declared::default())
}

/// What most tests ask for: image 1.
fn request(predicate: Predicate) -> attest::Request {
    attest::Request {
        image: format!("{NAME}:1").parse().unwrap(),
        size: None,
        predicate,
        unbound: false,
        signer: None,
        keep: NonZeroUsize::new(3).unwrap(),
        in_registry: true,
        how: false.into(),
    }
}

async fn attest(desk: &Desk<'_>, report: &Value) -> Result<Attested, AttestError> {
    attest::attest(desk.ports(), &request(predicate(report)?)).await
}

/// A repository with one tag, `1`, that means `one`, and a key for each of `signers`.
async fn begin(desk: &Desk<'_>) -> (init::Begun, Sha256Digest) {
    for name in ["root", "targets"] {
        desk.key(name);
    }
    let request = init::Request {
        repository: repository(),
        mode: Mode::Spec,
        root_keys: vec!["root".parse().unwrap()],
        root_threshold: 1,
        targets_key: "targets".parse().unwrap(),
        how: false.into(),
    };
    let begun = init::init(desk.ports(), &request).await.unwrap();
    let digest = desk.registry.push(&format!("{NAME}:1"), "one");
    sign_tag(desk, None).await.unwrap();
    (begun, digest)
}

async fn sign_tag(desk: &Desk<'_>, signer: Option<&str>) -> Result<sign::Signed, sign::SignError> {
    let request = sign::Request {
        image: format!("{NAME}:1").parse().unwrap(),
        size: None,
        signer: signer.map(|name| name.parse().unwrap()),
        platforms: false,
        how: false.into(),
        in_registry: None,
        policy: None,
    };
    sign::sign(desk.ports(), &request).await
}

async fn add(desk: &Desk<'_>, name: &str, key: PublicKey, pattern: &str) -> Result<(), SignerError> {
    let request = AddRequest {
        repository: repository(),
        name: name.parse().unwrap(),
        keys: vec![key],
        threshold: 1,
        patterns: vec![pattern.parse().unwrap()],
        ends: None,
        enrolment: None,
        how: false.into(),
    };
    signer::add(desk.ports(), &request).await.map(drop)
}

fn pin(desk: &Desk<'_>, begun: &init::Begun, mode: Mode) {
    let root = PinnedRoot::Document(begun.root_digest.unwrap());
    let pin = Pin { scope: NAME.parse().unwrap(), mode, root, server: None };
    Pins::update(desk.home(), |pins| pins.add(pin)).unwrap();
}

async fn look(desk: &Desk<'_>, image: &str) -> Result<Attestations, VerifyError> {
    attestations(desk.ports(), &format!("{NAME}{image}").parse().unwrap()).await
}

async fn found(desk: &Desk<'_>) -> Vec<Found> {
    look(desk, ":1").await.unwrap().evidence.found
}

/// How many findings of high severity each of them has; nothing for what does not count.
fn high(found: &[Found]) -> Vec<Option<u64>> {
    let count = |found: &Found| {
        let scan = found.standing.as_ref().ok()?.attestation.scan.as_ref()?;
        Some(scan.counts.of(Severity::High))
    };
    found.iter().map(count).collect()
}

fn unsound(found: &Found) -> &Unsound {
    found.standing.as_ref().err().unwrap()
}
