//! Verdicts as SARIF 2.1.0, which code hosts show: one result for each check that failed.

use std::collections::BTreeSet;

use bulla_keys_schema::policy::{Check, Outcome, Verdict};
use serde_json::{Value, json};

use super::policy::{PolicyVerdictReport, name_of, sentence};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// A verdict as one run; where several policies were asked, what all of them say.
pub(super) fn of_verdict(report: &PolicyVerdictReport) -> Value {
    let failed = report.verdicts().flat_map(|verdict| {
        let failed = verdict.checks.iter().filter(|check| check.result == Outcome::Fail);
        failed.map(move |check| (verdict, check))
    });
    let failed: Vec<(&Verdict, &Check)> = failed.collect();
    let ids: BTreeSet<&str> = failed.iter().map(|(_, check)| check.id.as_str()).collect();
    let rules: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
    let results: Vec<Value> = failed.iter().map(|(verdict, check)| result(report, verdict, check)).collect();
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

fn result(report: &PolicyVerdictReport, verdict: &Verdict, check: &Check) -> Value {
    let level = if verdict.is_allowed() { "warning" } else { "error" };
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
            "policy": verdict.policy.name,
            "rule": verdict.rule,
            "limit": check.limit,
            "actual": check.actual,
            "evidence": check.evidence,
        },
    })
}
