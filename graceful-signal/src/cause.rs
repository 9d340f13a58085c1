//! Why a signal fired.

use std::fmt;
use std::path::PathBuf;

use crate::SignalKind;

/// What made a [`ShutdownSignal`](crate::ShutdownSignal) fire.
///
/// `Display` is short and fit for a log line: `SIGTERM`, `manual trigger`, `file /run/stop`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The operating system delivered this signal.
    Signal(SignalKind),
    /// A [`Trigger`](crate::Trigger) was fired.
    Manual,
    /// The future given to [`ShutdownSignal::from_future`](crate::ShutdownSignal::from_future)
    /// completed.
    Future,
    /// The watched file appeared, went or was replaced by another; the path is the one given.
    File(PathBuf),
    /// The parent process ended.
    ParentGone,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(kind) => kind.fmt(f),
            Self::Manual => f.write_str("manual trigger"),
            Self::Future => f.write_str("future completed"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::ParentGone => f.write_str("parent process ended"),
        }
    }
}
