//! PEM (RFC 7468) without its looseness: one text is one block and nothing else.
//!
//! Readers that take the first block, the last one, or skip text in front would each see
//! another key in one file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pem_rfc7468::Decoder;
use zeroize::Zeroizing;

const BEGIN: &str = "-----BEGIN ";
const LINE_CHARACTERS: usize = 64;
/// Longest value of a header, in bytes.
const HEADER_BYTES: usize = 512;

/// Why a text is not exactly one PEM block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPem {
    /// A header (RFC 1421) that is unknown, repeated or malformed.
    #[error("an unknown, repeated or malformed header in the PEM block")]
    Header,
    /// Not one of the wanted labels.
    #[error("the PEM block is not labelled `{wanted}`")]
    Label {
        /// The label it should have.
        wanted: &'static str,
    },
    /// More than one block.
    #[error("more than one PEM block")]
    Several,
    /// No block at the start, text behind it, a header, or bad base64.
    #[error("not one whole PEM block with nothing before and after it")]
    Structure,
    /// Larger than any key.
    #[error("larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// More blocks than a bundle may have.
    #[error("more than {limit} PEM blocks")]
    TooMany {
        /// The limit.
        limit: usize,
    },
}

/// The content of the one block of `text`, whose label must be among `labels`. White space
/// around the block is ignored.
pub(super) fn decode(text: &str, labels: &[&'static str], limit: usize) -> Result<Vec<u8>, InvalidPem> {
    if text.len() > limit {
        return Err(InvalidPem::TooLarge { limit });
    }
    let block = text.trim_ascii();
    if !block.starts_with(BEGIN) {
        return Err(InvalidPem::Structure);
    }
    if block.matches(BEGIN).nth(1).is_some() {
        return Err(InvalidPem::Several);
    }
    let structure = |_| InvalidPem::Structure;
    let mut decoder = Decoder::new_detect_wrap(block.as_bytes()).map_err(structure)?;
    if !labels.contains(&decoder.type_label()) {
        return Err(InvalidPem::Label { wanted: labels.first().copied().unwrap_or_default() });
    }
    let mut content = Vec::new();
    decoder.decode_to_end(&mut content).map_err(structure)?;
    Ok(content)
}

/// The contents of all blocks of `text`, each with this label, at least one and at most
/// `count`. Each begins on a line of its own, with nothing but white space in front.
pub(super) fn decode_all(
    text: &str,
    label: &'static str,
    limit: usize,
    count: usize,
) -> Result<Vec<Vec<u8>>, InvalidPem> {
    if text.len() > limit {
        return Err(InvalidPem::TooLarge { limit });
    }
    let starts = text.match_indices(BEGIN).map(|(at, _)| at).skip(1);
    let ends = starts.chain([text.len()]);
    let mut contents = Vec::new();
    let mut start = 0;
    for end in ends {
        if contents.len() == count {
            return Err(InvalidPem::TooMany { limit: count });
        }
        let block = text.get(start..end).ok_or(InvalidPem::Structure)?;
        if end < text.len() && !block.ends_with('\n') {
            return Err(InvalidPem::Structure);
        }
        contents.push(decode(block, &[label], limit)?);
        start = end;
    }
    Ok(contents)
}

/// The label in the first line of `text`, whatever comes behind it.
pub(super) fn label(text: &str) -> Option<&str> {
    let first = text.trim_ascii_start().lines().next()?;
    first.trim_ascii_end().strip_prefix(BEGIN)?.strip_suffix("-----")
}

/// One block of PEM with headers (RFC 1421 4.4), which Notary v1 writes into key files.
pub(super) struct Block {
    pub(super) label: &'static str,
    headers: Headers,
    pub(super) content: Zeroizing<Vec<u8>>,
}

impl Block {
    /// Reads the one block of `text`, whose label and whose headers' names must be among
    /// those given. It may have no headers at all.
    pub(super) fn decode(
        text: &str,
        labels: &[&'static str],
        names: &[&'static str],
        limit: usize,
    ) -> Result<Self, InvalidPem> {
        if text.len() > limit {
            return Err(InvalidPem::TooLarge { limit });
        }
        let (begin, behind) = text.trim_ascii().split_once('\n').ok_or(InvalidPem::Structure)?;
        let begin = begin.trim_ascii_end();
        if !begin.starts_with(BEGIN) {
            return Err(InvalidPem::Structure);
        }
        let wanted = labels.first().copied().unwrap_or_default();
        let has_label = |label: &&str| {
            begin.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix("-----")) == Some(label)
        };
        let label = labels.iter().copied().find(has_label).ok_or(InvalidPem::Label { wanted })?;
        let (headers, body) = split_headers(behind, names)?;
        let plain = Zeroizing::new([begin, "\n", body].concat());
        let content = Zeroizing::new(decode(&plain, &[label], limit)?);
        Ok(Self { label, headers, content })
    }

    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| *other == name).map(|(_, value)| &**value)
    }
}

