//! A signed statement about an image, read: of which kind, of which images, and what it says.

use std::collections::BTreeSet;

use serde_json::Value;

use super::statement::Members;
use super::{
    Envelope, IN_TOTO, ImageIdentity, InvalidReport, InvalidStatement, Inventory, Kind, ReportFormat,
    ScanSummary, Statement, Unfit, VexDocument, tree,
};
use crate::digest::Sha256Digest;
use crate::json::shown;
use crate::key::{Fingerprint, PublicKey};
use crate::time::UtcTime;

/// Cosign's predicate with the report of a scanner in it.
pub(super) const COSIGN_VULN: &str = "https://cosign.sigstore.dev/attestation/vuln/v1";
/// The same in the spelling of older programs.
const OLD_COSIGN_VULN: &str = "cosign.sigstore.dev/attestation/vuln/v1";
/// The neutral predicate for vulnerabilities.
pub(super) const IN_TOTO_VULNS: &str = "https://in-toto.io/attestation/vulns/v0.2";
/// Its first version.
const OLD_IN_TOTO_VULNS: &str = "https://in-toto.io/attestation/vulns/v0.1";
/// A document in `CycloneDX`.
pub(super) const CYCLONEDX: &str = "https://cyclonedx.org/bom";
/// A document in SPDX.
pub(super) const SPDX: &str = "https://spdx.dev/Document";
/// A document in `OpenVEX`.
pub(super) const OPENVEX: &str = "https://openvex.dev/ns";

/// What an attestation says. Whether to believe it is another question.
#[derive(Clone, Debug)]
pub struct Attestation {
    /// Its kind, by its content.
    pub kind: Kind,
    /// The URI of its type.
    pub predicate_type: String,
    /// The images that it is about.
    pub subjects: Vec<Sha256Digest>,
    /// When the scan was made, or the document written, if it says so.
    pub scanned_at: Option<UtcTime>,
    /// Of when the scanner's database is, if it says so.
    pub database_at: Option<UtcTime>,
    /// What the scanner found: of [`Kind::Vulns`], and of no other.
    pub scan: Option<ScanSummary>,
    /// The arguments of the scanner, if somebody declared them.
    pub arguments: Option<Vec<String>>,
    /// What somebody says of findings: of [`Kind::Vex`], and of no other.
    pub vex: Option<VexDocument>,
    /// What the image consists of: of [`Kind::Sbom`], and of a `CycloneDX` document with
    /// vulnerabilities, which is of [`Kind::Vulns`].
    pub inventory: Option<Inventory>,
    /// The predicate: of [`Kind::Other`], and of no other.
    pub predicate: Option<Value>,
}

impl Attestation {
    /// Reads the payload of an envelope.
    ///
    /// # Errors
    /// No statement, or a predicate that the reader of its type refuses: that is never an attestation
    /// without findings.
    pub fn read(payload: &[u8]) -> Result<Self, InvalidAttestation> {
        let statement = Statement::parse(payload)?;
        let mut attestation = Self {
            kind: Kind::Other,
            predicate_type: statement.predicate_type().to_owned(),
            subjects: statement.subjects().to_vec(),
            scanned_at: None,
            database_at: None,
            scan: None,
            arguments: None,
            vex: None,
            inventory: None,
            predicate: None,
        };
        let predicate = statement.predicate().as_bytes();
        match format(statement.predicate_type()) {
            Some(format @ (ReportFormat::CosignVuln | ReportFormat::InTotoVulns)) => {
                require_bare(predicate)?;
                attestation.set_scan(ScanSummary::read(predicate, Some(format))?);
                attestation.arguments = arguments(predicate);
            }
            Some(ReportFormat::CycloneDx) => attestation.set_cyclonedx(predicate)?,
            Some(ReportFormat::OpenVex) => {
                let vex = VexDocument::read(predicate)?;
                attestation.kind = Kind::Vex;
                attestation.scanned_at = vex.issued_at;
                attestation.vex = Some(vex);
            }
            Some(_) => attestation.set_inventory(Inventory::read(predicate)?),
            None => attestation.predicate = Some(tree::parse(predicate)?),
        }
        Ok(attestation)
    }

    /// Whether predicates of this type are read. Of any other it is known only that it was signed.
    pub(crate) fn is_read(predicate_type: &str) -> bool {
        format(predicate_type).is_some()
    }

