//! Why a connection got no service of its own.

use std::{error::Error, fmt};

/// Why a connection got no service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotMade {
    /// The future panicked. The panic is logged, and is in [`Report::panics`](crate::Report::panics).
    Panicked,
    /// The future did not resolve in time, or the drain was over.
    OutOfTime,
}

impl fmt::Display for NotMade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Panicked => "the make-service panicked",
            Self::OutOfTime => "the make-service did not resolve in time",
        })
    }
}

impl Error for NotMade {}
