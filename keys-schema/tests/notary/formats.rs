//! Hostile bytes: texts that two readers would take for different things, and signatures that say
//! how they want to be verified.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulla_keys_schema::dialect::notary1::{key_id, key_object};
use bulla_keys_schema::json::{Json, Object};
use bulla_keys_schema::key::{KeyId, p256_signature_to_raw};
use bytes::Bytes;

use crate::papers::{
    ALICE, BOB, Holder, Papers, bare, bump, declared_as, delegate, list, lists, members, name, payload, sign,
    trust,
};
use crate::server::Server;
use crate::uploads::{Row, Upload, next, try_all};
use crate::{Doc, samples};

const UNSIGNED: &str = "alice: signed by 0 of 1 required keys";

/// What a text becomes, after it was signed, with the defect and without.
const TEXTS: &[Row] = &[
    Row {
        name: "unsigned member beside signed (Cure53 TUF-01-001)",
        error: "alice: unsigned member \"custom\" beside `signed` and `signatures`",
        build: |spoil| {
            rewritten("{\"signed\"", if spoil { "{\"custom\":1,\"signed\"" } else { " {\"signed\"" })
        },
    },
    Row {
        name: "signed twice",
        error: "alice: invalid JSON: duplicate member \"signed\" at line 1 column 221",
        build: |spoil| {
            rewritten("{\"signed\":", if spoil { "{\"signed\":{},\"signed\":" } else { "{ \"signed\" :" })
        },
    },
    Row {
        name: "signed in another spelling",
        error: "alice: document has two members that differ only in letter case: \"signed\"",
        build: |spoil| {
            rewritten("{\"signed\":", if spoil { "{\"Signed\":{},\"signed\":" } else { "{\n\"signed\":" })
        },
    },
    Row {
        name: "signatures in another spelling",
        error: "alice: document has two members that differ only in letter case: \"ſignatures\"",
        build: |spoil| {
            rewritten(
                ",\"signatures\":",
                if spoil { ",\"ſignatures\":[],\"signatures\":" } else { ", \"signatures\":" },
            )
        },
    },
    Row {
        name: "version twice",
        error: "alice: invalid JSON: duplicate member \"version\" at line 1 column 221",
        build: |spoil| {
            rewritten("\"version\":2", if spoil { "\"version\":2,\"version\":2" } else { "\"version\": 2" })
        },
    },
    Row {
        name: "version with a fraction",
        error: "alice: invalid JSON: number that is not a plain integer at line 1 column 210",
        build: |spoil| rewritten("\"version\":2", if spoil { "\"version\":2.0" } else { "\"version\":2 " }),
    },
    Row {
        name: "version with an exponent",
        error: "alice: invalid JSON: number that is not a plain integer at line 1 column 210",
        build: |spoil| rewritten("\"version\":2", if spoil { "\"version\":2e0" } else { "\"version\":\t2" }),
    },
    Row {
        name: "text behind the document",
        error: "alice: invalid JSON: trailing characters at line 2 column 1",
        build: |spoil| rewritten("==\"}]}", if spoil { "==\"}]}\n{}" } else { "==\"}]}\n" }),
    },
    Row {
        name: "signature in DER",
        error: UNSIGNED,
        build: |spoil| signed_with("ecdsa", |der| if spoil { der.to_vec() } else { raw(der) }),
    },
    Row {
        name: "signature with another byte behind",
        error: UNSIGNED,
        build: |spoil| signed_with("ecdsa", |der| [&raw(der)[..], if spoil { &[0] } else { &[] }].concat()),
    },
    Row {
        name: "signature of zeros",
        error: UNSIGNED,
        build: |spoil| signed_with("ecdsa", |der| if spoil { vec![0; 64] } else { raw(der) }),
    },
    Row {
        name: "method that nobody knows",
        error: UNSIGNED,
        build: |spoil| signed_with(if spoil { "none" } else { "ECDSA" }, raw),
    },
    Row {
        name: "signature without method",
        error: "alice: signatures.method must be a string",
        build: |spoil| rewritten("\"method\":\"ecdsa\",", if spoil { "" } else { "\"method\":\"ecdsa\", " }),
    },
    Row {
        name: "signature that Go cannot read, beside a good one",
        error: "alice: signatures.sig must be base64",
        build: |spoil| {
            let sig = if spoil { "?" } else { "" };
            let other = format!("\"signatures\":[{{\"keyid\":\"x\",\"method\":\"x\",\"sig\":\"{sig}\"}},");
            rewritten("\"signatures\":[", &other)
        },
    },
    Row {
        name: "the same key id in two signatures (CVE-2020-6174)",
        error: "alice: signatures: 0cfa366294732e14c3dec8f3edcca1e0c38729bb967d324be1f6364e24ca9dd5 must be listed once",
        build: |spoil| {
            let id = bare(if spoil { ALICE } else { BOB }).0;
            let other = format!("\"signatures\":[{{\"keyid\":\"{id}\",\"method\":\"ecdsa\",\"sig\":\"\"}},");
            rewritten("\"signatures\":[", &other)
        },
    },
    Row {
        name: "another content under the same signature",
        error: UNSIGNED,
        build: |spoil| rewritten("\"v1\":", if spoil { "\"v2\":" } else { "\"\\u0076\\u0031\":" }),
    },
];

