//! A response that ends in trailers is complete: it arrives whole, and the report does not count it as failed (law 3).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure here fails the test"
)]

#[path = "support/grpc.rs"]
mod grpc;
mod support;

use std::convert::Infallible;

use axum::{Router, body::Body, body::Bytes, response::Response, routing::get};
use futures_util::stream;
use graceful_server::{Drain, Grace, GracefulLayer, Report, Tracker};
use grpc::{Client, Sample};
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Frame;
use support::{BOUND, Server, exchange, http2};
use tokio::{net::TcpListener, time::timeout};
use tonic::{service::Routes, transport::Channel};

/// One data frame and trailers, announced in the header.
fn app() -> Router {
    async fn sum() -> Response {
        let sum = HeaderValue::from_static("42");
        let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), sum)]);
        let frames = [
            Frame::data(Bytes::from("hello\n")),
            Frame::trailers(trailers),
        ];
        let frames = stream::iter(frames.map(Ok::<_, Infallible>));
        let body = Body::new(StreamBody::new(frames));
        Response::builder()
            .header("trailer", "x-sum")
            .body(body)
            .unwrap()
    }
    Router::new().route("/", get(sum))
}

/// Requests over both protocols: with and without the client's consent to trailers, which HTTP/1.0 does not know.
async fn request_each_way(addr: std::net::SocketAddr) {
    for head in [
        "HTTP/1.1\r\nhost: x\r\nte: trailers\r\nconnection: te, close",
        "HTTP/1.1\r\nhost: x\r\nconnection: close",
        "HTTP/1.0\r\nhost: x",
    ] {
        let answer = exchange(addr, &format!("GET / {head}\r\n\r\n")).await;
        let answer = answer.unwrap();
        assert!(answer.contains("hello\n"), "{answer}");
        assert_eq!(
            answer.contains("x-sum: 42"),
            head.contains("te:"),
            "{answer}"
        );
    }
    let mut client = http2(addr).await;
    let request = Request::get("http://test/").body(Empty::<Bytes>::new());
    let answer = client.send_request(request.unwrap()).await.unwrap();
    let answer = answer.into_body().collect().await.unwrap();
    assert_eq!(answer.trailers().unwrap()["x-sum"], "42");
}

fn assert_all_finished(report: &Report, requests: u64) {
    assert!(report.is_clean(), "{report}");
    let counts = (report.requests, report.finished(), report.failed);
    assert_eq!(counts, (requests, requests, 0), "{report}");
}

#[tokio::test]
async fn trailers_complete_a_response_under_serve() {
    let server = Server::start(app(), |serve| serve);
    request_each_way(server.addr).await;
    assert_all_finished(&server.stopped().await, 4);
}

#[tokio::test]
async fn trailers_complete_a_response_under_axum_with_the_layer() {
    let tracker = Tracker::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let app = app().layer(GracefulLayer::with_tracker(tracker.clone()));
    let told = tracker.told();
    tokio::spawn(
        axum::serve(listener, app)
            .with_graceful_shutdown(told)
            .into_future(),
    );
    request_each_way(addr).await;
    let report = timeout(BOUND, tracker.drain(Grace::dev())).await.unwrap();
    assert_all_finished(&report, 4);
}

/// A response whose trailers wait for the drain ends with them, and is complete.
#[tokio::test]
async fn trailers_sent_while_draining_complete_a_response() {
    async fn told() -> Body {
        let drain = Drain::current().unwrap();
        let frames = stream::unfold(0, move |n| {
            let drain = drain.clone();
            async move {
                let frame = match n {
                    0 => Frame::data(Bytes::from("hello\n")),
                    1 => {
                        drain.draining().await;
                        Frame::trailers(HeaderMap::new())
                    }
                    _ => return None,
                };
                Some((Ok::<_, Infallible>(frame), n + 1))
            }
        });
        Body::new(StreamBody::new(Box::pin(frames)))
    }
    let server = Server::start(Router::new().route("/", get(told)), |serve| serve);
    let mut client = http2(server.addr).await;
    let request = Request::get("http://test/").body(Empty::<Bytes>::new());
    let answer = client.send_request(request.unwrap()).await.unwrap();
    let mut one = server.connect("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    support::until("in flight", || server.tracker.in_flight() == 2).await;
    server.stop.fire();
    let collected = timeout(BOUND, answer.into_body().collect()).await.unwrap();
    assert_eq!(collected.unwrap().to_bytes(), "hello\n");
    assert!(
        support::read_all(&mut one)
            .await
            .unwrap()
            .ends_with("0\r\n\r\n")
    );
    assert_all_finished(&server.stopped().await, 2);
}

/// gRPC puts its status there, of a success and of an error alike.
#[tokio::test]
async fn calls_of_grpc_are_complete() {
    let server = Server::start(Routes::new(Sample).into_axum_router(), |serve| serve);
    let endpoint = Channel::from_shared(format!("http://{}", server.addr)).unwrap();
    let mut client = Client::new(endpoint.connect().await.unwrap());
    let mut ticks = client.ticks().await;
    assert_eq!(ticks.message().await.unwrap().as_deref(), Some("tick"));
    server.stop.fire();
    let last = timeout(BOUND, ticks.message()).await.unwrap();
    assert_eq!(last.unwrap().as_deref(), Some("last"));
    assert_eq!(ticks.message().await.unwrap(), None);
    assert_all_finished(&server.stopped().await, 1);
}
