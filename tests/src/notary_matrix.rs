//! A table of what each command of a client does with each trust server.
//!
//! The commands of one column build on each other. A step that fails is noted and the next one is
//! tried all the same, so that one run shows everything that is wrong.

use std::any::Any;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;

use crate::notary::{RunningTrustServer, TrustServer};

/// What a command did, as a cell of the table says it.
pub type Outcome = &'static str;

/// It did what it should.
pub const OK: Outcome = "ok";
/// It ended with an error and changed nothing, as it should.
pub const REFUSED: Outcome = "refused";

/// The column of one server: what each command did with it.
pub struct Column {
    server: TrustServer,
    cells: Vec<(&'static str, Result<Outcome, String>)>,
}

impl Column {
    /// Does one step, which panics if the command does not do what it should.
    pub fn step(&mut self, command: &'static str, step: impl FnOnce() -> Outcome) {
        let done = catch_unwind(AssertUnwindSafe(step)).map_err(|panic| said(panic.as_ref()));
        self.cells.push((command, done));
    }
}

/// Runs `steps` with every server, side by side, and prints the table. `folder` is for the servers.
///
/// # Panics
/// A step failed.
pub fn run(client: &str, folder: &Path, steps: impl Fn(&RunningTrustServer, &mut Column) + Sync) {
    let columns: Vec<Column> = thread::scope(|scope| {
        let running: Vec<_> = TrustServer::ALL
            .into_iter()
            .map(|kind| {
                let steps = &steps;
                scope.spawn(move || {
                    let server = kind.start(&folder.join(kind.name().replace([' ', ','], "-")))?;
                    let mut column = Column { server: kind, cells: Vec::new() };
                    steps(&server, &mut column);
                    Some(column)
                })
            })
            .collect();
        running.into_iter().filter_map(|thread| thread.join().expect("steps are caught")).collect()
    });
    print!("{}", table(client, &columns));
    let failed: Vec<String> = columns.iter().flat_map(failures).collect();
    assert!(failed.is_empty(), "{client}: {} steps failed\n{}", failed.len(), failed.join("\n"));
}

fn table(client: &str, columns: &[Column]) -> String {
    let names: Vec<&str> = columns.iter().map(|column| column.server.name()).collect();
    let mut text = format!("| {client} | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
    let rows = columns.iter().map(|column| column.cells.len()).max().unwrap_or_default();
    for row in 0..rows {
        let command = columns.iter().find_map(|column| column.cells.get(row)).map_or("", |cell| cell.0);
        let cells: Vec<&str> = columns
            .iter()
            .map(|column| match column.cells.get(row) {
                Some((_, Ok(outcome))) => outcome,
                Some((_, Err(_))) => "FAILED",
                None => "",
            })
            .collect();
        writeln!(text, "| {command} | {} |", cells.join(" | ")).expect("text can be written");
    }
    text
}

fn failures(column: &Column) -> Vec<String> {
    let failed = column.cells.iter().filter_map(|(command, done)| {
        let reason = done.as_ref().err()?;
        Some(format!("{} with {}: {reason}", command, column.server.name()))
    });
    failed.collect()
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words").to_owned()
}
