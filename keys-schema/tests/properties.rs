//! Promises that hold for every value, tried on values drawn at random.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use bulla_keys_schema::author::{Delegation, Draft, TargetsEdit};
use bulla_keys_schema::canonical::canonical;
use bulla_keys_schema::dialect::{Dialect, Document, Envelope, notary1, tuf1};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::json::{Json, Object};
use bulla_keys_schema::key::{BadSignature, KeyAlgorithm, KeyId, KeyName, PublicKey, SecretKey};
use bulla_keys_schema::limits;
use bulla_keys_schema::metadata::{KeyEntry, KeyTable, RoleKeys, Scope, Targets, Threshold, Version};
use bulla_keys_schema::names::{
    ImageRef, PathPattern, RepositoryName, RoleName, SignerName, Tag, TargetPath,
};
use bulla_keys_schema::time::UtcTime;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

/// JSON values whose texts match the regular expression `text`.
fn json(text: &'static str) -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        (-3..=3i64).prop_map(Json::Integer),
        (-limits::JSON_INTEGER..=limits::JSON_INTEGER).prop_map(Json::Integer),
        text.prop_map(Json::String),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Json::Array),
            btree_map(text, inner, 0..4).prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

fn any_json() -> impl Strategy<Value = Json> {
    json("(?s:.){0,8}")
}

/// Values over an alphabet in which everything that could collide does: quotes, escapes,
/// brackets, digits, and the words of JSON.
fn small_json() -> impl Strategy<Value = Json> {
    json(r#"["\\,:\[\]{}01nul-]{0,3}"#)
}

/// `value` as text with its members in reverse, and white space wherever it may be.
fn reversed(value: &Json) -> String {
    let list = |items: Vec<String>| items.join(" ,\n\t");
    match value {
        Json::Array(items) => format!("[ {} ]", list(items.iter().map(reversed).collect())),
        Json::Object(members) => {
            let members = members.iter().rev();
            let text = |(name, value): (&str, &Json)| {
                format!("{} :\r\n{}", reversed(&Json::from(name)), reversed(value))
            };
            format!("{{ {} }}", list(members.map(text).collect()))
        }
        other => String::from_utf8(other.to_wire()).unwrap(),
    }
}

proptest! {
    #[test]
    fn json_reads_what_it_writes(value in any_json()) {
        prop_assert_eq!(Json::parse(&value.to_wire()), Ok(value));
    }

    #[test]
    fn canonical_form_does_not_depend_on_the_text(value in any_json()) {
        let other = Json::parse(reversed(&value).as_bytes()).unwrap();
        prop_assert_eq!(canonical(&other), canonical(&value));
        prop_assert_eq!(other, value);
    }

    #[test]
    fn canonical_forms_are_equal_where_the_values_are(a in small_json(), b in small_json()) {
        prop_assert_eq!(canonical(&a) == canonical(&b), a == b);
    }

    #[test]
    fn canonical_form_without_control_characters_is_json(value in json(r"\PC{0,8}")) {
        prop_assert_eq!(Json::parse(&canonical(&value)), Ok(value));
    }

    #[test]
    fn no_object_holds_a_member_twice(
        members in btree_map(any::<String>(), small_json(), 1..4),
        again in any::<prop::sample::Index>(),
        value in small_json(),
    ) {
        let (name, _) = again.get(&members.iter().collect::<Vec<_>>()).to_owned();
        let twice = Object::from([(name.clone(), value)]);
        let text = |members: Object| {
            let text = String::from_utf8(Json::Object(members).to_wire()).unwrap();
            text.trim_start_matches('{').strip_suffix('}').unwrap().to_owned()
        };
        let joined = format!("{{{},{}}}", text(members.clone().into_iter().collect()), text(twice));
        prop_assert!(Json::parse(joined.as_bytes()).is_err(), "{}", joined);
    }
}

/// The specification's rule, word by word: slow, and plain to see.
fn matches_by_the_book(pattern: &[char], path: &[char]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (['*', rest @ ..], _) => {
            matches_by_the_book(rest, path)
                || path.split_first().is_some_and(|(c, path)| *c != '/' && matches_by_the_book(pattern, path))
        }
        (['?', pattern @ ..], [c, path @ ..]) => *c != '/' && matches_by_the_book(pattern, path),
        ([wanted, pattern @ ..], [c, path @ ..]) => wanted == c && matches_by_the_book(pattern, path),
        _ => false,
    }
}

