//! What was cut, for whoever has to make up for it: one JSON line for every abandoned request.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use graceful_server::{Abandoned, Report};
use serde_json::{Value, json};

use crate::identity::Identity;

#[derive(Debug)]
pub(crate) struct Journal(File);

impl Journal {
    /// Opened at the start: a path that cannot be written is found out while it can still be mended.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let named = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("--journal {}: {error}", path.display()),
            )
        };
        file.map(Self).map_err(named)
    }

    /// One write, so that lines of several generations do not mix.
    pub(crate) fn write(mut self, report: &Report, identity: Identity) -> io::Result<()> {
        let lines = report
            .abandoned
            .iter()
            .map(|request| line(request, identity).to_string() + "\n");
        self.0.write_all(lines.collect::<String>().as_bytes())
    }
}

fn line(request: &Abandoned, Identity { pid, generation }: Identity) -> Value {
    json!({
        "method": request.method.as_str(),
        "path": request.path,
        "version": format!("{:?}", request.version),
        "peer": request.peer.to_string(),
        "connection": request.connection,
        "answer": request.answer.to_string(),
        "saved": request.saved,
        "pid": pid,
        "generation": generation,
    })
}
