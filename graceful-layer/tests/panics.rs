//! A panic in code of the program that a shutdown calls ends nothing else: the report is returned, everything else runs, and
//! the panic is in the report and, with feature `tracing`, in the log.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure here fails the test"
)]

use std::{
    convert::Infallible,
    future::pending,
    panic::panic_any,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use graceful_layer::{Answer, Drain, Grace, GracefulLayer, Phase, Report, Tracker};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use tokio::time::sleep;
use tower::{Layer, Service, service_fn};

const SECOND: Duration = Duration::from_secs(1);
const PHASES: [Phase; 4] = [
    Phase::LameDuck,
    Phase::Draining,
    Phase::Cutoff,
    Phase::Closed,
];

fn grace() -> Grace {
    Grace::default()
        .with_lame_duck(SECOND)
        .with_drain(2 * SECOND)
}

/// Panics when it is dropped.
struct Thorn(&'static str);

impl Drop for Thorn {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

/// The ways of a hook to panic, with the texts that are expected. Each is registered for one phase.
fn register(tracker: &Tracker, phase: Phase, way: &str) {
    let name = way.to_owned();
    match way {
        "closure" => tracker.on(phase, name, SECOND, || -> std::future::Ready<()> {
            panic!("no {}", "closure")
        }),
        "poll" => tracker.on(phase, name, SECOND, || async { panic!("no poll") }),
        "later" => tracker.on(phase, name, SECOND, || async {
            sleep(SECOND / 10).await;
            panic!("no later");
        }),
        "drop" => tracker.on(phase, name, SECOND / 10, || async {
            let _thorn = Thorn("no drop");
            pending::<()>().await;
        }),
        "other" => tracker.on(phase, name, SECOND, || async { panic_any(7) }),
        "thorn" => tracker.on(phase, name, SECOND, || async { panic_any(Thorn("twice")) }),
        other => panic!("{other} is no way"),
    }
}

const WAYS: [(&str, &str); 6] = [
    ("closure", "no closure"),
    ("poll", "no poll"),
    ("later", "no later"),
    ("drop", "no drop"),
    ("other", "a panic without a text"),
    ("thorn", "a panic without a text"),
];

#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_ends_nothing_else() {
    for phase in PHASES {
        for (way, text) in WAYS {
            let case = format!("{way} in {phase:?}");
            let tracker = Tracker::new();
            let ran = Arc::new(AtomicUsize::new(0));
            let sound = |phase| {
                let ran = ran.clone();
                tracker.on(phase, "sound", SECOND, move || {
                    ran.fetch_add(1, SeqCst);
                    async {}
                });
            };
            // Before it and behind it, and in every other phase.
            PHASES.into_iter().for_each(sound);
            register(&tracker, phase, way);
            PHASES.into_iter().for_each(sound);
            // Without it there is no cutoff.
            let guard = tracker.beacon("job");
            let report = tokio::spawn(tracker.drain(grace())).await.unwrap();
            drop(guard);
            assert_eq!(ran.load(SeqCst), 8, "{case}");
            let [panicked] = &report.panics[..] else {
                panic!("{case}: {report:?}");
            };
            assert_eq!(panicked.what, format!("hook {way:?}"), "{case}");
            assert_eq!((&*panicked.message, panicked.times), (text, 1), "{case}");
            assert!(
                report.beacons.iter().any(|label| label == way),
                "{case}: {report}"
            );
            assert!(
                !report.is_clean() && report.to_string().contains(text),
                "{case}: {report}"
            );
            assert_eq!(tracker.phase(), Phase::Closed, "{case}");
        }
    }
}

/// A panic alone makes the report unclean, where nothing else did.
#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_is_not_clean_and_a_sound_one_is() {
    for (way, clean) in [("poll", false), ("closure", false), ("sound", true)] {
        let tracker = Tracker::new();
        match clean {
            true => tracker.on(Phase::Closed, way, SECOND, || async {}),
            false => register(&tracker, Phase::Closed, way),
        }
        let report = tracker.drain(grace()).await;
        assert_eq!(report.is_clean(), clean, "{way}: {report}");
    }
}

/// The hook is dropped with its shutdown: nothing of it is left (law 7).
#[tokio::test(start_paused = true)]
async fn a_hook_that_outlives_the_deadline_is_named_and_dropped() {
    let tracker = Tracker::new();
    let held = Arc::new(());
    let weak = Arc::downgrade(&held);
    let held = Mutex::new(Some(held));
    tracker.on(Phase::Draining, "endless", Duration::MAX, move || {
        let held = held.lock().unwrap().take();
        async move {
            let _held = held;
            pending::<()>().await;
        }
    });
    let report = tracker.drain(grace()).await;
    assert_eq!(report.beacons, ["endless"], "{report}");
    assert_eq!(weak.strong_count(), 0, "its future is dropped");
}

async fn cut(app: impl FnOnce(&Tracker)) -> (Report, StatusCode, Arc<AtomicUsize>) {
    let graceful = GracefulLayer::new();
    let tracker = graceful.tracker().clone();
    app(&tracker);
    let saved = Arc::new(AtomicUsize::new(0));
    let counter = saved.clone();
    let handler = service_fn(move |_: Request<()>| {
        let saved = counter.clone();
        async move {
            let drain = Drain::current().unwrap();
            drain.on_cutoff(async { panic!("no saver") });
            drain.on_cutoff(async move {
                sleep(SECOND / 10).await;
                saved.fetch_add(1, SeqCst);
            });
            pending::<Result<Response<Full<Bytes>>, Infallible>>().await
        }
    });
    let mut app = graceful.layer(handler);
    let answer = tokio::spawn(app.call(Request::get("/save").body(()).unwrap()));
    sleep(SECOND).await;
    let report = tokio::spawn(tracker.drain(grace())).await.unwrap();
    let status = answer.await.unwrap().unwrap().status();
    (report, status, saved)
}

#[tokio::test(start_paused = true)]
async fn a_saver_that_panics_keeps_neither_the_others_nor_the_client_from_its_503() {
    let (report, status, saved) = cut(|_| {}).await;
    assert_eq!((status.as_u16(), saved.load(SeqCst)), (503, 1));
    let [aborted] = &report.abandoned[..] else {
        panic!("{report:?}");
    };
    assert_eq!((aborted.answer, aborted.saved), (Answer::Refused, false));
    let [panicked] = &report.panics[..] else {
        panic!("{report:?}");
    };
    assert_eq!(
        panicked.to_string(),
        "saver of GET /save panicked: no saver"
    );
}

#[tokio::test(start_paused = true)]
async fn callbacks_that_panic_end_nothing_else() {
    let calls = Arc::new(AtomicUsize::new(0));
    let (report, status, _) = cut(|tracker| {
        tracker.sign_refusals(|_| panic!("no sign"));
        tracker.on_abandoned(|_| panic!("no listener"));
        let calls = calls.clone();
        tracker.on_abandoned(move |_| _ = calls.fetch_add(1, SeqCst));
    })
    .await;
    assert_eq!((status.as_u16(), calls.load(SeqCst)), (503, 1));
    assert_eq!(report.abandoned.len(), 1, "{report:?}");
    let mut panics: Vec<_> = report
        .panics
        .iter()
        .map(|p| (&*p.what, &*p.message))
        .collect();
    panics.sort_unstable();
    let saver = ("saver of GET /save", "no saver");
    assert_eq!(
        panics,
        [
            ("on_abandoned", "no listener"),
            saver,
            ("sign_refusals", "no sign")
        ]
    );
}

/// The callback runs in the drop of a body here, where a panic that is not caught would end the process.
#[tokio::test(start_paused = true)]
async fn a_callback_that_panics_while_a_response_is_dropped_ends_nothing_else() {
    let graceful = GracefulLayer::new();
    let tracker = graceful.tracker().clone();
    tracker.on_abandoned(|_| panic!("no listener"));
    let handler = service_fn(|_: Request<()>| async {
        let chunk = Ok::<_, Infallible>(Frame::data(Bytes::from("part")));
        let chunks = futures_util::StreamExt::chain(
            futures_util::stream::iter([chunk]),
            futures_util::stream::pending(),
        );
        Ok::<_, Infallible>(Response::new(StreamBody::new(chunks)))
    });
    let mut app = graceful.layer(handler);
    let answer = app.call(Request::get("/stream").body(()).unwrap());
    let mut body = Box::pin(answer.await.unwrap().into_body());
    body.frame().await.unwrap().unwrap();
    let drain = tokio::spawn(tracker.drain(grace()));
    tracker.reached(Phase::Cutoff).await;
    let unwound = tokio::spawn(async move {
        let _body = body;
        panic!("its task panics as well");
    });
    assert!(unwound.await.unwrap_err().is_panic());
    let report = drain.await.unwrap();
    assert_eq!((report.abandoned.len(), report.left), (1, 0), "{report:?}");
    assert_eq!(report.panics[0].message, "no listener");
}