fn agrees_with_the_book(pattern: &str, path: &str) -> Result<bool, TestCaseError> {
    let (Ok(pattern), Ok(path)) = (pattern.parse::<PathPattern>(), path.parse::<TargetPath>()) else {
        return Err(TestCaseError::reject("no pattern or no path"));
    };
    let characters = |text: &str| text.chars().collect::<Vec<_>>();
    let expected = matches_by_the_book(&characters(pattern.as_str()), &characters(path.as_str()));
    prop_assert_eq!(pattern.matches(&path), expected, "{} {}", pattern, path);
    Ok(expected)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn patterns_match_by_the_book(pattern in "[ab*?/]{1,8}", path in "[ab]{1,4}(/[ab]{1,4}){0,2}") {
        agrees_with_the_book(&pattern, &path)?;
    }

    #[test]
    fn a_path_with_holes_is_a_pattern_for_it(
        path in "[a-c.]{1,5}(/[a-c.]{1,5}){0,2}",
        holes in vec(any::<(prop::sample::Index, bool)>(), 0..4),
    ) {
        let mut pattern: Vec<char> = path.chars().collect();
        for (at, many) in holes {
            let at = at.index(pattern.len());
            if pattern[at] != '/' {
                pattern[at] = if many { '*' } else { '?' };
            }
        }
        prop_assert!(agrees_with_the_book(&pattern.iter().collect::<String>(), &path)?);
    }
}

/// Whatever `text` is read as is written so that it reads the same again.
fn round_trips<T: FromStr + Display + PartialEq + Debug>(text: &str) -> Result<Option<T>, TestCaseError> {
    let Ok(value) = text.parse::<T>() else { return Ok(None) };
    let written = value.to_string();
    let again = written.parse::<T>().ok();
    prop_assert_eq!(again.as_ref(), Some(&value), "{:?} -> {:?}", text, written);
    Ok(Some(value))
}

proptest! {
    #[test]
    fn names_read_what_they_write(
        text in prop_oneof![any::<String>(), "[a-zA-Z0-9._/:@-]{0,20}", "[a-z.-]{1,5}:[0-9]{1,5}(/[a-z._-]{1,5}){0,3}"]
    ) {
        if let Some(name) = round_trips::<RepositoryName>(&text)? {
            prop_assert!(!name.as_str().split('/').any(|part| matches!(part, "" | "." | "..")), "{}", name);
        }
        if let Some(path) = round_trips::<TargetPath>(&text)? {
            prop_assert!(!path.as_str().split(['/', '\\']).any(|part| matches!(part, "" | "." | "..")), "{}", path);
        }
        if let Some(name) = round_trips::<KeyName>(&text)? {
            prop_assert!(!name.as_str().contains(['/', '\\']) && !name.as_str().contains(".."), "{}", name);
        }
        if let Some(role) = round_trips::<RoleName>(&text)? {
            let file = tuf1::file_name(&role, Version::new(7).unwrap(), true);
            prop_assert!(!file.contains(['/', '\\', '%', ':']) || file.contains('%'), "{}", file);
            prop_assert_eq!(tuf1::parse_file_name(&file).map(|(_, role)| role), Some(role));
        }
        round_trips::<ImageRef>(&text)?;
        round_trips::<KeyId>(&text)?;
        round_trips::<PathPattern>(&text)?;
        round_trips::<SignerName>(&text)?;
        round_trips::<Tag>(&text)?;
    }

    #[test]
    fn image_references_keep_their_parts(
        host in "[a-z]{1,8}\\.[a-z]{2,3}(:[1-9][0-9]{0,3})?",
        path in "[a-z0-9]{1,6}(/[a-z0-9]{1,6}){1,3}",
        tag in "[A-Za-z0-9_][A-Za-z0-9._-]{0,20}",
        digest in "[0-9a-f]{64}",
    ) {
        let text = format!("{host}/{path}:{tag}@sha256:{digest}");
        let image = round_trips::<ImageRef>(&text)?.expect("a reference");
        prop_assert_eq!(image.repository().as_str(), format!("{host}/{path}"));
        prop_assert_eq!(image.tag().map(Tag::as_str), Some(tag.as_str()));
        prop_assert_eq!(image.digest().map(|digest| digest.to_string()), Some(digest));
    }

    #[test]
    fn dates_read_what_they_write(seconds in -62_167_219_200..=253_402_300_799i64, more in any::<i64>()) {
        let time = UtcTime::from_unix_seconds(seconds).unwrap();
        prop_assert_eq!(time.to_string().parse::<UtcTime>(), Ok(time));
        prop_assert_eq!(time.plus_seconds(more) >= time, more >= 0);
    }
}