type Headers = Vec<(&'static str, Box<str>)>;

/// The headers up to the blank line, and what stands behind it. No line of base64 holds a
/// colon, so the first line shows whether there are any.
fn split_headers<'a>(text: &'a str, names: &[&'static str]) -> Result<(Headers, &'a str), InvalidPem> {
    let mut headers = Headers::new();
    if !text.lines().next().is_some_and(|line| line.contains(':')) {
        return Ok((headers, text));
    }
    let mut rest = text;
    loop {
        let (line, behind) = rest.split_once('\n').ok_or(InvalidPem::Header)?;
        rest = behind;
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            return Ok((headers, rest));
        }
        let (name, value) = header(line, names)?;
        if headers.iter().any(|(other, _)| *other == name) {
            return Err(InvalidPem::Header);
        }
        headers.push((name, value));
    }
}

/// A line `name: value` whose name is known.
fn header(line: &str, names: &[&'static str]) -> Result<(&'static str, Box<str>), InvalidPem> {
    let (name, value) = line.split_once(':').ok_or(InvalidPem::Header)?;
    let name = names.iter().find(|known| **known == name).ok_or(InvalidPem::Header)?;
    let value = value.trim_ascii();
    let fits = (1..=HEADER_BYTES).contains(&value.len()) && !value.chars().any(char::is_control);
    if fits { Ok((*name, value.into())) } else { Err(InvalidPem::Header) }
}

/// `content` as a PEM block with line feeds, 64 characters a line, as Go and OpenSSL write
/// it.
pub(super) fn encode(label: &str, content: &[u8]) -> String {
    encode_with_headers(label, &[], content)
}

/// The same with headers, in this order, and a blank line behind them.
pub(super) fn encode_with_headers(label: &str, headers: &[(&str, &str)], content: &[u8]) -> String {
    let mut text = format!("{BEGIN}{label}-----\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\n"));
    }
    if !headers.is_empty() {
        text.push('\n');
    }
    for (at, character) in STANDARD.encode(content).chars().enumerate() {
        if at > 0 && at % LINE_CHARACTERS == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str(&format!("\n-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    use pem_rfc7468::LineEnding;

    use super::*;

    const LABELS: [&str; 2] = ["A KEY", "B KEY"];

    fn refusal(text: &str) -> InvalidPem {
        decode(text, &LABELS, 4096).unwrap_err()
    }

    #[test]
    fn writes_what_the_library_writes() {
        for length in [1, 47, 48, 49, 96, 100] {
            let content = vec![7; length];
            let expected = pem_rfc7468::encode_string("A KEY", LineEnding::LF, &content).unwrap();
            assert_eq!(encode("A KEY", &content), expected);
        }
    }

    #[test]
    fn reads_one_block_of_any_width_and_line_end() {
        let content = [7; 100];
        let text = encode("B KEY", &content);
        let body = STANDARD.encode(content);
        let one_line = format!("-----BEGIN A KEY-----\n{body}\n-----END A KEY-----");
        let crlf = text.replace('\n', "\r\n");
        let padded = format!("\n {text}\n\n");
        for text in [text.trim(), &text, &crlf, &padded, &one_line] {
            assert_eq!(decode(text, &LABELS, 4096).unwrap(), content, "{text}");
        }
    }

    #[test]
    fn refuses_everything_around_and_beside_the_block() {
        let text = encode("A KEY", &[7; 100]);
        for bad in [
            String::new(),
            "A KEY".to_owned(),
            format!("preamble\n{text}"),
            format!("{text}trailing"),
            text.replace("A KEY-----\n", "A KEY-----\nProc-Type: 4,ENCRYPTED\n\n"),
            text.replace("END A", "END B"),
            text.replacen("Bw", "!w", 1),
        ] {
            assert_eq!(refusal(&bad), InvalidPem::Structure, "{bad}");
        }
        assert_eq!(refusal(&format!("{text}{text}")), InvalidPem::Several);
        assert_eq!(refusal(&encode("C KEY", b"x")), InvalidPem::Label { wanted: "A KEY" });
        assert_eq!(refusal(&" ".repeat(4097)), InvalidPem::TooLarge { limit: 4096 });
    }

    #[test]
    fn reads_known_headers_in_any_order() {
        let read = |text: &str| Block::decode(text, &LABELS, &["role", "gun"], 4096);
        let plain = encode("B KEY", &[7; 100]);
        let text = encode_with_headers("B KEY", &[("gun", "a.b:5/c"), ("role", "root")], &[7; 100]);
        assert!(text.starts_with("-----BEGIN B KEY-----\ngun: a.b:5/c\nrole: root\n\nBw"));
        let swapped = text.replace("gun: a.b:5/c\nrole: root\n", "role:root\ngun:  a.b:5/c \n");
        for text in [&text, &swapped, &text.replace('\n', "\r\n"), &format!("\n{text}\n")] {
            let block = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((block.label, &block.content[..]), ("B KEY", &[7; 100][..]));
            assert_eq!(
                (block.header("role"), block.header("gun")),
                (Some("root"), Some("a.b:5/c")),
                "{text}"
            );
        }
        let block = read(&plain).unwrap();
        assert_eq!((block.header("role"), &block.content[..]), (None, &[7; 100][..]));
        let bad = |from: &str, to: &str| {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text);
            read(&changed).err()
        };
        for (from, to, expected) in [
            ("role", "Role", InvalidPem::Header),
            ("role", "path", InvalidPem::Header),
            ("role", "gun", InvalidPem::Header),
            ("role: root", "role:", InvalidPem::Header),
            ("role: root", "role", InvalidPem::Header),
            ("role: root", "role: a\u{7}b", InvalidPem::Header),
            ("role: root", " role: root", InvalidPem::Header),
            ("root\n\n", "root\n", InvalidPem::Header),
            ("\n\n", "\n\n\n\n", InvalidPem::Structure),
            ("gun: a.b:5/c\n", "\ngun: a.b:5/c\n", InvalidPem::Structure),
            ("B KEY", "C KEY", InvalidPem::Label { wanted: "A KEY" }),
            ("-----BEGIN", "x\n-----BEGIN", InvalidPem::Structure),
        ] {
            assert_eq!(bad(from, to), Some(expected), "{from:?} -> {to:?}");
        }
        assert_eq!(read(&format!("{text}{plain}")).err(), Some(InvalidPem::Several));
        assert_eq!(read(&text.replace("root", &"a".repeat(513))).err(), Some(InvalidPem::Header));
        for end in 0..text.trim_end().len() {
            assert!(read(&text[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn reads_several_blocks_and_nothing_between() {
        let [a, b] = [1, 2].map(|byte| encode("A KEY", &[byte; 100]));
        let read = |text: &str| decode_all(text, "A KEY", 4096, 2);
        let both = vec![vec![1; 100], vec![2; 100]];
        assert_eq!(read(&a), Ok(vec![vec![1; 100]]));
        for text in [format!("{a}{b}"), format!("\n{a}\r\n\n{b}\n").replace('\n', "\r\n")] {
            assert_eq!(read(&text), Ok(both.clone()), "{text}");
        }
        for (bad, expected) in [
            (String::new(), InvalidPem::Structure),
            (format!("x{a}{b}"), InvalidPem::Structure),
            (format!("{a}x{b}"), InvalidPem::Structure),
            (format!("{a}{b}x"), InvalidPem::Structure),
            (format!("{}{b}", a.trim_end()), InvalidPem::Structure),
            (format!("{a}{}", encode("B KEY", b"x")), InvalidPem::Label { wanted: "A KEY" }),
            (format!("{a}{b}{a}"), InvalidPem::TooMany { limit: 2 }),
            (" ".repeat(4097), InvalidPem::TooLarge { limit: 4096 }),
        ] {
            assert_eq!(read(&bad), Err(expected), "{bad}");
        }
    }
}
