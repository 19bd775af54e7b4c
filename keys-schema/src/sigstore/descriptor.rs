//! Entries of manifests and indexes: which bytes, of what type. Nothing in them is signed.

use std::collections::BTreeMap;

use super::InvalidManifest;
use crate::digest::Sha256Digest;
use crate::json::{Json, Object};
use crate::limits;

/// What a manifest or an index lists (OCI image spec, descriptor).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The media type of the bytes.
    pub media_type: String,
    /// SHA-256 of the bytes.
    pub digest: Sha256Digest,
    /// How many there are.
    pub size: u64,
    /// What the bytes are for, where they are a manifest.
    pub artifact_type: Option<String>,
    /// Notes. Whoever can write to the registry can change them.
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// Describes `bytes`.
    #[must_use]
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, Sha256Digest::of(bytes), bytes.len() as u64)
    }

    /// Describes bytes of which digest and length are known.
    #[must_use]
    pub fn new(media_type: &str, digest: Sha256Digest, size: u64) -> Self {
        let media_type = media_type.to_owned();
        Self { media_type, digest, size, artifact_type: None, annotations: BTreeMap::new() }
    }

    /// With one note more.
    #[must_use]
    pub fn annotate(mut self, name: &str, value: &str) -> Self {
        self.annotations.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Reads an entry. `None` for one that lists by another digest than SHA-256, or whose members
    /// are of other types: it is of no use here, and no reason to read nothing else.
    pub(super) fn read(entry: &Json) -> Option<Self> {
        let entry = entry.as_object()?;
        let artifact_type = match entry.get("artifactType") {
            None | Some(Json::Null) => None,
            Some(text) => Some(text.as_str()?.to_owned()),
        };
        Some(Self {
            media_type: entry.get("mediaType")?.as_str()?.to_owned(),
            digest: Sha256Digest::parse_oci(entry.get("digest")?.as_str()?).ok()?,
            size: entry.get("size")?.as_u64()?,
            artifact_type,
            annotations: read_annotations(entry.get("annotations"))?,
        })
    }

    pub(super) fn to_json(&self) -> Json {
        let mut entry = Object::from([
            ("mediaType".to_owned(), Json::from(self.media_type.as_str())),
            ("digest".to_owned(), Json::from(self.digest.to_oci())),
            ("size".to_owned(), Json::Integer(i64::try_from(self.size).unwrap_or(limits::JSON_INTEGER))),
        ]);
        if let Some(artifact_type) = &self.artifact_type {
            entry.insert("artifactType".to_owned(), Json::from(artifact_type.as_str()));
        }
        if !self.annotations.is_empty() {
            entry.insert("annotations".to_owned(), write_annotations(&self.annotations));
        }
        Json::Object(entry)
    }
}

/// The readable entries of the list `name`, and how many there are besides. An absent list is empty.
///
/// # Errors
/// No list, or more entries than `limit`.
pub(super) fn read_list(
    object: &Object,
    name: &'static str,
    limit: usize,
) -> Result<(Vec<Descriptor>, usize), InvalidManifest> {
    let items = match object.get(name) {
        None | Some(Json::Null) => &[],
        Some(list) => list.as_array().ok_or(InvalidManifest::Member { name })?,
    };
    if items.len() > limit {
        return Err(InvalidManifest::TooMany { found: items.len(), limit });
    }
    let read: Vec<Descriptor> = items.iter().filter_map(Descriptor::read).collect();
    let unreadable = items.len() - read.len();
    Ok((read, unreadable))
}

/// Appends `entry` to the list `name` of what was read or is made, and leaves the rest as it is.
pub(super) fn append(object: &mut Object, name: &'static str, entry: &Descriptor) {
    match object.get_mut(name) {
        Some(Json::Array(list)) => list.push(entry.to_json()),
        _ => {
            object.insert(name.to_owned(), Json::Array(vec![entry.to_json()]));
        }
    }
}

/// The notes in `value`; none where it is absent. `None` where it is no object of texts.
pub(super) fn read_annotations(value: Option<&Json>) -> Option<BTreeMap<String, String>> {
    match value {
        None | Some(Json::Null) => Some(BTreeMap::new()),
        Some(value) => {
            let members = value.as_object()?.iter();
            members.map(|(name, text)| Some((name.to_owned(), text.as_str()?.to_owned()))).collect()
        }
    }
}

pub(super) fn write_annotations(annotations: &BTreeMap<String, String>) -> Json {
    let members = annotations.iter();
    Json::Object(members.map(|(name, text)| (name.clone(), Json::from(text.as_str()))).collect())
}
