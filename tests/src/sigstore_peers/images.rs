//! A registry with small images made by hand, and what a registry of bad will can do to it.

use std::path::PathBuf;

use bulla_keys_schema::digest::Sha256Digest;
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::programs::DockerRegistry;

/// Media type of a manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// An image that was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Host and path.
    pub repository: String,
    /// The tag that it was pushed under.
    pub tag: String,
    /// Digest of its manifest or index.
    pub digest: String,
    /// Digest of its configuration; an index has none.
    pub config: Option<String>,
}

impl Image {
    /// `REPOSITORY:TAG`.
    #[must_use]
    pub fn tagged(&self) -> String {
        format!("{}:{}", self.repository, self.tag)
    }

    /// `REPOSITORY@DIGEST`.
    #[must_use]
    pub fn pinned(&self) -> String {
        format!("{}@{}", self.repository, self.digest)
    }

    /// The same image under another tag.
    #[must_use]
    pub fn with_tag(&self, tag: &str) -> Self {
        Self { tag: tag.to_owned(), ..self.clone() }
    }

    /// The tag that cosign derives from the digest, `sha256-HEX` and `end`.
    #[must_use]
    pub fn derived_tag(&self, end: &str) -> String {
        format!("{}{end}", self.digest.replace(':', "-"))
    }
}

/// Debian's `docker-registry`, which has no API for referrers: they stand in an index under a tag.
#[derive(Debug)]
pub struct ImageRegistry {
    registry: DockerRegistry,
    http: Client,
    runtime: Runtime,
    folder: TempDir,
}

