//! `bulla policy check`, `test` and `import` as programs.

use std::fs;
use std::path::PathBuf;

use bulla_tests::cli::{Cli, Ran};
use bulla_tests::programs::program;
use serde_json::Value;

fn user() -> Cli {
    Cli::new(program("bulla").to_str().unwrap())
}

fn top(path: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path).to_str().unwrap().to_owned()
}

fn require_schema(name: &str, answer: &Value) {
    let schema = fs::read(top(&format!("keys-schema/schema/{name}.schema.json"))).unwrap();
    let validator = jsonschema::validator_for(&serde_json::from_slice(&schema).unwrap()).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(answer).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{name}: {errors:?}\n{answer:#}");
}

fn write(user: &Cli, name: &str, text: &str) -> String {
    let path = user.folder.path().join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_example_is_read_and_its_tests_hold() {
    let user = user();
    let checked = user.run(&["policy", "check", &top("examples/policies/company.toml"), "--output", "json"]);
    require_schema("policy", &checked.json());
    assert_eq!(checked.json()["rules"].as_array().unwrap().len(), 4);
    assert!(checked.stderr.contains("warning: rule \"lab\" asks for no signature"), "{}", checked.stderr);
    let text = user.run(&["policy", "check", &top("examples/policies/company.toml")]).ok();
    assert!(text.contains("teams") && text.contains("vulnerabilities (vulns)"), "{text}");

    let tried = user.run(&["policy", "test", &top("examples/policies/tests"), "--output", "json"]);
    assert_eq!(tried.code, 0, "{tried:?}");
    require_schema("policy-test", &tried.json());
    assert_eq!(tried.json()["cases"].as_array().unwrap().len(), 19);
    let folder = fs::read_dir(top("examples/policies/tests")).unwrap();
    for file in folder.map(|entry| entry.unwrap().path()) {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let suite: Value = match file.extension().unwrap().to_str() {
            Some("json") => serde_json::from_str(&text).unwrap(),
            _ => {
                serde_json::to_value(toml::from_str::<toml::Table>(&text).unwrap()).map(plain_dates).unwrap()
            }
        };
        require_schema("policy-tests", &suite);
    }
}

/// Dates of TOML as the texts that stand for them in JSON.
fn plain_dates(value: Value) -> Value {
    match value {
        Value::Object(members) if members.len() == 1 => match members.values().next() {
            Some(Value::String(date)) if members.keys().all(|name| name.starts_with("$__toml")) => {
                Value::from(date.clone())
            }
            _ => members.into_iter().map(|(name, value)| (name, plain_dates(value))).collect(),
        },
        Value::Object(members) => {
            members.into_iter().map(|(name, value)| (name, plain_dates(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(plain_dates).collect(),
        other => other,
    }
}

#[test]
fn a_test_that_does_not_hold_is_told_from_one_that_cannot_be_tried() {
    let user = user();
    let policy = fs::read_to_string(top("examples/policies/company.toml")).unwrap();
    write(&user, "policy.toml", &policy);
    let folder = user.folder.path().join("tests");
    fs::create_dir(&folder).unwrap();
    let folder = folder.to_str().unwrap();
    let try_it = |text: &str| -> Ran {
        write(&user, "tests/one.toml", text);
        user.run(&["policy", "test", folder])
    };
    let case = "tests = 1\npolicy = '../policy.toml'\n[[case]]\nname = 'x'\nimage = 'localhost:5000/a:1'\n\
                expect = 'deny'\ncheck = 'tag.unknown'\nrefused = { check = 'trust.no_root' }\n";
    let ran = try_it(case);
    assert_eq!(ran.code, 20, "{ran:?}");
    assert!(ran.stdout.contains("FAILED") && ran.stdout.contains("1 failed"), "{}", ran.stdout);
    for bad in [
        case.replace("tests = 1", "tests = 2"),
        case.replace("check = 'tag.unknown'", ""),
        case.replace("'tag.unknown'", "'tag.unheard'"),
        case.replace("refused", "refusal"),
        case.replace("expect = 'deny'", "expect = 'allow'"),
        case.replace("../policy.toml", "../none.toml"),
        format!("{case}attestation = [{{ signer = 'a', report = 'none.json' }}]\n"),
        format!("{case}attestation = [{{ signer = 'a' }}]\n"),
    ] {
        let ran = try_it(&bad);
        assert_eq!(ran.code, 3, "{bad}\n{ran:?}");
    }
    fs::remove_file(user.folder.path().join("tests/one.toml")).unwrap();
    assert_eq!(user.run(&["policy", "test", folder]).code, 3);
}

#[test]
fn a_file_that_tests_nothing_or_is_gone_does_not_pass() {
    let user = user();
    let policy = fs::read_to_string(top("examples/policies/company.toml")).unwrap();
    write(&user, "policy.toml", &policy);
    fs::create_dir(user.folder.path().join("tests")).unwrap();
    let folder = user.folder.path().join("tests");
    let run = || user.run(&["policy", "test", folder.to_str().unwrap()]);
    let case = "[[case]]\nname = 'x'\nimage = 'localhost:5000/a:1'\nexpect = 'allow'\n\
                refused = { check = 'trust.no_root' }\n";
    write(&user, "tests/one.toml", &format!("tests = 1\npolicy = '../policy.toml'\n{case}"));
    assert_eq!(run().code, 0);
    write(&user, "tests/two.json", r#"{"tests": 1, "policy": "../policy.toml", "case": []}"#);
    let ran = run();
    assert!(ran.code == 3 && ran.stderr.contains("two.json: there is no test in it"), "{ran:?}");
    fs::remove_file(folder.join("two.json")).unwrap();
    std::os::unix::fs::symlink("moved.toml", folder.join("three.toml")).unwrap();
    let ran = run();
    assert!(ran.code == 3 && ran.stderr.contains("three.toml"), "{ran:?}");
    fs::remove_file(folder.join("three.toml")).unwrap();
    // The second case would fail, and stands behind what is read of the file.
    let wrong = case.replace("'allow'", "'deny'\ncheck = 'tag.unknown'");
    let far = "#".repeat(1024 * 1024);
    write(&user, "tests/one.toml", &format!("tests = 1\npolicy = '../policy.toml'\n{case}{far}\n{wrong}"));
    assert_eq!(run().code, 3);
}

#[test]
fn a_policy_that_could_be_misread_is_refused_with_its_line() {
    let user = user();
    let file = write(&user, "p.toml", "policy = 1\nname = 'x'\ndefault = 'deny'\nregistires = 1\n");
    let ran = user.run(&["policy", "check", &file]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stderr.contains("line 4") && ran.stderr.contains("hint: "), "{}", ran.stderr);
    assert_eq!(user.run(&["policy", "check", "/nonexistent/p.toml"]).code, 3);
    assert_eq!(user.run(&["verify", "localhost:1/a:1", "--policy", &file]).code, 3);
}

const KEY: &str = "sha256:3333333333333333333333333333333333333333333333333333333333333333";

/// What comes out of a policy of another tool, and whether it is said to be whole.
fn import(text: &str, keys: &[&str]) -> (Ran, Value) {
    let user = user();
    let file = write(&user, "source.yaml", text);
    let arguments = [&["policy", "import", &file, "--output", "json"], keys].concat();
    let ran = user.run(&arguments);
    let answer = ran.json();
    require_schema("policy-import", &answer);
    if ran.code == 0 {
        // What is said to be whole can be loaded, and is strict.
        let out = write(&user, "out.toml", answer["policy"].as_str().unwrap());
        assert_eq!(user.run(&["policy", "check", &out]).code, 0, "{answer:#}");
    }
    (ran, answer)
}

#[test]
fn simple_policies_of_other_tools_are_imported_whole() {
    let containers = r#"{"default":[{"type":"reject"}],"transports":{"docker":{"registry.example.com/app":[
        {"type":"sigstoreSigned","keyPath":"/etc/pki/builder.pub","signedIdentity":{"type":"matchRepository"}}]}}}"#;
    let cluster = "apiVersion: policy.sigstore.dev/v1beta1\nkind: ClusterImagePolicy\nmetadata: {name: app}\nspec:\n  \
        images: [{glob: \"registry.example.com/app/**\"}]\n  authorities: [{name: builder, key: {data: x}}]\n";
    let connaisseur = "application:\n  validators:\n    - {name: app, type: cosign, trustRoots: [{name: builder, key: x}]}\n  \
        policy:\n    - {pattern: \"*:*\", validator: deny}\n    \
        - {pattern: \"registry.example.com/app/*:*\", validator: app, with: {trustRoot: builder}}\n";
    let kyverno = "kind: ClusterPolicy\nspec:\n  rules:\n    - name: builder\n      verifyImages:\n        \
        - imageReferences: [\"registry.example.com/app/*\"]\n          failureAction: Enforce\n          \
        attestors: [{entries: [{keys: {publicKeys: x}}]}]\n";
    for text in [containers, cluster, connaisseur, kyverno] {
        let (ran, answer) = import(text, &["--root-key", KEY]);
        assert_eq!((ran.code, &answer["complete"]), (0, &true.into()), "{text}\n{answer:#}");
        let policy = answer["policy"].as_str().unwrap();
        for wanted in ["registry.example.com/app/**", "required = true", "builder", "default = \"deny\"", KEY]
        {
            assert!(policy.contains(wanted), "{wanted}\n{policy}");
        }
        // Nobody can guess whom to trust.
        assert_eq!(import(text, &[]).0.code, 3);
    }
}

#[test]
fn what_cannot_be_expressed_is_refused_and_not_dropped() {
    let cluster = |authority: &str| {
        format!(
            "kind: ClusterImagePolicy\nmetadata: {{name: app}}\nspec:\n  images: [{{glob: \"r.example.com/app/**\"}}]\n  \
             authorities: [{authority}]\n"
        )
    };
    let containers = |requirements: &str| {
        format!(
            "{{\"default\":[{{\"type\":\"insecureAcceptAnything\"}}],\"transports\":{{\"docker\":{{\"r.example.com/app\":{requirements}}}}}}}"
        )
    };
    let kyverno = |more: &str| {
        format!(
            "kind: ClusterPolicy\nspec:\n  rules:\n    - name: a\n      verifyImages:\n        - imageReferences: [\"r.example.com/*\"]\n          \
             attestors: [{{entries: [{{keys: {{publicKeys: x}}}}]}}]\n          {more}\n"
        )
    };
    for (text, word) in [
        (cluster("{keyless: {identities: []}}"), "keyless"),
        (
            cluster("{key: {data: x}, attestations: [{name: v, predicateType: vuln, policy: {type: cue}}]}"),
            "CUE",
        ),
        (
            cluster("{key: {data: x}}, {key: {data: y}, attestations: [{name: v, predicateType: vuln}]}"),
            "several",
        ),
        (format!("{}---\n{}", cluster("{key: {data: x}}"), cluster("{key: {data: y}}")), "as well"),
        (containers(r#"[{"type":"reject"}]"#), "refuses"),
        (containers(r#"[{"type":"sigstoreSigned","fulcio":{}}]"#), "fulcio"),
        (containers(r#"[{"type":"strange"}]"#), "strange"),
        (kyverno("skipImageReferences: [\"r.example.com/x*\"]"), "skips"),
        (kyverno("attestations: [{type: vuln, conditions: []}]"), "condition"),
    ] {
        let (ran, answer) = import(&text, &["--root-key", KEY]);
        assert_eq!((ran.code, &answer["complete"]), (3, &false.into()), "{text}\n{answer:#}");
        let problems = answer["problems"].to_string();
        assert!(problems.contains(word), "{word}: {problems}");
        let policy = answer["policy"].as_str().unwrap();
        assert!(policy.contains("# ERROR: "), "{policy}");
        // No rule is left that lets pass what the source asked more of.
        let loose = policy.lines().any(|line| line.starts_with("[[rule]]"));
        assert!(!loose, "{text}\n{policy}");
    }
    let user = user();
    let file = write(&user, "x.yaml", "kind: Deployment\n");
    assert_eq!(user.run(&["policy", "import", &file]).code, 3);
}
