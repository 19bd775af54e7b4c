//! Repositories that Notary 0.1 and 0.3 wrote, read as a client does.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may panic, reads files, and says what it skips"
)]

use std::path::{Path, PathBuf};

use bulla_keys_schema::dialect::{Dialect, Document, Envelope};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::json::Json;
use bulla_keys_schema::metadata::{Root, Snapshot, Targets, Timestamp};
use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::{Floor, Pin, RootChain, RootError, TrustedTargets, VerifyError};
use bytes::Bytes;

const DIALECT: Dialect = Dialect::Notary1;

struct Fixture {
    folder: PathBuf,
    name: RepositoryName,
}

impl Fixture {
    /// `None` where the shared data is absent.
    fn open(version: &str, name: &str) -> Option<Self> {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/notary-v1/compatibility");
        if !data.exists() {
            eprintln!("SKIPPED: {} is not there", data.display());
            return None;
        }
        let folder = data.join(version).join("tuf").join(name).join("metadata");
        Some(Self { folder, name: name.parse().unwrap() })
    }

    fn read(&self, role: &str) -> Bytes {
        std::fs::read(self.folder.join(format!("{role}.json"))).unwrap().into()
    }

    fn chain(&self, name: &RepositoryName) -> Result<RootChain, RootError> {
        let root = self.read("root");
        let pin = Pin::Digest(Sha256Digest::of(&root));
        RootChain::start(DIALECT, root, &pin).unwrap().require_repository(name, true)
    }

    fn targets(&self, now: &str) -> TrustedTargets {
        let root = self.chain(&self.name).unwrap().finish(time(now), None).unwrap();
        let timestamp = root.timestamp(Floor::none(), self.read("timestamp")).unwrap();
        let snapshot = timestamp.snapshot(self.read("snapshot")).unwrap();
        snapshot.targets(self.read("targets")).unwrap()
    }
}

fn old() -> Option<Fixture> {
    Fixture::open("notary0.1", "docker.com/notary0.1/samplerepo")
}

fn new() -> Option<Fixture> {
    Fixture::open("notary0.3", "docker.com/notary0.3/tst")
}

fn time(text: &str) -> UtcTime {
    text.parse().unwrap()
}

#[test]
fn a_repository_of_notary_0_1_verifies() {
    let Some(fixture) = old() else { return };
    let targets = fixture.targets("2026-11-21T00:00:00Z");
    let listed = &targets.targets().payload().targets["LICENSE"];
    assert_eq!(listed.length, 11_309);
    assert!(listed.hashes.as_sha256().is_some());
}

#[test]
fn a_repository_of_notary_0_3_verifies_with_its_rsa_delegation() {
    let Some(fixture) = new() else { return };
    let top = fixture.targets("2026-07-01T00:00:00Z");
    let releases = "releases".parse().unwrap();
    let document = top.delegated(&releases, fixture.read("targets/releases")).unwrap();
    assert_eq!(document.payload().targets["hello"].length, 0);
    let delegation = top.targets().payload().delegation(&releases).unwrap();
    assert!(delegation.scope.matches(&"hello".parse().unwrap()));
}

#[test]
fn certificates_are_looked_at() {
    let (Some(old), Some(new)) = (old(), new()) else { return };
    let expired = new.chain(&new.name).unwrap().finish(time("2026-07-26T00:00:00Z"), None);
    assert!(matches!(expired, Err(RootError::Verify(VerifyError::Certificates { fitting: 0, .. }))));
    let other = old.chain(&new.name);
    assert!(matches!(other, Err(RootError::Verify(VerifyError::Certificates { fitting: 0, .. }))));
}

#[test]
fn documents_are_written_byte_for_byte() {
    for fixture in [old(), new()].into_iter().flatten() {
        for role in ["root", "targets", "snapshot", "timestamp", "targets/releases"] {
            if fixture.folder.join(format!("{role}.json")).exists() {
                let bytes = fixture.read(role);
                let whole = Json::parse(&bytes).unwrap();
                let signed = whole.as_object().unwrap().get("signed").unwrap().as_object().unwrap();
                let envelope = Envelope::parse(DIALECT, &bytes).unwrap();
                let written = Envelope::write(DIALECT, signed.clone(), envelope.signatures());
                assert_eq!(written, bytes, "{role}");
                // What is understood and written again differs in nothing but the date, which
                // is written with whole seconds in UTC.
                let mut taken = signed.clone();
                let again = match role {
                    "root" => Root::decode(DIALECT, &mut taken).unwrap().encode(DIALECT),
                    "snapshot" => Snapshot::decode(DIALECT, &mut taken).unwrap().encode(DIALECT),
                    "timestamp" => Timestamp::decode(DIALECT, &mut taken).unwrap().encode(DIALECT),
                    _ => Targets::decode(DIALECT, &mut taken).unwrap().encode(DIALECT),
                };
                let mut expected = signed.clone();
                expected.insert("expires".to_owned(), again.get("expires").unwrap().clone());
                assert_eq!(again, expected, "{role}");
            }
        }
    }
}
