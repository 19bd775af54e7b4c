//! One function per parser of what comes from outside. Each returns whether its parser took
//! the bytes, and panics when what it took breaks a promise: whatever was read can be
//! written, and reads the same again.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use bulla_keys_schema::attest::{
    self, Counts, Filters, Finding, Gate, Inventory, NoEvidence, ReportFormat, ScanSummary, Severity,
    VexDocument, database_made_at,
};
use bulla_keys_schema::backup::{Backup, Share, join};
use bulla_keys_schema::canonical::canonical;
use bulla_keys_schema::dialect::{Dialect, Document, Envelope, Signature, notary1, tuf1};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::json::{Json, Object};
use bulla_keys_schema::key::{
    Certificate, Fingerprint, KeyAlgorithm, KeyFile, KeyFileContent, KeyId, KeySidecar, KeyText, PublicKey,
    SealedKey, SecretKey,
};
use bulla_keys_schema::metadata;
use bulla_keys_schema::names::{ImageRef, PathPattern, RepositoryName, RoleName, TargetPath};
use bulla_keys_schema::policy::{AskedImage, Case, CheckId, Policy, Standing};
use bulla_keys_schema::request::{RequestExport, SignatureFile, SigningRequest};
use bulla_keys_schema::sigstore::{
    Attached, Bundle, Content, Descriptor, FallbackIndex, Found, Origin, Question, ReferrerManifest,
    SIMPLE_SIGNING, SigManifest, SimpleSigning,
};
use bulla_keys_schema::time::UtcTime;

/// A function of this room.
pub type Target = fn(&[u8]) -> bool;

/// All of them, by name.
pub const ALL: [(&str, Target); 49] = [
    ("attestation", attestation),
    ("backup", backup),
    ("backup_share", backup_share),
    ("bundle", bundle),
    ("certificate", certificate),
    ("database_metadata", database_metadata),
    ("dsse_envelope", dsse_envelope),
    ("envelope", envelope),
    ("file_name", file_name),
    ("image_ref", image_ref),
    ("in_toto_statement", in_toto_statement),
    ("inventory", inventory),
    ("json", json),
    ("key_file", key_file),
    ("key_ids", key_ids),
    ("key_sidecar", key_sidecar),
    ("notary_envelope", notary_envelope),
    ("notary_role", notary_role),
    ("notary_root", notary_root),
    ("notary_snapshot", notary_snapshot),
    ("notary_targets", notary_targets),
    ("notary_time", notary_time),
    ("notary_timestamp", notary_timestamp),
    ("path_pattern", path_pattern),
    ("policy", policy),
    ("public_key_pem", public_key_pem),
    ("public_key_raw", public_key_raw),
    ("public_key_spki", public_key_spki),
    ("repository_name", repository_name),
    ("root", root),
    ("scan_arguments", scan_arguments),
    ("scan_cosign_vuln", scan_cosign_vuln),
    ("scan_cyclonedx", scan_cyclonedx),
    ("scan_grype", scan_grype),
    ("scan_in_toto_vulns", scan_in_toto_vulns),
    ("scan_sarif", scan_sarif),
    ("scan_trivy", scan_trivy),
    ("sealed_key", sealed_key),
    ("secret_key_pkcs8", secret_key_pkcs8),
    ("sig_manifest", sig_manifest),
    ("signatures", signatures),
    ("signing_request", signing_request),
    ("signing_request_export", signing_request_export),
    ("simple_signing", simple_signing),
    ("snapshot", snapshot),
    ("targets", targets),
    ("timestamp", timestamp),
    ("utc_time", utc_time),
    ("vex_document", vex_document),
];

/// Strict JSON and its canonical form.
pub fn json(data: &[u8]) -> bool {
    let Ok(value) = Json::parse(data) else { return false };
    let again = Json::parse(&value.to_wire()).expect("the wire form is JSON");
    assert_eq!(again, value);
    assert_eq!(canonical(&again), canonical(&value));
    true
}

