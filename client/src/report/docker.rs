//! A repository as `docker trust inspect --pretty` shows it, for people who know it from there.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::str::Chars;

use bulla_keys_schema::key::KeyId;
use bulla_keys_schema::names::RoleName;
use serde::Serialize;

use super::{InspectReport, line};
use crate::flow::inspect::{Inspection, RoleState, TagState};
use crate::output::Report;

/// How many characters of a key's id Docker shows.
const SHORT_ID: usize = 12;
/// Narrowest column, and the space between two.
const COLUMN: usize = 10;
const GAP: usize = 3;

/// A repository of Notary's, inspected. As JSON it is an [`InspectReport`].
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct DockerReport {
    report: InspectReport,
    #[serde(skip)]
    text: String,
}

impl DockerReport {
    /// Of an inspection of `image`, as it was typed.
    #[must_use]
    pub fn new(inspection: &Inspection, image: &str) -> Self {
        Self { report: InspectReport::from(inspection), text: text(inspection, image) }
    }
}

impl Report for DockerReport {
    const SCHEMA: &'static str = InspectReport::SCHEMA;

    fn text(&self) -> String {
        self.text.clone()
    }
}

fn text(inspection: &Inspection, image: &str) -> String {
    let mut text = String::new();
    let mut tags: Vec<&TagState> = inspection.tags.iter().filter(|tag| tag.digest.is_some()).collect();
    tags.sort_by(|a, b| natural(&a.tag, &b.tag));
    if tags.is_empty() {
        line(&mut text, format_args!("\nNo signatures for {image}\n"));
    } else {
        line(&mut text, format_args!("\nSignatures for {image}\n"));
        let rows = tags.into_iter().map(|tag| {
            let digest = tag.digest.map(|digest| digest.to_string()).unwrap_or_default();
            [tag.tag.clone(), digest, signers_of(tag)]
        });
        text += &columns(["SIGNED TAG", "DIGEST", "SIGNERS"], rows);
    }
    if !inspection.signers.is_empty() {
        line(&mut text, format_args!("\nList of signers and their keys for {image}\n"));
        let mut rows: Vec<[String; 2]> =
            inspection.signers.iter().map(|s| [s.name.to_string(), ids(&s.key_ids, SHORT_ID)]).collect();
        rows.sort_by(|[a, _], [b, _]| natural(a, b));
        text += &columns(["SIGNER", "KEYS"], rows.into_iter());
    }
    line(&mut text, format_args!("\nAdministrative keys for {image}\n"));
    for (role, title) in [(RoleName::Targets, "Repository Key"), (RoleName::Root, "Root Key")] {
        let state: Option<&RoleState> = inspection.roles.iter().find(|state| state.role == role);
        let keys = state.map(|state| ids(&state.key_ids, usize::MAX)).unwrap_or_default();
        line(&mut text, format_args!("  {title}:\t{keys}"));
    }
    text
}

/// `targets` is nobody's name there.
fn signers_of(tag: &TagState) -> String {
    let mut names: Vec<&str> =
        tag.signed_by.iter().filter(|role| **role != RoleName::Targets).map(RoleName::as_str).collect();
    names.sort_unstable();
    if names.is_empty() { "(Repo Admin)".to_owned() } else { names.join(", ") }
}

fn ids(ids: &[KeyId], length: usize) -> String {
    let mut ids: Vec<&str> = ids.iter().map(KeyId::as_str).collect();
    ids.sort_unstable();
    let short = ids.into_iter().map(|id| id.get(..length).unwrap_or(id));
    short.collect::<Vec<_>>().join(", ")
}

/// Columns as Go's `tabwriter` makes them: the last one is not filled up.
fn columns<const N: usize>(header: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    // What metadata of others says must not steer the terminal.
    let escape = |cell: String| cell.escape_debug().to_string().replace("\\'", "'");
    let rows: Vec<[String; N]> =
        [header.map(str::to_owned)].into_iter().chain(rows.map(|row| row.map(escape))).collect();
    let width = |column: usize| {
        let widest = rows.iter().filter_map(|row| Some(row.get(column)?.chars().count())).max();
        widest.map_or(0, |widest| (widest + GAP).max(COLUMN))
    };
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            let fill = if column + 1 < N { width(column).saturating_sub(cell.chars().count()) } else { 0 };
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', fill));
        }
        text.push('\n');
    }
    text
}

/// Sorts numbers in names by their value: 1.9 before 1.10.
fn natural(one: &str, other: &str) -> Ordering {
    let (mut a, mut b) = (one.chars().peekable(), other.chars().peekable());
    loop {
        match (a.peek().copied(), b.peek().copied()) {
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let (x, y) = (number(&mut a), number(&mut b));
                let order = x.len().cmp(&y.len()).then(x.cmp(&y));
                if order.is_ne() {
                    return order;
                }
            }
            (Some(x), Some(y)) if x == y => {
                a.next();
                b.next();
            }
            (None, None) => return one.cmp(other),
            (x, y) => return x.cmp(&y),
        }
    }
}

/// The digits of the number that begins here, without leading zeros.
fn number(text: &mut Peekable<Chars<'_>>) -> String {
    let digits: String = std::iter::from_fn(|| text.next_if(char::is_ascii_digit)).collect();
    digits.trim_start_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_count_by_their_value() {
        let mut names = ["latest", "1.10", "a1", "1.9", "1.9-b", "01.9", "rc", "a", "", "A2", "1.a"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["", "01.9", "1.9", "1.9-b", "1.10", "1.a", "A2", "a", "a1", "latest", "rc"]);
    }

    #[test]
    fn columns_are_as_wide_as_they_have_to_be() {
        let rows = [["v1", "d", "alice"], ["a\u{1b}long-one", "d", "bob"]].map(|row| row.map(str::to_owned));
        let text = columns(["TAG", "DIGEST", "BY"], rows.into_iter());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "TAG               DIGEST    BY",
                "v1                d         alice",
                "a\\u{1b}long-one   d         bob",
            ]
        );
    }
}
