//! The journal: one JSON line for every aborted request, and for every connection that was closed without an aborted request.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use graceful_server::{Abandoned, Cut, Report, Tracker};
use serde_json::{Value, json};

use crate::identity::Identity;

#[derive(Clone, Debug)]
pub(crate) struct Journal(Arc<File>);

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
        file.map(|file| Self(Arc::new(file))).map_err(named)
    }

    /// Writes a line for every request from the moment it is cut.
    pub(crate) fn follow(&self, tracker: &Tracker, identity: Identity) {
        // Whoever repeats a request needs its query.
        tracker.keep_queries(true);
        let journal = self.clone();
        tracker.on_abandoned(move |request| journal.write(&line(request, identity)));
    }

    /// Writes a line for every connection in the report that had no aborted request: a WebSocket, an incomplete request.
    pub(crate) fn conclude(&self, report: &Report, identity: Identity) {
        let is_named = |id: u64| {
            report
                .abandoned
                .iter()
                .any(|request| request.connection == id)
        };
        for closed in report.cut.iter().filter(|closed| !is_named(closed.id)) {
            self.write(&closed_line(closed, identity));
        }
    }

    fn write(&self, line: &Value) {
        let line = line.to_string() + "\n";
        // One write, so that lines of several requests and generations do not mix.
        if let Err(error) = (&*self.0).write_all(line.as_bytes()) {
            tracing::error!(%error, "a line of the journal was not written: {line}");
        }
    }
}

fn closed_line(closed: &Cut, Identity { pid, generation }: Identity) -> Value {
    json!({
        "closed": closed.state.as_str(),
        "peer": closed.peer.to_string(),
        "connection": closed.id,
        "requests": closed.requests,
        "unsent": closed.unsent,
        "age_ms": u64::try_from(closed.age.as_millis()).unwrap_or(u64::MAX),
        "reason": closed.reason.as_str(),
        "pid": pid,
        "generation": generation,
    })
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
