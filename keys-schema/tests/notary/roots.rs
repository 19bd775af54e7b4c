//! Hostile roots: certificates, thresholds, versions, and who holds which key.

use bulla_keys_schema::dialect::Signature;
use bulla_keys_schema::key::{Certificate, KeyAlgorithm};

use crate::papers::{
    ALICE, BOB, Holder, MALLORY, OWNER, Papers, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, bare, bump, certificate,
    certificate_from, declared, root_signed_by, trust, wrapped,
};
use crate::uploads::{LAST_VERSION, Row, Upload, first, next, try_all, version};
use crate::{now, repository, time};

const NOT_SIGNED: &str = "root: signed by 0 of 1 required keys";
const NO_CERTIFICATE: &str = "root: 0 of 1 required root keys have a valid certificate for this repository";

const CERTIFICATES: &[Row] = &[
    Row {
        name: "bare root key",
        error: NOT_SIGNED,
        build: |spoil| {
            let mut papers = Papers::new(Holder::Server);
            if spoil {
                trust(&mut papers.root, "roles/root", &[bare(ROOT)], 1);
                papers.root.signed_by(&[]).signed_as(bare(ROOT).0.as_str(), ROOT);
            }
            first(&papers)
        },
    },
    Row {
        name: "certificate for another repository",
        error: NO_CERTIFICATE,
        build: |spoil| {
            let name = if spoil { "registry.example.com/team/ap" } else { "registry.example.com/team/app" };
            certified(&certificate(ROOT, name))
        },
    },
    Row {
        name: "certificate for another prefix",
        error: NO_CERTIFICATE,
        build: |spoil| {
            let name = if spoil { "registry.example.com/teams*" } else { "registry.example.com/team*" };
            certified(&certificate(ROOT, name))
        },
    },
    Row {
        name: "expired certificate",
        error: NO_CERTIFICATE,
        build: |spoil| lives(now().plus_seconds(-100), now().plus_seconds(-i64::from(spoil))),
    },
    Row {
        name: "certificate of the day after tomorrow",
        error: NO_CERTIFICATE,
        build: |spoil| {
            let day = 24 * 60 * 60;
            lives(now().plus_seconds(day + i64::from(spoil)), now().plus_seconds(2 * day))
        },
    },
    Row {
        name: "certificate of an authority first",
        error: NOT_SIGNED,
        build: |spoil| sampled(if spoil { "p256-authority-first" } else { "p256-chain" }),
    },
    Row {
        name: "certificate of an authority alone",
        error: NOT_SIGNED,
        build: |spoil| sampled(if spoil { "p256-authority" } else { "p256" }),
    },
    Row {
        name: "two owners in one bundle",
        error: NOT_SIGNED,
        build: |spoil| sampled(if spoil { "p256-two-owners" } else { "p256-chain" }),
    },
    Row {
        name: "certificate signed with SHA-1",
        error: NOT_SIGNED,
        build: |spoil| sampled(if spoil { "p256-sha1" } else { "p256-sha512" }),
    },
    Row {
        name: "certificate without name",
        error: NOT_SIGNED,
        build: |spoil| sampled(if spoil { "p256-no-name" } else { "p256-prefix" }),
    },
    Row {
        name: "certificate with a critical extension that nobody knows",
        error: NOT_SIGNED,
        build: |spoil| sampled(if spoil { "p256-unknown-critical" } else { "p256" }),
    },
    Row {
        name: "certificate under the type of another algorithm",
        error: NOT_SIGNED,
        build: |spoil| {
            let certificate = certificate(ROOT, repository().as_str());
            let keytype = if spoil { "rsa-x509" } else { "ecdsa-x509" };
            let (id, object) = declared(keytype, certificate.pem().as_bytes());
            let mut papers = Papers::new(Holder::Server);
            trust(&mut papers.root, "roles/root", &[(id.clone(), object)], 1);
            papers.root.signed_by(&[]).signed_as(id.as_str(), ROOT);
            first(&papers)
        },
    },
    Row {
        name: "one of two signers with a certificate for another repository",
        error: "root: 1 of 2 required root keys have a valid certificate for this repository",
        build: |spoil| {
            let name = if spoil { "registry.example.com/other" } else { "registry.example.com/team/*" };
            let (one, two) = (certificate(ROOT, repository().as_str()), certificate(MALLORY, name));
            let mut papers = Papers::new(Holder::Server);
            trust(&mut papers.root, "roles/root", &[wrapped(&one), wrapped(&two)], 2);
            root_signed_by(&mut papers.root, &[(&one, ROOT), (&two, MALLORY)]);
            first(&papers)
        },
    },
    Row {
        name: "signed under the certificate that is over, beside one that is not",
        error: NO_CERTIFICATE,
        build: |spoil| {
            let over = certificate_from(
                ROOT,
                repository().as_str(),
                time("2020-01-01T00:00:00Z"),
                now().plus_seconds(-1),
            );
            let valid = certificate(ROOT, repository().as_str());
            let mut papers = Papers::new(Holder::Server);
            trust(&mut papers.root, "roles/root", &[wrapped(&over), wrapped(&valid)], 1);
            root_signed_by(&mut papers.root, &[(if spoil { &over } else { &valid }, ROOT)]);
            first(&papers)
        },
    },
    Row {
        name: "successor by an old key whose certificate is for another repository",
        error: "root: 0 of 1 required root keys have a valid certificate for this repository",
        build: |spoil| {
            let name = if spoil { "registry.example.com/other" } else { "registry.example.com/team/*" };
            let (one, two) = (certificate(ROOT, repository().as_str()), certificate(MALLORY, name));
            let mut before = Papers::new(Holder::Server);
            trust(&mut before.root, "roles/root", &[wrapped(&one), wrapped(&two)], 1);
            let mut after = before.clone();
            let new = certificate(ALICE, repository().as_str());
            trust(after.next_root(), "roles/root", &[wrapped(&new)], 1);
            root_signed_by(&mut after.root, &[(&two, MALLORY), (&new, ALICE)]);
            crate::uploads::between(&before, &after)
        },
    },
];

