//! `OpenVEX`: somebody says which findings of a scanner do no harm in an image.
//!
//! A document only ever takes findings away, so every doubt leaves them where they are. Who may say
//! such things is for the caller to know.

use std::collections::BTreeSet;

use serde_json::Value;

use super::node::Node;
use super::purl::Purl;
use super::{Finding, InvalidReport, ReportFormat, Unfit, tree};
use crate::digest::Sha256Digest;
use crate::time::UtcTime;

/// A document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VexDocument {
    /// Its own name, an IRI.
    pub id: Option<String>,
    /// Who says that they wrote it. No proof.
    pub author: Option<String>,
    /// When it was written.
    pub issued_at: Option<UtcTime>,
    /// What it says.
    pub statements: Vec<VexStatement>,
}

/// What is said about one vulnerability in some products.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VexStatement {
    /// The names of the vulnerability, the first one first.
    pub names: Vec<String>,
    /// The products.
    pub products: Vec<VexProduct>,
    /// What is said.
    pub status: VexStatus,
    /// Why, for [`VexStatus::NotAffected`].
    pub justification: Option<VexJustification>,
    /// When it was said, or changed.
    pub said_at: Option<UtcTime>,
}

/// An image, and which packages of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VexProduct {
    /// The name that the document gives it.
    pub id: String,
    /// Every digest that it is named by. A name without a digest may mean any image.
    digests: BTreeSet<Sha256Digest>,
    /// The packages; all of them if there is none.
    subcomponents: Vec<String>,
}

/// What is said about a vulnerability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VexStatus {
    /// It does no harm.
    NotAffected,
    /// It does harm.
    Affected,
    /// It is mended in these products.
    Fixed,
    /// Nobody knows yet.
    UnderInvestigation,
}

/// Why a vulnerability does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VexJustification {
    /// The image does not hold the package.
    ComponentNotPresent,
    /// The package is built without the vulnerable code.
    CodeNotPresent,
    /// The vulnerable code never runs.
    CodeNotInExecutePath,
    /// Nobody from outside reaches the vulnerable code.
    CodeNotControllable,
    /// Something else stops it.
    InlineMitigations,
}

impl VexStatus {
    const ALL: [Self; 4] = [Self::NotAffected, Self::Affected, Self::Fixed, Self::UnderInvestigation];

    /// The word of `OpenVEX`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAffected => "not_affected",
            Self::Affected => "affected",
            Self::Fixed => "fixed",
            Self::UnderInvestigation => "under_investigation",
        }
    }
}

impl VexJustification {
    const ALL: [Self; 5] = [
        Self::ComponentNotPresent,
        Self::CodeNotPresent,
        Self::CodeNotInExecutePath,
        Self::CodeNotControllable,
        Self::InlineMitigations,
    ];

    /// The word of `OpenVEX`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ComponentNotPresent => "component_not_present",
            Self::CodeNotPresent => "vulnerable_code_not_present",
            Self::CodeNotInExecutePath => "vulnerable_code_not_in_execute_path",
            Self::CodeNotControllable => "vulnerable_code_cannot_be_controlled_by_adversary",
            Self::InlineMitigations => "inline_mitigations_already_exist",
        }
    }
}

impl VexDocument {
    /// Reads a document.
    ///
    /// # Errors
    /// Not JSON as strictly as it is read here, another format, or not of the shape of `OpenVEX`.
    pub fn read(bytes: &[u8]) -> Result<Self, InvalidReport> {
        let value = tree::parse(bytes)?;
        match ReportFormat::recognise(&value)? {
            ReportFormat::OpenVex => document(&Node::root(&value)),
            format => Err(Unfit::NoVex { format }.into()),
        }
    }

    /// Whether some statement is about `image`, the digest of a manifest or an index.
    #[must_use]
    pub fn names(&self, image: &Sha256Digest) -> bool {
        let mut products = self.statements.iter().flat_map(|statement| &statement.products);
        products.any(|product| product.digests.contains(image))
    }

    /// Whether this document says that `finding` does no harm in `image`, the digest of a manifest or
    /// an index.
    #[must_use]
    pub fn covers(&self, finding: &Finding, image: &Sha256Digest) -> bool {
        Self::harmless([self], finding, image).is_some()
    }

