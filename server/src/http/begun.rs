//! A body that has begun: its first boundary is there before anybody looks for it.
//!
//! `multer` 3.1 reads twice while it looks for the first boundary. What comes only with the second reading
//! is lost to it if the body ends there: a whole upload is refused as an incomplete one, once in thousands
//! of times (<https://github.com/rwf2/multer/pull/70>). A boundary that is there with the first reading is found.

use axum::body::Body;
use bytes::BytesMut;
use futures_util::{StreamExt as _, stream};

/// How many bytes are looked through for the first boundary. No client of ours sends a preamble.
const PREAMBLE: usize = 1024;

/// The same bytes, and the same errors, once `boundary` has come, or [`PREAMBLE`] bytes without it, or there are
/// no more. Trailers are dropped, which no upload has.
pub(super) async fn begun(body: Body, boundary: &str) -> Body {
    let mut rest = body.into_data_stream().fuse();
    let (mut first, mut failed) = (BytesMut::new(), None);
    while first.len() < PREAMBLE && !contains(&first, boundary.as_bytes()) {
        match rest.next().await {
            Some(Ok(bytes)) => first.extend_from_slice(&bytes),
            Some(Err(error)) => {
                failed = Some(Err(error));
                break;
            }
            None => break,
        }
    }
    Body::from_stream(stream::iter([Ok(first.freeze())]).chain(stream::iter(failed)).chain(rest))
}

fn contains(bytes: &[u8], boundary: &[u8]) -> bool {
    bytes.windows(boundary.len().max(1)).any(|window| window == boundary)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::task::{Context, Poll};

    use axum::extract::{FromRequest as _, Multipart, Request};
    use bytes::Bytes;
    use futures_util::FutureExt as _;

    use super::*;

    /// A body whose `parts` each come late, the last one together with the end.
    fn late(parts: impl IntoIterator<Item = &'static [u8]>) -> Body {
        let mut parts: VecDeque<_> = parts.into_iter().collect();
        let mut asked = false;
        Body::from_stream(stream::poll_fn(move |context: &mut Context<'_>| {
            asked = !asked && !parts.is_empty();
            if asked {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(parts.pop_front().map(|part| Ok::<_, Infallible>(Bytes::from_static(part))))
        }))
    }

    async fn first(body: Body) -> Option<Bytes> {
        let head = Request::builder().header("content-type", "multipart/form-data; boundary=b");
        let mut parts = Multipart::from_request(head.body(body).unwrap(), &()).await.unwrap();
        let part = parts.next_field().await.ok()??;
        part.bytes().await.ok()
    }

    const WHOLE: &[u8] = b"--b\r\ncontent-disposition: form-data; name=\"f\"\r\n\r\ntext\r\n--b--\r\n";

    #[tokio::test]
    async fn an_upload_that_comes_at_one_blow_is_read() {
        assert_eq!(first(begun(late([WHOLE]), "b").await).await.as_deref(), Some(&b"text"[..]));
        // Where this is read as well, nobody needs the above.
        assert_eq!(first(late([WHOLE])).await, None);
    }

    #[tokio::test]
    async fn an_upload_is_read_wherever_it_is_cut() {
        for at in 1..WHOLE.len() {
            let body = begun(late([&WHOLE[..at], &WHOLE[at..]]), "b").await;
            assert_eq!(first(body).await.as_deref(), Some(&b"text"[..]), "{at}");
        }
    }

    #[tokio::test]
    async fn what_precedes_the_boundary_hides_it_from_nobody() {
        let preamble: &[u8] = &[b'x'; PREAMBLE - 3];
        for parts in [[preamble, b"\r\n", WHOLE], [&[b'x'; 10], &[b'\r'; 500], WHOLE]] {
            let body = begun(late(parts), "b").await;
            assert_eq!(first(body).await.as_deref(), Some(&b"text"[..]));
        }
    }

    #[tokio::test]
    async fn who_has_sent_the_boundary_waits_for_nothing() {
        let open =
            stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"--b\r\n"))]).chain(stream::pending());
        assert!(begun(Body::from_stream(open), "b").now_or_never().is_some());
    }

    #[tokio::test]
    async fn an_end_is_an_end() {
        for length in 0..WHOLE.len() - 4 {
            assert_eq!(first(begun(late([&WHOLE[..length]]), "b").await).await, None, "{length}");
            assert_eq!(first(begun(Body::from(&WHOLE[..length]), "b").await).await, None, "{length}");
        }
        assert_eq!(axum::body::to_bytes(begun(late([WHOLE]), "b").await, 100).await.unwrap(), WHOLE);
    }

    #[tokio::test]
    async fn nothing_takes_no_room() {
        let nothing = stream::iter(0..1_000_000).map(|_| Ok::<_, Infallible>(Bytes::new()));
        let body =
            begun(Body::from_stream(nothing.chain(stream::iter([Ok(Bytes::from_static(WHOLE))]))), "b").await;
        let chunks: Vec<_> = body.into_data_stream().collect().await;
        assert_eq!(chunks.len(), 1);
    }

    #[tokio::test]
    async fn an_error_stays_one() {
        let broken = stream::iter([Ok(Bytes::from_static(b"--")), Err("broken"), Ok(Bytes::new())]);
        let body = begun(Body::from_stream(broken), "b").await;
        assert!(axum::body::to_bytes(body, 100).await.is_err());
    }
}
