//! Policies of admission controllers, where every policy that is for an image has to hold:
//! `ClusterImagePolicy` of policy-controller, and `verifyImages` of Kyverno.

use serde_json::Value;

use super::draft::{self, Attestation, Draft, Rule, Signers, What, word};
use super::{items, texts};

/// `ClusterImagePolicy`: any authority of a policy is enough.
pub(super) fn cluster_image_policies(documents: &[Value]) -> Draft {
    let mut draft = Draft { origin: "ClusterImagePolicy", all_rules_hold: true, ..Draft::default() };
    for document in documents {
        let name = document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("policy");
        let mut rule = Rule { name: word(name), ..Rule::default() };
        for image in items(document.pointer("/spec/images")) {
            add_scope(&mut rule, image.get("glob").and_then(Value::as_str).unwrap_or_default());
        }
        if document.pointer("/spec/match").is_some() {
            draft.notes.push(format!("{name} is for some resources only; this policy is for all images"));
        }
        if document.pointer("/spec/mode").and_then(Value::as_str) == Some("warn") {
            draft.notes.push(format!("{name} only warns; this policy enforces"));
        }
        if document.pointer("/spec/policy").is_some() {
            rule.faults.push("a condition over all attestations in CUE or Rego".to_owned());
        }
        authorities(&mut draft, rule, items(document.pointer("/spec/authorities")));
    }
    draft
}

fn authorities(draft: &mut Draft, mut rule: Rule, authorities: &[Value]) {
    let action =
        |authority: &Value| authority.pointer("/static/action").and_then(Value::as_str).map(str::to_owned);
    if authorities.iter().any(|authority| action(authority).as_deref() == Some("pass")) {
        draft.rules.push(rule);
        return;
    }
    let real: Vec<&Value> = authorities.iter().filter(|authority| action(authority).is_none()).collect();
    if real.is_empty() {
        draft.rejected.append(&mut rule.scopes);
        return;
    }
    let mut names = Vec::new();
    for (number, authority) in real.iter().enumerate() {
        if authority.get("key").is_none() {
            rule.faults.push(
                "an authority without a key: keyless identities, time stamps or certificates".to_owned(),
            );
        }
        let name = authority.get("name").and_then(Value::as_str);
        names.push(name.map_or_else(|| format!("{}-{}", rule.name, number + 1), word));
        for attestation in items(authority.get("attestations")) {
            if real.len() > 1 {
                rule.faults.push("an attestation of one authority among several".to_owned());
            }
            let names = names.clone();
            add_attestation(&mut rule, attestation, "predicateType", &names);
            if attestation.get("policy").is_some() {
                rule.faults.push("a condition on an attestation in CUE or Rego".to_owned());
            }
        }
    }
    rule.signers = Signers::Of { names, threshold: 1, must_include: vec![] };
    draft.rules.push(rule);
}

/// Kyverno: all attestors of a rule, and of each as many entries as it counts.
pub(super) fn kyverno(documents: &[Value]) -> Draft {
    let mut draft = Draft { origin: "a policy of Kyverno", all_rules_hold: true, ..Draft::default() };
    for document in documents {
        for source in items(document.pointer("/spec/rules")) {
            let name = source.get("name").and_then(Value::as_str).unwrap_or("rule");
            if ["exclude", "preconditions"].iter().any(|member| source.get(*member).is_some()) {
                draft.notes.push(format!("{name} is for some resources only; this policy is for all images"));
            }
            if source.get("verifyImages").is_none() {
                draft.faults.push(format!("rule {name} is not about signatures of images"));
            }
            for entry in items(source.get("verifyImages")) {
                let audits = ["failureAction", "validationFailureAction"];
                let audits = audits.iter().any(|member| {
                    let word = entry.get(*member).or_else(|| document.get("spec")?.get(*member));
                    word.and_then(Value::as_str).is_some_and(|word| word.eq_ignore_ascii_case("audit"))
                });
                if audits {
                    draft.notes.push(format!("{name} only audits; this policy enforces"));
                }
                let rule = verify_images(name, entry);
                draft.rules.push(rule);
            }
        }
    }
    draft
}

fn verify_images(name: &str, entry: &Value) -> Rule {
    let mut rule = Rule { name: word(name), ..Rule::default() };
    for reference in texts(entry.get("imageReferences")) {
        add_scope(&mut rule, &reference);
    }
    if entry.get("skipImageReferences").is_some() {
        rule.faults.push("images that the rule skips".to_owned());
    }
    if entry.get("type").and_then(Value::as_str).is_some_and(|kind| kind != "Cosign") {
        rule.faults.push("signatures that are not those of cosign".to_owned());
    }
    let (signers, names) = attestors(&mut rule, items(entry.get("attestors")));
    for attestation in items(entry.get("attestations")) {
        let own = items(attestation.get("attestors"));
        let names = if own.is_empty() { names.clone() } else { attestors(&mut rule, own).1 };
        let member = if attestation.get("type").is_some() { "type" } else { "predicateType" };
        add_attestation(&mut rule, attestation, member, &names);
        if attestation.get("conditions").is_some() {
            rule.faults.push("a condition on an attestation".to_owned());
        }
    }
    if names.is_empty() {
        rule.faults.push("nobody is named who has to sign".to_owned());
    }
    rule.signers = signers;
    rule
}

fn attestors(rule: &mut Rule, attestors: &[Value]) -> (Signers, Vec<String>) {
    let (mut all, mut must_include, mut least) = (Vec::new(), Vec::new(), 0);
    for attestor in attestors {
        let mut names = Vec::new();
        for entry in items(attestor.get("entries")) {
            if entry.pointer("/keys").is_none() {
                rule.faults.push("an attestor without a key: keyless identities or certificates".to_owned());
            }
            let keys = entry.pointer("/keys/publicKeys").and_then(Value::as_str).unwrap_or_default();
            if keys.matches("-----BEGIN").count() > 1 {
                rule.faults.push("an attestor with several keys, of which one is enough".to_owned());
            }
            if entry.get("repository").is_some() || entry.get("annotations").is_some() {
                rule.faults.push("an attestor with annotations, or with another repository".to_owned());
            }
            names.push(format!("{}-{}", rule.name, all.len() + names.len() + 1));
        }
        let count = attestor.get("count").and_then(Value::as_u64).unwrap_or(names.len() as u64);
        if count == names.len() as u64 {
            must_include.extend(names.iter().cloned());
        } else if attestors.len() > 1 {
            rule.faults.push("several attestors, of which one counts some of its entries".to_owned());
        }
        least += count;
        all.extend(names);
    }
    (Signers::Of { names: all.clone(), threshold: least.max(1), must_include }, all)
}

fn add_scope(rule: &mut Rule, pattern: &str) {
    match draft::scope(pattern) {
        Ok(scope) => rule.scopes.push(scope),
        Err(fault) => {
            rule.scopes.push(pattern.to_owned());
            rule.faults.push(fault);
        }
    }
}

fn add_attestation(rule: &mut Rule, attestation: &Value, member: &str, signers: &[String]) {
    let kind = attestation.get(member).and_then(Value::as_str).unwrap_or_default();
    let name = attestation.get("name").and_then(Value::as_str).unwrap_or(kind);
    if kind.is_empty() {
        rule.faults.push("an attestation without a type".to_owned());
    }
    let mut plain = word(name);
    if rule.attestations.iter().any(|known| known.name == plain) {
        plain = format!("{plain}-{}", rule.attestations.len() + 1);
    }
    rule.attestations.push(Attestation { name: plain, what: What::of(kind), signers: signers.to_vec() });
}