/// What a document says, and signs.
const MEMBERS: &[Row] = &[
    Row {
        name: "type in lower case",
        error: "alice: _type is \"targets\", expected Targets",
        build: |spoil| said(|doc| doc.set("_type", if spoil { "targets" } else { "Targets" })),
    },
    Row {
        name: "type of another role",
        error: "alice: _type is \"Snapshot\", expected Targets",
        build: |spoil| said(|doc| doc.set("_type", if spoil { "Snapshot" } else { "Targets" })),
    },
    Row {
        name: "member in another spelling",
        error: "alice: targets has two members that differ only in letter case: \"version\"",
        build: |spoil| said(|doc| doc.set(if spoil { "Version" } else { "revision" }, "9")),
    },
    Row {
        name: "member of another spelling alone",
        error: "alice: targets has two members that differ only in letter case: \"_type\"",
        build: |spoil| said(|doc| doc.set(if spoil { "_Type" } else { "kind" }, "Targets")),
    },
    Row {
        name: "integer beyond 2^53",
        error: "alice: invalid JSON: integer beyond 2^53 - 1 at line 1 column 146",
        build: |spoil| {
            custom("9007199254740991", if spoil { "9007199254740993" } else { "9007199254740991" })
        },
    },
    Row {
        name: "integer beyond 64 bits",
        error: "alice: invalid JSON: number that is not a plain integer at line 1 column 150",
        build: |spoil| {
            custom("9007199254740991", if spoil { "18446744073709551617" } else { " 9007199254740991" })
        },
    },
    Row {
        name: "fraction in what the signer added",
        error: "alice: invalid JSON: number that is not a plain integer at line 1 column 133",
        build: |spoil| custom("9007199254740991", if spoil { "1.5" } else { "9007199254740991 " }),
    },
    Row {
        name: "two spellings in what the signer added",
        error: "alice: targets.targets.v1.custom has two members that differ only in letter case: \"tag\"",
        build: |spoil| {
            let (one, other) = (Json::Integer(1), Json::Integer(2));
            said(|doc| {
                doc.set(
                    "targets/v1/custom",
                    members([("tag", one), (if spoil { "Tag" } else { "tags" }, other)]),
                )
            })
        },
    },
    Row {
        name: "digest of a tag in hexadecimal",
        error: "alice: targets.targets.v1.hashes.sha256 must be 32 bytes in base64",
        build: |spoil| {
            said(|doc| {
                let digest = if spoil { "0".repeat(64) } else { STANDARD.encode([0; 32]) };
                doc.set("targets/v1/hashes/sha256", digest)
            })
        },
    },
    Row {
        name: "digest of a tag with a line break",
        error: "alice: targets.targets.v1.hashes.sha256 must be 32 bytes in base64",
        build: |spoil| {
            said(|doc| {
                let digest = STANDARD.encode([0; 32]);
                doc.set("targets/v1/hashes/sha256", if spoil { format!("{digest}\n") } else { digest })
            })
        },
    },
    Row {
        name: "digests of unknown algorithms alone",
        error: "alice: targets.targets.v1.hashes must be an object with sha256 or sha512",
        build: |spoil| {
            said(|doc| {
                let digest = if spoil {
                    ("md5", STANDARD.encode([0; 16]))
                } else {
                    ("sha512", STANDARD.encode([0; 64]))
                };
                doc.set("targets/v1/hashes", members([(digest.0, Json::from(digest.1))]))
            })
        },
    },
    Row {
        name: "digest of an unknown algorithm that Go cannot read",
        error: "alice: targets.targets.v1.hashes.md5 must be base64",
        build: |spoil| said(|doc| doc.set("targets/v1/hashes/md5", if spoil { "?" } else { "" })),
    },
    Row {
        name: "key that Go cannot read, and nobody uses",
        error: "alice: targets.delegations.keys.a650c5828e240ca7ef13ffffab4c6b3c68a27b8e35069783d714e109574fe29a.keyval.public must be base64",
        build: |spoil| {
            said(|doc| {
                let (id, object) = declared_as("gpg", if spoil { "?" } else { "" });
                doc.set(&format!("delegations/keys/{id}"), object)
            })
        },
    },
    Row {
        name: "leap second",
        error: "alice: targets.expires must be a date",
        build: |spoil| {
            said(|doc| {
                doc.set("expires", if spoil { "2030-12-31T23:59:60Z" } else { "2030-12-31T23:59:59Z" })
            })
        },
    },
    Row {
        name: "zone of a day",
        error: "alice: targets.expires must be a date",
        build: |spoil| {
            let zone = if spoil { "24:00" } else { "23:59" };
            said(|doc| doc.set("expires", format!("2030-12-31T00:00:00+{zone}")))
        },
    },
    Row {
        name: "negative length",
        error: "alice: targets.targets.v1.length must be a number",
        build: |spoil| said(|doc| doc.set_number("targets/v1/length", if spoil { -1 } else { 0 })),
    },
    Row {
        name: "date without zone",
        error: "alice: targets.expires must be a date",
        build: |spoil| {
            said(|doc| {
                doc.set("expires", if spoil { "2030-12-31T00:00:00" } else { "2030-12-31T00:00:00.5+01:00" })
            })
        },
    },
];

