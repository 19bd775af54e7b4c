//! `bulla cosign import`: what cosign signed becomes trust metadata, and nothing else does.

use std::path::Path;

use bulla_tests::programs::expect;
use bulla_tests::sigstore_peers::Keys;
use bulla_tests::sigstore_peers::cosign::{Cosign, Layout};
use bulla_tests::sigstore_peers::images::ImageRegistry;
use bulla_tests::sigstore_peers::ours::TrustSite;
use serde_json::{Value, json};

struct Scene {
    registry: ImageRegistry,
    two: Cosign,
    three: Cosign,
    keys: Keys,
    site: TrustSite,
    repository: String,
}

impl Scene {
    fn set() -> Option<Self> {
        let registry = ImageRegistry::start()?;
        let (two, three) = Cosign::both()?;
        let keys = Keys::make(&two);
        let site = TrustSite::start();
        site.begin(&registry, "team/app");
        let repository = registry.repository("team/app");
        Some(Self { registry, two, three, keys, site, repository })
    }

    /// Imports by the good key, and returns the answer.
    fn import(&self, code: i32, options: &[&str]) -> Value {
        let key = self.keys.good.public.to_str().unwrap();
        let fixed = ["cosign", "import", &self.repository, "--key", key, "--output", "json"];
        let answer = expect(&self.site.admin, code, &[&fixed[..], options].concat()).json();
        require_schema(&answer);
        answer
    }

    fn verify(&self, code: i32, tag: &str) -> String {
        let image = format!("{}:{tag}", self.repository);
        expect(&self.site.admin, code, &["verify", &image]).stdout.trim().to_owned()
    }
}

fn require_schema(answer: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../keys-schema/schema/cosign-import.schema.json");
    let schema: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(answer).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}\n{answer:#}");
}

/// Tag and fate of every tag, in the order of the tags.
fn fates(answer: &Value) -> Vec<(&str, &str)> {
    let tags = answer["tags"].as_array().unwrap().iter();
    let mut fates: Vec<_> =
        tags.map(|tag| (tag["tag"].as_str().unwrap(), tag["fate"].as_str().unwrap())).collect();
    fates.sort_unstable();
    fates
}

fn reason<'a>(answer: &'a Value, tag: &str) -> &'a str {
    let mut tags = answer["tags"].as_array().unwrap().iter();
    tags.find(|found| found["tag"] == tag).unwrap()["reason"].as_str().unwrap()
}

#[test]
fn what_verifies_is_signed_in_one_publication() {
    let Some(scene) = Scene::set() else { return };
    let [first, second, _, other] =
        ["1.0", "1.1", "1.2", "1.3"].map(|tag| scene.registry.push("team/app", tag, tag));
    let nothing = scene.import(12, &[]);
    assert!(fates(&nothing).iter().all(|(_, fate)| *fate == "refused"), "{nothing:#}");
    assert_eq!(nothing["documents"], json!([]), "nothing to publish");

    scene.two.sign(Layout::Tags, &scene.keys.good, &first, &[]);
    scene.three.sign(Layout::Bundle, &scene.keys.good, &second, &[]);
    scene.two.sign(Layout::Tags, &scene.keys.other, &other, &[]);
    let expected = [("1.0", "imported"), ("1.1", "imported"), ("1.2", "refused"), ("1.3", "refused")];
    let planned = scene.import(0, &["--dry-run"]);
    assert_eq!((fates(&planned), &planned["dry_run"]), (expected.to_vec(), &json!(true)));
    scene.verify(12, "1.0");

    let imported = scene.import(0, &[]);
    assert_eq!((fates(&imported), &imported["dry_run"]), (expected.to_vec(), &json!(false)));
    assert!(reason(&imported, "1.2").contains("no signature"), "{imported:#}");
    assert_eq!(imported["documents"].as_array().unwrap().len(), 2, "alice and releases: {imported:#}");
    assert_eq!(imported["signed_with"], json!(["alice"]));
    assert_eq!(scene.verify(0, "1.0"), first.pinned());
    assert_eq!(scene.verify(0, "1.1"), second.pinned());
    for tag in ["1.2", "1.3"] {
        scene.verify(12, tag);
    }

    let again = scene.import(0, &["--tags", "1.1"]);
    assert_eq!(fates(&again), [("1.1", "skipped")]);
    assert_eq!(again["documents"], json!([]));
}

#[test]
fn what_the_metadata_says_comes_first() {
    let Some(scene) = Scene::set() else { return };
    let old = scene.registry.push("team/app", "1.0", "old");
    scene.two.sign(Layout::Tags, &scene.keys.good, &old, &[]);
    assert_eq!(fates(&scene.import(0, &[])), [("1.0", "imported")]);
    assert_eq!(fates(&scene.import(0, &[])), [("1.0", "skipped")]);

    // Moved, and signed as well.
    let new = scene.registry.push("team/app", "1.0", "new");
    scene.two.sign(Layout::Tags, &scene.keys.good, &new, &[]);
    let refused = scene.import(12, &[]);
    assert!(reason(&refused, "1.0").contains(&old.digest), "{refused:#}");
    scene.verify(15, "1.0");
    assert_eq!(fates(&scene.import(0, &["--move"])), [("1.0", "imported")]);
    assert_eq!(scene.verify(0, "1.0"), new.pinned());

    // What was revoked does not come back, not even under another tag or when asked to move.
    expect(&scene.site.admin, 0, &["revoke", &format!("{}:1.0", scene.repository), "--reason", "bad"]);
    scene.registry.move_tag(&new.with_tag("2.0"));
    for options in [&[][..], &["--move"]] {
        let refused = scene.import(12, options);
        assert_eq!(fates(&refused), [("1.0", "refused"), ("2.0", "refused")], "{refused:#}");
        assert!(reason(&refused, "2.0").contains("revoked"), "{refused:#}");
    }
    scene.verify(14, "1.0");
}

#[test]
fn tags_are_chosen_by_pattern_and_signer() {
    let Some(scene) = Scene::set() else { return };
    for tag in ["v1", "v2", "nightly"] {
        let image = scene.registry.push("team/app", tag, tag);
        scene.two.sign(Layout::Tags, &scene.keys.good, &image, &[]);
    }
    assert_eq!(fates(&scene.import(0, &["--tags", "v*"])), [("v1", "imported"), ("v2", "imported")]);
    let key = scene.keys.good.public.to_str().unwrap();
    let import = |code, options: &[&str]| {
        let fixed = ["cosign", "import", &scene.repository, "--key", key];
        expect(&scene.site.admin, code, &[&fixed[..], options].concat())
    };
    let unknown = import(11, &["--tags", "x*"]);
    assert!(unknown.stderr.contains("no such tag"), "{}", unknown.stderr);
    // The scanner attests, and signs no tag.
    let refused = import(12, &["--as", "scanner"]);
    assert!(refused.stdout.contains("may not sign"), "{}", refused.stdout);
    let nobody = import(2, &["--as", "nobody"]);
    assert!(nobody.stderr.contains("no signer named nobody"), "{}", nobody.stderr);
    let text = import(0, &["--as", "alice"]);
    assert!(text.stdout.contains("1 imported, 2 signed before, 0 refused"), "{}", text.stdout);
}
