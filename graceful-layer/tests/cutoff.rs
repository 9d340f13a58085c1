//! What becomes of requests that do not end by themselves, and who is told of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure here fails the test"
)]

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use graceful_layer::{Answer, CutReason, Grace, Graceful, GracefulLayer, Tracker, Upload};
use http::{Method, Request, Response, StatusCode, Version, header::CONTENT_LENGTH};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, StreamBody, combinators::UnsyncBoxBody};
use tokio::time::sleep;
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneSyncService};

const SECOND: Duration = Duration::from_secs(1);

type Answered = Result<Response<UnsyncBoxBody<Bytes, io::Error>>, Infallible>;
type App = Graceful<BoxCloneSyncService<Request<()>, Response<Chunks>, Infallible>>;
type Chunks = UnsyncBoxBody<Bytes, io::Error>;

/// `/wait` never answers, `/stream` sends a chunk and never the next, `/broken` one and an error, `/short` one that is all
/// that was announced, `/panic` does.
async fn answer(request: Request<()>) -> Answered {
    let chunk = || Ok(Frame::data(Bytes::from_static(b"chunk")));
    let (length, body): (_, Chunks) = match request.uri().path() {
        "/wait" => std::future::pending().await,
        "/panic" => panic!("as asked"),
        "/empty" => {
            return Ok(Response::new(
                Empty::new().map_err(|e| match e {}).boxed_unsync(),
            ));
        }
        "/stream" => (
            None,
            streamed(stream::iter([chunk()]).chain(stream::pending())),
        ),
        "/broken" => {
            let frames = [chunk(), Err(io::ErrorKind::BrokenPipe.into())];
            (None, streamed(stream::iter(frames)))
        }
        _ => (
            Some(5),
            streamed(stream::iter([chunk()]).chain(stream::pending())),
        ),
    };
    let mut response = Response::new(body);
    if let Some(length) = length {
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, u64::into(length));
    }
    Ok(response)
}

fn streamed(
    frames: impl stream::Stream<Item = io::Result<Frame<Bytes>>> + Send + 'static,
) -> Chunks {
    BodyExt::boxed_unsync(StreamBody::new(frames))
}

fn app() -> (Tracker, App) {
    let graceful = GracefulLayer::new();
    let app = graceful.layer(BoxCloneSyncService::new(service_fn(answer)));
    (graceful.tracker().clone(), app)
}

fn request(method: Method, uri: &str) -> Request<()> {
    Request::builder().method(method).uri(uri).body(()).unwrap()
}

fn short() -> Grace {
    Grace::default().with_drain(2 * SECOND).with_cutoff(SECOND)
}

/// Takes frames until there are none, and says how many bytes there were and whether they were all.
async fn read<B>(mut body: B) -> (usize, bool)
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return (bytes, false);
        };
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
    (bytes, true)
}

