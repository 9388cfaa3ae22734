//! Histograms: how many of the numbers that were observed fall into which bucket.

use parking_lot::Mutex;

/// Counts what is observed in buckets. That of `prometheus_client` can be written as Prometheus' text and not be read, and what it
/// has counted is also sent by OTLP.
#[derive(Debug)]
pub struct Histogram(Mutex<HistogramCounts>);

/// What a histogram has counted.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramCounts {
    /// The upper bound of each bucket, itself included, and what is in it and in none before. The last has no bound: it is infinite.
    pub buckets: Vec<(f64, u64)>,
    /// The sum of all that was observed.
    pub sum: f64,
}

impl Histogram {
    /// One that has counted nothing; the bounds ascend and are finite.
    pub fn new(bounds: impl IntoIterator<Item = f64>) -> Self {
        let buckets = bounds.into_iter().chain([f64::INFINITY]).map(|bound| (bound, 0)).collect();
        Self(Mutex::new(HistogramCounts { buckets, sum: 0.0 }))
    }

    /// Counts a number.
    pub fn observe(&self, number: f64) {
        let mut counts = self.0.lock();
        counts.sum += number;
        let bucket = counts.buckets.partition_point(|(bound, _)| *bound < number);
        counts.buckets[bucket].1 += 1;
    }

    /// What it has counted.
    pub fn counts(&self) -> HistogramCounts {
        self.0.lock().clone()
    }
}

impl HistogramCounts {
    /// How many were observed.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::new([0.5, 2.0]);
        for number in [0.0, 0.5, 0.6, 2.0, 2.1, 1e300] {
            histogram.observe(number);
        }
        let counts = histogram.counts();
        assert_eq!(counts.buckets, [(0.5, 2), (2.0, 2), (f64::INFINITY, 2)]);
        assert_eq!((counts.count(), counts.sum), (6, 1e300));
    }
}
