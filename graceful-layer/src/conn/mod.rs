//! One connection and the pieces that track it: I/O, service, connection future (law 2).
//!
//! The three share one cell of the tracker. Any of them may be left out; what the missing one would have seen is
//! then not known.

mod ahead;
mod detach;
#[cfg(feature = "hyper")]
mod executor;
mod frames;
mod future;
mod graceful;
#[cfg(feature = "hyper")]
mod hyper;
mod io;
mod linger;
mod making;
mod peek;
mod peer;
mod pong;
mod probe;
mod state;
mod unread;
mod waiting;

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

#[cfg(feature = "hyper")]
pub use self::executor::StreamExecutor;
pub(crate) use self::peer::Packed;
pub use self::{
    detach::Detach,
    future::{ConnFuture, Hold},
    graceful::GracefulConnection,
    io::ConnIo,
    making::NotMade,
    peek::Peek,
    peer::Peer,
    probe::Waits,
    state::ConnState,
};
use crate::{
    CutReason, Graceful, Tracker,
    contained::Contained,
    state::{Orders, Part},
};

/// A connection in the tracker, from [`Tracker::open`](crate::Tracker::open) until the last of its pieces is dropped.
///
/// Everything that `graceful-server` does for a connection, a hand-written loop has in three lines: wrap the stream,
/// wrap the service, wrap the future that hyper gives.
///
/// ```no_run
/// # async fn run() -> std::io::Result<()> {
/// use graceful_layer::Tracker;
/// use hyper::{body::Incoming, server::conn::http1, Request, Response};
/// use hyper_util::rt::TokioIo;
///
/// let app = tower::service_fn(|_: Request<Incoming>| async {
///     Ok::<_, std::convert::Infallible>(Response::new("hello".to_owned()))
/// });
/// let tracker = Tracker::new();
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
/// loop {
///     let (stream, peer) = listener.accept().await?;
///     let conn = tracker.open(peer);
///     let io = TokioIo::new(conn.io(stream));
///     let service = conn.service(app.clone());
///     tokio::spawn(conn.watch(http1::Builder::new().serve_connection(io, service)));
/// }
/// # }
/// ```
pub struct Connection {
    part: Part,
}

impl Connection {
    pub(crate) fn new(part: Part) -> Self {
        Self { part }
    }

    /// Wraps the connection's stream: it notes what is read, written and closed, and closes politely.
    ///
    /// Wrap the stream that carries HTTP: outside of TLS, inside of hyper's `TokioIo`. A stream that is not a socket needs
    /// a [`Peek`] of its own.
    pub fn io<T: Peek>(&self, stream: T) -> ConnIo<T> {
        ConnIo::new(stream, self.part.io())
    }

    /// Wraps the service: it counts this connection's requests, and says `Connection: close` when it is time.
    pub fn service<S>(&self, inner: S) -> Graceful<S> {
        Graceful::on_connection(inner, self.part.clone())
    }

    /// Wraps the connection future: it tells hyper of the drain, and drops everything at the cutoff.
    #[inline]
    pub fn watch<C: GracefulConnection>(self, connection: C) -> ConnFuture<C> {
        ConnFuture::new(connection, self.part)
    }

    /// Like [`watch`](Self::watch) for a future that cannot be told of a drain, such as a protocol of your own: it is
    /// counted, and dropped at the cutoff.
    pub fn hold<F: Future<Output = ()>>(self, future: F) -> ConnFuture<Hold<F>> {
        ConnFuture::new(Hold::new(future), self.part)
    }

    /// Permits the connection's own task to take its stream out of its HTTP/1 server while the connection is idle: to release the
    /// server until the next byte, to move to another process, or to close. That task must do what [`Detach`] describes.
    pub fn detach(&self) -> Detach {
        Detach::new(self.part.clone())
    }

    /// Permits the connection to move to another process while it is idle, instead of being closed by a hand-over, if your code
    /// can transfer its stream. From now on its responses do not have `Connection: close` while a successor takes
    /// connections ([`Tracker::set_moving`](crate::Tracker::set_moving)).
    ///
    /// Only for a plain stream that speaks HTTP/1: the state of TLS and HTTP/2 cannot be transferred.
    pub fn set_movable(&self) {
        self.part.cell().set_movable();
    }

    /// Says that a TLS handshake begins or is over: `Handshaking`, then `New`.
    pub fn set_handshaking(&self, handshaking: bool) {
        self.part.cell().set_handshaking(handshaking);
    }

    /// Says that the connection speaks HTTP/2, when that was found out by ALPN. The I/O wrapper sees a preface itself.
    pub fn set_http2(&self) {
        self.part.cell().set_http2();
    }

    /// Runs `making`, which makes the service of this connection, and returns its output.
    ///
    /// The connection waits for it as long as it may take for its first request, from accept on:
    /// [`Timeouts::first_request`](crate::Timeouts::first_request) in normal service, and in a drain
    /// [`Grace::first_request_grace`](crate::Grace::first_request_grace), the deadline at the latest. Then `making` is dropped.
    /// The time for the first request begins anew when `making` resolves. A panic in `making` is contained.
    ///
    /// If `stream` has bytes when the time is over in a shutdown, the client has sent a request that gets no response, and the
    /// connection is in [`Report::cut`](crate::Report::cut).
    ///
    /// # Errors
    /// [`NotMade`] is the reason. Drop the connection then.
    ///
    /// # Cancel safety
    /// Dropping the future drops `making`.
    pub async fn make<T, P: Peek>(
        &self,
        stream: &P,
        making: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, NotMade> {
        let cell = self.part.cell();
        // Without a tracker the server is gone.
        let tracker = Tracker::of(cell.arena()).ok_or(NotMade::OutOfTime)?;
        let mut making = Contained::new(tracker.clone(), "make-service".to_owned(), making);
        let made = poll_fn(|cx| {
            let orders = cell.listen(cx.waker());
            if !orders.says(Orders::CUT | Orders::CLOSE) {
                let made = Pin::new(&mut making).poll(cx);
                return made.map(|made| made.ok_or(NotMade::Panicked));
            }
            if matches!(stream.has_bytes(), Ok(true)) {
                let at_the_end = orders.says(Orders::CUT);
                let reason = if at_the_end {
                    tracker.cut_reason()
                } else {
                    CutReason::NoService
                };
                tracker.note_closed(cell, reason);
            }
            Poll::Ready(Err(NotMade::OutOfTime))
        });
        let made = made.await?;
        // The time for the first request begins here.
        cell.set_handshaking(false);
        Ok(made)
    }

    /// Says which of several listeners it came from; 0 if it is not said. Shown in [`ConnInfo`](crate::ConnInfo).
    pub fn set_listener(&self, listener: u16) {
        self.part.cell().set_listener(listener);
    }

    /// The connection's number in its tracker, counted from 1.
    pub fn id(&self) -> u64 {
        self.part.cell().id()
    }

    /// Who is at its other end.
    pub fn peer(&self) -> Peer {
        self.part.cell().peer()
    }

    /// What it is doing.
    pub fn state(&self) -> ConnState {
        self.part.cell().state()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id())
            .field("state", &self.state())
            .finish()
    }
}
