//! Answers about backups.

use std::path::{Path, PathBuf};

use bulla_keys_schema::backup::{Backup, BackupKey};
use bulla_keys_schema::key::KeyName;
use serde::Serialize;

use super::pins::PinReport;
use super::{line, table};
use crate::flow::backup::check::{Against, CheckedRepository, CheckedRole, FAILURES, KeyState};
use crate::flow::backup::make::Gathered;
use crate::flow::backup::restore::{Fate, Plan};
use crate::output::Report;
use crate::pins::{Pins, Scope};

/// A backup that was made.
#[derive(Clone, Debug, Serialize)]
pub struct BackupReport {
    id: String,
    created: String,
    file: String,
    keys: Vec<NamedKey>,
    left_out: Vec<String>,
    pins: Vec<String>,
    repositories: Vec<KnownRepository>,
    recipients: Vec<String>,
    shares: Vec<String>,
    threshold: Option<u8>,
    dry_run: bool,
}

#[derive(Clone, Debug, Serialize)]
struct NamedKey {
    name: String,
    fingerprint: String,
}

#[derive(Clone, Debug, Serialize)]
struct KnownRepository {
    repository: String,
    roots: usize,
}

/// Who can open a backup that is made.
#[derive(Clone, Debug, Default)]
pub struct Openers {
    /// Public keys, as texts.
    pub recipients: Vec<String>,
    /// Files with shares.
    pub shares: Vec<PathBuf>,
    /// How many of them are needed.
    pub threshold: Option<u8>,
}

impl BackupReport {
    /// Of what was put together, and where it is.
    #[must_use]
    pub fn new(gathered: &Gathered, file: &Path, openers: Openers, dry_run: bool) -> Self {
        let Gathered { backup, loaded } = gathered;
        let pins = Pins::parse(&backup.pins).unwrap_or_default();
        Self {
            id: backup.id.to_string(),
            created: backup.created.to_string(),
            file: file.display().to_string(),
            keys: backup.keys.iter().map(NamedKey::from).collect(),
            left_out: loaded.iter().map(ToString::to_string).collect(),
            pins: pins.all().iter().map(|pin| pin.scope.to_string()).collect(),
            repositories: backup
                .repositories
                .iter()
                .map(|known| KnownRepository {
                    repository: known.repository.to_string(),
                    roots: known.roots.len(),
                })
                .collect(),
            recipients: openers.recipients,
            shares: openers.shares.iter().map(|path| path.display().to_string()).collect(),
            threshold: openers.threshold,
            dry_run,
        }
    }
}

impl From<&BackupKey> for NamedKey {
    fn from(key: &BackupKey) -> Self {
        Self { name: key.sidecar.name.to_string(), fingerprint: key.public.fingerprint().to_string() }
    }
}

impl Report for BackupReport {
    const SCHEMA: &'static str = "bulla/backup-made/v1";

    fn text(&self) -> String {
        let mut text = format!("backup:  {}\nfile:    {}\n", self.id, self.file);
        for key in &self.keys {
            line(&mut text, format_args!("key:     {} {}", key.name, key.fingerprint));
        }
        for scope in &self.pins {
            line(&mut text, format_args!("pin:     {scope}"));
        }
        for known in &self.repositories {
            line(&mut text, format_args!("roots:   {} of {}", known.roots, known.repository));
        }
        for share in &self.shares {
            line(&mut text, format_args!("share:   {share}"));
        }
        text
    }
}

/// What a backup was found to be good for.
#[derive(Clone, Debug, Serialize)]
pub struct BackupCheckReport {
    file: String,
    id: String,
    created: String,
    complete: bool,
    keys: Vec<CheckedKeyReport>,
    other_pins: Vec<String>,
    repositories: Vec<CheckedRepositoryReport>,
}

#[derive(Clone, Debug, Serialize)]
struct CheckedKeyReport {
    name: String,
    fingerprint: String,
    state: &'static str,
    reason: Option<String>,
    roles: Vec<SignsFor>,
}

#[derive(Clone, Debug, Serialize)]
struct SignsFor {
    repository: String,
    role: String,
}

#[derive(Clone, Debug, Serialize)]
struct CheckedRepositoryReport {
    repository: String,
    against: &'static str,
    reason: Option<String>,
    roles: Vec<CheckedRoleReport>,
    stale: Vec<StaleReport>,
}

