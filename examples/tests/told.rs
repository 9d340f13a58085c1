//! Answers that never end by themselves: told of a stop or a restart, their handlers end them in order.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test did not get is its failure"
)]

mod support;

use futures_util::{SinkExt, StreamExt};
use rustix::process::Signal;
use support::server::Server;
use support::wire::Wire;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

type Socket =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn connect(server: &Server) -> Socket {
    let url = format!("ws://{}/ws", server.addr);
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(
        socket.next().await.unwrap().unwrap(),
        Message::text("hello")
    );
    socket
}

/// The code of the Close that comes next, after which the connection ends in order.
async fn close_code(mut socket: Socket) -> CloseCode {
    let closed = async {
        let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else {
            panic!("no Close with a code");
        };
        while let Some(message) = socket.next().await {
            message.unwrap();
        }
        frame.code
    };
    timeout(support::BOUND, closed).await.unwrap()
}

#[tokio::test]
async fn a_stop_closes_websockets_with_1001() {
    let server = Server::start(&[]).await;
    let socket = connect(&server).await;
    server.signal(Signal::TERM);
    assert_eq!(close_code(socket).await, CloseCode::Away);
    assert_eq!(server.exit().await, 0);
}

#[tokio::test]
async fn a_restart_closes_websockets_with_1012() {
    let mut server = Server::start(&[]).await;
    let socket = connect(&server).await;
    server.signal(Signal::HUP);
    server.ready(1).await;
    assert_eq!(close_code(socket).await, CloseCode::Restart);
    assert_eq!(server.process.exit().await, 0);
    drop(connect(&server).await);
}

#[tokio::test]
async fn event_streams_end_in_order_and_parked_polls_are_answered() {
    let server = Server::start(&[]).await;
    let (mut events, mut poll) = (Wire::open(server.addr).await, Wire::open(server.addr).await);
    events.get("/sse").await;
    events.read_until("data: 0\n\n").await;
    poll.get("/poll").await;
    server.in_flight(2).await;
    server.signal(Signal::TERM);
    let end = events.rest().await.in_order();
    assert!(end.ends_with("\n\n\r\n0\r\n\r\n"), "{end}");
    let retry = end.rsplit_once("retry: ").expect("a retry").1;
    let retry: u32 = retry.split('\n').next().unwrap().parse().unwrap();
    assert!((1000..=3000).contains(&retry), "{end}");
    let polled = poll.rest().await.in_order();
    assert!(polled.starts_with("HTTP/1.1 204"), "{polled}");
    assert_eq!(server.exit().await, 0);
}
