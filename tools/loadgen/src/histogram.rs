//! Latencies in buckets of equal relative width.

use std::time::Duration;

/// Buckets for each power of two: a value is known to 1/64.
const PER_DOUBLING: u64 = 64;
const BUCKETS: usize = 59 * PER_DOUBLING as usize + PER_DOUBLING as usize;

/// Counts durations; its size does not depend on how many. Durations are known to better than 2 %.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
        }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
    }

    /// Adds what another one has counted.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The duration that `per_mille` thousandths of all do not exceed; zero when none was counted.
    pub fn quantile(&self, per_mille: u64) -> Duration {
        let rank = (self.total * per_mille.min(1000)).div_ceil(1000).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(highest(bucket));
            }
        }
        Duration::ZERO
    }
}

fn bucket(value: u64) -> usize {
    let shift = (u64::BITS - (value | 1).leading_zeros()).saturating_sub(PER_DOUBLING.ilog2() + 1);
    let bucket = u64::from(shift) * PER_DOUBLING + (value >> shift);
    usize::try_from(bucket).unwrap_or(usize::MAX).min(BUCKETS - 1)
}

/// The largest value of a bucket.
fn highest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / PER_DOUBLING).saturating_sub(1);
    let lowest = (bucket - shift * PER_DOUBLING) << shift;
    lowest + ((1u64 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_a_bucket_that_is_at_most_two_percent_above_it() {
        for value in (0..5000).chain((12..63).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + (1 << (bit - 3))]))
        {
            let high = highest(bucket(value));
            assert!(high >= value, "{value}: {high}");
            assert!((high - value) as f64 <= value as f64 / 63.0, "{value}: {high}");
        }
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        for index in 1..BUCKETS - 64 {
            assert_eq!(bucket(highest(index - 1) + 1), index);
        }
    }

    #[test]
    fn quantiles_of_a_known_set() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(500), Duration::ZERO);
        for millis in 1..=1000 {
            histogram.record(Duration::from_millis(millis));
        }
        let near = |per_mille, expected: f64| {
            let found = histogram.quantile(per_mille).as_secs_f64() * 1000.0;
            assert!((found / expected - 1.0).abs() < 0.02, "{per_mille}: {found}");
        };
        near(500, 500.0);
        near(990, 990.0);
        near(1000, 1000.0);
        near(0, 1.0);
    }

    #[test]
    fn two_histograms_add_up() {
        let (mut a, mut b) = (Histogram::default(), Histogram::default());
        a.record(Duration::from_micros(10));
        b.record(Duration::from_micros(1000));
        a.add(&b);
        assert_eq!(a.count(), 2);
        assert!(a.quantile(1000) >= Duration::from_micros(1000));
    }
}