/// Cosign's predicate for vulnerabilities, and statements with it.
pub fn scan_cosign_vuln(data: &[u8]) -> bool {
    scan(ReportFormat::CosignVuln, data)
}

/// `CycloneDX` with vulnerabilities.
pub fn scan_cyclonedx(data: &[u8]) -> bool {
    scan(ReportFormat::CycloneDx, data)
}

/// Reports of Grype.
pub fn scan_grype(data: &[u8]) -> bool {
    scan(ReportFormat::Grype, data)
}

/// The vulnerability predicate of in-toto, and statements with it.
pub fn scan_in_toto_vulns(data: &[u8]) -> bool {
    scan(ReportFormat::InTotoVulns, data)
}

/// SARIF.
pub fn scan_sarif(data: &[u8]) -> bool {
    scan(ReportFormat::Sarif, data)
}

/// Reports of Trivy.
pub fn scan_trivy(data: &[u8]) -> bool {
    scan(ReportFormat::Trivy, data)
}

/// What is read as one format is read as no other, counts are those of the findings, and a gate with
/// an image takes no report that does not name it.
fn scan(format: ReportFormat, data: &[u8]) -> bool {
    let Ok(summary) = ScanSummary::read(data, Some(format)) else { return false };
    assert_eq!(summary.format, format);
    match ScanSummary::read(data, None) {
        Ok(other) => assert_eq!(other, summary),
        // An empty list alone is a predicate of in-toto only for whoever expects one.
        Err(_) => assert!(format == ReportFormat::InTotoVulns && summary.findings.is_empty()),
    }
    assert_eq!(Counts::by_finding(&summary.findings), summary.counts);
    let by_cve = summary.counts_by_cve();
    for severity in Severity::ALL {
        assert!(by_cve.of(severity) <= summary.counts.of(severity));
    }
    assert!(summary.findings.iter().all(|finding| finding.is_called(finding.identity())));
    let image = Sha256Digest::of(data);
    assert!(summary.findings.iter().all(|finding| !finding.id.is_empty()));
    let gate = Gate { image: Some(image), ..Gate::default() };
    let now = UtcTime::from_unix_seconds(0).expect("a moment");
    let judged = gate.judge(&summary, now);
    assert!(matches!(judged, Err(NoEvidence::NamesNoImage | NoEvidence::OtherImage { .. })));
    true
}

/// Declared arguments of scanners: more of them never hide less.
pub fn scan_arguments(data: &[u8]) -> bool {
    let Some(text) = text(data) else { return false };
    let mut is_clean = false;
    for scanner in ["trivy", "grype", "other"] {
        let filters = Filters::of_arguments(scanner, [text]);
        let hidden = Severity::ALL.map(|severity| filters.hides(severity));
        assert_eq!(filters.option().is_some(), hidden.contains(&true));
        // Behind a lone dash, nothing is the value of what stands before it.
        let more = Filters::of_arguments(scanner, [text, "- --only-fixed --ignore-unfixed"]);
        assert!(Severity::ALL.into_iter().all(|severity| more.hides(severity)));
        is_clean |= !hidden.contains(&true);
    }
    is_clean
}

/// An envelope: what was read can be written, and nobody signed what nobody's key verifies.
pub fn dsse_envelope(data: &[u8]) -> bool {
    let Ok(envelope) = attest::Envelope::parse(data.to_vec()) else { return false };
    assert_eq!(envelope.bytes(), data);
    assert!(envelope.verify([]).is_empty());
    let written = attest::Envelope::sign(envelope.payload_type(), envelope.payload(), &[]).expect("no key");
    let again = attest::Envelope::parse(written.bytes().clone()).expect("what is written can be read");
    assert_eq!((again.payload_type(), again.payload()), (envelope.payload_type(), envelope.payload()));
    true
}

