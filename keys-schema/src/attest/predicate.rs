//! Predicates: a report in the shape in which other tools look for it. Its own bytes go in as they
//! are: numbers that are written anew change, and so would what is counted.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::attestation::{COSIGN_VULN, CYCLONEDX, IN_TOTO_VULNS, OPENVEX, SPDX};
use super::statement::{Members, quoted};
use super::{
    Attestation, Filtered, ImageIdentity, InvalidAttestation, InvalidReport, Inventory, Kind, ReportFormat,
    ScanSummary, Statement, Unfit, VexDocument, tree, write_statement,
};
use crate::digest::Sha256Digest;
use crate::limits::ENVELOPE_BYTES;
use crate::time::UtcTime;

/// Cosign's type for anything, whose predicate is a text and a time.
const CUSTOM: &str = "https://cosign.sigstore.dev/attestation/v1";
/// What cosign takes for the signature of the image itself: nothing else may be said under this name.
const IMAGE_SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";
/// How Go writes a moment that nobody set. Cosign wants one to be there, and no reader takes it for one.
const NO_TIME: &str = "0001-01-01T00:00:00Z";
/// What an envelope needs besides its payload, with the longest signature.
const AROUND: usize = 1024;

/// What somebody says of a report that the report does not say itself.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// The arguments that the scanner was run with, in one text.
    pub arguments: Option<String>,
    /// Of when the scanner's database is.
    pub database_at: Option<UtcTime>,
}

/// What is said of an image.
#[derive(Clone, Debug)]
pub struct Predicate {
    uri: String,
    text: String,
    /// What the report itself says it is of.
    names: Names,
}

#[derive(Clone, Debug)]
enum Names {
    Scan(Box<ScanSummary>),
    Inventory(Inventory),
    Vex(VexDocument),
    Nothing,
}

/// What a report says about the image that it is to be attested for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// It is of this image.
    Bound,
    /// It names no image.
    Unbound,
    /// It is of another one.
    OtherImage,
}

impl Predicate {
    /// Wraps the report of a scanner, a list, or statements about findings, as the tool wrote it. The
    /// type is recognised by the content, and is the `expected` one if there is one.
    ///
    /// # Errors
    /// What the reader of the format refuses, or something is declared that there is no place for.
    pub fn of_report(
        report: &[u8],
        expected: Option<ReportFormat>,
        declared: &Declared,
    ) -> Result<Self, InvalidPredicate> {
        let format = match expected {
            Some(format) => format,
            None => ReportFormat::recognise(&tree::parse(report)?)?,
        };
        let says_more = declared.arguments.is_some() || declared.database_at.is_some();
        let is_bare = matches!(format, ReportFormat::Trivy | ReportFormat::Grype | ReportFormat::Sarif);
        if says_more && !is_bare {
            return Err(InvalidPredicate::NoPlace { format });
        }
        let text = str::from_utf8(report).map_err(|_| InvalidPredicate::NotText)?.trim();
        let verbatim = |uri: &str, names| Self { uri: uri.to_owned(), text: text.to_owned(), names };
        Ok(match format {
            ReportFormat::Trivy | ReportFormat::Grype | ReportFormat::Sarif => {
                let scan = ScanSummary::read(report, Some(format))?;
                let text = cosign_vuln(format, &scan, text, declared);
                Self { uri: COSIGN_VULN.to_owned(), text, names: Names::Scan(Box::new(scan)) }
            }
            ReportFormat::CosignVuln | ReportFormat::InTotoVulns => {
                let scan = ScanSummary::read(report, Some(format))?;
                let (uri, text) = unwrapped(format, text)?;
                Self { uri, text, names: Names::Scan(Box::new(scan)) }
            }
            ReportFormat::CycloneDx => match Inventory::read(report) {
                Err(InvalidReport::Unfit(Unfit::EmptyInventory)) => {
                    let scan = ScanSummary::read(report, Some(format))?;
                    verbatim(CYCLONEDX, Names::Scan(Box::new(scan)))
                }
                inventory => verbatim(CYCLONEDX, Names::Inventory(inventory?)),
            },
            ReportFormat::Spdx => verbatim(SPDX, Names::Inventory(Inventory::read(report)?)),
            ReportFormat::OpenVex => verbatim(OPENVEX, Names::Vex(VexDocument::read(report)?)),
        })
    }

