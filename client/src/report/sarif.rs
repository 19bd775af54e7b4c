//! Verdicts as SARIF 2.1.0, which code hosts show: one result for each check that failed.

use std::collections::BTreeSet;

use bulla_keys_schema::policy::{Check, Outcome};
use serde_json::{Value, json};

use super::policy::{PolicyVerdictReport, name_of, sentence};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// A verdict as one run.
pub(super) fn of_verdict(report: &PolicyVerdictReport) -> Value {
    let failed: Vec<&Check> =
        report.verdict.checks.iter().filter(|check| check.result == Outcome::Fail).collect();
    let ids: BTreeSet<&str> = failed.iter().map(|check| check.id.as_str()).collect();
    let rules: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
    let results: Vec<Value> = failed.iter().map(|check| result(report, check)).collect();
    run(&rules, &results, &json!([{ "executionSuccessful": true }]))
}

/// An error: nothing was judged.
pub(super) fn of_error(message: &str) -> Value {
    let notification = json!({ "level": "error", "message": { "text": message } });
    let invocation = json!({ "executionSuccessful": false, "toolExecutionNotifications": [notification] });
    run(&[], &[], &json!([invocation]))
}

fn run(rules: &[Value], results: &[Value], invocations: &Value) -> Value {
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "bulla", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "invocations": invocations,
            "results": results,
        }],
    })
}

fn result(report: &PolicyVerdictReport, check: &Check) -> Value {
    let level = if report.is_enforced() { "error" } else { "warning" };
    let location = json!({
        "physicalLocation": { "artifactLocation": { "uri": format!("oci://{}", report.image) } },
        "logicalLocations": [{ "fullyQualifiedName": report.image, "kind": "resource" }],
    });
    json!({
        "ruleId": check.id.as_str(),
        "level": level,
        "message": { "text": format!("{}: {}", name_of(check), sentence(check)) },
        "locations": [location],
        "properties": {
            "policy": report.verdict.policy.name,
            "rule": report.verdict.rule,
            "limit": check.limit,
            "actual": check.actual,
            "evidence": check.evidence,
        },
    })
}
