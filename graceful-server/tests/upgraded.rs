//! Connections that were upgraded: told with the right code, waited for, and at the deadline cut and named.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure here fails the test"
)]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{
        Path,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    },
    response::Response,
    routing::any,
};
use bytes::Bytes;
use futures_util::{
    Sink, SinkExt, Stream, StreamExt,
    future::{join, join_all},
};
use graceful_server::{ConnState, Drain, Phase, Report};
use http::{Method, Request, StatusCode};
use http_body_util::Empty;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use support::{
    BOUND, Server, app,
    frames::{Peer, Said, body},
    http2, quick, read_all, until,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, Message as Sent, protocol::Role},
};
use tower::util::MapRequestLayer;

/// The response to a handshake that was refused.
type Refused = Response<Option<Vec<u8>>>;

/// `/ws/2000` closes when told, within so many milliseconds; those with a name never do.
fn sockets() -> Router {
    app().route("/ws/{kind}", any(open))
}

async fn open(Path(kind): Path<String>, upgrade: WebSocketUpgrade) -> Response {
    let drain = Drain::current().unwrap();
    upgrade.on_upgrade(async move |socket| match kind.as_str() {
        "deaf" => echo(socket).await,
        "stuck" => flood(socket).await,
        "halves" => halves(socket).await,
        spread => {
            let spread = Duration::from_millis(spread.parse().unwrap());
            echo(drain.end_socket(spread, socket, close)).await;
        }
    })
}

fn close(close: graceful_server::Close) -> Message {
    Message::Close(Some(CloseFrame {
        code: close.code,
        reason: close.reason.into(),
    }))
}

async fn echo(
    mut socket: impl Stream<Item = Result<Message, axum::Error>> + Sink<Message> + Unpin,
) {
    while let Some(Ok(message)) = socket.next().await {
        if socket.send(message).await.is_err() {
            break;
        }
    }
}

/// Sends to a client that does not read.
async fn flood(mut socket: impl Sink<Message> + Unpin) {
    let block = Bytes::from(vec![0; 1 << 16]);
    while socket.send(Message::Binary(block.clone())).await.is_ok() {}
}

/// Reads and writes in a task each.
async fn halves(socket: WebSocket) {
    let (sink, mut stream) = socket.split();
    let reader =
        tokio::spawn(async move { while stream.next().await.is_some_and(|m| m.is_ok()) {} });
    let writer = tokio::spawn(flood(sink));
    let _ = join(reader, writer).await;
}

/// A WebSocket over HTTP/1.
async fn connect(server: &Server, kind: &str) -> WebSocketStream<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    // What it does not read shall fill little of the kernel's memory.
    socket.set_recv_buffer_size(1 << 14).unwrap();
    let stream = socket.connect(server.addr).await.unwrap();
    let url = format!("ws://{}/ws/{kind}", server.addr);
    client_async(url, stream).await.unwrap().0
}

/// A WebSocket over HTTP/2, by extended CONNECT.
async fn connect_http2(server: &Server, kind: &str) -> WebSocketStream<TokioIo<Upgraded>> {
    let mut client = http2(server.addr).await;
    // The server's settings are there when an answer is.
    client
        .send_request(Request::new(Empty::new()))
        .await
        .unwrap();
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://{}/ws/{kind}", server.addr))
        .extension(hyper::ext::Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .body(Empty::<Bytes>::new());
    let response = client.send_request(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let upgraded = hyper::upgrade::on(response).await.unwrap();
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await
}

async fn say<T: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<T>, text: &str) {
    let echoed = async {
        socket.send(Sent::text(text)).await.unwrap();
        socket.next().await.unwrap().unwrap()
    };
    let echoed = timeout(BOUND, echoed).await.expect("an echo");
    assert_eq!(echoed, Sent::text(text));
}

/// The code of the Close that comes next, after which the connection ends in order.
async fn closed<T: AsyncRead + AsyncWrite + Unpin>(
    mut socket: WebSocketStream<T>,
) -> (u16, Instant) {
    let closed = async {
        let Some(Ok(Sent::Close(Some(frame)))) = socket.next().await else {
            panic!("no Close with a code");
        };
        let at = Instant::now();
        while let Some(message) = socket.next().await {
            message.unwrap();
        }
        (frame.code.into(), at)
    };
    timeout(BOUND, closed).await.expect("a Close")
}

/// The connection ends in the middle.
async fn broken<T: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocketStream<T>) {
    let broken = async {
        loop {
            match socket.next().await {
                None | Some(Err(_)) => break,
                Some(Ok(Sent::Close(_))) => panic!("nobody closed it"),
                Some(Ok(_)) => {}
            }
        }
    };
    timeout(BOUND, broken).await.expect("an end");
}

