//! Tokens of a registry's token server: what is taken, and every way in which a token lies. And the
//! token server that `bullad` is without one.
//!
//! Each hostile token differs from a good one in one thing, and is refused for that one.

mod client;
mod docker;
mod endpoint;
mod mint;
mod program;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::time::UtcTime;
use bulla_server::auth::{
    Access, Algorithm, AuthError, Caller, ChallengeScope, RegistryAuth, RegistrySettings,
    RegistryTokenFault as Fault, Right, TokenBook, TokenFile,
};
use bulla_server::clock::Clock;
use mint::{Certified, Signer, authority, hmac, pem, token, x5c};
use rcgen::{IsCa, date_time_ymd};
use reqwest::header::HeaderValue;
use serde_json::{Value, json};
use tempfile::TempDir;

/// 2026-11-18, in the afternoon.
const NOW: i64 = 1_795_000_000;

struct At(AtomicI64);

impl Clock for At {
    fn now(&self) -> UtcTime {
        UtcTime::from_unix_seconds(self.0.load(Ordering::Relaxed)).expect("a time")
    }
}

/// What a server with `[auth.registry]` decides by.
struct Door {
    access: Access,
    clock: Arc<At>,
    folder: TempDir,
}

impl Door {
    /// One that trusts these certificates and keys.
    fn new(certificates: &[&[u8]], keys: &[Value]) -> Self {
        Self::with(certificates, keys, &Algorithm::ALL)
    }

    fn with(certificates: &[&[u8]], keys: &[Value], algorithms: &[Algorithm]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, content: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).expect("it can be written");
            path
        };
        let settings = RegistrySettings {
            realm: "https://auth.example.com/token".to_owned(),
            service: "trust".to_owned(),
            issuer: "issuer".to_owned(),
            rootcertbundle: (!certificates.is_empty()).then(|| file("bundle.pem", pem(certificates))),
            jwks: (!keys.is_empty()).then(|| file("keys.json", json!({ "keys": keys }).to_string())),
            algorithms: algorithms.to_vec(),
            leeway: Duration::ZERO,
        };
        let clock = Arc::new(At(AtomicI64::new(NOW)));
        let registry = RegistryAuth::open(settings, clock.clone()).expect("the settings are good");
        let book = TokenBook::new(TokenFile::in_data(folder.path()), clock.clone());
        Self { access: Access::tokens(book, false).with_registry(registry), clock, folder }
    }

    fn bearer(&self, token: &str) -> Result<Caller, AuthError> {
        let header = HeaderValue::from_str(&format!("Bearer {token}")).expect("a header");
        self.access.identify(Some(&header))
    }

    fn lets_in(&self, token: &str) -> Caller {
        self.bearer(token).expect("a good token")
    }

    #[track_caller]
    fn refuses(&self, token: &str, fault: Fault) {
        assert_eq!(self.bearer(token), Err(AuthError::Registry(fault)), "{token}");
    }
}

fn name(text: &str) -> RepositoryName {
    text.parse().expect("a name")
}

fn header(key: &Signer) -> Value {
    json!({"typ": "JWT", "alg": key.algorithm(), "kid": "k"})
}

fn claims() -> Value {
    json!({
        "iss": "issuer", "sub": "ann", "aud": "trust", "jti": "1",
        "iat": NOW - 1, "nbf": NOW - 1, "exp": NOW + 300,
        "access": [{"type": "repository", "name": "localhost:5000/app", "actions": ["pull"]}],
    })
}

/// `value` with a member set, or taken out by null.
fn with(mut value: Value, member: &str, new: Value) -> Value {
    let members = value.as_object_mut().expect("an object");
    members.remove(member);
    if !new.is_null() {
        members.insert(member.to_owned(), new);
    }
    value
}

/// A token with the usual claims.
fn signed(header: &Value, key: &Signer) -> String {
    token(&header.to_string(), &claims().to_string(), key)
}

