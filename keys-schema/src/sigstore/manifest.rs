//! The manifests that cosign keeps beside an image: one whose layers are signatures (`.sig`) or
//! attestations (`.att`), found by its tag; and one for each bundle, found as a referrer or in the
//! index that stands in for the list of referrers.
//!
//! Others write to them as well, so what is read is kept: members that mean nothing here, and
//! layers of other programs, are written again as they were.

use std::collections::BTreeMap;

use super::descriptor::{append, read_annotations, read_list, write_annotations};
use super::{BUNDLE, Descriptor};
use crate::digest::Sha256Digest;
use crate::json::{InvalidJson, Json, Object};
use crate::limits;
use crate::names::Tag;
use crate::time::UtcTime;

/// The media type of an image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of an image's configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The media type of a configuration that says nothing.
pub const EMPTY_CONFIG: &str = "application/vnd.oci.empty.v1+json";
/// The bytes of a configuration that says nothing.
pub const EMPTY_CONFIG_BYTES: &[u8] = b"{}";
/// The media type of the payload of one signature.
pub const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The media type of one attestation.
pub const DSSE_ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
/// The note that holds the signature of a layer, in base64.
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// The note that says of which type an attestation is.
pub const PREDICATE_TYPE: &str = "predicateType";

const BUNDLE_CONTENT: &str = "dev.sigstore.bundle.content";
const BUNDLE_PREDICATE_TYPE: &str = "dev.sigstore.bundle.predicateType";
const CREATED: &str = "org.opencontainers.image.created";
/// When cosign says that something was made that has no time.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// What a manifest beside an image holds, and so under which tag it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    /// Signatures: `sha256-HEX.sig`.
    Signatures,
    /// Attestations: `sha256-HEX.att`.
    Attestations,
}

impl Attached {
    /// The tag, in the repository of the image whose manifest has the digest `subject`.
    #[must_use]
    pub fn tag(self, subject: Sha256Digest) -> Tag {
        let suffix = match self {
            Self::Signatures => "sig",
            Self::Attestations => "att",
        };
        Tag::beside(subject, Some(suffix))
    }
}

/// The manifest at a `.sig` or `.att` tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigManifest {
    object: Object,
    layers: Vec<Descriptor>,
    unreadable: usize,
}

impl SigManifest {
    /// One without layers.
    #[must_use]
    pub fn new() -> Self {
        Self { object: new_object(MANIFEST), layers: Vec::new(), unreadable: 0 }
    }

    /// Reads one.
    ///
    /// # Errors
    /// No strict JSON, no manifest, or more layers than [`limits::SIGNATURE_LAYERS`].
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidManifest> {
        let object = read_object(bytes)?;
        if object.contains_key("manifests") {
            return Err(InvalidManifest::Member { name: "manifests" });
        }
        let (layers, unreadable) = read_list(&object, "layers", limits::SIGNATURE_LAYERS)?;
        Ok(Self { object, layers, unreadable })
    }

    /// The layers, each a signature or an attestation if its media type says so.
    #[must_use]
    pub fn layers(&self) -> &[Descriptor] {
        &self.layers
    }

    /// How many layers cannot be read at all.
    #[must_use]
    pub const fn unreadable(&self) -> usize {
        self.unreadable
    }

    /// Adds a layer behind those that are there.
    ///
    /// # Errors
    /// There would be more of them than are read, or more bytes.
    pub fn append(&mut self, layer: Descriptor) -> Result<(), InvalidManifest> {
        let found = self.layers.len() + self.unreadable + 1;
        if found > limits::SIGNATURE_LAYERS {
            return Err(InvalidManifest::TooMany { found, limit: limits::SIGNATURE_LAYERS });
        }
        append(&mut self.object, "layers", &layer);
        self.layers.push(layer);
        let config = Descriptor::of(CONFIG, &self.config());
        self.object.insert("config".to_owned(), config.to_json());
        require_readable(&self.to_bytes())
    }

