//! Variables `BULLAD_SECTION_KEY` as if they stood in the file.

use toml::{Table, Value};

use super::ConfigError;
use crate::vault::KEK_VARIABLE;

const PREFIX: &str = "BULLAD_";
/// Sections, so that `BULLAD_VAULT_KEY_FILE` is `vault.key_file`.
const SECTIONS: [&str; 9] =
    ["server", "tls", "operations", "store", "auth", "vault", "lifetimes", "limits", "log"];

/// Writes the variables into `table`; tells whether there was any.
///
/// # Errors
/// A variable that names no section.
pub(super) fn overlay(
    table: &mut Table,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<bool, ConfigError> {
    let mut any = false;
    for (variable, value) in environment {
        let Some(name) = variable.strip_prefix(PREFIX) else { continue };
        if variable == KEK_VARIABLE {
            // A secret: read where it is used, kept out of the configuration.
            continue;
        }
        let lower = name.to_ascii_lowercase();
        let unknown = || ConfigError::Variable { variable: variable.clone() };
        let (section, key) = lower.split_once('_').ok_or_else(unknown)?;
        if !SECTIONS.contains(&section) {
            return Err(unknown());
        }
        let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
        let section = section.as_table_mut().ok_or_else(unknown)?;
        section.insert(key.to_owned(), literal(&value));
        any = true;
    }
    Ok(any)
}

/// A number or truth value if the text is one, else the text itself.
fn literal(text: &str) -> Value {
    match text.parse::<i64>() {
        Ok(number) => Value::Integer(number),
        Err(_) => match text {
            "true" => Value::Boolean(true),
            "false" => Value::Boolean(false),
            other => Value::String(other.to_owned()),
        },
    }
}
