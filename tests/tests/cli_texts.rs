//! Every `--help` and every error text of `bulla`, pinned: a changed text is a reviewed text.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

use bulla::adapter::connection::InvalidConnection;
use bulla::cache::CacheError;
use bulla::command::explain;
use bulla::config::InvalidConfig;
use bulla::flow::init::InitError;
use bulla::flow::key::KeyError;
use bulla::flow::key::export::ExportError;
use bulla::flow::key::load::LoadError;
use bulla::flow::publish::PublishError;
use bulla::flow::refresh::RefreshError;
use bulla::flow::revoke::RevokeError;
use bulla::flow::root_change::RootChangeError;
use bulla::flow::sign::SignError;
use bulla::flow::signer::SignerError;
use bulla::flow::signing::{TooFewKeys, UnlockError};
use bulla::flow::verify::{KeyHolder, Refusal, VerifyError};
use bulla::pins::{BadThreshold, Mode, PinnedRoot, PinsError};
use bulla::port::registry::NotAnIndex;
use bulla::port::trust_server::Right;
use bulla::port::{
    EntropyError, KeySourceError, KeyStoreError, PassphraseError, RegistryError, TrustServerError,
};
use bulla::wiring::{NoHome, UnreadableCertificates};
use bulla_keys_schema::author::{RootEditError, SignError as DraftError, TargetsEditError};
use bulla_keys_schema::dialect::InvalidMetadata;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::{
    Fingerprint, InvalidKeyFile, InvalidKeyText, InvalidSecretKey, KeyName, KeyText, OpenError,
};
use bulla_keys_schema::metadata::{Denial, Threshold, Tombstone, TopLevelRole, Version};
use bulla_keys_schema::names::{RepositoryName, RoleName, SignerName, Tag};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::{ChainError, RootError, VerifyError as SignatureError};
use bulla_tests::cli::Cli;

fn cli() -> Cli {
    Cli::new(env!("CARGO_BIN_EXE_bulla-cli"))
}

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
        for line in self.0.lines() {
            assert!(!line.ends_with('.'), "{line}");
        }
        insta::assert_snapshot!(name, self.0);
    }
}

fn repository() -> RepositoryName {
    "reg.example.com/team/app".parse().unwrap()
}

fn tag() -> Tag {
    "1.0".parse().unwrap()
}

fn name() -> KeyName {
    "alice".parse().unwrap()
}

fn signer() -> SignerName {
    "alice".parse().unwrap()
}

fn alice() -> RoleName {
    "alice".parse().unwrap()
}

fn path() -> PathBuf {
    "/home/user/.bulla/file".into()
}

fn time() -> UtcTime {
    "2030-01-02T03:04:05Z".parse().unwrap()
}

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

fn digest(byte: u8) -> Sha256Digest {
    Sha256Digest::from_bytes([byte; 32])
}

fn fingerprint(byte: u8) -> Fingerprint {
    digest(byte).to_string().parse().unwrap()
}

fn server() -> String {
    "https://trust.example.com".to_owned()
}

fn host() -> String {
    "reg.example.com".to_owned()
}

fn reference() -> String {
    "reg.example.com/team/app:1.0".to_owned()
}

fn reason() -> String {
    "permission denied".to_owned()
}

fn threshold() -> SignatureError {
    SignatureError::Threshold {
        threshold: Threshold::new(2).unwrap(),
        signed_by: BTreeSet::from([fingerprint(1)]),
        missing: BTreeSet::from([fingerprint(2), fingerprint(3)]),
    }
}

fn too_few() -> TooFewKeys {
    TooFewKeys { role: alice(), threshold: Threshold::ONE, here: vec![], missing: vec![fingerprint(1)] }
}

