//! Long values on their way to a reader who may take them slowly, or never.
//!
//! A piece is read when the connection asks for it and not before, so whoever takes nothing holds
//! no more than for a short value: neither memory nor time of others.

use std::io::{self, Read};

use axum::body::Body;
use bulla_keys_schema::digest::Sha256Digest;
use bytes::Bytes;
use futures_util::stream;

/// How much is read at once, in bytes: what a connection holds of a value.
const PIECE: usize = 32 * 1024;

type Content = Box<dyn Read + Send>;

/// A body of what `content`, the value of this digest, gives. An error ends it, and then it is
/// shorter than was told; only the log can say why, because the status was sent long before.
pub(super) fn body(content: Content, digest: Sha256Digest) -> Body {
    Body::from_stream(stream::try_unfold(content, move |content| async move {
        let read = tokio::task::spawn_blocking(move || next(content)).await;
        let (piece, content) = read.map_err(io::Error::other).flatten().inspect_err(|error| {
            tracing::error!(%digest, %error, "a stored value broke off while it was sent");
        })?;
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
    use std::sync::Arc;

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
        let mut parts =
            body(Box::new(Cursor::new(value.clone())), Sha256Digest::of(&value)).into_data_stream();
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
        let log = Arc::new(tempfile::NamedTempFile::new().unwrap());
        let subscriber = tracing_subscriber::fmt().with_writer(Arc::new(log.reopen().unwrap())).finish();
        let _logged = tracing::subscriber::set_default(subscriber);
        let digest = Sha256Digest::of(b"a value");
        let content = Cursor::new(vec![b'x'; PIECE]).chain(Broken);
        let mut parts = body(Box::new(content), digest).into_data_stream();
        assert_eq!(parts.next().await.unwrap().unwrap().len(), PIECE);
        assert!(parts.next().await.unwrap().is_err());
        assert!(parts.next().await.is_none());
        let said = std::fs::read_to_string(log.path()).unwrap();
        assert_eq!(said.matches(&digest.to_string()).count(), 1, "{said}");
    }
}
