//! What became of tags that cosign signed.

use bulla_keys_schema::names::RepositoryName;
use serde::Serialize;

use super::changes::Written;
use super::{line, table};
use crate::flow::cosign::import::{Fate, Import, Outcome};
use crate::output::Report;

/// The answer of `cosign import`.
#[derive(Clone, Debug, Serialize)]
pub struct CosignImportReport {
    repository: String,
    tags: Vec<TagReport>,
    #[serde(flatten)]
    written: Written,
}

#[derive(Clone, Debug, Serialize)]
struct TagReport {
    tag: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    fate: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl CosignImportReport {
    /// Of one import.
    #[must_use]
    pub fn new(repository: &RepositoryName, imported: &Import) -> Self {
        Self {
            repository: repository.to_string(),
            tags: imported.tags.iter().map(TagReport::from).collect(),
            written: imported.published.as_ref().map(Written::from).unwrap_or_default(),
        }
    }
}

impl From<&Outcome> for TagReport {
    fn from(outcome: &Outcome) -> Self {
        let (fate, reason) = match &outcome.fate {
            Fate::Imported => ("imported", None),
            Fate::Known => ("skipped", None),
            Fate::Refused(refusal) => ("refused", Some(refusal.to_string())),
        };
        let digest = outcome.digest.map(|digest| digest.to_oci());
        Self { tag: outcome.tag.to_string(), digest, fate, reason }
    }
}

impl Report for CosignImportReport {
    const SCHEMA: &'static str = "bulla/cosign-import/v1";

    fn text(&self) -> String {
        let rows = self.tags.iter().map(|tag| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            vec![tag.tag.clone(), tag.fate.to_owned(), text(&tag.digest), text(&tag.reason)]
        });
        let mut text = table(&["TAG", "FATE", "DIGEST", "WHY"], rows);
        let count = |fate| self.tags.iter().filter(|tag| tag.fate == fate).count();
        let (imported, skipped, refused) = (count("imported"), count("skipped"), count("refused"));
        text.push('\n');
        line(&mut text, format_args!("{imported} imported, {skipped} signed before, {refused} refused"));
        text
    }
}