#[test]
fn help() {
    let cli = cli();
    for command in [
        "",
        "key",
        "key generate",
        "key import",
        "key load",
        "key list",
        "key show",
        "key export",
        "key passwd",
        "key remove",
        "init",
        "signer",
        "signer add",
        "signer remove",
        "signer list",
        "signer enrol",
        "signer revoke",
        "sign",
        "verify",
        "resolve",
        "inspect",
        "gate",
        "attest",
        "attestation",
        "attestation list",
        "attestation show",
        "attestation download",
        "policy",
        "policy check",
        "policy explain",
        "policy test",
        "policy import",
        "policy publish",
        "policy show",
        "cosign",
        "cosign import",
        "revoke",
        "rotate",
        "renew",
        "status",
        "trust",
        "trust add",
        "trust list",
        "trust remove",
        "completions",
        "man",
    ] {
        let mut args: Vec<&str> = command.split_whitespace().collect();
        args.push("--help");
        let text = cli.run(&args).ok();
        insta::assert_snapshot!(format!("help {command}").trim().replace(' ', "-"), text);
    }
}

#[test]
fn usage() {
    let cli = cli();
    let mut text = String::new();
    for args in [
        &["frobnicate"][..],
        &["sign"],
        &["sign", "UPPER/CASE@"],
        &["verify", "reg.example.com/app@md5:00"],
        &["revoke", "reg.example.com/app"],
        &["inspect", "reg.example.com/App:1"],
        &["key", "generate", "../evil"],
        &["key", "generate", "a", "--algorithm", "rsa"],
        &["init", "reg.example.com/app", "--server", "http://trust.example.com"],
        &["signer", "add", "reg.example.com/app", "releases", "--key", "a.pub"],
        &["signer", "add", "reg.example.com/app", "alice", "--key", "absent.pub"],
        &["trust", "add", "reg.example.com/app"],
        &["trust", "add", "**", "--root-sha256", "00"],
        &["trust", "add", "reg.example.com/app", "--root-key", "absent.pub"],
        &["init", "reg.example.com/app"],
        &["sign", "localhost:1/app:1", "--server", "http://127.0.0.1:1"],
        &["verify", "reg.example.com/app:1", "--ca-cert", "absent.pem", "--server", "https://localhost:1"],
    ] {
        let ran = cli.run(args);
        let _ = writeln!(text, "$ bulla {}\n[{}] {}", args.join(" "), ran.code, ran.stderr);
    }
    insta::assert_snapshot!("usage", text);
}

#[test]
fn refusals() {
    let mut texts = Texts::default();
    let tombstone = |reason: Option<&str>| {
        let (reason, revoked_by) = (reason.map(str::to_owned), BTreeSet::new());
        Box::new(Tombstone { digest: digest(1), reason, revoked_at: time(), revoked_by })
    };
    let denial = |reason: Option<&str>| {
        let (reason, revoked_by) = (reason.map(str::to_owned), BTreeSet::new());
        Box::new(Denial { digest: digest(1), reason, revoked_at: Some(time()), revoked_by })
    };
    let holder = |roles: &[RoleName]| KeyHolder { key: fingerprint(1), roles: roles.to_vec() };
    let asked = vec![alice(), "bob".parse().unwrap()];
    for refusal in [
        Refusal::DigestNotSigned { repository: repository(), digest: digest(1) },
        Refusal::Layout { repository: repository() },
        Refusal::Moved { repository: repository(), tag: tag(), signed: digest(1), served: digest(2) },
        Refusal::NotSigned { repository: repository(), tag: tag(), is_certain: true },
        Refusal::NotSigned { repository: repository(), tag: tag(), is_certain: false },
        Refusal::NotVouched { repository: repository(), tag: tag(), asked },
        Refusal::NotVouched { repository: repository(), tag: tag(), asked: vec![] },
        Refusal::Denied { repository: repository(), denial: denial(None), by: vec![] },
        Refusal::Denied {
            repository: repository(),
            denial: denial(Some("key \u{1b}[2Jleaked")),
            by: vec![holder(&[RoleName::Targets]), holder(&[])],
        },
        Refusal::Revoked {
            repository: repository(),
            tag: tag(),
            role: alice(),
            tombstone: tombstone(None),
            by: vec![],
        },
        Refusal::Revoked {
            repository: repository(),
            tag: tag(),
            role: alice(),
            tombstone: tombstone(Some("key \u{1b}[2Jleaked")),
            by: vec![holder(&[alice()])],
        },
        Refusal::Size { signed: 10, served: 11 },
    ] {
        texts.add(VerifyError::Refused(refusal));
    }
    texts.add(VerifyError::NothingNamed);
    texts.check("refusals");
}

