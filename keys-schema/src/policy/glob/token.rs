//! Patterns as lists of tokens, and the two questions about them: whether two of them share a text,
//! and whether one takes every text of another. A text is a pattern without wildcards, so that
//! matching is the first of the two.

use std::collections::{BTreeSet, VecDeque};

use super::InvalidGlob;

/// States of [`cover`] that are looked at before it gives up and says no.
const MOST_STATES: usize = 20_000;

/// A set of characters that a wildcard stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Digits: a port.
    Digit,
    /// What a host has before its port.
    Host,
    /// What one part has.
    Part,
    /// Any character.
    Any,
}

impl Class {
    const fn contains(self, c: char) -> bool {
        match self {
            Self::Digit => c.is_ascii_digit(),
            Self::Host => c != '/' && c != ':',
            Self::Part => c != '/',
            Self::Any => true,
        }
    }

    /// Every class is part of the ones that are listed after it.
    const fn is_within(self, other: Self) -> bool {
        self as usize <= other as usize
    }
}

/// A piece of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// This character.
    Char(char),
    /// One character of a class.
    One(Class),
    /// Any number of characters of a class.
    Star(Class),
}

/// A text as a pattern of itself.
pub(super) fn literal(text: &str) -> Vec<Token> {
    text.chars().map(Token::Char).collect()
}

/// The registry of a scope.
pub(super) fn host(host: &str) -> Result<Vec<Token>, InvalidGlob> {
    if matches!(host, "index.docker.io" | "registry-1.docker.io") {
        return Err(InvalidGlob::HubSpelling);
    }
    let (below, rest) = host.strip_prefix("*.").map_or((false, host), |rest| (true, rest));
    let (name, any_port) = rest.strip_suffix(":*").map_or((rest, false), |name| (name, true));
    // Whether it is a host at all is known once it stands before a name.
    let sample = if any_port { format!("{name}:1") } else { name.to_owned() };
    let is_host = !name.is_empty()
        && (below || name.contains('.') || name == "localhost" || sample.contains(':'))
        && !name.bytes().any(|b| b.is_ascii_uppercase())
        && format!("{sample}/a/b").parse::<crate::names::RepositoryName>().is_ok();
    if !is_host {
        return Err(InvalidGlob::Host);
    }
    let mut tokens = Vec::new();
    if below {
        tokens.extend([Token::One(Class::Host), Token::Star(Class::Host), Token::Char('.')]);
    }
    tokens.extend(literal(name));
    if any_port {
        tokens.extend([Token::Char(':'), Token::One(Class::Digit), Token::Star(Class::Digit)]);
    }
    Ok(tokens)
}

/// One part of a path. A part that is all wildcard is never empty.
pub(super) fn part(part: &str) -> Result<Vec<Token>, InvalidGlob> {
    match part {
        "*" => return Ok(vec![Token::One(Class::Part), Token::Star(Class::Part)]),
        "**" => return Ok(vec![Token::One(Class::Part), Token::Star(Class::Any)]),
        _ if part.contains("**") => return Err(InvalidGlob::DoubleStar),
        _ => {}
    }
    let is_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-*".contains(c);
    let dots_only = part.bytes().all(|b| b == b'.');
    if dots_only || !part.chars().all(is_of_name) {
        return Err(InvalidGlob::Character);
    }
    Ok(part.chars().map(|c| if c == '*' { Token::Star(Class::Part) } else { Token::Char(c) }).collect())
}

/// Whether some text is of both patterns. Looks at each pair of places once.
pub(super) fn meet(one: &[Token], other: &[Token]) -> bool {
    let width = other.len() + 1;
    let mut seen = vec![false; (one.len() + 1).saturating_mul(width)];
    let mut queue = VecDeque::from([(0, 0)]);
    while let Some((i, j)) = queue.pop_front() {
        match seen.get_mut(i * width + j) {
            Some(seen) if !*seen => *seen = true,
            _ => continue,
        }
        let (a, b) = (one.get(i), other.get(j));
        if a.is_none() && b.is_none() {
            return true;
        }
        if matches!(a, Some(Token::Star(_))) {
            queue.push_back((i + 1, j));
        }
        if matches!(b, Some(Token::Star(_))) {
            queue.push_back((i, j + 1));
        }
        if let (Some(a), Some(b)) = (a, b)
            && share(*a, *b)
        {
            queue.push_back((after(*a, i), after(*b, j)));
        }
    }
    false
}

/// Where a pattern stands once the token at `at` has taken a character.
const fn after(token: Token, at: usize) -> usize {
    if matches!(token, Token::Star(_)) { at } else { at + 1 }
}

/// Whether some character is of both.
fn share(one: Token, other: Token) -> bool {
    match (one, other) {
        (Token::Char(a), Token::Char(b)) => a == b,
        (Token::Char(c), Token::One(class) | Token::Star(class))
        | (Token::One(class) | Token::Star(class), Token::Char(c)) => class.contains(c),
        _ => true,
    }
}

/// Whether `wide` takes every text of `narrow`: all ways through `narrow`, against the set of places
/// where `wide` can be. A wildcard of `narrow` has to fit into one of `wide` as a whole, so that a no
/// can be wrong, and a yes cannot.
pub(super) fn cover(wide: &[Token], narrow: &[Token]) -> bool {
    let mut queue = VecDeque::from([(0, closure(wide, BTreeSet::from([0])))]);
    let mut seen = BTreeSet::new();
    while let Some(state) = queue.pop_front() {
        if seen.len() > MOST_STATES {
            return false;
        }
        if !seen.insert(state.clone()) {
            continue;
        }
        let (at, places) = state;
        let Some(token) = narrow.get(at) else {
            if places.contains(&wide.len()) {
                continue;
            }
            return false;
        };
        if matches!(token, Token::Star(_)) {
            queue.push_back((at + 1, places.clone()));
        }
        let next = places.iter().filter_map(|place| {
            let taking = wide.get(*place)?;
            takes(*taking, *token).then(|| after(*taking, *place))
        });
        let next = closure(wide, next.collect());
        if next.is_empty() {
            return false;
        }
        queue.push_back((after(*token, at), next));
    }
    true
}

/// Whether `wide` takes each character of `narrow`.
fn takes(wide: Token, narrow: Token) -> bool {
    match (wide, narrow) {
        (Token::Char(a), Token::Char(b)) => a == b,
        (Token::Char(_), _) => false,
        (Token::One(class) | Token::Star(class), Token::Char(c)) => class.contains(c),
        (Token::One(wide) | Token::Star(wide), Token::One(narrow) | Token::Star(narrow)) => {
            narrow.is_within(wide)
        }
    }
}

/// The places, and those behind stars that take nothing.
fn closure(tokens: &[Token], mut places: BTreeSet<usize>) -> BTreeSet<usize> {
    let mut open: Vec<usize> = places.iter().copied().collect();
    while let Some(place) = open.pop() {
        if matches!(tokens.get(place), Some(Token::Star(_))) && places.insert(place + 1) {
            open.push(place + 1);
        }
    }
    places
}
