//! The way in: reads below `/tuf/`, most of the traffic, go straight to their room, everything
//! else to the router, which takes longer to find out.

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::Either;
use http::Method;
use tower::{BoxError, Service, service_fn};

use crate::app::App;
use crate::http::tuf;

/// The service of a listener, which gives one to each connection. With `reads`, reads below
/// `/tuf/` are answered at once; `router` knows them too, and the answers are the same.
pub(super) fn service<B>(
    reads: Option<Arc<App>>,
    router: Router,
) -> impl Service<
    SocketAddr,
    Response = impl Service<Request<B>, Response = Response, Error = Infallible, Future: Send>
               + Clone
               + Send
               + use<B>,
    Error = Infallible,
    Future: Send,
>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    service_fn(move |_: SocketAddr| {
        let (reads, mut router) = (reads.clone(), router.clone());
        ready(Ok(service_fn(move |request: Request<B>| {
            let read = request.method() == Method::GET && tuf::is_below(request.uri().path());
            let Some(app) = reads.clone().filter(|_| read) else {
                return Either::Right(router.call(request));
            };
            let (parts, unread) = request.into_parts();
            let answer = tuf::get(State(app), Request::from_parts(parts, Body::empty()));
            // Kept until the answer is there: hyper takes its end for the end of the request.
            Either::Left(answer.map(|answer| {
                drop(unread);
                Ok(answer)
            }))
        })))
    })
}
