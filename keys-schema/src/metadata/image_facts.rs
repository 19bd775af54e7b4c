//! What a signer says of the image behind a digest: a copy of a few members of the manifest and the
//! configuration, so that a verdict needs no registry.
//!
//! The digest covers all of it, so anybody who has the image can make the same copy. It stands in
//! `custom` of the signer's entry.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use crate::digest::Sha256Digest;
use crate::json::{Json, Object};
use crate::metadata::TargetInfo;

/// Our member of `custom` in the documents of signers.
const MEMBER: &str = "x_bulla_image";
/// Bytes of all labels of an image, names and values, that are copied.
const LABEL_BYTES: usize = 2048;
/// Longest other text that is copied, in bytes.
const TEXT_BYTES: usize = 512;
/// Images of one index that are copied.
const CHILDREN: usize = 64;

/// What an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one for a question, and never a list of them")]
pub enum ImageFacts {
    /// One image.
    Single(Facts),
    /// An index: images of several platforms, in its order.
    Index(Vec<ChildFacts>),
}

/// One image of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildFacts {
    /// For which platform the index offers it.
    pub platform: Platform,
    /// The digest of its manifest.
    pub digest: Sha256Digest,
    /// What it is; nothing where the manifest is no image, or was not at hand.
    pub facts: Option<Facts>,
}

/// What one image is, by its manifest and configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The digest of the configuration, the id of the image.
    pub config: Sha256Digest,
    /// The platform that the configuration names.
    pub platform: Option<Platform>,
    /// The user that it runs as, as the configuration spells it; empty is root.
    pub user: String,
    /// Its labels.
    pub labels: Labels,
    /// Bytes of the configuration and all layers, compressed.
    pub size: u64,
    /// How many layers it has.
    pub layers: u64,
    /// What it is built on, by the annotations of its manifest.
    pub base: Option<BaseImage>,
}

/// The labels of an image, as far as they were copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Labels {
    /// All of them, with their values.
    Full(BTreeMap<String, String>),
    /// The names of all of them.
    Names(BTreeSet<String>),
    /// They are too long for a copy.
    TooLong,
}

impl Labels {
    /// Whether there is a label `name`; nothing where that is not known.
    #[must_use]
    pub fn contains(&self, name: &str) -> Option<bool> {
        match self {
            Self::Full(labels) => Some(labels.contains_key(name)),
            Self::Names(names) => Some(names.contains(name)),
            Self::TooLong => None,
        }
    }
}

/// The image that another one is built on, as its builder says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseImage {
    /// Its reference, as the annotation spells it.
    pub name: String,
    /// Its digest, if that is noted.
    pub digest: Option<Sha256Digest>,
}

/// For which machines an image is: `linux/arm64/v8`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    /// The operating system, in the words of Go.
    pub os: String,
    /// The processor.
    pub architecture: String,
    /// The variant of the processor.
    pub variant: Option<String>,
}

impl Platform {
    /// Whether this is the platform of no image: what builders give to the attestations that they put
    /// into an index.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }

    /// Whether an image offered for `offered` may be what is meant by `self`: a variant that is not
    /// named, on either side, is any. Runtimes take `linux/arm64` for `linux/arm64/v8`.
    #[must_use]
    pub fn accepts(&self, offered: &Self) -> bool {
        self.os == offered.os
            && self.architecture == offered.architecture
            && (self.variant.is_none() || offered.variant.is_none() || self.variant == offered.variant)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_word = |part: &&str| {
            let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
            !part.is_empty() && part.len() <= 64 && part.bytes().all(word)
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(is_word) {
            return Err(InvalidPlatform);
        }
        let (os, architecture, variant) = match parts.as_slice() {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some((*variant).to_owned())),
            _ => return Err(InvalidPlatform),
        };
        Ok(Self { os: (*os).to_owned(), architecture: (*architecture).to_owned(), variant })
    }
}

/// The text names no platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a platform: write it like linux/amd64 or linux/arm64/v8, in small letters")]
pub struct InvalidPlatform;

impl TargetInfo {
    /// Notes what the image is. Labels that are too long are left out, first the values, then the
    /// names; what is longer still, or of too many images, is not noted at all.
    #[must_use]
    pub fn with_facts(mut self, facts: &ImageFacts) -> Self {
        if let Some(written) = write(facts) {
            let members = match self.custom.take() {
                Some(Json::Object(members)) => Some(members),
                None => Some(Object::new()),
                other => {
                    self.custom = other;
                    None
                }
            };
            if let Some(mut members) = members {
                members.insert(MEMBER.to_owned(), written);
                self.custom = Some(Json::Object(members));
            }
        }
        self
    }

