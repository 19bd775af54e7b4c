//! The book that an evaluation writes: each check as it is made, what an exception did to it, and the
//! first moment at which any of it expires.

use super::CheckId;
use super::rules::{Exception, Mode, Policy};
use super::units::Span;
use super::verdict::{
    AppliedException, Check, Decision, Evidence, Outcome, PolicyIdentity, Quantity, Verdict,
};
use crate::attest::Finding;
use crate::digest::Sha256Digest;
use crate::names::RepositoryName;
use crate::time::UtcTime;

/// Seconds by which a clock that wrote a time may be ahead of ours.
pub(super) const SKEW: i64 = 300;

/// What was found out until now.
pub(super) struct Ledger<'a> {
    pub(super) now: UtcTime,
    exceptions: Vec<Held<'a>>,
    checks: Vec<Check>,
    until: Option<UtcTime>,
}

/// An exception for the repository in question.
struct Held<'a> {
    exception: &'a Exception,
    void: Option<String>,
    applied: bool,
}

impl<'a> Ledger<'a> {
    /// An empty book, with the exceptions for `repository`.
    pub(super) fn new(policy: &'a Policy, repository: &RepositoryName, now: UtcTime) -> Self {
        let fitting = policy
            .exceptions
            .iter()
            .filter(|exception| exception.scopes.iter().any(|scope| scope.matches(repository)));
        let held = fitting.map(|exception| Held {
            exception,
            void: exception.void_at(now, policy.exception_max),
            applied: false,
        });
        let held: Vec<Held<'a>> = held.collect();
        // The moment at which one comes into force changes the answer as well.
        let begins = held.iter().map(|held| {
            let last_days = held.exception.expires.plus_seconds(-policy.exception_max.seconds());
            held.exception.created.map_or(last_days, |created| created.plus_seconds(-SKEW))
        });
        let begins: Vec<UtcTime> = begins.collect();
        let mut ledger = Self { now, exceptions: held, checks: Vec::new(), until: None };
        begins.into_iter().for_each(|begin| ledger.expire(begin));
        ledger
    }

    /// A book for what has no repository.
    pub(super) const fn empty(now: UtcTime) -> Self {
        Self { now, exceptions: Vec::new(), checks: Vec::new(), until: None }
    }

    /// Notes that what is of `at` may be `seconds` old and no older.
    pub(super) fn expire_after(&mut self, at: UtcTime, seconds: i64) {
        self.expire(at.plus_seconds(seconds.saturating_add(1)));
    }

    /// Notes that the answer may be another one from `at` on.
    pub(super) fn expire(&mut self, at: UtcTime) {
        if !at.is_over(self.now) {
            self.until = Some(self.until.map_or(at, |until| until.min(at)));
        }
    }

    /// Notes that a check holds.
    pub(super) fn pass(&mut self, id: CheckId) {
        self.note(Check::new(id, true));
    }

    /// Notes that a check does not hold, and why. Gives back whether an exception lets it pass.
    pub(super) fn fail(&mut self, id: CheckId, why: impl Into<String>) -> bool {
        self.note(Check::new(id, false).saying(why))
    }

    /// Notes a check. Gives back whether it holds, or an exception says that it need not.
    pub(super) fn note(&mut self, mut check: Check) -> bool {
        if check.result == Outcome::Fail {
            let mut excused = None;
            for held in &mut self.exceptions {
                let exception = held.exception;
                let covers = held.void.is_none()
                    && exception.vulnerabilities.is_empty()
                    && exception.checks.contains(&check.id)
                    && check.id.can_be_excepted();
                if covers {
                    held.applied = true;
                    excused = excused.or(Some(exception));
                }
            }
            if let Some(exception) = excused {
                check.result = Outcome::SkippedByException;
                let detail = format!("{} (exception {})", check.detail, exception.id);
                detail.trim_start().clone_into(&mut check.detail);
                self.expire(exception.expires);
            }
        }
        let holds = matches!(check.result, Outcome::Pass | Outcome::SkippedByException);
        self.checks.push(check);
        holds
    }

    /// Whether an exception takes `finding` out of what `id` counts.
    pub(super) fn excepts(&self, id: CheckId, finding: &Finding) -> bool {
        self.exceptions.iter().any(|held| held.takes_out(id, finding))
    }

