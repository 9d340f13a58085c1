//! Saying on standard output that this process serves.
//!
//! The server has it said when it becomes true, and once more when the successor died and the listeners came back.

use std::io::{self, Write};

use graceful_server::Phase;

use crate::Listeners;
use crate::status::Status;

#[derive(Clone, Debug)]
pub(crate) struct Serving {
    text: String,
    status: Status,
}

impl Serving {
    pub(crate) fn new(listeners: &Listeners, status: &Status) -> Self {
        let all = listeners.main.iter().chain(&listeners.admin);
        let listening = all.map(|listener| format!("listening {}\n", listener.local_addr()));
        let text = listening.collect::<String>() + &format!("ready {}\n", status.identity());
        Self {
            text,
            status: status.clone(),
        }
    }

    /// One write, so that the lines of two generations do not mix.
    pub(crate) fn announce(&self) {
        self.status.entered();
        // Whoever read our output may have gone; that is no reason to stop serving.
        let mut stdout = io::stdout();
        let _ = stdout
            .write_all(self.text.as_bytes())
            .and_then(|()| stdout.flush());
    }

    /// Follows the phases to the end of the process.
    pub(crate) fn follow(self) {
        tokio::spawn(async move {
            let mut phase = Phase::Serving;
            loop {
                phase = self.status.tracker().left(phase).await;
                self.status.entered();
            }
        });
    }
}
