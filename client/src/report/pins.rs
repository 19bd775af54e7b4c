//! Answers about pins.

use serde::Serialize;

use super::table;
use crate::output::Report;
use crate::pins::{Mode, Pin, PinnedRoot};

/// One pin.
#[derive(Clone, Debug, Serialize)]
pub struct PinReport {
    pub(super) scope: String,
    pub(super) mode: Mode,
    root_sha256: Option<String>,
    root_keys: Vec<String>,
    root_threshold: Option<u32>,
    pub(super) server: Option<String>,
}

impl From<&Pin> for PinReport {
    fn from(pin: &Pin) -> Self {
        let (root_sha256, root_keys, root_threshold) = match &pin.root {
            PinnedRoot::Document(digest) => (Some(digest.to_string()), vec![], None),
            PinnedRoot::Keys { fingerprints, threshold } => {
                (None, fingerprints.iter().map(ToString::to_string).collect(), Some(threshold.get()))
            }
        };
        Self {
            scope: pin.scope.to_string(),
            mode: pin.mode,
            root_sha256,
            root_keys,
            root_threshold,
            server: pin.server.clone(),
        }
    }
}

impl PinReport {
    pub(super) fn root(&self) -> String {
        match (&self.root_sha256, self.root_threshold) {
            (Some(digest), _) => format!("document sha256:{digest}"),
            (None, threshold) => {
                format!("{} of keys {}", threshold.unwrap_or_default(), self.root_keys.join(", "))
            }
        }
    }
}

impl Report for PinReport {
    const SCHEMA: &'static str = "bulla/pin/v1";

    fn text(&self) -> String {
        format!("{}\n", self.scope)
    }
}

/// All pins.
#[derive(Clone, Debug, Serialize)]
pub struct PinsReport {
    pins: Vec<PinReport>,
}

impl PinsReport {
    /// Of these pins.
    #[must_use]
    pub fn new(pins: &[Pin]) -> Self {
        Self { pins: pins.iter().map(PinReport::from).collect() }
    }
}

impl Report for PinsReport {
    const SCHEMA: &'static str = "bulla/pins/v1";

    fn text(&self) -> String {
        let rows = self.pins.iter().map(|pin| {
            vec![pin.scope.clone(), pin.mode.to_string(), pin.root(), pin.server.clone().unwrap_or_default()]
        });
        table(&["SCOPE", "MODE", "ROOT", "SERVER"], rows)
    }
}
