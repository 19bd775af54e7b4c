//! What several policies say of one image: it may be used if all of them say so, and only for as long as
//! all of them do.

use bulla_keys_schema::policy::{CheckId, Verdict};

use super::Answer;

/// The answers of several policies as one.
#[derive(Clone, Debug)]
pub struct Together {
    /// The answer that decides: the first refusal, else that of the first policy.
    pub answer: Answer,
    /// What the other policies say.
    pub also: Vec<Verdict>,
}

/// Joins `answers`, which are about one image, in the order of their policies; nothing where there are
/// none.
///
/// # Errors
/// They are about different digests: the tag was moved between two of them. Neither was judged by all.
pub fn together(answers: Vec<Answer>) -> Result<Option<Together>, Moved> {
    let refusal = answers.iter().position(|answer| !answer.verdict.is_allowed());
    let (reference, offline) = (reference(&answers), answers.iter().find_map(|one| one.offline.clone()));
    let valid_until = answers.iter().map(|one| one.verdict.valid_until).min().flatten();
    let mut rest = answers;
    if rest.is_empty() {
        return Ok(None);
    }
    let mut answer = rest.remove(refusal.unwrap_or(0));
    if refusal.is_none() {
        answer.reference = reference?;
        answer.verdict.valid_until = valid_until;
        answer.offline = offline;
    }
    answer.notes.extend(rest.iter_mut().flat_map(|other| std::mem::take(&mut other.notes)));
    answer.notes.sort();
    answer.notes.dedup();
    Ok(Some(Together { answer, also: rest.into_iter().map(|other| other.verdict).collect() }))
}

/// The one reference that all of them mean.
fn reference(answers: &[Answer]) -> Result<Option<String>, Moved> {
    let mut references = answers.iter().filter_map(|answer| answer.reference.as_ref());
    let Some(first) = references.next() else { return Ok(None) };
    match references.find(|other| *other != first) {
        None => Ok(Some(first.clone())),
        Some(other) => Err(Moved { one: first.clone(), other: other.clone() }),
    }
}

/// Two policies judged two images.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("while it was judged, the tag meant {one}, and {other}")]
pub struct Moved {
    /// What one of them judged.
    pub one: String,
    /// What another did.
    pub other: String,
}

impl Moved {
    /// The refusal, where the tag does not come to rest.
    #[must_use]
    pub fn verdict(&self, policy: &str) -> Verdict {
        Verdict::refused_by(policy, CheckId::TagMismatch, &self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use bulla_keys_schema::policy::Decision;
    use bulla_keys_schema::time::UtcTime;

    use super::*;

    fn at(second: i64) -> UtcTime {
        UtcTime::from_unix_seconds(second).unwrap()
    }

    fn answer(policy: &str, digit: char, until: Option<i64>) -> Answer {
        let mut verdict = Verdict::refused_by(policy, CheckId::SignThreshold, "");
        verdict.checks.clear();
        verdict.decision = Decision::Allow;
        verdict.valid_until = until.map(at);
        let reference = Some(format!("r/a@sha256:{}", digit.to_string().repeat(64)));
        Answer { verdict, reference, judged_at: at(1), offline: None, notes: vec![] }
    }

    fn refused(policy: &str) -> Answer {
        let mut answer = answer(policy, 'a', Some(9));
        answer.verdict.decision = Decision::Deny;
        answer.reference = None;
        answer
    }

    #[test]
    fn one_refusal_is_enough_whichever_it_is() {
        for answers in [
            vec![refused("no"), answer("yes", 'a', Some(5))],
            vec![answer("yes", 'a', Some(5)), refused("no")],
            vec![answer("yes", 'a', Some(5)), refused("no"), refused("other")],
        ] {
            let joined = together(answers).unwrap().unwrap();
            assert!(!joined.answer.verdict.is_allowed());
            assert_eq!((joined.answer.verdict.policy.name.as_str(), joined.answer.reference), ("no", None));
        }
    }

    #[test]
    fn an_answer_lasts_as_long_as_the_shortest() {
        for (one, other, both) in [
            (Some(5), Some(7), Some(5)),
            (Some(7), Some(5), Some(5)),
            (None, Some(5), None),
            (Some(5), None, None),
        ] {
            let joined = together(vec![answer("a", 'a', one), answer("b", 'a', other)]).unwrap().unwrap();
            assert_eq!(joined.answer.verdict.valid_until, both.map(at));
            assert_eq!(joined.answer.verdict.policy.name, "a");
            assert_eq!(joined.also.len(), 1);
        }
    }

    #[test]
    fn nothing_is_allowed_that_was_not_judged_by_all() {
        assert!(together(vec![answer("a", 'a', None), answer("b", 'b', None)]).is_err());
        assert!(together(vec![answer("a", 'a', None), refused("b")]).is_ok());
        assert!(together(vec![]).unwrap().is_none());
    }
}
