//! A WebSocket that closes when its server stops, with the code that says why, and waits for the client's own Close.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use futures_sink::Sink;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::{Told, told};
use crate::Drain;

/// How long the closing may take: our Close on its way, the client's on the way back.
const CLOSING: Duration = Duration::from_secs(5);

/// What a WebSocket is closed with when its server stops.
///
/// # References
/// [IANA, WebSocket Close Code Number Registry](https://www.iana.org/assignments/websocket/websocket.xhtml)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Close {
    /// [`Drain::close_code`]: 1012 if a successor serves, else 1001.
    pub code: u16,
    /// The same in words.
    pub reason: &'static str,
}

impl Drain {
    /// Waits until this caller is told, and says what to close its WebSocket with.
    ///
    /// For handlers that have something to say first; [`end_socket`](Self::end_socket) does it all. Told means
    /// [`draining_within`](Self::draining_within) of `spread`. After the Close has been sent, read until the client's own
    /// Close for a while before letting go of the socket.
    ///
    /// # Cancel safety
    /// Cancel safe, but a new call draws a new share of the spread: in a loop, keep the future.
    pub async fn closing(&self, spread: Duration) -> Close {
        self.draining_within(spread).await;
        Close::of(self)
    }

    /// Wraps a WebSocket so that it closes by itself when this caller is told: to its reader it ends, like one that the
    /// client has closed.
    ///
    /// In order of events: messages pass in both directions. When told ([`draining_within`](Self::draining_within) of
    /// `spread`) it sends what `close` makes; then it reads and forgets until the client's own Close or the end, for five
    /// seconds at the most; then the stream ends. Works with whatever is a stream and a sink of messages: axum's
    /// `WebSocket`, `tokio_tungstenite::WebSocketStream`, also split.
    ///
    /// What is not covered: it closes while it is read from. A handler that waits for something else for long selects on
    /// [`closing`](Self::closing) there.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use axum::{
    ///     extract::ws::{CloseFrame, Message, WebSocketUpgrade},
    ///     response::Response,
    /// };
    /// use futures_util::{SinkExt, StreamExt};
    /// use graceful_layer::Drain;
    ///
    /// async fn echo(drain: Drain, upgrade: WebSocketUpgrade) -> Response {
    ///     upgrade.on_upgrade(move |socket| async move {
    ///         let mut socket = drain.end_socket(Duration::from_secs(5), socket, |close| {
    ///             Message::Close(Some(CloseFrame {
    ///                 code: close.code,
    ///                 reason: close.reason.into(),
    ///             }))
    ///         });
    ///         while let Some(Ok(message)) = socket.next().await {
    ///             if socket.send(message).await.is_err() {
    ///                 break;
    ///             }
    ///         }
    ///     })
    /// }
    /// ```
    ///
    /// # References
    /// RFC 6455 §7.1.2 (closing handshake), §7.4 (status codes).
    #[doc(alias = "websocket")]
    pub fn end_socket<W, M, F>(&self, spread: Duration, socket: W, close: F) -> EndSocket<W, M, F>
    where
        W: Sink<M>,
        F: FnOnce(Close) -> M,
    {
        EndSocket {
            socket,
            stage: Stage::Open {
                told: told(self, spread),
                drain: self.clone(),
                close: Some(close),
            },
        }
    }
}

impl Close {
    fn of(drain: &Drain) -> Self {
        let code = drain.close_code();
        let reason = match code {
            1012 => "service restart",
            _ => "going away",
        };
        Self { code, reason }
    }
}

pin_project! {
    /// The WebSocket of [`Drain::end_socket`].
    #[must_use = "it closes only while it is read from"]
    pub struct EndSocket<W, M, F> {
        #[pin]
        socket: W,
        stage: Stage<M, F>,
    }
}

enum Stage<M, F> {
    Open {
        told: Told,
        drain: Drain,
        close: Option<F>,
    },
    Closing {
        bound: Pin<Box<Sleep>>,
        /// Not with the socket yet.
        close: Option<M>,
        flushed: bool,
    },
    Over,
}

impl<W, M, F> EndSocket<W, M, F> {
    /// The WebSocket, as it is now.
    pub fn into_inner(self) -> W {
        self.socket
    }
}

impl<W, M, E, F> Stream for EndSocket<W, M, F>
where
    W: Stream<Item = Result<M, E>> + Sink<M>,
    F: FnOnce(Close) -> M,
{
    type Item = Result<M, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.as_mut().project();
        if let Stage::Open { told, drain, close } = this.stage {
            if told.as_mut().poll(cx).is_pending() {
                return this.socket.poll_next(cx);
            }
            *this.stage = Stage::Closing {
                bound: Box::pin(sleep(CLOSING)),
                close: close.take().map(|close| close(Close::of(drain))),
                flushed: false,
            };
        }
        if let Stage::Closing {
            bound,
            close,
            flushed,
        } = this.stage
        {
            if bound.as_mut().poll(cx).is_pending() {
                ready!(poll_close(this.socket.as_mut(), close, flushed, cx));
            }
            *this.stage = Stage::Over;
        }
        Poll::Ready(None)
    }
}

/// Sends `close`, and reads to the end, whatever that is.
fn poll_close<W, M, E>(
    mut socket: Pin<&mut W>,
    close: &mut Option<M>,
    flushed: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<()>
where
    W: Stream<Item = Result<M, E>> + Sink<M>,
{
    if close.is_some() {
        let ready = ready!(socket.as_mut().poll_ready(cx)).is_ok();
        let sent = close
            .take()
            .is_some_and(|close| ready && socket.as_mut().start_send(close).is_ok());
        if !sent {
            return Poll::Ready(());
        }
    }
    if !*flushed {
        // Pending or not, the client may be waiting for us to read before it reads.
        match socket.as_mut().poll_flush(cx) {
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            flush => *flushed = flush.is_ready(),
        }
    }
    while let Some(Ok(_)) = ready!(socket.as_mut().poll_next(cx)) {}
    Poll::Ready(())
}

impl<W: Sink<M>, M, F> Sink<M> for EndSocket<W, M, F> {
    type Error = W::Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), W::Error>> {
        self.project().socket.poll_ready(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: M) -> Result<(), W::Error> {
        self.project().socket.start_send(message)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), W::Error>> {
        self.project().socket.poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), W::Error>> {
        self.project().socket.poll_close(cx)
    }
}

impl<W, M, F> fmt::Debug for EndSocket<W, M, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Open { .. } => "open",
            Stage::Closing { .. } => "closing",
            Stage::Over => "over",
        };
        f.debug_struct("EndSocket")
            .field("stage", &stage)
            .finish_non_exhaustive()
    }
}