#[test]
fn refreshing() {
    let mut texts = Texts::default();
    let unreachable =
        || TrustServerError::Unreachable { server: server(), reason: "connection refused".to_owned() };
    let expired = || ChainError::Expired { role: RoleName::Timestamp, version: version(7), expires: time() };
    for error in [
        RefreshError::Cache(CacheError::Busy { path: path() }),
        RefreshError::Cache(CacheError::Io { path: path(), reason: reason() }),
        RefreshError::NotCached {
            repository: repository(),
            role: alice(),
            reason: unreachable().to_string(),
        },
        RefreshError::LostRoot { repository: repository(), version: version(2) },
        RefreshError::NotPinned { repository: repository() },
        RefreshError::Offline {
            repository: repository(),
            error: Box::new(unreachable()),
            refusal: Box::new(RefreshError::Chain(expired())),
        },
        RefreshError::PinNotMet {
            repository: repository(),
            pinned: PinnedRoot::Document(digest(2)),
            source: RootError::Verify(SignatureError::NotPinned { found: digest(1) }),
        },
        RefreshError::PinNotMet {
            repository: repository(),
            pinned: PinnedRoot::keys([fingerprint(1), fingerprint(2)], 2).unwrap(),
            source: RootError::Verify(threshold()),
        },
        RefreshError::PinNotMet {
            repository: repository(),
            pinned: PinnedRoot::Document(digest(2)),
            source: RootError::Verify(SignatureError::Metadata(InvalidMetadata::WrongKind {
                member: "_type",
                found: "Root".to_owned(),
                expected: "root",
            })),
        },
        RefreshError::UnknownRepository { repository: repository() },
        RefreshError::Root(RootError::ClockWentBack { now: time(), last_accepted: time().plus_seconds(60) }),
        RefreshError::Root(RootError::Expired { version: version(1), expires: time() }),
        RefreshError::Root(RootError::TooLarge { found: 600_000 }),
        RefreshError::Root(RootError::TooLong),
        RefreshError::Root(RootError::Verify(threshold())),
        RefreshError::Root(RootError::Version { wanted: version(2), found: version(3) }),
        RefreshError::Chain(expired()),
        RefreshError::Chain(ChainError::Expired {
            role: RoleName::Targets,
            version: version(1),
            expires: time(),
        }),
        RefreshError::Chain(ChainError::Expired { role: alice(), version: version(1), expires: time() }),
        RefreshError::Chain(ChainError::Mismatch { role: RoleName::Snapshot }),
        RefreshError::Chain(ChainError::Missing { role: alice() }),
        RefreshError::Chain(ChainError::NotDelegated { role: alice() }),
        RefreshError::Chain(ChainError::RoleRemoved { role: alice() }),
        RefreshError::Chain(ChainError::Rollback {
            role: RoleName::Timestamp,
            trusted: version(8),
            found: version(7),
        }),
        RefreshError::Chain(ChainError::TooLarge { role: RoleName::Targets, limit: 5_000_000 }),
        RefreshError::Chain(ChainError::Verify { role: RoleName::Targets, source: threshold() }),
        RefreshError::Chain(ChainError::Version { role: alice(), listed: version(3), found: version(2) }),
    ] {
        texts.add(error);
    }
    texts.check("refreshing");
}