/// A value as Go's encoder writes it in one line: what is special in HTML is escaped.
fn as_go_writes(value: &Json) -> String {
    let escapes = [("<", "003c"), (">", "003e"), ("&", "0026"), ("\u{2028}", "2028"), ("\u{2029}", "2029")];
    let text = String::from_utf8(canonical(value)).unwrap();
    escapes.iter().fold(text, |text, (from, to)| text.replace(from, &format!("\\u{to}")))
}

/// A targets document of Notary with tags, what signers added to them, and delegations.
fn notary_targets() -> impl Strategy<Value = Targets> {
    // Control characters are not JSON once Go's canonical form holds them raw.
    let tag = r#"[a-z<>&"\\\x{2028}\x{2029}\x{e9}\x{1f600} +-]{1,8}"#;
    let tags = btree_map(tag, (0..=limits::JSON_INTEGER, prop::option::of(json(r"\PC{0,6}"))), 0..4);
    let roles = btree_map("[a-z0-9_-]{1,6}", (any::<[u8; 32]>(), vec(r"\PC{0,4}", 1..3)), 0..4);
    (tags, roles, 1..=limits::WRITTEN_VERSION, 0..=253_402_300_799i64).prop_map(
        |(tags, roles, version, expires)| {
            let expires = UtcTime::from_unix_seconds(expires).unwrap();
            let mut edit = TargetsEdit::new(
                Dialect::Notary1,
                RoleName::Targets,
                Version::new(version).unwrap(),
                expires,
            );
            for (name, (seed, prefixes)) in roles {
                let Some(RoleName::Delegated(name)) = notary1::role_from_wire(&format!("targets/{name}"))
                else {
                    panic!("{name} is a name of Notary");
                };
                let key =
                    SecretKey::from_seed(KeyAlgorithm::Ed25519, &seed.into()).unwrap().public_key().clone();
                edit.set_delegation(&Delegation {
                    name,
                    keys: vec![KeyEntry::new(key)],
                    threshold: Threshold::ONE,
                    scope: Scope::Prefixes(prefixes),
                    terminating: false,
                })
                .unwrap();
            }
            let mut targets = edit.finish();
            for (tag, (length, custom)) in tags {
                let hashes = bulla_keys_schema::digest::Hashes::sha256(Sha256Digest::of(tag.as_bytes()));
                let length = u64::try_from(length).unwrap();
                let info = bulla_keys_schema::metadata::TargetInfo { length, hashes, custom };
                targets.targets.insert(tag, info);
            }
            targets
        },
    )
}