    /// The newest statement of `documents` by which `finding` does no harm in `image`. A statement
    /// that says otherwise wins unless it is known to be older.
    #[must_use]
    pub fn harmless<'a>(
        documents: impl IntoIterator<Item = &'a Self>,
        finding: &Finding,
        image: &Sha256Digest,
    ) -> Option<&'a VexStatement> {
        let statements = documents.into_iter().flat_map(|document| &document.statements);
        let (harmless, harmful): (Vec<_>, Vec<_>) = statements
            .filter(|statement| statement.speaks_of(finding, image))
            .partition(|statement| statement.is_harmless());
        let newest = harmless.into_iter().max_by_key(|statement| statement.said_at)?;
        let is_older = |other: &VexStatement| other.said_at.is_some() && other.said_at < newest.said_at;
        harmful.into_iter().all(is_older).then_some(newest)
    }
}

impl VexStatement {
    /// Whether it takes findings away. Without a reason, "not affected" is only a claim.
    #[must_use]
    pub const fn is_harmless(&self) -> bool {
        match self.status {
            VexStatus::Fixed => true,
            VexStatus::NotAffected => self.justification.is_some(),
            VexStatus::Affected | VexStatus::UnderInvestigation => false,
        }
    }

    /// Whether it is about this finding in this image.
    #[must_use]
    pub fn speaks_of(&self, finding: &Finding, image: &Sha256Digest) -> bool {
        self.names.iter().any(|name| finding.is_called(name))
            && self.products.iter().any(|product| product.includes(finding, image))
    }
}

impl VexProduct {
    fn includes(&self, finding: &Finding, image: &Sha256Digest) -> bool {
        let is_image = !self.digests.is_empty() && self.digests.iter().all(|digest| digest == image);
        is_image && (self.subcomponents.is_empty() || self.has_package_of(finding))
    }

    fn has_package_of(&self, finding: &Finding) -> bool {
        let Some(package) = finding.purl.as_deref().and_then(Purl::parse) else { return false };
        let mut said = self.subcomponents.iter().filter_map(|text| Purl::parse(text));
        said.any(|said| said.includes(&package))
    }
}

fn document(document: &Node<'_>) -> Result<VexDocument, InvalidReport> {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let issued_at = said_at(document)?;
    let mut statements = Vec::new();
    for found in document.member("statements")?.items()? {
        statements.push(statement(&found, issued_at)?);
    }
    Ok(VexDocument {
        id: owned(document.find_text(&["@id"])?),
        author: owned(document.find_text(&["author"])?),
        issued_at,
        statements,
    })
}

fn statement(statement: &Node<'_>, issued_at: Option<UtcTime>) -> Result<VexStatement, InvalidReport> {
    // The first version had the packages beside the products.
    let beside = components(statement)?;
    let mut products = Vec::new();
    for found in statement.list("products")? {
        products.push(product(&found, &beside)?);
    }
    let status = statement.member("status")?;
    let word = status.text()?;
    Ok(VexStatement {
        names: names(&statement.member("vulnerability")?)?,
        products,
        status: VexStatus::ALL
            .into_iter()
            .find(|known| known.as_str() == word)
            .ok_or_else(|| status.is_not("a status of OpenVEX"))?,
        justification: justification(statement)?,
        said_at: said_at(statement)?.or(issued_at),
    })
}

/// The name, else the IRI, and what else it is called.
fn names(vulnerability: &Node<'_>) -> Result<Vec<String>, InvalidReport> {
    let mut names = Vec::new();
    if let Value::String(name) = vulnerability.value() {
        names.extend(Some(name.to_owned()).filter(|name| !name.is_empty()));
    } else {
        let name = match vulnerability.find_text(&["name"])? {
            Some(name) => Some(name),
            None => vulnerability.find_text(&["@id"])?,
        };
        names.extend(name.map(str::to_owned));
        for alias in vulnerability.list("aliases")? {
            names.push(alias.text()?.to_owned());
        }
    }
    if names.is_empty() { Err(vulnerability.is_not("a vulnerability with a name")) } else { Ok(names) }
}

