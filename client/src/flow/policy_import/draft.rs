//! A policy of ours on its way out of one of another tool.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::Trust;

/// Rules, and what could not be said in them.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// What the source is.
    pub(super) origin: &'static str,
    pub(super) rules: Vec<Rule>,
    /// Scopes whose images the source refuses, inside of wider ones that it does not.
    pub(super) rejected: Vec<String>,
    /// Whether all rules for an image must hold, where ours has one rule for each.
    pub(super) all_rules_hold: bool,
    /// What could not be expressed, and belongs to no rule.
    pub(super) faults: Vec<String>,
    /// What is different and not weaker.
    pub(super) notes: Vec<String>,
}

/// One rule.
#[derive(Debug, Default)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) scopes: Vec<String>,
    pub(super) signers: Signers,
    pub(super) attestations: Vec<Attestation>,
    /// What the rule cannot say: with one of them, it would be weaker than the source.
    pub(super) faults: Vec<String>,
}

/// Who has to sign.
#[derive(Debug, Default)]
pub(super) enum Signers {
    /// Nobody.
    #[default]
    None,
    /// This many of them, and these in any case.
    Of { names: Vec<String>, threshold: u64, must_include: Vec<String> },
}

/// An attestation that has to be there.
#[derive(Debug)]
pub(super) struct Attestation {
    pub(super) name: String,
    /// `type = "vulns"`, or the predicate with its URI.
    pub(super) what: What,
    pub(super) signers: Vec<String>,
}

/// Of which type.
#[derive(Debug)]
pub(super) enum What {
    Type(&'static str),
    Predicate(String),
}

impl What {
    /// The type that is meant by a word or URI of other tools.
    pub(super) fn of(text: &str) -> Self {
        match text {
            "vuln"
            | "cosign.sigstore.dev/attestation/vuln/v1"
            | "https://cosign.sigstore.dev/attestation/vuln/v1" => Self::Type("vulns"),
            "cyclonedx" | "spdx" | "spdxjson" | "https://cyclonedx.org/bom" | "https://spdx.dev/Document" => {
                Self::Type("sbom")
            }
            "openvex" | "https://openvex.dev/ns" => Self::Type("vex"),
            "custom" => Self::Predicate("https://cosign.sigstore.dev/attestation/v1".to_owned()),
            "slsaprovenance" => Self::Predicate("https://slsa.dev/provenance/v0.2".to_owned()),
            "slsaprovenance1" => Self::Predicate("https://slsa.dev/provenance/v1".to_owned()),
            uri => Self::Predicate(uri.to_owned()),
        }
    }
}

impl Draft {
    /// Marks the rules that would let pass what the source refuses.
    pub(super) fn settle(&mut self) {
        for rejected in &self.rejected {
            for rule in &mut self.rules {
                if rule.scopes.iter().any(|scope| may_meet(scope, rejected)) {
                    rule.faults
                        .push(format!("the source refuses {rejected}, which this rule would let pass"));
                }
            }
        }
        if self.all_rules_hold {
            let scopes: Vec<Vec<String>> = self.rules.iter().map(|rule| rule.scopes.clone()).collect();
            for (at, rule) in self.rules.iter_mut().enumerate() {
                let others = scopes.iter().enumerate().filter(|(other, _)| *other != at);
                let meets = others
                    .flat_map(|(_, theirs)| theirs)
                    .find(|theirs| rule.scopes.iter().any(|scope| may_meet(scope, theirs)));
                if let Some(other) = meets {
                    rule.faults.push(format!(
                        "in the source, the rule for {other} has to hold as well; here one rule is chosen"
                    ));
                }
            }
        }
        while self.spread_faults() {}
        let mut names = BTreeSet::new();
        for rule in &mut self.rules {
            let plain = word(&rule.name);
            let mut name = plain.clone();
            let mut number = 2_u32;
            while !names.insert(name.clone()) {
                name = format!("{plain}-{number}");
                number += 1;
            }
            rule.name = name;
        }
    }

    /// Where a rule becomes a comment, a wider one would be chosen for its images. Says whether
    /// another rule was marked.
    fn spread_faults(&mut self) -> bool {
        let faulty = self.rules.iter().filter(|rule| !rule.faults.is_empty());
        let faulty: Vec<String> = faulty.flat_map(|rule| rule.scopes.clone()).collect();
        let mut marked = false;
        for rule in self.rules.iter_mut().filter(|rule| rule.faults.is_empty()) {
            let wider = |scope: &String| {
                let inside =
                    |inner: &&String| scope.contains('*') && literal(inner).starts_with(literal(scope));
                faulty.iter().find(inside)
            };
            if let Some(inner) = rule.scopes.iter().find_map(wider) {
                rule.faults.push(format!("it would be chosen for {inner} in place of the rule for that"));
                marked = true;
            }
        }
        marked
    }

    /// Everything that could not be expressed.
    pub(super) fn problems(&self) -> Vec<String> {
        let of_rules = self
            .rules
            .iter()
            .flat_map(|rule| rule.faults.iter().map(|fault| format!("rule {}: {fault}", rule.name)));
        self.faults.iter().cloned().chain(of_rules).collect()
    }

