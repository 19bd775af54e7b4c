//! `bulla verify --policy` with real programs: what is allowed, and each family of refusals.

use std::fs;
use std::path::PathBuf;

use bulla_tests::cli::{Cli, Ran};
use bulla_tests::judged::Judged;
use bulla_tests::programs::expect;
use serde_json::Value;

const SIGNED: &str = "signing = { required = true, signers = ['alice', 'bob'], threshold = 1 }\n";
const SCANNED: &str = "[[rule.attestation]]\nname = 'scan'\ntype = 'vulns'\nsigners = ['scanner']\n\
     max_age = '24h'\nmax_critical = 0\nmax_high = 1\n";

/// An image that alice signed, and in which the scanner found one high vulnerability.
fn prepared() -> Judged {
    let judged = Judged::begin();
    let digest = judged.push("v1", "1000");
    judged.sign("v1", "alice");
    judged.attest(digest, &["HIGH", "LOW"]);
    judged
}

fn ask(user: &Cli, code: i32, policy: &str, image: &str) -> Value {
    let answer = expect(user, code, &["verify", image, "--policy", policy, "--output", "json"]).json();
    require_schema(&answer);
    answer
}

fn require_schema(answer: &Value) {
    let file =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../keys-schema/schema/policy-verdict.schema.json");
    let schema: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(answer).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:?}\n{answer:#}");
}

fn failed(answer: &Value) -> Vec<&str> {
    let checks = answer["checks"].as_array().unwrap();
    checks
        .iter()
        .filter(|check| check["result"] == "fail")
        .map(|check| check["id"].as_str().unwrap())
        .collect()
}

#[test]
fn a_good_image_is_allowed_and_the_reference_is_all_that_is_printed() {
    let judged = prepared();
    let facts = "[rule.image]\nuser = 'non-root'\nrequired_labels = ['build.date']\nmax_layers = 3\n";
    let policy = judged.policy(&format!("{SIGNED}{SCANNED}{facts}"));
    let user = judged.stranger();
    let answer = ask(&user, 0, &policy, &judged.image("v1"));
    assert_eq!((&answer["decision"], &answer["rule"]), (&"allow".into(), &"app".into()), "{answer:#}");
    assert!(failed(&answer).is_empty());
    let reference = answer["reference"].as_str().unwrap().to_owned();
    let ran = expect(&user, 0, &["verify", &judged.image("v1"), "--policy", &policy]);
    assert_eq!(ran.stdout, format!("{reference}\n"));
    assert!(ran.stderr.contains("sign.threshold") && ran.stderr.contains("allowed"), "{}", ran.stderr);

    // The signer noted what the image is, and the evidence is kept: nobody is asked any more.
    let _ = judged.registry.asked();
    let gone = user.with("BULLA_SERVER", "http://localhost:1");
    let ran = expect(&gone, 0, &["resolve", &judged.image("v1"), "--policy", &policy]);
    assert_eq!(ran.stdout, format!("{reference}\n"));
    assert!(ran.stderr.contains("cannot reach the trust server"), "{}", ran.stderr);
    assert_eq!(judged.registry.asked(), Vec::<String>::new());
}

