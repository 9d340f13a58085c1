//! Answers that would never end by themselves: their handlers are told of the stop, and end them in the protocol's own
//! words, so that their clients come back elsewhere at once.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use graceful_server::Drain;
use tokio::time::{interval, timeout};
use tokio_stream::wrappers::IntervalStream;

/// How long a client may take to answer a Close.
const CLOSING: Duration = Duration::from_secs(5);

/// An event a second. The end of the stream is an ordinary one: an `EventSource` connects again.
pub(crate) async fn sse(drain: Drain) -> impl IntoResponse {
    let events = IntervalStream::new(interval(Duration::from_secs(1)))
        .enumerate()
        .map(|(n, _)| Ok::<_, Infallible>(Event::default().data(n.to_string())));
    Sse::new(events.take_until(async move { drain.draining().await }))
}

/// Parked until there is news, which is the stop: 204, "nothing new, ask again".
pub(crate) async fn poll(drain: Drain) -> StatusCode {
    drain.draining().await;
    StatusCode::NO_CONTENT
}

pub(crate) async fn ws(drain: Drain, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async move |mut socket| {
        if echo(&mut socket, &drain).await.is_some() {
            close(&mut socket, &drain).await;
        }
    })
}

/// Echoes until the stop. Nothing if the client went first.
async fn echo(socket: &mut WebSocket, drain: &Drain) -> Option<()> {
    let mut draining = pin!(drain.draining());
    loop {
        tokio::select! {
            () = &mut draining => return Some(()),
            message = socket.recv() => {
                // Of the other kinds, axum answers pings itself.
                if let message @ (Message::Text(_) | Message::Binary(_)) = message?.ok()? {
                    socket.send(message).await.ok()?;
                }
            }
        }
    }
}

/// Says which kind of stop it is, and waits for the client's own Close.
async fn close(socket: &mut WebSocket, drain: &Drain) {
    let code = drain.close_code();
    let reason = "this process serves no longer".into();
    let close = Message::Close(Some(CloseFrame { code, reason }));
    if socket.send(close).await.is_ok() {
        let gone = async { while socket.recv().await.is_some_and(|message| message.is_ok()) {} };
        // A client that does not answer has had its time.
        let _ = timeout(CLOSING, gone).await;
    }
}
