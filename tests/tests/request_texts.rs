//! The help of `bulla request`, and every text of an error of signing requests: a changed text is a
//! reviewed text.

use std::error::Error;
use std::fmt::Write as _;

use bulla::command::explain;
use bulla::flow::init::InitError;
use bulla::flow::key::certificate::CertifyError;
use bulla::flow::publish::PublishError;
use bulla::flow::request::RequestError;
use bulla::port::TrustServerError;
use bulla::wiring::NobodyToAsk;
use bulla_keys_schema::dialect::InvalidMetadata;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::{Fingerprint, KeyAlgorithm, SelfSignError};
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::request::{InvalidRequest, InvalidText, MergeError, OpenError, RequestId};
use bulla_keys_schema::verify::RootError;
use bulla_keys_schema::verify::submission::{BrokenState, Rejection};
use bulla_tests::cli::Cli;

/// Texts of errors, each with its exit code.
#[derive(Default)]
struct Texts(String);

impl Texts {
    fn add(&mut self, error: impl Error + Send + Sync + 'static) {
        let report = explain(&error.into()).report();
        let _ = writeln!(self.0, "[{}] {}", report.exit_code, report.message);
        if let Some(hint) = report.hint {
            let _ = writeln!(self.0, "     hint: {hint}");
        }
    }

    fn check(self, name: &str) {
        assert!(!self.0.lines().any(|line| line.ends_with('.')), "{}", self.0);
        insta::assert_snapshot!(name, self.0);
    }
}

fn fingerprint(byte: u8) -> Fingerprint {
    hex::encode([byte; 32]).parse().unwrap()
}

fn repository() -> RepositoryName {
    "reg.example.com/team/app".parse().unwrap()
}

fn id() -> RequestId {
    RequestId::from_bytes([7; 16])
}

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

fn unreadable() -> InvalidMetadata {
    InvalidMetadata::TooMany { at: "signatures".to_owned() }
}

#[test]
fn help() {
    let cli = Cli::new(env!("CARGO_BIN_EXE_bulla-cli"));
    for command in ["", "list", "show", "sign", "submit", "export", "cancel"] {
        let args: Vec<&str> =
            ["request", command, "--help"].into_iter().filter(|arg| !arg.is_empty()).collect();
        let text = cli.run(&args).ok();
        insta::assert_snapshot!(format!("help-request-{command}").trim_end_matches('-'), text);
    }
}

#[test]
fn requests_that_cannot_be_opened() {
    let mut texts = Texts::default();
    for source in [
        OpenError::Base,
        OpenError::Document { role: RoleName::Root, source: unreadable() },
        OpenError::Expired { not_after: "2030-01-02T03:04:05Z".parse().unwrap() },
        OpenError::Orphan { role: RoleName::Targets },
        OpenError::OtherMode,
        OpenError::OtherRepository { found: "reg.example.com/team/other".parse().unwrap() },
        OpenError::Rejected(Rejection::Empty),
        OpenError::Signature { role: RoleName::Root, key_id: "k".parse().unwrap() },
        OpenError::Stale { role: RoleName::Root, base: Some(version(1)), current: Some(version(2)) },
        OpenError::Stale { role: RoleName::Root, base: None, current: Some(version(1)) },
        OpenError::TooLong { not_after: "2030-06-01T00:00:00Z".parse().unwrap() },
    ] {
        texts.add(RequestError::Open { repository: repository(), id: id(), source: Box::new(source) });
    }
    texts.check("requests-that-cannot-be-opened");
}

#[test]
fn signatures_and_files() {
    let (role, key) = (RoleName::Root, fingerprint(1));
    let mut texts = Texts::default();
    texts.add(MergeError::BadSignature { role: role.clone(), key });
    texts.add(MergeError::Document { role: role.clone(), source: unreadable() });
    texts.add(MergeError::NoRole { role: role.clone(), key });
    texts.add(MergeError::OtherPayload { role: role.clone() });
    texts.add(MergeError::OtherRepository { found: repository() });
    texts.add(MergeError::OtherRequest { found: id() });
    texts.add(RequestError::Merge(MergeError::UnknownDocument { role: role.clone() }));
    texts.add(RequestError::Broken(BrokenState::Missing { role: role.clone() }));
    texts.add(RequestError::Done { id: id() });
    texts.add(RequestError::Invalid(InvalidRequest::Kind {
        found: "signatures".to_owned(),
        expected: "signing-request",
    }));
    texts.add(InvalidRequest::TooLarge { limit: 8_388_608 });
    texts.add(InvalidText);
    texts.add(RequestError::NoContext { id: id() });
    texts.add(RequestError::NoKey { id: id(), missing: vec![fingerprint(1), fingerprint(2)] });
    texts.add(RequestError::OtherDigest { expected: Sha256Digest::of(b"a"), found: Sha256Digest::of(b"b") });
    texts.add(RequestError::OtherRequest { id: id(), found: RequestId::from_bytes([8; 16]) });
    texts.add(RequestError::OtherRoot { version: version(2) });
    texts.add(RequestError::Older { role, found: version(1), known: version(2) });
    texts.add(RequestError::PinNotMet { repository: repository() });
    texts.add(RequestError::Root(RootError::TooLong));
    texts.add(RequestError::Unknown { repository: repository(), id: id() });
    texts.add(NobodyToAsk);
    texts.check("signatures-and-files");
}

#[test]
fn making_requests() {
    let mut texts = Texts::default();
    texts.add(RequestError::Server(TrustServerError::NoRequests));
    texts.add(RequestError::Server(TrustServerError::RequestOver { detail: "it was cancelled".to_owned() }));
    texts.add(RequestError::Publish(PublishError::Request(Box::new(OpenError::Orphan {
        role: RoleName::Targets,
    }))));
    texts.add(RequestError::Publish(PublishError::RequestTooLarge { bytes: 9_000_000 }));
    texts.add(InitError::NoCertificate { fingerprint: fingerprint(1) });
    texts.add(InitError::OtherCertificate { name: "reg.example.com/team/other".to_owned() });
    let wrong = SelfSignError::Algorithm { algorithm: KeyAlgorithm::Ed25519 };
    texts.add(CertifyError::Certificate(wrong.into()));
    texts.check("making-requests");
}
