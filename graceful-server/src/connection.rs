//! One connection, from its first byte: finds out what is spoken, then is hyper's connection for it.

use std::{
    error::Error,
    marker::PhantomData,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use ::http::{Request, Response};
use graceful_layer::{
    Graceful,
    conn::{ConnIo, GracefulConnection, StreamExecutor},
};
use http_body::Body;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
};
use hyper_util::rt::TokioIo;
use tower_service::Service;

use crate::{
    http::{Http, Protocol},
    transport::Transport,
};

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

type Io = TokioIo<ConnIo<Transport>>;
type Http1<S> = http1::UpgradeableConnection<Io, Graceful<S>>;
type Http2<S> = http2::Connection<Io, Graceful<S>, StreamExecutor>;

/// Until the first bytes are there, a connection costs no buffers but what they need.
pub(crate) enum HttpConnection<S, B>
where
    S: HttpService<B>,
    B: HttpBody,
{
    Silent {
        io: ConnIo<Transport>,
        service: Graceful<S>,
        http: Arc<Http>,
    },
    Http1(Pin<Box<Http1<S>>>),
    Http2(Pin<Box<Http2<S>>>),
    Over(PhantomData<fn() -> B>),
}

/// What a service must be to be served. Blanket-implemented: never named by users.
pub(crate) trait HttpService<B>:
    Service<
        Request<Incoming>,
        Response = Response<B>,
        Error: Into<BoxError>,
        Future: Send + 'static,
    > + Clone
    + Send
    + 'static
{
}

impl<S, B> HttpService<B> for S where
    S: Service<
            Request<Incoming>,
            Response = Response<B>,
            Error: Into<BoxError>,
            Future: Send + 'static,
        > + Clone
        + Send
        + 'static
{
}

/// The same for its response's body.
pub(crate) trait HttpBody: Body<Data: Send, Error: Into<BoxError>> + Send + 'static {}

impl<B> HttpBody for B where B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static {}

impl<S: HttpService<B>, B: HttpBody> HttpConnection<S, B> {
    pub(crate) fn new(io: ConnIo<Transport>, service: Graceful<S>, http: Arc<Http>) -> Self {
        Self::Silent { io, service, http }
    }

    /// Finishes the handshake, if there is one, reads until it is clear what is spoken, and sets hyper up for it.
    fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let Self::Silent { io, http, .. } = self else {
            return Poll::Ready(Ok(()));
        };
        if io.stream().is_handshaking() {
            ready!(io.stream_mut().poll_handshake(cx))?;
            io.set_handshaking(false);
        }
        let spoken = io.stream().agreed().unwrap_or(http.protocol);
        let mut ended = false;
        let protocol = loop {
            match spoken.detect(io.ahead(), ended) {
                // A fixed protocol waits for a byte as well: until then nothing is set up.
                Some(protocol) if ended || !io.ahead().is_empty() => break protocol,
                _ => ended = !ready!(io.poll_read_ahead(cx))?,
            }
        };
        if let Self::Silent { io, service, http } = mem::replace(self, Self::Over(PhantomData)) {
            let io = TokioIo::new(io);
            *self = match protocol {
                Protocol::Http2 => Self::Http2(Box::pin(http.http2.serve_connection(io, service))),
                _ => Self::Http1(Box::pin(
                    http.http1.serve_connection(io, service).with_upgrades(),
                )),
            };
        }
        Poll::Ready(Ok(()))
    }
}

/// Nothing is pinned in it but what is boxed.
impl<S: HttpService<B>, B: HttpBody> Unpin for HttpConnection<S, B> {}

impl<S: HttpService<B>, B: HttpBody> Future for HttpConnection<S, B> {
    type Output = Result<(), BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(self.poll_begin(cx))?;
        match &mut *self {
            Self::Http1(connection) => connection.as_mut().poll(cx).map_err(Into::into),
            Self::Http2(connection) => connection.as_mut().poll(cx).map_err(Into::into),
            Self::Silent { .. } | Self::Over(_) => Poll::Ready(Ok(())),
        }
    }
}

impl<S: HttpService<B>, B: HttpBody> GracefulConnection for HttpConnection<S, B> {
    fn graceful_shutdown(mut self: Pin<&mut Self>) {
        if let Self::Http2(connection) = &mut *self {
            connection.as_mut().graceful_shutdown();
        }
    }
}