    /// Notes that the exceptions which take out any of `findings` were needed for `id`.
    pub(super) fn use_exceptions(&mut self, id: CheckId, findings: &[&Finding]) -> Vec<String> {
        let mut names = Vec::new();
        let mut ends = Vec::new();
        for held in &mut self.exceptions {
            if findings.iter().any(|finding| held.takes_out(id, finding)) {
                held.applied = true;
                names.push(held.exception.id.clone());
                ends.push(held.exception.expires);
            }
        }
        ends.into_iter().for_each(|end| self.expire(end));
        names
    }

    /// Closes the book.
    pub(super) fn close(
        mut self,
        policy: &Policy,
        rule: Option<(&str, Mode)>,
        digest: Option<Sha256Digest>,
    ) -> Verdict {
        let made = |id: &CheckId| self.checks.iter().any(|check| check.id == *id);
        let left: Vec<CheckId> = CheckId::ALL.iter().copied().filter(|id| !made(id)).collect();
        self.checks.extend(
            left.into_iter().map(|id| Check { result: Outcome::NotApplicable, ..Check::new(id, true) }),
        );
        self.checks.sort_by_key(|check| check.id);
        let failed = self.checks.iter().filter(|check| check.result == Outcome::Fail).map(|check| check.id);
        let mut failed: Vec<CheckId> = failed.collect();
        failed.dedup();
        let audit_until = match rule.map_or(policy.default, |(_, mode)| mode) {
            Mode::Audit { until } if !until.is_over(self.now) => Some(until),
            Mode::Audit { .. } | Mode::Enforce => None,
        };
        let only_reported =
            audit_until.is_some() && !failed.iter().any(|id| id.is_protected() || id.is_error());
        let allowed = failed.is_empty() || only_reported;
        if let Some(until) = audit_until {
            self.expire(until);
        }
        Verdict {
            decision: if allowed { Decision::Allow } else { Decision::Deny },
            digest,
            policy: PolicyIdentity { name: policy.name.clone(), version: policy.version },
            rule: rule.map(|(name, _)| name.to_owned()),
            checks: self.checks,
            exceptions: self.exceptions.into_iter().map(Held::report).collect(),
            would_deny: if allowed { failed } else { Vec::new() },
            audit_until,
            valid_until: self.until,
        }
    }
}

impl Held<'_> {
    fn takes_out(&self, id: CheckId, finding: &Finding) -> bool {
        self.void.is_none()
            && self.exception.checks.contains(&id)
            && self.exception.vulnerabilities.iter().any(|name| finding.is_called(name))
    }

    fn report(self) -> AppliedException {
        let Exception { id, expires, reason, approved_by, ticket, .. } = self.exception.clone();
        AppliedException { id, applied: self.applied, void: self.void, expires, reason, approved_by, ticket }
    }
}

impl Exception {
    /// Why it is not in force at `now`. One that does not say when it was made is in force for its last
    /// days alone, as many as it may last: it could have been made at any time.
    pub(super) fn void_at(&self, now: UtcTime, most: Span) -> Option<String> {
        if self.expires.is_over(now) {
            return Some(format!("it ended at {}", self.expires));
        }
        match self.created {
            Some(created) if created.seconds_since(now) > SKEW => {
                Some(format!("it was created at {created}, which is still to come"))
            }
            Some(_) => None,
            None if self.expires.seconds_since(now) > most.seconds() => {
                let days = most.seconds() / Span::days(1).seconds();
                Some(format!("it ends more than {days} days from now: say when it was created"))
            }
            None => None,
        }
    }
}

impl Check {
    /// A check that holds or not.
    pub(super) const fn new(id: CheckId, holds: bool) -> Self {
        let result = if holds { Outcome::Pass } else { Outcome::Fail };
        Self { id, result, detail: String::new(), limit: None, actual: None, evidence: Vec::new() }
    }

    /// With words.
    pub(super) fn saying(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// With what the policy asks for.
    pub(super) fn limit(mut self, limit: impl Into<Quantity>) -> Self {
        self.limit = Some(limit.into());
        self
    }

    /// With what there is.
    pub(super) fn actual(mut self, actual: impl Into<Quantity>) -> Self {
        self.actual = Some(actual.into());
        self
    }

    /// With what it was read from.
    pub(super) fn from(mut self, evidence: impl IntoIterator<Item = Evidence>) -> Self {
        self.evidence.extend(evidence);
        self
    }
}
