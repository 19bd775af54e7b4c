//! Attacks on the deny list: past it, around it, and to be rid of it.

use bulla_keys_schema::author::TargetsEdit;
use bulla_keys_schema::digest::{Hashes, Sha256Digest, Sha512Digest};
use bulla_keys_schema::json::{Json, Object};
use bulla_keys_schema::metadata::{Denial, TargetInfo, Version};
use bulla_keys_schema::names::RoleName;

use crate::attack::{Attack, client, returning};
use crate::support::{DIALECT, Doc, Repo, TestKey, delegation, later, now, repository};
use crate::uploads::{Row, Upload, between, bump, first, signed};

const BOB: TestKey = TestKey::new("bob");
/// Bytes that nobody may sign.
const BAD: &[u8] = b"bad";
const GOOD: &[u8] = b"good";

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "denied-digest-listed-by-a-signer",
        rules: "the deny list outranks every signature",
        error: "v1 stands for sha256:0cef75dd290083d04f87bd6defa13d16fc93bc4669dce0ced1cd23dab4774496, which was revoked",
        build: |spoil| client(&denying(Repo::new(), &[if spoil { Repo::MANIFEST } else { BAD }])),
    },
    Attack {
        name: "denied-digest-listed-in-targets",
        rules: "the deny list outranks every signature",
        error: "v1 stands for sha256:0cef75dd290083d04f87bd6defa13d16fc93bc4669dce0ced1cd23dab4774496, which was revoked",
        build: |spoil| client(&denying(Repo::flat(), &[if spoil { Repo::MANIFEST } else { BAD }])),
    },
    Attack {
        name: "denied-digest-listed-by-sha512-alone",
        rules: "a denied digest of another algorithm",
        error: "v1 stands for sha256:0cef75dd290083d04f87bd6defa13d16fc93bc4669dce0ced1cd23dab4774496, which was revoked",
        build: |spoil| {
            let mut repo = denying(Repo::new(), &[]);
            let denied = if spoil { Repo::MANIFEST } else { BAD };
            repo.delegated.insert("revocations".to_owned(), list_of(1, &[with_sha512(denied)]));
            let hashes = [("sha512".to_owned(), Json::from(Sha512Digest::of(Repo::MANIFEST).to_string()))];
            repo.alice().set("targets/v1/hashes", Json::Object(Object::from(hashes)));
            client(&repo)
        },
    },
    Attack {
        name: "deny-list-left-out-of-the-snapshot",
        rules: "C26, a withheld deny list",
        error: "revocations is missing",
        build: |spoil| {
            let mut repo = denying(Repo::new(), &[BAD]);
            if spoil {
                repo.unlisted.insert("revocations".to_owned());
            }
            client(&repo)
        },
    },
    Attack {
        name: "deny-list-expired",
        rules: "a frozen deny list",
        error: "revocations version 1 expired at 2030-01-01T00:00:00Z",
        build: |spoil| {
            let mut repo = denying(Repo::new(), &[BAD]);
            let expires = if spoil { now() } else { later() };
            repo.targets_doc("revocations").set("expires", expires.to_string());
            client(&repo)
        },
    },
    Attack {
        name: "deny-list-rolled-back",
        rules: "C18, an entry undone by an older list",
        error: "revocations went back from version 2 to 1",
        build: |spoil| {
            let mut old = denying(Repo::new(), &[]);
            let mut new = denying(Repo::new(), &[BAD]);
            bump(new.targets_doc("revocations"), 1);
            for (repo, by) in [(&mut old, if spoil { 1 } else { 0 }), (&mut new, 1 - i64::from(spoil))] {
                bump(&mut repo.snapshot, by);
                bump(&mut repo.timestamp, by);
            }
            if spoil { returning(&new, &old) } else { returning(&old, &new) }
        },
    },
    Attack {
        name: "deny-list-signed-by-a-signer",
        rules: "only its own keys fill and empty the deny list",
        error: "revocations: signed by 0 of 1 required keys",
        build: |spoil| {
            let mut repo = denying(Repo::new(), &[BAD]);
            let key = if spoil { Repo::ALICE } else { Repo::TARGETS };
            repo.targets_doc("revocations").signed_by(&[key]);
            client(&repo)
        },
    },
];

