//! Answers about the keys of this home.

use std::path::PathBuf;

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::key::{KeyName, KeySource, LoadedKey, PublicKey};
use bulla_keys_schema::time::UtcTime;
use serde::Serialize;

use super::{line, table};
use crate::flow::key::standing::{Duty, Standing};
use crate::output::Report;
use crate::port::StoredKey;

const DAY: i64 = 24 * 3600;

/// Files of a name that were no key, and were removed.
#[derive(Clone, Debug, Serialize)]
pub struct KeyRemainsReport {
    name: String,
    files: Vec<String>,
    dry_run: bool,
}

impl KeyRemainsReport {
    /// Of these files.
    #[must_use]
    pub fn new(name: &KeyName, files: &[PathBuf], dry_run: bool) -> Self {
        let files = files.iter().map(|path| path.display().to_string()).collect();
        Self { name: name.to_string(), files, dry_run }
    }
}

impl Report for KeyRemainsReport {
    const SCHEMA: &'static str = "bulla/key-remains/v1";

    fn text(&self) -> String {
        let mut text = format!("{} was no key, but a part of one:\n", self.name);
        for file in &self.files {
            line(&mut text, format_args!("  {file}"));
        }
        text
    }
}

/// One key.
#[derive(Clone, Debug, Serialize)]
pub struct KeyReport {
    name: String,
    fingerprint: String,
    key_ids: KeyIds,
    algorithm: String,
    created: String,
    roles: Vec<RoleReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    loaded: Option<LoadedReport>,
    public_key: String,
}

/// The ids that documents of either mode declare for a key.
#[derive(Clone, Debug, Serialize)]
pub(super) struct KeyIds {
    spec: String,
    legacy: String,
}

impl From<&PublicKey> for KeyIds {
    fn from(key: &PublicKey) -> Self {
        let id = |dialect: Dialect| dialect.key_id(key, None).to_string();
        Self { spec: id(Dialect::Tuf1), legacy: id(Dialect::Notary1) }
    }
}

/// Where a loaded key is, and until when.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LoadedReport {
    #[serde(skip_serializing_if = "Option::is_none")]
    variable: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    until: String,
}

impl From<&LoadedKey> for LoadedReport {
    fn from(loaded: &LoadedKey) -> Self {
        let (variable, file) = match &loaded.source {
            KeySource::Variable(name) => (Some(name.to_string()), None),
            KeySource::File(path) => (None, Some(path.to_string())),
        };
        Self { variable, file, until: loaded.until.to_string() }
    }
}

/// A role of a key.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RoleReport {
    repository: String,
    role: String,
    /// `current`, `former`, or `noted`: nobody looked whether it is so.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    days_left: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<String>,
}

impl RoleReport {
    pub(super) fn current(duty: &Duty, now: UtcTime) -> Self {
        Self {
            repository: duty.repository.to_string(),
            role: duty.role.to_string(),
            state: "current",
            threshold: Some(duty.threshold.get()),
            expires: duty.expires.map(|expires| expires.to_string()),
            days_left: duty.expires.map(|expires| expires.seconds_since(now).div_euclid(DAY)),
            as_of: Some(duty.as_of.to_string()),
        }
    }

    pub(super) fn words(&self) -> String {
        let what = format!("{} of {}", self.role, self.repository);
        match self.state {
            "current" => format!("{what}, {}", self.term()),
            "former" => format!("{what} before, and no longer"),
            _ => format!("{what}, as this home noted"),
        }
    }

    /// How long what was signed for the role is valid.
    fn term(&self) -> String {
        match (self.days_left, &self.expires) {
            (Some(days), Some(expires)) if days < 0 => format!("expired on {expires}"),
            (Some(1), _) => "1 day left".to_owned(),
            (Some(days), _) => format!("{days} days left"),
            (None, _) => "nothing signed yet".to_owned(),
        }
    }
}

