//! Asking a running server to hand over to a successor.

use std::{
    error::Error,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use graceful_listener::HandoffError;
use tokio::sync::{mpsc, oneshot};

/// Whom the outcome of an attempt is told, before anything follows from it; a signal does not wait for it.
pub(crate) type Reply = Option<Box<dyn FnOnce(Result<u32, RestartError>) + Send>>;

/// What a server is asked for: a successor in its place, or beside it.
pub(crate) struct Ask {
    pub(crate) beside: bool,
    pub(crate) reply: Reply,
}

impl Ask {
    /// By somebody who does not wait for the outcome.
    pub(crate) const RESTART: Self = Self {
        beside: false,
        reply: None,
    };
}

/// Asks a server to restart, from anywhere in the program: an admin endpoint, a file watcher.
///
/// From [`Serve::restart_trigger`](crate::Serve::restart_trigger). Cheap to clone.
#[derive(Clone, Debug)]
pub struct RestartTrigger {
    pub(crate) asks: mpsc::UnboundedSender<Ask>,
    pub(crate) canary: Canary,
}

/// The process number of the successor that serves beside this process, or 0.
pub(crate) type Canary = Arc<AtomicU32>;

impl RestartTrigger {
    /// Starts a successor, and returns its process id once it has taken over.
    ///
    /// In order: the successor is started with all listeners, becomes ready, is told to accept; from then on this
    /// process drains. If it fails before, it is rolled back and this process serves on as if nothing had been.
    ///
    /// A supervisor's worker has its supervisor do it, waits for the outcome and ends after it has told it.
    ///
    /// If a successor serves [`beside`](Self::beside) this process already, it is that one which takes over.
    ///
    /// # Errors
    /// The successor failed ([`RestartError::handoff`] says how), or this server is stopping or handed over already.
    ///
    /// # Cancel safety
    /// The restart goes on when the future is dropped; only its outcome is then not heard.
    pub async fn restart(&self) -> Result<u32, RestartError> {
        self.ask(false).await
    }

    /// Starts a successor that serves beside this process, and returns its process id once it does.
    ///
    /// Both accept, and share what comes: a canary. Then [`restart`](Self::restart) commits: the successor goes on and
    /// this process drains. Or the successor is rolled back, by stopping it (SIGTERM): it drains, and this process
    /// goes on alone as if nothing had been. So it does if the successor dies, but for what that had accepted. If this
    /// process is stopped first, both stop.
    ///
    /// # Errors
    /// As for [`restart`](Self::restart); and always in the worker of a [`Supervisor`](crate::Supervisor).
    ///
    /// # Cancel safety
    /// As for [`restart`](Self::restart).
    pub async fn beside(&self) -> Result<u32, RestartError> {
        self.ask(true).await
    }

    /// Returns the process id of the canary, which serves [`beside`](Self::beside) this process, until it is decided who goes on.
    /// `None` if there is none, in the canary itself, and in the worker of a [`Supervisor`](crate::Supervisor), which has none.
    pub fn canary(&self) -> Option<u32> {
        Some(self.canary.load(Ordering::Relaxed)).filter(|pid| *pid != 0)
    }

    async fn ask(&self, beside: bool) -> Result<u32, RestartError> {
        let (reply, outcome) = oneshot::channel();
        // Whoever asked may have gone.
        let reply = move |outcome| _ = reply.send(outcome);
        let _ = self.asks.send(Ask {
            beside,
            reply: Some(Box::new(reply)),
        });
        outcome.await.unwrap_or(Err(RestartError(Kind::Stopping)))
    }
}

/// Why a server did not restart.
#[derive(Debug)]
pub struct RestartError(Kind);

#[derive(Debug)]
enum Kind {
    Stopping,
    HandedOver(u32),
    NotBeside,
    Canary(u32),
    Handoff(HandoffError),
}

impl RestartError {
    pub(crate) fn stopping() -> Self {
        Self(Kind::Stopping)
    }

    pub(crate) fn handed_over(pid: u32) -> Self {
        Self(Kind::HandedOver(pid))
    }

    pub(crate) fn not_beside() -> Self {
        Self(Kind::NotBeside)
    }

    pub(crate) fn canary(pid: u32) -> Self {
        Self(Kind::Canary(pid))
    }

    /// Whether the server is stopping, or has stopped.
    pub fn is_stopping(&self) -> bool {
        matches!(self.0, Kind::Stopping)
    }

    /// The process that this one has handed over to already. Ask that one.
    pub fn successor(&self) -> Option<u32> {
        match self.0 {
            Kind::HandedOver(pid) => Some(pid),
            _ => None,
        }
    }

    /// Why the successor failed.
    pub fn handoff(&self) -> Option<&HandoffError> {
        match &self.0 {
            Kind::Handoff(error) => Some(error),
            _ => None,
        }
    }
}

impl From<HandoffError> for RestartError {
    fn from(error: HandoffError) -> Self {
        Self(Kind::Handoff(error))
    }
}

impl fmt::Display for RestartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Stopping => f.write_str("the server is stopping"),
            Kind::HandedOver(pid) => write!(f, "the server has handed over to process {pid}"),
            Kind::Canary(pid) => write!(
                f,
                "a canary, process {pid}, serves beside this one already: a restart (SIGHUP) commits it, SIGTERM to it rolls it back"
            ),
            Kind::NotBeside => f.write_str(
                "this process is a supervisor's worker, and a supervisor has one that serves at a time",
            ),
            Kind::Handoff(_) => f.write_str("no hand-over took place"),
        }
    }
}

impl Error for RestartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Kind::Handoff(error) => Some(error),
            _ => None,
        }
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}
