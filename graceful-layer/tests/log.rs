//! What a drain says to the log. Alone in its process, for what is logged is decided once for all threads.

#![cfg(feature = "tracing")]
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use graceful_layer::{Grace, GracefulLayer};
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::sleep;
use tower::{Layer, Service, service_fn};

const SECOND: Duration = Duration::from_secs(1);

type Answered = Result<Response<Full<Bytes>>, Infallible>;

/// Takes what is logged while a drain has to wait for more than its pause between two lines.
#[tokio::test(start_paused = true)]
async fn the_log_names_what_is_still_open_and_what_was_cut() {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let graceful = GracefulLayer::new();
    let tracker = graceful.tracker().clone();
    let handler = service_fn(|_: Request<()>| std::future::pending::<Answered>());
    let mut app = graceful.layer(handler);
    let waiting = tokio::spawn(app.call(Request::get("/wait?token=secret").body(()).unwrap()));
    sleep(SECOND).await;
    tracker
        .drain(Grace::default().with_drain(11 * SECOND))
        .await;
    waiting.await.unwrap().unwrap();

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    assert_eq!(count("still open connections=0 requests=1"), 2, "{text}");
    assert_eq!(count("oldest=\"GET /wait from "), 2, "{text}");
    assert_eq!(
        count("WARN graceful_layer: abandoned method=GET path=\"/wait\""),
        1,
        "{text}"
    );
    assert_eq!(count("phase phase=\"draining\""), 1, "{text}");
    assert!(!text.contains("secret"), "{text}");
}
