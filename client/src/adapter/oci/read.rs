//! What is there: manifests, blobs, tags, referrers. Whatever has a digest is hashed here.

use std::collections::BTreeSet;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::limits;
use bulla_keys_schema::names::Tag;
use bulla_keys_schema::sigstore::{FallbackIndex, INDEX, InvalidManifest};
use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, ETAG};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;

use super::answer::{body, header, next_page, not_read};
use super::way::Way;
use crate::port::registry::{Descriptor, TAGS};
use crate::port::{Manifest, RegistryError, Wanted};

/// Manifests and indexes of OCI and Docker.
const MEDIA_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";
const CLAIMED: &str = "docker-content-digest";
/// Pages of one list. Fewer entries per page than this allows for is a way to keep us busy.
const PAGES: usize = 200;
/// Tags that are asked for at once.
const TAGS_AT_ONCE: usize = 1_000;

/// The manifest or index behind `wanted`.
pub(in crate::adapter) async fn read_manifest(way: &Way, wanted: &Wanted) -> Result<Manifest, RegistryError> {
    let what = match wanted {
        Wanted::Digest(digest) => digest.to_oci(),
        Wanted::Tag(tag) => tag.to_string(),
    };
    let reference = format!("{}{wanted}", way.repository());
    let url = way.url(&format!("manifests/{what}"))?;
    let response = way.send(&Method::GET, &url, &reference, |ask| ask.header(ACCEPT, MEDIA_TYPES)).await?;
    if response.status() != StatusCode::OK {
        return Err(not_read(way, response.status(), &reference));
    }
    let claimed = header(response.headers(), CLAIMED);
    let media_type = header(response.headers(), CONTENT_TYPE.as_str());
    let entity_tag = header(response.headers(), ETAG.as_str());
    let bytes = body(way, response, &reference, limits::MANIFEST_BYTES).await?;
    let manifest = Manifest::new(bytes, media_type).with_entity_tag(entity_tag);
    let asked = match wanted {
        Wanted::Digest(digest) => Some(digest.to_oci()),
        Wanted::Tag(_) => None,
    };
    for expected in [asked, claimed].into_iter().flatten() {
        check(way, &reference, manifest.digest(), &expected)?;
    }
    Ok(manifest)
}

/// A registry that contradicts itself is broken or lies; either way nothing is signed.
pub(super) fn check(
    way: &Way,
    reference: &str,
    computed: Sha256Digest,
    expected: &str,
) -> Result<(), RegistryError> {
    // Claims by other algorithms cannot be compared; the digest is ours in any case.
    if !expected.starts_with("sha256:") || expected == computed.to_oci() {
        return Ok(());
    }
    Err(RegistryError::Mismatch {
        host: way.host(),
        reference: reference.to_owned(),
        computed: computed.to_oci(),
        expected: expected.to_owned(),
    })
}

/// The blob with that digest.
pub(in crate::adapter) async fn read_blob(
    way: &Way,
    digest: Sha256Digest,
    limit: usize,
) -> Result<Bytes, RegistryError> {
    let reference = format!("{}@{}", way.repository(), digest.to_oci());
    let url = way.url(&format!("blobs/{}", digest.to_oci()))?;
    let response = way.send(&Method::GET, &url, &reference, |ask| ask).await?;
    if response.status() != StatusCode::OK {
        return Err(not_read(way, response.status(), &reference));
    }
    let bytes = body(way, response, &reference, limit).await?;
    check(way, &reference, Sha256Digest::of(&bytes), &digest.to_oci())?;
    Ok(bytes)
}

/// What names `digest` as its subject.
pub(in crate::adapter) async fn read_referrers(
    way: &Way,
    digest: Sha256Digest,
) -> Result<Vec<Descriptor>, RegistryError> {
    let reference = format!("referrers of {}@{}", way.repository(), digest.to_oci());
    let mut next = Some(way.url(&format!("referrers/{}", digest.to_oci()))?);
    let mut found = Vec::new();
    for page in 0..PAGES {
        let Some(url) = next else { return Ok(found) };
        let response = way.send(&Method::GET, &url, &reference, |ask| ask.header(ACCEPT, INDEX)).await?;
        if page == 0 && has_no_list(&response) {
            return fallback(way, digest, &reference).await;
        }
        if response.status() != StatusCode::OK {
            return Err(not_read(way, response.status(), &reference));
        }
        next = next_url(way, &response, &reference)?;
        let bytes = body(way, response, &reference, limits::MANIFEST_BYTES).await?;
        let page = FallbackIndex::parse(&bytes).map_err(|error| not_a_list(way, &reference, &error))?;
        found.extend_from_slice(page.entries());
        require_few(way, &reference, found.len(), limits::REFERRERS)?;
    }
    Err(unreadable(way, &reference, "it has no last page"))
}

