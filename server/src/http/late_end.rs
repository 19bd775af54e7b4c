//! A body whose end comes by itself, never in the same breath as what precedes it.
//!
//! `multer` 3.1 reads twice while it looks for the first boundary. What comes only with the second reading
//! is lost to it if the body ends there: a whole upload is refused as an incomplete one, once in thousands
//! of times (<https://github.com/rwf2/multer/pull/70>). An end that lets itself be asked for once more never
//! comes with the second reading.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::Stream;

/// See the head of this file.
struct LateEnd {
    body: BodyDataStream,
    has_ended: bool,
}

/// The same bytes, and the same errors. Trailers are dropped, which no upload has.
pub(super) fn late_end(body: Body) -> Body {
    Body::from_stream(LateEnd { body: body.into_data_stream(), has_ended: false })
}

impl Stream for LateEnd {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.body).poll_next(context) {
            Poll::Ready(None) => {
                self.has_ended = true;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            progress => progress,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::extract::{FromRequest as _, Multipart, Request};
    use futures_util::stream;

    use super::*;

    /// A body of which nothing is there when it is first asked for, and everything right after.
    fn sudden(bytes: &'static [u8]) -> Body {
        let mut asked = 0;
        Body::from_stream(stream::poll_fn(move |context: &mut Context<'_>| {
            asked += 1;
            match asked {
                1 => {
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                2 => Poll::Ready(Some(Ok::<_, Infallible>(Bytes::from_static(bytes)))),
                _ => Poll::Ready(None),
            }
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
        assert_eq!(first(late_end(sudden(WHOLE))).await.as_deref(), Some(&b"text"[..]));
        // Where this is read as well, nobody needs the above.
        assert_eq!(first(sudden(WHOLE)).await, None);
    }

    #[tokio::test]
    async fn an_end_is_an_end() {
        for length in 0..WHOLE.len() - 4 {
            assert_eq!(first(late_end(sudden(&WHOLE[..length]))).await, None, "{length}");
            assert_eq!(first(late_end(Body::from(&WHOLE[..length]))).await, None, "{length}");
        }
        assert_eq!(axum::body::to_bytes(late_end(sudden(WHOLE)), 100).await.unwrap(), WHOLE);
    }
}