/// A token without `kid`, with a chain.
fn chained(chain: &[&[u8]], key: &Signer) -> String {
    signed(&with(with(header(key), "kid", Value::Null), "x5c", x5c(chain)), key)
}

#[test]
fn keys_of_a_set_are_found_by_name() {
    for key in [Signer::p256(7), Signer::ed25519(7), Signer::rsa(2048)] {
        let door = Door::new(&[], &[Signer::p256(9).jwk("other"), key.jwk("k")]);
        let caller = door.lets_in(&signed(&header(&key), &key));
        assert_eq!(caller.name(), "registry:ann");
        assert!(caller.may(Right::Read, &name("localhost:5000/app")));
        assert!(!caller.may(Right::Publish, &name("localhost:5000/app")));
        assert!(!caller.may_catalog());
        let no_type = signed(&with(header(&key), "typ", Value::Null), &key);
        assert!(door.bearer(&no_type).is_ok());
        let list = with(claims(), "aud", json!(["else", "trust"]));
        assert!(door.bearer(&token(&header(&key).to_string(), &list.to_string(), &key)).is_ok());
    }
}

/// The id was computed with openssl and base32, as token servers' manuals say.
#[test]
fn keys_of_certificates_are_found_by_the_id_that_libtrust_gives_them() {
    let own = Certified::by_itself("server", Signer::p256(7), |_| ());
    let door = Door::new(&[&own.der], &[]);
    let id = "Z2L6:YIGU:GZQ2:DGZB:LSZO:G5VG:TDIL:JKRK:UW2M:PBKO:SFV5:AUEC";
    let with_id = |id: &str| signed(&with(header(&own.key), "kid", json!(id)), &own.key);
    assert!(door.bearer(&with_id(id)).is_ok());
    for other in [&id[..58], &id.to_lowercase(), "", &id.replace(':', "")] {
        door.refuses(&with_id(other), Fault::UnknownKey);
    }
    // Several certificates, whatever stands between them.
    let root = Certified::root("root", 1);
    let door = Door::new(&[&root.der, &own.der], &[]);
    assert!(door.bearer(&with_id(id)).is_ok());
}

#[test]
fn a_chain_leads_to_the_bundle() {
    let root = Certified::root("root", 1);
    let middle = root.certify("middle", Signer::p256(2), authority(None));
    let below = middle.certify("below", Signer::p256(3), authority(None));
    let door = Door::new(&[&root.der], &[]);
    for key in [|| Signer::p256(7), || Signer::ed25519(7), || Signer::rsa(2048)] {
        let direct = root.certify("leaf", key(), |_| ());
        assert!(door.bearer(&chained(&[&direct.der], &direct.key)).is_ok());
        assert!(door.bearer(&chained(&[&direct.der, &root.der], &direct.key)).is_ok());
        let deep = below.certify("leaf", key(), |_| ());
        assert!(door.bearer(&chained(&[&deep.der, &below.der, &middle.der], &deep.key)).is_ok());
        assert!(door.bearer(&chained(&[&deep.der, &middle.der, &below.der], &deep.key)).is_ok());
        door.refuses(&chained(&[&deep.der, &middle.der], &deep.key), Fault::UnknownKey);
    }
    // The certificate of the token server itself, an authority or not.
    let own = Certified::by_itself("server", Signer::p256(7), |_| ());
    let door = Door::new(&[&own.der, &root.der], &[]);
    assert!(door.bearer(&chained(&[&own.der], &own.key)).is_ok());
    assert!(door.bearer(&chained(&[&root.der], &root.key)).is_ok());
}

