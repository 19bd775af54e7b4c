//! `bulla gate` from the outside: the reports of real scanners with the counts that are known of them,
//! hostile files, and every text that it prints. A changed text is a reviewed text.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use bulla_tests::cli::{Cli, Ran};
use bulla_tests::peers::fixtures;
use serde_json::{Value, json};

const IMAGE: &str = "sha256:0707070707070707070707070707070707070707070707070707070707070707";
const OTHER: &str = "sha256:0808080808080808080808080808080808080808080808080808080808080808";

fn cli() -> Cli {
    Cli::new(env!("CARGO_BIN_EXE_bulla-cli"))
}

/// Runs the gate, with a limit that everything passes unless `more` has one.
fn gate(cli: &Cli, report: &Path, more: &[&str]) -> Ran {
    let mut args = vec!["gate", "--report", report.to_str().unwrap()];
    let limits = ["--max-c", "--max-medium", "--max-total", "--max-secrets", "--min-score", "--deny-eol-os"];
    if !more.iter().any(|arg| limits.iter().any(|limit| arg.starts_with(limit))) {
        args.extend(["--max-critical", "1000"]);
    }
    args.extend(more);
    cli.run(&args)
}

/// The same in JSON, against its schema.
fn answer(cli: &Cli, report: &Path, code: i32, more: &[&str]) -> Value {
    let ran = gate(cli, report, &[more, &["--output", "json"]].concat());
    assert_eq!(ran.code, code, "{}: {}{}", report.display(), ran.stdout, ran.stderr);
    let answer = ran.json();
    let schema = match code {
        0 | 20 => include_str!("../../keys-schema/schema/gate.schema.json"),
        _ => include_str!("../../keys-schema/schema/error.schema.json"),
    };
    let schema = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
    let errors: Vec<String> = schema.iter_errors(&answer).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?} in {answer:#}");
    answer
}

/// Critical, high, medium, low, negligible, unknown.
fn counts(answer: &Value) -> [u64; 6] {
    ["critical", "high", "medium", "low", "negligible", "unknown"]
        .map(|severity| answer["counts"][severity].as_u64().unwrap())
}

