//! The kinds of traffic, which are the rows of the tables.

use std::time::Duration;

use graceful_examples::load::Call;

/// Who sends what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Fresh,
    Late,
    Get,
    Post,
    Slow,
    Stream,
    Upload,
    Http2,
    Http2Stream,
}

impl Kind {
    pub(crate) const ALL: [Self; 9] = [
        Self::Fresh,
        Self::Late,
        Self::Get,
        Self::Post,
        Self::Slow,
        Self::Stream,
        Self::Upload,
        Self::Http2,
        Self::Http2Stream,
    ];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Fresh => "fresh connection",
            Self::Late => "fresh, sends 20 ms later",
            Self::Get => "keep-alive GET",
            Self::Post => "keep-alive POST",
            Self::Slow => "slow answer, 700 ms",
            Self::Stream => "stream, 1 s",
            Self::Upload => "halved upload, 500 ms",
            Self::Http2 => "HTTP/2",
            Self::Http2Stream => "HTTP/2 stream, 1 s",
        }
    }

    /// Whether its answers take long by themselves.
    pub(crate) fn is_long(self) -> bool {
        matches!(
            self,
            Self::Slow | Self::Stream | Self::Upload | Self::Http2Stream
        )
    }

    /// Whether its clients are streams that share connections.
    pub(crate) fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Http2Stream)
    }

    pub(crate) fn call(self) -> Call {
        match self {
            Self::Fresh | Self::Late | Self::Http2 => Call::identity(),
            Self::Get => Call::bytes(4096),
            Self::Post => Call::count(1024),
            Self::Slow => Call::slow(Duration::from_millis(700)),
            Self::Stream | Self::Http2Stream => Call::stream(Duration::from_secs(1), 10),
            Self::Upload => Call::count(16 * 1024).in_halves(Duration::from_millis(500)),
        }
    }

    /// How many clients make up this kind's part of `rate` requests per second. The short requests
    /// share the rate; the long ones, few by nature, come on top.
    pub(crate) fn clients(self, rate: u32) -> u32 {
        let hundredths = match self {
            Self::Fresh => 32,
            Self::Late => 4,
            Self::Get => 20,
            Self::Post => 8,
            Self::Http2 => 36,
            _ => return (rate / 500).clamp(2, 64),
        };
        (rate * hundredths).div_ceil(100 * PER_CLIENT)
    }
}

/// A client thinks 0 to 100 ms between two requests.
const PER_CLIENT: u32 = 20;
