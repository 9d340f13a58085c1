//! `cargo run -p graceful-examples --bin hyper-loop`, then `curl localhost:8080/slow` and meanwhile `kill -TERM PID`.
//!
//! You see: a hand-written accept loop stops as well as `serve` does, with three lines for each connection. The answer
//! arrives, then the process ends and says what it drained.

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use graceful_server::layer::conn::StreamExecutor;
use graceful_server::listener::{PeerAddr, Stream};
use graceful_server::{Grace, HandoffListener, Peer, Phase, ShutdownSignal, Tracker};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::time::sleep;
use tower::service_fn;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let tracker = Tracker::new();
    let drain = tokio::spawn(tracker.drain_on(ShutdownSignal::terminate()?, Grace::default()));
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listener = HandoffListener::bind(address)?;
    tracing::info!("listening {}", listener.local_addr());

    // Until the loop is over the drain is not: a connection may be between the queue and the tracker.
    let accepting = tracker.beacon("accepting");
    let mut draining = std::pin::pin!(tracker.reached(Phase::Draining));
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => serve(&tracker, stream, peer),
                // Out of files, most likely: the queue waits, and so do we.
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    sleep(Duration::from_millis(100)).await;
                }
            },
            () = &mut draining => break,
        }
    }
    // What is in the queue when the listener is closed would be reset, so nobody may join it any more, and it is emptied.
    listener.seal();
    while let Ok(Some((stream, peer))) = listener.accept_queued() {
        serve(&tracker, stream, peer);
    }
    drop((listener, accepting));
    tracing::info!("{}", drain.await?);
    Ok(())
}

fn serve(tracker: &Tracker, stream: Stream, peer: PeerAddr) {
    let conn = tracker.open(peer.as_tcp().map_or(Peer::Unix, Peer::Tcp));
    let io = TokioIo::new(conn.io(stream));
    let service = conn.service(service_fn(answer));
    let http = auto::Builder::new(StreamExecutor);
    let connection = http
        .serve_connection_with_upgrades(io, service)
        .into_owned();
    tokio::spawn(conn.watch(connection));
}

async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    if request.uri().path() == "/slow" {
        sleep(Duration::from_secs(10)).await;
    }
    Ok(Response::new("hello\n".to_owned()))
}
