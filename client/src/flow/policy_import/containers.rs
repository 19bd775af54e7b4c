//! `policy.json` of podman, skopeo and CRI-O: lists of requirements for the most specific scope.

use serde_json::Value;

use super::draft::{Draft, Rule, Signers, word};
use super::texts;

/// Members of a requirement that are read here.
const KNOWN: [&str; 8] =
    ["type", "keyPath", "keyPaths", "keyData", "keyDatas", "keyType", "signedIdentity", "rekorPublicKeyPath"];

pub(super) fn read(file: &Value) -> Draft {
    let mut draft = Draft { origin: "policy.json of containers", ..Draft::default() };
    scope(&mut draft, "**", file.get("default"));
    let transports = file.get("transports").and_then(Value::as_object);
    for (transport, scopes) in transports.into_iter().flatten() {
        if transport != "docker" {
            draft.notes.push(format!("transport {transport} is not about registries, and left out"));
            continue;
        }
        for (name, requirements) in scopes.as_object().into_iter().flatten() {
            scope(&mut draft, name, Some(requirements));
        }
    }
    draft
}

fn scope(draft: &mut Draft, name: &str, requirements: Option<&Value>) {
    let Some(requirements) = requirements.and_then(Value::as_array) else {
        draft.faults.push(format!("scope {name:?} has no list of requirements"));
        return;
    };
    let (scopes, fault) = match scopes(name) {
        Ok(scopes) => (scopes, None),
        Err(fault) => (vec![name.to_owned()], Some(fault)),
    };
    let kinds: Vec<&str> = requirements.iter().filter_map(|entry| entry.get("type")?.as_str()).collect();
    if kinds.contains(&"reject") {
        if name != "**" && !name.is_empty() {
            draft.rejected.extend(scopes);
        }
        return;
    }
    let mut rule = Rule { name: word(name), scopes, ..Rule::default() };
    rule.faults.extend(fault);
    if requirements.is_empty() || kinds.len() != requirements.len() {
        rule.faults.push("a requirement has no type".to_owned());
    }
    if kinds.iter().any(|kind| *kind != "insecureAcceptAnything") {
        signing(&mut rule, requirements);
    }
    draft.rules.push(rule);
}

/// All requirements have to hold; each is met by any of its keys.
fn signing(rule: &mut Rule, requirements: &[Value]) {
    let mut groups: Vec<Vec<String>> = Vec::new();
    for entry in requirements {
        match entry.get("type").and_then(Value::as_str) {
            Some("sigstoreSigned" | "signedBy") => {}
            Some("insecureAcceptAnything") => continue,
            kind => {
                rule.faults.push(format!("a requirement of type {:?}", kind.unwrap_or_default()));
                continue;
            }
        }
        let members = entry.as_object().into_iter().flatten();
        for (name, _) in members.filter(|(name, _)| !KNOWN.contains(&name.as_str())) {
            rule.faults.push(format!("the requirement of {name}"));
        }
        if let Some(kind) = entry.pointer("/signedIdentity/type").and_then(Value::as_str)
            && !matches!(kind, "matchExact" | "matchRepoDigestOrExact" | "matchRepository")
        {
            rule.faults.push(format!("the identity {kind}: here a signature is for the repository it names"));
        }
        let paths = [texts(entry.get("keyPath")), texts(entry.get("keyPaths"))].concat();
        let inline = texts(entry.get("keyData")).len() + texts(entry.get("keyDatas")).len();
        let mut names: Vec<String> = paths.iter().map(|path| name_of(path)).collect();
        names.extend((1..=inline).map(|number| format!("{}-signer-{number}", word(&rule.name))));
        names.dedup();
        if names.is_empty() {
            rule.faults.push("a requirement names no key".to_owned());
        }
        groups.push(names);
    }
    let single: Vec<String> = groups.iter().filter(|group| group.len() == 1).flatten().cloned().collect();
    rule.signers = match groups.as_slice() {
        [only] => Signers::Of { names: only.clone(), threshold: 1, must_include: vec![] },
        groups if single.len() == groups.len() => {
            let threshold = groups.len() as u64;
            Signers::Of { names: single.clone(), threshold, must_include: single }
        }
        groups => {
            rule.faults.push("several requirements of several keys each".to_owned());
            Signers::Of { names: groups.concat(), threshold: 1, must_include: vec![] }
        }
    };
}

fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    word(file.split('.').next().unwrap_or(file))
}

/// The scopes of the docker transport: a host, a namespace, a repository, or one tag of it.
fn scopes(name: &str) -> Result<Vec<String>, String> {
    if name.is_empty() || name == "**" {
        return Ok(vec!["**".to_owned()]);
    }
    if name.contains('@')
        || name.rsplit('/').next().is_some_and(|last| name.contains('/') && last.contains(':'))
    {
        return Err("the scope is one tag or digest".to_owned());
    }
    if name.contains('/') {
        return Ok(vec![name.to_owned(), format!("{name}/**")]);
    }
    Ok(vec![format!("{name}/**")])
}
