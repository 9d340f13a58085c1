//! `/save`: work that is too long to wait for, and too dear to begin again.
//!
//! At the last call before the cutoff the handler writes down how far it is and answers 503 with `Retry-After`. If there
//! is no last call, because somebody asked for the cutoff at once, a saver does it in the handler's place. Asked again
//! with the same key, at this process or its successor, the work goes on from there.

use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs, io};

use axum::extract::Query;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use graceful_server::Drain;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

#[derive(Deserialize)]
pub(crate) struct Save {
    ms: u64,
    key: String,
}

pub(crate) async fn save(drain: Drain, Query(Save { ms, key }): Query<Save>) -> Response {
    let Some(work) = Work::resume(&key) else {
        return (
            StatusCode::BAD_REQUEST,
            "key: letters, digits, - and _ only\n",
        )
            .into_response();
    };
    let rest = Duration::from_millis(ms).saturating_sub(work.before);
    let cut = work.clone();
    drain.on_cutoff(async move { drop(cut.put()) });
    tokio::select! {
        () = sleep(rest) => "ok\n".into_response(),
        () = drain.last_call() => later(match work.put() {
            Ok(done) => format!("saved {key} at {} of {ms} ms\n", done.as_millis()),
            Err(error) => format!("{key} was not saved: {error}\n"),
        }),
    }
}

fn later(text: String) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], text).into_response()
}

/// Work of which only the time it took counts, and the file that keeps how much that was.
#[derive(Clone)]
struct Work {
    file: PathBuf,
    before: Duration,
    begun: Instant,
}

impl Work {
    /// Goes on from where it was saved, or begins. Nothing if the key is no name for a file.
    fn resume(key: &str) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if key.is_empty() || key.len() > 64 || !key.chars().all(plain) {
            return None;
        }
        let file = env::temp_dir().join("reference-server").join(key);
        let saved = fs::read_to_string(&file)
            .ok()
            .and_then(|ms| ms.parse().ok());
        let _ = fs::remove_file(&file);
        let before = Duration::from_millis(saved.unwrap_or(0));
        Some(Self {
            file,
            before,
            begun: Instant::now(),
        })
    }

    /// Saves how much is done, and returns it. A few bytes, so without another thread.
    fn put(&self) -> io::Result<Duration> {
        let done = self.before + self.begun.elapsed();
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&self.file, done.as_millis().to_string())?;
        Ok(done)
    }
}