    /// The configuration that goes with the layers, as cosign would write it. A registry wants it
    /// before the manifest.
    #[must_use]
    pub fn config(&self) -> Vec<u8> {
        let text = |text: &str| Json::from(text);
        let entry = || Json::Object(Object::from([("created".to_owned(), text(NEVER))]));
        let history = self.layers.iter().map(|_| entry()).collect();
        let diff_ids = self.layers.iter().map(|layer| Json::from(layer.digest.to_oci())).collect();
        let rootfs = Object::from([
            ("type".to_owned(), text("layers")),
            ("diff_ids".to_owned(), Json::Array(diff_ids)),
        ]);
        let config = Object::from([
            ("architecture".to_owned(), text("")),
            ("config".to_owned(), Json::Object(Object::new())),
            ("created".to_owned(), text(NEVER)),
            ("history".to_owned(), Json::Array(history)),
            ("os".to_owned(), text("")),
            ("rootfs".to_owned(), Json::Object(rootfs)),
        ]);
        Json::Object(config).to_wire()
    }

    /// The bytes to push.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        Json::Object(self.object.clone()).to_wire()
    }

    /// The media type to push it as.
    #[must_use]
    pub fn media_type(&self) -> &str {
        self.object.get("mediaType").and_then(Json::as_str).unwrap_or(MANIFEST)
    }
}

impl Default for SigManifest {
    fn default() -> Self {
        Self::new()
    }
}

/// The manifest of one bundle, which refers to an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferrerManifest {
    subject: Option<Descriptor>,
    layers: Vec<Descriptor>,
    artifact_type: Option<String>,
    annotations: BTreeMap<String, String>,
    bytes: Vec<u8>,
}

impl ReferrerManifest {
    /// Of `bundle`, which holds a DSSE envelope with a statement of `predicate_type` on the image
    /// whose manifest `subject` describes. [`EMPTY_CONFIG_BYTES`] must be at the registry as well.
    #[must_use]
    pub fn new(bundle: &Descriptor, subject: &Descriptor, predicate_type: &str, created: UtcTime) -> Self {
        let subject = Descriptor::new(&subject.media_type, subject.digest, subject.size);
        let notes = [
            (BUNDLE_CONTENT, "dsse-envelope".to_owned()),
            (BUNDLE_PREDICATE_TYPE, predicate_type.to_owned()),
            (CREATED, created.to_string()),
        ];
        let annotations = notes.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
        let mut object = new_object(MANIFEST);
        object.insert("artifactType".to_owned(), Json::from(BUNDLE));
        let config = Descriptor::of(EMPTY_CONFIG, EMPTY_CONFIG_BYTES);
        object.insert("config".to_owned(), config.to_json());
        append(&mut object, "layers", bundle);
        object.insert("subject".to_owned(), subject.to_json());
        object.insert("annotations".to_owned(), write_annotations(&annotations));
        Self {
            subject: Some(subject),
            layers: vec![bundle.clone()],
            artifact_type: Some(BUNDLE.to_owned()),
            annotations,
            bytes: Json::Object(object).to_wire(),
        }
    }

    /// Reads one. Cosign takes manifests without notes and without a type of the artifact.
    ///
    /// # Errors
    /// No strict JSON, no manifest, or more layers than [`limits::SIGNATURE_LAYERS`].
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidManifest> {
        let object = read_object(bytes)?;
        let (layers, _) = read_list(&object, "layers", limits::SIGNATURE_LAYERS)?;
        let annotations = read_annotations(object.get("annotations"));
        Ok(Self {
            subject: object.get("subject").and_then(Descriptor::read),
            layers,
            artifact_type: object.get("artifactType").and_then(Json::as_str).map(str::to_owned),
            annotations: annotations.ok_or(InvalidManifest::Member { name: "annotations" })?,
            bytes: bytes.to_vec(),
        })
    }

    /// The image it says to refer to.
    #[must_use]
    pub const fn subject(&self) -> Option<&Descriptor> {
        self.subject.as_ref()
    }

    /// The bundle, if this is a manifest of exactly one.
    #[must_use]
    pub fn bundle(&self) -> Option<&Descriptor> {
        match self.layers.as_slice() {
            [only] if is_bundle(&only.media_type) => Some(only),
            _ => None,
        }
    }

