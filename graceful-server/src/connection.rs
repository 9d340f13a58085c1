//! One connection, from its first byte: finds out what is spoken, then is hyper's connection for it, until it ends, is parked or
//! moves to the successor (law 6).

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
    Connection, Graceful,
    conn::{ConnFuture, ConnIo, Detach, GracefulConnection, StreamExecutor},
    graceful::until_sent::UntilSent,
};
use graceful_listener::Moving;
use http_body::Body;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
};
use hyper_util::rt::TokioIo;
use tower_service::Service;

use crate::{
    http::{Http, Protocol},
    leave::Leave,
    log,
    transport::Transport,
};

pub(crate) mod detach;
mod silent;

use self::silent::Silent;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

type Io = TokioIo<ConnIo<Transport>>;
type Http1<S> = http1::UpgradeableConnection<Io, Graceful<S>>;
type Http2<S> = http2::Connection<Io, UntilSent<S>, StreamExecutor>;

/// One connection to its end, tracked.
pub(crate) struct Served<S, B>
where
    S: HttpService<B>,
    B: HttpBody,
{
    id: u64,
    connection: ConnFuture<HttpConnection<S, B>>,
}

impl<S: HttpService<B>, B: HttpBody> Served<S, B> {
    pub(crate) fn new(
        conn: Connection,
        io: ConnIo<Transport>,
        service: S,
        http: &Arc<Http>,
        leave: Option<Leave>,
    ) -> Self {
        let detach = conn.detach();
        if leave.is_some() {
            conn.set_movable();
        }
        if !http.can_probe {
            detach.keep_server();
        }
        let connection = HttpConnection {
            stage: Stage::Silent(Silent::boxed(io, conn.service(service), None)),
            http: http.clone(),
            detach,
            leave: leave.map(Box::new),
        };
        Self {
            id: conn.id(),
            connection: conn.watch(connection),
        }
    }
}

impl<S: HttpService<B>, B: HttpBody> Future for Served<S, B> {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let ended = ready!(Pin::new(&mut self.connection).poll(cx));
        log::ended(self.id, ended);
        Poll::Ready(())
    }
}

struct HttpConnection<S, B>
where
    S: HttpService<B>,
    B: HttpBody,
{
    stage: Stage<S, B>,
    http: Arc<Http>,
    detach: Detach,
    /// Boxed, for most servers have none.
    leave: Option<Box<Leave>>,
}

/// Each in a box of its own, so that the task of an idle connection is no larger than it has to be.
enum Stage<S, B>
where
    S: HttpService<B>,
    B: HttpBody,
{
    Silent(Box<Silent<S>>),
    Http1(Box<Http1<S>>),
    Http2(Pin<Box<Http2<S>>>),
    /// On its way to the successor, and not touched until it answers.
    Leaving(Box<Silent<S>>, Moving),
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
    fn take_stage(&mut self) -> Stage<S, B> {
        mem::replace(&mut self.stage, Stage::Over(PhantomData))
    }

    /// Waits until it is clear what is spoken, and sets hyper up for it.
    fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let Stage::Silent(silent) = &mut self.stage else {
            return Poll::Ready(Ok(()));
        };
        let spoken = ready!(silent.poll_spoken(self.http.protocol, cx))?;
        if let (Stage::Silent(silent), Some(spoken)) = (self.take_stage(), spoken) {
            let Silent { io, service, .. } = *silent;
            let (io, http) = (TokioIo::new(io), &self.http);
            self.stage = match spoken {
                Protocol::Http2 => {
                    self.detach.keep_server();
                    let service = service.until_sent();
                    Stage::Http2(Box::pin(http.http2.builder().serve_connection(io, service)))
                }
                _ => {
                    self.detach.note_begun();
                    let server = http.http1.builder().serve_connection(io, service);
                    Stage::Http1(Box::new(server.with_upgrades()))
                }
            };
        }
        Poll::Ready(Ok(()))
    }

    /// What is done where no HTTP server is. Ready with whether there is one now, or with the end.
    #[inline(never)]
    fn poll_without(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, BoxError>> {
        match &mut self.stage {
            Stage::Silent(..) => ready!(self.poll_begin(cx))?,
            Stage::Leaving(_, moving) => {
                let taken = ready!(Pin::new(moving).poll(cx));
                return Poll::Ready(Ok(self.arrived(taken)));
            }
            Stage::Http1(_) | Stage::Http2(_) => {}
            Stage::Over(_) => return Poll::Ready(Ok(false)),
        }
        Poll::Ready(Ok(true))
    }
}

/// Nothing is pinned in it but what is boxed.
impl<S: HttpService<B>, B: HttpBody> Unpin for HttpConnection<S, B> {}

impl<S: HttpService<B>, B: HttpBody> Future for HttpConnection<S, B> {
    type Output = Result<(), BoxError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut probed = false;
        loop {
            let polled = match &mut self.stage {
                // In one place only, so that the compiler can have hyper's code in line.
                Stage::Http1(connection) => {
                    Pin::new(&mut **connection).poll(cx).map_err(Into::into)
                }
                Stage::Http2(connection) => connection.as_mut().poll(cx).map_err(Into::into),
                _ => match self.poll_without(cx) {
                    Poll::Ready(Ok(true)) => continue,
                    other => other.map_ok(drop),
                },
            };
            let may_detach = self.leave.is_some() || self.detach.is_due();
            if polled.is_ready() || !may_detach {
                return polled;
            }
            if let ended @ (Poll::Ready(Err(_)) | Poll::Pending) = self.poll_detach(&mut probed, cx)
            {
                return ended;
            }
        }
    }
}

impl<S: HttpService<B>, B: HttpBody> GracefulConnection for HttpConnection<S, B> {
    fn graceful_shutdown(mut self: Pin<&mut Self>) {
        if let Stage::Http2(connection) = &mut self.stage {
            connection.as_mut().graceful_shutdown();
        }
    }
}
