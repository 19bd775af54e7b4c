//! What is in an image, as a list (SBOM). It says nothing about vulnerabilities, and is never a scan.

use std::collections::BTreeSet;

use serde_json::Value;

use super::node::Node;
use super::purl::Purl;
use super::{InvalidReport, ReportFormat, SubjectClaim, Unfit, cyclonedx, tree};
use crate::digest::Sha256Digest;
use crate::time::UtcTime;

/// A list of what is in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// How it is written: `CycloneDX` or SPDX.
    pub format: ReportFormat,
    /// How many components, or packages, are listed; at least one.
    pub components: u64,
    /// When it was written, if it says so.
    pub created_at: Option<UtcTime>,
    /// Of which image it says it is; empty if it does not.
    pub subject: SubjectClaim,
}

impl Inventory {
    /// Reads a list in `CycloneDX`, with vulnerabilities or without, or in SPDX 2 or 3, in JSON.
    ///
    /// # Errors
    /// Not JSON as strictly as it is read here, another format, not of its shape, or nothing is listed.
    pub fn read(bytes: &[u8]) -> Result<Self, InvalidReport> {
        let value = tree::parse(bytes)?;
        let root = Node::root(&value);
        let inventory = match ReportFormat::recognise(&value)? {
            ReportFormat::CycloneDx => cyclonedx(&root)?,
            ReportFormat::Spdx if root.get("spdxVersion")?.is_some() => spdx_2(&root)?,
            ReportFormat::Spdx => spdx_3(&root)?,
            format => return Err(Unfit::NoInventory { format }.into()),
        };
        if inventory.components == 0 { Err(Unfit::EmptyInventory.into()) } else { Ok(inventory) }
    }
}

fn cyclonedx(document: &Node<'_>) -> Result<Inventory, InvalidReport> {
    cyclonedx::require_format(document)?;
    let mut components = 0;
    cyclonedx::each_component(document, |component| {
        component.member("name")?.text()?;
        components += 1;
        Ok(())
    })?;
    Ok(Inventory {
        format: ReportFormat::CycloneDx,
        components,
        created_at: document.find_time(&["metadata", "timestamp"])?,
        subject: match document.find(&["metadata", "component"])? {
            Some(component) => cyclonedx::subject(&component)?,
            None => SubjectClaim::default(),
        },
    })
}

fn spdx_2(document: &Node<'_>) -> Result<Inventory, InvalidReport> {
    let version = document.member("spdxVersion")?;
    if !version.text()?.starts_with("SPDX-2.") {
        return Err(version.is_not("SPDX-2"));
    }
    let mut described = BTreeSet::new();
    for id in document.list("documentDescribes")? {
        described.insert(id.text()?);
    }
    for relation in document.list("relationships")? {
        if relation.find_text(&["relationshipType"])? == Some("DESCRIBES") {
            described.extend(relation.find_text(&["relatedSpdxElement"])?);
        }
    }
    let (mut components, mut subject) = (0, SubjectClaim::default());
    for package in document.list("packages")? {
        package.member("name")?.text()?;
        components += 1;
        if package.find_text(&["SPDXID"])?.is_some_and(|id| described.contains(id)) {
            subject.manifests.extend(images(&package)?);
        }
    }
    Ok(Inventory {
        format: ReportFormat::Spdx,
        components,
        created_at: document.find_time(&["creationInfo", "created"])?,
        subject,
    })
}

/// Where scanners note the image in the package that stands for it.
fn images(package: &Node<'_>) -> Result<Vec<Sha256Digest>, InvalidReport> {
    let version = package.find_text(&["versionInfo"])?.unwrap_or_default();
    let mut images: Vec<_> = Sha256Digest::parse_oci(version).into_iter().collect();
    for reference in package.list("externalRefs")? {
        let locator = reference.find_text(&["referenceLocator"])?.unwrap_or_default();
        images.extend(Purl::parse(locator).and_then(|purl| purl.image()));
    }
    Ok(images)
}

