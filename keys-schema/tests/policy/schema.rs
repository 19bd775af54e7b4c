//! The published schemas and the code agree: on what is written, and on what is a policy.

use bulla_keys_schema::policy::{CheckId, Policy};
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::fixture::*;
use crate::loading::{toml_of, undisguise};

fn validator(text: &str) -> Validator {
    jsonschema::validator_for(&serde_json::from_str(text).unwrap()).unwrap()
}

fn in_json(toml: &str) -> Value {
    let mut value = serde_json::to_value(toml_of(toml)).unwrap();
    undisguise(&mut value);
    value
}

/// What stands around a verdict in the answer of a program.
fn answer(case: &bulla_keys_schema::policy::Case, policy: &Policy) -> Value {
    let mut value = serde_json::to_value(policy.evaluate(case, now())).unwrap();
    let around = json!({
        "schema": "bulla/policy-verdict/v1", "image": "r.io/app", "reference": null,
        "judged_at": now().to_string(), "offline": null, "hint": null, "exit_code": 0,
        "also": [value.clone()],
    });
    value.as_object_mut().unwrap().extend(around.as_object().unwrap().clone());
    value
}

#[test]
fn every_verdict_is_of_its_schema() {
    let schema = validator(include_str!("../../schema/policy-verdict.schema.json"));
    let mut cases = vec![myapp(), production(), upstream()];
    for mut case in cases.clone() {
        case.attestations.clear();
        case.facts = None;
        signed(&mut case).signers.clear();
        cases.push(case);
    }
    for check in CheckId::ALL {
        let mut case = myapp();
        refused(&mut case, *check);
        cases.push(case);
    }
    let mut excepted = myapp();
    let ids = ["CVE-1", "CVE-2", "CVE-2022-4304"];
    excepted.attestations = vec![Scan::with(ids.map(|id| finding(id, "HIGH")).to_vec()).listed("ci-trivy")];
    cases.push(excepted);
    for case in &cases {
        let answer = answer(case, &example());
        let errors: Vec<String> = schema
            .iter_errors(&answer)
            .map(|error| format!("{error} at {}", error.instance_path()))
            .collect();
        assert_eq!(errors, Vec::<String>::new(), "{answer:#}");
    }
}

#[test]
fn a_verdict_is_what_the_specification_shows() {
    let value = serde_json::to_value(example().evaluate(&myapp(), now())).unwrap();
    let names: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    for name in ["decision", "digest", "policy", "rule", "checks", "exceptions", "valid_until"] {
        assert!(names.contains(&name), "{name}");
    }
    assert_eq!(value["policy"], json!({"name": "company-images", "version": null}));
    let check = |id: &str| {
        value["checks"].as_array().unwrap().iter().find(|check| check["id"] == id).unwrap().clone()
    };
    let high = check("vuln.high");
    assert_eq!((&high["result"], &high["limit"], &high["actual"]), (&json!("pass"), &json!(2), &json!(0)));
    assert_eq!(high["evidence"][0]["signer"], "ci-trivy");
    assert_eq!(high["evidence"][0]["attestation"], "vulnerabilities");
    assert_eq!(check("os.eol")["result"], "not-applicable");
}

#[test]
fn the_example_is_of_the_schema_of_policies() {
    let schema = validator(include_str!("../../schema/policy-file.schema.json"));
    let value = in_json(EXAMPLE);
    let errors: Vec<String> =
        schema.iter_errors(&value).map(|error| format!("{error} at {}", error.instance_path())).collect();
    assert_eq!(errors, Vec::<String>::new());
}

/// Each place of the example, taken out, or replaced by something else: the schema takes whatever the
/// code takes.
#[test]
fn the_schema_takes_what_the_code_takes() {
    let schema = validator(include_str!("../../schema/policy-file.schema.json"));
    let example = in_json(EXAMPLE);
    let mut pointers = Vec::new();
    collect(&example, "", &mut pointers);
    let (mut taken, mut refused, mut by_code_alone) = (0, 0, 0);
    for pointer in &pointers {
        for value in [
            None,
            Some(json!(0)),
            Some(json!("")),
            Some(json!([])),
            Some(json!({})),
            Some(json!(true)),
            Some(json!("x")),
            Some(json!(null)),
        ] {
            let Some(changed) = replaced(&example, pointer, value) else { continue };
            let by_code = Policy::parse(&changed.to_string());
            let by_schema = schema.is_valid(&changed);
            match (by_code.is_ok(), by_schema) {
                (true, true) => taken += 1,
                (false, false) => refused += 1,
                (false, true) => by_code_alone += 1,
                (true, false) => panic!("the schema refuses what the code takes: {pointer} in {changed:#}"),
            }
        }
    }
    assert!(taken > 50 && refused > 300, "{taken} {refused}");
    // Names that nothing defines, thresholds, scopes that nothing covers: a schema cannot say that.
    assert!(by_code_alone < refused / 4, "{by_code_alone} of {refused}");
}

fn collect(value: &Value, at: &str, pointers: &mut Vec<String>) {
    let escape = |name: &str| name.replace('~', "~0").replace('/', "~1");
    let children: Vec<(String, &Value)> = match value {
        Value::Array(items) => items.iter().enumerate().map(|(n, item)| (n.to_string(), item)).collect(),
        Value::Object(members) => members.iter().map(|(name, value)| (escape(name), value)).collect(),
        _ => Vec::new(),
    };
    for (name, child) in children {
        let pointer = format!("{at}/{name}");
        collect(child, &pointer, pointers);
        pointers.push(pointer);
    }
}

fn replaced(document: &Value, pointer: &str, value: Option<Value>) -> Option<Value> {
    let mut document = document.clone();
    match value {
        Some(value) => *document.pointer_mut(pointer)? = value,
        None => {
            let (parent, name) = pointer.rsplit_once('/')?;
            let name = name.replace("~1", "/").replace("~0", "~");
            match document.pointer_mut(parent)? {
                Value::Object(members) => drop(members.remove(&name)?),
                Value::Array(items) => drop(items.remove(name.parse().ok()?)),
                _ => return None,
            }
        }
    }
    Some(document)
}
