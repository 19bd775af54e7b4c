//! The targets that a document lists, in either dialect: there may be tens of thousands of them, so what was
//! parsed is taken apart and not copied.

use std::collections::BTreeMap;
use std::mem;

use crate::dialect::InvalidMetadata;
use crate::dialect::fields::At;
use crate::digest::{Hashes, Sha256Digest};
use crate::json::{Json, Object};
use crate::metadata::TargetInfo;

/// Takes the members of `targets` out of `signed`, where the member stays as it is apart from that.
pub(super) fn take_targets(signed: &mut Object) -> Object {
    match signed.get_mut("targets") {
        Some(Json::Object(listed)) => mem::take(listed),
        _ => Object::new(),
    }
}

/// Takes what the publisher says of a target out of its description, where the member stays.
pub(super) fn take_custom(target: &mut Json) -> Option<Json> {
    match target {
        Json::Object(members) => members.get_mut("custom").map(|custom| mem::replace(custom, Json::Null)),
        _ => None,
    }
}

/// How a dialect reads one target: its description, and the text of a SHA-256 digest in it.
#[derive(Clone, Copy)]
pub(super) struct Reader {
    pub(super) target: fn(Json, At<'_>) -> Result<TargetInfo, InvalidMetadata>,
    pub(super) sha256: fn(&str) -> Option<Sha256Digest>,
}

/// Reads each target.
pub(super) fn read_targets(
    listed: Object,
    reader: Reader,
) -> Result<BTreeMap<String, TargetInfo>, InvalidMetadata> {
    let place = At::from("targets.targets");
    // A map is built at once of what is in order.
    let mut targets = Vec::with_capacity(listed.len());
    for (name, info) in listed {
        let info = match plain(&info, reader) {
            Some(info) => info,
            None => (reader.target)(info, place.below(&name))?,
        };
        targets.push((name, info));
    }
    Ok(targets.into_iter().collect())
}

/// The description of a target, if it is a length and a SHA-256 digest and nothing else, as nearly all are.
/// Whatever is not exactly that is left to [`Reader::target`], which would say the same of this.
fn plain(info: &Json, reader: Reader) -> Option<TargetInfo> {
    let [hashes, length] = info.as_object()?.exactly(["hashes", "length"])?;
    let [sha256] = hashes.as_object()?.exactly(["sha256"])?;
    let hashes = Hashes::sha256((reader.sha256)(sha256.as_str()?)?);
    Some(TargetInfo { length: length.as_u64()?, hashes, custom: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::{notary1, tuf1};

    /// Descriptions put together of every choice of a digest, a length and something else.
    fn descriptions(digest: &str) -> Vec<String> {
        let good = format!(r#""sha256":"{digest}""#);
        let hashes = [
            format!("{{{good}}}"),
            format!(r#"{{{good},"sha512":"{digest}"}}"#),
            format!(r#"{{{good},"x":"{digest}"}}"#),
            format!(r#"{{"SHA256":"{digest}"}}"#),
            format!(r#"{{{good},"SHA256":"{digest}"}}"#),
            format!(r#"{{"sha512":"{digest}"}}"#),
            format!(r#"{{"sha256":"{digest}="}}"#),
            format!(r#"{{"sha256":" {digest}"}}"#),
            format!(r#"{{"sha256":"{}"}}"#, digest.get(4..).unwrap()),
            format!(r#"{{"sha256":"{}"}}"#, digest.trim_end_matches('=')),
            format!(r#"{{"sha256":"{}"}}"#, digest.to_uppercase()),
            r#"{"sha256":1}"#.to_owned(),
            "{}".to_owned(),
            "null".to_owned(),
            format!(r#""{digest}""#),
        ];
        let lengths = [
            r#","length":0"#,
            r#","length":9007199254740991"#,
            r#","length":-1"#,
            r#","length":"1""#,
            r#","length":null"#,
            r#","Length":1"#,
            "",
        ];
        let others = ["", r#","custom":{}"#, r#","custom":null"#, r#","x":1"#, r#","LENGTH":1"#];
        let mut all = Vec::new();
        for hashes in &hashes {
            for length in lengths {
                all.extend(others.map(|other| format!(r#"{{"hashes":{hashes}{length}{other}}}"#)));
            }
            for name in ["custom", "Hashes", "hash", "x"] {
                all.push(format!(r#"{{"{name}":{hashes},"length":1}}"#));
            }
        }
        all
    }

    #[test]
    fn plain_descriptions_are_read_as_all_others_are() {
        let base64 = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for (reader, digest) in [(notary1::targets::READER, base64), (tuf1::targets::READER, hex)] {
            let mut found = 0;
            for text in descriptions(digest) {
                let info = Json::parse(text.as_bytes()).unwrap();
                let Some(target) = plain(&info, reader) else { continue };
                assert_eq!(Ok(target), (reader.target)(info, At::from("here")), "{text}");
                found += 1;
            }
            // The good digest alone, with either of the two good lengths. What is cut off or in capitals is
            // another good digest in one of the dialects: hex has no padding, and any letters are base64.
            assert_eq!(found, 4);
        }
    }
}