#[test]
fn each_family_of_refusals_has_its_check_and_its_exit_code() {
    let judged = prepared();
    let user = judged.stranger();
    let scan = |limits: &str| format!("{SIGNED}{SCANNED}{limits}");
    for (code, check, rules) in [
        (12, "sign.threshold", "signing = { required = true, signers = ['bob'] }\n".to_owned()),
        (
            12,
            "sign.threshold",
            "signing = { required = true, signers = ['alice', 'bob'], threshold = 2 }\n".into(),
        ),
        (20, "vuln.high", SIGNED.to_owned() + &SCANNED.replace("max_high = 1", "max_high = 0")),
        (20, "vuln.total", scan("max_total = 1\n")),
        (
            21,
            "att.missing",
            SIGNED.to_owned() + SCANNED.replace("'vulns'", "'sbom'").split("max_age").next().unwrap(),
        ),
        (21, "db.stale", scan("db_max_age = '24h'\n")),
        (20, "fact.label", format!("{SIGNED}[rule.image]\nrequired_labels = ['owner']\n")),
        (20, "fact.size", format!("{SIGNED}[rule.image]\nmax_size = '1KB'\n")),
        (20, "base.not_allowed", format!("{SIGNED}[rule.base]\nallow = ['docker.io/library/alpine']\n")),
        (20, "ref.tag_denied", format!("deny_tags = ['v*']\n{SIGNED}")),
        (20, "ref.digest_required", format!("require_digest = true\n{SIGNED}")),
    ] {
        let answer = ask(&user, code, &judged.policy(&rules), &judged.image("v1"));
        assert_eq!(failed(&answer)[0], check, "{answer:#}");
        assert_eq!((&answer["decision"], &answer["reference"]), (&"deny".into(), &Value::Null));
        assert_eq!(answer["exit_code"], code);
    }
    let root = judged.push("root", "");
    judged.sign("root", "bob");
    let policy = judged.policy(&format!("{SIGNED}[rule.image]\nuser = 'non-root'\n"));
    assert_eq!(failed(&ask(&user, 20, &policy, &judged.image("root"))), ["fact.user"]);
    assert_eq!(failed(&ask(&user, 12, &policy, &judged.image("v2")))[0], "tag.unknown");
    // The registry moves the tag.
    judged.registry.push("v1", br#"{"schemaVersion":2}"#);
    assert_eq!(failed(&ask(&user, 15, &policy, &judged.image("v1")))[0], "tag.mismatch");
    expect(&judged.admin, 0, &["revoke", &judged.name, "--digest", &root.to_oci()]);
    let denied = format!("{}@{}", judged.name, root.to_oci());
    assert_eq!(failed(&ask(&user, 14, &policy, &denied))[0], "revoked.digest");
    expect(&judged.admin, 0, &["revoke", &judged.image("v1")]);
    assert_eq!(failed(&ask(&user, 14, &policy, &judged.image("v1")))[0], "revoked.tag");
}

#[test]
fn a_blocked_registry_is_not_asked() {
    let judged = prepared();
    let host = judged.name.split('/').next().unwrap();
    let policy = judged.policy(&format!("{SIGNED}[registries]\nblock = ['{host}']\n"));
    let _ = judged.registry.asked();
    let answer = ask(&judged.stranger(), 20, &policy, &judged.image("v1"));
    assert_eq!(failed(&answer)[0], "registry.blocked");
    assert_eq!(judged.registry.asked(), Vec::<String>::new());
}

#[test]
fn audit_mode_lets_pass_and_says_what_it_would_refuse() {
    let judged = prepared();
    let rules = format!("mode = 'audit'\naudit_until = 2100-01-01T00:00:00Z\n{SIGNED}");
    let policy = judged.policy(&(rules + &SCANNED.replace("max_high = 1", "max_high = 0")));
    let answer = ask(&judged.stranger(), 0, &policy, &judged.image("v1"));
    assert_eq!(answer["would_deny"][0], "vuln.high", "{answer:#}");
    assert!(answer["reference"].is_string());
    let junit = expect(
        &judged.stranger(),
        0,
        &["verify", &judged.image("v1"), "--policy", &policy, "--output", "junit"],
    );
    assert!(
        junit.stdout.contains("failures=\"0\"") && junit.stdout.contains("audit mode"),
        "{}",
        junit.stdout
    );
}

#[test]
fn an_exception_lets_one_vulnerability_pass() {
    let judged = prepared();
    let exception = format!(
        "[[exception]]\nid = 'EX-1'\nmatch = ['{}']\nchecks = ['vuln.high']\nvulnerabilities = ['CVE-2030-0']\n\
         expires = {}\nreason = 'no fix yet'\napproved_by = 'alice'\n",
        judged.name,
        in_a_month()
    );
    let policy =
        judged.policy(&(SIGNED.to_owned() + &SCANNED.replace("max_high = 1", "max_high = 0") + &exception));
    let answer = ask(&judged.stranger(), 0, &policy, &judged.image("v1"));
    assert_eq!(answer["exceptions"][0]["applied"], true, "{answer:#}");
}

fn in_a_month() -> String {
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let then = bulla_keys_schema::time::UtcTime::from_unix_seconds(now).unwrap();
    then.plus_seconds(30 * 24 * 60 * 60).to_string()
}

#[test]
fn reports_for_machines_can_be_read() {
    let judged = prepared();
    let policy = judged.policy(&(SIGNED.to_owned() + &SCANNED.replace("max_high = 1", "max_high = 0")));
    let user = judged.stranger();
    let run = |format| -> Ran {
        user.run(&["verify", &judged.image("v1"), "--policy", &policy, "--output", format])
    };
    let junit = run("junit");
    assert_eq!(junit.code, 20, "{junit:?}");
    require_xml(&junit.stdout);
    assert_eq!(junit.stdout.matches("<failure type=\"vuln.high\"").count(), 1, "{}", junit.stdout);
    assert!(junit.stdout.matches("<testcase ").count() > 5, "{}", junit.stdout);
    let sarif = run("sarif");
    assert_eq!(sarif.code, 20);
    let run = &sarif.json()["runs"][0];
    assert_eq!(run["results"].as_array().unwrap().len(), 1, "{run:#}");
    assert_eq!(
        (&run["results"][0]["ruleId"], &run["results"][0]["level"]),
        (&"vuln.high".into(), &"error".into())
    );
    // Nothing else can be written in that form.
    assert_eq!(user.run(&["trust", "list", "--output", "junit"]).code, 2);
    assert_eq!(user.run(&["verify", &judged.image("v1"), "--output", "sarif"]).code, 2);
}

/// Every element ends where it should.
fn require_xml(text: &str) {
    let mut open = Vec::new();
    for part in text.split('<').skip(1) {
        let (tag, _) = part.split_once('>').expect("a tag ends");
        let name = tag.trim_start_matches('/').split(' ').next().unwrap().trim_end_matches('/');
        match tag {
            tag if tag.starts_with('?') || tag.ends_with('/') => {}
            tag if tag.starts_with('/') => assert_eq!(open.pop(), Some(name), "{text}"),
            _ => open.push(name),
        }
    }
    assert!(open.is_empty(), "{text}");
}