#[derive(Clone, Debug, Serialize)]
struct CheckedRoleReport {
    role: String,
    state: &'static str,
    threshold: u32,
    held: Vec<String>,
    missing: Vec<String>,
    forgotten: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct StaleReport {
    key: String,
    role: String,
}

impl BackupCheckReport {
    /// Of what was found. With `partial`, one current key is enough for a role.
    #[must_use]
    pub fn new(
        file: &Path,
        backup: &Backup,
        keys: &[(BackupKey, KeyState)],
        other_pins: &[Scope],
        repositories: &[CheckedRepository],
        partial: bool,
    ) -> Self {
        let lost = repositories.iter().flat_map(|found| &found.roles).any(|role| role.is_lost(partial));
        let lost = lost || repositories.iter().any(|found| !found.unproven.is_empty());
        let broken = keys.iter().any(|(_, state)| matches!(state, KeyState::Broken { .. }));
        let unseen = repositories.iter().any(|found| {
            found.concerned
                && (found.against.failure().is_some() || matches!(found.against, Against::Nothing(_)))
        });
        Self {
            file: file.display().to_string(),
            id: backup.id.to_string(),
            created: backup.created.to_string(),
            complete: !lost && !broken && !unseen,
            keys: keys.iter().map(|(key, state)| CheckedKeyReport::new(key, state, repositories)).collect(),
            other_pins: other_pins.iter().map(ToString::to_string).collect(),
            repositories: repositories
                .iter()
                .map(|found| CheckedRepositoryReport::new(found, partial))
                .collect(),
        }
    }
}

impl CheckedKeyReport {
    fn new(key: &BackupKey, state: &KeyState, repositories: &[CheckedRepository]) -> Self {
        let (state, reason) = match state {
            KeyState::Proven => ("proven", None),
            KeyState::NotOpened { reason } => ("not-opened", Some(reason.clone())),
            KeyState::WrongPassphrase { reason } => ("wrong-passphrase", Some(reason.clone())),
            KeyState::NotTried => ("not-tried", Some(format!("{FAILURES} keys before it did not open"))),
            KeyState::Broken { reason } => ("broken", Some(reason.clone())),
        };
        let NamedKey { name, fingerprint } = key.into();
        let print = key.public.fingerprint();
        let roles = repositories.iter().flat_map(|found| {
            let held = found.roles.iter().filter(|role| role.cover.held.contains(&print));
            held.map(|role| SignsFor {
                repository: found.repository.to_string(),
                role: role.cover.role.to_string(),
            })
        });
        Self { name, fingerprint, state, reason, roles: roles.collect() }
    }
}

impl CheckedRepositoryReport {
    fn new(found: &CheckedRepository, partial: bool) -> Self {
        Self {
            repository: found.repository.to_string(),
            against: match found.against {
                Against::Server => "server",
                Against::Cache(_) => "cache",
                Against::Backup(_) => "backup",
                Against::Nothing(_) => "nothing",
            },
            reason: found.against.failure().map(ToString::to_string),
            roles: found.roles.iter().map(|role| CheckedRoleReport::new(role, partial)).collect(),
            stale: found
                .stale
                .iter()
                .map(|(key, role)| StaleReport { key: key.to_string(), role: role.to_string() })
                .collect(),
        }
    }
}

impl CheckedRoleReport {
    fn new(role: &CheckedRole, partial: bool) -> Self {
        let cover = &role.cover;
        Self {
            role: cover.role.to_string(),
            state: match (role.is_lost(partial), role.concerned, cover.is_met()) {
                (true, ..) => "lost",
                (false, false, _) => "of-others",
                (false, true, true) => "covered",
                (false, true, false) => "part",
            },
            threshold: cover.threshold.get(),
            held: cover.held.iter().map(ToString::to_string).collect(),
            missing: cover.absent.iter().map(ToString::to_string).collect(),
            forgotten: role.forgotten.iter().map(ToString::to_string).collect(),
        }
    }

    fn words(&self) -> String {
        let held = format!("{} of {} needed keys", self.held.len(), self.threshold);
        match (self.state, self.forgotten.as_slice()) {
            ("lost", []) => format!("NOT RECOVERABLE: {held}"),
            ("lost", names) if self.held.len() >= self.threshold as usize => {
                format!("NOT WHOLE: {held}, but not in the backup: {}", names.join(", "))
            }
            ("lost", names) => format!("NOT RECOVERABLE: {held}; not in the backup: {}", names.join(", ")),
            ("of-others", _) => "keys of others".to_owned(),
            ("part", _) => format!("{held}; others have the rest"),
            _ => held,
        }
    }
}

impl Report for BackupCheckReport {
    const SCHEMA: &'static str = "bulla/backup-check/v1";