    /// Reads an envelope that one of `keys` has signed, and says which of them did.
    ///
    /// # Errors
    /// No envelope of a statement, none of the keys signed it, or as for [`Self::read`].
    pub fn open<'k>(
        envelope: &Envelope,
        keys: impl IntoIterator<Item = &'k PublicKey>,
    ) -> Result<(Self, BTreeSet<Fingerprint>), InvalidAttestation> {
        if envelope.payload_type() != IN_TOTO {
            return Err(InvalidAttestation::PayloadType { found: shown(envelope.payload_type()) });
        }
        let signed_by = envelope.verify(keys);
        if signed_by.is_empty() {
            return Err(InvalidAttestation::NotSigned);
        }
        Ok((Self::read(envelope.payload())?, signed_by))
    }

    /// Whether it is about `digest`.
    #[must_use]
    pub fn is_of(&self, digest: &Sha256Digest) -> bool {
        self.subjects.contains(digest)
    }

    /// Whether the scan or the list in it names no image itself: only whoever signed it says then
    /// which one it is of.
    #[must_use]
    pub fn is_unbound(&self) -> bool {
        match (&self.scan, &self.inventory) {
            (Some(scan), _) => scan.subjects.is_empty(),
            (None, Some(inventory)) => inventory.subject.is_empty(),
            (None, None) => false,
        }
    }

    /// Whether options of the scanner may have left findings out and nobody said which it was run with:
    /// the predicate has a place for them, and the report in it does not tell.
    #[must_use]
    pub fn is_undeclared(&self) -> bool {
        let tells = |scan: &ScanSummary| scan.declared.is_some() || scan.records_filters();
        let has_place = matches!(self.predicate_type.as_str(), COSIGN_VULN | OLD_COSIGN_VULN);
        has_place && self.scan.as_ref().is_some_and(|scan| !tells(scan))
    }

    /// Whether the scan or the list in it is of another image than `image`, whatever the statement
    /// around it says: tools other than ours wrap a report without a look at it.
    #[must_use]
    pub fn is_of_another(&self, image: &ImageIdentity) -> bool {
        let scanned = self.scan.iter().flat_map(|scan| &scan.subjects);
        let listed = self.inventory.iter().map(|inventory| &inventory.subject);
        scanned.chain(listed).any(|claim| claim.is_of_another(image))
    }

    fn set_scan(&mut self, scan: ScanSummary) {
        self.kind = Kind::Vulns;
        self.scanned_at = scan.scanned_at;
        self.database_at = scan.database_at;
        self.scan = Some(scan);
    }

    fn set_inventory(&mut self, inventory: Inventory) {
        self.kind = Kind::Sbom;
        self.scanned_at = inventory.created_at;
        self.inventory = Some(inventory);
    }

    /// A list, vulnerabilities, or both: one without vulnerabilities is no scan.
    fn set_cyclonedx(&mut self, document: &[u8]) -> Result<(), InvalidReport> {
        match ScanSummary::read(document, Some(ReportFormat::CycloneDx)) {
            Ok(scan) => {
                self.inventory = Inventory::read(document).ok();
                self.set_scan(scan);
            }
            Err(InvalidReport::Unfit(Unfit::NoVulnerabilities { .. })) => {
                self.set_inventory(Inventory::read(document)?);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// How predicates of this type are written, if their reader is here.
fn format(predicate_type: &str) -> Option<ReportFormat> {
    match predicate_type {
        COSIGN_VULN | OLD_COSIGN_VULN => Some(ReportFormat::CosignVuln),
        IN_TOTO_VULNS | OLD_IN_TOTO_VULNS => Some(ReportFormat::InTotoVulns),
        uri if is_version_of(uri, CYCLONEDX) => Some(ReportFormat::CycloneDx),
        uri if is_version_of(uri, SPDX) => Some(ReportFormat::Spdx),
        uri if is_version_of(uri, OPENVEX) => Some(ReportFormat::OpenVex),
        _ => None,
    }
}

/// Types are written with a version behind them and without.
fn is_version_of(uri: &str, kind: &str) -> bool {
    uri.strip_prefix(kind).is_some_and(|rest| rest.is_empty() || rest.starts_with("/v"))
}

/// A statement in the place of a predicate is about images of its own, and what stands beside it is
/// read by nobody here.
fn require_bare(predicate: &[u8]) -> Result<(), InvalidReport> {
    let within = Members::parse(predicate).and_then(|members| members.get("_type"));
    let fault = || InvalidReport::Member {
        at: "the predicate".to_owned(),
        expected: "one without a statement in it",
    };
    within.map_or(Ok(()), |_| Err(fault()))
}

/// What was declared of the scanner's arguments, in the words it was declared in.
fn arguments(predicate: &[u8]) -> Option<Vec<String>> {
    let invocation = Members::parse(predicate)?.get("invocation")?;
    let parameters = Members::parse(invocation.get().as_bytes())?.get("parameters")?;
    serde_json::from_str(parameters.get()).ok()
}

/// Why there is no attestation that could be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAttestation {
    /// None of the keys that may sign has signed it.
    #[error("no key of the role has signed the envelope")]
    NotSigned,
    /// An envelope of something else.
    #[error("the envelope holds {found}, no in-toto statement")]
    PayloadType {
        /// What it says it holds.
        found: String,
    },
    /// What it says cannot be read.
    #[error(transparent)]
    Report(#[from] InvalidReport),
    /// No statement.
    #[error(transparent)]
    Statement(#[from] InvalidStatement),
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::attest::write_statement;
    use crate::key::{KeyAlgorithm, SecretKey};

    fn digest() -> Sha256Digest {
        Sha256Digest::of(b"image")
    }

    fn read(uri: &str, predicate: &str) -> Result<Attestation, InvalidAttestation> {
        Attestation::read(&write_statement("n", digest(), uri, predicate).unwrap())
    }

    #[test]
    fn an_empty_predicate_is_never_a_scan_without_findings() {
        // What cosign makes of a report that it does not know.
        let empty = r#"{"invocation":{"parameters":null,"uri":"","event_id":"","builder.id":""},
            "scanner":{"uri":"","version":"","db":{"uri":"","version":""},"result":null},
            "metadata":{"scanStartedOn":"0001-01-01T00:00:00Z","scanFinishedOn":"0001-01-01T00:00:00Z"}}"#;
        for (uri, predicate) in [
            (COSIGN_VULN, empty),
            (OLD_COSIGN_VULN, empty),
            (COSIGN_VULN, "{}"),
            (COSIGN_VULN, r#"{"scanner":{"result":{}}}"#),
            (IN_TOTO_VULNS, "{}"),
            (CYCLONEDX, "{}"),
            (CYCLONEDX, r#"{"bomFormat":"CycloneDX","specVersion":"1.5"}"#),
            (SPDX, "{}"),
            (OPENVEX, "{}"),
        ] {
            assert!(read(uri, predicate).is_err(), "{uri} {predicate}");
        }
    }

    #[test]
    fn what_nobody_knows_is_kept_as_it_is() {
        for uri in ["https://example.com/t/v1", "https://cyclonedx.org/bomb", "https://openvex.dev/nsx/v1"] {
            let attestation = read(uri, r#"{"result":{"fail":0}}"#).unwrap();
            assert_eq!(attestation.kind, Kind::Other);
            assert_eq!(attestation.predicate.as_ref().unwrap().pointer("/result/fail"), Some(&0.into()));
            assert!(attestation.scan.is_none() && attestation.is_of_image_only());
        }
    }

    impl Attestation {
        fn is_of_image_only(&self) -> bool {
            self.subjects == [digest()] && self.is_of(&digest()) && !self.is_of(&Sha256Digest::of(b"other"))
        }
    }

    #[test]
    fn only_what_a_key_signed_is_read() {
        let key = |seed| SecretKey::from_seed(KeyAlgorithm::EcdsaP256, &Zeroizing::new([seed; 32])).unwrap();
        let payload = write_statement("n", digest(), "https://example.com/t", "{\"a\":1}").unwrap();
        let envelope = Envelope::sign(IN_TOTO, &payload, &[&key(1)]).unwrap();
        let open = |envelope: &Envelope, seed| {
            Attestation::open(envelope, [key(seed).public_key()]).map(|(attestation, _)| attestation.kind)
        };
        assert_eq!(open(&envelope, 1), Ok(Kind::Other));
        assert_eq!(open(&envelope, 2), Err(InvalidAttestation::NotSigned));
        let other = Envelope::sign("text/plain", &payload, &[&key(1)]).unwrap();
        assert!(matches!(open(&other, 1), Err(InvalidAttestation::PayloadType { .. })));
    }
}