#[test]
fn no_header_talks_anybody_into_another_algorithm() {
    let key = Signer::p256(7);
    let own = Certified::by_itself("server", Signer::p256(7), |_| ());
    let door = Door::new(&[&own.der], &[key.jwk("k"), Signer::rsa(2048).jwk("r")]);
    let good = signed(&header(&key), &key);
    assert!(door.bearer(&good).is_ok());
    let body = |header: &Value| {
        let (header, claims) = (header.to_string(), claims().to_string());
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
    };

    for none in ["none", "None", "NONE", ""] {
        let body = body(&with(header(&key), "alg", json!(none)));
        door.refuses(&format!("{body}."), Fault::Algorithm);
    }
    let shared = body(&with(header(&key), "alg", json!("HS256")));
    for secret in [key.public().to_vec(), own.der.clone(), pem(&[&own.der]).into_bytes()] {
        let signature = URL_SAFE_NO_PAD.encode(hmac(&secret, shared.as_bytes()));
        door.refuses(&format!("{shared}.{signature}"), Fault::Algorithm);
    }
    for other in ["RS256", "EdDSA", "ES384", "PS256", "es256"] {
        door.refuses(&signed(&with(header(&key), "alg", json!(other)), &key), Fault::Algorithm);
    }
    // The name of an RSA key, and the other way round.
    door.refuses(&signed(&with(header(&key), "kid", json!("r")), &key), Fault::Algorithm);
    door.refuses(&signed(&with(header(&key), "alg", Value::Null), &key), Fault::Algorithm);

    let narrow = Door::with(&[], &[key.jwk("k"), Signer::ed25519(7).jwk("e")], &[Algorithm::EdDsa]);
    narrow.refuses(&good, Fault::Algorithm);
}

#[test]
fn a_token_does_not_vouch_for_its_own_key() {
    let (key, root) = (Signer::p256(7), Certified::root("root", 1));
    let foreign = Signer::p256(66);
    let door = Door::new(&[&root.der], &[key.jwk("k")]);
    assert!(door.bearer(&signed(&header(&key), &key)).is_ok());

    let nameless = with(header(&foreign), "kid", Value::Null);
    door.refuses(&signed(&nameless, &foreign), Fault::UnknownKey);
    door.refuses(&signed(&with(header(&foreign), "kid", json!("other")), &foreign), Fault::UnknownKey);
    door.refuses(&signed(&with(header(&key), "kid", json!("K")), &key), Fault::UnknownKey);
    door.refuses(&signed(&header(&foreign), &foreign), Fault::Signature);

    let embedded = with(nameless.clone(), "jwk", foreign.jwk("k"));
    door.refuses(&signed(&embedded, &foreign), Fault::UnknownKey);
    door.refuses(&signed(&with(header(&foreign), "jwk", foreign.jwk("k")), &foreign), Fault::Signature);
    // A chain within the embedded key, as libtrust did it, is none of the header.
    let own = Certified::by_itself("own", Signer::p256(66), |_| ());
    let inner = with(foreign.jwk("k"), "x5c", x5c(&[&own.der]));
    door.refuses(&signed(&with(nameless.clone(), "jwk", inner), &foreign), Fault::UnknownKey);
    for place in ["jku", "x5u"] {
        let elsewhere = with(nameless.clone(), place, json!("https://evil.example/keys"));
        door.refuses(&signed(&elsewhere, &foreign), Fault::UnknownKey);
    }
}