const THRESHOLDS: &[Row] = &[
    Row {
        name: "old threshold unmet",
        error: NOT_SIGNED,
        build: |spoil| {
            next(Holder::Server, |papers| {
                let (old, new) =
                    (certificate(ROOT, repository().as_str()), certificate(ALICE, repository().as_str()));
                trust(papers.next_root(), "roles/root", &[wrapped(&new)], 1);
                let both = [(&new, ALICE), (&old, ROOT)];
                root_signed_by(&mut papers.root, if spoil { &both[..1] } else { &both });
            })
        },
    },
    Row {
        name: "own threshold unmet",
        error: NOT_SIGNED,
        build: |spoil| {
            next(Holder::Server, |papers| {
                let (old, new) =
                    (certificate(ROOT, repository().as_str()), certificate(ALICE, repository().as_str()));
                trust(papers.next_root(), "roles/root", &[wrapped(&new)], 1);
                let both = [(&old, ROOT), (&new, ALICE)];
                root_signed_by(&mut papers.root, if spoil { &both[..1] } else { &both });
            })
        },
    },
    Row {
        name: "one key in two certificates counted twice",
        error: "root: signed by 1 of 2 required keys",
        build: |spoil| twice(if spoil { 2 } else { 1 }, false),
    },
    Row {
        name: "one key in two certificates listed for a threshold of 2",
        error: DUPLICATE,
        build: |spoil| twice(if spoil { 2 } else { 1 }, true),
    },
    Row {
        name: "threshold of none",
        error: "root: root.roles.targets.threshold must be a number from 1 to 1024",
        build: |spoil| {
            next(Holder::Server, |papers| {
                papers.next_root().set_number("roles/targets/threshold", i64::from(!spoil));
            })
        },
    },
    Row {
        name: "threshold that can never be met",
        error: "targets: the threshold is higher than the number of keys",
        build: |spoil| {
            next(Holder::Server, |papers| {
                let keys = [bare(TARGETS), bare(ALICE)];
                trust(papers.next_root(), "roles/targets", &keys[usize::from(spoil)..], 1);
                if spoil {
                    papers.root.set_number("roles/targets/threshold", 2);
                }
            })
        },
    },
    Row {
        name: "key id without key",
        error: "snapshot: every key id must name a P-256, Ed25519 or RSA-PSS key",
        build: |spoil| {
            next(Holder::Server, |papers| {
                let keys = [bare(SNAPSHOT), bare(OWNER)];
                trust(papers.next_root(), "roles/snapshot", &keys, 1);
                if spoil {
                    papers.root.remove(&format!("keys/{}", bare(OWNER).0));
                }
            })
        },
    },
    Row {
        name: "root without a role for the snapshot",
        error: "root: root.roles.snapshot must be an object",
        build: |spoil| {
            next(Holder::Server, |papers| {
                let name = if spoil { "snapshot" } else { "consistent" };
                let role = papers.root.get("roles/snapshot").unwrap().clone();
                // A role that nobody knows is carried along.
                papers.next_root().set("roles/consistent", role).remove(&format!("roles/{name}"));
            })
        },
    },
];

