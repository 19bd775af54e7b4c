//! Hostile snapshots: what the owner of the key points to must be there.

use bulla_keys_schema::json::Json;

use crate::papers::{
    ALICE, BOB, Holder, OWNER, Papers, bare, base64, delegate, info, list, name, signed_by, trust,
};
use crate::uploads::{LAST_VERSION, Row, Upload, between, first, next, try_all, version};
use crate::{DIALECT, now};

const OTHER_BYTES: &str = "the snapshot lists other bytes than those stored or uploaded";

const ROWS: &[Row] = &[
    Row {
        name: "snapshot alone that points nowhere",
        error: "the snapshot lists other bytes than those stored or uploaded: targets",
        build: |spoil| {
            next(Holder::Client, |papers| {
                if spoil {
                    papers.listed.insert("targets".to_owned(), info(b"nonsense"));
                }
            })
        },
    },
    Row {
        name: "snapshot alone that points to an older version",
        error: "the snapshot lists other bytes than those stored or uploaded: alice",
        build: |spoil| {
            let old = Papers::new(Holder::Client);
            let mut before = old.clone();
            before.next_snapshot();
            list(before.next("targets/alice"), "v2");
            let mut after = before.clone();
            after.next_snapshot();
            if spoil {
                after
                    .listed
                    .insert("targets/alice".to_owned(), info(&old.delegated["targets/alice"].bytes()));
            }
            let mut server = crate::server::Server::with(&old);
            server.publish(before.since(Some(&old))).unwrap();
            Upload { server, submission: after.since(Some(&before)) }
        },
    },
    Row {
        name: "snapshot alone that points to a document of another repository",
        error: "the snapshot lists other bytes than those stored or uploaded: alice",
        build: |spoil| {
            let mut other = Papers::new(Holder::Client);
            list(other.next("targets/alice"), "v2");
            next(Holder::Client, |papers| {
                if spoil {
                    let bytes = other.delegated["targets/alice"].bytes();
                    papers.listed.insert("targets/alice".to_owned(), info(&bytes));
                }
            })
        },
    },
    Row {
        name: "snapshot that swaps two documents",
        error: "the snapshot lists other bytes than those stored or uploaded: alice",
        build: |spoil| {
            let mut before = Papers::new(Holder::Client);
            list(before.role("targets/releases"), "v2");
            let mut after = before.clone();
            after.next_snapshot();
            if spoil {
                let [one, other] = ["targets/alice", "targets/releases"]
                    .map(|role| (role, info(&before.delegated[role].bytes())));
                after.listed = [(one.0.to_owned(), other.1), (other.0.to_owned(), one.1)].into();
            }
            between(&before, &after)
        },
    },
    Row {
        name: "snapshot that lists a document nobody has",
        error: "the snapshot lists a document that is neither stored nor uploaded: zed",
        build: |spoil| {
            next(Holder::Client, |papers| {
                let document = info(&papers.delegated["targets/alice"].bytes());
                let role = if spoil { "targets/zed" } else { "targets/alice" };
                papers.listed.insert(role.to_owned(), document);
            })
        },
    },
    Row {
        name: "snapshot without an uploaded document",
        error: "the snapshot does not list an uploaded document, or a role above it: alice",
        build: |spoil| {
            next(Holder::Client, |papers| {
                list(papers.next("targets/alice"), "v2");
                if spoil {
                    papers.unlisted.insert("targets/alice".to_owned());
                }
            })
        },
    },
    Row {
        name: "snapshot with an uploaded document and without the role above it",
        error: "the snapshot does not list an uploaded document, or a role above it: alice/phone",
        build: |spoil| {
            let mut before = Papers::new(Holder::Client);
            delegate(before.role("targets/alice"), "targets/alice/phone", &[BOB]);
            let mut after = before.clone();
            after.next_snapshot();
            after.add("targets/alice/phone", &["v2"], &[BOB]);
            if spoil {
                after.unlisted.insert("targets/alice".to_owned());
            }
            between(&before, &after)
        },
    },
    Row {
        name: "snapshot with the document before the one that comes along",
        error: "the snapshot lists other bytes than those stored or uploaded: targets",
        build: |spoil| {
            next(Holder::Client, |papers| {
                if spoil {
                    papers.listed.insert("targets".to_owned(), info(&papers.targets.bytes()));
                }
                papers.next("targets");
            })
        },
    },
    Row {
        name: "snapshot with the root before the one that comes along",
        error: "the snapshot lists other bytes than those stored or uploaded: root",
        build: |spoil| {
            next(Holder::Client, |papers| {
                if spoil {
                    papers.listed.insert("root".to_owned(), info(&papers.root.bytes()));
                }
                papers.next_root();
            })
        },
    },
    Row {
        name: "snapshot with another length",
        error: "the snapshot lists other bytes than those stored or uploaded: alice",
        build: |spoil| of_alice(spoil, |info| drop(info.insert("length".to_owned(), Json::Integer(1)))),
    },
    Row {
        name: "snapshot with another SHA-512",
        error: "the snapshot lists other bytes than those stored or uploaded: alice",
        build: |spoil| {
            of_alice(spoil, |info| {
                if let Some(Json::Object(hashes)) = info.get_mut("hashes") {
                    hashes.insert("sha512".to_owned(), base64(&[0; 64]));
                }
            })
        },
    },
    Row {
        name: "snapshot without SHA-256",
        error: "snapshot: snapshot.meta.targets/alice.hashes must be an object with sha256",
        build: |spoil| {
            of_alice(spoil, |info| {
                if let Some(Json::Object(hashes)) = info.get_mut("hashes") {
                    hashes.remove("sha256");
                }
            })
        },
    },
    Row {
        name: "snapshot with a digest in hexadecimal",
        error: "snapshot: snapshot.meta.targets/alice.hashes.sha256 must be 32 bytes in base64",
        build: |spoil| {
            of_alice(spoil, |info| {
                if let Some(Json::Object(hashes)) = info.get_mut("hashes") {
                    hashes.insert("sha256".to_owned(), Json::from("0".repeat(64)));
                }
            })
        },
    },
    Row {
        name: "snapshot without root",
        error: "snapshot: snapshot.meta must be an object that lists root and targets",
        build: |spoil| leaves_out(spoil, "root"),
    },
    Row {
        name: "snapshot without targets",
        error: "snapshot: snapshot.meta must be an object that lists root and targets",
        build: |spoil| leaves_out(spoil, "targets"),
    },
    Row {
        name: "snapshot that lists a timestamp",
        error: "snapshot: snapshot.meta.timestamp must be root or a targets role",
        build: |spoil| lists_besides(spoil, "timestamp"),
    },
    Row {
        name: "snapshot that lists a role in capitals",
        error: "snapshot: snapshot.meta.targets/Alice must be root or a targets role",
        build: |spoil| lists_besides(spoil, "targets/Alice"),
    },
    Row {
        name: "snapshot that lists a role by its name in TUF's dialect",
        error: "snapshot: snapshot.meta.alice must be root or a targets role",
        build: |spoil| lists_besides(spoil, "alice"),
    },
    Row {
        name: "snapshot that is needed and not sent",
        error: "snapshot is missing",
        build: |spoil| {
            let mut upload = next(Holder::Client, |papers| {
                list(papers.next("targets/alice"), "v2");
            });
            if spoil {
                upload.submission.snapshot = None;
            }
            upload
        },
    },
    Row {
        name: "snapshot that is needed for root alone and not sent",
        error: "snapshot is missing",
        build: |spoil| {
            let mut upload = next(Holder::Client, |papers| {
                papers.next_root();
            });
            if spoil {
                upload.submission.snapshot = None;
            }
            upload
        },
    },
    Row {
        name: "first snapshot that is not sent",
        error: "snapshot is missing",
        build: |spoil| {
            let mut upload = first(&Papers::new(Holder::Client));
            if spoil {
                upload.submission.snapshot = None;
            }
            upload
        },
    },
    Row {
        name: "snapshot of an owner who gave the role to the server",
        error: "snapshot: signed by 0 of 1 required keys",
        build: |spoil| {
            let before = Papers::new(Holder::Server);
            let mut after = before.clone();
            list(after.next("targets/alice"), "v2");
            if spoil {
                after.snapshot = Papers::new(Holder::Client).snapshot;
            }
            between(&before, &after)
        },
    },
    Row {
        name: "snapshot by another key",
        error: "snapshot: signed by 0 of 1 required keys",
        build: |spoil| {
            next(Holder::Client, |papers| {
                let signer = if spoil { ALICE } else { OWNER };
                signed_by(papers.snapshot.as_mut().unwrap(), &[signer]);
            })
        },
    },
    Row {
        name: "snapshot that jumps",
        error: "snapshot has version 4, expected 3",
        build: |spoil| of_version(spoil, 4),
    },
    Row {
        name: "snapshot of the version before, with other content",
        error: "snapshot has version 2, expected 3",
        build: |spoil| of_version(spoil, 2),
    },
    Row {
        name: "snapshot that goes back",
        error: "snapshot has version 1, expected 3",
        build: |spoil| of_version(spoil, 1),
    },
    Row {
        name: "snapshot that starts near the end of the counter",
        error: "snapshot has version 2147483647, expected 1",
        build: |spoil| {
            let mut papers = Papers::new(Holder::Client);
            papers.snapshot.iter_mut().for_each(|snapshot| {
                snapshot.set("version", version(spoil, LAST_VERSION, LAST_VERSION / 2));
            });
            first(&papers)
        },
    },
    Row {
        name: "expired snapshot",
        error: "snapshot expired at 2030-01-01T00:00:00Z",
        build: |spoil| {
            next(Holder::Client, |papers| {
                papers.snapshot.iter_mut().for_each(|snapshot| {
                    snapshot.set("expires", now().plus_seconds(i64::from(!spoil)).to_string());
                });
            })
        },
    },
    Row {
        name: "snapshot key that nobody has given to the server, without snapshot",
        error: "snapshot is missing",
        build: |spoil| {
            next(Holder::Server, |papers| {
                let key = if spoil { ALICE } else { crate::papers::SNAPSHOT };
                trust(papers.next_root(), "roles/snapshot", &[bare(key)], 1);
            })
        },
    },
];