fn spdx_3(document: &Node<'_>) -> Result<Inventory, InvalidReport> {
    let (mut components, mut created_at) = (0, None);
    for element in document.member("@graph")?.items()? {
        let kind = match element.get("type")? {
            Some(kind) => Some(kind),
            None => element.get("@type")?,
        };
        match kind.as_ref().map(Node::value) {
            Some(Value::String(kind)) if kind == "software_Package" => components += 1,
            Some(Value::String(kind)) if kind == "CreationInfo" => {
                created_at = created_at.max(element.find_time(&["created"])?);
            }
            _ => {}
        }
    }
    Ok(Inventory { format: ReportFormat::Spdx, components, created_at, subject: SubjectClaim::default() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::ScanSummary;
    use super::*;

    const IMAGE: Sha256Digest = Sha256Digest::from_bytes([7; 32]);

    fn read(document: &Value) -> Result<Inventory, InvalidReport> {
        Inventory::read(document.to_string().as_bytes())
    }

    fn documents() -> [Value; 3] {
        let purl = format!("pkg:oci/app@{}", IMAGE.to_oci().replace(':', "%3A"));
        [
            json!({
                "bomFormat": "CycloneDX",
                "metadata": { "timestamp": "2030-01-02T03:04:05Z", "component": { "type": "container", "purl": purl } },
                "components": [{ "name": "a", "components": [{ "name": "b" }] }],
            }),
            json!({
                "spdxVersion": "SPDX-2.3",
                "creationInfo": { "created": "2030-01-02T03:04:05Z" },
                "packages": [
                    { "name": "app", "SPDXID": "SPDXRef-1", "versionInfo": IMAGE.to_oci() },
                    { "name": "a", "SPDXID": "SPDXRef-2", "versionInfo": Sha256Digest::from_bytes([8; 32]).to_oci() },
                ],
                "relationships": [{ "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-1" }],
            }),
            json!({
                "@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld",
                "@graph": [
                    { "type": "CreationInfo", "created": "2030-01-02T03:04:05Z" },
                    { "type": "software_Package", "name": "a" },
                    { "type": "software_Package", "name": "b" },
                    { "type": "Relationship" },
                ],
            }),
        ]
    }

    #[test]
    fn lists_say_how_much_is_in_an_image_and_since_when() {
        for (document, names_image) in documents().into_iter().zip([true, true, false]) {
            let inventory = read(&document).unwrap();
            assert_eq!(inventory.components, 2);
            assert_eq!(
                inventory.created_at.map(|at| at.to_string()).as_deref(),
                Some("2030-01-02T03:04:05Z")
            );
            let image = names_image.then(|| SubjectClaim::of_manifests([IMAGE].into()));
            assert_eq!(inventory.subject, image.unwrap_or_default());
            // A list of packages is never a scan that found nothing.
            assert!(ScanSummary::read(document.to_string().as_bytes(), None).is_err());
        }
    }

    #[test]
    fn a_list_of_nothing_is_none() {
        let [mut cyclonedx, mut spdx_2, mut spdx_3] = documents();
        for nothing in [json!(null), json!([])] {
            cyclonedx["components"] = nothing.clone();
            spdx_2["packages"] = nothing;
            for document in [&cyclonedx, &spdx_2] {
                assert_eq!(read(document), Err(Unfit::EmptyInventory.into()));
            }
        }
        spdx_3["@graph"] = json!([]);
        assert_eq!(read(&spdx_3), Err(Unfit::EmptyInventory.into()));
        spdx_3["@graph"] = json!(null);
        assert!(matches!(read(&spdx_3), Err(InvalidReport::Member { .. })));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for document in [
            json!({ "spdxVersion": "SPDX-1.2", "packages": [{ "name": "a" }] }),
            json!({ "spdxVersion": "SPDX-2.3", "packages": [{}] }),
            json!({ "bomFormat": "Cyclone", "components": [{ "name": "a" }] }),
            json!({ "bomFormat": "CycloneDX", "components": { "name": "a" } }),
            json!({ "bomFormat": "CycloneDX", "components": [{}] }),
            json!({ "SchemaVersion": 2 }),
            json!({ "@context": "https://openvex.dev/ns/v0.2.0", "statements": [] }),
            json!({}),
        ] {
            assert!(read(&document).is_err(), "{document}");
        }
    }
}