    /// The policy.
    pub(super) fn write(&self, name: &str, trust: &Trust) -> String {
        let mut out = String::new();
        line(&mut out, &format!("# Made from {}.", self.origin));
        self.faults.iter().for_each(|fault| line(&mut out, &format!("# ERROR: {}", one_line(fault))));
        self.notes.iter().for_each(|note| line(&mut out, &format!("# note: {}", one_line(note))));
        line(&mut out, "policy = 1");
        line(&mut out, &format!("name = {}", quoted(&word(name))));
        line(&mut out, "default = \"deny\"");
        for scope in self.trusted() {
            line(&mut out, "");
            line(&mut out, &format!("[trust.{}]", quoted(&scope)));
            if let Some(server) = &trust.server {
                line(&mut out, &format!("server = {}", quoted(server)));
            }
            if trust.root_keys.is_empty() {
                line(&mut out, "# ERROR: name the root keys; no file of another tool has them");
            }
            let keys: Vec<String> = trust.root_keys.iter().map(|key| format!("sha256:{key}")).collect();
            line(&mut out, &format!("root_keys = {}", list(&keys)));
            line(&mut out, &format!("root_threshold = {}", trust.root_threshold));
        }
        for rule in &self.rules {
            out.push('\n');
            let text = rule.write();
            for fault in &rule.faults {
                line(&mut out, &format!("# ERROR: {}", one_line(fault)));
            }
            let lead = if rule.faults.is_empty() { "" } else { "# " };
            text.lines().for_each(|text| line(&mut out, &format!("{lead}{text}")));
        }
        out
    }

    /// Whether a rule wants signatures, so that somebody has to be trusted.
    pub(super) fn needs_trust(&self) -> bool {
        !self.trusted().is_empty()
    }

    /// The hosts of which rules want signatures.
    fn trusted(&self) -> BTreeSet<String> {
        let signed =
            self.rules.iter().filter(|rule| rule.faults.is_empty() && !matches!(rule.signers, Signers::None));
        let host = |scope: &String| {
            let host = scope.split('/').next().unwrap_or_default();
            if host == "**" { "**".to_owned() } else { format!("{host}/**") }
        };
        signed.flat_map(|rule| rule.scopes.iter().map(host)).collect()
    }
}

impl Rule {
    fn write(&self) -> String {
        let mut out = String::new();
        line(&mut out, "[[rule]]");
        line(&mut out, &format!("name = {}", quoted(&self.name)));
        line(&mut out, &format!("match = {}", list(&self.scopes)));
        line(&mut out, "");
        line(&mut out, "[rule.signing]");
        match &self.signers {
            Signers::None => line(&mut out, "required = false"),
            Signers::Of { names, threshold, must_include } => {
                line(&mut out, "required = true");
                line(&mut out, &format!("signers = {}", list(names)));
                line(&mut out, &format!("threshold = {threshold}"));
                if !must_include.is_empty() {
                    line(&mut out, &format!("must_include = {}", list(must_include)));
                }
            }
        }
        for attestation in &self.attestations {
            line(&mut out, "");
            line(&mut out, "[[rule.attestation]]");
            line(&mut out, &format!("name = {}", quoted(&attestation.name)));
            match &attestation.what {
                What::Type(kind) => line(&mut out, &format!("type = {}", quoted(kind))),
                What::Predicate(uri) => line(&mut out, &format!("predicate = {}", quoted(uri))),
            }
            line(&mut out, &format!("signers = {}", list(&attestation.signers)));
        }
        out
    }
}

/// A repository, or all below a name, as other tools write it: with the tag of any image.
pub(super) fn scope(pattern: &str) -> Result<String, String> {
    let (name, tag) = match pattern.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') && !is_port(name, tag) => (name, Some(tag)),
        _ => (pattern, None),
    };
    if name.contains('@') {
        return Err(format!("{pattern:?} is for one digest"));
    }
    if let Some(tag) = tag.filter(|tag| *tag != "*") {
        return Err(format!("{pattern:?} is for the tag {tag:?} alone"));
    }
    // There, a star also stands for names with slashes.
    let name = match name.strip_suffix("/*") {
        Some(head) => format!("{head}/**"),
        None if name == "*" => "**".to_owned(),
        None => name.to_owned(),
    };
    Ok(if name.contains('/') || name == "**" { name } else { format!("docker.io/library/{name}") })
}

/// Whether what follows the colon belongs to the host.
fn is_port(name: &str, tag: &str) -> bool {
    !name.contains('/') && !tag.is_empty() && tag.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether some repository may be in both: says so where it cannot tell.
fn may_meet(one: &str, other: &str) -> bool {
    let (a, b) = (literal(one), literal(other));
    match (one.contains('*'), other.contains('*')) {
        (false, false) => one == other,
        (true, false) => other.starts_with(a),
        (false, true) => one.starts_with(b),
        (true, true) => a.starts_with(b) || b.starts_with(a),
    }
}

/// What stands before the first star.
fn literal(scope: &str) -> &str {
    scope.split('*').next().unwrap_or_default()
}

/// A text as a name that rules and signers may have.
pub(super) fn word(text: &str) -> String {
    let plain: String = text
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c) { c } else { '-' })
        .take(60)
        .collect();
    let plain = plain.trim_matches(|c| "._-".contains(c));
    if plain.is_empty() { "imported".to_owned() } else { plain.to_owned() }
}

fn quoted(text: &str) -> String {
    toml::Value::from(one_line(text)).to_string()
}

fn list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

/// A comment ends with its line, and so would whatever the source hid behind a line end.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn line(out: &mut String, text: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(out, "{text}");
}