impl ImageRegistry {
    /// Starts it; nothing if it is not installed, which is said aloud.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let registry = DockerRegistry::start(folder.path())?;
        let runtime = Runtime::new().expect("a runtime");
        Some(Self { registry, http: Client::new(), runtime, folder })
    }

    /// The full name of a repository.
    #[must_use]
    pub fn repository(&self, path: &str) -> String {
        format!("{}/{path}", self.registry.host)
    }

    /// Pushes an image of one layer, another one for each content.
    ///
    /// # Panics
    /// The registry refuses it.
    #[must_use]
    pub fn push(&self, path: &str, tag: &str, content: &str) -> Image {
        let repository = self.repository(path);
        let (manifest, config) = self.push_parts(&repository, content, "amd64");
        let digest = self.put_manifest(&repository, tag, &manifest, MANIFEST);
        Image { repository, tag: tag.to_owned(), digest, config: Some(config) }
    }

    /// Pushes an index of two platforms. Returns it, and the image of the first.
    ///
    /// # Panics
    /// The registry refuses it.
    #[must_use]
    pub fn push_index(&self, path: &str, tag: &str, content: &str) -> (Image, Image) {
        let repository = self.repository(path);
        let children = ["amd64", "arm64"].map(|architecture| {
            let (manifest, config) = self.push_parts(&repository, content, architecture);
            let digest = Sha256Digest::of(&manifest).to_oci();
            self.put_manifest(&repository, &digest, &manifest, MANIFEST);
            let platform = json!({"os": "linux", "architecture": architecture});
            let listed = json!({
                "mediaType": MANIFEST, "digest": digest, "size": manifest.len(), "platform": platform,
            });
            (
                listed,
                Image { repository: repository.clone(), tag: tag.to_owned(), digest, config: Some(config) },
            )
        });
        let [(first, child), (second, _)] = children;
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [first, second]});
        let digest = self.put_manifest(&repository, tag, index.to_string().as_bytes(), INDEX);
        (Image { repository, tag: tag.to_owned(), digest, config: None }, child)
    }

    /// Copies the image to another repository, as `skopeo copy` would, without its signatures.
    ///
    /// # Panics
    /// The registry refuses it.
    #[must_use]
    pub fn copy(&self, image: &Image, path: &str) -> Image {
        let manifest = self.manifest(&image.repository, &image.digest).expect("it was pushed");
        let to = Image { repository: self.repository(path), ..image.clone() };
        for part in blobs_of(&manifest) {
            self.put_blob(&to.repository, &self.blob(&image.repository, &part));
        }
        self.put_manifest(&to.repository, &to.tag, &manifest, MANIFEST);
        to
    }

    /// The bytes of a manifest, by tag or digest.
    ///
    /// # Panics
    /// The registry does not answer.
    #[must_use]
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<Vec<u8>> {
        let url = self.url(repository, &format!("manifests/{reference}"));
        let answer = self.send(self.http.get(url).header("accept", format!("{MANIFEST}, {INDEX}")));
        (answer.status() != StatusCode::NOT_FOUND).then(|| self.body(answer))
    }

    /// The bytes of a blob.
    ///
    /// # Panics
    /// It is not there.
    #[must_use]
    pub fn blob(&self, repository: &str, digest: &str) -> Vec<u8> {
        let answer = self.send(self.http.get(self.url(repository, &format!("blobs/{digest}"))));
        assert_eq!(answer.status(), StatusCode::OK, "{repository}@{digest}");
        self.body(answer)
    }

    /// Uploads a blob and returns its digest.
    ///
    /// # Panics
    /// The registry refuses it.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let begun = self.send(self.http.post(self.url(repository, "blobs/uploads/")));
        let place = begun.headers().get(LOCATION).and_then(|place| place.to_str().ok());
        let digest = Sha256Digest::of(bytes).to_oci();
        let url = format!("{}&digest={digest}", place.expect("an upload has a place"));
        let put = self.http.put(url).header(CONTENT_TYPE, "application/octet-stream").body(bytes.to_vec());
        let done = self.send(put);
        assert_eq!(done.status(), StatusCode::CREATED, "{repository}@{digest}");
        digest
    }

    /// Puts a manifest under a tag or its digest, and returns its digest.
    ///
    /// # Panics
    /// The registry refuses it.
    pub fn put_manifest(&self, repository: &str, reference: &str, bytes: &[u8], media_type: &str) -> String {
        let url = self.url(repository, &format!("manifests/{reference}"));
        let answer = self.send(self.http.put(url).header(CONTENT_TYPE, media_type).body(bytes.to_vec()));
        let status = answer.status();
        assert_eq!(status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&self.body(answer)));
        Sha256Digest::of(bytes).to_oci()
    }

    /// Moves the tag of `image` to what it names now.
    ///
    /// # Panics
    /// The registry refuses it.
    pub fn move_tag(&self, image: &Image) {
        let manifest = self.manifest(&image.repository, &image.digest).expect("it was pushed");
        self.put_manifest(&image.repository, &image.tag, &manifest, MANIFEST);
    }

    /// All tags of a repository, in order.
    ///
    /// # Panics
    /// The registry does not answer.
    #[must_use]
    pub fn tags(&self, repository: &str) -> Vec<String> {
        let answer = self.send(self.http.get(self.url(repository, "tags/list")));
        let list: Value = serde_json::from_slice(&self.body(answer)).expect("a list");
        let mut tags: Vec<String> = serde_json::from_value(list["tags"].clone()).unwrap_or_default();
        tags.sort();
        tags
    }

    /// The registry knows nothing of this tag any more.
    ///
    /// # Panics
    /// It never did.
    pub fn forget_tag(&self, repository: &str, tag: &str) {
        let path = repository.split_once('/').expect("a host and a path").1;
        let below: PathBuf =
            ["registry/docker/registry/v2/repositories", path, "_manifests/tags", tag].iter().collect();
        std::fs::remove_dir_all(self.folder.path().join(below)).expect("the tag is there");
    }

    /// The parts of an image, uploaded, and its manifest, not yet. Returns the configuration's digest as well.
    fn push_parts(&self, repository: &str, content: &str, architecture: &str) -> (Vec<u8>, String) {
        // The end of an archive, and then what makes it this one.
        let layer = [&[0; 1024], content.as_bytes()].concat();
        let layer_digest = self.put_blob(repository, &layer);
        let config = json!({
            "architecture": architecture, "os": "linux", "config": {"User": "1000"},
            "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
        });
        let config = config.to_string();
        let config_digest = self.put_blob(repository, config.as_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": config_digest, "size": config.len()},
            "layers": [{"mediaType": LAYER, "digest": layer_digest, "size": layer.len()}],
        });
        (manifest.to_string().into_bytes(), config_digest)
    }

    fn url(&self, repository: &str, rest: &str) -> String {
        let (host, path) = repository.split_once('/').expect("a host and a path");
        format!("http://{host}/v2/{path}/{rest}")
    }

    fn send(&self, request: RequestBuilder) -> Response {
        self.runtime.block_on(request.send()).expect("the registry answers")
    }

    fn body(&self, answer: Response) -> Vec<u8> {
        self.runtime.block_on(answer.bytes()).expect("a body").to_vec()
    }
}

/// Digests of everything that a manifest lists.
fn blobs_of(manifest: &[u8]) -> Vec<String> {
    let manifest: Value = serde_json::from_slice(manifest).expect("a manifest");
    let layers = manifest["layers"].as_array().expect("an image has layers").iter();
    let parts = layers.chain([&manifest["config"]]);
    parts.map(|part| part["digest"].as_str().expect("a digest").to_owned()).collect()
}
