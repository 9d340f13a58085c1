//! Answers that would never end by themselves: their handlers are told of the stop, and the library ends them in the
//! protocol's own words, so that their clients come back elsewhere, and not all at once.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{SinkExt, StreamExt};
use graceful_server::{Close, Drain};
use tokio::time::interval;
use tokio_stream::wrappers::IntervalStream;

/// Over how long they are told. A service with thousands of clients takes longer.
const SPREAD: Duration = Duration::from_secs(1);

/// An event a second. At the end a `retry:`, and an `EventSource` connects again after that time.
pub(crate) async fn sse(drain: Drain) -> impl IntoResponse {
    let events = IntervalStream::new(interval(Duration::from_secs(1)))
        .enumerate()
        .map(|(n, _)| Ok::<_, Infallible>(Event::default().data(n.to_string())));
    Sse::new(drain.end_stream(SPREAD, events, |retry| {
        Some(Ok(Event::default().retry(retry)))
    }))
}

/// Parked until there is news, which never comes: 204, "nothing new, ask again".
pub(crate) async fn poll(drain: Drain) -> StatusCode {
    drain.or_drained(SPREAD, std::future::pending::<()>()).await;
    StatusCode::NO_CONTENT
}

/// The longest message, and how much may wait for a client to read it. Without a bound a client that sends pings and never
/// reads has the server keep all the answers.
const MESSAGE: usize = 1 << 20;
const UNREAD: usize = 2 * MESSAGE;

/// Echoes. To the loop, a stop looks like a client that closes.
pub(crate) async fn ws(drain: Drain, upgrade: WebSocketUpgrade) -> Response {
    let upgrade = upgrade.max_message_size(MESSAGE).max_frame_size(MESSAGE);
    let upgrade = upgrade.max_write_buffer_size(UNREAD);
    upgrade.on_upgrade(async move |socket| {
        let mut socket = drain.end_socket(SPREAD, socket, close);
        while let Some(Ok(message)) = socket.next().await {
            // Of the other kinds, axum answers pings itself.
            let echoed = matches!(message, Message::Text(_) | Message::Binary(_));
            if echoed && socket.send(message).await.is_err() {
                break;
            }
        }
    })
}

fn close(Close { code, reason, .. }: Close) -> Message {
    let reason = reason.into();
    Message::Close(Some(CloseFrame { code, reason }))
}
