//! Many durations in little memory.

use std::time::Duration;

/// Durations counted in buckets of a 32nd of their size or finer: a quantile is right to 3 %, the
/// longest exactly.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times {
    buckets: Vec<u64>,
    count: u64,
    longest: Duration,
}

impl Times {
    pub(crate) fn enter(&mut self, time: Duration) {
        let index = bucket(micros(time));
        if self.buckets.len() <= index {
            self.buckets.resize(index + 1, 0);
        }
        self.buckets[index] += 1;
        self.count += 1;
        self.longest = self.longest.max(time);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.buckets
            .resize(self.buckets.len().max(other.buckets.len()), 0);
        for (bucket, count) in self.buckets.iter_mut().zip(&other.buckets) {
            *bucket += count;
        }
        self.count += other.count;
        self.longest = self.longest.max(other.longest);
    }

    /// The time that `hundredths` of all stayed within.
    pub(crate) fn quantile(&self, hundredths: u64) -> Duration {
        let mut left = (self.count * hundredths).div_ceil(100);
        for (index, &count) in self.buckets.iter().enumerate() {
            left = left.saturating_sub(count);
            if left == 0 && count > 0 {
                return Duration::from_micros(highest(index)).min(self.longest);
            }
        }
        self.longest
    }

    pub(crate) fn longest(&self) -> Duration {
        self.longest
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The leading six bits choose the bucket.
fn bucket(micros: u64) -> usize {
    let shift = micros.max(32).ilog2() - 5;
    shift as usize * 32 + (micros >> shift) as usize
}

fn highest(bucket: usize) -> u64 {
    let shift = (bucket / 32).saturating_sub(1);
    let leading = (bucket - shift * 32) as u64;
    ((leading + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        for micros in 1..100_000 {
            let (before, here) = (bucket(micros - 1), bucket(micros));
            assert!(here == before || here == before + 1, "{micros}");
            assert!(
                highest(here) >= micros && highest(here) - micros <= micros / 32,
                "{micros}"
            );
        }
    }

    #[test]
    fn quantiles_are_close_and_the_longest_is_exact() {
        let mut times = Times::default();
        (1..=1000).for_each(|number| times.enter(Duration::from_micros(number * 10)));
        let close = |hundredths: u64| {
            let exact = Duration::from_micros(hundredths * 100);
            let quantile = times.quantile(hundredths);
            assert!(
                quantile >= exact && quantile < exact + exact / 30,
                "{quantile:?}, {exact:?}"
            );
        };
        [1, 50, 99].into_iter().for_each(close);
        assert_eq!(times.quantile(100), Duration::from_millis(10));
        assert_eq!(times.longest(), Duration::from_millis(10));
    }

    #[test]
    fn merged_books_are_as_one() {
        let (mut one, mut other, mut both) = (Times::default(), Times::default(), Times::default());
        for number in 0..500 {
            let time = Duration::from_micros(number * number);
            if number % 3 == 0 {
                &mut one
            } else {
                &mut other
            }
            .enter(time);
            both.enter(time);
        }
        one.merge(&other);
        assert_eq!(
            [50, 99].map(|q| one.quantile(q)),
            [50, 99].map(|q| both.quantile(q))
        );
        assert_eq!(one.longest(), both.longest());
    }

    #[test]
    fn without_times_every_quantile_is_zero() {
        assert_eq!(Times::default().quantile(99), Duration::ZERO);
    }
}