/// A statement: written anew about its subject, it says the same.
pub fn in_toto_statement(data: &[u8]) -> bool {
    let Ok(statement) = attest::Statement::parse(data) else { return false };
    let subject = *statement.subjects().first().expect("a subject");
    let _ = attest::report_within(&statement);
    if let Ok(text) = attest::write_statement("n", subject, statement.predicate_type(), statement.predicate())
    {
        let again = attest::Statement::parse(&text).expect("what is written can be read");
        assert_eq!(again.subjects(), [subject]);
        assert_eq!(again.predicate_type(), statement.predicate_type());
        assert_eq!(again.predicate(), statement.predicate());
    }
    true
}

/// The payload of an attestation: what counts findings counts what it lists.
pub fn attestation(data: &[u8]) -> bool {
    let Ok(attestation) = attest::Attestation::read(data) else { return false };
    assert!(!attestation.subjects.is_empty());
    assert_eq!(attestation.kind == attest::Kind::Vulns, attestation.scan.is_some());
    assert_eq!(attestation.kind == attest::Kind::Other, attestation.predicate.is_some());
    true
}

/// Statements that take findings away: never in an image that the document does not name.
pub fn vex_document(data: &[u8]) -> bool {
    let Ok(document) = VexDocument::read(data) else { return false };
    let image = Sha256Digest::of(data);
    for statement in &document.statements {
        for name in &statement.names {
            let mut finding = Finding::new(name, Severity::High);
            finding.purl = Some("pkg:deb/debian/openssl@1".to_owned());
            assert!(!document.covers(&finding, &image));
        }
    }
    true
}

/// Lists of what is in an image.
pub fn inventory(data: &[u8]) -> bool {
    Inventory::read(data).is_ok_and(|inventory| {
        assert!(inventory.components > 0);
        assert!(matches!(inventory.format, ReportFormat::CycloneDx | ReportFormat::Spdx));
        true
    })
}

/// What lies beside Trivy's database.
pub fn database_metadata(data: &[u8]) -> bool {
    database_made_at(data).is_ok()
}

/// The envelope around every metadata document.
pub fn envelope(data: &[u8]) -> bool {
    envelope_in(Dialect::Tuf1, data)
}

/// The same in Notary's dialect, where signatures say how they were made.
pub fn notary_envelope(data: &[u8]) -> bool {
    envelope_in(Dialect::Notary1, data)
}

/// Root documents.
pub fn root(data: &[u8]) -> bool {
    document::<metadata::Root>(Dialect::Tuf1, data)
}

/// Targets documents, delegated ones too.
pub fn targets(data: &[u8]) -> bool {
    document::<metadata::Targets>(Dialect::Tuf1, data)
}

/// Snapshot documents.
pub fn snapshot(data: &[u8]) -> bool {
    document::<metadata::Snapshot>(Dialect::Tuf1, data)
}

/// Timestamp documents.
pub fn timestamp(data: &[u8]) -> bool {
    document::<metadata::Timestamp>(Dialect::Tuf1, data)
}

/// Root documents of Notary, with their certificates.
pub fn notary_root(data: &[u8]) -> bool {
    document::<metadata::Root>(Dialect::Notary1, data)
}

/// Targets documents of Notary, and the version that an unverified one claims.
pub fn notary_targets(data: &[u8]) -> bool {
    let accepted = document::<metadata::Targets>(Dialect::Notary1, data);
    if let Ok(version) = notary1::claimed_version(data) {
        assert!(accepted, "{version} is claimed by no document");
    }
    accepted
}

/// Snapshot documents of Notary.
pub fn notary_snapshot(data: &[u8]) -> bool {
    document::<metadata::Snapshot>(Dialect::Notary1, data)
}

/// Timestamp documents of Notary.
pub fn notary_timestamp(data: &[u8]) -> bool {
    document::<metadata::Timestamp>(Dialect::Notary1, data)
}