#[test]
fn a_chain_that_proves_nothing_is_refused() {
    let root = Certified::root("root", 1);
    let door = Door::new(&[&root.der], &[]);
    let good = root.certify("leaf", Signer::p256(7), |_| ());
    assert!(door.bearer(&chained(&[&good.der], &good.key)).is_ok());

    let foreign = Certified::root("root", 66);
    let leaf = foreign.certify("leaf", Signer::p256(7), |_| ());
    door.refuses(&chained(&[&leaf.der], &leaf.key), Fault::UnknownKey);
    door.refuses(&chained(&[&leaf.der, &foreign.der], &leaf.key), Fault::UnknownKey);
    door.refuses(&chained(&[&leaf.der, &root.der], &leaf.key), Fault::UnknownKey);
    let own = Certified::by_itself("own", Signer::p256(7), |_| ());
    door.refuses(&chained(&[&own.der], &own.key), Fault::UnknownKey);

    let late = root.certify("leaf", Signer::p256(7), |p| p.not_after = date_time_ymd(2026, 11, 1));
    door.refuses(&chained(&[&late.der], &late.key), Fault::UnknownKey);
    let early = root.certify("leaf", Signer::p256(7), |p| p.not_before = date_time_ymd(2026, 12, 1));
    door.refuses(&chained(&[&early.der], &early.key), Fault::UnknownKey);

    let middle = root.certify("middle", Signer::p256(2), authority(None));
    let deep = middle.certify("leaf", Signer::p256(7), |_| ());
    assert!(door.bearer(&chained(&[&deep.der, &middle.der], &deep.key)).is_ok());
    door.refuses(&chained(&[&middle.der, &deep.der], &deep.key), Fault::UnknownKey);
    door.refuses(&chained(&[&root.der, &deep.der], &deep.key), Fault::Signature);

    let late_middle = root.certify("late", Signer::p256(2), |p| {
        authority(None)(p);
        p.not_after = date_time_ymd(2026, 11, 1);
    });
    let below = late_middle.certify("leaf", Signer::p256(7), |_| ());
    door.refuses(&chained(&[&below.der, &late_middle.der], &below.key), Fault::UnknownKey);
    // A leaf that plays the authority.
    let below = good.certify("leaf", Signer::p256(8), |_| ());
    door.refuses(&chained(&[&below.der, &good.der], &below.key), Fault::UnknownKey);

    let mut tampered = good.der.clone();
    *tampered.last_mut().expect("bytes") ^= 1;
    door.refuses(&chained(&[&tampered], &good.key), Fault::UnknownKey);
    let weak = root.certify("leaf", Signer::rsa(1024), |_| ());
    door.refuses(&chained(&[&weak.der], &weak.key), Fault::UnknownKey);
}

#[test]
fn certificates_of_the_bundle_are_held_to_what_they_say() {
    let length = |length| Certified::by_itself("root", Signer::p256(1), authority(Some(length)));
    for (most, fits) in [(0, false), (1, true)] {
        let root = length(most);
        let middle = root.certify("middle", Signer::p256(2), authority(None));
        let leaf = middle.certify("leaf", Signer::p256(7), |_| ());
        let door = Door::new(&[&root.der], &[]);
        assert_eq!(door.bearer(&chained(&[&leaf.der, &middle.der], &leaf.key)).is_ok(), fits, "{most}");
    }
    // Not an authority: its key signs tokens, not certificates.
    for said in [IsCa::NoCa, IsCa::ExplicitNoCa] {
        let own = Certified::by_itself("own", Signer::p256(1), |p| p.is_ca = said);
        let leaf = own.certify("leaf", Signer::p256(7), |_| ());
        let door = Door::new(&[&own.der], &[]);
        assert!(door.bearer(&chained(&[&own.der], &own.key)).is_ok());
        door.refuses(&chained(&[&leaf.der], &leaf.key), Fault::UnknownKey);
    }

    let over = Certified::by_itself("root", Signer::p256(1), |p| {
        authority(None)(p);
        p.not_after = date_time_ymd(2026, 11, 1);
    });
    let leaf = over.certify("leaf", Signer::p256(7), |_| ());
    let door = Door::new(&[&over.der], &[]);
    door.refuses(&chained(&[&leaf.der], &leaf.key), Fault::UnknownKey);
    door.refuses(&chained(&[&over.der], &over.key), Fault::UnknownKey);
    door.clock.0.store(NOW - 30 * 86_400, Ordering::Relaxed);
    let then = with(with(with(claims(), "iat", Value::Null), "nbf", Value::Null), "exp", json!(NOW));
    let header = with(with(header(&leaf.key), "kid", Value::Null), "x5c", x5c(&[&leaf.der]));
    assert!(door.bearer(&token(&header.to_string(), &then.to_string(), &leaf.key)).is_ok());
}

