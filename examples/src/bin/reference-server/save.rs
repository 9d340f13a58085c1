//! `/save`: work that is too long to wait for, and too dear to begin again.
//!
//! When the cutoff nears, the handler writes down how far it is and answers 503 with `Retry-After`. Asked again with the
//! same key, at this process or its successor, it goes on from there.

use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;
use std::{env, fs, io};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use graceful_server::{Phase, Tracker};
use serde::Deserialize;
use tokio::time::{Instant, sleep, sleep_until};

use crate::status::Status;

/// How long before the cutoff to save: what saving may take, with room to spare.
const LAST_CALL: Duration = Duration::from_secs(2);

#[derive(Deserialize)]
pub(crate) struct Save {
    ms: u64,
    key: String,
}

pub(crate) async fn save(
    State(status): State<Status>,
    Query(Save { ms, key }): Query<Save>,
) -> Response {
    let Some(checkpoint) = Checkpoint::of(&key) else {
        return (
            StatusCode::BAD_REQUEST,
            "key: letters, digits, - and _ only\n",
        )
            .into_response();
    };
    let before = checkpoint.take().min(ms);
    let begun = Instant::now();
    tokio::select! {
        biased;
        () = sleep(Duration::from_millis(ms - before)) => "ok\n".into_response(),
        () = last_call(status.tracker()) => {
            let done = before + u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            match checkpoint.put(done) {
                Ok(()) => later(format!("saved {key} at {done} of {ms} ms\n")),
                Err(error) => later(format!("{key} was not saved: {error}\n")),
            }
        }
    }
}

fn later(text: String) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], text).into_response()
}

/// Waits until the cutoff nears, or is there. At the cutoff a handler is polled once more and no further, so whoever is
/// late must look at the phase itself and not wait to be woken.
async fn last_call(tracker: &Tracker) {
    let mut near = pin!(async {
        loop {
            tracker.reached(Phase::Draining).await;
            if let Some(deadline) = tracker.deadline() {
                sleep_until(deadline - LAST_CALL).await;
                return;
            }
            // Taken back in this very moment.
            tracker.left(Phase::Draining).await;
        }
    });
    poll_fn(|cx| match tracker.phase() {
        Phase::Cutoff | Phase::Closed => std::task::Poll::Ready(()),
        _ => near.as_mut().poll(cx),
    })
    .await;
}

/// Milliseconds of work that are done, in a file. Written without waiting: at the cutoff there is no second poll.
struct Checkpoint(PathBuf);

impl Checkpoint {
    fn of(key: &str) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let good = !key.is_empty() && key.len() <= 64 && key.chars().all(plain);
        good.then(|| Self(folder().join(key)))
    }

    /// What was saved before, once.
    fn take(&self) -> u64 {
        let saved = fs::read_to_string(&self.0).ok();
        let _ = fs::remove_file(&self.0);
        saved.and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    fn put(&self, ms: u64) -> io::Result<()> {
        fs::create_dir_all(folder())?;
        fs::write(&self.0, ms.to_string())
    }
}

fn folder() -> PathBuf {
    env::temp_dir().join("reference-server")
}
