//! What was cut, for whoever has to make up for it: one JSON line for every abandoned request.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use graceful_server::{Abandoned, Tracker};
use serde_json::{Value, json};

use crate::identity::Identity;

#[derive(Debug)]
pub(crate) struct Journal(File);

impl Journal {
    /// Opened at the start: a path that cannot be written is found out while it can still be mended.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            // Queries carry secrets.
            .mode(0o600)
            .open(path);
        let named = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("--journal {}: {error}", path.display()),
            )
        };
        file.map(Self).map_err(named)
    }

    /// Writes a line for every request from the moment it is cut.
    pub(crate) fn follow(self, tracker: &Tracker, identity: Identity) {
        // Whoever repeats a request needs its query.
        tracker.keep_queries(true);
        tracker.on_abandoned(move |request| {
            let line = line(request, identity).to_string() + "\n";
            // One write, so that lines of several requests and generations do not mix.
            if let Err(error) = (&self.0).write_all(line.as_bytes()) {
                tracing::error!(%error, "a line of the journal was not written: {line}");
            }
        });
    }
}

fn line(request: &Abandoned, Identity { pid, generation }: Identity) -> Value {
    json!({
        "method": request.method.as_str(),
        "path": request.path,
        "query": request.query,
        "version": format!("{:?}", request.version),
        "peer": request.peer.to_string(),
        "connection": request.connection,
        "age_ms": u64::try_from(request.age.as_millis()).unwrap_or(u64::MAX),
        "ran": request.ran,
        "repeatable": request.is_repeatable(),
        "answer": request.answer.to_string(),
        "sent": request.sent,
        "saved": request.saved,
        "reason": request.reason.as_str(),
        "pid": pid,
        "generation": generation,
    })
}
