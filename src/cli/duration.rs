//! Durations on the command line, written as in the configuration: `50ms`, `30s`, `1h30m`, `0`.

use std::time::Duration;

use crate::config;

/// Reads a duration. The error is for the person who typed it.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    config::duration(text).map_err(|reason| format!("`{text}` is not a duration: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_the_configuration() {
        assert_eq!(parse_duration("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
    }

    #[test]
    fn says_what_to_write_instead() {
        let reason = |text: &str| parse_duration(text).unwrap_err();
        assert_eq!(
            reason("30"),
            "`30` is not a duration: it has no unit: write `30s` for seconds or `30ms` for milliseconds"
        );
        for wrong in ["3 days", "s", ""] {
            assert!(reason(wrong).contains("write a duration such as"), "{}", reason(wrong));
        }
        assert!(reason("99999999999999999999h").contains("longer than a year"));
    }
}