const DUPLICATE: &str =
    "root: key 5a00e87de60aacb8156a6615d9806947f0ecbcc16c2e7a41f4bf678d9d1f9ad0 is listed twice";

const VERSIONS: &[Row] = &[
    Row {
        name: "repository that starts at root version 3",
        error: "root has version 3, expected 1",
        build: |spoil| {
            let mut papers = Papers::new(Holder::Server);
            papers.root.set("version", version(spoil, 3, 2));
            first(&papers)
        },
    },
    Row {
        name: "root that jumps",
        error: "root has version 3, expected 2",
        build: |spoil| {
            next(Holder::Server, |papers| {
                bump(&mut papers.root, if spoil { 2 } else { 1 });
            })
        },
    },
    Row {
        name: "root of the version before, with other content",
        error: "root has version 1, expected 2",
        build: |spoil| {
            next(Holder::Server, |papers| {
                bump(&mut papers.root, i64::from(!spoil)).set("expires", "2032-01-01T00:00:00Z");
            })
        },
    },
    Row {
        name: "root that jumps to the end of the counter",
        error: "root has version 2147483647, expected 2",
        build: |spoil| {
            next(Holder::Server, |papers| {
                papers.root.set("version", version(spoil, LAST_VERSION, 2));
            })
        },
    },
    Row {
        name: "root that starts near the end of the counter",
        error: "root has version 2147483647, expected 1",
        build: |spoil| {
            let mut papers = Papers::new(Holder::Server);
            papers.root.set("version", version(spoil, LAST_VERSION, 1));
            first(&papers)
        },
    },
    Row {
        name: "expired root",
        error: "root expired at 2030-01-01T00:00:00Z",
        build: |spoil| {
            next(Holder::Server, |papers| {
                let expires = now().plus_seconds(i64::from(!spoil)).to_string();
                papers.next_root().set("expires", expires);
            })
        },
    },
];

