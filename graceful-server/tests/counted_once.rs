//! Layers with the server's own tracker under `serve`: a request is counted once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure here fails the test"
)]

mod support;

use axum::{Router, response::IntoResponse, routing::get};
use graceful_server::{ConnTrackingLayer, GracefulLayer, Tracker, layer::CompleteOnBody};
use http::Request;
use http_body_util::{BodyExt, Empty};
use support::{Server, app, exchange, get_close, http2};

/// `/in-flight` responds with the number of requests in flight in `tracker`.
fn in_flight(tracker: &Tracker) -> Router {
    let tracker = tracker.clone();
    let respond = async move || tracker.in_flight().to_string().into_response();
    app().route("/in-flight", get(respond))
}

/// The number of requests in flight in the handler, and of requests begun after it: over HTTP/1.1, then over HTTP/2.
async fn counted(app: Router, tracker: Tracker) -> Vec<(String, u64)> {
    let server = Server::start(app, |serve| serve.with_tracker(tracker));
    let over_http1 = exchange(server.addr, &get_close("/in-flight"))
        .await
        .unwrap();
    let text = over_http1.rsplit("\r\n").next().unwrap().to_owned();
    let mut counted = vec![(text, server.tracker.totals().1)];

    let mut client = http2(server.addr).await;
    let uri = format!("http://{}/in-flight", server.addr);
    let request = Request::get(uri).body(Empty::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(text.to_vec()).unwrap();
    counted.push((text, server.tracker.totals().1));
    drop(client);
    let report = server.stopped().await;
    assert!(report.is_clean(), "{report}");
    counted
}

fn once() -> Vec<(String, u64)> {
    vec![("1".to_owned(), 1), ("1".to_owned(), 2)]
}

#[tokio::test]
async fn with_the_layer_of_the_server_s_own_tracker_a_request_is_counted_once() {
    let tracker = Tracker::new();
    let graceful = GracefulLayer::with_tracker(tracker.clone());
    let app = in_flight(&tracker).layer(graceful.clone());
    assert_eq!(counted(app, tracker).await, once());
    // Nested twice.
    let tracker = Tracker::new();
    let graceful = GracefulLayer::with_tracker(tracker.clone());
    let app = in_flight(&tracker).layer(graceful.clone()).layer(graceful);
    assert_eq!(counted(app, tracker).await, once());
}

#[tokio::test]
async fn with_the_tracking_layer_of_the_server_s_own_tracker_a_request_is_counted_once() {
    let tracker = Tracker::new();
    let tracking = ConnTrackingLayer::new(tracker.clone());
    let app = in_flight(&tracker).layer(tracking);
    assert_eq!(counted(app, tracker).await, once());
    let tracker = Tracker::new();
    let tracking = ConnTrackingLayer::with_completion(tracker.clone(), CompleteOnBody);
    let graceful = GracefulLayer::with_tracker(tracker.clone());
    let app = in_flight(&tracker).layer(graceful).layer(tracking);
    assert_eq!(counted(app, tracker).await, once());
}

#[tokio::test]
async fn a_layer_with_a_tracker_of_its_own_counts_too() {
    let (tracker, own) = (Tracker::new(), Tracker::new());
    let app = in_flight(&own).layer(GracefulLayer::with_tracker(own.clone()));
    assert_eq!(counted(app, tracker).await, once());
    assert_eq!((own.totals().1, own.in_flight()), (2, 0));
}
