//! `GracefulLayer` around a whole axum router instead of on it, where axum boxes nothing once more.

use std::{
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum_core::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{Graceful, GracefulLayer, future::ResponseFuture};

impl GracefulLayer {
    /// The layer around all that `app` serves, for `axum::serve`: an axum `Router`, or what its `into_make_service`s return.
    ///
    /// What it does is what `app.layer(graceful)` does, at half the cost: a router boxes its routes once more for each layer
    /// that is on it. In a test without a server call `app.layer(graceful)`: this makes services, and is none.
    ///
    /// ```no_run
    /// # async fn run() -> std::io::Result<()> {
    /// use axum::{Router, routing::get};
    /// use graceful_layer::{Grace, GracefulLayer};
    /// use graceful_signal::ShutdownSignal;
    ///
    /// let graceful = GracefulLayer::new();
    /// let app = Router::new().route("/", get(|| async { "hello" }));
    /// let drain = graceful.tracker().drain_on(ShutdownSignal::terminate()?, Grace::default());
    /// let drain = tokio::spawn(drain);
    ///
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    /// let app = app.into_make_service_with_connect_info::<std::net::SocketAddr>(); // if handlers want it
    /// let server = axum::serve(listener, graceful.around(app))
    ///     .with_graceful_shutdown(graceful.tracker().told());
    /// let server = tokio::spawn(server.into_future());
    /// let report = drain.await?;
    /// // axum waits for half a head and for a reader that is stuck without bound; this one is yours.
    /// let _ = tokio::time::timeout(std::time::Duration::from_secs(2), server).await;
    /// println!("{report}");
    /// # Ok(()) }
    /// ```
    pub fn around<M>(&self, app: M) -> Around<M> {
        let layer = self.clone();
        Around { app, layer }
    }
}

/// Makes a service for each connection, as what is in it does, with the layer around it. From [`GracefulLayer::around`].
#[derive(Clone, Debug)]
pub struct Around<M> {
    app: M,
    layer: GracefulLayer,
}

impl<M: Service<T>, T> Service<T> for Around<M> {
    type Response = InAxum<Graceful<M::Response>>;
    type Error = M::Error;
    type Future = Making<M::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        self.app.poll_ready(cx)
    }

    fn call(&mut self, target: T) -> Self::Future {
        Making {
            service: self.app.call(target),
            layer: self.layer.clone(),
        }
    }
}

pin_project! {
    /// The future of [`Around`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Making<F> {
        #[pin]
        service: F,
        layer: GracefulLayer,
    }
}

impl<F: Future<Output = Result<S, E>>, S, E> Future for Making<F> {
    type Output = Result<InAxum<Graceful<S>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let service = ready!(this.service.poll(cx))?;
        Poll::Ready(Ok(InAxum(this.layer.layer(service))))
    }
}

/// A service whose answers have axum's body.
#[derive(Clone, Debug)]
pub struct InAxum<S>(S);

impl<S, ReqB, ResB> Service<Request<ReqB>> for InAxum<Graceful<S>>
where
    S: Service<Request<ReqB>, Response = Response<ResB>>,
    ResB: http_body::Body<Data = Bytes> + Send + 'static,
    ResB::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = InAxumFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        let answer = self.0.call(request);
        InAxumFuture { answer }
    }
}

pin_project! {
    /// The future of [`InAxum`].
    #[must_use = "futures do nothing unless polled"]
    pub struct InAxumFuture<F> {
        #[pin]
        answer: ResponseFuture<F>,
    }
}

impl<F, ResB, E> Future for InAxumFuture<F>
where
    F: Future<Output = Result<Response<ResB>, E>>,
    ResB: http_body::Body<Data = Bytes> + Send + 'static,
    ResB::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = Result<Response<Body>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.project().answer.poll(cx))?;
        Poll::Ready(Ok(answer.map(Body::new)))
    }
}

impl<F> fmt::Debug for InAxumFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InAxumFuture").finish_non_exhaustive()
    }
}
