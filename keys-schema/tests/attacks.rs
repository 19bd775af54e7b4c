//! Hostile repositories, uploads and bytes: each with one defect, refused for that one, and
//! accepted without it.
//!
//! The files in `data/attacks` are written by this test when `BULLA_REGENERATE` is set to 1.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test may panic"
)]
#![expect(unreachable_pub, reason = "the crate of a test has no outside")]
#![expect(clippy::disallowed_methods, reason = "the core reads no files, its tests read fixtures")]
#![expect(clippy::disallowed_types, reason = "the core knows no clock, its tests measure its cost")]

#[path = "attacks/attack.rs"]
mod attack;
#[path = "attacks/cost.rs"]
mod cost;
#[path = "attacks/delegations.rs"]
mod delegations;
#[path = "attacks/ends.rs"]
mod ends;
#[path = "attacks/fixture.rs"]
mod fixture;
#[path = "attacks/formats.rs"]
mod formats;
#[path = "attacks/life.rs"]
mod life;
#[path = "attacks/online.rs"]
mod online;
#[path = "attacks/properties.rs"]
mod properties;
#[path = "attacks/revocations.rs"]
mod revocations;
#[path = "attacks/roots.rs"]
mod roots;
mod support;
#[path = "attacks/targets.rs"]
mod targets;
#[path = "attacks/uploads.rs"]
mod uploads;

use std::collections::BTreeSet;
use std::fs;

use attack::Attack;

fn attacks() -> impl Iterator<Item = &'static Attack> {
    let all = [
        roots::ATTACKS,
        online::ATTACKS,
        targets::ATTACKS,
        delegations::ATTACKS,
        formats::ATTACKS,
        revocations::ATTACKS,
        ends::ATTACKS,
    ];
    all.into_iter().flatten()
}

fn regenerates() -> bool {
    std::env::var("BULLA_REGENERATE").is_ok_and(|value| value == "1")
}

#[test]
fn the_folder_holds_the_table_and_every_byte_of_it() {
    let expected: BTreeSet<String> = attacks().map(|attack| format!("{}.json", attack.name)).collect();
    assert_eq!(expected.len(), attacks().count(), "every attack has its own name");
    for attack in attacks() {
        let path = fixture::folder().join(format!("{}.json", attack.name));
        let text = fixture::write(attack.rules, &(attack.build)(true), attack.error);
        if regenerates() {
            fs::write(&path, &text).unwrap();
        }
        let stored = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(stored == text, "{} is not what the table writes", attack.name);
    }
    let folder = fs::read_dir(fixture::folder()).unwrap();
    let found: BTreeSet<String> =
        folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(found, expected);
}

#[test]
fn every_attack_is_refused_for_its_defect() {
    let mut wrong = Vec::new();
    for attack in attacks() {
        let path = fixture::folder().join(format!("{}.json", attack.name));
        let (client, error) = fixture::read(&fs::read_to_string(path).unwrap());
        assert_eq!(error, attack.error, "{}", attack.name);
        let result = client.run().result;
        if result != Err(error) {
            wrong.push(format!("{}: {result:?}", attack.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_healthy_twin_is_accepted() {
    let mut wrong = Vec::new();
    for attack in attacks() {
        if let Err(error) = (attack.build)(false).run().result {
            wrong.push(format!("{}: {error}", attack.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
