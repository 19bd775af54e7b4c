//! A drill as its Markdown file says it: the blocks of commands, run one after the other by the
//! people whom the text names, and the lines below them, which the commands have to print.
//!
//! A line `**Somebody:**`, or one that begins with a name like that and ends with a colon, says who
//! types what follows in this section. A block begins with `sh` and, where they apply, `in spec` or `in legacy`
//! for one mode only, and `fails CODE`, both of which the text above has to say as well; `serves` is a
//! server that goes on. A block of `text` holds what the commands before it print, in this order,
//! where `...` stands for anything.

use std::collections::VecDeque;
use std::path::Path;

/// How the repository of the drill is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Spec,
    Legacy,
}

/// Commands that one person types into one terminal.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// Where it begins, for messages: file, line.
    pub place: String,
    /// Who types it.
    pub who: String,
    /// The exit code.
    pub code: i32,
    /// A server: it does not end.
    pub serves: bool,
    /// The commands.
    pub script: String,
    /// Lines that it prints.
    pub prints: Vec<String>,
    mode: Option<Mode>,
}

/// A file, split at its headings.
pub struct Drill {
    name: String,
    sections: VecDeque<(String, Vec<Block>)>,
}

impl Drill {
    /// The blocks of `examples/drills/NAME.md` that are typed in this mode.
    pub fn read(name: &str, mode: Mode) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/drills").join(name);
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut sections = parse(name, &text);
        for (_, blocks) in &mut sections {
            blocks.retain(|block| block.mode.is_none_or(|only| only == mode));
        }
        sections.retain(|(_, blocks)| !blocks.is_empty());
        Self { name: name.to_owned(), sections }
    }

    /// The blocks from here to the end of the section whose heading begins so.
    pub fn through(&mut self, heading: &str) -> Vec<Block> {
        let mut found = Vec::new();
        while let Some((title, blocks)) = self.sections.pop_front() {
            found.extend(blocks);
            if title.starts_with(heading) {
                return found;
            }
        }
        panic!("{} has no section {heading:?} with commands after those that were run", self.name)
    }

    /// All blocks that were not run yet.
    pub fn rest(&mut self) -> Vec<Block> {
        self.sections.drain(..).flat_map(|(_, blocks)| blocks).collect()
    }
}

fn parse(name: &str, text: &str) -> VecDeque<(String, Vec<Block>)> {
    let mut sections = VecDeque::from([(String::new(), Vec::<Block>::new())]);
    let (mut who, mut said) = (None, String::new());
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let place = format!("{name}:{}", at + 1);
        let Some(info) = line.strip_prefix("```") else {
            if let Some(heading) = line.strip_prefix('#') {
                sections.push_back((heading.trim_start_matches(['#', ' ']).to_owned(), Vec::new()));
                who = None;
            }
            who = speaker(line).or(who);
            said.push_str(line);
            continue;
        };
        let content: Vec<&str> =
            lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        let (_, blocks) = sections.back_mut().expect("there is one from the start");
        match info.split(' ').collect::<Vec<_>>().as_slice() {
            ["sh", words @ ..] => {
                let who = who.clone().unwrap_or_else(|| panic!("{place}: who types this?"));
                let block =
                    block(Block { place, who, script: content.join("\n"), ..Block::default() }, words);
                require_told(&block, &said);
                blocks.push(block);
            }
            ["text"] => {
                let before = blocks.last_mut().unwrap_or_else(|| panic!("{place}: who prints this?"));
                before.prints = content.into_iter().map(str::to_owned).collect();
            }
            _ => panic!("{place}: no block of a drill: {info:?}"),
        }
        said.clear();
    }
    sections
}

/// Whom a line names as the one who types what follows.
fn speaker(line: &str) -> Option<String> {
    let (name, rest) = line.strip_prefix("**")?.split_once("**")?;
    let colon = if rest.is_empty() { name } else { rest };
    let words = name.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    colon.ends_with(':').then(|| words.collect::<Vec<_>>().join("-").to_lowercase())
}

fn block(mut block: Block, words: &[&str]) -> Block {
    for pair in words.chunks(2) {
        match pair {
            ["serves"] => block.serves = true,
            ["in", "spec"] => block.mode = Some(Mode::Spec),
            ["in", "legacy"] => block.mode = Some(Mode::Legacy),
            ["fails", code] => block.code = code.parse().expect("an exit code"),
            other => panic!("{}: {other:?}", block.place),
        }
    }
    // Of several commands, nobody could say which one shall fail.
    let one = block.code == 0 || block.script.lines().count() == 1;
    assert!(one, "{}: a block that fails is one command", block.place);
    block
}

/// Readers see neither what a block is marked with nor what the test knows.
fn require_told(block: &Block, said: &str) {
    let mode = match block.mode {
        Some(Mode::Spec) => "spec mode",
        Some(Mode::Legacy) => "legacy mode",
        None => "",
    };
    let code = if block.code == 0 { String::new() } else { format!("exit code {}", block.code) };
    assert!(said.contains(mode) && said.contains(&code), "{}: not told: {mode} {code}", block.place);
}
