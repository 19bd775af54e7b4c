//! Uploads: memory is reserved before anything is read, and every part is bounded
//! on its own.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest as _, Multipart, Request};
use bulla_keys_schema::digest::{Hashed, Hashing};
use futures_util::StreamExt as _;
use http::{HeaderMap, StatusCode, header};
use tokio::sync::OwnedSemaphorePermit;

use crate::app::App;
use crate::http::begun::begun;

/// The parts of an upload, in the order in which they come.
pub(super) struct Parts {
    multipart: Multipart,
    taken: usize,
    most: usize,
    memory: Memory,
}

/// One part, still unread.
pub(super) struct Part<'a> {
    field: Field<'a>,
    memory: Memory,
}

/// The room that an upload takes. It lives as long as the upload's bytes: whoever hangs up does
/// not stop a thread that judges or stores them, and could send the next ones at once.
#[derive(Clone)]
struct Memory(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Parts {
    /// Begins to read the body of `request`.
    ///
    /// # Errors
    /// No multipart, longer than an upload may be, or no memory left at present.
    pub(super) async fn of(app: &App, request: Request) -> Result<Self, UploadError> {
        let memory = reserve(app, request.headers(), app.limits.body_bytes)?;
        let (head, body) = request.into_parts();
        let media_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        // Before anything is waited for: what is no form may never come, or not before it is asked for.
        let boundary = media_type.and_then(|media_type| multer::parse_boundary(media_type).ok());
        let boundary = boundary.filter(|boundary| !boundary.is_empty()).ok_or(UploadError::NotMultipart)?;
        let mut request = Request::from_parts(head, begun(body, &boundary).await);
        DefaultBodyLimit::max(app.limits.body_bytes).apply(&mut request);
        let multipart = Multipart::from_request(request, &()).await.map_err(|_| UploadError::NotMultipart)?;
        Ok(Self { multipart, taken: 0, most: app.limits.parts, memory })
    }

    /// The upload is done with. What is still kept of its bytes is kept for another reason, and
    /// is counted by whoever keeps it.
    pub(super) fn give_back(self) {
        drop(self.memory.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// The next part; `None` after the last one.
    ///
    /// # Errors
    /// Too many of them, or the body cannot be read on.
    pub(super) async fn next(&mut self) -> Result<Option<Part<'_>>, UploadError> {
        let most = self.most;
        let Some(field) = self.multipart.next_field().await? else { return Ok(None) };
        if self.taken >= most {
            return Err(UploadError::TooManyParts { most });
        }
        self.taken += 1;
        Ok(Some(Part { field, memory: self.memory.clone() }))
    }
}

impl Part<'_> {
    /// What the form calls this part.
    pub(super) fn name(&self) -> Option<&str> {
        self.field.name()
    }

    /// The file name as it was sent, folders included.
    pub(super) fn file_name(&self) -> Option<&str> {
        self.field.file_name()
    }

    /// The bytes, of which there may be `most`, as `hashing` hashes them; `what` is named in the refusal of more.
    ///
    /// # Errors
    /// More bytes, or the body cannot be read on.
    pub(super) async fn bytes(
        mut self,
        most: usize,
        what: &str,
        mut hashing: Hashing,
    ) -> Result<Hashed, UploadError> {
        while let Some(chunk) = self.field.chunk().await? {
            if hashing.len() + chunk.len() > most {
                return Err(UploadError::PartTooLong { what: what.to_owned(), most });
            }
            hashing.add(&chunk);
        }
        Ok(hashing.finish(self.memory))
    }
}

/// Reads a body of JSON, of which there may be `most` bytes.
///
/// # Errors
/// No JSON by its media type, longer than that, or no memory left at present.
pub(super) async fn json(app: &App, request: Request, most: usize) -> Result<Hashed, UploadError> {
    let most = most.min(app.limits.body_bytes);
    let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    if !media_type.trim().eq_ignore_ascii_case("application/json") {
        return Err(UploadError::NotJson);
    }
    let memory = reserve(app, request.headers(), most)?;
    let mut chunks = request.into_body().into_data_stream();
    let mut hashing = Hashing::default();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| match is_timeout(&error) {
            true => UploadError::Slow,
            false => UploadError::Incomplete,
        })?;
        if hashing.len() + chunk.len() > most {
            return Err(UploadError::BodyTooLong { most });
        }
        hashing.add(&chunk);
    }
    Ok(hashing.finish(memory))
}

/// Memory for the body, before it is sent; for the largest one if its length is not told.
fn reserve(app: &App, headers: &HeaderMap, most: usize) -> Result<Memory, UploadError> {
    let told = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length = told.and_then(|length| length.parse().ok()).unwrap_or(most);
    if length > most {
        return Err(UploadError::BodyTooLong { most });
    }
    let units = u32::try_from(length.div_ceil(App::BODY_UNIT)).unwrap_or(u32::MAX);
    let permit = Arc::clone(&app.bodies).try_acquire_many_owned(units).map_err(|_| UploadError::Busy)?;
    Ok(Memory(Arc::new(Mutex::new(Some(permit)))))
}

/// An upload could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    /// All memory for uploads is in use.
    #[error("too many uploads at once")]
    Busy,
    /// Another media type, or one without boundary.
    #[error("a publish is sent as multipart/form-data")]
    NotMultipart,
    /// Another media type.
    #[error("signing requests and signatures are sent as application/json")]
    NotJson,
    /// The whole body is too long.
    #[error("the body is longer than {most} bytes")]
    BodyTooLong {
        /// How long it may be.
        most: usize,
    },
    /// The body turned out to be too long while it came.
    #[error("the body is too long")]
    Endless,
    /// One part is too long.
    #[error("{what} is longer than {most} bytes")]
    PartTooLong {
        /// Which part.
        what: String,
        /// How long it may be.
        most: usize,
    },
    /// Too many parts.
    #[error("there are more than {most} parts")]
    TooManyParts {
        /// How many there may be.
        most: usize,
    },
    /// The sender paused for too long.
    #[error("the body came too slowly")]
    Slow,
    /// The body ended early.
    #[error("the body ended early")]
    Incomplete,
    /// The body ended early, or has not the form that its head promised.
    #[error("the body is no complete multipart/form-data")]
    Broken,
}

impl From<MultipartError> for UploadError {
    fn from(error: MultipartError) -> Self {
        if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Self::Endless
        } else if is_timeout(&error) {
            Self::Slow
        } else {
            Self::Broken
        }
    }
}

fn is_timeout(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<tower_http::timeout::TimeoutError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    fn memory(room: &Arc<Semaphore>) -> Memory {
        Memory(Arc::new(Mutex::new(Some(Arc::clone(room).try_acquire_many_owned(10).unwrap()))))
    }

    #[test]
    fn room_is_taken_as_long_as_there_are_bytes() {
        let room = Arc::new(Semaphore::new(10));
        let of_all_parts = memory(&room);
        let parts = [&b"first"[..], b"second"].map(|bytes| {
            let mut hashing = Hashing::default();
            hashing.add(bytes);
            hashing.finish(of_all_parts.clone())
        });
        let some = parts[1].bytes().slice(1..3);
        drop((of_all_parts, parts));
        assert_eq!((&*some, room.available_permits()), (&b"ec"[..], 0));
        drop(some);
        assert_eq!(room.available_permits(), 10);
    }
}