    /// How many bytes that note takes.
    #[must_use]
    pub fn facts_bytes(&self) -> usize {
        let noted = self.custom.as_ref().and_then(|custom| custom.as_object()?.get(MEMBER));
        noted.map_or(0, |noted| noted.to_wire().len())
    }

    /// The same with the names of labels only.
    #[must_use]
    pub fn without_label_values(self) -> Self {
        self.with_labels(|labels| match labels {
            Labels::Full(labels) => Labels::Names(labels.into_keys().collect()),
            other => other,
        })
    }

    /// The same without labels.
    #[must_use]
    pub fn without_labels(self) -> Self {
        self.with_labels(|_| Labels::TooLong)
    }

    /// The same without the note.
    #[must_use]
    pub fn without_facts(mut self) -> Self {
        if let Some(Json::Object(members)) = &mut self.custom {
            members.remove(MEMBER);
        }
        self
    }

    fn with_labels(self, change: impl Fn(Labels) -> Labels) -> Self {
        let changed = |facts: Facts| Facts { labels: change(facts.labels), ..facts };
        match self.facts() {
            None => self,
            Some(ImageFacts::Single(single)) => self.with_facts(&ImageFacts::Single(changed(single))),
            Some(ImageFacts::Index(children)) => {
                let child = |child: ChildFacts| ChildFacts { facts: child.facts.map(&changed), ..child };
                self.with_facts(&ImageFacts::Index(children.into_iter().map(child).collect()))
            }
        }
    }

    /// What the image is, in the words of whoever signed the entry. Nothing where it is not noted, or
    /// not in the form that is written here.
    #[must_use]
    pub fn facts(&self) -> Option<ImageFacts> {
        read(self.custom.as_ref()?.as_object()?.get(MEMBER)?)
    }
}

fn write(facts: &ImageFacts) -> Option<Json> {
    let singles: Vec<&Facts> = match facts {
        ImageFacts::Single(single) => vec![single],
        ImageFacts::Index(children) => children.iter().filter_map(|child| child.facts.as_ref()).collect(),
    };
    let detail = LabelDetail::that_fits(&singles);
    match facts {
        ImageFacts::Single(single) => write_single(single, detail),
        ImageFacts::Index(children) if children.len() <= CHILDREN => {
            let children: Option<Vec<Json>> =
                children.iter().map(|child| write_child(child, detail)).collect();
            Some(Json::Object(Object::from([("children".to_owned(), Json::Array(children?))])))
        }
        ImageFacts::Index(_) => None,
    }
}

/// How much of the labels is written, for all images of an index alike.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LabelDetail {
    Full,
    Names,
    Nothing,
}

impl LabelDetail {
    fn that_fits(images: &[&Facts]) -> Self {
        let sum = |bytes: fn(&Labels) -> Option<usize>| {
            images.iter().try_fold(0_usize, |sum, facts| Some(sum.saturating_add(bytes(&facts.labels)?)))
        };
        let full = sum(|labels| match labels {
            Labels::Full(labels) => Some(labels.iter().map(|(name, value)| name.len() + value.len()).sum()),
            _ => None,
        });
        let names = sum(|labels| match labels {
            Labels::Full(labels) => Some(labels.keys().map(String::len).sum()),
            Labels::Names(names) => Some(names.iter().map(String::len).sum()),
            Labels::TooLong => None,
        });
        match (full, names) {
            (Some(bytes), _) if bytes <= LABEL_BYTES => Self::Full,
            (_, Some(bytes)) if bytes <= LABEL_BYTES => Self::Names,
            _ => Self::Nothing,
        }
    }
}

fn write_child(child: &ChildFacts, detail: LabelDetail) -> Option<Json> {
    let mut members = Object::from([
        ("digest".to_owned(), Json::from(child.digest.to_oci())),
        ("platform".to_owned(), Json::from(child.platform.to_string())),
    ]);
    if let Some(facts) = &child.facts {
        members.insert("image".to_owned(), write_single(facts, detail)?);
    }
    Some(Json::Object(members))
}