#[test]
fn hostile_bytes_are_refused_for_their_defect() {
    try_all(&[TEXTS, MEMBERS]);
}

#[test]
fn the_key_chooses_how_a_signature_is_verified() {
    let rsa = (key_id(&samples::rsa()), key_object(&samples::rsa()));
    for (key, fitting) in [(bare(ALICE), "ecdsa"), (bare(BOB), "eddsa"), (rsa, "rsapss")] {
        let mut papers = Papers::flat(Holder::Server);
        delegate(&mut papers.targets, "targets/alice", &[ALICE]);
        trust(&mut papers.targets, "delegations/roles/0", std::slice::from_ref(&key), 1);
        let server = Server::with(&papers);
        let doc = sign(&lists(&["v1"]), &[]);
        let message = payload(&doc);
        let signatures = [
            ("ecdsa", raw(&ALICE.sign(&message))),
            ("eddsa", BOB.sign(&message)),
            ("rsapss", samples::rsa_sign(&message, true)),
            ("rsapkcs1v15", samples::rsa_sign(&message, false)),
            ("pycrypto-pkcs#1 pss", samples::rsa_sign(&message, false)),
            ("", Vec::new()),
        ];
        for (method, _) in &signatures {
            for (made_by, signature) in &signatures {
                let bytes = with_signature(&doc, &key.0, method, signature);
                let mut upload = Upload { server: server.clone(), submission: papers.since(Some(&papers)) };
                upload.submission.delegated.insert(name("targets/alice"), bytes.into());
                let result = upload.server.check(upload.submission);
                let is_right = *method == fitting && *made_by == fitting;
                assert_eq!(result.is_ok(), is_right, "{fitting} key, {method}, signature of {made_by}");
            }
        }
    }
}