#[test]
fn servers_and_registries() {
    let mut texts = Texts::default();
    for error in [
        TrustServerError::Changed { repository: repository() },
        TrustServerError::ClientSnapshot { repository: repository() },
        TrustServerError::Forbidden { server: server(), repository: repository(), right: Right::Admin },
        TrustServerError::NotConfigured,
        TrustServerError::NotFound { server: server(), repository: repository() },
        TrustServerError::Refused {
            server: server(),
            detail: "alice is not delegated".to_owned(),
            hint: Some("add the signer first".to_owned()),
        },
        TrustServerError::TooLarge { server: server(), file: "timestamp.json".to_owned(), limit: 16_384 },
        TrustServerError::Unauthorised { server: server(), right: Right::Publish },
        TrustServerError::Unavailable { server: server(), detail: "too many requests".to_owned() },
        TrustServerError::Unexpected { server: server(), detail: "HTTP status 418".to_owned() },
        TrustServerError::Unreachable { server: server(), reason: "connection refused".to_owned() },
    ] {
        texts.add(RefreshError::Server(error));
    }
    let (host, reference) = (host(), reference());
    for error in [
        RegistryError::Credentials { host: host.clone(), reason: "not valid JSON".to_owned() },
        RegistryError::Mismatch {
            host: host.clone(),
            reference: reference.clone(),
            computed: digest(1).to_oci(),
            expected: digest(2).to_oci(),
        },
        RegistryError::NoHost { repository: "app".parse().unwrap() },
        RegistryError::TooLarge { host: host.clone(), reference: reference.clone(), limit: 4_194_304 },
        RegistryError::Unauthorised { host: host.clone(), reference: reference.clone() },
        RegistryError::Unexpected { host: host.clone(), reference: reference.clone(), status: 500 },
        RegistryError::Unknown { host: host.clone(), reference },
        RegistryError::Unreachable { host, reason: "connection refused".to_owned() },
    ] {
        texts.add(VerifyError::Registry(error));
    }
    texts.check("servers-and-registries");
}

#[test]
fn keys_and_passphrases() {
    let mut texts = Texts::default();
    for error in [
        KeyStoreError::Exists { name: name(), path: path() },
        KeyStoreError::Invalid { path: path(), reason: "not text".to_owned() },
        KeyStoreError::Io { action: "read", path: path(), reason: reason() },
        KeyStoreError::Loaded { name: name(), source_place: "the variable KEY".to_owned() },
        KeyStoreError::OpenToOthers { path: path(), mode: 0o644 },
        KeyStoreError::Source {
            name: name(),
            error: KeySourceError::UnsetVariable { variable: "KEY".to_owned() },
        },
        KeyStoreError::Unknown { name: name(), folder: path() },
    ] {
        texts.add(error);
    }
    for error in [
        PassphraseError::Differ { name: name() },
        PassphraseError::Empty { name: name() },
        PassphraseError::File { path: path(), reason: reason() },
        PassphraseError::Interrupted,
        PassphraseError::NobodyToAsk { name: name(), variable: "BULLA_PASSPHRASE_ALICE".to_owned() },
        PassphraseError::NobodyToAskForNew { name: name() },
        PassphraseError::Terminal { reason: reason() },
        PassphraseError::Variable { variable: "BULLA_PASSPHRASE".to_owned() },
    ] {
        texts.add(KeyError::Passphrase(error));
    }
    let broken = OpenError::BrokenKey { source: InvalidSecretKey::Encoding };
    for error in [
        UnlockError::Halves { name: name() },
        UnlockError::Replaced { name: name(), place: "the variable KEY".to_owned() },
        UnlockError::Open { name: name(), source: OpenError::WrongPassphrase },
        UnlockError::Open { name: name(), source: broken },
    ] {
        texts.add(KeyError::Unlock(error));
    }
    texts.add(KeyError::Entropy(EntropyError { reason: reason() }));
    texts.add(KeyError::Exists { name: name() });
    texts.add(KeyError::Make(InvalidSecretKey::OutOfRange));
    texts.check("keys-and-passphrases");
}