fn cut_soon(serve: graceful_server::Serve) -> graceful_server::Serve {
    serve.grace(quick().with_drain(Duration::from_secs(2)))
}

async fn hijacked(server: &Server, n: usize) {
    until("hijacked", || {
        server.tracker.counts().of(ConnState::Hijacked) == n
    })
    .await;
}

fn assert_cut(report: &Report, state: ConnState) {
    assert_eq!((report.cut.len(), report.left), (1, 0), "{report}");
    assert_eq!(report.cut[0].state, state, "{report}");
}

#[tokio::test]
async fn a_websocket_is_waited_for_and_closed_with_1001_at_a_stop() {
    let server = Server::start(sockets(), |serve| serve);
    let mut socket = connect(&server, "2000").await;
    say(&mut socket, "hello").await;
    hijacked(&server, 1).await;
    server.stop.fire();
    server.tracker.reached(Phase::Draining).await;
    assert_eq!(closed(socket).await.0, 1001);
    assert!(server.stopped().await.is_clean());
}

#[tokio::test]
async fn a_websocket_is_closed_with_1012_when_a_successor_serves() {
    let server = Server::start(sockets(), |serve| serve);
    let mut socket = connect(&server, "0").await;
    say(&mut socket, "hello").await;
    server.tracker.hand_over();
    assert_eq!(closed(socket).await.0, 1012);
    assert!(
        timeout(BOUND, server.report)
            .await
            .unwrap()
            .unwrap()
            .unwrap()
            .handed_over
    );
}

/// The WebSocket handshake on `stream`, or the response that refuses it.
async fn handshake(stream: TcpStream, kind: &str) -> Result<WebSocketStream<TcpStream>, Refused> {
    let url = format!("ws://{}/ws/{kind}", stream.peer_addr().unwrap());
    match client_async(url, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::Error::Http(refused)) => Err(*refused),
        Err(error) => panic!("{error}"),
    }
}

async fn accepted(server: &Server) -> TcpStream {
    let before = server.tracker.counts().total();
    let stream = TcpStream::connect(server.addr).await.unwrap();
    until("accepted", || server.tracker.counts().total() > before).await;
    stream
}

#[tokio::test]
async fn a_websocket_that_would_open_while_draining_gets_503_and_its_handler_does_not_run() {
    for handed_over in [false, true] {
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = runs.clone();
        let app = sockets().layer(MapRequestLayer::new(
            move |request: axum::extract::Request| {
                counted.fetch_add(1, SeqCst);
                request
            },
        ));
        let server = Server::start(app, |serve| serve);
        server.tracker.sign_refusals(|answer| {
            answer
                .headers
                .insert("x-server", "this one".parse().unwrap());
        });
        let stream = accepted(&server).await;
        if handed_over {
            server.tracker.hand_over();
        } else {
            server.stop.fire();
        }
        server.tracker.reached(Phase::Draining).await;
        let refused = handshake(stream, "0").await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()["connection"], "close");
        assert_eq!(refused.headers()["retry-after"], "1");
        assert_eq!(refused.headers()["x-server"], "this one");
        let report = timeout(BOUND, server.report)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert!(report.is_clean(), "{report}");
        assert_eq!((report.requests, report.failed), (1, 0), "{report}");
        assert_eq!(runs.load(SeqCst), 0);
    }
}

