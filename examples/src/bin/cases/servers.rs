//! The same application under three servers, each stopped in its own documented way.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::{any, get, post};
use futures_util::stream;
use graceful_server::{Drain, Grace, HandoffListener, ShutdownSignal, serve, signal::Trigger};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::TcpListenerStream;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Axum,
    Tonic,
    Graceful,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Axum, Self::Tonic, Self::Graceful];
    /// tonic speaks HTTP/2 only, unless it is told otherwise.
    pub(crate) const HTTP1: &[Self] = &[Self::Axum, Self::Graceful];
}

/// A server that runs in this process.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    stop: Trigger,
    ended: JoinHandle<()>,
}

/// Our deadline; the others have none.
const DEADLINE: Duration = Duration::from_secs(16);
/// Who has not ended by then waits for that deadline, or for ever.
const SOON: Duration = Duration::from_secs(14);
const LATE: Duration = Duration::from_secs(20);

impl Running {
    pub(crate) async fn start(kind: Kind) -> Self {
        let (stop, signal) = ShutdownSignal::manual();
        let (addr, ended) = start(kind, signal)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        Self { addr, stop, ended }
    }

    pub(crate) fn stop(&self) {
        self.stop.fire();
    }

    /// Whether the server returns by itself, before any deadline.
    pub(crate) async fn ends(self) -> bool {
        timeout(SOON, self.ended).await.is_ok()
    }

    pub(crate) async fn ends_late(self) -> bool {
        timeout(LATE, self.ended).await.is_ok()
    }
}

async fn start(
    kind: Kind,
    signal: ShutdownSignal,
) -> std::io::Result<(SocketAddr, JoinHandle<()>)> {
    if kind == Kind::Graceful {
        let listener = HandoffListener::bind("127.0.0.1:0").map_err(std::io::Error::other)?;
        let addr = listener
            .local_addr()
            .as_tcp()
            .ok_or(std::io::ErrorKind::AddrNotAvailable)?;
        let grace = Grace::default()
            .with_drain(DEADLINE)
            .with_first_request_grace(Duration::from_secs(2));
        let server = serve(listener, app()).stop_on(signal).grace(grace);
        return Ok((addr, tokio::spawn(async { drop(server.await) })));
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let ended = if kind == Kind::Axum {
        let server = axum::serve(listener, app()).with_graceful_shutdown(signal);
        tokio::spawn(async { drop(server.await) })
    } else {
        let routes = tonic::service::Routes::from(app());
        let server = tonic::transport::Server::builder().add_routes(routes);
        let incoming = TcpListenerStream::new(listener);
        tokio::spawn(async { drop(server.serve_with_incoming_shutdown(incoming, signal).await) })
    };
    Ok((addr, ended))
}

fn app() -> Router {
    Router::new()
        .route("/", get(async || "hello").post(async |body: String| body))
        .route("/slow", get(slow))
        .route("/stream", get(streamed))
        .route("/early", post(async |_: Body| "early"))
        .route("/hang", get(std::future::pending::<&'static str>))
        .route("/ws", any(websocket))
}

async fn slow() -> &'static str {
    sleep(Duration::from_millis(500)).await;
    "slow"
}

async fn streamed() -> Body {
    Body::from_stream(stream::unfold(0, |n| async move {
        sleep(Duration::from_millis(100)).await;
        (n < 5).then_some((Ok::<_, Infallible>(Bytes::from("part")), n + 1))
    }))
}

/// Where there is a drain to be told of, its handler says goodbye.
async fn websocket(upgrade: WebSocketUpgrade) -> Response {
    let drain = Drain::current();
    upgrade.on_upgrade(|socket| echo(socket, drain))
}

async fn echo(mut socket: WebSocket, drain: Option<Drain>) {
    let told = async {
        match drain {
            Some(drain) => drain.draining().await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(told);
    loop {
        tokio::select! {
            message = socket.recv() => match message {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => drop(socket.send(message).await),
                Some(Ok(_)) => {}
                _ => return,
            },
            () = &mut told => {
                let _ = socket.send(Message::Close(None)).await;
                return;
            }
        }
    }
}