    fn text(&self) -> String {
        let mut text = format!("backup:  {}\nmade:    {}\n\n", self.id, self.created);
        text += &table(
            &["KEY", "FINGERPRINT", "ROLES", "STATE"],
            self.keys.iter().map(|key| {
                let state = match &key.reason {
                    Some(reason) => format!("{}: {reason}", key.state),
                    None => key.state.to_owned(),
                };
                vec![key.name.clone(), key.fingerprint.clone(), key.roles.len().to_string(), state]
            }),
        );
        for found in &self.repositories {
            let against = match found.against {
                "server" => "as the server has it now",
                "cache" => "as it was last seen here",
                "backup" => "as its newest root in the backup says; who else signs is not known",
                _ => "not known: it is not pinned, or no root of it is in the backup",
            };
            line(&mut text, format_args!("\n{}, {against}", found.repository));
            text += &table(
                &["ROLE", "WITH THIS BACKUP"],
                found.roles.iter().map(|role| vec![role.role.clone(), role.words()]),
            );
            for stale in &found.stale {
                line(&mut text, format_args!("key {} does not sign for {} any more", stale.key, stale.role));
            }
        }
        text
    }
}

/// What a backup brought back.
#[derive(Clone, Debug, Serialize)]
pub struct RestoreReport {
    keys: Vec<RestoredKey>,
    pins: Vec<RestoredPin>,
    pins_by_anybody: bool,
    left_out: Vec<String>,
    dry_run: bool,
}

#[derive(Clone, Debug, Serialize)]
struct RestoredKey {
    name: String,
    state: &'static str,
    here: String,
}

#[derive(Clone, Debug, Serialize)]
struct RestoredPin {
    #[serde(flatten)]
    pin: PinReport,
    server_not_taken: Option<String>,
    state: &'static str,
}

impl RestoreReport {
    /// Of what was, or would be, done.
    #[must_use]
    pub fn new(plan: &Plan, dry_run: bool) -> Self {
        let keys = plan.keys.iter().map(|(key, fate)| {
            let name = &key.sidecar.name;
            RestoredKey::new(name, if let Fate::There(here) = fate { Some(here) } else { None })
        });
        let pins = plan.pins.iter().map(|planned| RestoredPin {
            pin: PinReport::from(&planned.pin),
            server_not_taken: planned.server_not_taken.clone(),
            state: if planned.is_new { "restored" } else { "already-there" },
        });
        let (pins, pins_by_anybody) = (pins.collect(), !plan.vouched);
        Self { keys: keys.collect(), pins, pins_by_anybody, left_out: vec![], dry_run }
    }

    /// Of keys that were, or would be, taken over from a trust folder of docker: new ones, and
    /// those that lie here under another name. `left_out` are files of keys that cannot be used.
    #[must_use]
    pub fn of_folder(
        new: &[KeyName],
        there: &[(KeyName, KeyName)],
        left_out: Vec<String>,
        dry_run: bool,
    ) -> Self {
        let new = new.iter().map(|name| RestoredKey::new(name, None));
        let there = there.iter().map(|(name, here)| RestoredKey::new(name, Some(here)));
        let keys = new.chain(there).collect();
        Self { keys, pins: vec![], pins_by_anybody: false, left_out, dry_run }
    }
}

impl RestoredKey {
    fn new(name: &KeyName, there: Option<&KeyName>) -> Self {
        Self {
            name: name.to_string(),
            state: if there.is_some() { "already-there" } else { "restored" },
            here: there.unwrap_or(name).to_string(),
        }
    }
}

impl Report for RestoreReport {
    const SCHEMA: &'static str = "bulla/restore/v1";

    fn text(&self) -> String {
        let words = |state: &str| state.replace('-', " ");
        let keys = self.keys.iter().map(|key| {
            let also = if key.here == key.name { String::new() } else { format!(" as {}", key.here) };
            vec!["key".to_owned(), key.name.clone(), words(key.state) + &also]
        });
        let pins = self.pins.iter().map(|pin| {
            let at = match (&pin.pin.server, &pin.server_not_taken) {
                (Some(server), _) => format!(" at {server}"),
                (None, Some(server)) => format!(" (not taken: its server {server})"),
                (None, None) => String::new(),
            };
            vec!["pin".to_owned(), pin.pin.scope.clone() + &at, words(pin.state)]
        });
        let mut text = table(&["", "NAME", "STATE"], keys.chain(pins));
        for RestoredPin { pin, .. } in self.pins.iter().filter(|pin| pin.state == "restored") {
            line(&mut text, format_args!("pin {} trusts {} ({})", pin.scope, pin.root(), pin.mode));
        }
        text
    }
}
