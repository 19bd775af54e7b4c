//! What still comes of a body after its request was answered.
//!
//! Whoever is refused before his body was read goes on sending it. If the connection is closed then, his next
//! write fails, and many clients never look for the answer: they say "broken pipe" where the server said
//! "busy" or who may publish. So the rest is taken and thrown away, for a while. HTTP/2 can stop one stream
//! (RFC 9113 8.1), but curl 7.88, which is that of Debian 12, then looks for the answer no more than the others do.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody as _};
use axum::extract::Request;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::header;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// How long the rest of a body is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// A body that is read on after nobody wants it any more.
struct Lingering {
    /// `None` once it has ended or failed.
    body: Option<BodyDataStream>,
    /// How many bytes may still come.
    left: u64,
    places: Arc<Semaphore>,
}

/// `wrap`s the body of `request`, and lets it be read on in one of `places` if that are `most` bytes at most.
pub(super) fn linger(
    request: Request,
    most: usize,
    places: &Arc<Semaphore>,
    wrap: impl FnOnce(Body) -> Body,
) -> Request {
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    let left = request.body().size_hint().exact().unwrap_or(most);
    // Who waits to be told to go on has not begun.
    let waits = request.headers().contains_key(header::EXPECT);
    if waits || left == 0 || left > most {
        return request.map(wrap);
    }
    request.map(|body| {
        let body = Some(wrap(body).into_data_stream());
        Body::from_stream(Lingering { body, left, places: Arc::clone(places) })
    })
}

impl Stream for Lingering {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let next = ready!(body.poll_next_unpin(context));
        match &next {
            Some(Ok(bytes)) => self.left = left(self.left, bytes),
            Some(Err(_)) | None => self.body = None,
        }
        Poll::Ready(next)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some(rest) = self.body.take().filter(|_| self.left > 0) else { return };
        let place = Arc::clone(&self.places).try_acquire_owned();
        if let (Ok(place), Ok(runtime)) = (place, Handle::try_current()) {
            let left = self.left;
            runtime.spawn(async move {
                let _given_up = tokio::time::timeout(PATIENCE, drain(rest, left)).await;
                drop(place);
            });
        }
    }
}

async fn drain(mut body: BodyDataStream, mut most: u64) {
    while most > 0
        && let Some(Ok(bytes)) = body.next().await
    {
        most = left(most, &bytes);
    }
}

fn left(before: u64, taken: &Bytes) -> u64 {
    before.saturating_sub(u64::try_from(taken.len()).unwrap_or(u64::MAX))
}