/// Names of Notary's roles, two of them after each other: no two may become one.
pub fn notary_role(data: &[u8]) -> bool {
    let Some((first, second)) = text(data).and_then(|text| text.split_once('\n')) else { return false };
    let [one, other] = [first, second].map(|wire| {
        let role = notary1::role_from_wire(wire)?;
        assert_eq!(notary1::role_to_wire(&role), wire);
        // What a name becomes never leads out of a folder.
        assert!(!wire.split('/').any(|part| matches!(part, "" | "." | "..")), "{wire}");
        if let RoleName::Delegated(name) = &role {
            assert!(!notary1::is_direct_child(&role, name), "{wire}");
        }
        Some(role)
    });
    assert!(one.is_none() || (one == other) == (first == second), "{first} {second}");
    one.is_some()
}

/// Dates of Notary, in any zone.
pub fn notary_time(data: &[u8]) -> bool {
    let Some(Ok(time)) = text(data).map(UtcTime::parse_rfc3339) else { return false };
    let whole = UtcTime::parse_rfc3339(&time.to_string()).expect("a written date");
    if time.unix_seconds() >= 0 {
        assert_eq!(whole.unix_seconds(), time.unix_seconds());
    }
    true
}

/// Certificates of root keys, and of those in delegations, which are read less strictly.
pub fn certificate(data: &[u8]) -> bool {
    let Some(text) = text(data) else { return false };
    let Ok(lenient) = Certificate::from_delegation_pem(text) else {
        assert!(Certificate::from_pem_bundle(text).is_err(), "strict and not lenient");
        return false;
    };
    assert_eq!(lenient.pem(), text);
    assert!(lenient.not_before() <= lenient.not_after());
    let key = lenient.public_key();
    assert_eq!(PublicKey::from_spki_der(key.to_spki_der()).as_ref(), Ok(key));
    if let Ok(strict) = Certificate::from_pem_bundle(text) {
        assert_eq!(strict, lenient);
        assert!(!strict.common_name().is_empty());
        assert_eq!(notary1::certificate_key_id(&strict), notary1::certificate_key_id(&lenient));
    }
    true
}

/// Key files of other programs, as far as they are read without a passphrase.
pub fn key_file(data: &[u8]) -> bool {
    let Some(Ok(KeyText { keys, .. })) = text(data).map(KeyText::parse) else { return false };
    let Some(Ok(file)) = text(data).map(KeyFile::parse) else { return true };
    assert_eq!(keys.len(), 1);
    if let KeyFileContent::Open(key) = &file.content {
        assert_eq!(key.public_key().verify(data, &key.sign(data)), Ok(()));
    }
    true
}

/// Names of metadata files in URLs.
pub fn file_name(data: &[u8]) -> bool {
    let Some((version, role)) = text(data).and_then(tuf1::parse_file_name) else { return false };
    if let Some(version) = version.filter(|_| role != RoleName::Timestamp) {
        let written = tuf1::file_name(&role, version, true);
        assert!(!written.contains(['/', '\\']), "{written}");
        assert_eq!(tuf1::parse_file_name(&written), Some((Some(version), role)));
    }
    true
}

/// Key files with a passphrase, as far as they are read without it.
pub fn sealed_key(data: &[u8]) -> bool {
    let Some(Ok(sealed)) = text(data).map(SealedKey::parse) else { return false };
    assert_eq!(SealedKey::parse(&sealed.to_pem()).as_ref(), Ok(&sealed));
    true
}

/// What is found inside of sealed keys.
pub fn secret_key_pkcs8(data: &[u8]) -> bool {
    let Ok(key) = SecretKey::from_pkcs8_der(data) else { return false };
    assert_eq!(key.public_key().verify(data, &key.sign(data)), Ok(()));
    let again = SecretKey::from_pkcs8_der(&key.to_pkcs8_der()).expect("a written key");
    assert_eq!(again.public_key(), key.public_key());
    true
}