#[test]
fn hostile_snapshots_are_refused_for_their_defect() {
    try_all(&[ROWS]);
}

#[test]
fn what_is_stored_points_to_what_is_stored() {
    // The same lists as above, for a document that counts no more.
    let before = Papers::new(Holder::Client);
    let mut after = before.clone();
    after.next_snapshot();
    after.next("targets").remove("delegations/roles/1");
    let mut upload = between(&before, &after);
    upload.server.publish(upload.submission).unwrap();
    assert_eq!(upload.server.state().retired()[&name("targets/alice")].version.get(), 1);
    let mut hostile = after.clone();
    hostile.next_snapshot();
    hostile.listed.insert("targets/alice".to_owned(), info(b"nonsense"));
    let refused = upload.server.check(hostile.since(Some(&after))).unwrap_err();
    assert_eq!(refused.to_string(), format!("{OTHER_BYTES}: alice"));
    assert_eq!(upload.server.state().root().dialect(), DIALECT);
}

/// Changes what the snapshot says of `targets/alice`.
fn of_alice(spoil: bool, edit: fn(&mut bulla_keys_schema::json::Object)) -> Upload {
    next(Holder::Client, |papers| {
        let mut alice = info(&papers.delegated["targets/alice"].bytes());
        if let (true, Json::Object(members)) = (spoil, &mut alice) {
            edit(members);
        }
        papers.listed.insert("targets/alice".to_owned(), alice);
    })
}

fn leaves_out(spoil: bool, role: &str) -> Upload {
    next(Holder::Client, |papers| {
        if spoil {
            papers.unlisted.insert(role.to_owned());
        }
    })
}

fn lists_besides(spoil: bool, role: &str) -> Upload {
    next(Holder::Client, |papers| {
        if spoil {
            papers.listed.insert(role.to_owned(), info(b""));
        }
    })
}

fn of_version(spoil: bool, spoiled: u64) -> Upload {
    next(Holder::Client, |papers| {
        papers.snapshot.iter_mut().for_each(|snapshot| {
            snapshot.set("version", version(spoil, spoiled, 3)).set("expires", "2030-12-31T00:00:00Z");
        });
    })
}
