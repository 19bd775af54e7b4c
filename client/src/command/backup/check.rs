//! `bulla key backup --verify`

use std::collections::BTreeSet;
use std::path::Path;

use bulla_keys_schema::backup::BackupKey;
use bulla_keys_schema::key::Fingerprint;

use super::opening::{OpeningArgs, open};
use crate::command::failure::refresh;
use crate::command::{Answered, Context, Exit};
use crate::flow::backup::check::{
    Against, CheckedRepository, Checker, FAILURES, KeyState, open_keys, other_pins,
};
use crate::flow::refresh::RefreshError;
use crate::pins::Pins;
use crate::report::{BackupCheckReport, ErrorReport};
use crate::wiring::{backup_file, variable_for};

pub(super) async fn run(
    context: &Context,
    file: &Path,
    opening: &OpeningArgs,
    offline: bool,
    partial: bool,
) -> anyhow::Result<()> {
    let output = context.output;
    let backup = open(context, &backup_file::read(file)?, opening)?;
    let keys = open_keys(&backup, &context.settings.passphrases_in_backup())?;
    let unusable = keys.iter().filter(|(_, state)| !state.counts());
    let unusable: BTreeSet<_> = unusable.map(|(key, _)| key.sidecar.name.clone()).collect();
    let here = context.settings.local(None).ports().keys.list()?;
    let pins = Pins::load(context.settings.home())?;
    let checker = Checker::new(&backup, &unusable, context.settings.home(), &here)?;
    let folder = tempfile::tempdir()?;
    let home = checker.lay_out(folder.path()).await?;
    let mut repositories = Vec::new();
    for repository in checker.repositories() {
        if offline {
            repositories.push(checker.offline(repository, None));
            continue;
        }
        // Where this home has a pin, what it has seen counts too.
        let settings = match pins.find(repository) {
            Some(_) => context.settings.clone(),
            None => context.settings.at(home.clone()),
        };
        let world = settings.world(repository)?;
        let _busy = output.busy("asking the trust server");
        repositories.push(checker.online(world.ports(), repository).await);
    }
    let others = other_pins(&backup, &pins)?;
    let report = BackupCheckReport::new(file, &backup, &keys, &others, &repositories, partial);
    say_what_was_not_opened(context, &keys);
    for (key, _) in keys.iter().filter(|(_, state)| state.counts()) {
        let print = key.public.fingerprint();
        let mut roles = repositories.iter().flat_map(|found| &found.roles);
        if !roles.any(|role| role.cover.held.contains(&print)) {
            output.say(&format!("key {} signs for no role that was looked at", key.sidecar.name));
        }
    }
    for scope in &others {
        output.warn(&format!(
            "the pin for {scope} in the backup is another one than here; the one here counts"
        ));
    }
    for found in &repositories {
        say_what_was_not_seen(context, found, offline);
    }
    output.answer(&report)?;
    let Some((message, exit, hint)) = verdict(&keys, &repositories, partial) else { return Ok(()) };
    output.fail(&ErrorReport { message, hint, exit_code: exit as u8 });
    Err(Answered(exit).into())
}

fn say_what_was_not_opened(context: &Context, keys: &[(BackupKey, KeyState)]) {
    let mut not_tried = 0;
    for (key, state) in keys {
        match state {
            KeyState::NotOpened { reason } | KeyState::WrongPassphrase { reason } => {
                let name = &key.sidecar.name;
                context.output.warn(&format!("key {name} was not opened, and is not proven: {reason}"));
            }
            KeyState::NotTried => not_tried += 1,
            KeyState::Proven | KeyState::Broken { .. } => {}
        }
    }
    if not_tried > 0 {
        context.output.warn(&format!(
            "{not_tried} more keys were not tried, and are not proven: {FAILURES} before them did not open"
        ));
    }
}

fn say_what_was_not_seen(context: &Context, found: &CheckedRepository, offline: bool) {
    let repository = &found.repository;
    if let Some(error) = found.against.failure() {
        context.output.warn(&format!("{repository} was not seen as it is now: {error}"));
    } else if offline && matches!(found.against, Against::Backup(_)) {
        context.output.warn(&format!(
            "{repository} was held against the newest root in the backup only; newer keys and signers are not known"
        ));
    }
}

type Verdict = (String, Exit, Option<String>);

/// The worst that was found: a key that is none, then a role that is lost, then what could not be
/// looked at.
fn verdict(
    keys: &[(BackupKey, KeyState)],
    repositories: &[CheckedRepository],
    partial: bool,
) -> Option<Verdict> {
    if let Some((key, _)) = keys.iter().find(|(_, state)| matches!(state, KeyState::Broken { .. })) {
        let name = &key.sidecar.name;
        let message = format!("key {name} in the backup opens, and is not the key that it should be");
        return Some((message, Exit::Tampered, again()));
    }
    for found in repositories {
        let mut lost = found.roles.iter().filter(|role| role.is_lost(partial));
        if let Some(first) = lost.next() {
            let more = match lost.count() {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            let message =
                format!("the backup does not bring back {} of {}{more}", first.cover.role, found.repository);
            return Some((message, Exit::NotSigned, unproven(keys, &first.cover.absent).or_else(again)));
        }
    }
    for found in repositories {
        if let Some((name, role)) = found.unproven.first() {
            let message = format!("key {name} did not open, and {role} of {} was not seen", found.repository);
            let hint = format!("set {} to its passphrase", variable_for(name));
            return Some((message, Exit::NotSigned, Some(hint)));
        }
    }
    let unseen = repositories.iter().filter(|found| found.concerned);
    for found in unseen {
        let unpinned;
        let error = match &found.against {
            Against::Server => continue,
            Against::Nothing(None) => {
                unpinned = RefreshError::NotPinned { repository: found.repository.clone() };
                &unpinned
            }
            against => match against.failure() {
                Some(error) => error,
                None => continue,
            },
        };
        let (exit, hint) = refresh(error);
        let hint = match exit {
            Exit::Unreachable | Exit::Configuration => Some(
                "check --server and the network, or be content with the roots in it: --offline".to_owned(),
            ),
            _ => hint,
        };
        return Some((format!("{} was not checked: {error}", found.repository), exit, hint));
    }
    None
}

/// What to do if a role is lost because one of these keys of it did not open.
fn unproven(keys: &[(BackupKey, KeyState)], absent: &BTreeSet<Fingerprint>) -> Option<String> {
    let of_role = |key: &BackupKey| absent.contains(&key.public.fingerprint());
    let (key, _) = keys.iter().find(|(key, state)| !state.counts() && of_role(key))?;
    let (name, variable) = (&key.sidecar.name, variable_for(&key.sidecar.name));
    Some(format!("key {name} is in it and did not open: set {variable} to its passphrase"))
}

fn again() -> Option<String> {
    Some("make a new backup where the newest keys are: bulla key backup --out FILE".to_owned())
}