    /// The type of the statement, as far as the notes tell.
    #[must_use]
    pub fn predicate_type(&self) -> Option<&str> {
        self.annotations.get(BUNDLE_PREDICATE_TYPE).map(String::as_str)
    }

    /// The bytes to push, or those that were read.
    #[must_use]
    pub fn to_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How a list of referrers names this manifest.
    #[must_use]
    pub fn entry(&self) -> Descriptor {
        Descriptor {
            artifact_type: self.artifact_type.clone(),
            annotations: self.annotations.clone(),
            ..Descriptor::of(MANIFEST, &self.bytes)
        }
    }
}

/// The index at the tag `sha256-HEX`, where a registry keeps no list of referrers itself, or the
/// list that one answers with. Its entries' types are no use: cosign writes that of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FallbackIndex {
    object: Object,
    entries: Vec<Descriptor>,
    unreadable: usize,
}

impl FallbackIndex {
    /// One without entries.
    #[must_use]
    pub fn new() -> Self {
        Self { object: new_object(INDEX), entries: Vec::new(), unreadable: 0 }
    }

    /// The tag, in the repository of the image whose manifest has the digest `subject`.
    #[must_use]
    pub fn tag(subject: Sha256Digest) -> Tag {
        Tag::beside(subject, None)
    }

    /// Reads one.
    ///
    /// # Errors
    /// No strict JSON, no index, or more entries than [`limits::REFERRERS`].
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidManifest> {
        let object = read_object(bytes)?;
        // Of an image under this tag, say, which copying programs leave there.
        if !object.contains_key("manifests") {
            return Err(InvalidManifest::Member { name: "manifests" });
        }
        let (entries, unreadable) = read_list(&object, "manifests", limits::REFERRERS)?;
        Ok(Self { object, entries, unreadable })
    }

    /// What refers to the image.
    #[must_use]
    pub fn entries(&self) -> &[Descriptor] {
        &self.entries
    }

    /// How many entries cannot be read at all.
    #[must_use]
    pub const fn unreadable(&self) -> usize {
        self.unreadable
    }

    /// Adds an entry. Whether it was not there before, by its digest.
    ///
    /// # Errors
    /// There would be more of them than are read, or more bytes.
    pub fn append(&mut self, entry: Descriptor) -> Result<bool, InvalidManifest> {
        if self.entries.iter().any(|known| known.digest == entry.digest) {
            return Ok(false);
        }
        let found = self.entries.len() + self.unreadable + 1;
        if found > limits::REFERRERS {
            return Err(InvalidManifest::TooMany { found, limit: limits::REFERRERS });
        }
        append(&mut self.object, "manifests", &entry);
        self.entries.push(entry);
        require_readable(&self.to_bytes()).map(|()| true)
    }

    /// The bytes to push.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        Json::Object(self.object.clone()).to_wire()
    }
}

