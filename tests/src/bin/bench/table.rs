//! Medians, and the table they end in.

use serde_json::{Map, Value, json};

/// One line: what was measured, beside what it is compared with.
pub struct Line {
    /// What.
    pub name: String,
    /// Against what.
    pub base: String,
    /// Value divided by the base's, one per round.
    pub ratios: Vec<f64>,
    /// What the project wants to reach, if it said so.
    pub aim: Option<Aim>,
}

/// A bound on a ratio.
#[derive(Clone, Copy)]
pub enum Aim {
    /// More is better.
    AtLeast(f64),
    /// Less is better.
    AtMost(f64),
}

/// All that was measured.
#[derive(Default)]
pub struct Table {
    lines: Vec<Line>,
    numbers: Map<String, Value>,
}

impl Table {
    /// Adds a line.
    pub fn line(&mut self, name: &str, base: &str, aim: Option<Aim>, ratios: Vec<f64>) {
        self.lines.push(Line { name: name.to_owned(), base: base.to_owned(), ratios, aim });
    }

    /// Keeps numbers of this machine, one per round, for the JSON only.
    pub fn numbers(&mut self, name: &str, rounds: &[f64]) {
        self.numbers.insert(name.to_owned(), json!({ "median": median(rounds), "rounds": rounds }));
    }

    /// The table as Markdown.
    pub fn to_markdown(&self) -> String {
        let mut out = String::from("| What | Against | Ratio | Rounds | Aim |\n|---|---|---|---|---|\n");
        for line in &self.lines {
            let rounds: Vec<_> = line.ratios.iter().map(|ratio| short(*ratio)).collect();
            let aim = line.aim.map_or_else(String::new, |aim| aim.describe(median(&line.ratios)));
            let (ratio, rounds) = (short(median(&line.ratios)), rounds.join(" "));
            out.push_str(&format!("| {} | {} | **{ratio}** | {rounds} | {aim} |\n", line.name, line.base));
        }
        out
    }

    /// Everything, for machines.
    pub fn to_json(&self) -> Value {
        let line = |line: &Line| json!({ "name": line.name, "base": line.base, "ratio": median(&line.ratios), "rounds": line.ratios });
        json!({ "ratios": self.lines.iter().map(line).collect::<Vec<_>>(), "numbers": self.numbers })
    }
}

impl Aim {
    fn describe(self, value: f64) -> String {
        let (text, met) = match self {
            Self::AtLeast(bound) => (format!("at least {bound}"), value >= bound),
            Self::AtMost(bound) => (format!("at most {bound}"), value <= bound),
        };
        format!("{text}: {}", if met { "met" } else { "missed" })
    }
}

/// The middle value; the mean of the two middle ones where there are two.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
        _ => sorted[middle],
    }
}

fn short(number: f64) -> String {
    if number < 10.0 { format!("{number:.3}") } else { format!("{number:.1}") }
}
