//! Answers that would never end by themselves: their handlers are told of the stop, and end them in the protocol's own
//! words, so that their clients come back elsewhere at once.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use graceful_server::{Phase, Tracker};
use tokio::time::{interval, timeout};
use tokio_stream::wrappers::IntervalStream;

use crate::status::Status;

/// How long a client may take to answer a Close.
const CLOSING: Duration = Duration::from_secs(5);

/// An event a second. The end of the stream is an ordinary one: an `EventSource` connects again.
pub(crate) async fn sse(State(status): State<Status>) -> impl IntoResponse {
    let events = IntervalStream::new(interval(Duration::from_secs(1)))
        .enumerate()
        .map(|(n, _)| Ok::<_, Infallible>(Event::default().data(n.to_string())));
    Sse::new(events.take_until(told(status.tracker())))
}

/// Parked until there is news, which is the stop: 204, "nothing new, ask again".
pub(crate) async fn poll(State(status): State<Status>) -> StatusCode {
    told(status.tracker()).await;
    StatusCode::NO_CONTENT
}

pub(crate) async fn ws(State(status): State<Status>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async move |mut socket| {
        if echo(&mut socket, status.tracker()).await.is_some() {
            close(&mut socket, status.tracker()).await;
        }
    })
}

/// Echoes until the stop. Nothing if the client went first.
async fn echo(socket: &mut WebSocket, tracker: &Tracker) -> Option<()> {
    let mut told = pin!(told(tracker));
    loop {
        tokio::select! {
            () = &mut told => return Some(()),
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
async fn close(socket: &mut WebSocket, tracker: &Tracker) {
    let (code, reason) = match tracker.is_handed_over() {
        true => (close_code::RESTART, "the server restarts"),
        false => (close_code::AWAY, "the server stops"),
    };
    let frame = CloseFrame {
        code,
        reason: reason.into(),
    };
    if socket.send(Message::Close(Some(frame))).await.is_ok() {
        let gone = async { while socket.recv().await.is_some_and(|message| message.is_ok()) {} };
        // A client that does not answer has had its time.
        let _ = timeout(CLOSING, gone).await;
    }
}

fn told(tracker: &Tracker) -> impl Future<Output = ()> + use<> {
    tracker.reached(Phase::LameDuck)
}
