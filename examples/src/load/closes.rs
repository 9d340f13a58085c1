//! Connections that ended while no request was on them: no loss, but worth knowing.

/// How many connections the server ended between requests, by whether it said so first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closes {
    /// After `Connection: close` or GOAWAY.
    pub announced: u64,
    /// Without a word. The next request would have been lost had it left a moment earlier.
    pub unannounced: u64,
}

impl std::ops::AddAssign for Closes {
    fn add_assign(&mut self, other: Self) {
        self.announced += other.announced;
        self.unannounced += other.unannounced;
    }
}
