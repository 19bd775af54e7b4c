//! Multipart uploads: memory is reserved before anything is read, and every part is bounded
//! on its own.

use std::sync::Arc;

use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest as _, Multipart, Request};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use tokio::sync::OwnedSemaphorePermit;

use crate::app::App;

/// The parts of an upload, in the order in which they come.
pub(super) struct Parts {
    multipart: Multipart,
    taken: usize,
    most: usize,
    /// Given back when the upload is done with.
    _memory: OwnedSemaphorePermit,
}

/// One part, still unread.
pub(super) struct Part<'a>(Field<'a>);

impl Parts {
    /// Begins to read the body of `request`.
    ///
    /// # Errors
    /// No multipart, longer than an upload may be, or no memory left at present.
    pub(super) async fn of(app: &App, mut request: Request) -> Result<Self, UploadError> {
        let memory = reserve(app, request.headers())?;
        DefaultBodyLimit::max(app.limits.body_bytes).apply(&mut request);
        let multipart = Multipart::from_request(request, &()).await.map_err(|_| UploadError::NotMultipart)?;
        Ok(Self { multipart, taken: 0, most: app.limits.parts, _memory: memory })
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
        Ok(Some(Part(field)))
    }
}

impl Part<'_> {
    /// What the form calls this part.
    pub(super) fn name(&self) -> Option<&str> {
        self.0.name()
    }

    /// The file name as it was sent, folders included.
    pub(super) fn file_name(&self) -> Option<&str> {
        self.0.file_name()
    }

    /// The bytes, of which there may be `most`; `what` is named in the refusal of more.
    ///
    /// # Errors
    /// More bytes, or the body cannot be read on.
    pub(super) async fn bytes(mut self, most: usize, what: &str) -> Result<Bytes, UploadError> {
        let mut bytes = BytesMut::new();
        while let Some(chunk) = self.0.chunk().await? {
            if bytes.len() + chunk.len() > most {
                return Err(UploadError::PartTooLong { what: what.to_owned(), most });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }
}

/// Memory for the body, before it is sent; for the largest one if its length is not told.
fn reserve(app: &App, headers: &HeaderMap) -> Result<OwnedSemaphorePermit, UploadError> {
    let most = app.limits.body_bytes;
    let told = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length = told.and_then(|length| length.parse().ok()).unwrap_or(most);
    if length > most {
        return Err(UploadError::BodyTooLong { most });
    }
    let units = u32::try_from(length.div_ceil(App::BODY_UNIT)).unwrap_or(u32::MAX);
    Arc::clone(&app.bodies).try_acquire_many_owned(units).map_err(|_| UploadError::Busy)
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

fn is_timeout(error: &MultipartError) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.is::<tower_http::timeout::TimeoutError>() {
            return true;
        }
        cause = error.source();
    }
    false
}
