//! Passphrases from a person, asked on the terminal itself: never on stdin, which may carry
//! data.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};

use bulla_keys_schema::key::{KeyName, Passphrase};

use crate::port::{PassphraseError, Passphrases};

/// Longest answer to a question, in bytes.
const ANSWER_BYTES: u64 = 256;

/// The controlling terminal, `/dev/tty`.
#[derive(Clone, Copy, Debug)]
pub struct Tty;

impl Passphrases for Tty {
    fn existing(&self, name: &KeyName) -> Result<Passphrase, PassphraseError> {
        let prompt = format!("Passphrase for key {name}: ");
        ask(&prompt, || PassphraseError::NobodyToAsk {
            name: name.clone(),
            variable: super::unattended::variable_for(name),
        })
    }

    fn fresh(&self, name: &KeyName) -> Result<Passphrase, PassphraseError> {
        let nobody = || PassphraseError::NobodyToAsk {
            name: name.clone(),
            variable: super::unattended::variable_for(name),
        };
        ask_twice(name, &format!("Passphrase for new key {name}: "), nobody)
    }

    fn replacement(&self, name: &KeyName) -> Result<Passphrase, PassphraseError> {
        let nobody = || PassphraseError::NobodyToAskForNew { name: name.clone() };
        ask_twice(name, &format!("New passphrase for key {name}: "), nobody)
    }
}

/// Puts a question to the person at the terminal, who types `y` or `yes`, or means no.
///
/// # Errors
/// There is no terminal.
pub fn ask_yes_no(question: &str) -> io::Result<bool> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    terminal.write_all(question.as_bytes())?;
    let mut answer = String::new();
    // A line that never ends is no yes.
    BufReader::new(terminal.take(ANSWER_BYTES)).read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn ask_twice(
    name: &KeyName,
    prompt: &str,
    nobody: impl Fn() -> PassphraseError,
) -> Result<Passphrase, PassphraseError> {
    let first = ask(prompt, &nobody)?;
    if first.as_bytes().is_empty() {
        return Err(PassphraseError::Empty { name: name.clone() });
    }
    let second = ask("The same again: ", &nobody)?;
    if !first.same_as(&second) {
        return Err(PassphraseError::Differ { name: name.clone() });
    }
    Ok(first)
}

/// Asks for one line without showing it; `nobody` says that there is no terminal.
pub(super) fn ask<E: From<PassphraseError>>(prompt: &str, nobody: impl Fn() -> E) -> Result<Passphrase, E> {
    // The default of rpassword opens /dev/tty for both; without one there is nobody to ask.
    rpassword::prompt_password(prompt).map(Passphrase::new).map_err(|error| match error.kind() {
        io::ErrorKind::Interrupted => PassphraseError::Interrupted.into(),
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::UnexpectedEof => nobody(),
        // ENXIO: there is a /dev/tty, but this process has no terminal.
        _ if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => nobody(),
        _ => PassphraseError::Terminal { reason: error.to_string() }.into(),
    })
}