    /// Anything else: a JSON object under a type of its own, or under cosign's type a text, at `now`.
    ///
    /// # Errors
    /// Nothing, no JSON object, no text, or a type that something else is said under.
    pub fn custom(content: &[u8], uri: Option<&str>, now: UtcTime) -> Result<Self, InvalidPredicate> {
        let text = str::from_utf8(content).map_err(|_| InvalidPredicate::NotText)?.trim();
        if text.is_empty() {
            return Err(InvalidPredicate::Empty);
        }
        let Some(uri) = uri.filter(|uri| *uri != CUSTOM) else {
            let text = format!(r#"{{"Data":{},"Timestamp":"{now}"}}"#, quoted(text));
            return Ok(Self { uri: CUSTOM.to_owned(), text, names: Names::Nothing });
        };
        let has_scheme =
            uri.split_once(':').is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty());
        if !has_scheme || uri.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(InvalidPredicate::NoUri { uri: uri.to_owned() });
        }
        match tree::parse(content)? {
            Value::Object(members) if members.is_empty() => Err(InvalidPredicate::Empty),
            Value::Object(_) => {
                Ok(Self { uri: uri.to_owned(), text: text.to_owned(), names: Names::Nothing })
            }
            _ => Err(InvalidPredicate::NoObject),
        }
    }

    /// What the report itself says of `image`.
    #[must_use]
    pub fn binding(&self, image: &ImageIdentity) -> Binding {
        let of = |is_silent: bool, is_of: bool| match (is_silent, is_of) {
            (true, _) => Binding::Unbound,
            (false, true) => Binding::Bound,
            (false, false) => Binding::OtherImage,
        };
        match &self.names {
            Names::Scan(scan) => of(scan.subjects.is_empty(), scan.is_of_image(image)),
            Names::Inventory(list) => of(list.subject.is_empty(), list.subject.is_of(image)),
            Names::Vex(vex) => {
                let of_index = image.index.is_some_and(|index| vex.names(&index));
                of(false, of_index || vex.names(&image.manifest))
            }
            Names::Nothing => Binding::Bound,
        }
    }

    /// The URI of its type.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The statement that says this of the image with digest `subject`, and what every reader of it will
    /// see. What could not be read could not be attested.
    ///
    /// # Errors
    /// Its reader refuses it, something was taken out of it that nobody declared, it is of a kind that
    /// its type is not for, or its envelope would be too large.
    pub fn statement(
        &self,
        name: &str,
        subject: Sha256Digest,
    ) -> Result<(Vec<u8>, Attestation), InvalidPredicate> {
        if self.uri == IMAGE_SIGNATURE {
            return Err(InvalidPredicate::TakenType { uri: self.uri.clone() });
        }
        let payload = write_statement(name, subject, &self.uri, &self.text)?;
        let bytes = payload.len().div_ceil(3).saturating_mul(4).saturating_add(AROUND);
        if bytes > ENVELOPE_BYTES {
            return Err(InvalidPredicate::TooLarge { report: self.text.len(), bytes });
        }
        let attestation = Attestation::read(&payload)?;
        if matches!(self.names, Names::Nothing) && attestation.kind != Kind::Other {
            return Err(InvalidPredicate::TakenType { uri: self.uri.clone() });
        }
        let filtered = attestation.scan.as_ref().and_then(|scan| scan.filtered.clone());
        if let (Some(filtered), None) = (filtered, &attestation.arguments) {
            return Err(InvalidPredicate::Filtered { filtered });
        }
        Ok((payload, attestation))
    }
}

