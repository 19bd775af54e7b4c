//! PEM (RFC 7468) without its looseness: one text is one block and nothing else.
//!
//! Readers that take the first block, the last one, or skip text in front would each see
//! another key in one file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pem_rfc7468::Decoder;

const BEGIN: &str = "-----BEGIN ";
const LINE_CHARACTERS: usize = 64;

/// Why a text is not exactly one PEM block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPem {
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

/// `content` as a PEM block with line feeds, 64 characters a line, as Go and OpenSSL write
/// it.
pub(super) fn encode(label: &str, content: &[u8]) -> String {
    let mut text = format!("{BEGIN}{label}-----\n");
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
}
