//! From what a file says to what it means. Whatever could be understood in two ways, or would
//! silently do nothing, is refused here.

use std::collections::{BTreeMap, BTreeSet};

use super::file::{DefaultWord, ExceptionEntry, File, ModeWord, Moment, RegistriesEntry, Text, TrustEntry};
use super::glob::RegistryPattern;
use super::invalid::{Fault, Place, PolicyError};
use super::rules::{Exception, Mode, Policy, Rule, Trust, TrustPin};
use super::units::Span;
use super::{CheckId, Scope};
use crate::key::Fingerprint;
use crate::limits::POLICY_PATTERNS;
use crate::names::SignerName;
use crate::time::UtcTime;

mod attestation;
mod rule;

use rule::rule;

/// The format that this program reads.
const FORMAT: u64 = 1;
/// Longest text, in characters.
const TEXT: usize = 500;
/// How long an exception lasts at most, unless the file says otherwise, in days.
const EXCEPTION_DAYS: u64 = 90;

type Groups = BTreeMap<String, BTreeSet<SignerName>>;

impl Policy {
    /// Reads a policy in TOML, or in JSON of the same shape.
    ///
    /// # Errors
    /// Anything that is unknown, missing, there twice, or without a clear meaning. Nothing is ignored.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let file = File::parse(text)?;
        let top = Place::top;
        if file.policy != FORMAT {
            return Err(top("policy").is(Fault::Format { found: file.policy }));
        }
        check_text(&file.name, || top("name"))?;
        if file.version == Some(0) {
            return Err(top("version").is(Fault::Zero));
        }
        let default = default_mode(&file)?;
        let mode = file_mode(&file)?;
        let groups = groups(file.groups)?;
        let trust = trust(file.trust)?;
        let rules: Result<Vec<Rule>, PolicyError> =
            file.rule.into_iter().map(|entry| rule(entry, mode, &groups)).collect();
        let exception_max = file.exception_max.map_or(Span::days(EXCEPTION_DAYS), |Text(span)| span);
        let exceptions: Result<Vec<Exception>, PolicyError> =
            file.exception.into_iter().map(|entry| exception(entry, exception_max)).collect();
        let (allow, block) = registries(file.registries)?;
        let policy = Self {
            name: file.name,
            version: file.version,
            default,
            allow,
            block,
            trust,
            rules: rules?,
            exceptions: exceptions?,
            exception_max,
        };
        policy.check_names()?;
        policy.check_ties()?;
        policy.check_trust()?;
        Ok(policy)
    }

    fn check_names(&self) -> Result<(), PolicyError> {
        let mut rules = BTreeSet::new();
        if let Some(twice) = self.rules.iter().find(|rule| !rules.insert(&rule.name)) {
            return Err(Place::entry("rule", &twice.name).is(Fault::Twice));
        }
        let mut exceptions = BTreeSet::new();
        match self.exceptions.iter().find(|exception| !exceptions.insert(&exception.id)) {
            Some(twice) => Err(Place::entry("exception", &twice.id).is(Fault::Twice)),
            None => Ok(()),
        }
    }

    /// Two entries that are for one repository and as narrow as each other.
    fn check_ties(&self) -> Result<(), PolicyError> {
        let rules = self.rules.iter().flat_map(|rule| {
            rule.scopes.iter().map(|scope| (scope, Place::entry("rule", &rule.name), "match"))
        });
        find_tie(rules)?;
        find_tie(
            self.trust
                .iter()
                .map(|trust| (&trust.scope, Place::entry("trust", trust.scope.as_str()), "scope")),
        )
    }

    /// Rules that need a root, where no entry says which.
    fn check_trust(&self) -> Result<(), PolicyError> {
        for rule in self.rules.iter().filter(|rule| rule.needs_trust()) {
            let covered = |scope: &&Scope| self.trust.iter().any(|trust| trust.scope.covers(scope));
            if let Some(scope) = rule.scopes.iter().find(|scope| !covered(scope)) {
                let fault = Fault::NoTrust { scope: scope.to_string() };
                return Err(Place::entry("rule", &rule.name).at("match").is(fault));
            }
        }
        Ok(())
    }
}