/// What is found inside of a backup.
pub fn backup(data: &[u8]) -> bool {
    let Ok(backup) = Backup::parse(data) else { return false };
    // Indented, it may be larger than what was read.
    if let Ok(written) = backup.to_bytes() {
        assert_eq!(Backup::parse(&written).as_ref(), Ok(&backup));
    }
    for key in &backup.keys {
        assert_eq!(key.sidecar.fingerprint, key.public.fingerprint());
        let name = key.sidecar.name.as_str();
        assert!(!name.contains(['/', '\\']) && !name.starts_with('.'), "{name}");
    }
    true
}

/// Shares of the secret of a backup, one or two after each other.
pub fn backup_share(data: &[u8]) -> bool {
    let Some(text) = text(data) else { return false };
    let shares: Vec<Share> = text.split("\n\n").filter_map(|text| Share::parse(text).ok()).take(4).collect();
    for share in &shares {
        let written = share.to_text();
        assert!(Share::parse(&written).is_ok_and(|again| *again.to_text() == *written));
        assert!((1..=share.split().count()).contains(&share.index()));
    }
    // Whether they fit is up to the bytes. That it answers is what counts.
    let _ = join(&shares);
    !shares.is_empty()
}

/// Descriptions of key files.
pub fn key_sidecar(data: &[u8]) -> bool {
    let Ok(sidecar) = KeySidecar::parse(data) else { return false };
    let written = sidecar.to_bytes();
    let again = KeySidecar::parse(&written).expect("a written description");
    assert_eq!(again.to_bytes(), written);
    true
}

/// Signing requests. One that can be opened can also be shown, and holds together when signed.
pub fn signing_request(data: &[u8]) -> bool {
    let Ok(request) = SigningRequest::parse(data) else { return false };
    let again = SigningRequest::parse(&request.to_bytes()).expect("a written request");
    assert_eq!(again, request);
    let (repository, made) = (request.repository.clone(), request.created_at);
    if let Ok(open) = request.open(&repository, None, made) {
        let (status, diff) = (open.status(), open.diff());
        assert_eq!(status.documents.len(), diff.roles.len());
        assert_eq!(open.submission().is_some(), status.is_complete());
    }
    true
}

/// Signing requests with the documents that are needed to judge them.
pub fn signing_request_export(data: &[u8]) -> bool {
    let Ok(export) = RequestExport::parse(data) else { return false };
    assert_eq!(RequestExport::parse(&export.to_bytes()), Ok(export));
    true
}

/// Files of signatures.
pub fn signatures(data: &[u8]) -> bool {
    let Ok(file) = SignatureFile::parse(data) else { return false };
    assert_eq!(SignatureFile::parse(&file.to_bytes()), Ok(file));
    true
}

/// Bundles of Sigstore. Nobody's key has signed what the fuzzer makes up.
pub fn bundle(data: &[u8]) -> bool {
    let seed = [7; 32].into();
    let key = SecretKey::from_seed(KeyAlgorithm::EcdsaP256, &seed).expect("a key");
    let image = Sha256Digest::of(b"an image");
    let repository: RepositoryName = "a.example.com/b".parse().expect("a name");
    let question = Question::new(&repository, image, &[key.public_key().clone()], 1).expect("a question");
    let found = Found { origin: Origin::Referrer(image), content: Content::Bundle(data.to_vec().into()) };
    assert!(!question.judge(&[found]).holds());

    let Ok(bundle) = Bundle::parse(data) else { return false };
    let Bundle::Envelope(envelope) = bundle else { return true };
    let written = Bundle::write(&envelope, key.public_key()).expect("one signature");
    let Ok(Bundle::Envelope(again)) = Bundle::parse(&written) else { panic!("a written bundle") };
    assert_eq!(again.payload(), envelope.payload());
    assert_eq!(again.payload_type(), envelope.payload_type());
    assert_eq!(again.signatures(), envelope.signatures());
    true
}

