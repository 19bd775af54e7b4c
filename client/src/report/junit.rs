//! Verdicts as JUnit's XML, which every CI system shows: one test case for each check.

use bulla_keys_schema::policy::{Outcome, Verdict};

use super::line;
use super::policy::{PolicyVerdictReport, name_of, sentence};

/// A verdict as one suite; where several policies were asked, what all of them say.
pub(super) fn of_verdict(report: &PolicyVerdictReport) -> String {
    let mut counts = Counts { tests: 0, failures: 0, errors: 0, skipped: 0 };
    let mut cases = String::new();
    for verdict in report.verdicts() {
        add_cases(verdict, &mut counts, &mut cases);
    }
    suite(&report.image, counts, &report.judged_at, &cases)
}

fn add_cases(verdict: &Verdict, counts: &mut Counts, cases: &mut String) {
    let rule = verdict.rule.as_deref().unwrap_or("no rule");
    let class = escape(&format!("{}.{rule}", verdict.policy.name));
    for check in verdict.checks.iter().filter(|check| check.result != Outcome::NotApplicable) {
        let name = escape(&name_of(check));
        let words = escape(&sentence(check));
        counts.tests += 1;
        let outcome = match check.result {
            Outcome::Fail if !verdict.is_allowed() => {
                counts.failures += 1;
                format!("<failure type=\"{}\" message=\"{words}\"/>", check.id)
            }
            Outcome::Fail => {
                counts.skipped += 1;
                format!("<skipped message=\"audit mode: {words}\"/>")
            }
            Outcome::SkippedByException => {
                counts.skipped += 1;
                format!("<skipped message=\"exception: {words}\"/>")
            }
            Outcome::Pass | Outcome::NotApplicable => String::new(),
        };
        let case = format!("    <testcase classname=\"{class}\" name=\"{name}\">{outcome}</testcase>");
        line(cases, format_args!("{case}"));
    }
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
