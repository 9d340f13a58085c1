//! How long to wait after a crash. No clock in it.

use std::time::Duration;

#[derive(Clone, Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    /// Crashes in a row.
    crashes: u32,
}

impl Backoff {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest: longest.max(first),
            crashes: 0,
        }
    }

    /// A worker crashed that had served for so long; how long to wait.
    pub(super) fn crashed(&mut self, served: Duration) -> Duration {
        if served >= self.longest {
            self.crashes = 0;
        }
        self.crashes = self.crashes.saturating_add(1);
        let factor = 2_u32.saturating_pow(self.crashes - 1);
        self.first.saturating_mul(factor).min(self.longest)
    }

    pub(super) fn crashes(&self) -> u32 {
        self.crashes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_a_worker_that_served() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(1000));
        let row: Vec<_> = (0..6).map(|_| backoff.crashed(ms(999))).collect();
        assert_eq!(row, [100, 200, 400, 800, 1000, 1000].map(ms));
        assert_eq!(backoff.crashes(), 6);
        assert_eq!(backoff.crashed(ms(1000)), ms(100));
        assert_eq!(backoff.crashes(), 1);
        for _ in 0..100 {
            assert!(backoff.crashed(ms(0)) <= ms(1000));
        }
    }

    #[test]
    fn no_number_is_too_large() {
        let mut backoff = Backoff::new(Duration::MAX, Duration::ZERO);
        assert_eq!(backoff.crashed(Duration::MAX), Duration::MAX);
        assert_eq!(backoff.crashed(Duration::ZERO), Duration::MAX);
    }
}