#[test]
fn claims_must_be_for_this_server_from_that_one_and_now() {
    let key = Signer::p256(7);
    let door = Door::new(&[], &[key.jwk("k")]);
    let say = |member: &str, value: Value| {
        token(&header(&key).to_string(), &with(claims(), member, value).to_string(), &key)
    };
    assert!(door.bearer(&say("x", json!(1))).is_ok());
    for (member, value, fault) in [
        ("iss", json!("other"), Fault::Issuer),
        ("iss", json!("Issuer"), Fault::Issuer),
        ("iss", json!(["issuer"]), Fault::Issuer),
        ("iss", Value::Null, Fault::Issuer),
        ("aud", json!("other"), Fault::Audience),
        ("aud", json!("trust "), Fault::Audience),
        ("aud", json!(["other"]), Fault::Audience),
        ("aud", json!([["trust"]]), Fault::Audience),
        ("aud", json!([]), Fault::Audience),
        ("aud", Value::Null, Fault::Audience),
        ("exp", json!(NOW), Fault::Expired),
        ("exp", json!(0), Fault::Expired),
        ("exp", Value::Null, Fault::NoExpiry),
        ("exp", json!((NOW + 300).to_string()), Fault::Malformed),
        ("exp", json!(9e99), Fault::Malformed),
        ("exp", json!(u64::MAX), Fault::Malformed),
        ("nbf", json!(NOW + 1), Fault::NotYet),
        ("nbf", json!("0"), Fault::Malformed),
        ("iat", json!(NOW + 1), Fault::NotYet),
        ("access", json!("*"), Fault::Malformed),
    ] {
        door.refuses(&say(member, value), fault);
    }
}

