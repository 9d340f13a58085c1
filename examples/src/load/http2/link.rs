//! One HTTP/2 connection and the streams on it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::{Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::wire::{Watched, Wire};
use crate::load::answer::LONGEST_BODY;
use crate::load::{Answer, Call, Loss, Outcome};

/// One connection. Dropping it ends it; the streams that are still open hold it.
#[derive(Debug)]
pub(super) struct Link {
    send: SendRequest<Bytes>,
    wire: Arc<Wire>,
    /// Streams that are open or were lost.
    busy: AtomicUsize,
    driver: JoinHandle<()>,
}

pub(super) enum Failure {
    /// The server had no reason to expect the stream: the connection was known to be over before it
    /// left.
    Unsent,
    Lost(Loss),
}

impl Link {
    pub(super) async fn open(server: SocketAddr) -> Result<Self, Loss> {
        let stream = TcpStream::connect(server)
            .await
            .map_err(|error| Loss::refused(&error))?;
        stream
            .set_nodelay(true)
            .map_err(|error| Loss::refused(&error))?;
        let wire = Arc::<Wire>::default();
        let watched = Watched::new(stream, Arc::clone(&wire));
        let handshake = h2::client::handshake(watched).await;
        let (send, connection) = handshake.map_err(|error| unanswered(&error, &wire))?;
        // How the connection ends reaches every stream, so nobody asks the driver.
        let driver = tokio::spawn(async { drop(connection.await) });
        Ok(Self {
            send,
            wire,
            busy: AtomicUsize::new(0),
            driver,
        })
    }

    /// Whether no new stream may be opened on it.
    pub(super) fn is_over(&self) -> bool {
        self.wire.is_over() || self.driver.is_finished()
    }

    /// Whether the server sent GOAWAY.
    pub(super) fn was_told(&self) -> bool {
        self.wire.was_told()
    }

    /// Whether every stream on it ended well.
    pub(super) fn is_idle(&self) -> bool {
        self.busy.load(Relaxed) == 0
    }

    pub(super) async fn exchange(&self, call: &Call) -> Result<Answer, Failure> {
        self.busy.fetch_add(1, Relaxed);
        let result = self.stream(call).await;
        if !matches!(result, Err(Failure::Lost(_))) {
            self.busy.fetch_sub(1, Relaxed);
        }
        result
    }

    async fn stream(&self, call: &Call) -> Result<Answer, Failure> {
        let mut send = self
            .send
            .clone()
            .ready()
            .await
            .map_err(|_| Failure::Unsent)?;
        let last = call.body.is_empty();
        let (answer, body) = send
            .send_request(request(call)?, last)
            .map_err(|_| Failure::Unsent)?;
        let id = answer.stream_id().as_u32();
        upload(body, call).await;
        receive(answer, &self.wire)
            .await
            .map_err(|loss| match loss.outcome {
                Outcome::Cut | Outcome::Wrong => Failure::Lost(loss),
                _ if self.wire.was_in_time(id) => Failure::Lost(loss),
                _ => Failure::Unsent,
            })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn request(call: &Call) -> Result<http::Request<()>, Failure> {
    http::Request::builder()
        .method(call.method.clone())
        .uri(format!("http://localhost{}", call.path))
        .body(())
        .map_err(|error| Failure::Lost(Loss::wrong(format!("cannot send {}: {error}", call.path))))
}

/// The answer decides what became of the request, so whether the body could be sent is not asked.
async fn upload(mut stream: SendStream<Bytes>, call: &Call) {
    let (first, rest) = call.halves();
    if call.body.is_empty() {
        return;
    }
    let _ = stream.send_data(first, rest.is_empty());
    if !rest.is_empty() {
        sleep(call.pause).await;
        let _ = stream.send_data(rest, true);
    }
}

async fn receive(answer: ResponseFuture, wire: &Wire) -> Result<Answer, Loss> {
    let (head, body) = answer
        .await
        .map_err(|error| unanswered(&error, wire))?
        .into_parts();
    let body = read(body).await?;
    Ok(Answer::new(head.status, &head.headers, body))
}

async fn read(mut stream: RecvStream) -> Result<Bytes, Loss> {
    let mut body = BytesMut::new();
    while let Some(piece) = stream.data().await {
        let piece = piece.map_err(|error| cut(&error))?;
        // It fails only on a stream that is over, and then `data` says so.
        let _ = stream.flow_control().release_capacity(piece.len());
        body.extend_from_slice(&piece);
        if body.len() > LONGEST_BODY {
            return Err(Loss::wrong(format!("more than {LONGEST_BODY} bytes")));
        }
    }
    Ok(body.freeze())
}

/// The stream ended before the head of an answer.
fn unanswered(error: &h2::Error, wire: &Wire) -> Loss {
    let refused = error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM);
    let outcome = match (error.is_io(), error.is_remote()) {
        (true, _) if wire.has_failed() => Outcome::Reset,
        (true, _) => Outcome::Closed,
        (false, true) if refused => Outcome::RefusedStream,
        (false, true) => Outcome::Reset,
        (false, false) => Outcome::Wrong,
    };
    Loss::new(outcome, error.to_string())
}

/// The stream ended in the body. Only what the server breaks in HTTP/2 itself is wrong, all else is
/// short.
fn cut(error: &h2::Error) -> Loss {
    let outcome = if error.is_library() {
        Outcome::Wrong
    } else {
        Outcome::Cut
    };
    Loss::new(outcome, error.to_string())
}
