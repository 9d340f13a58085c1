//! When hyper's call reaches the inner service (law 3).

#![cfg(feature = "hyper")]

use std::{
    convert::Infallible,
    future::Ready,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use graceful_layer::Tracker;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::service::Service;
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower_test::mock;

type Answer = Response<Full<Bytes>>;

fn request(version: Version) -> Request<()> {
    let mut request = Request::new(());
    *request.version_mut() = version;
    request
}

/// A service that counts its calls.
fn counting(
    calls: &Arc<AtomicUsize>,
) -> impl tower::Service<Request<()>, Response = Answer, Error = Infallible, Future: Send> + Clone {
    let calls = calls.clone();
    tower::service_fn(move |_| {
        calls.fetch_add(1, SeqCst);
        async { Ok(Response::new(Full::from("hello"))) }
    })
}

#[tokio::test]
async fn on_http2_the_inner_service_is_called_in_the_task_of_the_stream_and_the_count_is_in_call() {
    let (tracker, calls) = (Tracker::new(), Arc::default());
    let conn = tracker.open("127.0.0.1:1".parse::<std::net::SocketAddr>().unwrap());
    let service = conn.service(counting(&calls));
    let streams: Vec<_> = (0..32)
        .map(|_| service.call(request(Version::HTTP_2)))
        .collect();
    assert_eq!(tracker.in_flight(), 32, "counted before any is polled");
    assert_eq!(calls.load(SeqCst), 0, "none has reached the inner service");
    for (at, stream) in streams.into_iter().enumerate() {
        let body = stream.await.unwrap().into_body();
        assert_eq!(calls.load(SeqCst), at + 1);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
        assert_eq!(tracker.in_flight(), 31 - at);
    }
    drop(service.call(request(Version::HTTP_2)));
    assert_eq!(tracker.in_flight(), 0, "a stream that was reset at once");
    assert_eq!(calls.load(SeqCst), 32, "the inner service never saw it");
}

#[tokio::test]
async fn on_http1_the_inner_service_is_called_in_call() {
    let (tracker, calls) = (Tracker::new(), Arc::default());
    let conn = tracker.open("127.0.0.1:1".parse::<std::net::SocketAddr>().unwrap());
    let service = conn.service(counting(&calls));
    let response = service.call(request(Version::HTTP_11));
    assert_eq!((tracker.in_flight(), calls.load(SeqCst)), (1, 1));
    let body = response.await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
    assert_eq!(tracker.in_flight(), 0);
}

#[tokio::test]
async fn a_service_that_is_not_ready_is_waited_for_on_both() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let tracker = Tracker::new();
        let conn = tracker.open("127.0.0.1:1".parse::<std::net::SocketAddr>().unwrap());
        let (inner, mut handle) = mock::pair::<Request<()>, Answer>();
        handle.allow(0);
        let service = conn.service(inner);
        let mut response = task::spawn(service.call(request(version)));
        assert_pending!(response.poll());
        assert_eq!(tracker.in_flight(), 1, "{version:?}");
        handle.allow(1);
        assert!(response.is_woken(), "{version:?}");
        assert_pending!(response.poll());
        let (_, answer) = handle.next_request().await.unwrap();
        answer.send_response(Response::new(Full::from("hello")));
        let answer = assert_ready_ok!(response.poll());
        answer.into_body().collect().await.unwrap();
        assert_eq!(tracker.in_flight(), 0, "{version:?}");
    }
}

/// A service that never becomes ready.
#[derive(Clone)]
struct Broken;

impl tower::Service<Request<()>> for Broken {
    type Response = Answer;
    type Error = &'static str;
    type Future = Ready<Result<Answer, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(Err("broken"))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        unreachable!("it is not ready")
    }
}

#[tokio::test]
async fn the_error_of_a_service_that_does_not_become_ready_is_returned_on_both() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let tracker = Tracker::new();
        let conn = tracker.open("127.0.0.1:1".parse::<std::net::SocketAddr>().unwrap());
        let failed = conn.service(Broken).call(request(version)).await;
        assert_eq!(failed.unwrap_err(), "broken", "{version:?}");
        assert_eq!(tracker.in_flight(), 0, "{version:?}");
    }
}
