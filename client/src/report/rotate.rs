//! Roles with other keys, and roles with a longer life.

use bulla_keys_schema::names::RepositoryName;
use serde::Serialize;

use super::changes::Written;
use super::{line, table};
use crate::flow::renew::{Left, Renewed};
use crate::flow::rotate::{Rotated, RotatedRole};
use crate::output::Report;

/// Roles that were rotated.
#[derive(Clone, Debug, Serialize)]
pub struct RotateReport {
    repository: String,
    roles: Vec<RotatedReport>,
    keys_made: Vec<String>,
    keys_left: Vec<String>,
    recovered: bool,
    #[serde(flatten)]
    written: Written,
}

#[derive(Clone, Debug, Serialize)]
struct RotatedReport {
    role: String,
    joined: Vec<String>,
    left: Vec<String>,
    threshold: u32,
    keys: usize,
}

impl RotateReport {
    /// Of what `rotate` did.
    #[must_use]
    pub fn new(repository: &RepositoryName, rotated: &Rotated) -> Self {
        Self {
            repository: repository.to_string(),
            roles: rotated.roles.iter().map(rotated_report).collect(),
            keys_made: rotated.made.iter().map(ToString::to_string).collect(),
            keys_left: rotated.left.iter().map(ToString::to_string).collect(),
            recovered: rotated.recovered,
            written: Written::from(&rotated.published),
        }
    }
}

impl Report for RotateReport {
    const SCHEMA: &'static str = "bulla/rotate/v1";

    fn text(&self) -> String {
        let mut text = String::new();
        for role in &self.roles {
            line(&mut text, format_args!("{}: {} of {} keys", role.role, role.threshold, role.keys));
            for key in &role.joined {
                line(&mut text, format_args!("  + {key}"));
            }
            for key in &role.left {
                line(&mut text, format_args!("  - {key}"));
            }
        }
        text
    }
}

/// Roles that were renewed.
#[derive(Clone, Debug, Serialize)]
pub struct RenewReport {
    repository: String,
    left: Vec<LeftReport>,
    #[serde(flatten)]
    written: Written,
}

#[derive(Clone, Debug, Serialize)]
struct LeftReport {
    role: String,
    expires: String,
    threshold: u32,
    here: Vec<String>,
    missing: Vec<String>,
}

impl RenewReport {
    /// Of what `renew` did.
    #[must_use]
    pub fn new(repository: &RepositoryName, renewed: &Renewed) -> Self {
        Self {
            repository: repository.to_string(),
            left: renewed.left.iter().map(left_report).collect(),
            written: renewed.published.as_ref().map(Written::from).unwrap_or_default(),
        }
    }
}

impl Report for RenewReport {
    const SCHEMA: &'static str = "bulla/renew/v1";

    fn text(&self) -> String {
        if self.written.documents.is_empty() {
            return "nothing renewed\n".to_owned();
        }
        let rows = self.written.documents.iter().map(|new| vec![new.role.clone(), new.version.to_string()]);
        table(&["ROLE", "VERSION"], rows)
    }
}

fn rotated_report(role: &RotatedRole) -> RotatedReport {
    RotatedReport {
        role: role.role.to_string(),
        joined: role.joined.iter().map(ToString::to_string).collect(),
        left: role.left.iter().map(ToString::to_string).collect(),
        threshold: role.threshold.get(),
        keys: role.keys,
    }
}

fn left_report(left: &Left) -> LeftReport {
    LeftReport {
        role: left.role.to_string(),
        expires: left.expires.to_string(),
        threshold: left.missing.threshold.get(),
        here: left.missing.here.iter().map(ToString::to_string).collect(),
        missing: left.missing.missing.iter().map(ToString::to_string).collect(),
    }
}