#[test]
fn a_text_has_one_meaning() {
    let key = Signer::p256(7);
    let door = Door::new(&[], &[key.jwk("k")]);
    let (header, claims) = (header(&key).to_string(), claims().to_string());
    let good = token(&header, &claims, &key);
    assert!(door.bearer(&good).is_ok());
    let twice = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);

    for malformed in [
        token(&twice(&header, r#""alg":"ES256""#), &claims, &key),
        token(&twice(&header, r#""kid":"x""#), &claims, &key),
        token(&header, &twice(&claims, r#""access":[]"#), &key),
        token(&header, &twice(&claims, r#""exp":9999999999"#), &key),
        token(&header, &claims.replace(r#""type":"#, r#""type":"x","type":"#), &key),
        token(&header, &format!("{claims} {claims}"), &key),
        token(&header, "[]", &key),
        token("null", &claims, &key),
        token(&header.replace("\"k\"", "1"), &claims, &key),
        token(&header.replace("\"JWT\"", "1"), &claims, &key),
        token(&twice(&header, r#""x5c":[]"#), &claims, &key),
        token(&twice(&header, r#""x5c":"AAAA""#), &claims, &key),
        token(&twice(&header, r#""x5c":["A-_A"]"#), &claims, &key),
        token(&twice(&header, &format!(r#""x5c":{}"#, json!(vec!["AAAA"; 9]))), &claims, &key),
        format!("{good}="),
        format!("{good}.{good}"),
        format!("{good}."),
        good.replacen('.', "", 2),
        "e30".to_owned(),
        "..".to_owned(),
        ".".to_owned(),
        String::new(),
    ] {
        door.refuses(&malformed, Fault::Malformed);
    }
    for (member, fault) in [
        (r#""crit":["b64"],"b64":true"#, Fault::Critical),
        (r#""crit":[]"#, Fault::Critical),
        (r#""crit":null"#, Fault::Critical),
    ] {
        door.refuses(&token(&twice(&header, member), &claims, &key), fault);
    }
    for kind in ["at+jwt", "JOSE", "secevent+jwt", ""] {
        let header = header.replace("\"JWT\"", &format!("\"{kind}\""));
        door.refuses(&token(&header, &claims, &key), Fault::Kind);
    }
    let long = with(serde_json::from_str(&claims).expect("claims"), "x", json!("x".repeat(16 * 1024)));
    door.refuses(&token(&header, &long.to_string(), &key), Fault::TooLong);
}

#[test]
fn a_signature_covers_every_byte() {
    let key = Signer::p256(7);
    let door = Door::new(&[], &[key.jwk("k")]);
    let good = signed(&header(&key), &key);
    assert!(door.bearer(&good).is_ok());
    let (body, signature) = good.rsplit_once('.').expect("three parts");
    let head = body.split('.').next().expect("a header");

    let more = with(claims(), "access", json!([{"type": "registry", "name": "catalog", "actions": ["*"]}]));
    let more = URL_SAFE_NO_PAD.encode(more.to_string());
    door.refuses(&format!("{head}.{more}.{signature}"), Fault::Signature);
    let short = URL_SAFE_NO_PAD.encode(&URL_SAFE_NO_PAD.decode(signature).expect("bytes")[..63]);
    let der = URL_SAFE_NO_PAD.encode(key.sign_der(body.as_bytes()));
    let zero = URL_SAFE_NO_PAD.encode([0; 64]);
    for bad in [short.as_str(), &der, &zero, ""] {
        door.refuses(&format!("{body}.{bad}"), Fault::Signature);
    }
}

#[test]
fn names_are_matched_whole() {
    let key = Signer::p256(7);
    let door = Door::new(&[], &[key.jwk("k")]);
    let holder = |entries: Value| {
        let claims = with(claims(), "access", entries).to_string();
        door.lets_in(&token(&header(&key).to_string(), &claims, &key))
    };
    let entry =
        |name: &str, actions: &[&str]| json!({"type": "repository", "name": name, "actions": actions});
    let gun = "localhost:5000/team/app";

    let caller = holder(json!([entry(gun, &["pull", "push"])]));
    assert!(caller.may(Right::Read, &name(gun)) && caller.may(Right::Publish, &name(gun)));
    assert!(!caller.may(Right::Admin, &name(gun)));
    let others = ["team/app", "localhost/team/app", "localhost:5001/team/app", "localhost:5000/team", "app"];
    for other in others.into_iter().chain(["localhost:5000/team/app/x", "localhost:5000/team/ap"]) {
        assert!(!caller.may(Right::Read, &name(other)), "{other}");
    }
    let push = holder(json!([entry(gun, &["push"])]));
    assert!(push.may(Right::Publish, &name(gun)) && !push.may(Right::Read, &name(gun)));
    let all = holder(json!([entry(gun, &["*"])]));
    assert!([Right::Read, Right::Publish, Right::Admin].into_iter().all(|right| all.may(right, &name(gun))));
    assert!(!all.may_catalog() && !all.may(Right::Read, &name("localhost:5000/team")));

    for spelling in [
        "localhost:5000:pull/team/app",
        "localhost:5000/team/app:pull",
        "localhost:5000//team/app",
        "/localhost:5000/team/app",
        "localhost:5000/team/app/",
        "localhost:5000/team/../team/app",
        "localhost:05000/team/app",
        "localhost:5000/Team/app",
        "localhost:5000/team%2Fapp",
        "localhost:5000/team/app ",
        "localhost:5000/*",
        "",
    ] {
        let caller = holder(json!([entry(spelling, &["*"])]));
        assert!(!caller.may(Right::Read, &name(gun)), "{spelling}");
    }
    for actions in [["Pull"], ["PULL"], ["pull "], ["pull,push"], [""]] {
        assert!(!holder(json!([entry(gun, &actions)])).may(Right::Read, &name(gun)), "{actions:?}");
    }
    let catalog = holder(json!([{"type": "registry", "name": "catalog", "actions": ["*"]}]));
    assert!(catalog.may_catalog() && catalog.may_list(&name(gun)) && !catalog.may(Right::Read, &name(gun)));
}

#[test]
fn a_token_is_remembered_no_longer_than_it_counts() {
    let root = Certified::root("root", 1);
    let ends = date_time_ymd(2026, 11, 19);
    let leaf = root.certify("leaf", Signer::p256(7), |p| p.not_after = ends);
    let door = Door::new(&[&root.der], &[]);
    let header = with(with(header(&leaf.key), "kid", Value::Null), "x5c", x5c(&[&leaf.der]));
    let last = ends.unix_timestamp();
    let token = |until: i64| {
        let claims = with(claims(), "exp", json!(until)).to_string();
        token(&header.to_string(), &claims, &leaf.key)
    };
    let at = |second: i64| door.clock.0.store(second, Ordering::Relaxed);

    let short = token(NOW + 10);
    assert_eq!(door.lets_in(&short), door.lets_in(&short));
    at(NOW + 9);
    assert!(door.bearer(&short).is_ok());
    at(NOW + 10);
    door.refuses(&short, Fault::Expired);
    // Back before it was issued: what is remembered says nothing on that.
    at(NOW - 10);
    door.refuses(&short, Fault::NotYet);

    let long = token(last + 9999);
    at(last);
    assert!(door.bearer(&long).is_ok());
    at(last + 60);
    door.refuses(&long, Fault::UnknownKey);
    at(0);
    assert_eq!(door.bearer(&long), Err(AuthError::Unreadable));
}

#[test]
fn own_tokens_work_beside_and_as_a_password() {
    let key = Signer::p256(7);
    let door = Door::new(&[], &[key.jwk("k")]);
    let own = TokenFile::in_data(door.folder.path())
        .create(
            "ci".parse().expect("a name"),
            "read".parse().expect("rights"),
            vec!["**".parse().expect("a scope")],
            door.clock.now(),
            None,
        )
        .expect("a token");
    let identify = |text: &str| door.access.identify(Some(&HeaderValue::from_str(text).expect("a header")));
    let basic = |text: &str| identify(&format!("Basic {}", STANDARD.encode(text)));

    let caller = identify(&format!("Bearer {}", *own)).expect("a caller");
    assert!(caller.name() == "ci" && caller.may_catalog() && !caller.may(Right::Publish, &name("a")));
    for user in ["ci", "", "anybody at all"] {
        assert_eq!(basic(&format!("{user}:{}", *own)), Ok(caller.clone()), "{user}");
    }
    let good = signed(&header(&key), &key);
    assert!(door.bearer(&good).is_ok());
    assert_eq!(basic(&format!("ci:{good}")), Err(AuthError::Unknown));
    assert_eq!(basic(&format!("{}:", *own)), Err(AuthError::Unknown));
    assert_eq!(basic("ci:bulla_x"), Err(AuthError::Unknown));
    assert_eq!(door.bearer("bulla_x"), Err(AuthError::Unknown));
    assert_eq!(door.access.identify(None), Err(AuthError::Missing));

    // A registry's token is no token where no token server is set.
    let book = TokenBook::new(TokenFile::in_data(door.folder.path()), door.clock.clone());
    let alone = Access::tokens(book, false);
    let header = HeaderValue::from_str(&format!("Bearer {good}")).expect("a header");
    assert_eq!(alone.identify(Some(&header)), Err(AuthError::Unknown));
    let gun = name("localhost:5000/app");
    let scope = ChallengeScope::Repository(&gun, Right::Publish);
    assert_eq!(alone.challenges(&scope, None), ["Basic realm=\"bullad\""]);
    assert_eq!(
        door.access.challenges(&scope, None),
        ["Bearer realm=\"https://auth.example.com/token\",service=\"trust\",\
          scope=\"repository:localhost:5000/app:push,pull\""]
    );
}
