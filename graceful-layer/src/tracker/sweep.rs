//! Who is asked to close, and when: one walk over all connections instead of a timer in each (law 6).
//!
//! An HTTP/2 connection that is asked sends its GOAWAYs and is closed by hyper; in a drain it has been told already.

use std::time::Duration;

use crate::{
    Grace, Timeouts,
    conn::ConnState,
    state::{Cell, Orders},
};

/// The rules of one phase. Durations in milliseconds of the tracker's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sweep {
    /// Nothing counts that was before.
    start: u32,
    idle: u32,
    spread: u32,
    handshake: u32,
    first_request: u32,
    head: u32,
    /// After this time an idle connection is detached from its server.
    park: u32,
    /// After this time a connection is detached that received bytes which are either a body or the next request.
    unsure: u32,
    /// How long a body may make no progress that is read after its response.
    body: u32,
}

impl Sweep {
    pub(super) fn serving(timeouts: &Timeouts) -> Self {
        Self {
            start: 0,
            idle: millis(timeouts.idle),
            spread: 0,
            handshake: millis(timeouts.handshake),
            first_request: millis(timeouts.first_request),
            head: millis(timeouts.head),
            park: millis(timeouts.park_after.min(timeouts.head)),
            unsure: millis(timeouts.park_after.min(timeouts.head)),
            body: millis(timeouts.idle),
        }
    }

    /// `connections` is how many there are: a few need no spread.
    pub(super) fn draining(grace: &Grace, start: u32, connections: usize) -> Self {
        let one_ms_each = u32::try_from(connections).unwrap_or(u32::MAX);
        Self {
            start,
            idle: millis(grace.idle_grace),
            spread: millis(grace.idle_spread).min(one_ms_each),
            handshake: millis(grace.first_request_grace),
            first_request: millis(grace.first_request_grace),
            head: millis(grace.first_request_grace),
            park: u32::MAX,
            unsure: millis(grace.idle_grace.min(grace.first_request_grace)),
            body: u32::MAX,
        }
    }

    /// What `cell` must be ordered at `now`, if anything.
    pub(super) fn due(&self, cell: &Cell, now: u32) -> Option<u32> {
        let state = cell.state();
        let (since, wait, order) = match state {
            // It leaves by itself, and its client has not been told to expect anything.
            ConnState::Idle | ConnState::New if cell.moves() => return None,
            ConnState::Idle => (
                cell.since(),
                self.idle.saturating_add(self.share(cell)),
                Orders::CLOSE,
            ),
            // Since accept or, after a handshake, since that: only then can the client send its request. An HTTP/2 client
            // that had this time before the drain is notified now. The streams that cross its GOAWAY are served.
            ConnState::New if cell.is_http2() => {
                let due = age(now, cell.since()) >= self.first_request;
                return (due && !cell.orders().says(Orders::CLOSE)).then_some(Orders::CLOSE);
            }
            ConnState::New => (cell.since(), self.first_request, Orders::CLOSE),
            // Since its beginning, which a make-service may put off.
            ConnState::Handshaking => (cell.since(), self.handshake, Orders::CUT),
            ConnState::Active if cell.is_held() => (cell.since(), self.body, Orders::CLOSE),
            ConnState::Active if cell.is_mid_head() && cell.is_unsure() => {
                (cell.since(), self.unsure, Orders::DETACH)
            }
            ConnState::Active if cell.is_mid_head() && cell.has_upload() => {
                (cell.since(), self.head, Orders::CLOSE)
            }
            ConnState::Active if cell.is_mid_head() => (cell.since(), self.head, Orders::CUT),
            _ => return None,
        };
        let is_due = |wait, order| {
            let due = age(now, since.max(self.start)) >= wait && wait < u32::MAX;
            (due && !cell.orders().says(order)).then_some(order)
        };
        let may_park =
            || state == ConnState::Idle && cell.detaches() && !cell.orders().says(Orders::CLOSE);
        let park = || is_due(self.park, Orders::DETACH).filter(|_| may_park());
        is_due(wait, order).or_else(park)
    }

    /// This connection's place in the spread: the same at every sweep.
    fn share(&self, cell: &Cell) -> u32 {
        match self.spread {
            0 => 0,
            spread => (scatter(cell.id()) % u64::from(spread)) as u32,
        }
    }
}

/// Spreads consecutive numbers evenly (Fibonacci hashing).
pub(crate) fn scatter(id: u64) -> u64 {
    id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32
}

/// How long ago `from` was; what is still to come is no age at all, rather than one of 49 days.
pub(super) fn age(now: u32, from: u32) -> u32 {
    match now.wrapping_sub(from) {
        ahead if ahead > u32::MAX / 2 => 0,
        age => age,
    }
}

pub(super) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn a_time_that_is_still_to_come_makes_nobody_due() {
        assert_eq!(age(1000, 1001), 0);
        assert_eq!(age(1001, 1000), 1);
        assert_eq!(age(5, u32::MAX), 6, "over the end of the clock");
    }
}