impl KeyReport {
    /// Of a key, with what is known of the roles of some repositories.
    #[must_use]
    pub fn new(key: &StoredKey, standings: &[Standing], now: UtcTime) -> Self {
        let duties: Vec<Duty> =
            standings.iter().flat_map(|standing| standing.of(key.sidecar.fingerprint)).collect();
        let mut roles: Vec<RoleReport> = duties.iter().map(|duty| RoleReport::current(duty, now)).collect();
        for held in &key.sidecar.roles {
            let is_listed =
                duties.iter().any(|duty| duty.repository == held.repository && duty.role == held.role);
            if is_listed {
                continue;
            }
            let asked = standings.iter().find(|standing| standing.repository == held.repository);
            roles.push(RoleReport {
                repository: held.repository.to_string(),
                role: held.role.to_string(),
                state: if asked.is_some() { "former" } else { "noted" },
                threshold: None,
                expires: None,
                days_left: None,
                as_of: asked.map(|standing| standing.as_of.to_string()),
            });
        }
        Self {
            name: key.name.to_string(),
            fingerprint: key.public.fingerprint().to_string(),
            key_ids: KeyIds::from(&key.public),
            algorithm: key.sidecar.algorithm.to_string(),
            created: key.sidecar.created.to_string(),
            roles,
            loaded: key.sidecar.loaded.as_ref().map(LoadedReport::from),
            public_key: key.public.to_pem(),
        }
    }
}

impl From<&StoredKey> for KeyReport {
    fn from(key: &StoredKey) -> Self {
        Self::new(key, &[], key.sidecar.created)
    }
}

impl Report for KeyReport {
    const SCHEMA: &'static str = "bulla/key/v1";

    fn text(&self) -> String {
        let mut text = format!(
            "name:        {}\nfingerprint: {}\nkey id:      {}\n             {} in legacy mode\n\
             algorithm:   {}\ncreated:     {}\n",
            self.name, self.fingerprint, self.key_ids.spec, self.key_ids.legacy, self.algorithm, self.created
        );
        for role in &self.roles {
            let words = match role.state {
                "noted" => format!("{} of {}", role.role, role.repository),
                _ => role.words(),
            };
            line(&mut text, format_args!("holds:       {words}"));
        }
        if let Some(loaded) = &self.loaded {
            line(&mut text, format_args!("loaded from: {}", loaded.words()));
        }
        text
    }
}

impl LoadedReport {
    pub(super) fn words(&self) -> String {
        let place = match (&self.variable, &self.file) {
            (Some(variable), _) => format!("the variable {variable}"),
            (None, file) => file.clone().unwrap_or_default(),
        };
        format!("{place}, until {}", self.until)
    }
}

/// All keys.
#[derive(Clone, Debug, Serialize)]
pub struct KeysReport {
    keys: Vec<KeyReport>,
}

impl KeysReport {
    /// Of these keys, with what is known of the roles of some repositories.
    #[must_use]
    pub fn new(keys: &[StoredKey], standings: &[Standing], now: UtcTime) -> Self {
        Self { keys: keys.iter().map(|key| KeyReport::new(key, standings, now)).collect() }
    }
}

impl Report for KeysReport {
    const SCHEMA: &'static str = "bulla/keys/v1";

    /// A line for each role of a key.
    fn text(&self) -> String {
        let rows = self.keys.iter().flat_map(|key| {
            let name = match &key.loaded {
                Some(_) => format!("{} (loaded)", key.name),
                None => key.name.clone(),
            };
            let first = vec![name, key.algorithm.clone(), key.fingerprint.clone()];
            let none = vec![String::new(), String::new(), String::new()];
            let roles: Vec<[String; 3]> = match key.roles.as_slice() {
                [] => vec![[String::new(), String::new(), String::new()]],
                roles => roles.iter().map(RoleReport::cells).collect(),
            };
            roles.into_iter().enumerate().map(move |(at, role)| {
                let front = if at == 0 { first.clone() } else { none.clone() };
                front.into_iter().chain(role).collect::<Vec<_>>()
            })
        });
        table(&["NAME", "ALGORITHM", "FINGERPRINT", "ROLE", "REPOSITORY", "EXPIRES"], rows)
    }
}

impl RoleReport {
    fn cells(&self) -> [String; 3] {
        let term = match self.state {
            "current" => self.term(),
            "former" => "no longer its key".to_owned(),
            _ => "not known".to_owned(),
        };
        [self.role.clone(), self.repository.clone(), term]
    }
}