fn write_single(facts: &Facts, detail: LabelDetail) -> Option<Json> {
    let base = facts.base.as_ref().map_or("", |base| base.name.as_str());
    if facts.user.len() > TEXT_BYTES || base.len() > TEXT_BYTES {
        return None;
    }
    let number = |value: u64| i64::try_from(value).ok().filter(|value| *value <= crate::limits::JSON_INTEGER);
    let mut members = Object::from([
        ("config".to_owned(), Json::from(facts.config.to_oci())),
        ("layers".to_owned(), Json::Integer(number(facts.layers)?)),
        ("size".to_owned(), Json::Integer(number(facts.size)?)),
        ("user".to_owned(), Json::from(facts.user.as_str())),
    ]);
    if let Some(platform) = &facts.platform {
        members.insert("platform".to_owned(), Json::from(platform.to_string()));
    }
    if let Some(base) = &facts.base {
        let mut written = Object::from([("name".to_owned(), Json::from(base.name.as_str()))]);
        if let Some(digest) = base.digest {
            written.insert("digest".to_owned(), Json::from(digest.to_oci()));
        }
        members.insert("base".to_owned(), Json::Object(written));
    }
    if let Some(labels) = write_labels(&facts.labels, detail) {
        members.insert("labels".to_owned(), labels);
    }
    Some(Json::Object(members))
}

/// Lists, and no members: names that differ in letter case alone are good labels, and no good members.
fn write_labels(labels: &Labels, detail: LabelDetail) -> Option<Json> {
    let names = |names: &mut dyn Iterator<Item = &String>| {
        Json::Array(names.map(|name| Json::from(name.as_str())).collect())
    };
    match (labels, detail) {
        (_, LabelDetail::Nothing) | (Labels::TooLong, _) => None,
        (Labels::Full(labels), LabelDetail::Full) => {
            let pair = |(name, value): (&String, &String)| {
                Json::Array(vec![Json::from(name.as_str()), Json::from(value.as_str())])
            };
            Some(Json::Array(labels.iter().map(pair).collect()))
        }
        (Labels::Full(labels), LabelDetail::Names) => Some(names(&mut labels.keys())),
        (Labels::Names(labels), _) => Some(names(&mut labels.iter())),
    }
}

fn read(value: &Json) -> Option<ImageFacts> {
    let members = value.as_object()?;
    match members.get("children") {
        None => read_single(members).map(ImageFacts::Single),
        Some(children) => {
            let children: Option<Vec<ChildFacts>> = children.as_array()?.iter().map(read_child).collect();
            children.map(ImageFacts::Index)
        }
    }
}

fn read_child(value: &Json) -> Option<ChildFacts> {
    let members = value.as_object()?;
    let facts = match members.get("image") {
        None => None,
        Some(image) => Some(read_single(image.as_object()?)?),
    };
    let platform = members.get("platform")?.as_str()?.parse().ok()?;
    Some(ChildFacts { platform, digest: read_digest(members.get("digest")?)?, facts })
}

fn read_single(members: &Object) -> Option<Facts> {
    let base = match members.get("base") {
        None => None,
        Some(base) => {
            let base = base.as_object()?;
            let digest = match base.get("digest") {
                None => None,
                Some(digest) => Some(read_digest(digest)?),
            };
            Some(BaseImage { name: base.get("name")?.as_str()?.to_owned(), digest })
        }
    };
    let platform = match members.get("platform") {
        None => None,
        Some(platform) => Some(platform.as_str()?.parse().ok()?),
    };
    Some(Facts {
        config: read_digest(members.get("config")?)?,
        platform,
        user: members.get("user")?.as_str()?.to_owned(),
        labels: read_labels(members.get("labels"))?,
        size: members.get("size")?.as_u64()?,
        layers: members.get("layers")?.as_u64()?,
        base,
    })
}

fn read_labels(value: Option<&Json>) -> Option<Labels> {
    let Some(value) = value else { return Some(Labels::TooLong) };
    let items = value.as_array()?;
    let pairs: Option<BTreeMap<String, String>> = items.iter().map(read_label).collect();
    let names = || items.iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<_>>();
    pairs.map(Labels::Full).or_else(|| names().map(Labels::Names))
}

fn read_label(value: &Json) -> Option<(String, String)> {
    match value.as_array()? {
        [Json::String(name), Json::String(value)] => Some((name.clone(), value.clone())),
        _ => None,
    }
}

