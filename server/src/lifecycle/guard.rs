//! Connections: how many, and how long one may be silent.
//!
//! hyper limits the time for a request's head once its first byte is there, and nothing
//! else. What is left to attack is here: connections that never send a byte, and clients
//! that do not take their answer.

use std::future::{Ready, ready};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready as poll_ready};
use std::time::Duration;

use axum_server::accept::Accept;
use prometheus_client::metrics::gauge::Gauge;
use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::app::App;

/// How much is read ahead of TLS, in bytes: about a record (RFC 8446 5.1). Each connection holds as much.
const READ_AHEAD: usize = 16 * 1024;

/// What is written in several pieces and is no longer than this, in bytes, is put together first: most answers.
/// The system takes one piece in less time than two.
const SHORT: usize = 2048;

/// Accepts connections while there is room, and watches them.
#[derive(Clone)]
pub(super) struct GuardAcceptor {
    slots: Arc<Semaphore>,
    open: Gauge,
    first_byte: Duration,
    stall: Duration,
    idle: Duration,
}

impl GuardAcceptor {
    pub(super) fn new(app: &App) -> Self {
        Self {
            slots: Arc::clone(&app.connections),
            open: app.metrics.connections.clone(),
            first_byte: app.limits.header_time,
            stall: app.limits.body_idle,
            // Longer than any request, whose body and answer have limits of their own.
            idle: app.limits.request_time + app.limits.header_time,
        }
    }
}

impl<S> Accept<TcpStream, S> for GuardAcceptor {
    type Stream = Guarded<TcpStream>;
    type Service = S;
    type Future = Ready<io::Result<(Self::Stream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() else {
            return ready(Err(io::Error::other("too many connections")));
        };
        let guarded = stream.set_nodelay(true).map(|()| Guarded {
            stream,
            began: Instant::now(),
            last: Instant::now(),
            silent: true,
            stalled: None,
            alarm: None,
            limits: [self.first_byte, self.stall, self.idle],
            _open: Open::new(&self.open),
            _permit: permit,
        });
        ready(guarded.map(|stream| (stream, service)))
    }
}

/// As [`GuardAcceptor`], for a listener with TLS: rustls asks for 4 KB at a time, and so a long upload would take
/// hundreds of calls of the system, each of which waits for the other side that is just sending.
#[derive(Clone)]
pub(super) struct ReadingAhead(pub(super) GuardAcceptor);

impl<S> Accept<TcpStream, S> for ReadingAhead {
    type Stream = BufReader<Guarded<TcpStream>>;
    type Service = S;
    type Future = Ready<io::Result<(Self::Stream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let accepted = self.0.accept(stream, service).into_inner();
        ready(accepted.map(|(stream, service)| (BufReader::with_capacity(READ_AHEAD, stream), service)))
    }
}

/// Counts an open connection while it lives.
struct Open(Gauge);

impl Open {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A stream that fails when the other side is silent for too long.
pub(super) struct Guarded<T> {
    stream: T,
    began: Instant,
    last: Instant,
    silent: bool,
    stalled: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
    /// First byte, stalled write, silence in both directions.
    limits: [Duration; 3],
    _open: Open,
    _permit: OwnedSemaphorePermit,
}

impl<T> Guarded<T> {
    fn progress(&mut self) {
        self.last = Instant::now();
    }

    /// When the other side has been silent for too long.
    fn deadline(&self) -> Instant {
        let [first_byte, stall, idle] = self.limits;
        match self.stalled {
            Some(since) => since + stall,
            None if self.silent => self.began + first_byte,
            None => self.last + idle,
        }
    }

    /// Wakes the task at the deadline. The alarm is set anew only when it rings or must ring
    /// earlier: setting it on each byte would cost more than the byte.
    fn watch(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            let deadline = self.deadline();
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            if alarm.deadline() > deadline {
                alarm.as_mut().reset(deadline);
            }
            if alarm.as_mut().poll(cx).is_pending() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            alarm.as_mut().reset(deadline);
        }
    }

    fn wrote<R>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if result.is_pending() {
            self.stalled.get_or_insert_with(Instant::now);
            self.watch(cx)?;
        } else {
            self.stalled = None;
            self.progress();
        }
        result
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Guarded<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if result.is_pending() {
            self.watch(cx)?;
            return Poll::Pending;
        }
        poll_ready!(result)?;
        self.silent = false;
        self.progress();
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Guarded<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = match joined(slices) {
            Some(whole) => Pin::new(&mut self.stream).poll_write(cx, &whole),
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, slices),
        };
        self.wrote(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The pieces as one, if they are short.
fn joined(slices: &[IoSlice<'_>]) -> Option<SmallVec<[u8; SHORT]>> {
    let length = slices.iter().fold(0_usize, |sum, slice| sum.saturating_add(slice.len()));
    if length > SHORT {
        return None;
    }
    let mut whole = SmallVec::new();
    slices.iter().for_each(|slice| whole.extend_from_slice(slice));
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_pieces_become_one() {
        let (head, body) = ([b'h'; 300], vec![b'b'; SHORT]);
        let of = |slices: &[&[u8]]| {
            let slices: Vec<_> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
            joined(&slices).map(SmallVec::into_vec)
        };
        assert_eq!(of(&[&head, &body[300..]]), Some([&head, &body[300..]].concat()));
        assert_eq!(of(&[&head, &body[299..]]), None);
        assert_eq!(of(&[]), Some(Vec::new()));
    }
}