fn product(product: &Node<'_>, beside: &[String]) -> Result<VexProduct, InvalidReport> {
    let mut digests = BTreeSet::new();
    let id = id(product)?;
    digests.extend(image(id));
    let mut subcomponents = beside.to_vec();
    if product.value().is_object() {
        digests.extend(product.find_text(&["identifiers", "purl"])?.and_then(image));
        if let Some(hash) = product.find(&["hashes", "sha-256"])? {
            digests.insert(hash.text()?.parse().map_err(|_| hash.is_not("a SHA-256 digest"))?);
        }
        subcomponents.extend(components(product)?);
    }
    Ok(VexProduct { id: id.to_owned(), digests, subcomponents })
}

/// The image that a package URL or a bare digest names.
fn image(text: &str) -> Option<Sha256Digest> {
    Purl::parse(text).map_or_else(|| Sha256Digest::parse_oci(text).ok(), |purl| purl.image())
}

fn components(of: &Node<'_>) -> Result<Vec<String>, InvalidReport> {
    of.list("subcomponents")?.map(|component| id(&component).map(str::to_owned)).collect()
}

/// The name of a product or a package, which the first version wrote alone.
fn id<'a>(node: &Node<'a>) -> Result<&'a str, InvalidReport> {
    match node.value() {
        Value::String(id) => Ok(id),
        _ => match node.find_text(&["@id"])? {
            Some(id) => Ok(id),
            None => Ok(node.find_text(&["identifiers", "purl"])?.unwrap_or_default()),
        },
    }
}

fn justification(statement: &Node<'_>) -> Result<Option<VexJustification>, InvalidReport> {
    let Some(word) = statement.find_text(&["justification"])? else { return Ok(None) };
    let known = VexJustification::ALL.into_iter().find(|known| known.as_str() == word);
    match known {
        Some(known) => Ok(Some(known)),
        None => Err(statement.member("justification")?.is_not("a justification of OpenVEX")),
    }
}

