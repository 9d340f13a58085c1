//! The two layers, poll by poll (laws 3 and 4).

use std::{
    convert::Infallible,
    future::ready,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use graceful_layer::{
    CompleteOnBody, ConnTrackingLayer, FailAt, Grace, GracefulLayer, Health, Phase, Tracker,
};
use http::{Method, Request, Response, StatusCode, Version, header::CONNECTION};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_test::mock;

fn request(version: Version) -> Request<()> {
    let mut request = Request::new(());
    *request.version_mut() = version;
    *request.uri_mut() = http::Uri::from_static("/path?query");
    request
}

async fn hello(_: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello")))
}

#[tokio::test]
async fn a_request_is_counted_from_call_to_the_last_body_byte() {
    let graceful = GracefulLayer::new();
    let tracker = graceful.tracker();
    let mut service = graceful.layer(service_fn(hello));
    service.ready().await.unwrap();
    assert_eq!(tracker.in_flight(), 0, "ready is not in flight");
    let future = service.call(request(Version::HTTP_11));
    assert_eq!(tracker.in_flight(), 1, "called is");
    let mut body = future.await.unwrap().into_body();
    assert_eq!(
        tracker.in_flight(),
        1,
        "answered is, until its body has been taken"
    );
    assert_eq!(body.size_hint().exact(), Some(5));
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "hello"
    );
    assert_eq!(
        tracker.in_flight(),
        0,
        "with its last frame, not with its drop"
    );
    assert_eq!(tracker.totals().1, 1);
}