/// Manifests and indexes beside an image. What is added leaves everything else as it was.
pub fn sig_manifest(data: &[u8]) -> bool {
    let entry = Descriptor::of(SIMPLE_SIGNING, data).annotate("a", "b");
    let manifest = SigManifest::parse(data);
    if let Ok(mut manifest) = manifest.clone() {
        let before = manifest.layers().to_vec();
        if manifest.append(entry.clone()).is_ok() {
            let again = SigManifest::parse(&manifest.to_bytes()).expect("a written manifest");
            assert_eq!(again.layers(), [&before[..], std::slice::from_ref(&entry)].concat());
            assert_eq!(again.unreadable(), manifest.unreadable());
        }
    }
    let index = FallbackIndex::parse(data);
    if let Ok(mut index) = index.clone() {
        let before = index.entries().len();
        if let Ok(added) = index.append(entry) {
            let again = FallbackIndex::parse(&index.to_bytes()).expect("a written index");
            assert_eq!(again.entries().len(), before + usize::from(added));
        }
    }
    let referrer = ReferrerManifest::parse(data);
    if let Ok(referrer) = &referrer {
        assert_eq!(referrer.to_bytes(), data);
        assert_eq!(referrer.entry().digest, Sha256Digest::of(data));
        assert!(Attached::Signatures.tag(referrer.entry().digest).as_str().ends_with(".sig"));
    }
    manifest.is_ok() || index.is_ok() || referrer.is_ok()
}

/// Payloads of simple signing.
pub fn simple_signing(data: &[u8]) -> bool {
    let Ok(payload) = SimpleSigning::parse(data) else { return false };
    assert_eq!(SimpleSigning::parse(&payload.to_bytes()).as_ref(), Ok(&payload));
    if let Some(repository) = payload.repository() {
        assert!(!repository.as_str().split('/').any(|part| matches!(part, "" | "." | "..")));
    }
    true
}

/// Public keys in DER.
pub fn public_key_spki(data: &[u8]) -> bool {
    PublicKey::from_spki_der(data).is_ok_and(|key| public_key(&key, data))
}

/// Public keys in PEM.
pub fn public_key_pem(data: &[u8]) -> bool {
    let key = text(data).map(PublicKey::from_pem);
    key.is_some_and(|key| key.is_ok_and(|key| public_key(&key, data)))
}

/// Public keys as bare points, and signatures by them.
pub fn public_key_raw(data: &[u8]) -> bool {
    let (point, signature) = data.split_at(data.len().min(65));
    let ed25519 = data.first_chunk().map(PublicKey::from_ed25519_bytes);
    let compressed = data.first_chunk::<33>().map(|point| PublicKey::from_p256_sec1(point));
    let keys = [ed25519, compressed, Some(PublicKey::from_p256_sec1(point))];
    let accepted = keys.into_iter().flatten().flatten();
    accepted.filter(|key| public_key(key, signature)).count() > 0
}

/// Identifiers of keys.
pub fn key_ids(data: &[u8]) -> bool {
    let parsed =
        [round_trip::<KeyId>(data), round_trip::<Fingerprint>(data), round_trip::<KeyAlgorithm>(data)];
    parsed.contains(&true)
}

/// Image references as people type them.
pub fn image_ref(data: &[u8]) -> bool {
    round_trip::<ImageRef>(data)
}

/// Names of repositories, which become paths.
pub fn repository_name(data: &[u8]) -> bool {
    let accepted = round_trip::<RepositoryName>(data);
    if let Some(name) = text(data).filter(|_| accepted) {
        assert!(!name.split('/').any(|part| matches!(part, "" | "." | "..")), "{name}");
    }
    accepted
}

/// Dates.
pub fn utc_time(data: &[u8]) -> bool {
    let Some(Ok(time)) = text(data).map(str::parse::<UtcTime>) else { return false };
    let whole: UtcTime = time.to_string().parse().expect("a written date");
    // Before 1970 a fraction is dropped to either side, and nothing was signed.
    if time.unix_seconds() >= 0 {
        assert_eq!(whole.unix_seconds(), time.unix_seconds());
    }
    assert!(time.plus_seconds(i64::MIN) <= time.plus_seconds(i64::MAX));
    true
}