pub const ROWS: &[Row] = &[
    Row {
        name: "signer who lists a denied digest",
        error: "alice lists v2 as sha256:2f05d4b689d270cafb02285f35f44866f7dc8a2d368a3f9d1124373eeab31fb1, which revocations denies",
        build: |spoil| {
            next(&[BAD], |repo| {
                bump(repo.alice(), 1).set("targets/v2", entry(if spoil { BAD } else { GOOD }));
            })
        },
    },
    Row {
        name: "targets that lists a denied digest",
        error: "targets lists v2 as sha256:2f05d4b689d270cafb02285f35f44866f7dc8a2d368a3f9d1124373eeab31fb1, which revocations denies",
        build: |spoil| {
            next(&[BAD], |repo| {
                bump(&mut repo.targets, 1).set("targets/v2", entry(if spoil { BAD } else { GOOD }));
            })
        },
    },
    Row {
        name: "denied digest as sha512 beside another sha256",
        error: "alice lists v2 as sha256:2f05d4b689d270cafb02285f35f44866f7dc8a2d368a3f9d1124373eeab31fb1, which revocations denies",
        build: |spoil| {
            let mut before = denying(signed(), &[]);
            before.delegated.insert("revocations".to_owned(), list_of(1, &[with_sha512(BAD)]));
            let mut after = before.clone();
            let sha512 = Sha512Digest::of(if spoil { BAD } else { GOOD }).to_string();
            bump(after.alice(), 1)
                .set("targets/v2", entry(GOOD))
                .set("targets/v2/hashes/sha512", sha512.as_str());
            between(&before, &after)
        },
    },
    Row {
        name: "document signed on while its digest is denied",
        error: "alice lists v1 as sha256:0cef75dd290083d04f87bd6defa13d16fc93bc4669dce0ced1cd23dab4774496, which revocations denies",
        build: |spoil| {
            next(&[], |repo| {
                repo.delegated.insert("revocations".to_owned(), list_of(2, &[plain(Repo::MANIFEST)]));
                bump(repo.targets_doc("releases"), 1).remove("targets/v1");
                bump(repo.alice(), 1);
                if !spoil {
                    repo.alice().remove("targets/v1");
                }
            })
        },
    },
    Row {
        name: "targets that lets the deny list go",
        error: "sha256/2f05d4b689d270cafb02285f35f44866f7dc8a2d368a3f9d1124373eeab31fb1 would leave revocations, but the keys of that role did not sign this",
        build: |spoil| {
            let denied: &[&[u8]] = if spoil { &[BAD] } else { &[] };
            next(denied, |repo| {
                bump(&mut repo.targets, 1).remove("delegations/roles/2");
                repo.delegated.remove("revocations");
            })
        },
    },
    Row {
        name: "targets that gives the deny list other keys, and the list is empty",
        error: "sha256/2f05d4b689d270cafb02285f35f44866f7dc8a2d368a3f9d1124373eeab31fb1 would leave revocations, but the keys of that role did not sign this",
        build: |spoil| {
            next(&[BAD], |repo| {
                bump(&mut repo.targets, 1).trust("delegations/roles/2", &[BOB], 1);
                let mut list = list_of(2, &[]);
                list.signed_by(if spoil { &[BOB] } else { &[BOB, Repo::TARGETS] });
                repo.delegated.insert("revocations".to_owned(), list);
            })
        },
    },
    Row {
        name: "deny list under other keys that keeps a digest in name only",
        error: "sha256/2f05d4b689d270cafb02285f35f44866f7dc8a2d368a3f9d1124373eeab31fb1 would leave revocations, but the keys of that role did not sign this",
        build: |spoil| {
            let mut before = denying(signed(), &[]);
            before.delegated.insert("revocations".to_owned(), list_of(1, &[with_sha512(BAD)]));
            let mut after = before.clone();
            bump(&mut after.targets, 1).trust("delegations/roles/2", &[BOB], 1);
            let mut list = list_of(2, &[if spoil { plain(BAD) } else { with_sha512(BAD) }]);
            list.signed_by(&[BOB]);
            after.delegated.insert("revocations".to_owned(), list);
            between(&before, &after)
        },
    },
    Row {
        name: "deny list that lists a tag",
        error: "revocations: revocations lists digests only, as sha256/HEX with that digest and a time",
        build: |spoil| {
            next(&[BAD], |repo| {
                let list = bump(repo.targets_doc("revocations"), 1);
                if spoil {
                    list.set("targets/v1", entry(BAD));
                }
            })
        },
    },
    Row {
        name: "deny list whose entry names one digest and has another",
        error: "revocations: revocations lists digests only, as sha256/HEX with that digest and a time",
        build: |spoil| {
            next(&[BAD], |repo| {
                let (_, mut info) = plain(GOOD);
                if spoil {
                    info.hashes = Hashes::sha256(Sha256Digest::of(BAD));
                }
                let entries = [plain(BAD), (Sha256Digest::of(GOOD), info)];
                repo.delegated.insert("revocations".to_owned(), list_of(2, &entries));
            })
        },
    },
    Row {
        name: "deny list whose entry has no time",
        error: "revocations: revocations lists digests only, as sha256/HEX with that digest and a time",
        build: |spoil| {
            next(&[BAD], |repo| {
                let (digest, mut info) = plain(GOOD);
                if spoil {
                    info.custom = None;
                }
                repo.delegated.insert("revocations".to_owned(), list_of(2, &[plain(BAD), (digest, info)]));
            })
        },
    },
    Row {
        name: "deny list that delegates",
        error: "revocations: revocations must not delegate: only its own keys deny",
        build: |spoil| {
            next(&[BAD], |repo| {
                bump(repo.targets_doc("revocations"), 1);
                if spoil {
                    repo.delegate("revocations", &delegation("revocations.bob", &[BOB], &["sha256/*"]));
                }
            })
        },
    },
    Row {
        name: "deny list that may speak for tags",
        error: "revocations: revocations speaks for sha256/* and nothing else",
        build: |spoil| {
            let mut repo = signed();
            let pattern = if spoil { "*" } else { "sha256/*" };
            repo.delegate("targets", &delegation("revocations", &[Repo::TARGETS], &[pattern]));
            repo.delegated.insert("revocations".to_owned(), list_of(1, &[]));
            first(&repo)
        },
    },
    Row {
        name: "deny list without document",
        error: "revocations is missing",
        build: |spoil| {
            let mut upload = first(&denying(signed(), &[BAD]));
            if spoil {
                upload.submission.delegated.remove(&"revocations".parse().unwrap());
            }
            upload
        },
    },
];

