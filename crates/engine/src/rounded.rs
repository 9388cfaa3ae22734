//! Figures as the API and the commands show them: no more places than anybody reads.

use std::time::Duration;

/// To three places behind the point.
pub fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// In seconds, to the millisecond.
pub fn seconds(length: Duration) -> f64 {
    rounded(length.as_secs_f64())
}

/// In milliseconds, to the microsecond.
pub fn millis(length: Duration) -> f64 {
    rounded(length.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_places_at_most() {
        let length = Duration::from_nanos(1_234_567_891);
        assert_eq!(
            (seconds(length).to_string(), millis(length).to_string()),
            ("1.235".to_owned(), "1234.568".to_owned())
        );
        assert_eq!(seconds(Duration::ZERO).to_string(), "0");
    }
}