const HOLDERS: &[Row] = &[
    Row {
        name: "timestamp key that the server does not hold",
        error: "root lists too few timestamp keys held by this server",
        build: |spoil| {
            next(Holder::Server, |papers| {
                let key = if spoil { MALLORY } else { TIMESTAMP };
                trust(papers.next_root(), "roles/timestamp", &[bare(key)], 1);
            })
        },
    },
    Row {
        name: "online key for targets",
        error: ONLINE_TARGETS,
        build: |spoil| {
            next(Holder::Server, |papers| {
                let other = if spoil { SNAPSHOT } else { BOB };
                trust(papers.next_root(), "roles/targets", &[bare(TARGETS), bare(other)], 1);
            })
        },
    },
    Row {
        name: "online key for root",
        error: ONLINE_ROOT,
        build: |spoil| {
            next(Holder::Server, |papers| {
                let root = wrapped(&certificate(ROOT, repository().as_str()));
                let other = if spoil { SNAPSHOT } else { BOB };
                trust(papers.next_root(), "roles/root", &[root, bare(other)], 1);
            })
        },
    },
    Row {
        name: "new targets keys without targets signed by them",
        error: "targets: signed by 0 of 1 required keys",
        build: |spoil| {
            next(Holder::Server, |papers| {
                trust(papers.next_root(), "roles/targets", &[bare(MALLORY)], 1);
                if !spoil {
                    crate::papers::signed_by(papers.next("targets"), &[MALLORY]);
                }
            })
        },
    },
    Row {
        name: "new repository without root",
        error: "root is missing",
        build: |spoil| {
            let mut upload = first(&Papers::new(Holder::Server));
            if spoil {
                upload.submission.roots.clear();
            }
            upload
        },
    },
];

const ONLINE_TARGETS: &str = "targets trusts key 2c047dea2afe2a221afc9198e4916c78bbdb653d1436e1efff78d8fa3cd4b27c, which this server holds";
const ONLINE_ROOT: &str = "root trusts key 2c047dea2afe2a221afc9198e4916c78bbdb653d1436e1efff78d8fa3cd4b27c, which this server holds";

#[test]
fn hostile_roots_are_refused_for_their_defect() {
    try_all(&[CERTIFICATES, THRESHOLDS, VERSIONS, HOLDERS]);
}

/// A new repository whose root key is in this certificate.
fn certified(certificate: &Certificate) -> Upload {
    let mut papers = Papers::new(Holder::Server);
    trust(&mut papers.root, "roles/root", &[wrapped(certificate)], 1);
    root_signed_by(&mut papers.root, &[(certificate, ROOT)]);
    first(&papers)
}

fn lives(from: bulla_keys_schema::time::UtcTime, to: bulla_keys_schema::time::UtcTime) -> Upload {
    certified(&certificate_from(ROOT, repository().as_str(), from, to))
}

/// A new repository whose root key is in a certificate of another program.
fn sampled(name: &str) -> Upload {
    let mut papers = Papers::new(Holder::Server);
    let (id, object) = declared("ecdsa-x509", crate::samples::certificate(name).as_bytes());
    trust(&mut papers.root, "roles/root", &[(id.clone(), object)], 1);
    let payload = crate::papers::payload(&papers.root);
    let bytes = crate::samples::p256().sign(&payload);
    papers.root.signed_by(&[]).carry(Signature {
        key_id: id,
        algorithm: Some(KeyAlgorithm::EcdsaP256),
        bytes,
    });
    first(&papers)
}

/// A new repository whose root key has a renewed certificate beside the old one, maybe with
/// another key.
fn twice(threshold: i64, with_other: bool) -> Upload {
    let old = certificate_from(
        ROOT,
        repository().as_str(),
        time("2025-01-01T00:00:00Z"),
        time("2031-01-01T00:00:00Z"),
    );
    let new = certificate(ROOT, repository().as_str());
    let other = certificate(ALICE, repository().as_str());
    let mut keys = vec![wrapped(&old), wrapped(&new)];
    let mut signers = vec![(&old, ROOT), (&new, ROOT)];
    if with_other {
        keys.push(wrapped(&other));
        signers.push((&other, ALICE));
    }
    let mut papers = Papers::new(Holder::Server);
    trust(&mut papers.root, "roles/root", &keys, threshold);
    root_signed_by(&mut papers.root, &signers);
    first(&papers)
}