#[test]
fn keys_of_other_programs() {
    let mut texts = Texts::default();
    let place = || "the variable KEY".to_owned();
    let key = |source: InvalidKeyFile| InvalidKeyText::Key { number: 1, count: 1, source };
    for reason in [
        InvalidKeyText::Base64OfNoKey,
        InvalidKeyText::Empty,
        InvalidKeyText::Neither,
        InvalidKeyText::NotOne { count: 2 },
        InvalidKeyText::TooLarge { limit: KeyText::LIMIT },
        InvalidKeyText::TooMany { limit: 256 },
        InvalidKeyText::Key { number: 2, count: 3, source: InvalidKeyFile::Truncated },
        key(InvalidKeyFile::Encryption { algorithm: "triple DES".to_owned() }),
        key(InvalidKeyFile::Headers),
        key(InvalidKeyFile::Iterations { found: 20_000_000, limit: 10_000_000 }),
        key(InvalidKeyFile::Label { found: "PUBLIC KEY".into() }),
        key(InvalidKeyFile::Label { found: "SECRET".into() }),
        key(InvalidKeyFile::Pkcs1 { bits: Some(2048) }),
        key(InvalidKeyFile::Pkcs1 { bits: None }),
        key(InvalidKeyFile::Structure),
        key(InvalidSecretKey::Rsa { bits: 1024 }.into()),
        key(InvalidSecretKey::Unsupported { algorithm: "ECDSA P-384".to_owned() }.into()),
    ] {
        texts.add(KeySourceError::Invalid { place: place(), reason });
    }
    for error in [
        KeySourceError::EmptyVariable { variable: "KEY".to_owned() },
        KeySourceError::NoFile { path: path(), found: "a named pipe" },
        KeySourceError::NoText { place: place() },
        KeySourceError::OpenToOthers { path: path(), mode: 0o644 },
        KeySourceError::Unreadable { path: path(), reason: reason() },
        KeySourceError::UnsetVariable { variable: "KEY".to_owned() },
    ] {
        texts.add(error);
    }
    texts.add(LoadError::NoRole {
        name: name(),
        fingerprint: fingerprint(1),
        repositories: vec![repository()],
    });
    for error in [
        ExportError::AnyRepository { role: RoleName::Root },
        ExportError::Exists { path: path() },
        ExportError::NoRepository { name: name(), role: RoleName::Targets },
        ExportError::NoRole { name: name() },
        ExportError::ServersRole,
        ExportError::Write { path: path(), reason: reason() },
    ] {
        texts.add(error);
    }
    texts.check("keys-of-other-programs");
}

#[test]
fn changes() {
    let mut texts = Texts::default();
    let verify = || DraftError::Verify(threshold());
    for error in [
        PublishError::Entropy(EntropyError { reason: reason() }),
        PublishError::NotConfirmed { repository: repository(), role: alice(), version: version(3) },
        PublishError::RootChange(RootChangeError::LastVersion),
        PublishError::Sign { role: alice(), source: verify() },
        PublishError::TooBusy { repository: repository(), rounds: 60 },
        PublishError::TooFewKeys(too_few()),
    ] {
        texts.add(SignError::Publish(error));
    }
    for error in [
        SignError::HashBins,
        SignError::LastVersion { role: alice() },
        SignError::Missing { role: alice() },
        SignError::NoReleases,
        SignError::NoSigner { tag: "1.0".to_owned(), unable: vec![] },
        SignError::NoSigner { tag: "1.0".to_owned(), unable: vec![too_few()] },
        SignError::NoTag { image: "reg.example.com/team/app".to_owned() },
        SignError::OtherDigest { asked: digest(1), found: digest(2) },
        SignError::OtherSize { asked: 10, found: 11 },
        SignError::OutOfScope { name: "alice".to_owned(), tag: "1.0".to_owned() },
        SignError::Platforms(NotAnIndex),
        SignError::PlatformsOffline,
        SignError::SeveralSigners { names: vec!["alice".to_owned(), "bob".to_owned()] },
        SignError::TooFewKeys(too_few()),
        SignError::UnknownSigner { name: signer() },
    ] {
        texts.add(error);
    }
    for error in [
        RevokeError::Already { tag: tag(), at: time() },
        RevokeError::HashBins,
        RevokeError::LastVersion { role: alice() },
        RevokeError::NoReleases,
        RevokeError::NotSigned { repository: repository(), tag: tag() },
    ] {
        texts.add(error);
    }
    texts.check("changes");
}

