//! `bulla key restore`

use std::path::PathBuf;

use bulla_keys_schema::key::KeyName;

use super::opening::{OpeningArgs, open};
use crate::command::{Context, say_dry_run};
use crate::flow::backup::check::pins_of;
use crate::flow::backup::docker_folder::{self, DockerFolderError, Folder};
use crate::flow::backup::restore::{Plan, RestoreError, Wanted, carry_out, plan, rename};
use crate::flow::key::import::import;
use crate::flow::key::require_free;
use crate::pins::Pins;
use crate::report::RestoreReport;
use crate::wiring::backup_file;

/// Bring back what a backup holds; nothing that is here is overwritten
///
/// Reads the tar file of a trust folder of docker or notary as well.
#[derive(Debug, clap::Args)]
pub(in crate::command) struct Args {
    /// The backup
    file: PathBuf,
    #[command(flatten)]
    opening: OpeningArgs,
    /// Give a key of the backup another name here; may be repeated
    #[arg(long = "as", value_name = "NAME=NEW", value_parser = renamed)]
    names: Vec<(KeyName, KeyName)>,
    /// Bring back no pins and no roots
    #[arg(long)]
    keys_only: bool,
    /// File with the new passphrase of keys from a trust folder
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
    /// Only check that everything fits
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(in crate::command) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let bytes = backup_file::read(&self.file)?;
        if backup_file::is_age(&bytes) {
            self.restore(context, &bytes).await
        } else {
            self.take_over(context, &bytes)
        }
    }

    async fn restore(self, context: &Context, bytes: &[u8]) -> anyhow::Result<()> {
        let backup = open(context, bytes, &self.opening)?;
        let (pins, repositories) = match self.keys_only {
            true => (Pins::default(), vec![]),
            false => (pins_of(&backup)?, backup.repositories),
        };
        let mut wanted =
            Wanted { keys: backup.keys, pins, repositories, vouched: !self.opening.is_open_to_anybody() };
        rename(&mut wanted.keys, &self.names.iter().cloned().collect())?;
        let (local, home) = (context.settings.local(None), context.settings.home());
        let plan = plan(wanted, local.ports().keys, home)?;
        if !self.dry_run {
            carry_out(&plan, local.ports().keys, home).await?;
        }
        say_who_chose(context, &plan);
        say_dry_run(context.output, self.dry_run);
        Ok(context.output.answer(&RestoreReport::new(&plan, self.dry_run))?)
    }

    fn take_over(self, context: &Context, bytes: &[u8]) -> anyhow::Result<()> {
        let unusable = |source| UnusableFolder { path: self.file.clone(), source };
        let Folder { keys: mut found, left_out } = docker_folder::read(bytes).map_err(unusable)?;
        for (name, new) in &self.names {
            let key = found.iter_mut().find(|key| key.name == *name);
            key.ok_or_else(|| RestoreError::NoSuchKey { name: name.clone() })?.name = new.clone();
        }
        let local = context.settings.local(self.new_passphrase_file);
        let here = local.ports().keys.list()?;
        let (mut new, mut there) = (Vec::new(), Vec::new());
        for key in found {
            match key.known(local.ports(), &here)? {
                Some(known) => there.push((key.name, known.name.clone())),
                None => new.push((key.name, key.file)),
            }
        }
        let names: Vec<KeyName> = new.iter().map(|(name, _)| name.clone()).collect();
        for name in &names {
            require_free(local.ports().keys, name)?;
        }
        if !self.dry_run {
            import(local.ports(), new)?;
        }
        for (path, reason) in &left_out {
            context.output.warn(&format!("{path:?} is left out: {reason}"));
        }
        say_dry_run(context.output, self.dry_run);
        let left_out = left_out.into_iter().map(|(path, _)| path).collect();
        Ok(context.output.answer(&RestoreReport::of_folder(&names, &there, left_out, self.dry_run))?)
    }
}

/// What a stranger's file changes about whom this home trusts.
fn say_who_chose(context: &Context, plan: &Plan) {
    let mut new = plan.pins.iter().filter(|planned| planned.is_new);
    if plan.vouched || new.next().is_none() {
        return;
    }
    context.output.warn(
        "anybody who knows the public key can make a backup that --identity opens: whoever made this one \
         chose its pins, so compare their roots with the admin's, or bring back no pins: --keys-only",
    );
    for planned in &plan.pins {
        if let Some(server) = &planned.server_not_taken {
            let scope = &planned.pin.scope;
            context.output.warn(&format!(
                "the server of the pin for {scope} was not taken from it: {server}; if it is right, remove \
                 the pin, and add it with --pin-server"
            ));
        }
    }
}

/// The file is neither a backup nor a trust folder.
#[derive(Debug, thiserror::Error)]
#[error("cannot restore {}: {source}", path.display())]
pub(in crate::command) struct UnusableFolder {
    path: PathBuf,
    source: DockerFolderError,
}

fn renamed(text: &str) -> Result<(KeyName, KeyName), String> {
    let (old, new) = text.split_once('=').ok_or("expected NAME=NEW")?;
    let parse = |name: &str| name.parse::<KeyName>().map_err(|error| error.to_string());
    Ok((parse(old)?, parse(new)?))
}