impl Default for FallbackIndex {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether bytes of this type are a bundle of any version.
#[must_use]
pub fn is_bundle(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.dev.sigstore.bundle") && media_type.contains("json")
}

/// Why bytes are no manifest or index that is read, or that can be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidManifest {
    /// No strict JSON.
    #[error(transparent)]
    Json(#[from] InvalidJson),
    /// A member is absent, of another type, or should not be there.
    #[error("the member `{name}` is not what it must be")]
    Member {
        /// Its name.
        name: &'static str,
    },
    /// Another version than 2, or no object at all.
    #[error("it is no manifest and no index of OCI images")]
    OtherKind,
    /// More bytes than are read.
    #[error("it would have {bytes} bytes, and more than {limit} are not read", limit = limits::MANIFEST_BYTES)]
    TooLarge {
        /// How many there would be.
        bytes: usize,
    },
    /// More entries than are looked at: whoever may write to the registry could keep us busy.
    #[error("it lists {found} entries, and more than {limit} are not read")]
    TooMany {
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
}

/// Somebody may have filled it up to the brim: one signature more, and nobody would find any.
const fn require_readable(bytes: &[u8]) -> Result<(), InvalidManifest> {
    if bytes.len() <= limits::MANIFEST_BYTES {
        return Ok(());
    }
    Err(InvalidManifest::TooLarge { bytes: bytes.len() })
}

fn new_object(media_type: &str) -> Object {
    Object::from([
        ("schemaVersion".to_owned(), Json::Integer(2)),
        ("mediaType".to_owned(), Json::from(media_type)),
    ])
}

fn read_object(bytes: &[u8]) -> Result<Object, InvalidManifest> {
    let Json::Object(object) = Json::parse(bytes)? else { return Err(InvalidManifest::OtherKind) };
    if object.get("schemaVersion").and_then(Json::as_u64) != Some(2) {
        return Err(InvalidManifest::OtherKind);
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(payload: &[u8]) -> Descriptor {
        Descriptor::of(SIMPLE_SIGNING, payload).annotate(SIGNATURE, "c2ln")
    }

    #[test]
    fn tags_are_those_of_cosign() {
        let subject = Sha256Digest::of(b"");
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Attached::Signatures.tag(subject).as_str(), format!("sha256-{hex}.sig"));
        assert_eq!(Attached::Attestations.tag(subject).as_str(), format!("sha256-{hex}.att"));
        assert_eq!(FallbackIndex::tag(subject).as_str(), format!("sha256-{hex}"));
        assert_eq!(FallbackIndex::tag(subject).as_str().parse::<Tag>(), Ok(FallbackIndex::tag(subject)));
    }

    #[test]
    fn appending_keeps_what_others_wrote() {
        let theirs = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","x":{{"y":[1]}},"annotations":{{"a":"b"}},
               "config":{{"mediaType":"c","digest":"sha256:{0}","size":2}},
               "layers":[{{"mediaType":"m","digest":"sha512:00","size":1}},
                         {{"mediaType":"{SIMPLE_SIGNING}","digest":"sha256:{0}","size":7,"urls":["u"],"annotations":{{"k":"v"}}}}]}}"#,
            Sha256Digest::of(b"theirs")
        );
        let mut manifest = SigManifest::parse(theirs.as_bytes()).unwrap();
        assert_eq!((manifest.layers().len(), manifest.unreadable()), (1, 1));
        manifest.append(layer(b"ours")).unwrap();
        let written = Json::parse(&manifest.to_bytes()).unwrap();
        let before = Json::parse(theirs.as_bytes()).unwrap();
        let (written, before) = (written.as_object().unwrap(), before.as_object().unwrap());
        for kept in ["x", "annotations", "mediaType", "schemaVersion"] {
            assert_eq!(written.get(kept), before.get(kept), "{kept}");
        }
        let layers = written.get("layers").unwrap().as_array().unwrap();
        assert_eq!(layers[..2], before.get("layers").unwrap().as_array().unwrap()[..]);
        assert_eq!(layers[2], layer(b"ours").to_json());
        let config = Descriptor::read(written.get("config").unwrap()).unwrap();
        assert_eq!(config, Descriptor::of(CONFIG, &manifest.config()));
        assert_eq!(SigManifest::parse(&manifest.to_bytes()).unwrap(), manifest);
    }

    #[test]
    fn the_configuration_lists_every_layer() {
        let mut manifest = SigManifest::new();
        manifest.append(layer(b"a")).unwrap();
        let text = String::from_utf8(manifest.config()).unwrap();
        let diff_id = Sha256Digest::of(b"a").to_oci();
        let expected = format!(
            r#"{{"architecture":"","config":{{}},"created":"{NEVER}","history":[{{"created":"{NEVER}"}}],"os":"","rootfs":{{"diff_ids":["{diff_id}"],"type":"layers"}}}}"#
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn lists_have_an_end() {
        let mut manifest = SigManifest::new();
        for n in 0..limits::SIGNATURE_LAYERS {
            manifest.append(layer(&n.to_be_bytes())).unwrap();
        }
        let (found, limit) = (limits::SIGNATURE_LAYERS + 1, limits::SIGNATURE_LAYERS);
        assert_eq!(manifest.append(layer(b"x")), Err(InvalidManifest::TooMany { found, limit }));
        let bytes = manifest.to_bytes();
        assert!(SigManifest::parse(&bytes).is_ok());
        let more = String::from_utf8(bytes).unwrap().replacen("\"layers\":[", "\"layers\":[{},", 1);
        assert_eq!(
            SigManifest::parse(more.as_bytes()),
            Err(InvalidManifest::TooMany { found, limit }),
            "an unreadable one is one as well"
        );

        let entries = vec!["{}"; 5_000].join(",");
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{entries}]}}"#);
        let too_many = InvalidManifest::TooMany { found: 5_000, limit: limits::REFERRERS };
        assert_eq!(FallbackIndex::parse(index.as_bytes()), Err(too_many));
    }

    #[test]
    fn what_nobody_could_read_is_not_written() {
        let brim = "x".repeat(limits::MANIFEST_BYTES - 100);
        let full = format!(r#"{{"schemaVersion":2,"annotations":{{"a":"{brim}"}},"layers":[]}}"#);
        let mut manifest = SigManifest::parse(full.as_bytes()).unwrap();
        assert!(matches!(manifest.append(layer(b"a")), Err(InvalidManifest::TooLarge { .. })));
        let full = full.replace("layers", "manifests");
        let mut index = FallbackIndex::parse(full.as_bytes()).unwrap();
        let entry = layer(b"a").annotate("note", &"y".repeat(500));
        assert!(matches!(index.append(entry), Err(InvalidManifest::TooLarge { .. })));
    }

    #[test]
    fn other_things_are_refused() {
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"schemaVersion":1,"layers":[]}"#,
            r#"{"schemaVersion":2,"layers":{}}"#,
            r#"{"schemaVersion":2,"layers":[],"layers":[]}"#,
            r#"{"schemaVersion":2,"manifests":[]}"#,
            r#"{"schemaVersion":2,"layers":[]} "x""#,
        ] {
            assert!(SigManifest::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        for bad in ["{}", r#"{"schemaVersion":2,"layers":[]}"#, r#"{"schemaVersion":2,"manifests":1}"#] {
            assert!(FallbackIndex::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_referrer_says_what_it_is_of() {
        let bundle = Descriptor::of(BUNDLE, b"a bundle");
        let subject = Descriptor::of(INDEX, b"an index").annotate("not", "kept");
        let created = "2030-01-02T03:04:05Z".parse().unwrap();
        let made = ReferrerManifest::new(&bundle, &subject, "https://example.com/type", created);
        let read = ReferrerManifest::parse(made.to_bytes()).unwrap();
        assert_eq!(read, made);
        assert_eq!(read.bundle(), Some(&bundle));
        assert_eq!(read.subject().unwrap().digest, subject.digest);
        assert_eq!(read.predicate_type(), Some("https://example.com/type"));
        let entry = read.entry();
        assert_eq!(entry.digest, Sha256Digest::of(made.to_bytes()));
        assert_eq!(entry.artifact_type.as_deref(), Some(BUNDLE));
        let text = std::str::from_utf8(made.to_bytes()).unwrap();
        for part in [
            "\"dev.sigstore.bundle.content\":\"dsse-envelope\"",
            "\"org.opencontainers.image.created\":\"2030-01-02T03:04:05Z\"",
            "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }

        let mut index = FallbackIndex::new();
        assert_eq!(index.append(entry.clone()), Ok(true));
        assert_eq!(index.append(entry.clone()), Ok(false), "once is enough");
        assert_eq!(FallbackIndex::parse(&index.to_bytes()).unwrap().entries(), [entry]);
    }

    #[test]
    fn a_manifest_of_several_layers_is_no_bundle() {
        let layers = [BUNDLE, BUNDLE].map(|kind| {
            format!(r#"{{"mediaType":"{kind}","digest":"{}","size":1}}"#, Sha256Digest::of(b"").to_oci())
        });
        let manifest = format!(r#"{{"schemaVersion":2,"layers":[{}]}}"#, layers.join(","));
        assert_eq!(ReferrerManifest::parse(manifest.as_bytes()).unwrap().bundle(), None);
    }
}
