//! `bulla rotate`

use std::path::Path;

use bulla_keys_schema::metadata::TopLevelRole;
use bulla_keys_schema::names::{InvalidRoleName, RepositoryName};

use super::asking::{self, Asking};
use super::signer::{UnusableFile, names_file, read_certificate, read_key};
use super::{Context, say_dry_run, warn_expired, warn_threshold};
use crate::flow::rotate::{KeyChange, KeyChoice, Request, Rotated, Subject, rotate};
use crate::output::Output;
use crate::report::RotateReport;

/// Give roles other keys; clients follow without a new pin
///
/// A role is root, targets, snapshot, timestamp or a signer. Without --key, --add, --remove and
/// --threshold, a new key is made for each key of the role that is in this home, under the next
/// free name; the old key stays in this home until you remove it. The keys of snapshot and
/// timestamp are made by the trust server. Rotate both at once after the server was broken into
/// and put back: clients then accept lower versions again.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The repository
    #[arg(value_parser = super::repository)]
    repository: RepositoryName,
    /// What to rotate; several roles only where no key is named
    #[arg(value_name = "ROLE", required = true, value_parser = subject)]
    roles: Vec<Subject>,
    /// A key that joins: its name in this home, or a file with the public key or a certificate; may be repeated
    #[arg(long, value_name = "KEY", conflicts_with = "key")]
    add: Vec<String>,
    /// A key that leaves: its name, file or fingerprint; may be repeated
    #[arg(long, value_name = "KEY", conflicts_with = "key")]
    remove: Vec<String>,
    /// A key that stays or joins, while all others leave; may be repeated
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    /// How many of the keys must sign
    #[arg(long, value_name = "K")]
    threshold: Option<u64>,
    #[command(flatten)]
    asking: Asking,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let choices = |texts: &[String]| texts.iter().map(|text| choice(text)).collect::<Result<_, _>>();
        let request = Request {
            subjects: self.roles,
            keys: KeyChange {
                only: choices(&self.key)?,
                add: choices(&self.add)?,
                remove: choices(&self.remove)?,
                threshold: self.threshold,
            },
            repository: self.repository,
            how: self.asking.how_naming(&[self.add.as_slice(), &self.key].concat()),
        };
        let world = context.settings.world(&request.repository)?;
        let rotated = rotate(world.ports(), &request).await?;
        let mode = context.settings.mode(&request.repository)?;
        warn_threshold(context.output, mode, self.threshold.unwrap_or(1));
        warn_expired(context.output, &rotated.published);
        say_dry_run(context.output, self.asking.is_dry_run());
        explain(context.output, &rotated);
        context.output.answer(&RotateReport::new(&request.repository, &rotated))?;
        asking::end(context, &request.repository, &rotated.published)
    }
}

fn explain(output: Output, rotated: &Rotated) {
    if rotated.recovered {
        output.warn(
            "the trust server shows older metadata than this home has seen; with the new keys, its clients accept that",
        );
    }
    if !rotated.published.done {
        return;
    }
    for name in &rotated.made {
        output.say(&format!("key {name} was made in this home"));
    }
    for name in &rotated.left {
        output.say(&format!(
            "key {name} is still in this home; once nothing needs it: bulla key remove {name}"
        ));
    }
}

fn subject(text: &str) -> Result<Subject, InvalidRoleName> {
    let top = TopLevelRole::ALL.into_iter().find(|role| role.as_str() == text);
    top.map_or_else(|| text.parse().map(Subject::Signer), |role| Ok(Subject::Top(role)))
}

/// A fingerprint, the name of a key, or anything else as a file.
fn choice(text: &str) -> Result<KeyChoice, UnusableFile> {
    if let Ok(print) = text.parse() {
        return Ok(KeyChoice::Print(print));
    }
    match text.parse() {
        Ok(name) if !names_file(text) => Ok(KeyChoice::Named(name)),
        _ => read_choice(Path::new(text)),
    }
}

/// A public key, or for the root of a legacy repository the certificate of one.
fn read_choice(path: &Path) -> Result<KeyChoice, UnusableFile> {
    match read_certificate(path)? {
        Some(known) => Ok(KeyChoice::Certified(Box::new(known))),
        None => Ok(KeyChoice::Public(Box::new(read_key(path)?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_and_keys_are_told_apart() {
        assert!(matches!(subject("root"), Ok(Subject::Top(TopLevelRole::Root))));
        assert!(matches!(subject("alice"), Ok(Subject::Signer(_))));
        assert!(subject("releases").is_err() && subject("Root").is_err());
        assert!(matches!(choice("release-2"), Ok(KeyChoice::Named(_))));
        assert!(matches!(choice(&"0a".repeat(32)), Ok(KeyChoice::Print(_))));
        for file in ["nowhere.pub", "nowhere.crt", "nowhere.pem", "./release", "nowhere/key"] {
            assert!(choice(file).is_err(), "{file}");
        }
    }
}