fn read_digest(value: &Json) -> Option<Sha256Digest> {
    Sha256Digest::parse_oci(value.as_str()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UtcTime;

    fn single(labels: &[(&str, &str)]) -> Facts {
        Facts {
            config: Sha256Digest::of(b"config"),
            platform: Some("linux/amd64".parse().unwrap()),
            user: "1000:1000".to_owned(),
            labels: Labels::Full(labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()),
            size: 12_345,
            layers: 3,
            base: Some(BaseImage { name: "alpine:3".to_owned(), digest: Some(Sha256Digest::of(b"base")) }),
        }
    }

    fn child(platform: &str, facts: Option<Facts>) -> ChildFacts {
        ChildFacts {
            platform: platform.parse().unwrap(),
            digest: Sha256Digest::of(platform.as_bytes()),
            facts,
        }
    }

    fn entry() -> TargetInfo {
        TargetInfo::signed(Sha256Digest::of(b"manifest"), 7, UtcTime::from_unix_seconds(0).unwrap())
    }

    /// What comes back after a walk over the bytes of a document.
    fn copied(facts: &ImageFacts) -> Option<ImageFacts> {
        let mut info = entry().with_facts(facts);
        info.custom = Some(Json::parse(&info.custom.unwrap().to_wire()).unwrap());
        assert!(info.signed_at().is_some());
        info.facts()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut bare = single(&[]);
        (bare.base, bare.platform) = (None, None);
        for facts in [
            ImageFacts::Single(single(&[("a", "1"), ("A", "2")])),
            ImageFacts::Single(bare),
            ImageFacts::Index(vec![
                child("linux/arm64/v8", Some(single(&[("a", "")]))),
                child("unknown/unknown", None),
            ]),
            ImageFacts::Index(Vec::new()),
        ] {
            assert_eq!(copied(&facts), Some(facts));
        }
        assert_eq!(entry().facts(), None);
    }

    #[test]
    fn long_labels_lose_their_values_and_then_their_names() {
        let labels = |facts: Facts| match copied(&ImageFacts::Single(facts)) {
            Some(ImageFacts::Single(facts)) => facts.labels,
            other => panic!("{other:?}"),
        };
        let long = "x".repeat(LABEL_BYTES);
        assert_eq!(labels(single(&[("a", &long)])), Labels::Names(BTreeSet::from(["a".to_owned()])));
        assert_eq!(labels(single(&[(&format!("a{long}"), "")])), Labels::TooLong);
        assert!(matches!(labels(single(&[("a", &long[1..])])), Labels::Full(_)));
        // All images of an index share the room.
        let half = "x".repeat(LABEL_BYTES / 2);
        let pair = vec![
            child("linux/amd64", Some(single(&[("a", &half)]))),
            child("linux/arm64", Some(single(&[("b", &half)]))),
        ];
        let Some(ImageFacts::Index(children)) = copied(&ImageFacts::Index(pair)) else { panic!("lost") };
        assert!(
            children.iter().all(|child| matches!(child.facts.as_ref().unwrap().labels, Labels::Names(_)))
        );
    }

    #[test]
    fn what_is_too_long_is_not_there_rather_than_cut() {
        let mut facts = single(&[]);
        facts.user = "x".repeat(TEXT_BYTES + 1);
        assert_eq!(copied(&ImageFacts::Single(facts)), None);
        let many = vec![child("linux/amd64", None); CHILDREN + 1];
        assert_eq!(copied(&ImageFacts::Index(many)), None);
        let mut facts = single(&[]);
        facts.size = u64::MAX;
        assert_eq!(copied(&ImageFacts::Single(facts)), None);
    }

    #[test]
    fn what_is_of_another_form_is_not_there() {
        let good = write(&ImageFacts::Single(single(&[("a", "1")]))).unwrap();
        assert!(read(&good).is_some());
        for (member, value) in [
            ("config", Json::from("md5:00")),
            ("user", Json::Null),
            ("size", Json::Integer(-1)),
            ("layers", Json::from("3")),
            ("labels", Json::Array(vec![Json::from("a"), Json::Array(Vec::new())])),
            ("labels", Json::Null),
            ("base", Json::from("alpine")),
            ("platform", Json::from("Linux")),
            ("children", Json::Null),
        ] {
            let Json::Object(mut members) = good.clone() else { panic!("no object") };
            members.insert(member.to_owned(), value);
            assert_eq!(read(&Json::Object(members)), None, "{member}");
        }
    }

    #[test]
    fn platforms_are_words_between_slashes() {
        for good in ["linux/amd64", "linux/arm64/v8", "windows/amd64"] {
            assert_eq!(good.parse::<Platform>().unwrap().to_string(), good);
        }
        for bad in ["", "linux", "linux/", "/amd64", "linux/amd64/v1/x", "Linux/amd64", "linux//v1"] {
            assert_eq!(bad.parse::<Platform>(), Err(InvalidPlatform), "{bad}");
        }
        let platform = |text: &str| text.parse::<Platform>().unwrap();
        assert!(platform("linux/arm64").accepts(&platform("linux/arm64/v8")));
        assert!(platform("linux/arm64/v8").accepts(&platform("linux/arm64")));
        assert!(!platform("linux/arm64/v7").accepts(&platform("linux/arm64/v8")));
        assert!(!platform("linux/amd64").accepts(&platform("linux/arm64")));
        assert!(platform("unknown/unknown").is_none() && !platform("linux/unknown").is_none());
    }
}