/// The later of when it was written and when it was changed.
fn said_at(of: &Node<'_>) -> Result<Option<UtcTime>, InvalidReport> {
    Ok(of.find_time(&["last_updated"])?.max(of.find_time(&["timestamp"])?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Severity;
    use super::*;

    const IMAGE: Sha256Digest = Sha256Digest::from_bytes([7; 32]);

    fn purl(digest: &Sha256Digest) -> String {
        format!("pkg:oci/app@{}?repository_url=reg.example.com/app", digest.to_oci().replace(':', "%3A"))
    }

    fn good() -> Value {
        json!({
            "vulnerability": { "name": "CVE-2030-1", "aliases": ["GHSA-1"] },
            "products": [{ "@id": purl(&IMAGE), "subcomponents": [{ "@id": "pkg:deb/debian/openssl" }] }],
            "status": "not_affected",
            "justification": "vulnerable_code_not_present",
            "timestamp": "2030-01-02T03:04:05Z",
        })
    }

    fn read(statements: &[Value]) -> Result<VexDocument, InvalidReport> {
        let document = json!({
            "@context": "https://openvex.dev/ns/v0.2.0",
            "@id": "https://example.com/vex/1",
            "author": "alice",
            "timestamp": "2030-01-01T00:00:00Z",
            "statements": statements,
        });
        VexDocument::read(document.to_string().as_bytes())
    }

    fn finding() -> Finding {
        let mut finding = Finding::new("CVE-2030-1", Severity::High);
        finding.purl = Some("pkg:deb/debian/openssl@1.1.1?arch=amd64".to_owned());
        finding
    }

    fn covers(statements: &[Value]) -> bool {
        read(statements).unwrap().covers(&finding(), &IMAGE)
    }

    /// The good statement with one member changed.
    fn with(name: &str, value: Value) -> Value {
        let mut statement = good();
        statement[name] = value;
        statement
    }

    #[test]
    fn a_statement_takes_away_what_it_speaks_of() {
        let document = read(&[good()]).unwrap();
        assert!(document.covers(&finding(), &IMAGE));
        assert_eq!(document.author.as_deref(), Some("alice"));
        let mut other_name = finding();
        other_name.id = "GHSA-1".to_owned();
        assert!(document.covers(&other_name, &IMAGE));
        for statement in [
            with("products", json!([purl(&IMAGE)])),
            with("products", json!([{ "@id": IMAGE.to_oci() }])),
            with("products", json!([{ "@id": "app", "hashes": { "sha-256": IMAGE.to_string() } }])),
            with("products", json!([{ "identifiers": { "purl": purl(&IMAGE) } }])),
            with("vulnerability", json!("CVE-2030-1")),
            with("vulnerability", json!({ "@id": "CVE-2030-1" })),
            with("status", json!("fixed")),
        ] {
            assert!(covers(std::slice::from_ref(&statement)), "{statement}");
        }
    }

    #[test]
    fn a_statement_about_anything_else_takes_nothing_away() {
        let other = Sha256Digest::from_bytes([8; 32]);
        let component = |id: &str| with("products", json!([{ "@id": purl(&IMAGE), "subcomponents": [id] }]));
        for statement in [
            with("status", json!("affected")),
            with("status", json!("under_investigation")),
            with("justification", json!(null)),
            with("justification", json!("")),
            with("vulnerability", json!({ "name": "CVE-2030-10" })),
            with("products", json!(null)),
            with("products", json!([])),
            with("products", json!([{ "@id": purl(&other) }])),
            with("products", json!(["pkg:oci/app"])),
            with("products", json!(["pkg:oci/app@1.0"])),
            with("products", json!([{ "@id": "app" }])),
            // Two names of two images: nobody knows which one is meant.
            with("products", json!([{ "@id": purl(&IMAGE), "hashes": { "sha-256": other.to_string() } }])),
            component("pkg:deb/debian/openssl@1.1.0"),
            component("pkg:deb/debian/curl"),
            component("openssl"),
            component(""),
        ] {
            assert!(!covers(std::slice::from_ref(&statement)), "{statement}");
        }
        let mut nameless = finding();
        nameless.purl = None;
        assert!(!read(&[good()]).unwrap().covers(&nameless, &IMAGE));
        assert!(!read(&[good()]).unwrap().covers(&finding(), &other));
    }

    #[test]
    fn who_says_otherwise_wins_unless_it_is_older() {
        let affected = |at: Value| {
            let mut statement = with("status", json!("affected"));
            statement["timestamp"] = at;
            statement
        };
        assert!(covers(&[good(), affected(json!("2030-01-02T03:04:04Z"))]));
        // The document itself is older than the good statement.
        assert!(covers(&[good(), affected(json!(null))]));
        assert!(!covers(&[good(), affected(json!("2030-01-02T03:04:05Z"))]));
        assert!(!covers(&[affected(json!("2031-01-01T00:00:00Z")), good()]));
        let later = with("last_updated", json!("2032-01-01T00:00:00Z"));
        assert!(covers(&[affected(json!("2031-01-01T00:00:00Z")), later]));
        let (yes, no) = (read(&[good()]).unwrap(), read(&[affected(json!("2031-01-01T00:00:00Z"))]).unwrap());
        assert!(VexDocument::harmless([&yes, &no], &finding(), &IMAGE).is_none());
        let mut timeless = no;
        timeless.statements[0].said_at = None;
        assert!(VexDocument::harmless([&yes, &timeless], &finding(), &IMAGE).is_none());
    }

    #[test]
    fn the_first_version_has_packages_beside_products() {
        let mut statement = with("products", json!([purl(&IMAGE)]));
        statement["subcomponents"] = json!(["pkg:deb/debian/openssl@1.1.1"]);
        assert!(covers(&[statement.clone()]));
        statement["subcomponents"] = json!(["pkg:deb/debian/curl"]);
        assert!(!covers(&[statement]));
    }

    #[test]
    fn what_is_not_of_the_shape_is_refused() {
        for statement in [
            with("status", json!("harmless")),
            with("status", json!(null)),
            with("justification", json!("because")),
            with("justification", json!(1)),
            with("vulnerability", json!({})),
            with("vulnerability", json!("")),
            with("vulnerability", json!(null)),
            with("products", json!({})),
            with("products", json!([1])),
            with("products", json!([{ "hashes": { "sha-256": "x" } }])),
            with("timestamp", json!("soon")),
            json!([]),
        ] {
            assert!(read(std::slice::from_ref(&statement)).is_err(), "{statement}");
        }
        for other in
            ["{\"bomFormat\": \"CycloneDX\"}", "{}", "[]", "{\"@context\": \"https://openvex.dev/ns\"}"]
        {
            assert!(VexDocument::read(other.as_bytes()).is_err(), "{other}");
        }
    }
}