#[test]
fn bad_signatures_beside_a_good_one_are_passed_over() {
    let mut upload = next(Holder::Server, |_| {});
    let mut alice = Papers::new(Holder::Server).delegated["targets/alice"].clone();
    bump(&mut alice, 1);
    alice.signed_as(bare(BOB).0.as_str(), ALICE).bad_signature("00", b"nonsense");
    let text = String::from_utf8(alice.bytes().to_vec()).unwrap();
    let text =
        text.replace("\"signatures\":[", "\"signatures\":[{\"keyid\":\"x\",\"method\":\"x\",\"sig\":\"\"},");
    upload.submission.delegated.insert(name("targets/alice"), Bytes::from(text).into());
    assert!(upload.server.publish(upload.submission).is_ok());
}

#[test]
fn received_bytes_are_kept_whatever_their_form() {
    // An old server would hash what it encodes again, and so make each of these unreadable.
    let order = |doc: &Doc| {
        let text = String::from_utf8(doc.bytes().to_vec()).unwrap();
        let (signed, signatures) = text.rsplit_once(",\"signatures\":").unwrap();
        format!(
            "{{\"signatures\":{},{}}}\n",
            signatures.strip_suffix('}').unwrap(),
            signed.strip_prefix('{').unwrap()
        )
    };
    let mut upload = next(Holder::Server, |papers| {
        list(papers.next("targets/alice"), "v2");
    });
    let alice = {
        let mut papers = Papers::new(Holder::Server);
        list(papers.next("targets/alice"), "v2").set("spec_version", "1.0");
        Bytes::from(order(papers.role("targets/alice")))
    };
    upload.submission.delegated.insert(name("targets/alice"), alice.clone().into());
    upload.server.publish(upload.submission).unwrap();
    let mut client = crate::client::Client::new(&upload.server.served);
    let view = client.follow(&upload.server.served).unwrap();
    assert_eq!(view.listing("v2"), ["alice"].into());
    assert_eq!(upload.server.state().delegated()[&name("targets/alice")].bytes(), &alice);
}

/// Alice's next document, with one text replaced after it was signed.
fn rewritten(from: &str, to: &str) -> Upload {
    next(Holder::Server, |papers| {
        papers.next("targets/alice").rewrite(from, to);
    })
}

/// Alice's next document, with something else in it before it was signed.
fn said(edit: impl FnOnce(&mut Doc) -> &mut Doc) -> Upload {
    next(Holder::Server, |papers| {
        edit(papers.next("targets/alice"));
    })
}

/// Alice's next document with a number in what she added, written like this.
fn custom(signed: &str, text: &str) -> Upload {
    let number = signed.parse().unwrap();
    next(Holder::Server, |papers| {
        let alice = papers.next("targets/alice");
        alice.set("targets/v1/custom", Json::Object(Object::from([("n".to_owned(), Json::Integer(number))])));
        alice.rewrite(&format!("\"n\":{signed}"), &format!("\"n\":{text}"));
    })
}

/// Alice's next document under a signature in this form; `change` gets it in DER.
fn signed_with(method: &str, change: impl FnOnce(&[u8]) -> Vec<u8>) -> Upload {
    let mut papers = Papers::new(Holder::Server);
    let alice = papers.next("targets/alice");
    let signature = change(&ALICE.sign(&payload(alice)));
    let bytes = with_signature(alice, &bare(ALICE).0, method, &signature);
    let upload = next(Holder::Server, |papers| {
        papers.next("targets/alice");
    });
    crate::uploads::with_alice(upload, bytes)
}

fn raw(der: &[u8]) -> Vec<u8> {
    p256_signature_to_raw(der).unwrap().to_vec()
}

/// The document under this one signature.
fn with_signature(doc: &Doc, id: &KeyId, method: &str, signature: &[u8]) -> Bytes {
    let text = String::from_utf8(doc.bytes().to_vec()).unwrap();
    let (signed, _) = text.rsplit_once(",\"signatures\":").unwrap();
    let signature = STANDARD.encode(signature);
    let signature = format!(r#"{{"keyid":"{id}","method":"{method}","sig":"{signature}"}}"#);
    format!("{signed},\"signatures\":[{signature}]}}").into()
}
