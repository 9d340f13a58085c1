//! One connection, from its first byte: finds out what is spoken, then is hyper's connection for it, until it ends, rests or
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
    conn::{ConnFuture, ConnIo, GracefulConnection, Rest, StreamExecutor},
};
use graceful_listener::{Moving, Turn};
use http_body::Body;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWrite;
use tower_service::Service;

use crate::{
    http::{Http, Protocol},
    leave::Leave,
    log,
    transport::Transport,
};

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

type Io = TokioIo<ConnIo<Transport>>;
type Http1<S> = http1::UpgradeableConnection<Io, Graceful<S>>;
type Http2<S> = http2::Connection<Io, Graceful<S>, StreamExecutor>;

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
        let connection = HttpConnection {
            stage: Stage::Silent(Silent::boxed(io, conn.service(service), None)),
            http: http.clone(),
            rest: conn.rest(),
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
    rest: Rest,
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

/// A stream that no HTTP server has: until its first bytes are there, which costs no buffers but what they need, while it
/// rests, and while it moves.
struct Silent<S> {
    io: ConnIo<Transport>,
    service: Graceful<S>,
    /// What was spoken before: it stays so.
    known: Option<Protocol>,
    /// Nothing comes any more.
    ended: bool,
}

impl<S> Silent<S> {
    fn boxed(io: ConnIo<Transport>, service: Graceful<S>, known: Option<Protocol>) -> Box<Self> {
        Box::new(Self {
            io,
            service,
            known,
            ended: false,
        })
    }

    /// Finishes the handshake, if there is one, and reads until it is clear what is spoken: `None` if the stream ended with
    /// nothing unread, and is closed.
    fn poll_spoken(
        &mut self,
        protocol: Protocol,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Protocol>, BoxError>> {
        let io = &mut self.io;
        if io.stream().is_handshaking() {
            ready!(io.stream_mut().poll_handshake(cx))?;
            io.set_handshaking(false);
        }
        let spoken = self.known.or_else(|| io.stream().agreed());
        let spoken = spoken.unwrap_or(protocol);
        loop {
            let ahead = io.ahead();
            // A fixed protocol waits for a byte as well: until then nothing is set up.
            match spoken.detect(ahead, self.ended) {
                Some(spoken) if !ahead.is_empty() => return Poll::Ready(Ok(Some(spoken))),
                _ if self.ended => break,
                _ => match ready!(io.poll_read_ahead(cx)) {
                    Ok(more) => self.ended = !more,
                    // As hyper takes it between two requests.
                    Err(_) if self.known.is_some() => self.ended = true,
                    Err(error) => return Poll::Ready(Err(error.into())),
                },
            }
        }
        ready!(Pin::new(io).poll_shutdown(cx))?;
        Poll::Ready(Ok(None))
    }
}

/// Why a server was asked to end that is between two requests.
enum Asked {
    ToRest,
    ToMove(Turn),
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
                Protocol::Http2 => Stage::Http2(Box::pin(http.http2.serve_connection(io, service))),
                _ => Stage::Http1(Box::new(
                    http.http1.serve_connection(io, service).with_upgrades(),
                )),
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

    /// Ready when the connection is to go to the successor this instant.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        match (&mut self.leave, &self.stage) {
            (Some(leave), Stage::Silent(..) | Stage::Http1(_)) => leave.poll_turn(cx),
            // What leaves already has had its turn.
            _ => Poll::Pending,
        }
    }

    fn is_to_rest(&self) -> bool {
        matches!(self.stage, Stage::Http1(_)) && self.rest.is_due()
    }

    fn is_to_move(&self) -> bool {
        let due = self.leave.as_deref().is_some_and(Leave::is_due);
        matches!(self.stage, Stage::Http1(_)) && due
    }

    /// Ready when there is a reason to let go of the HTTP server, or of the stream.
    fn poll_reason(&mut self, cx: &mut Context<'_>) -> Poll<Asked> {
        match self.poll_turn(cx) {
            Poll::Ready(turn) => Poll::Ready(Asked::ToMove(turn)),
            Poll::Pending if self.is_to_rest() => Poll::Ready(Asked::ToRest),
            Poll::Pending => Poll::Pending,
        }
    }

    /// The successor has answered. Returns whether the connection goes on here.
    fn arrived(&mut self, taken: bool) -> bool {
        let stage = self.take_stage();
        match &self.leave {
            Some(leave) if taken => leave.gone(),
            Some(leave) => leave.stay(),
            None => {}
        }
        if let (Stage::Leaving(silent, _), false) = (stage, taken) {
            self.stage = Stage::Silent(silent);
        }
        !taken
    }

    /// What becomes of a connection that may rest or move, once it was polled: `asked` is why its server was told to end
    /// before that, if it was; `calm`, how many requests had begun at the last poll that left nothing to do. Ready when it is to
    /// be polled again, with why its server has been told to end then.
    #[inline(never)]
    fn poll_leave(
        &mut self,
        asked: Option<Asked>,
        polled: Poll<Result<(), BoxError>>,
        calm: &mut Option<u64>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Asked>, BoxError>> {
        match (asked, polled) {
            (Some(asked), Poll::Ready(Ok(()))) => self.depart(asked)?,
            // It was in the middle of something after all.
            (Some(Asked::ToMove(_)), Poll::Pending) => self.stay(),
            (Some(Asked::ToRest), Poll::Pending) => self.rest.refuse(),
            (None, Poll::Pending) => {
                // Only the next poll tells what becomes of the last request's body: hyper may give up the connection for it,
                // and ends then as if between two requests.
                if self.is_to_rest() || self.is_to_move() {
                    let begun = Some(self.rest.requests());
                    if mem::replace(calm, begun) != begun {
                        return Poll::Ready(Ok(None));
                    }
                }
                let reason = ready!(self.poll_reason(cx));
                return Poll::Ready(Ok(self.ask_to_end(reason)));
            }
            (_, Poll::Ready(ended)) => ended?,
        }
        Poll::Ready(Ok(None))
    }

    /// Asks a connection to end that is between two requests. hyper is the judge of that, for only there does it end at
    /// once: when it is polled again, which is next. Where no server is, it goes.
    fn ask_to_end(&mut self, asked: Asked) -> Option<Asked> {
        match (&asked, &self.leave) {
            (Asked::ToMove(_), Some(leave)) => leave.begin(),
            _ => self.rest.begin(),
        }
        if let Stage::Http1(connection) = &mut self.stage {
            Pin::new(&mut **connection).graceful_shutdown();
            return Some(asked);
        }
        self.go(asked);
        None
    }

    /// Takes the stream out of its server, which has ended: it is silent again, with what the server has read of a next
    /// request. Then it rests, or goes.
    fn depart(&mut self, asked: Asked) -> Result<(), BoxError> {
        if let Stage::Http1(connection) = self.take_stage() {
            let parts = connection.into_parts().ok_or("it was upgraded")?;
            let mut io = parts.io.into_inner();
            io.put_back(&parts.read_buf);
            let silent = Silent::boxed(io, parts.service, Some(Protocol::Http1));
            self.stage = Stage::Silent(silent);
        }
        self.go(asked);
        Ok(())
    }

    /// No server has the stream.
    fn go(&mut self, asked: Asked) {
        match asked {
            Asked::ToMove(turn) => self.send(turn),
            Asked::ToRest => self.rest.settle(),
        }
    }

    fn send(&mut self, turn: Turn) {
        let stage = self.take_stage();
        let moving = match (&stage, &self.leave) {
            (Stage::Silent(silent), Some(leave)) => leave.send(turn, &silent.io),
            _ => None,
        };
        self.stage = match (stage, moving) {
            (Stage::Silent(silent), Some(moving)) => Stage::Leaving(silent, moving),
            (stage, _) => {
                self.stay();
                stage
            }
        };
    }

    fn stay(&self) {
        if let Some(leave) = &self.leave {
            leave.stay();
        }
    }
}

/// Nothing is pinned in it but what is boxed.
impl<S: HttpService<B>, B: HttpBody> Unpin for HttpConnection<S, B> {}

impl<S: HttpService<B>, B: HttpBody> Future for HttpConnection<S, B> {
    type Output = Result<(), BoxError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (mut asked, mut calm) = (None, None);
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
            let may_leave = self.leave.is_some() || self.rest.is_due();
            if asked.is_none() && (polled.is_ready() || !may_leave) {
                return polled;
            }
            asked = ready!(self.poll_leave(asked, polled, &mut calm, cx))?;
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
