//! Listening, stopping, and limits of connections.
//!
//! The first signal lets requests finish and takes no new ones; the second one, or the end
//! of the drain time, cuts them off. The store is closed after the last request.

mod front;
mod guard;

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::TokioTimer;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::MissedTickBehavior;

use crate::app::App;
use crate::router;
use crate::store::StoreError;

use guard::{GuardAcceptor, ReadingAhead};

pub use crate::phase::Phase;

/// Streams of one HTTP/2 connection.
const STREAMS: u32 = 64;
/// The handle of `axum-server` tells only who is waiting at that moment, so it is told again.
const REPEAT: Duration = Duration::from_millis(50);
/// Shorter than limits of connections and requests usually are.
const BEAT: Duration = Duration::from_millis(500);

/// A server that has its ports but does not answer yet.
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    operations: Option<TcpListener>,
}

impl Server {
    /// Takes the ports.
    ///
    /// # Errors
    /// A port is not to be had.
    pub fn bind(
        app: Arc<App>,
        listen: SocketAddr,
        tls: Option<Arc<rustls::ServerConfig>>,
        operations: Option<SocketAddr>,
    ) -> Result<Self, ServeError> {
        Ok(Self { app, listener: bind(listen)?, tls, operations: operations.map(bind).transpose()? })
    }

    /// The address of the main listener.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The address of the listener for health and metrics.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub fn operations_address(&self) -> io::Result<Option<SocketAddr>> {
        self.operations.as_ref().map(TcpListener::local_addr).transpose()
    }

    /// Answers until `phase` says to stop, then closes the store.
    ///
    /// # Errors
    /// A listener failed, or the store could not be closed.
    pub async fn run(self, phase: watch::Receiver<Phase>) -> Result<(), ServeError> {
        let app = self.app;
        let reads = Some(Arc::clone(&app));
        let router = router::build_router(Arc::clone(&app));
        let main = serve(&app, self.listener, self.tls, reads, router, phase.clone());
        let operations = async {
            match self.operations {
                Some(listener) => {
                    let router = router::build_operations_router(Arc::clone(&app), phase.clone());
                    serve(&app, listener, None, None, router, phase.clone()).await
                }
                None => Ok(()),
            }
        };
        // A task of its own: nobody who comes waits for what is signed anew.
        let mut renewals = JoinSet::new();
        let (renewing, until) = (Arc::clone(&app), phase.clone());
        renewals.spawn(async move { renewing.renewer.run(until).await });
        let renewal = async { renewals.join_next().await.transpose().map_err(ServeError::Renewals) };
        let served = tokio::select! {
            served = async { tokio::try_join!(main, operations, renewal) } => served,
            never = beat() => match never {},
        };
        renewals.shutdown().await;
        app.store.close().await?;
        served.map(|_| ())
    }
}

/// Does nothing, in time. A timer that is to go off before all others wakes the thread that sleeps until the
/// next one, and nearly every request on a quiet server sets such timers. Hardly any goes off before this one.
async fn beat() -> Infallible {
    let mut beats = tokio::time::interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
    }
}

/// Follows SIGTERM and SIGINT: the first drains, the second stops.
///
/// # Errors
/// The operating system does not let the process watch signals.
pub fn follow_signals() -> io::Result<watch::Receiver<Phase>> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (sender, receiver) = watch::channel(Phase::Serving);
    tokio::spawn(async move {
        for phase in [Phase::Draining, Phase::Stopping] {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            tracing::info!(?phase, "signal received");
            sender.send_replace(phase);
        }
        // Keeps the channel open: a closed one would look like another signal.
        sender.closed().await;
    });
    Ok(receiver)
}

fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let listener = TcpListener::bind(address).map_err(|source| ServeError::Bind { address, source })?;
    listener.set_nonblocking(true).map_err(|source| ServeError::Bind { address, source })?;
    Ok(listener)
}

async fn serve(
    app: &App,
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    reads: Option<Arc<App>>,
    router: Router,
    phase: watch::Receiver<Phase>,
) -> Result<(), ServeError> {
    let handle = Handle::new();
    let mut server = axum_server::from_tcp(listener)?.handle(handle.clone());
    let limits = &app.limits;
    let builder = server.http_builder();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(limits.header_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(limits.header_time)
        .keep_alive_timeout(limits.header_time);
    let guard = GuardAcceptor::new(app);
    let service = front::service(reads, router);
    let serving = async {
        match tls {
            None => server.acceptor(guard).serve(service).await,
            Some(config) => {
                let acceptor = RustlsAcceptor::new(RustlsConfig::from_config(config))
                    .handshake_timeout(limits.header_time)
                    .acceptor(ReadingAhead(guard));
                server.acceptor(acceptor).serve(service).await
            }
        }
    };
    tokio::select! {
        served = serving => Ok(served?),
        never = stop(&handle, phase, limits.drain_time) => never,
    }
}

/// Tells the listener to stop, again and again until it has; never returns.
async fn stop(
    handle: &Handle<SocketAddr>,
    mut phase: watch::Receiver<Phase>,
    drain: Duration,
) -> Result<(), ServeError> {
    // A sender that is gone means that nobody can stop the server any more: it stops.
    let _ = phase.wait_for(|phase| *phase != Phase::Serving).await;
    let began = tokio::time::Instant::now();
    loop {
        handle.graceful_shutdown(Some(drain));
        if *phase.borrow() == Phase::Stopping || began.elapsed() >= drain {
            handle.shutdown();
        }
        tokio::time::sleep(REPEAT).await;
    }
}

/// The server could not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A port is not to be had.
    #[error(
        "cannot listen on {address}: {source}\nhint: choose another address with --listen, port 0 takes a free one"
    )]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A listener failed.
    #[error("cannot serve: {0}")]
    Listener(#[from] io::Error),
    /// Renewals ended before the server did.
    #[error(
        "renewals broke off: {0}\nhint: this is a fault of bullad, start it again and report what the log says"
    )]
    Renewals(JoinError),
    /// The store could not be closed.
    #[error("cannot close the store: {0}")]
    Store(#[from] StoreError),
}