#[tokio::test]
async fn a_request_is_let_go_on_drop_error_and_empty_body() {
    let tracker = Tracker::new();
    let layer = GracefulLayer::with_tracker(tracker.clone());

    drop(
        layer
            .layer(service_fn(hello))
            .call(request(Version::HTTP_11)),
    );
    assert_eq!(tracker.in_flight(), 0, "future dropped");

    drop(
        layer
            .layer(service_fn(hello))
            .call(request(Version::HTTP_11))
            .await,
    );
    assert_eq!(tracker.in_flight(), 0, "body dropped");

    let failing = service_fn(|_: Request<()>| ready(Err::<Response<Full<Bytes>>, _>("no")));
    assert_eq!(
        layer
            .layer(failing)
            .call(request(Version::HTTP_11))
            .await
            .unwrap_err(),
        "no"
    );
    assert_eq!(tracker.in_flight(), 0, "error, of the service's own type");

    let empty = service_fn(|_: Request<()>| {
        ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    let response = layer
        .layer(empty)
        .call(request(Version::HTTP_11))
        .await
        .unwrap();
    assert_eq!(
        tracker.in_flight(),
        0,
        "a body that has ended before it began"
    );
    assert!(response.body().is_end_stream());
}

/// A body that holds something of the application, whose end must not come after the drain's.
struct Holding(Full<Bytes>, Tracker);

impl Drop for Holding {
    fn drop(&mut self) {
        assert_eq!(self.1.in_flight(), 1, "let go before its body was");
    }
}

impl Body for Holding {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }
}

#[tokio::test]
async fn a_body_that_is_over_is_gone_before_its_request_is() {
    let tracker = Tracker::new();
    let held = tracker.clone();
    let holding = service_fn(move |_: Request<()>| {
        let body = Holding(Full::from("hello"), held.clone());
        ready(Ok::<_, Infallible>(Response::new(body)))
    });
    let layer = GracefulLayer::with_tracker(tracker.clone());
    let mut service = layer.layer(holding);
    let answer = service.call(request(Version::HTTP_2)).await.unwrap();
    let mut body = answer.into_body();
    assert!(body.frame().await.is_some());
    assert_eq!(
        tracker.in_flight(),
        1,
        "it does not say that this was its last"
    );
    assert!(body.frame().await.is_none());
    assert_eq!(tracker.in_flight(), 0);
    assert!(body.is_end_stream() && body.frame().await.is_none());
    // Also if it is dropped before.
    drop(service.call(request(Version::HTTP_2)).await);
    assert_eq!(tracker.in_flight(), 0);
}

#[tokio::test]
async fn readiness_is_the_inner_service_s() {
    let graceful = GracefulLayer::new();
    let (mut service, mut handle) =
        mock::spawn_with(|inner: mock::Mock<Request<()>, Response<Full<Bytes>>>| {
            graceful.layer(inner)
        });
    handle.allow(0);
    assert_pending!(service.poll_ready());
    handle.allow(1);
    assert_ready_ok!(service.poll_ready());
    assert_eq!(graceful.tracker().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn connection_close_is_said_while_draining_and_never_on_http2() {
    let graceful = GracefulLayer::new();
    let mut service = graceful.layer(service_fn(hello));
    let mut closes = async |version| {
        let response = service.call(request(version)).await.unwrap();
        response
            .headers()
            .get_all(CONNECTION)
            .iter()
            .map(|v| v.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(closes(Version::HTTP_11).await.is_empty());
    let drain = tokio::spawn(graceful.tracker().drain(Grace::default()));
    graceful.tracker().reached(Phase::Draining).await;
    assert_eq!(closes(Version::HTTP_11).await, ["close"]);
    assert_eq!(closes(Version::HTTP_10).await, ["close"]);
    assert!(closes(Version::HTTP_2).await.is_empty());
    drain.await.unwrap();
    assert_eq!(closes(Version::HTTP_11).await, ["close"], "and after it");
}

#[tokio::test]
async fn an_answer_that_closes_by_itself_says_so_once() {
    let graceful = GracefulLayer::new();
    let closing = service_fn(|_: Request<()>| {
        ready(Ok::<_, Infallible>(
            Response::builder()
                .header(CONNECTION, "close")
                .body(Empty::<Bytes>::new())
                .unwrap(),
        ))
    });
    let mut service = graceful.layer(closing);
    graceful
        .tracker()
        .drain(Grace::default().with_idle_grace(Duration::ZERO))
        .await;
    let response = service.call(request(Version::HTTP_11)).await.unwrap();
    assert_eq!(response.headers().get_all(CONNECTION).iter().count(), 1);
}

#[tokio::test]
async fn an_upgrade_keeps_its_connection_header_while_draining() {
    let graceful = GracefulLayer::new();
    let upgrading = service_fn(|_: Request<()>| {
        let mut response = Response::new(Empty::<Bytes>::new());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response
            .headers_mut()
            .insert(CONNECTION, http::HeaderValue::from_static("upgrade"));
        ready(Ok::<_, Infallible>(response))
    });
    let mut service = graceful.layer(upgrading);
    graceful
        .tracker()
        .drain(Grace::default().with_idle_grace(Duration::ZERO))
        .await;
    let response = service.call(request(Version::HTTP_11)).await.unwrap();
    assert_eq!(response.headers()[CONNECTION], "upgrade");
}

#[tokio::test(start_paused = true)]
async fn in_lame_duck_a_growing_share_of_answers_closes() {
    let graceful = GracefulLayer::new();
    let mut service = graceful.layer(service_fn(hello));
    let grace = Grace::default().with_lame_duck(Duration::from_secs(10));
    let drain = tokio::spawn(graceful.tracker().drain(grace));
    graceful.tracker().reached(Phase::LameDuck).await;
    let mut share = async || {
        let mut closing = 0;
        for _ in 0..1000 {
            let response = service.call(request(Version::HTTP_11)).await.unwrap();
            closing += usize::from(response.headers().contains_key(CONNECTION));
        }
        closing
    };
    assert_eq!(share().await, 0, "at the beginning nobody is sent away");
    tokio::time::sleep(Duration::from_millis(5050)).await;
    let half = share().await;
    assert!(
        (350..650).contains(&half),
        "{half} of 1000 after half of the time"
    );
    tokio::time::sleep(Duration::from_millis(4800)).await;
    let end = share().await;
    assert!(end > 900, "{end} of 1000 at the end");
    drain.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn at_the_cutoff_a_request_without_answer_gets_a_503_and_is_named() {
    let graceful = GracefulLayer::new();
    let hang = service_fn(|_: Request<()>| {
        std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
    });
    let mut request = request(Version::HTTP_11);
    *request.method_mut() = Method::POST;
    graceful.tracker().sign_refusals(|answer| {
        let signed = http::HeaderValue::from_static("this one");
        answer.headers.insert("x-server", signed);
    });
    let mut future = task::spawn(graceful.layer(hang).call(request));
    assert_pending!(future.poll());
    let drain = tokio::spawn(graceful.tracker().drain(Grace::default()));
    graceful.tracker().reached(Phase::Cutoff).await;
    let response = match future.poll() {
        Poll::Ready(response) => response.unwrap(),
        Poll::Pending => panic!("still waiting at the cutoff"),
    };
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(response.headers()["x-server"], "this one");
    let report = drain.await.unwrap();
    let [abandoned] = report.abandoned.as_slice() else {
        panic!("{report}")
    };
    assert_eq!(
        (abandoned.method.as_str(), abandoned.path.as_str()),
        ("POST", "/path")
    );
}

#[tokio::test]
async fn tracking_follows_any_service_by_tower_s_completion() {
    let tracker = Tracker::new();
    let layer = ConnTrackingLayer::with_completion(tracker.clone(), CompleteOnBody);
    let response = layer
        .layer(service_fn(hello))
        .call(request(Version::HTTP_2))
        .await
        .unwrap();
    assert_eq!(tracker.in_flight(), 1);
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "hello"
    );
    assert_eq!(tracker.in_flight(), 0);
}

#[tokio::test]
async fn a_counted_body_lets_its_request_go_at_its_end_and_goes_before_it() {
    let tracker = Tracker::new();
    let layer = ConnTrackingLayer::with_completion(tracker.clone(), CompleteOnBody);

    let mut service = layer.layer(service_fn(hello));
    let mut body = service
        .call(request(Version::HTTP_2))
        .await
        .unwrap()
        .into_body();
    assert!(body.frame().await.is_some());
    assert_eq!(
        tracker.in_flight(),
        0,
        "with its last frame, not with its drop"
    );

    let empty = service_fn(|_: Request<()>| {
        ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    let response = layer.layer(empty).call(request(Version::HTTP_2)).await;
    assert_eq!(
        tracker.in_flight(),
        0,
        "a body that has ended before it began"
    );
    assert!(response.unwrap().body().is_end_stream());

    let frames = || stream::iter([Err::<Frame<Bytes>, _>("no")]);
    let failing = service_fn(move |_: Request<()>| {
        ready(Ok::<_, Infallible>(Response::new(
            StreamBody::new(frames()),
        )))
    });
    let answer = layer.layer(failing).call(request(Version::HTTP_2)).await;
    let mut body = answer.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap_err(), "no");
    assert_eq!(tracker.in_flight(), 0, "a body that fails");

    let held = tracker.clone();
    let holding = service_fn(move |_: Request<()>| {
        let body = Holding(Full::from("hello"), held.clone());
        ready(Ok::<_, Infallible>(Response::new(body)))
    });
    let mut service = layer.layer(holding);
    for ends in [true, false] {
        let answer = service.call(request(Version::HTTP_2)).await.unwrap();
        let mut body = answer.into_body();
        assert!(body.frame().await.is_some());
        assert!(!ends || body.frame().await.is_none());
        assert_eq!(tracker.in_flight(), usize::from(!ends));
    }
    assert_eq!(tracker.in_flight(), 0, "a body that is dropped");
}

/// hyper does not poll a body again after its trailers, so the frame with the trailers is the last one.
#[tokio::test]
async fn a_body_is_complete_with_its_trailers() {
    let with_trailers = service_fn(|_: Request<()>| {
        let frames = [
            Frame::data(Bytes::from("hello")),
            Frame::trailers(http::HeaderMap::new()),
        ];
        let body = StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>)));
        ready(Ok::<_, Infallible>(Response::new(body)))
    });
    let tracker = Tracker::new();
    let graceful = GracefulLayer::with_tracker(tracker.clone());
    let answer = graceful.layer(with_trailers).call(request(Version::HTTP_2));
    let mut body = answer.await.unwrap().into_body();
    assert!(body.frame().await.unwrap().unwrap().is_data());
    assert_eq!(tracker.in_flight(), 1, "the trailers are still to come");
    assert!(body.frame().await.unwrap().unwrap().is_trailers());
    assert_eq!(tracker.in_flight(), 0, "GracefulLayer");
    assert!(body.is_end_stream() && body.frame().await.is_none());

    let counting = ConnTrackingLayer::with_completion(tracker.clone(), CompleteOnBody);
    let answer = counting.layer(with_trailers).call(request(Version::HTTP_2));
    let mut body = answer.await.unwrap().into_body();
    assert!(body.frame().await.unwrap().unwrap().is_data());
    assert_eq!(tracker.in_flight(), 1, "the trailers are still to come");
    assert!(body.frame().await.unwrap().unwrap().is_trailers());
    assert_eq!(tracker.in_flight(), 0, "CompleteOnBody");
    assert!(body.is_end_stream() && body.frame().await.is_none());

    // Dropped before its trailers, the body was not complete.
    let answer = graceful.layer(with_trailers).call(request(Version::HTTP_2));
    let mut body = answer.await.unwrap().into_body();
    assert!(body.frame().await.unwrap().unwrap().is_data());
    drop(body);
    let report = tracker.drain(Grace::default()).await;
    assert_eq!((report.requests, report.failed), (3, 1), "{report}");
}

#[tokio::test]
async fn trackers_do_not_see_each_other_and_leave_nothing() {
    for round in 0..1000 {
        let (one, other) = (GracefulLayer::new(), GracefulLayer::new());
        let future = one.layer(service_fn(hello)).call(request(Version::HTTP_11));
        let conn = other.tracker().open(graceful_layer::Peer::Unknown);
        assert_eq!(
            (one.tracker().in_flight(), one.tracker().counts().total()),
            (1, 0),
            "{round}"
        );
        assert_eq!(
            (
                other.tracker().in_flight(),
                other.tracker().counts().total()
            ),
            (0, 1)
        );
        assert_eq!(
            (one.tracker().totals(), other.tracker().totals()),
            ((0, 1), (1, 0))
        );
        if round % 2 == 0 {
            // Outlives its tracker, and must not be seen by the next one.
            drop(one);
            drop(future);
        }
        drop(conn);
    }
}

#[tokio::test(start_paused = true)]
async fn probes_are_answered_by_the_phase() {
    let tracker = Tracker::new();
    let mut statuses = {
        let (ready, live) = (
            Health::ready(tracker.clone()),
            Health::live(tracker.clone()),
        );
        let late = ready.clone().fail_at(FailAt::Draining);
        let mut probes = [ready, late, live];
        async move || {
            let mut statuses = Vec::new();
            for probe in &mut probes {
                let Ok(response) = probe.call(Request::new(())).await;
                statuses.push(response.status().as_u16());
            }
            statuses
        }
    };
    assert_eq!(statuses().await, [200, 200, 200]);
    let grace = Grace::default().with_lame_duck(Duration::from_secs(1));
    let _beacon = tracker.beacon("job");
    let drain = tokio::spawn(tracker.drain(grace));
    tracker.reached(Phase::LameDuck).await;
    assert_eq!(statuses().await, [503, 200, 200]);
    tracker.reached(Phase::Draining).await;
    assert_eq!(statuses().await, [503, 503, 200]);
    tracker.reached(Phase::Closed).await;
    assert_eq!(statuses().await, [503, 503, 200]);
    drain.await.unwrap();
}
