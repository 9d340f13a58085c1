//! The classes a request can end in, and the one class it does.

use std::io;
use std::time::Duration;

use tokio::time::timeout;

/// How one request ended. The classes exclude each other; everything but `Answered` is a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The right status and the whole, right body.
    Answered,
    /// The connection could not be made: nobody listened, or it was reset in the handshake.
    Refused,
    /// The connection was reset before the first byte of the answer.
    Reset,
    /// The connection was closed in order before the first byte of the answer.
    Closed,
    /// The answer began and did not end.
    Cut,
    /// HTTP/2: the server promised not to have looked at it (GOAWAY below it, or REFUSED_STREAM).
    RefusedStream,
    /// A complete answer that is not the right one, or something that is not HTTP.
    Wrong,
    /// No complete answer within the bound.
    TimedOut,
}

impl Outcome {
    /// Every outcome, in the order of the variants.
    pub const ALL: [Self; 8] = [
        Self::Answered,
        Self::Refused,
        Self::Reset,
        Self::Closed,
        Self::Cut,
        Self::RefusedStream,
        Self::Wrong,
        Self::TimedOut,
    ];

    /// The name to print.
    pub fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Cut => "cut",
            Self::RefusedStream => "h2 refused",
            Self::Wrong => "wrong",
            Self::TimedOut => "timed out",
        }
    }

    /// Whether the client did not get what it asked for.
    pub fn is_loss(self) -> bool {
        self != Self::Answered
    }
}

/// A request that did not get its answer: the class, and the words for a person who looks for the
/// cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Never [`Outcome::Answered`].
    pub outcome: Outcome,
    /// What was seen, with the operating system's words where there are any.
    pub detail: String,
}

impl Loss {
    pub(super) fn new(outcome: Outcome, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { outcome, detail }
    }

    /// Whatever keeps a connection from being made counts against the server, and the detail tells
    /// the cases apart: a client out of ports or files is rare, and silence about it would be
    /// worse.
    pub(super) fn refused(error: &io::Error) -> Self {
        Self::new(Outcome::Refused, format!("connect: {error}"))
    }

    pub(super) fn wrong(detail: impl Into<String>) -> Self {
        Self::new(Outcome::Wrong, detail)
    }
}

/// Does the work, or calls it [`Outcome::TimedOut`].
pub(super) async fn within<T>(
    bound: Duration,
    work: impl Future<Output = Result<T, Loss>>,
) -> Result<T, Loss> {
    let late = || {
        Loss::new(
            Outcome::TimedOut,
            format!("no complete answer within {bound:?}"),
        )
    };
    timeout(bound, work).await.unwrap_or_else(|_| Err(late()))
}
