//! Where text goes: answers to stdout, words to stderr, nothing mixed.

#![expect(clippy::print_stderr, reason = "this room is the one that prints")]

use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::Value;

use crate::config::OutputFormat;

/// An answer of a command.
pub trait Report: Serialize {
    /// Names the form of the JSON answer; a change of its meaning changes the number.
    const SCHEMA: &'static str;

    /// The answer for people, with the last line end.
    fn text(&self) -> String;

    /// The answer in JUnit's XML, where it is a verdict.
    fn junit(&self) -> Option<String> {
        None
    }

    /// The answer in SARIF, where it is a verdict.
    fn sarif(&self) -> Option<Value> {
        None
    }
}

/// How and how much to print.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    format: OutputFormat,
    quiet: bool,
}

impl Output {
    /// Prints in `format`; with `quiet`, only answers, warnings and errors.
    #[must_use]
    pub const fn new(format: OutputFormat, quiet: bool) -> Self {
        Self { format, quiet }
    }

    /// Whether answers are JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.format == OutputFormat::Json
    }

    /// Whether answers are for people.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.format == OutputFormat::Text
    }

    /// Prints the answer.
    ///
    /// # Errors
    /// stdout cannot be written. A reader that has seen enough and left is no error.
    pub fn answer<R: Report>(&self, report: &R) -> io::Result<()> {
        match self.format {
            OutputFormat::Text => print(words(&report.text()).as_bytes()),
            OutputFormat::Json => self.json(report),
            OutputFormat::Junit => print(report.junit().ok_or_else(no_form)?.as_bytes()),
            OutputFormat::Sarif => print_json(&report.sarif().ok_or_else(no_form)?),
        }
    }

    /// Prints the answer as JSON whatever the format.
    ///
    /// # Errors
    /// As for [`Self::answer`].
    pub fn json<R: Report>(&self, report: &R) -> io::Result<()> {
        print_json(&Versioned { schema: R::SCHEMA, report })
    }

    /// Prints bytes as they are.
    ///
    /// # Errors
    /// As for [`Self::answer`].
    pub fn raw(&self, bytes: &[u8]) -> io::Result<()> {
        print(bytes)
    }

    /// Shows a report that a question follows, so that stdout keeps one answer.
    pub fn show<R: Report>(&self, report: &R) {
        eprintln!("{}", words(&report.text()));
    }

    /// Says something that is no answer.
    pub fn say(&self, text: &str) {
        if !self.quiet && self.is_text() {
            eprintln!("{}", words(text));
        }
    }

    /// Says something that must not be missed.
    pub fn warn(&self, text: &str) {
        eprintln!("warning: {}", words(text));
    }

    /// Says why the command failed.
    pub fn fail<R: Report>(&self, report: &R) {
        eprint!("{}", words(&report.text()));
    }

    /// Shows that something is going on, while a person is looking on.
    #[must_use]
    pub fn busy(&self, words: &'static str) -> Busy {
        if self.quiet || !self.is_text() || !io::stderr().is_terminal() {
            return Busy(None);
        }
        let bar = ProgressBar::new_spinner().with_message(words);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Busy(Some(bar))
    }
}

/// A sign of activity that goes away with this value.
#[derive(Debug)]
pub struct Busy(Option<ProgressBar>);

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

#[derive(Serialize)]
struct Versioned<'a, R> {
    schema: &'static str,
    #[serde(flatten)]
    report: &'a R,
}

/// Servers, registries and signers put words of theirs into ours: none of them gets to talk to
/// the terminal.
fn words(text: &str) -> String {
    plain(text, |c| c.escape_default().to_string())
}

/// `text` with every control character but line ends and tabs, and every hidden one, written by
/// `escape`. In JSON, where only strings can hold them, `\uXXXX` says the same.
fn plain(text: &str, escape: impl Fn(char) -> String) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => plain.push(c),
            c if c.is_control() || is_hidden(c) => plain.push_str(&escape(c)),
            c => plain.push(c),
        }
    }
    plain
}

/// What turns the direction of writing, or shows as nothing: the names of roles may hold it, and who
/// is asked to sign must not see another name than there is.
const fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn print_json<T: Serialize>(value: &T) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    print(plain(&text, |c| format!("\\u{:04x}", u32::from(c))).as_bytes())
}

fn no_form() -> io::Error {
    io::Error::new(ErrorKind::Unsupported, "this answer has no such form")
}

fn print(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_written_out() {
        assert_eq!(words("ali\u{200b}ce \u{202e}toor"), "ali\\u{200b}ce \\u{202e}toor");
        let json = plain("\"ali\u{feff}ce\"", |c| format!("\\u{:04x}", u32::from(c)));
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), "ali\u{feff}ce");
    }

    #[test]
    fn control_characters_are_written_out() {
        assert_eq!(words("two\tcolumns\n"), "two\tcolumns\n");
        assert_eq!(words("a\u{1b}[2J\u{9b}\u{7f}\r\n\u{e9}"), "a\\u{1b}[2J\\u{9b}\\u{7f}\\r\n\u{e9}");
    }
}
