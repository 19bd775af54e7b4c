//! Values of Connaisseur: a readable list of patterns, of which the most specific is chosen.

use std::collections::BTreeMap;

use serde_json::Value;

use super::draft::{self, Draft, Rule, Signers, word};
use super::{items, texts};

pub(super) fn read(values: &Value) -> Draft {
    let mut draft = Draft { origin: "values of Connaisseur", ..Draft::default() };
    let validators: BTreeMap<&str, &Value> = items(values.get("validators"))
        .iter()
        .filter_map(|validator| Some((validator.get("name")?.as_str()?, validator)))
        .collect();
    for entry in items(values.get("policy")) {
        pattern(&mut draft, &validators, entry);
    }
    if values.pointer("/features/detectionMode").and_then(Value::as_bool) == Some(true) {
        draft.notes.push("detection mode only warns; this policy enforces".to_owned());
    }
    draft
}

fn pattern(draft: &mut Draft, validators: &BTreeMap<&str, &Value>, entry: &Value) {
    let pattern = entry.get("pattern").and_then(Value::as_str).unwrap_or_default();
    let (scopes, fault) = match draft::scope(pattern) {
        Ok(scope) => (vec![scope], None),
        Err(fault) => (vec![pattern.to_owned()], Some(fault)),
    };
    let name = entry.get("validator").and_then(Value::as_str).unwrap_or("default");
    let validator = validators.get(name);
    let kind = validator.and_then(|validator| validator.get("type")?.as_str()).unwrap_or(name);
    let approves = validator.and_then(|validator| validator.get("approve")?.as_bool());
    let mut rule = Rule { name: word(pattern), scopes, ..Rule::default() };
    rule.faults.extend(fault);
    match (kind, approves) {
        ("static", Some(true)) | ("allow", _) => {}
        ("static", _) | ("deny", _) => {
            if pattern != "*:*" && pattern != "*" {
                draft.rejected.append(&mut rule.scopes);
            }
            return;
        }
        ("cosign" | "notaryv1" | "notation", _) => signing(&mut rule, validator, entry.get("with")),
        (kind, _) => rule.faults.push(format!("a validator of type {kind:?}")),
    }
    draft.rules.push(rule);
}

fn signing(rule: &mut Rule, validator: Option<&&Value>, with: Option<&Value>) {
    let with = |name: &str| with.and_then(|with| with.get(name));
    let roots = items(validator.and_then(|validator| validator.get("trustRoots")));
    for root in roots {
        if root.get("keyless").is_some() {
            rule.faults.push("a signer without a key of his own".to_owned());
        }
    }
    let all: Vec<String> =
        roots.iter().filter_map(|root| root.get("name")?.as_str()).map(str::to_owned).collect();
    let wanted = with("trustRoot").and_then(Value::as_str).unwrap_or("default");
    let chosen: Vec<String> =
        if wanted == "*" { all } else { all.into_iter().filter(|name| name == wanted).collect() };
    if chosen.is_empty() {
        rule.faults.push(format!("the validator has no trust root {wanted:?}"));
    }
    let required = texts(with("required"));
    let delegations = texts(with("delegations"));
    let (names, must_include) =
        if delegations.is_empty() { (chosen, required) } else { (delegations.clone(), delegations) };
    let (names, must_include) =
        (names.iter().map(|name| word(name)).collect::<Vec<_>>(), must_include.iter().map(|name| word(name)));
    let must_include: Vec<String> = must_include.collect();
    let least = if wanted == "*" { names.len() as u64 } else { 1 };
    let threshold = with("threshold").and_then(Value::as_u64).unwrap_or(least);
    let threshold = threshold.max(must_include.len() as u64).max(1);
    rule.signers = Signers::Of { names, threshold, must_include };
}