proptest! {
    #[test]
    fn notary_documents_are_written_as_go_does_and_read_again(
        targets in notary_targets(),
        seed in any::<[u8; 32]>(),
        algorithm in prop_oneof![Just(KeyAlgorithm::EcdsaP256), Just(KeyAlgorithm::Ed25519)],
    ) {
        const DIALECT: Dialect = Dialect::Notary1;
        let Ok(key) = SecretKey::from_seed(algorithm, &seed.into()) else {
            return Err(TestCaseError::reject("about one seed in 2^32"));
        };
        let id = notary1::key_id(key.public_key());
        let table = KeyTable::from([(id.clone(), KeyEntry::new(key.public_key().clone()))]);
        let keys = RoleKeys { key_ids: vec![id.clone()], threshold: Threshold::ONE };
        let signed = Draft::new(DIALECT, targets.clone()).sign(&[&key], &keys, &table);
        // Custom members that differ only in letter case have no one meaning.
        let Ok(signed) = signed else { return Err(TestCaseError::reject("two spellings")) };
        let text = String::from_utf8(signed.bytes().to_vec()).unwrap();

        // What we write is what Go would write.
        let envelope = Envelope::parse(DIALECT, text.as_bytes()).unwrap();
        let carried = Json::parse(text.as_bytes()).unwrap();
        let signature = &carried.as_object().unwrap().get("signatures").unwrap().as_array().unwrap()[0];
        let expected = format!(
            "{{\"signed\":{},\"signatures\":[{{\"keyid\":\"{id}\",\"method\":{},\"sig\":{}}}]}}",
            as_go_writes(carried.as_object().unwrap().get("signed").unwrap()),
            as_go_writes(signature.as_object().unwrap().get("method").unwrap()),
            as_go_writes(signature.as_object().unwrap().get("sig").unwrap()),
        );
        prop_assert_eq!(&text, &expected);

        // What is read is what was meant, and is written with the same bytes.
        let read = signed.verified().payload();
        prop_assert_eq!(&Targets { role: None, ..targets }.targets, &read.targets);
        let again = Envelope::write(DIALECT, read.encode(DIALECT), envelope.signatures());
        prop_assert_eq!(String::from_utf8(again).unwrap(), text);
    }

    #[test]
    fn notary_roles_have_one_name(one in "(targets/)?([a-z/]{1,4}|root|targets|releases)(/(root|x|targets))?", other in "(targets/)?(root|targets|x)") {
        let [first, second] = [&one, &other].map(|wire| notary1::role_from_wire(wire));
        for (wire, role) in [(&one, &first), (&other, &second)] {
            if let Some(role) = role {
                prop_assert_eq!(&notary1::role_to_wire(role), wire);
            }
        }
        if first.is_some() && second.is_some() {
            prop_assert_eq!(first == second, one == other);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn signatures_belong_to_one_key_and_one_message(
        algorithm in prop_oneof![Just(KeyAlgorithm::EcdsaP256), Just(KeyAlgorithm::Ed25519)],
        seeds in any::<[[u8; 32]; 2]>(),
        message in vec(any::<u8>(), 0..100),
        at in any::<prop::sample::Index>(),
        mask in 1..=255u8,
    ) {
        prop_assume!(seeds[0] != seeds[1]);
        let [Ok(key), Ok(other)] = seeds.map(|seed| SecretKey::from_seed(algorithm, &seed.into())) else {
            return Err(TestCaseError::reject("about one seed in 2^32"));
        };
        let signature = key.sign(&message);
        let public = key.public_key();
        prop_assert_eq!(key.sign(&message), signature.as_slice());
        prop_assert_eq!(public.verify(&message, &signature), Ok(()));
        prop_assert_eq!(other.public_key().verify(&message, &signature), Err(BadSignature));
        prop_assert_ne!(other.public_key().fingerprint(), public.fingerprint());

        let mut changed = signature.clone();
        changed[at.index(signature.len())] ^= mask;
        prop_assert_eq!(public.verify(&message, &changed), Err(BadSignature));
        let longer = [&message[..], &[mask]].concat();
        prop_assert_eq!(public.verify(&longer, &signature), Err(BadSignature));

        let again = SecretKey::from_pkcs8_der(&key.to_pkcs8_der()).unwrap();
        prop_assert_eq!(again.public_key(), public);
        prop_assert_eq!(&PublicKey::from_pem(&public.to_pem()).unwrap(), public);
    }
}