fn find_tie<'a>(scopes: impl Iterator<Item = (&'a Scope, Place, &'static str)>) -> Result<(), PolicyError> {
    let mut known: BTreeMap<_, Vec<(&Scope, Place)>> = BTreeMap::new();
    for (number, (scope, place, member)) in scopes.enumerate() {
        if number >= POLICY_PATTERNS {
            return Err(place.at(member).is(Fault::TooMany));
        }
        let equals = known.entry(scope.specificity()).or_default();
        if let Some((other, owner)) =
            equals.iter().find(|(other, owner)| *owner != place && other.meets(scope))
        {
            let (scope, other) = (scope.to_string(), other.to_string());
            return Err(place.at(member).is(Fault::Tie { scope, other, owner: owner.to_string() }));
        }
        equals.push((scope, place));
    }
    Ok(())
}

fn check_text(text: &str, place: impl FnOnce() -> Place) -> Result<(), PolicyError> {
    let fits = !text.trim().is_empty() && text.chars().count() <= TEXT && !text.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(place().is(Fault::Text)) }
}

fn check_filled<T>(list: &[T], place: &Place, member: &str) -> Result<(), PolicyError> {
    if list.is_empty() { Err(place.at(member).is(Fault::Empty)) } else { Ok(()) }
}

fn default_mode(file: &File) -> Result<Mode, PolicyError> {
    match (file.default, file.audit_until) {
        (Some(DefaultWord::Audit), Some(Moment(until))) => Ok(Mode::Audit { until }),
        (Some(DefaultWord::Audit), None) => Err(Place::top("default").is(Fault::NoEnd)),
        (None | Some(DefaultWord::Deny), _) => Ok(Mode::Enforce),
    }
}

fn file_mode(file: &File) -> Result<Mode, PolicyError> {
    let is_audited = file.default == Some(DefaultWord::Audit);
    match (file.mode, file.audit_until) {
        (Some(ModeWord::Audit), Some(Moment(until))) => Ok(Mode::Audit { until }),
        (Some(ModeWord::Audit), None) => Err(Place::top("mode").is(Fault::NoEnd)),
        (_, Some(_)) if !is_audited => Err(Place::top("audit_until").is(Fault::NoAudit)),
        _ => Ok(Mode::Enforce),
    }
}

type Registries = (Option<Vec<RegistryPattern>>, Vec<RegistryPattern>);

fn registries(entry: RegistriesEntry) -> Result<Registries, PolicyError> {
    let allow = entry.allow.map(values);
    if let Some(allow) = &allow {
        check_filled(allow, &Place::top("registries"), "allow")?;
    }
    Ok((allow, values(entry.block)))
}

fn values<T>(texts: Vec<Text<T>>) -> Vec<T> {
    texts.into_iter().map(|Text(value)| value).collect()
}

fn groups(entries: BTreeMap<String, Vec<Text<SignerName>>>) -> Result<Groups, PolicyError> {
    let mut groups = Groups::new();
    for (name, members) in entries {
        let place = Place::entry("group", &name);
        if name.starts_with('@') {
            return Err(place.is(Fault::Signer { name }));
        }
        check_text(&name, || Place::top("groups"))?;
        check_filled(&members, &place, "members")?;
        groups.insert(name, values(members).into_iter().collect());
    }
    Ok(groups)
}

/// Names and groups, as the names that they mean.
fn signers(
    words: &[String],
    groups: &Groups,
    place: &Place,
    member: &str,
) -> Result<BTreeSet<SignerName>, PolicyError> {
    check_filled(words, place, member)?;
    let mut names = BTreeSet::new();
    for word in words {
        if let Some(group) = word.strip_prefix('@') {
            let members = groups
                .get(group)
                .ok_or_else(|| place.at(member).is(Fault::NoGroup { name: group.to_owned() }))?;
            names.extend(members.iter().cloned());
        } else {
            let name = word.parse().map_err(|_| place.at(member).is(Fault::Signer { name: word.clone() }))?;
            names.insert(name);
        }
    }
    Ok(names)
}

fn trust(entries: BTreeMap<String, TrustEntry>) -> Result<Vec<Trust>, PolicyError> {
    entries.into_iter().map(|(text, entry)| trust_entry(&text, entry)).collect()
}

