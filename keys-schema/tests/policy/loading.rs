//! What is no policy, and why: each file is good but for one thing.

use bulla_keys_schema::policy::{Policy, PolicyError};

use crate::fixture::*;

const REQUIRED: &str = "signing = { required = true }";

#[track_caller]
fn refuse(text: &str, says: &str) {
    match Policy::parse(text) {
        Ok(_) => panic!("taken, and should say {says:?}:\n{text}"),
        Err(error) => {
            let message = error.to_string();
            assert!(message.contains(says), "{message:?} does not say {says:?}");
            assert!(!error.advice().is_empty());
            let places = ["line ", "rule ", "exception ", "trust ", "group ", "registries", "policy", "name"];
            let tops =
                ["version", "mode", "default", "audit_until", "groups", "rule, name", "the policy is larger"];
            assert!(
                places.iter().chain(&tops).any(|place| message.starts_with(place)),
                "{message:?} says no place"
            );
        }
    }
}

fn exception(more: &str) -> String {
    rule("", &format!("{REQUIRED}\n[[exception]]\nid = \"E\"\nmatch = [\"r.io/app\"]\n{more}"))
}

fn attestation(more: &str) -> String {
    rule("", &format!("{REQUIRED}\n[[rule.attestation]]\nname = \"s\"\nsigners = [\"ci\"]\n{more}"))
}

#[test]
fn a_typing_error_anywhere_is_an_error() {
    for (good, bad) in [
        ("[registries]", "[registry]"),
        ("block =", "blocks ="),
        ("server =", "sever ="),
        ("root_threshold", "root_treshold"),
        ("deny_tags", "denied_tags"),
        ("required          = true", "require = true"),
        ("threshold         = 1", "treshold = 1"),
        ("max_high      = 2", "max_hihg = 2"),
        ("required_labels", "labels"),
        ("max_size        = \"500MB\"", "maxsize = \"500MB\""),
        ("[rule.base]\n  allow", "[rule.base]\n  allowed"),
        ("ticket          =", "tickets ="),
        ("critical = \"24h\", high", "crit = \"24h\", high"),
        ("type          = \"vulns\"", "type = \"vuln\""),
        ("count_by      = \"finding\"", "count_by = \"findings\""),
        ("unknown_as    = \"high\"", "unknown_as = \"none\""),
        ("user       = \"non-root\"", "user = \"nonroot\""),
        ("mode    = \"enforce\"", "mode = \"warn\""),
        ("default = \"deny\"", "default = \"allow\""),
        ("platforms         = \"all\"", "platforms = \"some\""),
    ] {
        assert!(EXAMPLE.contains(good), "{good}");
        refuse(&EXAMPLE.replacen(good, bad, 1), "line ");
    }
}