/// Patterns, and paths that follow them after a line feed.
pub fn path_pattern(data: &[u8]) -> bool {
    let Some((pattern, path)) = text(data).and_then(|text| text.split_once('\n')) else { return false };
    let (Ok(pattern), Ok(path)) = (pattern.parse::<PathPattern>(), path.parse::<TargetPath>()) else {
        return false;
    };
    if pattern.matches(&path) {
        let parts = |text: &str| text.split('/').count();
        assert_eq!(parts(pattern.as_str()), parts(path.as_str()), "{pattern} {path}");
    }
    true
}

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

fn round_trip<T: FromStr + Display + PartialEq + Debug>(data: &[u8]) -> bool {
    let Some(Ok(value)) = text(data).map(T::from_str) else { return false };
    let again = T::from_str(&value.to_string()).ok().expect("what was written can be read");
    assert_eq!(again, value);
    true
}

fn public_key(key: &PublicKey, signature: &[u8]) -> bool {
    assert_eq!(PublicKey::from_spki_der(key.to_spki_der()).as_ref(), Ok(key));
    assert_eq!(PublicKey::from_pem(&key.to_pem()).map(|key| key.fingerprint()), Ok(key.fingerprint()));
    // Whether it verifies is up to the bytes. That it answers is what counts.
    let _ = key.verify(b"message", signature);
    true
}

fn signed_member(data: &[u8]) -> Option<Object> {
    Json::parse(data).ok()?.as_object()?.get("signed")?.as_object().cloned()
}

fn envelope_in(dialect: Dialect, data: &[u8]) -> bool {
    let Ok(envelope) = Envelope::parse(dialect, data) else { return false };
    let signed = signed_member(data).expect("an envelope has a signed object");
    assert_eq!(envelope.signed_bytes(), canonical(&Json::Object(signed.clone())));
    // In Notary's dialect, what is no signature cannot be told from another one.
    let is_kept = |signature: &&Signature| {
        dialect == Dialect::Tuf1 || (signature.algorithm.is_some() && !signature.bytes.is_empty())
    };
    let signatures: Vec<_> = envelope.signatures().iter().filter(is_kept).cloned().collect();
    let written = Envelope::write(dialect, signed, &signatures);
    let again = Envelope::parse(dialect, &written).expect("a written envelope");
    assert_eq!(again.signed_bytes(), envelope.signed_bytes());
    assert_eq!(again.signatures(), signatures);
    true
}

fn document<D: Document>(dialect: Dialect, data: &[u8]) -> bool {
    let Some(Ok(document)) = signed_member(data).map(|mut signed| D::decode(dialect, &mut signed)) else {
        return false;
    };
    let written = document.encode(dialect);
    let again = D::decode(dialect, &mut written.clone()).expect("a written document");
    assert_eq!(again.encode(dialect), written);
    assert_eq!(again.version(), document.version());
    true
}

/// Policies in TOML and JSON. Whatever is one refuses a digest that was taken back, and says the same
/// twice.
pub fn policy(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(policy) = Policy::parse(text) else { return false };
    let now = UtcTime::from_unix_seconds(1_893_456_000).expect("a moment");
    for name in ["r.io/a", "r.io/a/b", "docker.io/library/alpine", "localhost:5000/x"] {
        let case = Case {
            image: AskedImage {
                repository: name.parse().expect("a name"),
                tag: None,
                digest: None,
                platform: None,
            },
            standing: Standing::Refused {
                check: CheckId::RevokedDigest,
                message: String::new(),
                digest: None,
            },
            facts: None,
            attestations: Vec::new(),
            first_seen: std::collections::BTreeMap::new(),
        };
        let verdict = policy.evaluate(&case, now);
        assert!(!verdict.is_allowed(), "a revoked digest passes");
        assert_eq!(verdict, policy.evaluate(&case, now));
    }
    assert_eq!(Policy::parse(text).as_ref(), Ok(&policy));
    true
}