#[tokio::test]
async fn a_websocket_over_http2_that_would_open_while_draining_gets_503() {
    let server = Server::start(sockets(), |serve| serve);
    let mut peer = Peer::connect(server.addr).await;
    peer.get(1, "/slow/300").await;
    until("in flight", || server.tracker.in_flight() == 1).await;
    server.stop.fire();
    let mut said = peer.told().await;
    // A stream that races the GOAWAY.
    peer.open_websocket(3, "/ws/0").await;
    said.extend(
        peer.until(|said| matches!(said, Said::Head(3) | Said::Unavailable(3)))
            .await,
    );
    peer.pong().await;
    said.extend(peer.rest().await);
    assert!(said.contains(&Said::Unavailable(3)), "{said:?}");
    assert_eq!(body(&said, 1), b"slow", "{said:?}");
    let report = server.stopped().await;
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.requests, report.failed), (2, 0), "{report}");
}

#[tokio::test]
async fn a_websocket_that_opens_in_lame_duck_is_accepted_and_closed_with_1001() {
    let grace = quick().with_lame_duck(Duration::from_secs(30));
    let server = Server::start(sockets(), |serve| serve.grace(grace));
    let before = accepted(&server).await;
    server.stop.fire();
    server.tracker.reached(Phase::LameDuck).await;
    let kept = handshake(before, "0").await.unwrap();
    let fresh = connect(&server, "0").await;
    assert_eq!(closed(kept).await.0, 1001);
    assert_eq!(closed(fresh).await.0, 1001);
    server.tracker.advance();
    assert!(server.stopped().await.is_clean());
}

/// `curl --http2` and Java's HttpClient send h2c with every request, and accept a response in HTTP/1.1.
#[tokio::test]
async fn an_upgrade_to_another_http_is_served_while_draining() {
    let server = Server::start(sockets(), |serve| serve);
    let offers = ["h2c", "H2C", "TLS/1.2, HTTP/2.0", "h2,h2c"];
    let mut clients = Vec::new();
    for offer in offers {
        clients.push((offer, accepted(&server).await));
    }
    // Without the option the field is not for this server.
    let mut unnamed = accepted(&server).await;
    server.stop.fire();
    server.tracker.reached(Phase::Draining).await;
    for (offer, client) in &mut clients {
        let request = format!(
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: {offer}\r\n\r\n"
        );
        client.write_all(request.as_bytes()).await.unwrap();
        let answer = read_all(client).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{offer}: {answer}");
        assert!(
            answer.contains("connection: close") && answer.ends_with("hello"),
            "{answer}"
        );
    }
    let request = "GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\n\r\n";
    unnamed.write_all(request.as_bytes()).await.unwrap();
    let answer = read_all(&mut unnamed).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(server.stopped().await.is_clean());
}

