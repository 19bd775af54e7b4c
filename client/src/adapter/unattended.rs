//! Passphrases for machines: from the environment or a file, else from whoever is next.
//!
//! The most specific source wins: the variable of the key, the named file, the variable for
//! all keys.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bulla_keys_schema::key::{KeyName, Passphrase};
use zeroize::Zeroizing;

use crate::port::{PassphraseError, Passphrases};

/// The variable that holds the passphrase of every key.
pub const VARIABLE: &str = "BULLA_PASSPHRASE";
/// Largest passphrase file, in bytes.
const FILE_BYTES: u64 = 4096;

/// Looks a variable of the environment up.
pub type Lookup = Box<dyn Fn(&str) -> Option<OsString> + Send + Sync>;

/// The names of all keys that there are; nothing where that cannot be told.
pub type Names = Box<dyn Fn() -> Option<Vec<KeyName>> + Send + Sync>;

/// Configured passphrases.
pub struct Unattended {
    lookup: Lookup,
    names: Option<Names>,
    file: Option<PathBuf>,
    replacement_file: Option<PathBuf>,
    otherwise: Box<dyn Passphrases>,
}

impl Unattended {
    /// Asks the environment through `lookup`, then `file`, and `otherwise` when none of them
    /// has a passphrase.
    #[must_use]
    pub fn new(lookup: Lookup, file: Option<PathBuf>, otherwise: Box<dyn Passphrases>) -> Self {
        Self { lookup, names: None, file, replacement_file: None, otherwise }
    }

    /// Takes passphrases that replace others from `file`.
    #[must_use]
    pub fn with_replacement(self, file: Option<PathBuf>) -> Self {
        Self { replacement_file: file, ..self }
    }

    /// Takes no passphrase from a variable that is that of another key among `names`, too: `a-b` and `A_B`
    /// have the same one.
    #[must_use]
    pub fn among(self, names: Names) -> Self {
        Self { names: Some(names), ..self }
    }

    fn configured(&self, name: &KeyName) -> Result<Option<Passphrase>, PassphraseError> {
        let variable = variable_for(name);
        if let Some(found) = self.variable(&variable)? {
            let names = self.names.as_ref().map_or_else(|| Some(vec![]), |names| names());
            let names = names.ok_or_else(|| PassphraseError::Unsure { variable: variable.clone() })?;
            let other = names.into_iter().find(|other| other != name && variable_for(other) == variable);
            return match other {
                Some(other) => Err(PassphraseError::Ambiguous { variable, name: name.clone(), other }),
                None => Ok(Some(found)),
            };
        }
        if let Some(file) = &self.file {
            return read(file).map(Some);
        }
        self.variable(VARIABLE)
    }

    fn variable(&self, variable: &str) -> Result<Option<Passphrase>, PassphraseError> {
        let Some(value) = (self.lookup)(variable) else { return Ok(None) };
        let invalid = |_| PassphraseError::Variable { variable: variable.to_owned() };
        value.into_string().map_err(invalid).map(|text| Some(Passphrase::new(text)))
    }
}

impl Passphrases for Unattended {
    fn existing(&self, name: &KeyName) -> Result<Passphrase, PassphraseError> {
        match self.configured(name)? {
            Some(passphrase) => Ok(passphrase),
            None => self.otherwise.existing(name),
        }
    }

    /// A variable that a pipeline forgot to fill must not make an unprotected key.
    fn fresh(&self, name: &KeyName) -> Result<Passphrase, PassphraseError> {
        match self.configured(name)? {
            Some(passphrase) => not_empty(name, passphrase),
            None => self.otherwise.fresh(name),
        }
    }

    fn replacement(&self, name: &KeyName) -> Result<Passphrase, PassphraseError> {
        match &self.replacement_file {
            Some(file) => not_empty(name, read(file)?),
            None => self.otherwise.replacement(name),
        }
    }
}

/// The variable that holds the passphrase of key `name` alone.
#[must_use]
pub fn variable_for(name: &KeyName) -> String {
    let letters =
        name.as_str().chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    format!("{VARIABLE}_{}", letters.collect::<String>())
}

fn not_empty(name: &KeyName, passphrase: Passphrase) -> Result<Passphrase, PassphraseError> {
    if passphrase.as_bytes().is_empty() {
        return Err(PassphraseError::Empty { name: name.clone() });
    }
    Ok(passphrase)
}

