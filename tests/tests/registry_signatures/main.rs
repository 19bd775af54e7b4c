//! Signatures that `bulla` puts into registries of several habits, over HTTP: next to those of
//! others, in spite of others who write at the same time, and after whatever went wrong.

mod desk;
mod faults;
mod hostile;
mod lists;
mod program;

use bulla::flow::cosign::write::{Kind, Written};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::sigstore::{
    Attached, Content, FallbackIndex, Found, Origin, Question, ReferrerManifest, SIGNATURE, SigManifest,
};
use bulla_tests::simulator::{Habits, OCI_INDEX, Registry};
use bytes::Bytes;
use desk::{Desk, IMAGE, LISTING};
use serde_json::{Value, json};

/// What anybody finds in the registry that verifies `manifest` with the key `name`.
fn proofs(desk: &Desk, manifest: Sha256Digest, name: &str) -> Vec<Origin> {
    proofs_in(desk, &desk.repository(), manifest, name)
}

fn proofs_in(desk: &Desk, repository: &RepositoryName, manifest: Sha256Digest, name: &str) -> Vec<Origin> {
    let question = Question::new(repository, manifest, &[desk.public(name)], 1).unwrap();
    let kept = desk.registry.kept();
    let blob = |digest| kept.blob("", digest).unwrap();
    let mut found = Vec::new();
    if let Some((bytes, _)) = kept.manifest("", Attached::Signatures.tag(manifest).as_str()) {
        found.extend(SigManifest::parse(&bytes).unwrap().layers().iter().map(|layer| Found {
            origin: Origin::Signature(layer.digest),
            content: Content::Payload {
                bytes: blob(layer.digest),
                signature: layer.annotations.get(SIGNATURE).cloned(),
            },
        }));
    }
    let listed = if desk.lists_referrers() {
        let list = json!({"schemaVersion": 2, "manifests": kept.referrers("", manifest)}).to_string();
        Some(Bytes::from(list))
    } else {
        kept.manifest("", FallbackIndex::tag(manifest).as_str()).map(|(bytes, _)| bytes)
    };
    let listed = listed.map(|bytes| FallbackIndex::parse(&bytes).unwrap());
    for entry in listed.iter().flat_map(FallbackIndex::entries) {
        let (bytes, _) = kept.manifest("", &entry.digest.to_oci()).unwrap();
        let bundle = ReferrerManifest::parse(&bytes).unwrap().bundle().unwrap().digest;
        found.push(Found { origin: Origin::Referrer(entry.digest), content: Content::Bundle(blob(bundle)) });
    }
    question.judge(&found).proofs.into_iter().map(|proof| proof.origin).collect()
}

fn kinds(written: &[Written]) -> Vec<(Kind, bool)> {
    written.iter().map(|one| (one.kind, one.is_new)).collect()
}

/// Registries as there are: with and without a list of referrers, with and without conditions.
fn all_habits() -> [Habits; 3] {
    [Habits::default(), LISTING, Habits { conditional: true, ..Habits::default() }]
}

#[tokio::test]
async fn both_layouts_are_written_once() {
    for habits in all_habits() {
        let desk = Desk::new(habits);
        desk.keys(&["ci"]);
        let image = desk.registry.push("1.0", IMAGE);
        let planned = desk.dry_run("1.0", &["ci"]).await.unwrap();
        assert_eq!(kinds(&planned.written), [(Kind::Signature, true), (Kind::Bundle, true)]);
        assert!(!planned.done && desk.registry.kept().tags("") == ["1.0"], "a dry run writes nothing");

        let written = desk.sign("1.0", &["ci"]).await.unwrap().written;
        assert_eq!(kinds(&written), [(Kind::Signature, true), (Kind::Bundle, true)], "{habits:?}");
        assert_eq!(proofs(&desk, image, "ci").len(), 2, "{habits:?}");
        let before = desk.registry.kept();
        let again = desk.sign("1.0", &["ci"]).await.unwrap().written;
        assert_eq!(kinds(&again), [(Kind::Signature, false), (Kind::Bundle, false)]);
        assert_eq!(format!("{:?}", desk.registry.kept()), format!("{before:?}"), "nothing is added");
        let places = |written: &[Written]| written.iter().map(|one| one.place.clone()).collect::<Vec<_>>();
        assert_eq!(places(&again), places(&written));
        let has_index = before.tags("").contains(&FallbackIndex::tag(image).to_string());
        assert_eq!(has_index, habits.referrers_at_once.is_none(), "whoever lists needs no index");
    }
}

#[tokio::test]
async fn every_image_of_an_index_is_signed_under_the_name_of_the_tag() {
    let desk = Desk::new(LISTING);
    desk.keys(&["ci", "release"]);
    let arm = desk.registry.push("arm", IMAGE);
    let entry = json!({"mediaType": "m", "digest": arm.to_oci(), "size": IMAGE.len(),
        "platform": {"os": "linux", "architecture": "arm"}});
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).to_string();
    let index = desk.registry.push("1.0", index.as_bytes());
    let written = desk.sign("1.0", &["ci", "release"]).await.unwrap().written;
    assert_eq!(written.len(), 8);
    for manifest in [index, arm] {
        for key in ["ci", "release"] {
            assert_eq!(proofs(&desk, manifest, key).len(), 2, "{manifest} {key}");
        }
        let layers = desk.attached(Attached::Signatures, manifest).layers().len();
        assert_eq!(layers, 2, "a layer for each key");
    }
    let payload = desk.attached(Attached::Signatures, arm).layers()[0].digest;
    let payload: Value = serde_json::from_slice(&desk.registry.kept().blob("", payload).unwrap()).unwrap();
    let identity = &payload["critical"]["identity"]["docker-reference"];
    assert_eq!(*identity, format!("{}:1.0", desk.repository()), "as podman pulls it");
}

