//! The payload of "simple signing": what a signature in a `.sig` manifest is over.
//!
//! The signature covers the bytes as they lie in the registry. They are read as strictly as podman
//! does, so that no two programs see different things in them.

use std::collections::BTreeMap;

use crate::digest::Sha256Digest;
use crate::json::{InvalidJson, Json, Object, escape_for_html};
use crate::names::{ImageRef, RepositoryName, Tag};

/// The type that makes it a signature of an image, and not of something else.
const TYPE: &str = "cosign container image signature";

/// Says: the image with this digest belongs under that reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimpleSigning {
    reference: String,
    digest: Sha256Digest,
    optional: Object,
}

impl SimpleSigning {
    /// On the manifest with `digest`, under `reference`: `repository:tag`, so that podman's usual
    /// policy takes it.
    #[must_use]
    pub fn new(reference: &str, digest: Sha256Digest, annotations: &BTreeMap<String, String>) -> Self {
        let optional = annotations.iter().map(|(name, text)| (name.clone(), Json::from(text.as_str())));
        Self { reference: reference.to_owned(), digest, optional: optional.collect() }
    }

    /// Reads one.
    ///
    /// # Errors
    /// No strict JSON, a member that is missing or one too many, another type.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidPayload> {
        let payload = Json::parse(bytes)?;
        let [critical, optional] = members(&payload, "the payload", ["critical", "optional"])?;
        let [identity, image, kind] = members(critical, "critical", ["identity", "image", "type"])?;
        let kind = text(kind, "type")?;
        if kind != TYPE {
            return Err(InvalidPayload::OtherType);
        }
        let [reference] = members(identity, "identity", ["docker-reference"])?;
        let [digest] = members(image, "image", ["docker-manifest-digest"])?;
        let digest = text(digest, "docker-manifest-digest")?;
        let digest = Sha256Digest::parse_oci(digest)
            .map_err(|_| InvalidPayload::Member { name: "docker-manifest-digest" })?;
        let optional = match optional {
            Json::Null => Object::new(),
            Json::Object(members) => members.clone(),
            _ => return Err(InvalidPayload::Member { name: "optional" }),
        };
        Ok(Self { reference: text(reference, "docker-reference")?.to_owned(), digest, optional })
    }

    /// The bytes to sign, as cosign and podman write them.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let object = |members: Vec<(&str, Json)>| {
            Json::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
        };
        let identity = object(vec![("docker-reference", Json::from(self.reference.as_str()))]);
        let image = object(vec![("docker-manifest-digest", Json::from(self.digest.to_oci()))]);
        let critical = object(vec![("identity", identity), ("image", image), ("type", Json::from(TYPE))]);
        let optional =
            if self.optional.is_empty() { Json::Null } else { Json::Object(self.optional.clone()) };
        // In the order of names, which is also Go's order here.
        escape_for_html(&object(vec![("critical", critical), ("optional", optional)]).to_wire())
    }

    /// The reference it names, as it stands there.
    #[must_use]
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// The repository of the reference, normalised as image references are. `None` where it names
    /// none, or another digest than the payload does.
    #[must_use]
    pub fn repository(&self) -> Option<RepositoryName> {
        let named: ImageRef = self.reference.parse().ok()?;
        let fits = named.digest().is_none_or(|digest| digest == self.digest);
        fits.then(|| named.repository().clone())
    }

    /// The tag of the reference, where one stands there: `repository` alone names none.
    #[must_use]
    pub fn tag(&self) -> Option<Tag> {
        let (name, _) = self.reference.split_once('@').unwrap_or((&self.reference, ""));
        let is_typed = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
        let named: ImageRef = self.reference.parse().ok()?;
        named.tag().filter(|_| is_typed).cloned()
    }

    /// The digest of the manifest that it is about.
    #[must_use]
    pub const fn digest(&self) -> Sha256Digest {
        self.digest
    }

    /// The annotations that are texts. Those of other kinds cannot be asked for.
    #[must_use]
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let texts = self.optional.iter().filter_map(|(name, value)| Some((name, value.as_str()?)));
        texts.map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
    }
}

/// The values of exactly these members.
fn members<'j, const N: usize>(
    value: &'j Json,
    of: &'static str,
    names: [&'static str; N],
) -> Result<[&'j Json; N], InvalidPayload> {
    let object = value.as_object().ok_or(InvalidPayload::Member { name: of })?;
    if object.len() != N {
        return Err(InvalidPayload::Members { of });
    }
    let mut found = [value; N];
    for (place, name) in found.iter_mut().zip(names) {
        *place = object.get(name).ok_or(InvalidPayload::Members { of })?;
    }
    Ok(found)
}

fn text<'j>(value: &'j Json, name: &'static str) -> Result<&'j str, InvalidPayload> {
    value.as_str().ok_or(InvalidPayload::Member { name })
}