fn trust_entry(text: &str, entry: TrustEntry) -> Result<Trust, PolicyError> {
    let place = Place::entry("trust", text);
    let scope: Scope =
        text.parse().map_err(|error| place.clone().is(Fault::Glob { text: text.to_owned(), error }))?;
    if let Some(server) = entry.server.as_ref().filter(|server| !is_address(server)) {
        return Err(place.at("server").is(Fault::Server { text: server.clone() }));
    }
    let metadata_max_age = entry.metadata_max_age.map(|Text(span)| span);
    let offline_grace = entry.offline_grace.map(|Text(span)| span);
    if metadata_max_age.is_none() && offline_grace.is_some() {
        return Err(place.at("offline_grace").is(Fault::Alone { other: "metadata_max_age" }));
    }
    let pin = match (entry.root, entry.root_keys, entry.root_threshold) {
        (Some(_), None, None) if scope.repository().is_none() => {
            return Err(place.at("root").is(Fault::RootOfMany));
        }
        (Some(root), None, None) => TrustPin::Root(root.0),
        (None, Some(keys), Some(threshold)) => root_keys(values(keys), threshold, &place)?,
        (Some(_), _, _) => return Err(place.is(Fault::Pin { found: "a root and keys of a root" })),
        (None, Some(_), None) => return Err(place.is(Fault::Pin { found: "keys without root_threshold" })),
        (None, None, Some(_)) => return Err(place.is(Fault::Pin { found: "root_threshold without keys" })),
        (None, None, None) => return Err(place.is(Fault::Pin { found: "nothing" })),
    };
    Ok(Trust { scope, server: entry.server, pin, metadata_max_age, offline_grace })
}

fn root_keys(listed: Vec<Fingerprint>, threshold: usize, place: &Place) -> Result<TrustPin, PolicyError> {
    check_filled(&listed, place, "root_keys")?;
    let available = listed.len();
    let keys: BTreeSet<Fingerprint> = listed.into_iter().collect();
    if keys.len() != available {
        return Err(place.at("root_keys").is(Fault::Twice));
    }
    check_threshold(threshold, available, place, "root_threshold")?;
    Ok(TrustPin::RootKeys { keys, threshold })
}

fn check_threshold(
    threshold: usize,
    available: usize,
    place: &Place,
    member: &str,
) -> Result<(), PolicyError> {
    match threshold {
        0 => Err(place.at(member).is(Fault::Zero)),
        _ if threshold > available => Err(place.at(member).is(Fault::Threshold { threshold, available })),
        _ => Ok(()),
    }
}

fn is_address(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        !rest.is_empty()
            && !rest.starts_with(['/', ':', '?', '#'])
            && !rest.contains(['@', '?', '#', '\\'])
            && rest.chars().all(|c| c.is_ascii_graphic())
    })
}

fn exception(entry: ExceptionEntry, most: Span) -> Result<Exception, PolicyError> {
    let place = Place::entry("exception", &entry.id);
    check_text(&entry.id, || Place::top("exception").at("id"))?;
    check_text(&entry.reason, || place.at("reason"))?;
    check_text(&entry.approved_by, || place.at("approved_by"))?;
    check_filled(&entry.scopes, &place, "match")?;
    check_filled(&entry.checks, &place, "checks")?;
    if let Some(ticket) = &entry.ticket {
        check_text(ticket, || place.at("ticket"))?;
    }
    let checks: BTreeSet<CheckId> = values(entry.checks).into_iter().collect();
    if let Some(check) = checks.iter().find(|check| !check.can_be_excepted()) {
        return Err(place.at("checks").is(Fault::Protected { check: check.as_str() }));
    }
    if let Some(names) = &entry.vulnerabilities {
        check_filled(names, &place, "vulnerabilities")?;
        for name in names {
            check_text(name, || place.at("vulnerabilities"))?;
        }
        if let Some(check) = checks.iter().find(|check| !check.counts_vulnerabilities()) {
            return Err(place.at("checks").is(Fault::CountsNothing { check: check.as_str() }));
        }
    }
    let (created, expires) = (entry.created.map(|Moment(at)| at), entry.expires.0);
    check_length(created, expires, most, &place)?;
    Ok(Exception {
        id: entry.id,
        scopes: values(entry.scopes),
        checks,
        vulnerabilities: entry.vulnerabilities.unwrap_or_default().into_iter().collect(),
        created,
        expires,
        reason: entry.reason,
        approved_by: entry.approved_by,
        ticket: entry.ticket,
    })
}

/// The length of an exception that says when it was made. Of one that does not, only its last days
/// count: see [`Exception::void_at`].
fn check_length(
    created: Option<UtcTime>,
    expires: UtcTime,
    most: Span,
    place: &Place,
) -> Result<(), PolicyError> {
    let Some(created) = created else { return Ok(()) };
    let seconds = expires.seconds_since(created);
    if seconds <= 0 {
        return Err(place.at("expires").is(Fault::Backwards));
    }
    if seconds > most.seconds() {
        let days = |seconds: i64| seconds / Span::days(1).seconds();
        let fault = Fault::TooLong { days: days(seconds), most: days(most.seconds()) };
        return Err(place.at("expires").is(fault));
    }
    Ok(())
}