/// The report within a predicate, as the tool wrote it: in predicates that wrap one, what is inside.
#[must_use]
pub fn report_within<'a>(statement: &Statement<'a>) -> &'a str {
    let whole = statement.predicate();
    if statement.predicate_type() != COSIGN_VULN {
        return whole;
    }
    let scanner = Members::parse(whole.as_bytes()).and_then(|members| members.get("scanner"));
    let members = scanner.and_then(|scanner| Members::parse(scanner.get().as_bytes()));
    members.and_then(|members| members.get("result")).map_or(whole, |result| result.get())
}

/// Cosign's predicate, with the report in it byte for byte.
fn cosign_vuln(format: ReportFormat, scan: &ScanSummary, report: &str, declared: &Declared) -> String {
    let version = scan.scanner.version.as_deref().unwrap_or_default();
    let name = match format {
        ReportFormat::Trivy => "pkg:github/aquasecurity/trivy".to_owned(),
        ReportFormat::Grype => "pkg:github/anchore/grype".to_owned(),
        _ => format!("pkg:generic/{}", utf8_percent_encode(&scan.scanner.name, NON_ALPHANUMERIC)),
    };
    let uri = if version.is_empty() { name } else { format!("{name}@{version}") };
    let words = declared
        .arguments
        .as_ref()
        .map(|arguments| Value::from_iter(arguments.split_ascii_whitespace().map(Value::from)).to_string());
    let parameters = words.unwrap_or_else(|| "null".to_owned());
    let database = declared.database_at.or(scan.database_at);
    let updated = database.map(|at| format!(r#","lastUpdate":"{at}""#)).unwrap_or_default();
    let scanned = scan.scanned_at.map_or_else(|| NO_TIME.to_owned(), |at| at.to_string());
    format!(
        r#"{{"invocation":{{"parameters":{parameters},"uri":"","event_id":"","builder.id":""}},"scanner":{{"uri":{uri},"version":{version},"db":{{"uri":"","version":""{updated}}},"result":{report}}},"metadata":{{"scanStartedOn":"{scanned}","scanFinishedOn":"{scanned}"}}}}"#,
        uri = quoted(&uri),
        version = quoted(version),
    )
}

/// The predicate of a statement, or the text itself where it is a bare one.
fn unwrapped(format: ReportFormat, text: &str) -> Result<(String, String), InvalidPredicate> {
    let is_statement = Members::parse(text.as_bytes()).is_some_and(|members| members.get("_type").is_some());
    if is_statement {
        let statement = Statement::parse(text.as_bytes()).map_err(InvalidAttestation::from)?;
        return Ok((statement.predicate_type().to_owned(), statement.predicate().to_owned()));
    }
    let uri = if format == ReportFormat::InTotoVulns { IN_TOTO_VULNS } else { COSIGN_VULN };
    Ok((uri.to_owned(), text.to_owned()))
}

/// Why something is not attested.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPredicate {
    /// What was made of it cannot be read back.
    #[error(transparent)]
    Attestation(#[from] InvalidAttestation),
    /// There is nothing in it.
    #[error("there is nothing in it")]
    Empty,
    /// Findings are missing, and nobody said so.
    #[error("findings were taken out of the report: {}", explain(filtered))]
    Filtered {
        /// How it is known.
        filtered: Filtered,
    },
    /// Something is declared that this format has no place for.
    #[error("a report of type {format} has no place for what is declared of it")]
    NoPlace {
        /// The format.
        format: ReportFormat,
    },
    /// A predicate of a type of its own is a JSON object.
    #[error("it is no JSON object")]
    NoObject,
    /// A type is a URI.
    #[error("{uri:?} is no URI")]
    NoUri {
        /// What it is.
        uri: String,
    },
    /// Not UTF-8.
    #[error("it is no text in UTF-8")]
    NotText,
    /// The report cannot be used.
    #[error(transparent)]
    Report(#[from] InvalidReport),
    /// The type says something else already.
    #[error("{uri} is the type of something else")]
    TakenType {
        /// The type.
        uri: String,
    },
    /// The envelope would be larger than any server takes.
    #[error("the report has {report} bytes; signed it would have {bytes}, more than {ENVELOPE_BYTES}")]
    TooLarge {
        /// Bytes of the report.
        report: usize,
        /// Bytes of the envelope, about.
        bytes: usize,
    },
}

fn explain(filtered: &Filtered) -> String {
    match filtered {
        Filtered::Suppressed { findings } => format!("it lists {findings} of them"),
        Filtered::Option { name } => format!("the scanner was run with {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIVY: &str = r#"{"SchemaVersion":2,"ArtifactType":"container_image","Trivy":{"Version":"0.60.0"},
        "CreatedAt":"2030-01-02T03:04:05Z","Metadata":{"RepoDigests":["reg/app@DIGEST"]},
        "Results":[{"Target":"t","Class":"os-pkgs","Type":"alpine","Packages":[{"Name":"p"}],"Vulnerabilities":[
        {"VulnerabilityID":"CVE-2030-1","PkgName":"p","InstalledVersion":"1","Severity":"HIGH","CVSS":{"x":{"V3Score":7.50}}}]}]}"#;

    fn digest() -> Sha256Digest {
        Sha256Digest::of(b"image")
    }

    fn image(digest: Sha256Digest) -> ImageIdentity {
        ImageIdentity { manifest: digest, index: None, config: None, diff_ids: vec![] }
    }

    fn trivy() -> String {
        TRIVY.replace("DIGEST", &digest().to_oci())
    }

    fn declared(arguments: &str) -> Declared {
        Declared { arguments: Some(arguments.to_owned()), database_at: None }
    }

    fn wrap(report: &str, declared: &Declared) -> Result<(String, Attestation), InvalidPredicate> {
        let predicate = Predicate::of_report(report.as_bytes(), None, declared)?;
        let (payload, attestation) = predicate.statement("reg/app", digest())?;
        Ok((String::from_utf8(payload).unwrap(), attestation))
    }

    #[test]
    fn the_report_goes_in_byte_for_byte() {
        let report = trivy();
        let (payload, attestation) = wrap(&format!("\n{report} \n"), &Declared::default()).unwrap();
        assert_eq!(attestation.kind, Kind::Vulns);
        assert!(payload.contains("7.50"), "numbers are not written anew");
        assert_eq!(report_within(&Statement::parse(payload.as_bytes()).unwrap()), report);
        let scan = attestation.scan.unwrap();
        assert_eq!((scan.counts.total(), scan.filtered, attestation.arguments), (1, None, None));
        assert_eq!(attestation.scanned_at.unwrap().to_string(), "2030-01-02T03:04:05Z");
        assert_eq!(attestation.database_at, None);
    }

    #[test]
    fn what_is_declared_is_signed_along() {
        let database_at = Some("2030-01-01T00:00:00Z".parse().unwrap());
        let said = Declared { arguments: Some("image --severity  HIGH,CRITICAL".to_owned()), database_at };
        let (_, attestation) = wrap(&trivy(), &said).unwrap();
        assert_eq!(attestation.arguments.unwrap(), ["image", "--severity", "HIGH,CRITICAL"]);
        assert_eq!(attestation.database_at, database_at);
        assert!(attestation.scan.unwrap().filtered.is_some(), "declared, and still marked");
        let (_, attestation) = wrap(&trivy(), &declared("")).unwrap();
        assert_eq!((attestation.arguments, attestation.scan.unwrap().filtered), (Some(vec![]), None));
        let odd = wrap(&trivy(), &declared("image \"--x\\ }],{")).unwrap();
        assert_eq!(odd.1.arguments.unwrap().len(), 3, "no text breaks out of its place");
    }

    #[test]
    fn findings_that_were_taken_out_must_be_declared() {
        let suppressed = trivy().replace(
            "\"Class\":\"os-pkgs\"",
            r#""Class":"os-pkgs","ExperimentalModifiedFindings":[{"Type":"vulnerability","Status":"ignored","Finding":{"VulnerabilityID":"CVE-2030-2"}}]"#,
        );
        let refused = wrap(&suppressed, &Declared::default()).map(drop);
        assert!(matches!(refused, Err(InvalidPredicate::Filtered { .. })), "{refused:?}");
        let (_, attestation) = wrap(&suppressed, &declared("image --ignorefile x")).unwrap();
        assert!(attestation.scan.unwrap().filtered.is_some());
    }

    #[test]
    fn a_report_is_of_the_image_that_it_names() {
        let bound = Predicate::of_report(trivy().as_bytes(), None, &Declared::default()).unwrap();
        assert_eq!(bound.binding(&image(digest())), Binding::Bound);
        assert_eq!(bound.binding(&image(Sha256Digest::of(b"other"))), Binding::OtherImage);
        let silent = trivy().replace("RepoDigests", "RepoTags");
        let silent = Predicate::of_report(silent.as_bytes(), None, &Declared::default()).unwrap();
        assert_eq!(silent.binding(&image(digest())), Binding::Unbound);
        assert!(silent.statement("n", digest()).unwrap().1.is_unbound());
    }

    #[test]
    fn a_predicate_of_cosign_stays_as_it_is() {
        let (payload, _) = wrap(&trivy(), &Declared::default()).unwrap();
        let statement = Statement::parse(payload.as_bytes()).unwrap();
        let bare = wrap(statement.predicate(), &Declared::default()).unwrap();
        assert_eq!(bare.0, payload);
        assert_eq!(wrap(&payload, &Declared::default()).unwrap().0, payload, "out of its statement");
        let again = Predicate::of_report(payload.as_bytes(), None, &Declared::default()).unwrap();
        assert_eq!(again.binding(&image(Sha256Digest::of(b"other"))), Binding::OtherImage);
        let more = wrap(statement.predicate(), &declared("image"));
        assert!(matches!(more, Err(InvalidPredicate::NoPlace { .. })), "{more:?}");
    }

    #[test]
    fn custom_types_say_nothing_that_others_say() {
        let now: UtcTime = "2030-01-02T03:04:05Z".parse().unwrap();
        let custom = |content: &str, uri| {
            let (payload, attestation) =
                Predicate::custom(content.as_bytes(), uri, now)?.statement("n", digest())?;
            Ok::<_, InvalidPredicate>((String::from_utf8(payload).unwrap(), attestation.predicate.unwrap()))
        };
        let (_, predicate) = custom("any \"text\"\n", None).unwrap();
        assert_eq!(
            predicate,
            serde_json::json!({"Data": "any \"text\"", "Timestamp": "2030-01-02T03:04:05Z"})
        );
        let own = Some("https://example.com/bench/v1");
        assert_eq!(custom(r#"{"fail":0}"#, own).unwrap().1, serde_json::json!({"fail": 0}));
        for (content, uri) in [
            (" ", None),
            ("{}", own),
            ("[1]", own),
            (r#"{"a":1,"a":2}"#, own),
            (r#"{"a":1}"#, Some("no-uri")),
            (r#"{"a":1}"#, Some("a: b")),
            (r#"{"a":1}"#, Some(IMAGE_SIGNATURE)),
            (r#"{"a":1}"#, Some(COSIGN_VULN)),
            (r#"{"a":1}"#, Some(CYCLONEDX)),
        ] {
            assert!(custom(content, uri).is_err(), "{content} {uri:?}");
        }
        assert!(matches!(
            custom("{\"a\":1}", Some(IMAGE_SIGNATURE)),
            Err(InvalidPredicate::TakenType { .. })
        ));
        let trivy = trivy();
        assert!(
            custom(&format!(r#"{{"scanner":{{"result":{trivy}}}}}"#), Some(COSIGN_VULN)).is_err(),
            "a scan is attested as one, with what is checked of it"
        );
    }

    #[test]
    fn what_no_server_takes_is_refused_before_it_is_signed() {
        let large = format!("{{\"a\":\"{}\"}}", "x".repeat(ENVELOPE_BYTES / 4 * 3));
        let now = "2030-01-02T03:04:05Z".parse().unwrap();
        let predicate = Predicate::custom(large.as_bytes(), Some("https://example.com/t"), now).unwrap();
        let refused = predicate.statement("n", digest()).map(drop);
        assert!(matches!(refused, Err(InvalidPredicate::TooLarge { .. })), "{refused:?}");
    }
}