#[tokio::test]
async fn what_others_wrote_is_kept_as_it_was() {
    for habits in all_habits() {
        let desk = Desk::new(habits);
        desk.keys(&["ci"]);
        let image = desk.registry.push("1.0", IMAGE);
        let (tag, index_tag) = (Attached::Signatures.tag(image), FallbackIndex::tag(image));
        let theirs = desk.blob(b"theirs");
        let foreign = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "x-more": {"a": [1]},
            "annotations": {"kept": "yes"},
            "config": {"mediaType": "c", "digest": theirs.to_oci(), "size": 6},
            "layers": [
                {"mediaType": "application/x-unknown", "digest": theirs.to_oci(), "size": 6, "urls": ["u"],
                 "annotations": {"dev.cosignproject.cosign/signature": "AAAA", "more": "kept"}},
            ],
        });
        desk.registry.push(tag.as_str(), foreign.to_string().as_bytes());
        let entry = json!({"mediaType": "m", "digest": theirs.to_oci(), "size": 6, "artifactType": "t",
            "platform": {"os": "x", "architecture": "y"}});
        let listed = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry], "x": "y"});
        if habits.referrers_at_once.is_none() {
            desk.registry.push(index_tag.as_str(), listed.to_string().as_bytes());
        }
        desk.sign("1.0", &["ci"]).await.unwrap();

        let now: Value = desk.json(tag.as_str());
        for member in ["x-more", "annotations", "mediaType"] {
            assert_eq!(now[member], foreign[member]);
        }
        assert_eq!(now["layers"][0], foreign["layers"][0]);
        assert_eq!(now["layers"].as_array().unwrap().len(), 2);
        if habits.referrers_at_once.is_none() {
            let now: Value = desk.json(index_tag.as_str());
            assert_eq!((&now["x"], &now["manifests"][0]), (&listed["x"], &listed["manifests"][0]));
            assert_eq!(now["manifests"].as_array().unwrap().len(), 2);
        }
    }
}

#[tokio::test]
async fn a_forged_layer_with_our_payload_does_not_pass_for_ours() {
    let desk = Desk::new(LISTING);
    desk.keys(&["ci"]);
    let image = desk.registry.push("1.0", IMAGE);
    desk.sign("1.0", &["ci"]).await.unwrap();
    let tag = Attached::Signatures.tag(image);
    let mut forged = desk.json(tag.as_str());
    forged["layers"][0]["annotations"][SIGNATURE] = "AAAA".into();
    desk.registry.push(tag.as_str(), forged.to_string().as_bytes());
    let written = desk.sign("1.0", &["ci"]).await.unwrap().written;
    assert_eq!(kinds(&written), [(Kind::Signature, true), (Kind::Bundle, false)]);
    assert_eq!(proofs(&desk, image, "ci").len(), 2);
}

#[tokio::test]
async fn a_rival_in_between_loses_nothing() {
    for habits in all_habits() {
        let desk = Desk::new(habits);
        desk.keys(&["ci", "rival"]);
        let image = desk.registry.push("1.0", IMAGE);
        desk.sign("1.0", &["rival"]).await.unwrap();
        let tag = Attached::Signatures.tag(image);
        let (theirs, _) = desk.registry.kept().manifest("", tag.as_str()).unwrap();
        desk.registry.change(|kept| kept.remove_tag("", tag.as_str()));
        // Read as absent, and there when ours arrives.
        desk.registry.rival(tag.as_str(), theirs.clone());
        desk.sign("1.0", &["ci"]).await.unwrap();
        assert_eq!(proofs(&desk, image, "ci").len(), 2, "{habits:?}");
        if habits.conditional {
            assert_eq!(proofs(&desk, image, "rival").len(), 2, "a condition keeps it");
        }
        // Overwritten after we wrote: found when we look again, and written beside it.
        desk.registry.overwrite_next(tag.as_str(), theirs);
        desk.registry.change(|kept| kept.remove_tag("", tag.as_str()));
        desk.sign("1.0", &["ci"]).await.unwrap();
        assert_eq!(proofs(&desk, image, "ci").len(), 2, "{habits:?}");
        assert_eq!(proofs(&desk, image, "rival").len(), 2, "{habits:?}");
    }
}

#[tokio::test]
async fn several_at_once_lose_nothing() {
    let registry = Registry::with(Habits::default());
    let desks: Vec<Desk> = (0..4).map(|_| Desk::at(registry.clone())).collect();
    let image = registry.push("1.0", IMAGE);
    for desk in &desks {
        desk.keys(&["ci"]);
    }
    let name = desks[0].repository();
    let signed = desks.iter().map(|desk| desk.sign_as(&name, "1.0", &["ci"]));
    for signed in futures_util::future::join_all(signed).await {
        signed.unwrap();
    }
    for desk in &desks {
        assert_eq!(proofs_in(desk, &name, image, "ci").len(), 2);
    }
}