#[test]
fn a_member_that_is_there_twice_is_an_error() {
    refuse(&EXAMPLE.replacen("mode    =", "name = \"again\"\nmode    =", 1), "line ");
    refuse(&rule("", &format!("{REQUIRED}\n{REQUIRED}")), "line ");
    let json = r#"{"policy":1,"name":"n","groups":{"a":["x"],"a":["y"]}}"#;
    refuse(json, "line 1");
    refuse(r#"{"policy":1,"name":"n","version":null}"#, "null is no value");
    refuse(
        r#"{"policy":1,"name":"n","audit_until":{"$__toml_private_datetime":"2030-01-01T00:00:00Z"}}"#,
        "line 1",
    );
}

#[test]
fn the_top_says_what_it_is() {
    refuse("name = \"n\"", "missing field `policy`");
    refuse("policy = 2\nname = \"n\"", "format 2");
    refuse("policy = 1", "missing field `name`");
    refuse("policy = 1\nname = \" \"", "characters");
    refuse("policy = 1\nname = \"n\"\nversion = 0", "0 would");
    refuse("policy = 1\nname = \"n\"\nversion = -1", "line 3");
    refuse("policy = \"1\"\nname = \"n\"", "line 1");
    refuse(&format!("policy = 1\nname = \"n\"\n{}", "#".repeat(1024 * 1024)), "larger");
    assert_eq!(policy("policy = 1\nname = \"n\"\nversion = 7").version(), Some(7));
}

#[test]
fn audit_has_an_end() {
    refuse(&rule("mode = \"audit\"", REQUIRED), "audit needs audit_until");
    refuse(&rule("default = \"audit\"", REQUIRED), "audit needs audit_until");
    refuse(&rule("", &format!("mode = \"audit\"\n{REQUIRED}")), "audit needs audit_until");
    refuse(&rule("audit_until = 2030-01-01T00:00:00Z", REQUIRED), "no meaning without audit");
    refuse(&rule("", &format!("audit_until = 2030-01-01T00:00:00Z\n{REQUIRED}")), "no meaning without audit");
    policy(&rule("mode = \"audit\"\naudit_until = 2030-01-01T00:00:00Z", REQUIRED));
}

#[test]
fn moments_are_in_utc() {
    for bad in [
        "2030-01-01",
        "2030-01-01T00:00:00",
        "2030-01-01T00:00:00+02:00",
        "2030-02-30T00:00:00Z",
        "10:00:00",
        "\"tomorrow\"",
        "1893456000",
    ] {
        refuse(&rule(&format!("mode = \"audit\"\naudit_until = {bad}"), REQUIRED), "line 4");
    }
}

#[test]
fn units_are_known() {
    for bad in ["24", "24 h", "1y", "0h", "", "-1h"] {
        refuse(&attestation(&format!("type = \"vulns\"\nmax_age = \"{bad}\"")), "line ");
    }
    refuse(&attestation("type = \"vulns\"\nmax_age = 24"), "line ");
    for bad in ["500", "500M", "1GiB", "0MB"] {
        refuse(&rule("", &format!("{REQUIRED}\nimage = {{ max_size = \"{bad}\" }}")), "line ");
    }
    refuse(&rule("", &format!("{REQUIRED}\nimage = {{ max_layers = -1 }}")), "line ");
}

#[test]
fn groups_have_members_and_exist() {
    let signers = |head: &str, words: &str| {
        rule(head, &format!("signing = {{ required = true, signers = [{words}] }}"))
    };
    refuse(&signers("[groups]\ng = []", "\"@g\""), "the list is empty");
    refuse(&signers("[groups]\ng = [\"@h\"]", "\"@g\""), "line ");
    refuse(&signers("", "\"@g\""), "no group \"g\"");
    refuse(&signers("", "\"Alice\""), "no name of a signer");
    refuse(&signers("", "\"releases\""), "no name of a signer");
    refuse(&signers("", ""), "the list is empty");
    policy(&signers("[groups]\ng = [\"a\", \"b\"]", "\"@g\", \"c\""));
}

#[test]
fn thresholds_can_be_met() {
    let signing = |words: &str| rule("", &format!("signing = {{ required = true, {words} }}"));
    refuse(&signing("threshold = 0"), "0 would");
    refuse(&signing("signers = [\"a\"], threshold = 2"), "2 is more than the 1");
    refuse(&signing("signers = [\"a\", \"a\"], threshold = 2"), "2 is more than the 1");
    refuse(&signing("signers = [\"a\"], must_include = [\"b\"]"), "not among the signers");
    refuse(&rule("", "signing = { required = false, signers = [\"a\"] }"), "requires no signatures");
    refuse(&rule("", "signing = { required = false, max_signature_age = \"1d\" }"), "requires no signatures");
    refuse(&rule("", "signing = {}"), "missing field `required`");
    refuse(&rule("", ""), "missing field `signing`");
}

#[test]
fn roots_are_pinned_and_cover_the_rules() {
    let trust = |scope: &str, pin: &str| {
        format!(
            "policy = 1\nname = \"n\"\n[trust.\"{scope}\"]\n{pin}\n[[rule]]\nname = \"all\"\nmatch = [\"r.io/app\"]\n{REQUIRED}"
        )
    };
    let (a, b) = (format!("\"sha256:{}\"", "a".repeat(64)), format!("\"sha256:{}\"", "b".repeat(64)));
    let keys = format!("root_keys = [{a}, {b}]");
    policy(&trust("r.io/**", &format!("{keys}\nroot_threshold = 2")));
    policy(&trust("r.io/app", &format!("root = {a}")));
    policy(&trust("r.io/app", &format!("{keys}\nroot_threshold = 1")));
    refuse(&trust("r.io/*", &format!("root = {a}")), "root of one repository");
    refuse(&trust("r.io/**", &format!("{keys}\nroot_threshold = 3")), "3 is more than the 2");
    refuse(&trust("r.io/**", &format!("{keys}\nroot_threshold = 0")), "0 would");
    refuse(&trust("r.io/**", &format!("root_keys = [{a}, {a}]\nroot_threshold = 1")), "twice");
    refuse(&trust("r.io/**", "root_keys = []\nroot_threshold = 1"), "the list is empty");
    refuse(&trust("r.io/**", &keys), "keys without root_threshold");
    refuse(&trust("r.io/**", "root_threshold = 1"), "root_threshold without keys");
    refuse(&trust("r.io/app", &format!("root = {a}\n{keys}\nroot_threshold = 1")), "a root and keys");
    refuse(&trust("r.io/app", ""), "pins nothing");
    refuse(&trust("r.io/app", "root = \"abc\""), "line ");
    refuse(&trust("r.io/other", &format!("root = {a}")), "no [trust] entry covers");
    refuse(&trust("r.io/app/**", &format!("{keys}\nroot_threshold = 1")), "no [trust] entry covers");
    refuse(&trust("**", &format!("{keys}\nroot_threshold = 1")), "no pattern");
    for server in ["trust.example.com", "ftp://x", "https://", "https://a b", "https://me:pw@x"] {
        let pin = format!("root = {a}\nserver = \"{server}\"");
        refuse(&trust("r.io/app", &pin), "no address");
    }
    refuse(
        &trust("r.io/app", &format!("root = {a}\noffline_grace = \"1h\"")),
        "no meaning without metadata_max_age",
    );
    // Attestations need a root as well.
    let scanned = "signing = { required = false }\nattestation = [{ name = \"s\", type = \"sbom\", signers = [\"ci\"] }]";
    refuse(
        &format!("policy = 1\nname = \"n\"\n[[rule]]\nname = \"all\"\nmatch = [\"r.io/app\"]\n{scanned}"),
        "no [trust] entry covers",
    );
}

#[test]
fn ties_are_errors() {
    let two = |one: &str, other: &str| {
        rule(
            "",
            &format!(
                "{REQUIRED}\n[[rule]]\nname = \"one\"\nmatch = [{one}]\n{REQUIRED}\n[[rule]]\nname = \"two\"\nmatch = [{other}]\n{REQUIRED}"
            ),
        )
    };
    refuse(&two("\"r.io/a\"", "\"r.io/b\", \"r.io/a\""), "none is narrower");
    refuse(&two("\"r.io/a/*\"", "\"r.io/a/**\""), "none is narrower");
    refuse(&two("\"r.io/*/x\"", "\"r.io/*/*\", \"r.io/*-y/x\""), "none is narrower");
    policy(&two("\"r.io/a*b\"", "\"r.io/a*c\""));
    policy(&two("\"r.io/a/**\", \"r.io/a/*\"", "\"r.io/b/**\""));
    let trust = format!(
        "{}\n[trust.\"r.io/*\"]\nroot_keys = [\"{}\"]\nroot_threshold = 1",
        rule("", REQUIRED),
        "a".repeat(64)
    );
    refuse(&trust, "none is narrower");
}

#[test]
fn names_and_patterns_are_there_once_and_mean_something() {
    refuse(
        &rule("", &format!("{REQUIRED}\n[[rule]]\nname = \"all\"\nmatch = [\"r.io/x\"]\n{REQUIRED}")),
        "twice",
    );
    refuse(
        &rule("", &format!("{REQUIRED}\n[[rule]]\nname = \"x\"\nmatch = []\n{REQUIRED}")),
        "the list is empty",
    );
    refuse(
        &rule("", &format!("{REQUIRED}\n[[rule]]\nname = \"\"\nmatch = [\"r.io/x\"]\n{REQUIRED}")),
        "characters",
    );
    refuse(
        &rule("", &format!("{REQUIRED}\n[[rule]]\nname = \"x\"\nmatch = [\"r.io/x:1\"]\n{REQUIRED}")),
        "line ",
    );
    refuse(&rule("[registries]\nallow = []", REQUIRED), "the list is empty");
    refuse(&rule("[registries]\nblock = [\"index.docker.io\"]", REQUIRED), "Docker Hub");
    refuse(&rule("", &format!("tags = []\n{REQUIRED}")), "the list is empty");
    refuse(&rule("", &format!("deny_tags = [\"a:b\"]\n{REQUIRED}")), "line ");
    refuse(&rule("", &format!("{REQUIRED}\nbase = {{ allow = [] }}")), "the list is empty");
    refuse(&rule("", &format!("{REQUIRED}\nbase = {{ allow = [\"alpine\"] }}")), "line ");
    refuse(&rule("", &format!("{REQUIRED}\nimage = {{ required_labels = [\"\"] }}")), "characters");
    refuse(
        &rule("", &format!("{REQUIRED}\nimage = {{ max_unpacked_size = \"1GB\" }}")),
        "no meaning without",
    );
}

#[test]
fn attestations_say_what_they_are() {
    refuse(&attestation(""), "neither `type` nor `predicate`");
    refuse(&attestation("type = \"sbom\"\npredicate = \"https://x\""), "exclude each other");
    refuse(&attestation("type = \"sbom\"\nmax_critical = 0"), "only for attestations of type \"vulns\"");
    refuse(
        &attestation("predicate = \"https://x\"\nvex_signers = [\"a\"]"),
        "only for attestations of type \"vulns\"",
    );
    refuse(
        &attestation("type = \"vulns\"\nrequire = { \"/a\" = 1 }"),
        "only for attestations of a `predicate`",
    );
    refuse(&attestation("predicate = \"https://x\"\nrequire = { \"a\" = 1 }"), "no JSON pointer");
    refuse(&attestation("predicate = \"https://x\"\nrequire = { \"/a~2\" = 1 }"), "no JSON pointer");
    refuse(&attestation("predicate = \"https://x\"\nrequire = { \"/a\" = 1.5 }"), "whole number");
    refuse(&attestation("predicate = \"https://x\"\nrequire = { \"/a\" = [1] }"), "whole number");
    refuse(&attestation("type = \"vulns\"\nmin_score = 101"), "at most 100");
    refuse(&attestation("type = \"vulns\"\nmax_critical = -1"), "line ");
    refuse(&attestation("type = \"vulns\"\nvex_signers = [\"@none\"]"), "no group");
    refuse(
        &attestation(
            "type = \"vulns\"\n[[rule.attestation]]\nname = \"s\"\ntype = \"sbom\"\nsigners = [\"a\"]",
        ),
        "twice",
    );
    refuse(
        &attestation("type = \"vulns\"").replace("signers = [\"ci\"]", "signers = []"),
        "the list is empty",
    );
    refuse(&attestation("type = \"vulns\"").replace("signers = [\"ci\"]\n", ""), "missing field `signers`");
}

#[test]
fn exceptions_are_complete_short_and_of_checks_that_may_be_excepted() {
    let good =
        "checks = [\"vuln.high\"]\nexpires = 2030-01-01T00:00:00Z\nreason = \"r\"\napproved_by = \"a\"";
    policy(&exception(good));
    for member in ["expires", "reason", "approved_by", "checks"] {
        let without: Vec<&str> = good.lines().filter(|line| !line.starts_with(member)).collect();
        refuse(&exception(&without.join("\n")), &format!("missing field `{member}`"));
    }
    refuse(&exception(&good.replace("\"r\"", "\" \"")), "characters");
    refuse(&exception(&good.replace("\"a\"", "\"\"")), "characters");
    refuse(&exception(&good.replace("\"vuln.high\"", "\"vuln.hihg\"")), "no check has this name");
    refuse(&exception(&good.replace("\"vuln.high\"", "")), "the list is empty");
    let protected = [
        "registry.blocked",
        "revoked.tag",
        "revoked.digest",
        "revoked.signer",
        "meta.expired",
        "meta.stale",
        "meta.rollback",
        "meta.threshold",
        "tag.mismatch",
        "internal",
        "policy.error",
        "ref.invalid",
        "ref.empty",
    ];
    for check in protected {
        refuse(&exception(&good.replace("vuln.high", check)), "no exception can take back");
    }
    let cve = format!("{good}\nvulnerabilities = [\"CVE-1\"]");
    policy(&exception(&cve));
    refuse(&exception(&cve.replace("vuln.high", "att.missing")), "counts no vulnerabilities");
    refuse(&exception(&cve.replace("\"CVE-1\"", "")), "the list is empty");
    let created = |from: &str| format!("{good}\ncreated = {from}");
    policy(&exception(&created("2029-10-03T00:00:00Z")));
    refuse(&exception(&created("2029-10-02T23:59:59Z")), "90 are the most");
    refuse(&exception(&created("2030-01-01T00:00:00Z")), "ends before");
    let longer = exception(&created("2029-07-15T00:00:00Z"));
    refuse(&longer, "90 are the most");
    policy(&longer.replace("name = \"test\"", "name = \"test\"\nexception_max = \"180d\""));
    refuse(&format!("{}\n[[exception]]\nid = \"E\"\nmatch = [\"r.io/b\"]\n{good}", exception(good)), "twice");
}

#[test]
fn errors_name_the_line() {
    let text = "policy = 1\nname = \"n\"\n\n[registries]\nalow = []\n";
    match Policy::parse(text) {
        Err(PolicyError::Form { line, column, message }) => {
            assert_eq!((line, column), (5, 1));
            assert!(message.contains("unknown field `alow`, expected"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    let json = "{\"policy\": 1,\n \"name\": \"n\",\n \"rules\": []}";
    match Policy::parse(json) {
        Err(PolicyError::Form { line, message, .. }) => {
            assert_eq!(line, 3);
            assert!(message.contains("unknown field `rules`"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_same_in_json_is_the_same_policy() {
    let mut value: serde_json::Value = serde_json::to_value(toml_of(EXAMPLE)).unwrap();
    undisguise(&mut value);
    assert_eq!(Policy::parse(&value.to_string()), Ok(example()));
}

pub fn toml_of(text: &str) -> toml::Table {
    toml::from_str(text).unwrap()
}

/// Dates as JSON has them.
pub fn undisguise(value: &mut serde_json::Value) {
    if let Some(date) = value.get("$__toml_private_datetime").cloned() {
        *value = date;
        return;
    }
    match value {
        serde_json::Value::Array(items) => items.iter_mut().for_each(undisguise),
        serde_json::Value::Object(members) => members.values_mut().for_each(undisguise),
        _ => {}
    }
}