/// An application may switch to protocols that the layer does not know.
#[tokio::test]
async fn any_other_upgrade_gets_503_while_draining() {
    let server = Server::start(sockets(), |serve| serve);
    let mut clients = Vec::new();
    for offer in ["WebSocket", "h2c, websocket", "SPDY/3.1", "tcp"] {
        clients.push((offer, accepted(&server).await));
    }
    server.stop.fire();
    server.tracker.reached(Phase::Draining).await;
    for (offer, client) in &mut clients {
        let request = format!(
            "POST / HTTP/1.1\r\nhost: a\r\nconnection: keep-alive\r\nconnection: upgrade\r\nupgrade: {offer}\r\n\
            content-length: 5\r\n\r\nhello"
        );
        client.write_all(request.as_bytes()).await.unwrap();
        let answer = read_all(client).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{offer}: {answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
    assert!(server.stopped().await.is_clean());
}

#[tokio::test]
async fn two_hundred_websockets_do_not_close_at_once() {
    let server = Server::start(sockets(), |serve| serve);
    let clients = join_all((0..200).map(|_| connect(&server, "3000"))).await;
    hijacked(&server, 200).await;
    server.stop.fire();
    let closed: Vec<_> = join_all(clients.into_iter().map(closed)).await;
    assert!(closed.iter().all(|(code, _)| *code == 1001));
    let first = closed.iter().map(|(_, at)| *at).min().unwrap();
    let mut by_half_second = std::collections::BTreeMap::<u128, usize>::new();
    for (_, at) in closed {
        *by_half_second
            .entry((at - first).as_millis() / 500)
            .or_default() += 1;
    }
    // A sixth of them on average; noise moves them, but not into one.
    assert!(by_half_second.len() >= 4, "{by_half_second:?}");
    assert!(
        by_half_second.values().all(|n| *n <= 120),
        "{by_half_second:?}"
    );
    assert!(server.stopped().await.is_clean());
}

#[tokio::test]
async fn a_websocket_that_goes_on_is_cut_at_the_deadline_and_named() {
    let server = Server::start(sockets(), cut_soon);
    let mut socket = connect(&server, "deaf").await;
    say(&mut socket, "hello").await;
    server.stop.fire();
    server.tracker.reached(Phase::Draining).await;
    say(&mut socket, "still served").await;
    broken(socket).await;
    assert_cut(&server.stopped().await, ConnState::Hijacked);
}

#[tokio::test]
async fn a_writer_whose_client_does_not_read_is_cut_too() {
    let server = Server::start(sockets(), cut_soon);
    let socket = connect(&server, "stuck").await;
    hijacked(&server, 1).await;
    assert_cut(&server.stopped().await, ConnState::Hijacked);
    drop(socket);
}

#[tokio::test]
async fn a_reader_and_a_writer_in_two_tasks_are_both_cut() {
    let server = Server::start(sockets(), cut_soon);
    let socket = connect(&server, "halves").await;
    hijacked(&server, 1).await;
    assert_cut(&server.stopped().await, ConnState::Hijacked);
    drop(socket);
}

#[tokio::test]
async fn a_websocket_over_http2_is_in_flight_until_it_is_closed() {
    let server = Server::start(sockets(), |serve| serve);
    let mut socket = connect_http2(&server, "0").await;
    say(&mut socket, "hello").await;
    assert_eq!(server.tracker.in_flight(), 1);
    assert_eq!(server.tracker.counts().of(ConnState::Active), 1);
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    until("let go", || server.tracker.in_flight() == 0).await;
    assert_eq!(server.tracker.counts().of(ConnState::Active), 0);
    drop(socket);
    assert!(server.stopped().await.is_clean());
}

#[tokio::test]
async fn a_websocket_over_http2_is_waited_for_and_closed_with_1001_at_a_stop() {
    let server = Server::start(sockets(), |serve| serve);
    let mut socket = connect_http2(&server, "2000").await;
    say(&mut socket, "hello").await;
    server.stop.fire();
    server.tracker.reached(Phase::Draining).await;
    assert_eq!(closed(socket).await.0, 1001);
    let report = server.stopped().await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.drained_requests, 1);
}

#[tokio::test]
async fn a_websocket_over_http2_that_goes_on_is_cut_at_the_deadline_and_named() {
    let server = Server::start(sockets(), cut_soon);
    let mut socket = connect_http2(&server, "deaf").await;
    say(&mut socket, "hello").await;
    server.stop.fire();
    server.tracker.reached(Phase::Draining).await;
    say(&mut socket, "still served").await;
    broken(socket).await;
    let report = server.stopped().await;
    assert_cut(&report, ConnState::Active);
    let [abandoned] = report.abandoned.as_slice() else {
        panic!("{report}")
    };
    assert_eq!(
        (&abandoned.method, &*abandoned.path),
        (&Method::CONNECT, "/ws/deaf")
    );
    assert_eq!(abandoned.answer, graceful_server::Answer::Truncated);
}
