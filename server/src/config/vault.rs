//! Where the key-encryption key comes from.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

/// `[vault]`. Without a file the key is taken from the variable `BULLAD_VAULT_KEY`.
///
/// To replace the key: set `key_file` (or the variable) to the new one, `old_key_file` to the old
/// one, and start the server again. Before it serves, all online keys are sealed under the new
/// key; if it is stopped meanwhile, the next start goes on. It writes how many there were, and
/// then `old_key_file` can be taken out. Keep the old key for as long as backups from before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VaultConfig {
    /// File with 32 bytes in hex or base64, readable by its owner only.
    pub key_file: Option<PathBuf>,
    /// Files of keys that it takes the place of: one, or a list.
    #[serde(deserialize_with = "one_or_more")]
    pub old_key_file: Vec<PathBuf>,
}

fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a path or a list of paths")]
    enum Paths {
        One(PathBuf),
        More(Vec<PathBuf>),
    }

    Ok(match Paths::deserialize(from)? {
        Paths::One(path) => vec![path],
        Paths::More(paths) => paths,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_old_key_or_several() {
        let read = |text: &str| toml::from_str::<VaultConfig>(text).map(|config| config.old_key_file);
        assert_eq!(read("").unwrap(), Vec::<PathBuf>::new());
        assert_eq!(read("old_key_file = \"a\"").unwrap(), [PathBuf::from("a")]);
        assert_eq!(read("old_key_file = [\"a\", \"b\"]").unwrap().len(), 2);
        assert!(read("old_key_file = 7").unwrap_err().to_string().contains("a list of paths"));
    }
}