#[tokio::test(start_paused = true)]
async fn whoever_listens_is_told_of_each_request_that_is_cut() {
    let (tracker, mut app) = app();
    let told = Arc::new(Mutex::new(Vec::new()));
    tracker.on_abandoned({
        let told = told.clone();
        move |request| told.lock().unwrap().push(request.clone())
    });
    let mut post = request(Method::POST, "/wait?token=secret");
    post.headers_mut().insert(CONTENT_LENGTH, 7.into());
    let post = tokio::spawn(app.call(post));
    let stream = tokio::spawn(app.call(request(Method::GET, "/stream")));
    sleep(SECOND).await;
    let streaming = tokio::spawn(read(stream.await.unwrap().unwrap().into_body()));
    sleep(SECOND).await;

    let report = tracker.drain(short()).await;
    assert_eq!(
        post.await.unwrap().unwrap().status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    let mut told = told.lock().unwrap().clone();
    told.sort_by_key(|request| request.path.clone());
    let [stream, post] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((&stream.method, &*stream.path), (&Method::GET, "/stream"));
    assert_eq!(
        (stream.answer, stream.sent, stream.upload),
        (Answer::Truncated, 5, Upload::None)
    );
    assert_eq!(
        (&post.method, &*post.path, &post.query),
        (&Method::POST, "/wait", &None)
    );
    assert_eq!(
        (post.answer, post.sent, post.upload),
        (Answer::Refused, 0, Upload::Bytes(7))
    );
    assert!(post.ran && post.age >= 2 * SECOND, "{post:?}");
    assert!(stream.is_repeatable() && !post.is_repeatable());
    assert_eq!(post.reason, CutReason::Deadline);
    assert_eq!((report.abandoned.len(), report.left), (2, 0), "{report}");
    // The part is never taken for the whole.
    assert!(!streaming.is_finished());
    streaming.abort();
}

#[tokio::test(start_paused = true)]
async fn a_query_is_kept_on_demand_and_a_hurried_cut_says_so() {
    let (tracker, mut app) = app();
    tracker.keep_queries(true);
    let waiting = tokio::spawn(app.call(request(Method::PUT, "/wait?key=7")));
    sleep(SECOND).await;
    let drain = tokio::spawn(tracker.drain(Grace::takeover()));
    sleep(SECOND).await;
    assert!(tracker.cutoff());
    let report = drain.await.unwrap();
    waiting.await.unwrap().unwrap();
    let [cut] = &report.abandoned[..] else {
        panic!("{report}")
    };
    assert_eq!(cut.query.as_deref(), Some("key=7"));
    assert_eq!(cut.reason, CutReason::Hurried);
    assert!(cut.is_repeatable(), "PUT is idempotent");
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_are_shown_the_oldest_first() {
    let (tracker, mut app) = app();
    let running = tokio::spawn(tracker.drain_on(graceful_signal::ShutdownSignal::never(), short()));
    let first = tokio::spawn(app.call(request(Method::GET, "/stream?a=b")));
    sleep(SECOND).await;
    let first = tokio::spawn(read(first.await.unwrap().unwrap().into_body()));
    let second = tokio::spawn(app.call(request(Method::DELETE, "/wait")));
    sleep(SECOND).await;
    let shown = tracker.requests();
    let [old, new] = &shown[..] else {
        panic!("{shown:?}")
    };
    assert_eq!((&*old.path, old.answering), ("/stream", true));
    assert_eq!((&*new.path, new.answering), ("/wait", false));
    assert!(
        old.age > new.age && new.age >= SECOND - SECOND / 5,
        "{shown:?}"
    );
    first.abort();
    second.abort();
    let _ = (first.await, second.await);
    assert!(tracker.requests().is_empty());
    assert_eq!(tracker.in_flight(), 0);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn sums_are_those_that_the_clients_saw() {
    let (tracker, mut app) = app();
    let mut finished = 0;
    for path in ["/empty", "/short", "/broken", "/empty"] {
        let body = app
            .call(request(Method::GET, path))
            .await
            .unwrap()
            .into_body();
        match path {
            // The server took what was announced and dropped the rest unseen, as hyper does.
            "/short" => finished += usize::from(Box::pin(body).frame().await.is_some()),
            _ => finished += usize::from(read(body).await.1),
        }
    }
    // A client that goes, and a handler that panics.
    let gone = tokio::spawn(app.call(request(Method::GET, "/wait")));
    let panicked = tokio::spawn(app.call(request(Method::GET, "/panic")));
    sleep(SECOND).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    assert!(panicked.await.unwrap_err().is_panic());
    let cut = tokio::spawn(app.call(request(Method::GET, "/wait")));
    sleep(SECOND).await;

    let report = tracker.drain(short()).await;
    cut.await.unwrap().unwrap();
    assert_eq!(finished, 3);
    assert_eq!(report.finished(), 3, "{report:?}");
    assert_eq!((report.failed, report.abandoned.len()), (3, 1));
    assert_eq!(report.requests, 7);
    assert!(
        report.to_string().ends_with(", 3 of them failed"),
        "{report}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_report_says_what_held_the_drain_longest() {
    let (tracker, mut app) = app();
    let drain =
        tokio::spawn(tracker.drain_on(graceful_signal::ShutdownSignal::never(), Grace::takeover()));
    let old = tokio::spawn(app.call(request(Method::GET, "/wait")));
    sleep(2 * SECOND).await;
    let young = tokio::spawn(app.call(request(Method::POST, "/wait")));
    assert!(tracker.begin());
    sleep(10 * SECOND).await;
    old.abort();
    sleep(SECOND).await;
    young.abort();
    let held = drain.await.unwrap().held.unwrap();
    assert!(held.what.starts_with("POST /wait from "), "{held}");
    let age = held.age.unwrap().as_secs();
    assert!(
        (10..=11).contains(&age),
        "11 s, but for the last look and the clock's step: {held}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_beacon_that_holds_the_drain_is_named() {
    let tracker = Tracker::new();
    let beacon = tracker.beacon("nightly export");
    let drain = tokio::spawn(tracker.drain(Grace::takeover()));
    sleep(SECOND).await;
    drop(beacon);
    assert_eq!(
        drain.await.unwrap().held.unwrap().to_string(),
        "drain guard \"nightly export\""
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_of_grpc_without_an_answer_gets_the_status_unavailable() {
    let (tracker, mut app) = app();
    let mut grpc = request(Method::POST, "/wait");
    *grpc.version_mut() = Version::HTTP_2;
    let kind = "application/grpc+proto".parse().unwrap();
    grpc.headers_mut().insert("content-type", kind);
    let call = tokio::spawn(app.call(grpc));
    sleep(SECOND).await;
    tracker.drain(short()).await;
    let response = call.await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let header = |name: &str| response.headers()[name].to_str().unwrap();
    assert_eq!(
        (header("grpc-status"), header("content-type")),
        ("14", "application/grpc")
    );
    assert!(response.body().is_end_stream(), "trailers only");
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_handler_never_ran_is_repeatable() {
    let (tracker, app) = app();
    // Made, and never polled: as a stream of HTTP/2 that waits for its task.
    let mut app = app;
    let call = app
        .ready()
        .await
        .unwrap()
        .call(request(Method::POST, "/wait"));
    let drain = tokio::spawn(tracker.drain(short()));
    sleep(2 * SECOND + SECOND / 10).await;
    drop(call);
    let report = drain.await.unwrap();
    let [cut] = &report.abandoned[..] else {
        panic!("{report}")
    };
    assert!(!cut.ran && cut.is_repeatable());
    assert_eq!(cut.answer, Answer::None);
}

#[tokio::test(start_paused = true)]
async fn envoy_is_told_from_lame_duck_on_if_it_is_wanted() {
    const TOLD: &str = "x-envoy-immediate-health-check-fail";
    let (tracker, mut app) = app();
    tracker.set_tell_envoy(true);
    let told = |response: Response<_>| response.headers().contains_key(TOLD);
    let before = app.call(request(Method::GET, "/empty")).await.unwrap();
    let drain = tokio::spawn(tracker.drain(Grace::default().with_lame_duck(SECOND)));
    sleep(SECOND / 2).await;
    let after = app.call(request(Method::GET, "/empty")).await.unwrap();
    assert!(!told(before.map(drop)) && told(after.map(drop)));
    drain.await.unwrap();
}

#[cfg(feature = "metrics")]
#[tokio::test(start_paused = true)]
async fn the_recorder_gets_the_counts() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};
    let recorder = DebuggingRecorder::new();
    let seen = recorder.snapshotter();
    let _default = metrics::set_default_local_recorder(&recorder);
    // Looking at the recorder empties it.
    let look = || {
        let all = seen.snapshot().into_vec().into_iter();
        all.map(|(key, .., value)| (key.key().name().to_owned(), value))
            .collect::<Vec<_>>()
    };
    let (tracker, mut app) = app();
    let waiting = tokio::spawn(app.call(request(Method::GET, "/wait")));
    let drain = tokio::spawn(tracker.drain(short()));
    sleep(SECOND + SECOND / 2).await;
    let active = (
        "http.server.active_requests".into(),
        DebugValue::Gauge(1.0.into()),
    );
    assert!(look().contains(&active));
    drain.await.unwrap();
    waiting.await.unwrap().unwrap();
    let seen = look();
    for wanted in [
        ("graceful.requests.abandoned", DebugValue::Counter(1)),
        ("graceful.phase", DebugValue::Gauge(4.0.into())),
        ("graceful.requests.total", DebugValue::Counter(1)),
    ] {
        assert!(seen.contains(&(wanted.0.into(), wanted.1)), "{seen:?}");
    }
    assert!(
        seen.iter()
            .any(|(name, _)| name == "graceful.drain.duration")
    );
}
