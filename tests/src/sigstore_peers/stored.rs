//! What hangs on an image in a registry: signatures and attestations under derived tags, and bundles
//! that refer to it. Read as any client may read it, and written as any client may write it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::images::{INDEX, Image, ImageRegistry, MANIFEST};

const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// The annotation of a layer that holds its signature.
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// A layer of a `.sig` or `.att` manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The blob: what is signed, or an envelope.
    pub bytes: Vec<u8>,
    /// Not signed, all of it.
    pub annotations: Map<String, Value>,
}

impl Layer {
    /// A signature over a payload of simple signing.
    #[must_use]
    pub fn signature(payload: &[u8], signature: &[u8]) -> Self {
        let annotations = Map::from_iter([(SIGNATURE.to_owned(), STANDARD.encode(signature).into())]);
        Self { bytes: payload.to_vec(), annotations }
    }

    /// The blob as JSON.
    ///
    /// # Panics
    /// It is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).expect("JSON")
    }
}

/// The statement in an envelope, whoever signed it.
///
/// # Panics
/// There is none.
#[must_use]
pub fn statement(envelope: &Value) -> Value {
    let payload = STANDARD.decode(envelope["payload"].as_str().expect("a payload")).expect("base64");
    serde_json::from_slice(&payload).expect("a statement")
}

/// It speaks of this image, and its predicate is of this type.
#[must_use]
pub fn is_about(statement: &Value, image: &Image, predicate_type: &str) -> bool {
    let subjects = statement["subject"].as_array().into_iter().flatten();
    let mut digests = subjects.filter_map(|subject| subject["digest"]["sha256"].as_str());
    statement["predicateType"] == predicate_type
        && digests.any(|digest| image.digest == format!("sha256:{digest}"))
}

impl ImageRegistry {
    /// The layers under the tag that ends with `.sig`.
    #[must_use]
    pub fn signatures(&self, image: &Image) -> Vec<Layer> {
        self.layers(image, ".sig")
    }

    /// Replaces them.
    pub fn set_signatures(&self, image: &Image, layers: &[Layer]) {
        self.set_layers(image, ".sig", SIMPLE_SIGNING, layers);
    }

    /// The layers under the tag that ends with `.att`.
    #[must_use]
    pub fn attestations(&self, image: &Image) -> Vec<Layer> {
        self.layers(image, ".att")
    }

    /// Replaces them.
    pub fn set_attestations(&self, image: &Image, layers: &[Layer]) {
        self.set_layers(image, ".att", ENVELOPE, layers);
    }

    /// The bundles that refer to the image.
    ///
    /// # Panics
    /// The index lists something that is not there.
    #[must_use]
    pub fn bundles(&self, image: &Image) -> Vec<Value> {
        let Some(index) = self.manifest(&image.repository, &image.derived_tag("")) else { return Vec::new() };
        let index: Value = serde_json::from_slice(&index).expect("an index");
        let listed = index["manifests"].as_array().expect("an index lists manifests");
        let mut bundles = Vec::new();
        for digest in listed.iter().map(|manifest| manifest["digest"].as_str().expect("a digest")) {
            let manifest = self.manifest(&image.repository, digest).expect("it is there");
            for layer in layers_of(&manifest) {
                if layer["mediaType"] == BUNDLE {
                    let digest = layer["digest"].as_str().expect("a digest");
                    bundles
                        .push(serde_json::from_slice(&self.blob(&image.repository, digest)).expect("JSON"));
                }
            }
        }
        bundles
    }

    /// Replaces them.
    ///
    /// # Panics
    /// The registry refuses them.
    pub fn set_bundles(&self, image: &Image, bundles: &[Value]) {
        let subject = self.manifest(&image.repository, &image.digest).expect("it was pushed");
        let subject = json!({"mediaType": MANIFEST, "digest": image.digest, "size": subject.len()});
        let empty = json!({"mediaType": EMPTY, "digest": self.put_blob(&image.repository, b"{}"), "size": 2});
        let listed = bundles.iter().map(|bundle| {
            let bytes = bundle.to_string().into_bytes();
            let digest = self.put_blob(&image.repository, &bytes);
            let manifest = json!({
                "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": BUNDLE, "config": empty,
                "layers": [{"mediaType": BUNDLE, "digest": digest, "size": bytes.len()}],
                "subject": subject,
            });
            self.put_referrer(image, &manifest)
        });
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed.collect::<Vec<_>>()});
        self.put_manifest(&image.repository, &image.derived_tag(""), index.to_string().as_bytes(), INDEX);
    }

    /// Every envelope on the image, from the tag and out of bundles.
    #[must_use]
    pub fn envelopes(&self, image: &Image) -> Vec<Value> {
        let bundled = self.bundles(image).into_iter().map(|mut bundle| bundle["dsseEnvelope"].take());
        self.attestations(image).iter().map(Layer::json).chain(bundled).collect()
    }

    /// Pushes a manifest by its digest, and describes it for an index.
    fn put_referrer(&self, image: &Image, manifest: &Value) -> Value {
        let bytes = manifest.to_string().into_bytes();
        let digest = bulla_keys_schema::digest::Sha256Digest::of(&bytes).to_oci();
        self.put_manifest(&image.repository, &digest, &bytes, MANIFEST);
        json!({"mediaType": MANIFEST, "artifactType": BUNDLE, "digest": digest, "size": bytes.len()})
    }

    fn layers(&self, image: &Image, end: &str) -> Vec<Layer> {
        let Some(manifest) = self.manifest(&image.repository, &image.derived_tag(end)) else {
            return Vec::new();
        };
        let read = |layer: Value| Layer {
            bytes: self.blob(&image.repository, layer["digest"].as_str().expect("a digest")),
            annotations: layer["annotations"].as_object().cloned().unwrap_or_default(),
        };
        layers_of(&manifest).into_iter().map(read).collect()
    }

    fn set_layers(&self, image: &Image, end: &str, media_type: &str, layers: &[Layer]) {
        let config = json!({
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": self.put_blob(&image.repository, b"{}"), "size": 2,
        });
        let layers = layers.iter().map(|layer| {
            json!({
                "mediaType": media_type, "digest": self.put_blob(&image.repository, &layer.bytes),
                "size": layer.bytes.len(), "annotations": layer.annotations,
            })
        });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers.collect::<Vec<_>>(),
        });
        let manifest = manifest.to_string();
        self.put_manifest(&image.repository, &image.derived_tag(end), manifest.as_bytes(), MANIFEST);
    }
}

fn layers_of(manifest: &[u8]) -> Vec<Value> {
    let mut manifest: Value = serde_json::from_slice(manifest).expect("a manifest");
    serde_json::from_value(manifest["layers"].take()).expect("a manifest lists layers")
}
