//! The phases of a stop, in their order (law 1).

use std::fmt;

/// Where a service is between its first request and its exit.
///
/// A phase only moves forward, with two ways back to `Serving`: [`Tracker::resume`] in lame duck, and
/// [`Tracker::reclaim`] when the successor of a hand-over dies while its predecessor still drains.
///
/// [`Tracker::resume`]: crate::Tracker::resume
/// [`Tracker::reclaim`]: crate::Tracker::reclaim
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Phase {
    /// Normal service.
    #[default]
    Serving = 0,
    /// Accepts and serves everything, and asks clients to go: they do not know of the stop yet.
    LameDuck = 1,
    /// Accepts no new connections. Requests finish, each response is the last of its connection, and an upgrade gets 503.
    Draining = 2,
    /// The time is up: what is left is cut and named in the report.
    Cutoff = 3,
    /// Nothing is left.
    Closed = 4,
}

impl Phase {
    /// All phases, in order.
    pub const ALL: [Self; 5] = [
        Self::Serving,
        Self::LameDuck,
        Self::Draining,
        Self::Cutoff,
        Self::Closed,
    ];

    /// The name for logs, metrics and status pages: `serving`, `lame_duck`, `draining`, `cutoff`, `closed`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::LameDuck => "lame_duck",
            Self::Draining => "draining",
            Self::Cutoff => "cutoff",
            Self::Closed => "closed",
        }
    }

    pub(crate) const fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::Serving,
            1 => Self::LameDuck,
            2 => Self::Draining,
            3 => Self::Cutoff,
            _ => Self::Closed,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