#[test]
fn beginnings_and_signers() {
    let mut texts = Texts::default();
    for error in [
        InitError::Exists { repository: repository() },
        InitError::NoKey { name: name() },
        InitError::LegacyRootKey { name: name().to_string() },
        InitError::OtherMode { scope: "reg.example.com/**".parse().unwrap(), mode: Mode::Legacy },
        InitError::OtherPin {
            scope: "reg.example.com/**".parse().unwrap(),
            source: SignatureError::NotPinned { found: digest(1) },
        },
        InitError::Pinned { repository: repository() },
        InitError::Root(RootEditError::DuplicateKey {
            role: TopLevelRole::Root,
            fingerprint: fingerprint(1),
        }),
        InitError::Sign { role: RoleName::Root, source: DraftError::Verify(threshold()) },
        InitError::Threshold { threshold: 3, keys: 2 },
    ] {
        texts.add(error);
    }
    let role = || "alice".parse().unwrap();
    for error in [
        SignerError::Edit(TargetsEditError::DuplicateKey { name: role(), fingerprint: fingerprint(1) }),
        SignerError::Enrolment(threshold()),
        SignerError::EnrolmentSize { limit: 5_000_000 },
        SignerError::EnrolmentVersion { found: version(1), wanted: version(2) },
        SignerError::Exists { name: signer() },
        SignerError::HashBins,
        SignerError::LastVersion,
        SignerError::LegacyName { name: "a.b".parse().unwrap() },
        SignerError::LegacyPattern { pattern: "v?*".parse().unwrap() },
        SignerError::NotEnrolled(too_few()),
        SignerError::TagsLeft { tags: vec!["1.0".to_owned(), "2.0".to_owned()] },
        SignerError::Threshold { threshold: 0, keys: 1 },
        SignerError::Unknown { name: signer() },
    ] {
        texts.add(error);
    }
    texts.check("beginnings-and-signers");
}

#[test]
fn settings_and_pins() {
    let mut texts = Texts::default();
    let scope = || "reg.example.com/team/**".parse().unwrap();
    for error in [
        PinsError::Exists { scope: scope() },
        PinsError::Invalid { path: path(), reason: "unknown field `pins`".to_owned() },
        PinsError::Io { action: "write", path: path(), reason: reason() },
        PinsError::Unknown { scope: scope() },
    ] {
        texts.add(error);
    }
    texts.add(BadThreshold { threshold: 3, keys: 2 });
    texts.add(InvalidConfig { path: path(), reason: "unknown field `sever`".to_owned() });
    texts.add(InvalidConnection::Certificates);
    texts.add(InvalidConnection::Tls { reason: reason() });
    texts.add(InvalidConnection::Token);
    texts.add(NoHome);
    texts.add(UnreadableCertificates { path: path(), reason: reason() });
    texts.check("settings-and-pins");
}

#[test]
fn denials_and_ends() {
    let mut texts = Texts::default();
    let denial = || {
        let (reason, revoked_by) = (Some("leaks".to_owned()), BTreeSet::new());
        Box::new(Denial { digest: digest(1), reason, revoked_at: Some(time()), revoked_by })
    };
    let by = vec![KeyHolder { key: fingerprint(1), roles: vec![RoleName::Targets] }];
    texts.add(SignError::Denied { denial: denial(), by });
    texts.add(SignError::Ended { name: "alice".to_owned(), ends: time() });
    for error in [
        RevokeError::AlreadyDenied { digest: digest(1), at: Some(time()) },
        RevokeError::DigestNotSigned { repository: repository(), digest: digest(1) },
        RevokeError::Legacy { repository: repository() },
        RevokeError::NoDenyList,
        RevokeError::NotDenied { repository: repository(), digest: digest(1) },
    ] {
        texts.add(error);
    }
    for error in [
        SignerError::CannotTakeOver(too_few()),
        SignerError::EnrolmentOutlives { expires: time(), ends: time() },
        SignerError::Over { ends: time() },
    ] {
        texts.add(error);
    }
    for error in [
        ChainError::Ended { role: alice(), ends: time() },
        ChainError::Outlives { role: alice(), expires: time(), ends: time() },
    ] {
        texts.add(VerifyError::Refresh(RefreshError::Chain(error)));
    }
    texts.check("denials-and-ends");
}
