//! The layer on a router, without a server and under `axum::serve`: handlers have a `Drain`, and a request is counted once.

#![cfg(feature = "axum")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure here fails the test"
)]

mod support;

use std::{
    convert::Infallible,
    future::poll_fn,
    net::SocketAddr,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::ws::{CloseFrame, Message, WebSocketUpgrade},
    response::Response,
    routing::{any, get},
};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use graceful_layer::{
    CompleteOnBody, ConnTrackingLayer, Drain, Grace, GracefulLayer, Phase, Tracker,
};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::{BOUND, until};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message as Sent, protocol::Role},
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

fn request() -> Request<Body> {
    Request::new(Body::empty())
}

async fn text(response: Response) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_oneshot_that_outlives_its_router_finds_its_drain() {
    let extracted = get(async |drain: Drain| drain.tracker().phase().as_str());
    let asked = get(async || {
        // Not only at the first poll.
        tokio::task::yield_now().await;
        let drain = Drain::current().expect("inside of a request");
        drain.on_cutoff(async {});
        drain.tracker().in_flight().to_string()
    });
    for (routes, expected) in [(extracted, "serving"), (asked, "1")] {
        let app = Router::new().route("/", routes).layer(GracefulLayer::new());
        let response = app.oneshot(request()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(text(response).await, expected);
    }
}

/// A task of the handler may hold the drain longer than the router and the layer live.
#[tokio::test]
async fn a_drain_that_outlives_its_request_keeps_its_tracker() {
    let (give, given) = tokio::sync::oneshot::channel();
    let give = Arc::new(Mutex::new(Some(give)));
    let handler = get(async move |drain: Drain| {
        let _ = give.lock().unwrap().take().unwrap().send(drain);
    });
    let app = Router::new()
        .route("/", handler)
        .layer(GracefulLayer::new());
    assert_eq!(
        app.oneshot(request()).await.unwrap().status(),
        StatusCode::OK
    );
    let drain = given.await.unwrap();
    // Another tracker is not given the same place.
    let others: Vec<_> = (0..10).map(|_| GracefulLayer::new()).collect();
    let call = others[0].layer(service_fn(async |_: Request<Body>| {
        Ok::<_, Infallible>(http::Response::new(Full::<Bytes>::from("")))
    }));
    call.oneshot(request()).await.unwrap();
    assert_eq!(drain.tracker().totals(), (0, 1));
    let stop = tokio::spawn(
        drain
            .tracker()
            .drain(Grace::default().with_idle_grace(Duration::ZERO)),
    );
    timeout(BOUND, drain.cancelled()).await.unwrap();
    assert!(stop.await.unwrap().is_clean());
}

/// The closures that an application has given to a tracker are dropped with its last request, and not later.
#[tokio::test]
async fn a_tracker_that_only_a_request_needs_is_dropped_with_that_request() {
    let state = Arc::new(());
    for asks in [false, true] {
        let graceful = GracefulLayer::new();
        let held = state.clone();
        graceful.tracker().on_abandoned(move |_| drop(held.clone()));
        let (answer, wait) = tokio::sync::oneshot::channel::<()>();
        let wait = Mutex::new(Some(wait));
        let mut service = graceful.layer(service_fn(move |_: Request<Body>| {
            let wait = wait.lock().unwrap().take().unwrap();
            async move {
                wait.await.unwrap();
                assert!(!asks || Drain::current().is_some());
                Ok::<_, Infallible>(http::Response::new(Full::<Bytes>::from("done")))
            }
        }));
        let mut call = Box::pin(service.call(request()));
        drop((graceful, service));
        poll_fn(|cx| {
            assert!(call.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        assert_eq!(Arc::strong_count(&state), 2, "in flight");
        answer.send(()).unwrap();
        let response = call.await.unwrap();
        assert_eq!(Arc::strong_count(&state), 2, "its body is not out");
        response.into_body().collect().await.unwrap();
        assert_eq!(
            Arc::strong_count(&state),
            1,
            "Drain::current in the handler: {asks}"
        );
    }
}

/// The number in the response of `service`, which is how many requests are in flight, and how many have begun.
async fn counted<S, B>(tracker: &Tracker, service: S) -> (usize, u64)
where
    S: Service<Request<Body>, Response = http::Response<B>, Error = Infallible>,
    B: http_body::Body<Data: std::fmt::Debug, Error: std::fmt::Debug>,
{
    let before = tracker.totals().1;
    let response = service.oneshot(request()).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let in_flight = String::from_utf8(body.to_vec()).unwrap();
    assert_eq!(tracker.in_flight(), 0);
    (in_flight.parse().unwrap(), tracker.totals().1 - before)
}

#[tokio::test]
async fn layers_of_one_tracker_count_a_request_once_and_layers_of_two_twice() {
    let (tracker, other) = (Tracker::new(), Tracker::new());
    let handler = {
        let tracker = tracker.clone();
        service_fn(move |_: Request<Body>| {
            let tracker = tracker.clone();
            async move {
                tokio::task::yield_now().await;
                let in_flight = tracker.in_flight().to_string();
                Ok::<_, Infallible>(http::Response::new(Full::<Bytes>::from(in_flight)))
            }
        })
    };
    let graceful = || GracefulLayer::with_tracker(tracker.clone());
    let apart = || GracefulLayer::with_tracker(other.clone());
    let tracking = || ConnTrackingLayer::with_completion(tracker.clone(), CompleteOnBody);

    let twice = ServiceBuilder::new().layer(graceful()).layer(graceful());
    assert_eq!(
        counted(&tracker, twice.service(handler.clone())).await,
        (1, 1)
    );
    let thrice = ServiceBuilder::new()
        .layer(graceful())
        .layer(tracking())
        .layer(graceful());
    assert_eq!(
        counted(&tracker, thrice.service(handler.clone())).await,
        (1, 1)
    );
    let on_response = ConnTrackingLayer::new(tracker.clone());
    let mixed = ServiceBuilder::new().layer(graceful()).layer(on_response);
    assert_eq!(
        counted(&tracker, mixed.service(handler.clone())).await,
        (1, 1)
    );

    // On a router and on a route of it, and around both.
    let route = Router::new().route_service("/", handler).layer(graceful());
    let app = Router::new().merge(route).layer(graceful());
    assert_eq!(counted(&tracker, app.clone()).await, (1, 1));
    let mut made = graceful().around(app.clone().into_make_service());
    let around = made.call(()).await.unwrap();
    assert_eq!(counted(&tracker, around).await, (1, 1));
    assert_eq!(counted(&other, apart().layer(app)).await.1, 1);
    assert_eq!(other.in_flight(), 0);
}

/// The outer layer sends the 503 at the cutoff, sets the headers and fills the report.
#[tokio::test(start_paused = true)]
async fn the_outer_of_two_layers_of_one_tracker_aborts_and_names_a_request_once() {
    let tracker = Tracker::new();
    let graceful = || GracefulLayer::with_tracker(tracker.clone());
    let hang = get(async |drain: Drain| {
        drain.on_cutoff(async {});
        std::future::pending::<()>().await;
    });
    let app = Router::new()
        .route("/hang", hang)
        .route("/", get(async || "hello"))
        .layer(graceful())
        .layer(graceful());
    let call = app
        .clone()
        .oneshot(Request::get("/hang").body(Body::empty()).unwrap());
    let call = tokio::spawn(call);
    tokio::task::yield_now().await;
    let drain = tokio::spawn(tracker.drain(Grace::default()));
    tracker.reached(Phase::Draining).await;
    let answer = app.clone().oneshot(request()).await.unwrap();
    let options: Vec<_> = answer.headers().get_all("connection").iter().collect();
    assert_eq!(options, ["close"]);
    assert_eq!(text(answer).await, "hello");
    assert_eq!(
        call.await.unwrap().unwrap().status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    let report = drain.await.unwrap();
    assert_eq!(
        (report.abandoned.len(), report.requests),
        (1, 2),
        "{report}"
    );
    assert!(report.abandoned[0].saved);
}

/// A WebSocket whose task, spawned by axum, uses the drain of the handler.
async fn open(drain: Drain, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async move |socket| {
        assert!(Drain::current().is_none(), "outside of the handler");
        let close = |close: graceful_layer::Close| {
            Message::Close(Some(CloseFrame {
                code: close.code,
                reason: close.reason.into(),
            }))
        };
        // Under axum's server the tracker does not know the connection, so the guard holds the drain.
        let _beacon = drain.tracker().beacon("websocket");
        let scoped = drain.scope(async { Drain::current().is_some() });
        assert!(scoped.await);
        let mut socket = drain.end_socket(Duration::ZERO, socket, close);
        while let Some(Ok(message)) = socket.next().await {
            if socket.send(message).await.is_err() {
                break;
            }
        }
    })
}

/// `socket` echoes, and is closed with 1001 at a shutdown that waits for it.
async fn echoes_and_closes<T>(mut socket: WebSocketStream<T>, tracker: &Tracker)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    socket.send(Sent::text("hello")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Sent::text("hello"));
    let stop = tokio::spawn(tracker.drain(Grace::default().with_idle_grace(Duration::ZERO)));
    let Some(Ok(Sent::Close(Some(frame)))) = timeout(BOUND, socket.next()).await.unwrap() else {
        panic!("no Close with a code");
    };
    assert_eq!(u16::from(frame.code), 1001);
    while socket.next().await.is_some() {}
    let report = stop.await.unwrap();
    assert!(report.is_clean(), "{report}");
}

async fn under_axum(graceful: &GracefulLayer) -> SocketAddr {
    let app = Router::new().route("/", any(open)).layer(graceful.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, app).into_future());
    addr
}

#[tokio::test]
async fn the_task_of_a_websocket_under_axum_has_the_drain_of_its_handler() {
    let graceful = GracefulLayer::new();
    let addr = under_axum(&graceful).await;
    let stream = TcpStream::connect(addr).await.unwrap();
    let (socket, _) = client_async(format!("ws://{addr}/"), stream).await.unwrap();
    echoes_and_closes(socket, graceful.tracker()).await;
}

#[tokio::test]
async fn the_task_of_a_websocket_over_http2_under_axum_has_the_drain_of_its_handler() {
    let graceful = GracefulLayer::new();
    let addr = under_axum(&graceful).await;
    let stream = TokioIo::new(TcpStream::connect(addr).await.unwrap());
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut client, connection) = builder.handshake(stream).await.unwrap();
    tokio::spawn(connection);
    // A response comes after the server's SETTINGS.
    client
        .send_request(Request::new(Empty::new()))
        .await
        .unwrap();
    let open = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://{addr}/"))
        .extension(hyper::ext::Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .body(Empty::<Bytes>::new());
    let response = client.send_request(open.unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let upgraded = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    let socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await;
    echoes_and_closes(socket, graceful.tracker()).await;
}

/// The layer alone responds with 503, over HTTP/1 and over HTTP/2.
#[tokio::test]
async fn a_websocket_that_would_open_while_draining_gets_503() {
    let graceful = GracefulLayer::new();
    let app = Router::new().route("/", any(open)).layer(graceful.clone());
    let stop = tokio::spawn(
        graceful
            .tracker()
            .drain(Grace::default().with_idle_grace(Duration::ZERO)),
    );
    stop.await.unwrap();
    let over_http1 = Request::get("/")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .body(Body::empty());
    let refused = app.clone().oneshot(over_http1.unwrap()).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["connection"], "close");
    assert!(refused.headers().contains_key("retry-after"));
    let over_http2 = |uri: &str| {
        let request = Request::connect(uri).version(http::Version::HTTP_2);
        request.body(Body::empty()).unwrap()
    };
    let refused = app
        .clone()
        .oneshot(over_http2("http://here/"))
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!refused.headers().contains_key("connection"));
    assert!(refused.headers().contains_key("retry-after"));
    // Plain CONNECT is not a WebSocket.
    let tunnel = app.oneshot(over_http2("here:443")).await.unwrap();
    assert_ne!(tunnel.status(), StatusCode::SERVICE_UNAVAILABLE);
    until("all have ended", || graceful.tracker().in_flight() == 0).await;
}
