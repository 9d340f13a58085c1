//! The services that every server of a comparison serves: they answer `hello` and do nothing else.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::sleep;
use tower::Service;

/// What they answer.
pub const BODY: &str = "hello";

/// Where the answer takes [`SLOW`].
pub const SLOW_PATH: &str = "/slow";
/// How long it takes there.
pub const SLOW: Duration = Duration::from_millis(300);

/// What an async handler is: it has its request until it has been polled. hyper's own first example, and a slow answer.
///
/// # Errors
/// None.
pub async fn hello<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == SLOW_PATH {
        Box::pin(sleep(SLOW)).await;
    }
    Ok(Response::new(Full::from(BODY)))
}

/// As little as a service can be: its future is ready when it is made.
#[derive(Clone, Copy, Debug)]
pub struct NoOp;

impl<B> Service<Request<B>> for NoOp {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(Response::new(Full::from(BODY))))
    }
}
