//! What handlers may know of a stop, and do before they are cut.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure here fails the test"
)]

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use graceful_layer::{Answer, Drain, Grace, GracefulLayer, Phase, Report};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tower::{Layer, Service, service_fn};

const SECOND: Duration = Duration::from_secs(1);

type Answered = Result<Response<Full<Bytes>>, Infallible>;

/// Calls `handler` under the layer, and begins a stop with `grace` once it waits.
async fn stopped<H, F>(grace: Grace, handler: H) -> (StatusCode, Report, Instant)
where
    H: Fn(Drain) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let graceful = GracefulLayer::new();
    let tracker = graceful.tracker().clone();
    let mut service = graceful.layer(service_fn(move |_: Request<()>| {
        let handler = handler.clone();
        async move {
            handler(Drain::current().expect("inside of a request")).await;
            Answered::Ok(Response::new(Full::from("done")))
        }
    }));
    let answer: JoinHandle<Result<_, Infallible>> = tokio::spawn(service.call(Request::new(())));
    sleep(SECOND).await;
    let began = Instant::now();
    let drain = tokio::spawn(tracker.drain(grace));
    let status = answer.await.unwrap().unwrap().status();
    (status, drain.await.unwrap(), began)
}

fn grace() -> Grace {
    Grace::default()
        .with_lame_duck(4 * SECOND)
        .with_drain(10 * SECOND)
        .with_cutoff(2 * SECOND)
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_told_when_clients_are() {
    let (status, report, began) = stopped(grace(), |drain| async move {
        drain.draining().await;
        assert_eq!(drain.tracker().phase(), Phase::LameDuck);
        assert_eq!(drain.close_code(), 1001);
    })
    .await;
    assert_eq!(status, StatusCode::OK);
    assert!(report.is_clean());
    assert_eq!(
        began.elapsed().as_secs(),
        5,
        "told at once, then lame duck and idle grace"
    );
}

#[tokio::test(start_paused = true)]
async fn the_last_call_is_two_seconds_before_the_cut() {
    let told = Arc::new(tokio::sync::Mutex::new(None));
    let (status, report, began) = stopped(grace(), {
        let told = told.clone();
        move |drain| {
            let told = told.clone();
            async move {
                drain.last_call().await;
                *told.lock().await = Some(Instant::now());
                drain.cancelled().await;
                std::future::pending().await
            }
        }
    })
    .await;
    assert_eq!(
        (*told.lock().await).map(|at| at.duration_since(began).as_secs()),
        Some(12)
    );
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(report.abandoned.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn savers_run_side_by_side_before_the_handler_is_dropped() {
    let saved = Arc::new(AtomicUsize::new(0));
    let (status, report, _) = stopped(grace(), {
        let saved = saved.clone();
        move |drain| {
            for _ in 0..2 {
                let saved = saved.clone();
                drain.on_cutoff(async move {
                    sleep(Duration::from_millis(900)).await;
                    saved.fetch_add(1, SeqCst);
                });
            }
            std::future::pending()
        }
    })
    .await;
    assert_eq!(saved.load(SeqCst), 2);
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let [cut] = report.abandoned.as_slice() else {
        panic!("{report}")
    };
    assert_eq!((cut.answer, cut.saved), (Answer::Refused, true));
}

#[tokio::test(start_paused = true)]
async fn a_saver_that_takes_too_long_is_dropped_and_said_not_to_have_saved() {
    let (status, report, began) = stopped(grace(), |drain| {
        drain.on_cutoff(std::future::pending());
        std::future::pending()
    })
    .await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!report.abandoned[0].saved);
    assert!(began.elapsed() <= grace().total());
}

#[tokio::test(start_paused = true)]
async fn a_saver_of_an_answered_request_never_runs() {
    let saved = Arc::new(AtomicUsize::new(0));
    let (status, report, _) = stopped(grace(), {
        let saved = saved.clone();
        move |drain| {
            let saved = saved.clone();
            drain.on_cutoff(async move {
                saved.fetch_add(1, SeqCst);
            });
            async move { drain.draining().await }
        }
    })
    .await;
    assert_eq!((status, saved.load(SeqCst)), (StatusCode::OK, 0));
    assert!(report.is_clean());
}

#[tokio::test]
async fn a_saver_that_panics_when_it_is_dropped_holds_up_no_drain() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("a saver of the application");
        }
    }
    let graceful = GracefulLayer::new();
    let tracker = graceful.tracker().clone();
    let mut service = graceful.layer(service_fn(|_: Request<()>| {
        let held = Panics;
        async move {
            let drain = Drain::current().unwrap();
            drain.on_cutoff(async move { drop(held) });
            Answered::Ok(Response::new(Full::from("")))
        }
    }));
    let answer = tokio::spawn(service.call(Request::new(()))).await;
    assert!(answer.is_err_and(|error| error.is_panic()));
    assert_eq!(tracker.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_spread_gives_everybody_a_moment_of_its_own() {
    let graceful = GracefulLayer::new();
    let ends = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut service = graceful.layer(service_fn({
        let ends = ends.clone();
        move |_: Request<()>| {
            let ends = ends.clone();
            async move {
                Drain::current().unwrap().draining_within(4 * SECOND).await;
                ends.lock().unwrap().push(Instant::now());
                Answered::Ok(Response::new(Full::from("")))
            }
        }
    }));
    let calls: Vec<_> = (0..100)
        .map(|_| tokio::spawn(service.call(Request::new(()))))
        .collect();
    sleep(SECOND).await;
    let began = Instant::now();
    let drain = tokio::spawn(graceful.tracker().drain(Grace::default()));
    for call in calls {
        let _ = call.await.unwrap();
    }
    drain.await.unwrap();
    let mut by_second = [0; 5];
    for end in ends.lock().unwrap().iter() {
        by_second[end.duration_since(began).as_secs() as usize] += 1;
    }
    assert!(
        by_second[..4].iter().all(|n| (15..=35).contains(n)),
        "{by_second:?}"
    );
}

#[test]
fn outside_of_a_request_there_is_no_drain() {
    assert!(Drain::current().is_none());
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn the_extractor_needs_the_layer() {
    use axum::{Router, routing::get};
    let app = Router::new().route(
        "/",
        get(|drain: Drain| async move { drain.tracker().phase().as_str() }),
    );
    let request = || Request::new(axum::body::Body::empty());
    let with = app
        .clone()
        .layer(GracefulLayer::new())
        .call(request())
        .await
        .unwrap();
    assert_eq!(with.status(), StatusCode::OK);
    let without = app.clone().call(request()).await.unwrap();
    assert_eq!(without.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

/// Also what its own maker of services knows of a connection gets through.
#[cfg(feature = "axum")]
#[tokio::test]
async fn around_a_router_all_that_it_answers_is_counted() {
    use std::net::SocketAddr;

    use axum::{Router, extract::ConnectInfo, routing::get};
    use http_body_util::BodyExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let graceful = GracefulLayer::new();
    let tracker = graceful.tracker().clone();
    let peer = |ConnectInfo(peer): ConnectInfo<SocketAddr>, drain: Drain| async move {
        format!("{peer} {}", drain.tracker().phase().as_str())
    };
    let app = Router::new().route("/", get(peer));
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let server = axum::serve(listener, graceful.around(app)).with_graceful_shutdown(tracker.told());
    let server = tokio::spawn(server.into_future());

    let mut client = tokio::net::TcpStream::connect(addr).await.unwrap();
    let ask = |path| format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    client.write_all(ask("/").as_bytes()).await.unwrap();
    let mut answer = vec![0; 4_096];
    let n = client.read(&mut answer).await.unwrap();
    let said = format!("{} serving", client.local_addr().unwrap());
    assert!(String::from_utf8_lossy(&answer[..n]).ends_with(&said));
    let drain = tokio::spawn(tracker.drain(grace().with_lame_duck(Duration::ZERO)));
    tracker.reached(Phase::Draining).await;
    client.write_all(ask("/nowhere").as_bytes()).await.unwrap();
    answer.clear();
    client.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(tracker.totals().1, 2);
    server.await.unwrap().unwrap();
    assert!(drain.await.unwrap().is_clean());

    let mut service = graceful.around(tower::make::Shared::new(service_fn(
        async |_: Request<()>| Answered::Ok(Response::new(Full::from("done"))),
    )));
    let mut service = service.call(()).await.unwrap();
    let answer = service.call(Request::new(())).await.unwrap();
    assert_eq!(tracker.in_flight(), 1);
    assert_eq!(
        answer.into_body().collect().await.unwrap().to_bytes(),
        "done"
    );
    assert_eq!(tracker.in_flight(), 0);
}

#[tokio::test]
async fn in_its_scope_a_task_has_the_drain_of_the_handler_that_spawned_it() {
    let graceful = GracefulLayer::new();
    let tracker = graceful.tracker().clone();
    let tasks = Arc::new(std::sync::Mutex::new(None));
    let spawned = tasks.clone();
    let mut service = graceful.layer(service_fn(move |_: Request<()>| {
        let spawned = spawned.clone();
        async move {
            let drain = Drain::current().unwrap();
            let alone = tokio::spawn(async { Drain::current().is_none() });
            let scoped = tokio::spawn(drain.scope(scoped()));
            *spawned.lock().unwrap() = Some((alone, scoped));
            Answered::Ok(Response::new(Full::from("done")))
        }
    }));
    drop(service.call(Request::new(())).await.unwrap());
    assert!(Drain::current().is_none());
    let (alone, scoped) = tasks.lock().unwrap().take().unwrap();
    assert!(alone.await.unwrap(), "outside of the handler");
    scoped.await.unwrap();
    assert_eq!((tracker.in_flight(), tracker.totals().1), (0, 3));
}

/// The task is not a request, so requests that begin in it are counted.
async fn scoped() {
    for _ in 0..2 {
        let drain = Drain::current().expect("in the scope");
        drain.on_cutoff(async {});
        let layer = GracefulLayer::with_tracker(drain.tracker().clone());
        let mut service = layer.layer(service_fn(|_: Request<()>| async {
            Answered::Ok(Response::new(Full::from("hello")))
        }));
        let answer = service.call(Request::new(())).await;
        assert_eq!(drain.tracker().in_flight(), 1);
        drop(answer);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_drain_is_there_in_the_future_and_nowhere_else() {
    let outer = GracefulLayer::new();
    let inner = GracefulLayer::new();
    let handler = service_fn(|_: Request<()>| {
        assert!(Drain::current().is_none(), "not called for a future yet");
        async {
            let before = Drain::current().expect("inside of a request");
            before.on_cutoff(async {});
            tokio::task::yield_now().await;
            // The saver went out and in with the request.
            Drain::current().expect("still inside").on_cutoff(async {});
            Answered::Ok(Response::new(Full::from("done")))
        }
    });
    let mut service = outer.layer(inner.layer(handler));
    let answer = service.call(Request::new(())).await.unwrap();
    assert!(Drain::current().is_none(), "outside again");
    drop(answer);
    assert_eq!(outer.tracker().in_flight() + inner.tracker().in_flight(), 0);
}