/// `repo` with a deny list, signed by the keys of targets.
fn denying(mut repo: Repo, denied: &[&[u8]]) -> Repo {
    repo.delegate("targets", &delegation("revocations", &[Repo::TARGETS], &["sha256/*"]));
    let entries: Vec<_> = denied.iter().map(|bytes| plain(bytes)).collect();
    repo.delegated.insert("revocations".to_owned(), list_of(1, &entries));
    repo
}

/// What `edit` changes in a repository that denies these bytes.
fn next(denied: &[&[u8]], edit: impl FnOnce(&mut Repo)) -> Upload {
    let before = denying(signed(), denied);
    let mut after = before.clone();
    edit(&mut after);
    between(&before, &after)
}

type Entry = (Sha256Digest, TargetInfo);

fn list_of(version: u64, entries: &[Entry]) -> Doc {
    let role: RoleName = "revocations".parse().unwrap();
    let version = Version::new(version).unwrap();
    let edit = TargetsEdit::new(DIALECT, role, version, later()).for_repository(Some(repository()));
    let mut list = edit.finish();
    list.targets = entries.iter().map(|(digest, info)| (format!("sha256/{digest}"), info.clone())).collect();
    Doc::new(&list, &[Repo::TARGETS])
}

fn plain(bytes: &[u8]) -> Entry {
    let digest = Sha256Digest::of(bytes);
    (digest, denial(digest).write(None))
}

fn with_sha512(bytes: &[u8]) -> Entry {
    let digest = Sha256Digest::of(bytes);
    let hashes = Hashes::new(Some(digest), Some(Sha512Digest::of(bytes))).unwrap();
    let length = u64::try_from(bytes.len()).unwrap();
    (digest, denial(digest).write(Some(&TargetInfo { length, hashes, custom: None })))
}

fn denial(digest: Sha256Digest) -> Denial {
    let reason = Some("leaks".to_owned());
    Denial { digest, revoked_at: Some(now()), reason, revoked_by: [Repo::TARGETS.fingerprint()].into() }
}

/// A target as a document lists it.
fn entry(bytes: &[u8]) -> Json {
    let hashes = [("sha256".to_owned(), Json::from(Sha256Digest::of(bytes).to_string()))];
    Json::Object(Object::from([
        ("length".to_owned(), Json::Integer(i64::try_from(bytes.len()).unwrap())),
        ("hashes".to_owned(), Json::Object(Object::from(hashes))),
    ]))
}
