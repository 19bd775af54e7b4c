//! Long values on their way to a reader who may take them slowly, or never.
//!
//! A piece is read when the connection asks for it and not before, so whoever takes nothing holds
//! no more than for a short value: neither memory nor time of others.

use std::io::{self, Read};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;

/// How much is read at once, in bytes: what a connection holds of a value.
const PIECE: usize = 32 * 1024;

type Content = Box<dyn Read + Send>;

/// A body of what `content` gives. An error ends it, and then it is shorter than was told.
pub(super) fn body(content: Content) -> Body {
    Body::from_stream(stream::try_unfold(content, |content| async {
        let read = tokio::task::spawn_blocking(move || next(content));
        let (piece, content) = read.await.map_err(io::Error::other)??;
        Ok::<_, io::Error>((!piece.is_empty()).then_some((piece, content)))
    }))
}

/// The next piece, empty at the end.
fn next(mut content: Content) -> io::Result<(Bytes, Content)> {
    let mut piece = Vec::with_capacity(PIECE);
    (&mut content).take(PIECE as u64).read_to_end(&mut piece)?;
    Ok((piece.into(), content))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use futures_util::StreamExt as _;

    use super::*;

    /// Says how much of it was read by failing there.
    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::InvalidData.into())
        }
    }

    #[tokio::test]
    async fn all_comes_in_pieces() {
        let value: Vec<u8> = (0..100_000_u32).flat_map(u32::to_be_bytes).collect();
        let mut parts = body(Box::new(Cursor::new(value.clone()))).into_data_stream();
        let mut taken = Vec::new();
        while let Some(part) = parts.next().await {
            let part = part.unwrap();
            assert!(part.len() <= PIECE);
            taken.extend_from_slice(&part);
        }
        assert!(taken == value);
    }

    #[tokio::test]
    async fn no_short_body_looks_whole() {
        let content = Cursor::new(vec![b'x'; PIECE]).chain(Broken);
        let mut parts = body(Box::new(content)).into_data_stream();
        assert_eq!(parts.next().await.unwrap().unwrap().len(), PIECE);
        assert!(parts.next().await.unwrap().is_err());
        assert!(parts.next().await.is_none());
    }
}
