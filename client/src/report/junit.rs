//! Verdicts as JUnit's XML, which every CI system shows: one test case for each check.

use bulla_keys_schema::policy::{Check, Outcome};

use super::line;
use super::policy::{PolicyVerdictReport, name_of, sentence};

/// A verdict as one suite.
pub(super) fn of_verdict(report: &PolicyVerdictReport) -> String {
    let verdict = &report.verdict;
    let made: Vec<&Check> =
        verdict.checks.iter().filter(|check| check.result != Outcome::NotApplicable).collect();
    let is_failure = |check: &&&Check| check.result == Outcome::Fail && report.is_enforced();
    let failures = made.iter().filter(is_failure).count();
    let is_skipped = |check: &&&Check| check.result != Outcome::Pass && !is_failure(check);
    let skipped = made.iter().filter(is_skipped).count();
    let rule = verdict.rule.as_deref().unwrap_or("no rule");
    let class = escape(&format!("{}.{rule}", verdict.policy.name));
    let mut cases = String::new();
    for check in &made {
        let name = escape(&name_of(check));
        let words = escape(&sentence(check));
        let outcome = match check.result {
            Outcome::Fail if report.is_enforced() => {
                format!("<failure type=\"{}\" message=\"{words}\"/>", check.id)
            }
            Outcome::Fail => format!("<skipped message=\"audit mode: {words}\"/>"),
            Outcome::SkippedByException => format!("<skipped message=\"exception: {words}\"/>"),
            Outcome::Pass | Outcome::NotApplicable => String::new(),
        };
        let case = format!("    <testcase classname=\"{class}\" name=\"{name}\">{outcome}</testcase>");
        line(&mut cases, format_args!("{case}"));
    }
    let counts = Counts { tests: made.len(), failures, errors: 0, skipped };
    suite(&report.image, counts, &report.judged_at, &cases)
}

/// An error: nothing was judged.
pub(super) fn of_error(message: &str) -> String {
    let words = escape(message);
    let case = format!(
        "    <testcase classname=\"bulla\" name=\"internal\"><error type=\"internal\" message=\"{words}\"/></testcase>\n"
    );
    suite("bulla", Counts { tests: 1, failures: 0, errors: 1, skipped: 0 }, "", &case)
}

#[derive(Clone, Copy)]
struct Counts {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
}

fn suite(name: &str, counts: Counts, at: &str, cases: &str) -> String {
    let Counts { tests, failures, errors, skipped } = counts;
    let sums = format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\"");
    let at = at.trim_end_matches('Z');
    let at = if at.is_empty() { String::new() } else { format!(" timestamp=\"{at}\"") };
    let name = escape(name);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"bulla\" {sums}>\n  \
         <testsuite name=\"{name}\" {sums}{at}>\n{cases}  </testsuite>\n</testsuites>\n"
    )
}

/// A text between quotes of XML 1.0, which has no place for most control characters.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c if c.is_control() => escaped.extend(c.escape_default()),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_others_stay_between_the_quotes() {
        assert_eq!(escape("a\"/><x y='&'>\n\u{0}"), "a&quot;/&gt;&lt;x y=&apos;&amp;&apos;&gt;\\n\\u{0}");
    }

    #[test]
    fn an_error_is_no_pass() {
        let text = of_error("cannot <reach> it");
        assert!(text.contains("errors=\"1\"") && text.contains("cannot &lt;reach&gt; it"), "{text}");
    }
}
