//! At the cutoff, a gRPC call without an answer gets one that gRPC understands.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure here fails the test"
)]

#[path = "support/grpc.rs"]
mod grpc;
mod support;

use std::time::Duration;

use bytes::Bytes;
use graceful_server::Answer;
use grpc::{Client, Sample};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::{Server, quick, until};
use tokio::net::TcpStream;
use tonic::{Code, service::Routes, transport::Channel};

fn start() -> Server {
    Server::start(Routes::new(Sample).into_axum_router(), |serve| {
        serve.grace(quick().with_drain(Duration::from_millis(500)))
    })
}

#[tokio::test]
async fn a_call_without_an_answer_fails_with_unavailable() {
    let server = start();
    let channel = Channel::from_shared(format!("http://{}", server.addr));
    let client = Client::new(channel.unwrap().connect_lazy());
    let call = tokio::spawn(client.slow(60_000));
    until("in flight", || server.tracker.in_flight() == 1).await;
    let report = server.stopped().await;
    let status = call.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(!status.message().is_empty());
    let [call] = report.abandoned.as_slice() else {
        panic!("{report}")
    };
    assert_eq!(
        (&*call.path, call.answer),
        ("/test.Sample/Slow", Answer::Refused)
    );
}

#[tokio::test]
async fn the_answer_is_trailers_only() {
    let server = start();
    let stream = TcpStream::connect(server.addr).await.unwrap();
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut client, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("http://{}/test.Sample/Slow", server.addr))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from_static(b"\0\0\0\0\x07\x0a\x0560000")));
    let answer = tokio::spawn(client.send_request(request.unwrap()));
    until("in flight", || server.tracker.in_flight() == 1).await;
    server.stopped().await;
    let answer = answer.await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "application/grpc");
    assert_eq!(answer.headers()["grpc-status"], "14");
    assert!(answer.headers().contains_key("grpc-message"));
    assert!(!answer.headers().contains_key("retry-after"));
    let rest = answer.into_body().collect().await.unwrap();
    assert!(rest.trailers().is_none() && rest.to_bytes().is_empty());
}