/// The content of `path`, which is closed to others, without the line end that editors add.
pub(super) fn read(path: &Path) -> Result<Passphrase, PassphraseError> {
    let failed = |reason: String| PassphraseError::File { path: path.to_owned(), reason };
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let found = file.metadata().map_err(|error| failed(error.to_string()))?;
    // A pipe from another program is nobody else's; its mode says nothing.
    let mode = found.permissions().mode() & 0o7777;
    if found.is_file() && mode & 0o077 != 0 {
        return Err(PassphraseError::OpenToOthers { path: path.to_owned(), mode });
    }
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(FILE_BYTES).unwrap_or_default() + 1));
    file.take(FILE_BYTES + 1).read_to_end(&mut content).map_err(|error| failed(error.to_string()))?;
    if content.len() as u64 > FILE_BYTES {
        return Err(failed(format!("larger than {FILE_BYTES} bytes")));
    }
    let text = str::from_utf8(&content).map_err(|_| failed("not valid UTF-8".to_owned()))?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    Ok(Passphrase::new(line.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Nobody;

    impl Passphrases for Nobody {
        fn existing(&self, name: &KeyName) -> Result<Passphrase, PassphraseError> {
            Err(PassphraseError::NobodyToAskForNew { name: name.clone() })
        }

        fn fresh(&self, name: &KeyName) -> Result<Passphrase, PassphraseError> {
            self.existing(name)
        }

        fn replacement(&self, name: &KeyName) -> Result<Passphrase, PassphraseError> {
            self.existing(name)
        }
    }

    fn with(variables: &'static [(&'static str, &'static str)], file: Option<PathBuf>) -> Unattended {
        let lookup = move |wanted: &str| {
            variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| OsString::from(value))
        };
        Unattended::new(Box::new(lookup), file, Box::new(Nobody))
    }

    fn write(file: &Path, content: &[u8]) {
        fs::write(file, content).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn text(passphrase: &Passphrase) -> &str {
        str::from_utf8(passphrase.as_bytes()).unwrap()
    }

    #[test]
    fn the_most_specific_source_wins() {
        let name: KeyName = "ci.key-1".parse().unwrap();
        assert_eq!(variable_for(&name), "BULLA_PASSPHRASE_CI_KEY_1");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pass");
        write(&file, b"from file\r\n");
        let all = with(
            &[("BULLA_PASSPHRASE_CI_KEY_1", "own"), ("BULLA_PASSPHRASE", "general")],
            Some(file.clone()),
        );
        assert_eq!(text(&all.existing(&name).unwrap()), "own");
        let general = with(&[("BULLA_PASSPHRASE", "general")], Some(file));
        assert_eq!(text(&general.existing(&name).unwrap()), "from file");
        let general = with(&[("BULLA_PASSPHRASE", "general")], None);
        assert_eq!(text(&general.existing(&name).unwrap()), "general");
        assert!(matches!(with(&[], None).existing(&name), Err(PassphraseError::NobodyToAskForNew { .. })));
    }

    #[test]
    fn a_variable_of_two_keys_is_of_none() {
        let names =
            || -> Option<Vec<KeyName>> { ["a-b", "A_B", "c"].iter().map(|name| name.parse().ok()).collect() };
        let set: &[(&str, &str)] = &[("BULLA_PASSPHRASE_A_B", "whose?"), ("BULLA_PASSPHRASE_C", "its own")];
        let ask = |name: &str| with(set, None).among(Box::new(names)).existing(&name.parse().unwrap());
        for (name, namesake) in [("a-b", "A_B"), ("A_B", "a-b"), ("a.b", "a-b")] {
            let Err(PassphraseError::Ambiguous { other, .. }) = ask(name) else { panic!("{name}") };
            assert_eq!(other.as_str(), namesake);
        }
        assert_eq!(text(&ask("c").unwrap()), "its own");
        let unknown = with(set, None).among(Box::new(|| None)).existing(&"c".parse().unwrap());
        assert!(matches!(unknown, Err(PassphraseError::Unsure { .. })));
        let general = with(&[("BULLA_PASSPHRASE", "general")], None).among(Box::new(names));
        assert_eq!(text(&general.existing(&"a-b".parse().unwrap()).unwrap()), "general");
    }

    #[test]
    fn an_empty_passphrase_opens_but_never_protects() {
        let name: KeyName = "a".parse().unwrap();
        let empty = with(&[("BULLA_PASSPHRASE", "")], None);
        assert_eq!(text(&empty.existing(&name).unwrap()), "");
        assert!(matches!(empty.fresh(&name), Err(PassphraseError::Empty { .. })));
    }

    #[test]
    fn a_replacement_never_comes_from_where_the_old_one_does() {
        let name: KeyName = "a".parse().unwrap();
        let old = with(&[("BULLA_PASSPHRASE", "old")], None);
        assert!(matches!(old.replacement(&name), Err(PassphraseError::NobodyToAskForNew { .. })));
    }

    #[test]
    fn files_are_bounded_and_text() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pass");
        for (content, passphrase) in [("a b\n", "a b"), ("a\n\n", "a\n"), ("a", "a")] {
            write(&file, content.as_bytes());
            assert_eq!(text(&read(&file).unwrap()), passphrase);
        }
        for bad in [vec![b'a'; 4097], vec![0xff]] {
            write(&file, &bad);
            assert!(matches!(read(&file), Err(PassphraseError::File { .. })));
        }
        assert!(read(&folder.path().join("absent")).is_err());
    }

    #[test]
    fn files_that_others_may_read_or_change_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pass");
        write(&file, b"secret");
        for (mode, is_taken) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false)]
        {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            match read(&file) {
                Ok(passphrase) => assert!(is_taken && text(&passphrase) == "secret", "{mode:o}"),
                Err(PassphraseError::OpenToOthers { path, mode: found }) => {
                    assert!(!is_taken && path == file && found == mode, "{mode:o}");
                }
                Err(error) => panic!("{mode:o}: {error}"),
            }
        }
    }

    #[test]
    fn pipes_of_other_programs_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let open = rustix::fs::Mode::from_raw_mode(0o644);
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, open).unwrap();
        let path = pipe.clone();
        let writer = std::thread::spawn(move || fs::write(path, "from a program\n").unwrap());
        assert_eq!(text(&read(&pipe).unwrap()), "from a program");
        writer.join().unwrap();
    }
}
