//! One hostile upload, and what has to become of it.

use bulla_tests::legacy::{File, refusal};
use reqwest::Response;

use crate::insider::Insider;
use crate::site::{Reader, Site};

/// What the server has to say.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// It takes the upload: this looks odd and harms nobody.
    Taken,
    /// The name of the detail that old clients know, and a part of the text that they show.
    Refused(&'static str, &'static str),
    /// Another code than `INVALID_UPDATE`: nothing that an old client can send.
    Code(&'static str),
}

/// A name, what is sent in the state as it is, and the answer.
pub(crate) type Case = (&'static str, fn(&Insider) -> Vec<File>, Answer);

/// Sends each upload to the repository of `insider`. After each one everybody reads the
/// repository as before, or as it is now, and an honest publication works.
pub(crate) async fn try_all(site: &Site, insider: &mut Insider, cases: &[Case]) {
    let mut reader = Reader::of(&insider.gun);
    let mut wrong = Vec::new();
    for (number, (what, make, expected)) in cases.iter().enumerate() {
        let files = make(insider);
        let answer = site.post(&insider.gun, &files).await;
        let is_taken = answer.status() == 200;
        wrong.extend(judge(what, answer, *expected).await.err());
        if is_taken {
            insider.accepted(files);
        }
        site.is_readable(insider, &mut reader).await;
        let roles = [["targets"], ["targets/releases"], ["targets/alice"]];
        let honest = insider.tagged(&roles[number % 3], &format!("v{}", number + 1));
        site.publish(insider, honest).await;
    }
    site.is_readable(insider, &mut reader).await;
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Checks one answer. A refusal is one error of at most 1024 bytes, which nothing can break
/// that prints it.
///
/// # Errors
/// Another answer than `expected`.
pub(crate) async fn judge(what: &str, answer: Response, expected: Answer) -> Result<(), String> {
    if answer.status() == 200 {
        let text = answer.text().await.unwrap();
        let is_right = text.is_empty() && matches!(expected, Answer::Taken);
        return is_right.then_some(()).ok_or_else(|| format!("{what}: 200 {text}"));
    }
    let (status, code, detail) = refusal(answer).await;
    let text = detail["Error"]["Msg"].as_str().unwrap_or_default();
    let is_right = match expected {
        Answer::Taken => false,
        // The text is shown to people as it is.
        Answer::Refused(name, part) => {
            let is_plain = !text.chars().any(char::is_control);
            is_plain && code == "INVALID_UPDATE" && detail["Name"] == name && text.contains(part)
        }
        Answer::Code(expected) => code == expected,
    };
    (status == 400 && is_right).then_some(()).ok_or_else(|| format!("{what}: {status} {code} {detail}"))
}