/// Why bytes are no payload of simple signing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPayload {
    /// No strict JSON.
    #[error(transparent)]
    Json(#[from] InvalidJson),
    /// A member is of another kind.
    #[error("{name} is not what it must be")]
    Member {
        /// The member.
        name: &'static str,
    },
    /// A member is missing, or there is another one.
    #[error("{of} does not have exactly the members that it must have")]
    Members {
        /// The object.
        of: &'static str,
    },
    /// A signature of something else.
    #[error("its type is not that of an image's signature")]
    OtherType,
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn payload(optional: &str) -> String {
        format!(
            r#"{{"critical":{{"identity":{{"docker-reference":"localhost:5000/a/b:v1"}},"image":{{"docker-manifest-digest":"sha256:{HEX}"}},"type":"cosign container image signature"}},"optional":{optional}}}"#
        )
    }

    #[test]
    fn the_bytes_are_those_of_cosign() {
        let digest = Sha256Digest::of(b"");
        let without = SimpleSigning::new("localhost:5000/a/b:v1", digest, &BTreeMap::new());
        assert_eq!(String::from_utf8(without.to_bytes()).unwrap(), payload("null"));
        let annotations = [("env", "<prod>"), ("build", "7")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let with = SimpleSigning::new("localhost:5000/a/b:v1", digest, &BTreeMap::from(annotations));
        let expected = payload(r#"{"build":"7","env":"\u003cprod\u003e"}"#);
        assert_eq!(String::from_utf8(with.to_bytes()).unwrap(), expected);
        assert_eq!(SimpleSigning::parse(expected.as_bytes()), Ok(with));
    }

    #[test]
    fn what_podman_writes_is_read() {
        let theirs = payload(r#"{"creator":"atomic","timestamp":1700000000}"#);
        let read = SimpleSigning::parse(theirs.as_bytes()).unwrap();
        assert_eq!(read.repository().unwrap().as_str(), "localhost:5000/a/b");
        assert_eq!(read.annotations().into_keys().collect::<Vec<_>>(), ["creator"]);
    }

    #[test]
    fn the_repository_is_compared_in_one_spelling() {
        for (reference, repository) in [
            ("index.docker.io/library/busybox", Some("docker.io/library/busybox")),
            ("docker.io/library/busybox:1", Some("docker.io/library/busybox")),
            ("busybox", Some("docker.io/library/busybox")),
            ("a.example.com/x", Some("a.example.com/x")),
            ("", None),
            ("a.example.com/x:", None),
            ("a.example.com/../x", None),
            ("a.example.com/x@sha256:00", None),
        ] {
            let payload = SimpleSigning::new(reference, Sha256Digest::of(b""), &BTreeMap::new());
            assert_eq!(payload.repository().as_ref().map(RepositoryName::as_str), repository, "{reference}");
        }
        let other = format!("a.example.com/x@{}", Sha256Digest::of(b"other").to_oci());
        let payload = SimpleSigning::new(&other, Sha256Digest::of(b""), &BTreeMap::new());
        assert_eq!(payload.repository(), None, "one payload, two digests");
    }

    #[test]
    fn a_tag_is_named_only_where_it_stands() {
        let digest = Sha256Digest::of(b"").to_oci();
        for (reference, tag) in [
            ("localhost:5000/a/b:v1".to_owned(), Some("v1")),
            ("busybox:1".to_owned(), Some("1")),
            (format!("a.example.com/b:v1@{digest}"), Some("v1")),
            ("localhost:5000/a/b".to_owned(), None),
            ("busybox".to_owned(), None),
            (format!("localhost:5000/a/b@{digest}"), None),
            ("a.example.com/x:".to_owned(), None),
        ] {
            let payload = SimpleSigning::new(&reference, Sha256Digest::of(b""), &BTreeMap::new());
            assert_eq!(payload.tag().as_ref().map(Tag::as_str), tag, "{reference}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let good = payload("null");
        assert!(SimpleSigning::parse(good.as_bytes()).is_ok());
        for (from, to) in [
            ("cosign container", "atomic container"),
            (",\"optional\":null", ""),
            ("\"optional\":null", "\"optional\":[]"),
            ("\"optional\":null", "\"optional\":null,\"optional\":null"),
            ("\"optional\":null", "\"optional\":null,\"more\":1"),
            ("\"optional\":null", "\"Optional\":null"),
            ("\"optional\":null", "\"optional\":{\"a\":1,\"a\":2}"),
            ("\"optional\":null", "\"optional\":{\"timestamp\":1.5}"),
            ("\"type\":", "\"more\":1,\"type\":"),
            ("\"localhost:5000/a/b:v1\"", "7"),
            ("sha256:", "sha512:"),
            (HEX, "00"),
            ("{\"critical\"", " x {\"critical\""),
            ("null}", "null}{}"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            assert!(SimpleSigning::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
