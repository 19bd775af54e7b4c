//! Large bytes on their way to a reader who may take them slowly, or never.
//!
//! No protocol tells in time: a client of HTTP/2 that opens no window keeps its connection alive
//! and is never asked for more. So the bytes are given up by the clock, whoever waits for them.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

/// How much is handed over at once, in bytes, as a copy: what a connection still holds of it must
/// not hold the rest.
const CHUNK: usize = 16 * 1024;

type Held = Arc<Mutex<Option<(Bytes, OwnedSemaphorePermit)>>>;

/// A body of `bytes`, which keep their `memory` until the last of them was handed over, for `time`
/// at most. Whoever has not taken them by then gets no more, and the body ends in an error.
pub(super) fn body(bytes: Bytes, memory: OwnedSemaphorePermit, time: Duration) -> Body {
    let held: Held = Arc::new(Mutex::new(Some((bytes, memory))));
    let watched = Arc::clone(&held);
    // Lives as long as the body does.
    let mut alarm = JoinSet::new();
    alarm.spawn(async move {
        tokio::time::sleep(time).await;
        give_up(&watched);
    });
    Body::from_stream(stream::unfold(Some((held, alarm)), |body| async {
        let (held, alarm) = body?;
        match next(&held) {
            None => Some((Err(io::Error::from(io::ErrorKind::TimedOut)), None)),
            Some((chunk, is_last)) => Some((Ok(chunk), (!is_last).then_some((held, alarm)))),
        }
    }))
}

/// The next part and whether it is the last; `None` if the rest was given up.
fn next(held: &Held) -> Option<(Bytes, bool)> {
    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
    let (bytes, _) = held.as_mut()?;
    let chunk = Bytes::copy_from_slice(&bytes.split_to(bytes.len().min(CHUNK)));
    Some((chunk, bytes.is_empty()))
}

fn give_up(held: &Held) {
    drop(held.lock().unwrap_or_else(PoisonError::into_inner).take());
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use tokio::sync::Semaphore;

    use super::*;

    const LONG: usize = 100_000;

    async fn begun(time: Duration) -> (Arc<Semaphore>, axum::body::BodyDataStream) {
        let room = Arc::new(Semaphore::new(10));
        let memory = Arc::clone(&room).acquire_many_owned(10).await.unwrap();
        (room, body(Bytes::from(vec![b'x'; LONG]), memory, time).into_data_stream())
    }

    #[tokio::test]
    async fn all_is_handed_over_and_the_memory_given_back() {
        let (room, mut parts) = begun(Duration::from_secs(60)).await;
        let mut taken = Vec::new();
        while let Some(part) = parts.next().await {
            assert_eq!(room.available_permits(), 0);
            taken.extend_from_slice(&part.unwrap());
            if taken.len() == LONG {
                break;
            }
        }
        assert!(taken == vec![b'x'; LONG]);
        assert!(parts.next().await.is_none());
        drop(parts);
        let given_back = tokio::time::timeout(Duration::from_secs(10), room.acquire_many(10)).await;
        assert!(given_back.is_ok());
    }

    #[tokio::test]
    async fn nobody_holds_memory_by_taking_nothing() {
        let (room, mut parts) = begun(Duration::from_millis(200)).await;
        let first = parts.next().await.unwrap().unwrap();
        assert_eq!(room.available_permits(), 0);
        let given_up = tokio::time::timeout(Duration::from_secs(10), room.acquire_many(10)).await;
        assert!(given_up.is_ok(), "though the body is still there");
        assert_eq!(first.len(), CHUNK);
        assert!(parts.next().await.unwrap().is_err(), "no short body looks whole");
        assert!(parts.next().await.is_none());
    }
}
