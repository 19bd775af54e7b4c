//! What is put there: blobs, each in one piece, and the manifests that name them.

use bulla_keys_schema::digest::Sha256Digest;
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH, LOCATION};
use reqwest::{Method, RequestBuilder, StatusCode};
use tokio::time::sleep;

use super::answer::{header, not_written};
use super::read::check;
use super::way::{PAUSE, REPEATS, Way};
use crate::port::registry::{ManifestPush, Over, Pushed};
use crate::port::{RegistryError, Wanted};

/// Names the subject that the registry lists the manifest for.
const SUBJECT: &str = "oci-subject";
const CLAIMED: &str = "docker-content-digest";

/// Uploads a blob, unless it is there.
pub(in crate::adapter) async fn write_blob(way: &Way, bytes: Bytes) -> Result<(), RegistryError> {
    let digest = Sha256Digest::of(&bytes).to_oci();
    let reference = format!("{}@{digest}", way.repository());
    let url = way.url(&format!("blobs/{digest}"))?;
    if way.send(&Method::HEAD, &url, &reference, |ask| ask).await?.status() == StatusCode::OK {
        return Ok(());
    }
    let url = way.url("blobs/uploads/")?;
    let begun = way.send(&Method::POST, &url, &reference, |ask| ask.body(Bytes::new())).await?;
    if begun.status() != StatusCode::ACCEPTED {
        return Err(not_written(way, begun, &reference).await);
    }
    let named = header(begun.headers(), LOCATION.as_str());
    let Some(mut url) = named.and_then(|named| Way::follow(begun.url(), &named)) else {
        let (host, reason) = (way.host(), "it names no place for the upload");
        return Err(RegistryError::Unreadable { host, reference, reason });
    };
    // The place may have a query of its own, which is kept as it is.
    url.query_pairs_mut().append_pair("digest", &digest);
    let put = |ask: RequestBuilder| ask.header(CONTENT_TYPE, "application/octet-stream").body(bytes.clone());
    let response = way.send(&Method::PUT, &url, &reference, put).await?;
    match response.status() {
        StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::OK => Ok(()),
        _ => Err(not_written(way, response, &reference).await),
    }
}

/// Pushes a manifest.
pub(in crate::adapter) async fn write_manifest(
    way: &Way,
    push: &ManifestPush,
) -> Result<Pushed, RegistryError> {
    let digest = Sha256Digest::of(&push.bytes);
    let place = push.tag.clone().map_or(Wanted::Digest(digest), Wanted::Tag);
    let reference = format!("{}{place}", way.repository());
    let name = push.tag.as_ref().map_or_else(|| digest.to_oci(), ToString::to_string);
    let url = way.url(&format!("manifests/{name}"))?;
    let put = |ask: RequestBuilder| {
        let ask = ask.header(CONTENT_TYPE, push.media_type.as_str()).body(push.bytes.clone());
        match &push.over {
            Over::Anything => ask,
            Over::Nothing => ask.header(IF_NONE_MATCH, "*"),
            // A weak tag says nothing about bytes, and no condition may be made of it.
            Over::Version(version) if version.starts_with('"') => ask.header(IF_MATCH, version.as_str()),
            Over::Version(_) => ask,
        }
    };
    let mut repeats = 0;
    let response = loop {
        let response = way.send(&Method::PUT, &url, &reference, put).await?;
        if matches!(response.status(), StatusCode::CREATED | StatusCode::OK | StatusCode::ACCEPTED) {
            break response;
        }
        let error = not_written(way, response, &reference).await;
        if !is_confused(&error) || repeats == REPEATS {
            return Err(error);
        }
        sleep(PAUSE.saturating_mul(1 << repeats)).await;
        repeats += 1;
    };
    if let Some(claimed) = header(response.headers(), CLAIMED) {
        check(way, &reference, digest, &claimed)?;
    }
    Ok(Pushed { lists_subject: header(response.headers(), SUBJECT).is_some() })
}

/// Whether the registry doubts the digest of bytes that it was sent without one. docker-registry does so
/// while somebody else writes to the same repository.
fn is_confused(error: &RegistryError) -> bool {
    let RegistryError::Refused { status: 400, reason: Some(reason), .. } = error else { return false };
    reason.starts_with("DIGEST_INVALID")
}