fn write(cli: &Cli, name: &str, content: &[u8]) -> PathBuf {
    let path = cli.folder.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

/// A statement that `id` does no harm in `image`.
fn vex(id: &str, image: &str) -> Value {
    json!({
        "@context": "https://openvex.dev/ns/v0.2.0",
        "author": "alice",
        "timestamp": "2020-01-02T03:04:05Z",
        "statements": [{
            "vulnerability": { "name": id },
            "products": [{ "@id": format!("pkg:oci/app@{}", image.replace(':', "%3A")) }],
            "status": "not_affected",
            "justification": "vulnerable_code_not_in_execute_path",
        }],
    })
}

/// A report of Trivy with findings of these severities.
fn trivy(severities: &[&str]) -> Value {
    let finding = |severity: &&str| json!({ "VulnerabilityID": "CVE-2030-1", "Severity": severity });
    json!({
        "SchemaVersion": 2,
        "Trivy": { "Version": "0.70.0" },
        "CreatedAt": "2020-01-02T03:04:05Z",
        "ArtifactType": "container_image",
        "Metadata": { "RepoDigests": [format!("reg.example.com/app@{IMAGE}")] },
        "Results": [{
            "Class": "os-pkgs",
            "Vulnerabilities": severities.iter().map(finding).collect::<Vec<_>>(),
        }],
    })
}

#[test]
fn reports_of_real_scanners_have_the_counts_that_are_known() {
    let Some(folder) = fixtures::folder("scan-reports") else { return };
    let cli = cli();
    for (file, expected) in [
        ("trivy/alpine-310.json", [0, 0, 4, 0, 0, 0]),
        ("trivy/alpine-310.sarif", [0, 0, 4, 0, 0, 0]),
        ("trivy/alpine-39.json", [2, 0, 4, 0, 0, 0]),
        ("trivy/alpine-39-high-critical.json", [2, 0, 0, 0, 0, 0]),
        ("trivy/centos-7.json", [0, 0, 1, 2, 0, 0]),
        ("trivy/debian-buster.json", [1, 0, 0, 1, 0, 0]),
        ("trivy/fluentd-gems.json", [1, 1, 0, 0, 0, 0]),
        ("trivy/photon-30.json", [2, 1, 0, 0, 0, 0]),
        ("trivy/ubuntu-1804.json", [0, 0, 4, 1, 0, 0]),
        // One image in three formats. The score of the low one is that of a high one.
        ("grype/TestJsonImgsPresenter.golden", [1, 0, 0, 1, 0, 0]),
        ("grype/TestSarifPresenter_image.golden", [1, 0, 0, 1, 0, 0]),
        ("grype/TestCycloneDxPresenterImage.golden", [1, 0, 0, 1, 0, 0]),
    ] {
        assert_eq!(counts(&answer(&cli, &folder.join(file), 0, &[])), expected, "{file}");
        let worst = if expected[0] > 0 { "--max-critical" } else { "--max-medium" };
        let passed = if expected[0] > 0 { expected[0] } else { expected[2] };
        let limit = (passed - 1).to_string();
        let failed = answer(&cli, &folder.join(file), 20, &[worst, &limit]);
        assert_eq!(failed["decision"], "fail", "{file}");
        answer(&cli, &folder.join(file), 0, &[worst, &passed.to_string()]);
    }
}

#[test]
fn reports_of_real_scanners_that_tell_nothing_are_not_zero() {
    let Some(folder) = fixtures::folder("scan-reports") else { return };
    let cli = cli();
    for (file, words) in [
        ("trivy/alpine-39-skip.json", "looked at nothing"),
        ("trivy/secrets.json", "of \"repository\", not of a container image"),
        ("grype/TestEmptyJsonPresenter.golden", "of \"unknown\", not of a container image"),
    ] {
        let answer = answer(&cli, &folder.join(file), 21, &[]);
        assert!(answer["message"].as_str().unwrap().contains(words), "{file}: {answer}");
    }
    let report = folder.join("grype/TestJsonImgsPresenter.golden");
    let manifest = "sha256:ca738abb87a8d58f112d3400ebb079b61ceae7dc290beb34bda735be4b1941d5";
    let found = answer(&cli, &report, 0, &["--image", &format!("reg.example.com/app@{manifest}")]);
    assert_eq!(found["image"], manifest);
    answer(&cli, &report, 21, &["--digest", OTHER]);
    // No time, where an age is asked for.
    answer(&cli, &report, 21, &["--max-age", "24h"]);
    let id = "sha256:055936d3920576da37aa9bc460d70c5f212028bda1c08c0879aedf03d7a66ea1";
    let report = folder.join("trivy/alpine-39.json");
    assert_eq!(answer(&cli, &report, 0, &["--digest", id])["end_of_life"], true);
    answer(&cli, &report, 21, &["--max-age", "24h"]);
}

#[test]
fn limits_that_a_report_cannot_answer_are_not_met() {
    let cli = cli();
    let path = write(&cli, "report", trivy(&["CRITICAL", "HIGH", "LOW"]).to_string().as_bytes());
    let run = |code: i32, args: &[&str]| answer(&cli, &path, code, args);
    // Totals and scores.
    run(0, &["--max-total", "3"]);
    run(20, &["--max-total", "2"]);
    let passed = run(0, &["--min-score", "85"]);
    assert_eq!(passed["score"], 85);
    assert_eq!(passed["checks"][0]["of"], "score");
    run(20, &["--min-score", "86"]);
    // One vulnerability at three places.
    let by_cve = run(20, &["--max-total", "0", "--count-by", "cve"]);
    assert_eq!((counts(&by_cve), &by_cve["count_by"]), ([1, 0, 0, 0, 0, 0], &json!("cve")));
    // Nobody knows whether it looked for secrets, until somebody says what it was run with.
    run(21, &["--max-secrets", "0"]);
    run(21, &["--max-secrets", "0", "--scan-args", "--scanners vuln"]);
    let looked = run(0, &["--max-secrets", "0", "--scan-args", "image --scanners vuln,secret"]);
    assert_eq!(looked["looked_for_secrets"], true);
    // What options hide is not known, and the rest is.
    let declared = ["--scan-args", "--severity HIGH,CRITICAL"];
    let some = run(0, &[&declared[..], &["--max-critical", "1", "--max-high", "1"]].concat());
    assert_eq!(some["left_out_by_option"], "--severity");
    assert_eq!(some["not_known"], json!(["medium", "low", "negligible", "unknown"]));
    for limit in ["--max-medium", "--max-total", "--min-score"] {
        run(21, &[&declared[..], &[limit, "0"]].concat());
    }
    for args in ["--ignore-unfixed", "--vex=repo", "--never-heard-of", "fs ."] {
        run(21, &["--max-critical", "9", "--scan-args", args]);
    }
    // Trivy tells nothing of its database.
    run(21, &["--db-max-age", "24h"]);
    let metadata = |at: &str| {
        let path =
            write(&cli, "metadata.json", json!({ "Version": 2, "UpdatedAt": at }).to_string().as_bytes());
        path.to_str().unwrap().to_owned()
    };
    let at = metadata("2020-01-02T00:00:00Z");
    run(21, &["--db-max-age", "24h", "--db-metadata", &at]);
    let known = run(0, &["--db-max-age", "100000d", "--db-metadata", &at]);
    assert_eq!(known["database_at"], "2020-01-02T00:00:00Z");
    run(21, &["--db-max-age", "24h", "--db-metadata", &metadata("2999-01-02T00:00:00Z")]);
    run(3, &["--db-metadata", "absent.json"]);
}

#[test]
fn a_system_without_advisories_fails_where_that_is_asked_for() {
    let cli = cli();
    let mut report = trivy(&[]);
    let path = write(&cli, "report", report.to_string().as_bytes());
    answer(&cli, &path, 0, &["--deny-eol-os"]);
    report["Metadata"]["OS"] = json!({ "EOSL": true });
    let path = write(&cli, "report", report.to_string().as_bytes());
    let failed = answer(&cli, &path, 20, &["--deny-eol-os"]);
    assert_eq!(failed["checks"][0]["of"], "end of life");
    answer(&cli, &path, 0, &["--max-critical", "0"]);
    let predicate = json!({ "scanner": { "uri": "other", "result": [{ "id": "x" }] } });
    let path = write(&cli, "report", predicate.to_string().as_bytes());
    answer(&cli, &path, 21, &["--deny-eol-os"]);
}

#[test]
fn vex_that_nobody_signed_is_taken_from_hand_and_named() {
    let cli = cli();
    let report = write(&cli, "report", trivy(&["CRITICAL", "HIGH"]).to_string().as_bytes());
    let vex_file = |id: &str, image: &str| {
        write(&cli, "vex.json", vex(id, image).to_string().as_bytes()).to_str().unwrap().to_owned()
    };
    let with = |code: i32, file: &str, more: &[&str]| {
        answer(&cli, &report, code, &[&["--digest", IMAGE, "--vex", file, "--max-total", "0"], more].concat())
    };
    let passed = with(0, &vex_file("CVE-2030-1", IMAGE), &[]);
    let left_out = passed["left_out_by_unsigned_vex"].as_array().unwrap();
    assert_eq!(left_out.len(), 2);
    assert_eq!(left_out[0]["justification"], "vulnerable_code_not_in_execute_path");
    for (id, image) in [("CVE-2030-2", IMAGE), ("CVE-2030-1", OTHER)] {
        let failed = with(20, &vex_file(id, image), &[]);
        assert_eq!(failed["left_out_by_unsigned_vex"], json!([]));
    }
    with(3, report.to_str().unwrap(), &[]);
    with(3, "absent.json", &[]);
    // Without an image, a statement about one says nothing.
    let ran = gate(&cli, &report, &["--vex", "vex.json"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
}

#[test]
fn the_source_of_a_rating_is_chosen_by_hand() {
    let cli = cli();
    let rating = |source: &str, severity: &str| json!({ "source": { "name": source }, "severity": severity });
    let report = json!({
        "bomFormat": "CycloneDX",
        "vulnerabilities": [{ "id": "CVE-2030-1", "ratings": [rating("nvd", "critical"), rating("redhat", "low")] }],
    });
    let path = write(&cli, "bom.json", report.to_string().as_bytes());
    assert_eq!(counts(&answer(&cli, &path, 20, &["--max-critical", "0"])), [1, 0, 0, 0, 0, 0]);
    let rated = answer(&cli, &path, 0, &["--max-critical", "0", "--rating-source", "debian,redhat,nvd"]);
    assert_eq!(counts(&rated), [0, 0, 0, 1, 0, 0]);
}

#[test]
fn hostile_files_never_pass() {
    let cli = cli();
    let good = trivy(&["CRITICAL"]).to_string();
    let deep = format!("{{\"SchemaVersion\":2,\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let long = format!("{good}{}", " ".repeat(17 * 1024 * 1024));
    let number = good.replace("\"Severity\":\"CRITICAL\"", "\"Severity\":0");
    let twice = good.replace("\"Results\"", "\"Results\":[{\"Class\":\"os-pkgs\"}],\"Results\"");
    for (name, content, code) in [
        ("good", good.as_str(), 0),
        ("empty", "", 21),
        ("blank", " \n", 21),
        ("cut", good.split_at(good.len() - 1).0, 3),
        ("twice", &twice, 3),
        ("number", &number, 3),
        ("deep", &deep, 3),
        ("long", &long, 3),
        ("null", "null", 3),
        ("list", "[]", 3),
        ("other", "{\"findings\": 0}", 3),
        ("both", &good.replacen('{', "{\"matches\":[],", 1), 3),
    ] {
        assert_ne!(content == good, name != "good", "{name} changes nothing");
        let path = write(&cli, name, content.as_bytes());
        answer(&cli, &path, code, &["--digest", IMAGE]);
    }
    answer(&cli, &cli.folder.path().join("absent"), 21, &[]);
    answer(&cli, cli.folder.path(), 3, &[]);
    answer(&cli, Path::new("/dev/zero"), 3, &[]);
}

#[test]
fn what_is_not_known_does_not_slip_through() {
    let cli = cli();
    let path = write(&cli, "report", trivy(&["UNKNOWN", "none"]).to_string().as_bytes());
    answer(&cli, &path, 0, &["--max-critical", "0"]);
    answer(&cli, &path, 20, &["--max-high", "0"]);
    answer(&cli, &path, 0, &["--max-high", "0", "--max-unknown", "1"]);
    answer(&cli, &path, 20, &["--max-low", "0"]);
    answer(&cli, &path, 0, &["--max-low", "0", "--max-negligible", "1"]);
}

#[test]
fn texts() {
    let cli = cli();
    let mut text = String::new();
    let mut show = |name: &str, content: &str, more: &[&str]| {
        let path = write(&cli, name, content.as_bytes());
        let ran = gate(&cli, &path, more);
        let more = more.iter().fold(String::new(), |all, arg| all + " " + arg);
        let more = more.replace(cli.folder.path().to_str().unwrap(), "$DIR");
        let _ = writeln!(
            text,
            "$ bulla gate --report {name}{more}\n[{}]\n{}{}",
            ran.code, ran.stdout, ran.stderr
        );
    };
    let report = trivy(&["CRITICAL", "HIGH", "HIGH", "low", "\u{1b}[2J"]);
    let changed = |name: &str, value: Value| {
        let mut changed = report.clone();
        changed[name] = value;
        changed.to_string()
    };
    let good = report.to_string();
    show("good.json", &good, &["--digest", IMAGE, "--max-critical", "1"]);
    show(
        "good.json",
        &good,
        &["--digest", IMAGE, "--max-critical", "0", "--max-high", "2", "--max-low", "1"],
    );
    show("good.json", &good, &[]);
    show("good.json", &good, &["--quiet", "--type", "grype"]);
    show("good.json", &good, &["--digest", OTHER]);
    show("good.json", &good, &["--image", "reg.example.com/app:1"]);
    show("good.json", &good, &["--max-age", "24h"]);
    show("good.json", &good, &["--max-age", "soon"]);
    show("good.json", &good, &["--type", "html"]);
    show("image.json", &changed("Metadata", json!(null)), &["--digest", IMAGE]);
    show("timeless.json", &changed("CreatedAt", json!("")), &["--max-age", "24h"]);
    show("future.json", &changed("CreatedAt", json!("2999-01-02T03:04:05Z")), &[]);
    show("repository.json", &changed("ArtifactType", json!("repo\u{1b}[2J")), &[]);
    show("cluster.json", &changed("ClusterName", json!("c")), &[]);
    show("skipped.json", &changed("Results", json!(null)), &[]);
    show("shape.json", &changed("Results", json!({})), &[]);
    let suppressed = json!([{ "Class": "os-pkgs", "ExperimentalModifiedFindings": [{}, {}] }]);
    show("filtered.json", &changed("Results", suppressed), &[]);
    let more = json!([{ "Class": "os-pkgs", "Secrets": [{}], "Misconfigurations": [{ "Status": "FAIL" }] }]);
    show("more.json", &changed("Results", more), &["--digest", IMAGE]);
    show("cut.json", "{\n\"SchemaVersion\":", &[]);
    show("empty.json", "", &[]);
    show("old.json", "null", &[]);
    show("other.json", "{}", &[]);
    show("both.json", "{\"matches\": [], \"runs\": []}", &[]);
    show("twice.json", "{\"a\u{202e}\": 1, \"a\u{202e}\": 2}", &[]);
    show("envelope.json", "{\"payload\": \"\", \"payloadType\": \"application/vnd.in-toto+json\"}", &[]);
    show("sbom.json", "{\"spdxVersion\": \"SPDX-2.3\"}", &[]);
    show("bom.json", "{\"bomFormat\": \"CycloneDX\", \"vulnerabilities\": []}", &[]);
    show("vex.json", "{\"@context\": \"https://openvex.dev/ns/v0.2.0\"}", &[]);
    let predicate = json!({
        "scanner": { "result": report },
        "invocation": { "parameters": ["image", "--severity=HIGH,CRITICAL"] },
    });
    show("predicate.json", &predicate.to_string(), &["--max-medium", "1000"]);
    show("predicate.json", &predicate.to_string(), &["--digest", IMAGE]);
    let failed = json!({
        "version": "2.1.0",
        "runs": [{ "tool": { "driver": { "name": "t" } }, "invocations": [{ "executionSuccessful": false }] }],
    });
    show("failed.sarif", &failed.to_string(), &[]);
    let declared = ["--digest", IMAGE, "--scan-args", "--severity HIGH,CRITICAL"];
    show("good.json", &good, &[&declared[..], &["--max-critical", "1"]].concat());
    show("good.json", &good, &[&declared[..], &["--max-medium", "1"]].concat());
    show(
        "good.json",
        &good,
        &["--digest", IMAGE, "--max-total", "4", "--min-score", "90", "--count-by", "cve"],
    );
    show("good.json", &good, &["--max-secrets", "0"]);
    show("good.json", &good, &["--db-max-age", "48h"]);
    show("good.json", &good, &["--vex", "vex.json"]);
    let mut old = report.clone();
    old["Metadata"]["OS"] = json!({ "EOSL": true });
    show("system.json", &old.to_string(), &["--digest", IMAGE, "--deny-eol-os"]);
    let bytes = vex("CVE-2030-1", IMAGE).to_string();
    let path = write(&cli, "vex.json", bytes.as_bytes());
    let vex = ["--digest", IMAGE, "--max-total", "0", "--vex"];
    show("good.json", &good, &[&vex[..], &[path.to_str().unwrap()]].concat());
    for args in
        [&["gate", "--report", "absent.json", "--max-high", "0"][..], &["gate", "--report", "good.json"]]
    {
        let ran = cli.run(args);
        let _ = writeln!(text, "$ bulla {}\n[{}]\n{}{}", args.join(" "), ran.code, ran.stdout, ran.stderr);
    }
    insta::assert_snapshot!("gate", text);
}
