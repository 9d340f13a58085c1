//! How long a successor may take to become ready, and how much longer if it asks.

use std::time::Duration;

use tokio::time::Instant;

/// How many times its `ready_timeout` a successor may take in all.
const MOST_EXTENDED: u32 = 10;

#[derive(Debug)]
pub(super) struct Patience {
    since: Instant,
    ready_timeout: Duration,
    asked: Duration,
    pub(super) deadline: Instant,
}

impl Patience {
    /// Begins now.
    pub(super) fn new(ready_timeout: Duration) -> Self {
        let since = Instant::now();
        let deadline = after(since, ready_timeout);
        Self {
            since,
            ready_timeout,
            asked: Duration::ZERO,
            deadline,
        }
    }

    /// The successor asks for so much more, from now.
    pub(super) fn ask(&mut self, more: Duration) {
        self.asked = more;
    }

    /// Grants what was asked for, up to the cap. The deadline never comes nearer.
    pub(super) fn extend(&mut self) {
        let most = after(self.since, self.ready_timeout.saturating_mul(MOST_EXTENDED));
        let asked = after(Instant::now(), self.asked);
        self.deadline = self.deadline.max(asked.min(most));
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }
}

/// A point in time that is there also if somebody means never.
fn after(start: Instant, delay: Duration) -> Instant {
    const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    start + delay.min(NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn more_time_is_granted_from_now_up_to_a_cap_and_never_taken_away() {
        let mut patience = Patience::new(Duration::from_secs(60));
        let mut left_after = |seconds| {
            patience.ask(Duration::from_secs(seconds));
            patience.extend();
            (patience.deadline - Instant::now()).as_secs()
        };
        assert_eq!(left_after(1), 60);
        assert_eq!(left_after(100), 100);
        assert_eq!(left_after(1), 100);
        tokio::time::advance(Duration::from_secs(50)).await;
        assert_eq!(left_after(100), 100);
        assert_eq!(
            left_after(u64::MAX),
            550,
            "ten times 60, of which 50 are over"
        );
    }

    #[test]
    fn a_successor_may_be_given_for_ever() {
        let mut patience = Patience::new(Duration::MAX);
        patience.ask(Duration::MAX);
        patience.extend();
        assert!(patience.elapsed() < Duration::from_secs(3600));
        assert!(patience.deadline > Instant::now() + Duration::from_secs(3600));
    }
}
