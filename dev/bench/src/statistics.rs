//! Summaries of many measurements.
use std::time::Duration;

/// The smallest measured value that at least a `share` of all values do not exceed: 0.5 is the median. NaN of no values.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let nearest = (share * sorted.len() as f64).ceil().max(1.0) as usize - 1;
    sorted.get(nearest.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// One figure from several rounds: the median, and the range of the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

impl Summary {
    pub(crate) fn of(values: &[f64]) -> Self {
        let [median, lowest, highest] = [0.5, 0.0, 1.0].map(|share| quantile(values, share));
        Self { median, lowest, highest }
    }

    /// The same in another unit.
    pub(crate) fn times(self, factor: f64) -> Self {
        let Self { median, lowest, highest } = self;
        Self { median: median * factor, lowest: lowest * factor, highest: highest * factor }
    }
}

/// A duration in milliseconds, the unit of every latency here.
pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The number with three significant digits, or with every digit before the point where there are more.
pub(crate) fn short(value: f64) -> String {
    let decimals = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        let quantiles = [0.0, 0.2, 0.21, 0.5, 0.99, 1.0].map(|share| quantile(&values, share));
        assert_eq!(quantiles, [1.0, 1.0, 2.0, 3.0, 5.0, 5.0]);
        assert_eq!(quantile(&[1.0, 2.0], 0.5), 1.0);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn a_summary_has_the_median_and_the_range() {
        let summary = Summary::of(&[3.0, 9.0, 4.0]);
        assert_eq!(summary, Summary { median: 4.0, lowest: 3.0, highest: 9.0 });
        assert_eq!(summary.times(2.0), Summary { median: 8.0, lowest: 6.0, highest: 18.0 });
    }

    #[test]
    fn a_short_number_has_three_significant_digits() {
        assert_eq!([0.0512, 1.234, 12.34, 1234.5].map(short), ["0.051", "1.23", "12.3", "1234"]);
    }
}