/// A registry from before the list of referrers, or one that shows people a web page instead.
/// Every other failure is one: whoever is throttled does not know that there are none.
fn has_no_list(response: &Response) -> bool {
    match response.status() {
        StatusCode::OK => {
            let media_type = header(response.headers(), CONTENT_TYPE.as_str()).unwrap_or_default();
            media_type.starts_with("text/html")
        }
        StatusCode::NOT_FOUND
        | StatusCode::BAD_REQUEST
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::NOT_ACCEPTABLE
        | StatusCode::NOT_IMPLEMENTED => true,
        _ => false,
    }
}

/// What clients keep under a tag in such a registry.
async fn fallback(
    way: &Way,
    digest: Sha256Digest,
    reference: &str,
) -> Result<Vec<Descriptor>, RegistryError> {
    let index = match read_manifest(way, &Wanted::Tag(FallbackIndex::tag(digest))).await {
        Ok(index) => index,
        Err(RegistryError::Unknown { .. }) => return Ok(vec![]),
        Err(error) => return Err(error),
    };
    match FallbackIndex::parse(index.bytes()) {
        Ok(index) => Ok(index.entries().to_vec()),
        // Not an index, so no list (distribution spec): a program that copies images leaves such.
        Err(InvalidManifest::Member { name: "manifests" }) if !lists_anything(index.bytes()) => Ok(vec![]),
        Err(error) => Err(not_a_list(way, reference, &error)),
    }
}

fn lists_anything(manifest: &[u8]) -> bool {
    let manifest = serde_json::from_slice::<serde_json::Value>(manifest);
    manifest.is_ok_and(|manifest| manifest.get("manifests").is_some())
}

fn not_a_list(way: &Way, reference: &str, error: &InvalidManifest) -> RegistryError {
    match error {
        InvalidManifest::TooMany { limit, .. } => {
            RegistryError::TooMany { host: way.host(), reference: reference.to_owned(), limit: *limit }
        }
        _ => unreadable(way, reference, "not an index"),
    }
}

/// The tags of the repository.
pub(in crate::adapter) async fn read_tags(way: &Way) -> Result<Vec<Tag>, RegistryError> {
    let reference = format!("tags of {}", way.repository());
    let mut next = Some(way.url(&format!("tags/list?n={TAGS_AT_ONCE}"))?);
    // A tag that is listed twice would be looked up twice, and might mean two things.
    let mut found = BTreeSet::new();
    for _ in 0..PAGES {
        let Some(url) = next else { return Ok(found.into_iter().collect()) };
        let response = way.send(&Method::GET, &url, &reference, |ask| ask).await?;
        if response.status() != StatusCode::OK {
            return Err(not_read(way, response.status(), &reference));
        }
        next = next_url(way, &response, &reference)?;
        let bytes = body(way, response, &reference, limits::MANIFEST_BYTES).await?;
        let page: TagPage =
            serde_json::from_slice(&bytes).map_err(|_| unreadable(way, &reference, "not a list of tags"))?;
        // What is no tag cannot be asked for.
        found.extend(page.tags.unwrap_or_default().iter().filter_map(|tag| tag.parse::<Tag>().ok()));
        require_few(way, &reference, found.len(), TAGS)?;
    }
    Err(unreadable(way, &reference, "it has no last page"))
}

/// A registry without tags says `null`.
#[derive(Deserialize)]
struct TagPage {
    tags: Option<Vec<String>>,
}

fn next_url(way: &Way, response: &Response, reference: &str) -> Result<Option<Url>, RegistryError> {
    let Some(named) = next_page(response.headers()) else { return Ok(None) };
    match Way::follow(response.url(), &named).filter(|url| way.owns(url)) {
        Some(url) => Ok(Some(url)),
        None => Err(unreadable(way, reference, "its next page is elsewhere")),
    }
}

fn require_few(way: &Way, reference: &str, found: usize, limit: usize) -> Result<(), RegistryError> {
    if found <= limit {
        return Ok(());
    }
    Err(RegistryError::TooMany { host: way.host(), reference: reference.to_owned(), limit })
}

fn unreadable(way: &Way, reference: &str, reason: &'static str) -> RegistryError {
    RegistryError::Unreadable { host: way.host(), reference: reference.to_owned(), reason }
}
