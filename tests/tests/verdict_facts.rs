//! What an image is, read from a registry that may lie.

use bulla::flow::facts::{FactsError, read};
use bulla_keys_schema::metadata::{Facts, ImageFacts, Labels};
use bulla_keys_schema::names::RepositoryName;
use bulla_tests::simulator::{Registry, RegistryFault};
use bytes::Bytes;
use serde_json::{Value, json};

const ANY: &str = "";

fn repository() -> RepositoryName {
    "reg.example.com/team/app".parse().unwrap()
}

/// Keeps a configuration, and makes the manifest of an image with it.
fn image(registry: &Registry, config: &str) -> Value {
    let mut digest = String::new();
    registry.change(|kept| digest = kept.put_blob(ANY, Bytes::from(config.to_owned())).to_oci());
    json!({
        "schemaVersion": 2,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": config.len(),
        },
        "layers": [
            {"mediaType": "x", "digest": digest, "size": 10}, {"mediaType": "x", "digest": digest, "size": 20},
        ],
        "annotations": {"org.opencontainers.image.base.name": "docker.io/library/debian:13"},
    })
}

async fn facts(registry: &Registry, manifest: &Value) -> Result<ImageFacts, FactsError> {
    read(registry, &repository(), manifest.to_string().as_bytes()).await
}

fn single(facts: Result<ImageFacts, FactsError>) -> Facts {
    match facts.unwrap() {
        ImageFacts::Single(facts) => facts,
        ImageFacts::Index(_) => panic!("an index"),
    }
}

#[tokio::test]
async fn an_image_is_what_its_configuration_says() {
    let registry = Registry::default();
    let config =
        r#"{"os":"linux","architecture":"arm64","variant":"v8","config":{"User":"app","Labels":{"a":"1"}}}"#;
    let found = single(facts(&registry, &image(&registry, config)).await);
    assert_eq!((found.user.as_str(), found.layers, found.size), ("app", 2, 30 + config.len() as u64));
    assert_eq!(found.platform.unwrap().to_string(), "linux/arm64/v8");
    assert_eq!(found.labels, Labels::Full([("a".to_owned(), "1".to_owned())].into()));
    assert_eq!(found.base.unwrap().name, "docker.io/library/debian:13");
    let bare = single(facts(&registry, &image(&registry, "{}")).await);
    assert_eq!((bare.user.as_str(), bare.labels), ("", Labels::Full([].into())));
}

#[tokio::test]
async fn an_image_that_can_be_read_in_two_ways_has_no_facts() {
    let registry = Registry::default();
    for config in [
        r#"{"config":{"User":"app","user":"root"}}"#,
        r#"{"config":{"User":"app"},"Config":{"User":"root"}}"#,
        r#"{"config":{"User":"app","User":"root"}}"#,
        r#"{"config":{"User":["app"]}}"#,
        "[]",
    ] {
        let found = facts(&registry, &image(&registry, config)).await;
        assert!(matches!(found, Err(FactsError::Document(_))), "{config}: {found:?}");
    }
    let mut both = image(&registry, "{}");
    both["manifests"] = json!([]);
    assert!(matches!(facts(&registry, &both).await, Err(FactsError::Ambiguous)));
    let mut chart = image(&registry, "{}");
    chart["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json".into();
    assert!(matches!(facts(&registry, &chart).await, Err(FactsError::NotAnImage)));
    let mut large = image(&registry, "{}");
    large["layers"][0]["size"] = u64::MAX.into();
    assert!(matches!(facts(&registry, &large).await, Err(FactsError::TooLarge)));
}

#[tokio::test]
async fn a_registry_cannot_put_another_image_in_the_place_of_one() {
    let registry = Registry::default();
    let bad = image(&registry, r#"{"os":"linux","architecture":"amd64","config":{"User":"root"}}"#);
    let digest = registry.push("child", bad.to_string().as_bytes()).to_oci();
    let index = json!({"schemaVersion": 2, "manifests": [{"digest": digest, "size": 1}]});
    assert!(facts(&registry, &index).await.is_ok());
    let good = image(&registry, r#"{"os":"linux","architecture":"amd64","config":{"User":"app"}}"#);
    registry.spoil(Some(RegistryFault::Instead(good.to_string().into())));
    assert!(matches!(facts(&registry, &index).await, Err(FactsError::OtherBytes { .. })));
}

#[tokio::test]
async fn each_image_of_an_index_is_looked_at() {
    let registry = Registry::default();
    let amd = image(&registry, r#"{"os":"linux","architecture":"amd64","config":{"User":"1"}}"#);
    let arm = image(&registry, r#"{"os":"linux","architecture":"arm64","config":{"User":"2"}}"#);
    let [amd, arm] = [amd, arm].map(|manifest| {
        let bytes = manifest.to_string();
        (registry.push("child", bytes.as_bytes()).to_oci(), bytes.len())
    });
    let index = json!({"schemaVersion": 2, "manifests": [
        {"digest": amd.0, "size": amd.1, "platform": {"os": "linux", "architecture": "amd64"}},
        {"digest": arm.0, "size": arm.1},
        {"digest": amd.0, "size": amd.1, "platform": {"os": "unknown", "architecture": "unknown"}},
    ]});
    let ImageFacts::Index(children) = facts(&registry, &index).await.unwrap() else { panic!("no index") };
    let read: Vec<(String, Option<String>)> = children
        .into_iter()
        .map(|child| (child.platform.to_string(), child.facts.map(|facts| facts.user)))
        .collect();
    let expected = [("linux/amd64", Some("1")), ("linux/arm64", Some("2")), ("unknown/unknown", None)];
    assert_eq!(read, expected.map(|(platform, user)| (platform.to_owned(), user.map(str::to_owned))));
    let mut many = index.clone();
    many["manifests"] = vec![index["manifests"][0].clone(); 65].into();
    assert!(matches!(facts(&registry, &many).await, Err(FactsError::TooMany)));
}
