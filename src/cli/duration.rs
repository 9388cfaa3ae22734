//! Durations on the command line, written as in the configuration: `50ms`, `30s`, `5m`.

use std::time::Duration;

/// Reads `text` as a number and a unit: `us`, `ms`, `s`, `m` or `h`. The error is for the person who typed it.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds_per_unit = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "" => return Err(format!("`{text}` has no unit: write `{text}s` or `{text}ms`")),
        _ => return Err(format!("unknown unit `{unit}`: write `us`, `ms`, `s`, `m` or `h`")),
    };
    let number: f64 =
        number.parse().map_err(|_| format!("`{text}` is not a duration: write one like `500ms` or `30s`"))?;
    Duration::try_from_secs_f64(number * seconds_per_unit).map_err(|_| format!("`{text}` is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_number_and_a_unit() {
        assert_eq!(parse_duration("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("250us"), Ok(Duration::from_micros(250)));
    }

    #[test]
    fn says_what_to_write_instead() {
        assert_eq!(parse_duration("30"), Err("`30` has no unit: write `30s` or `30ms`".to_owned()));
        assert!(parse_duration("3 days").unwrap_err().contains("unknown unit"));
        assert!(parse_duration("s").unwrap_err().contains("is not a duration"));
        assert!(parse_duration("99999999999999999999h").unwrap_err().contains("too long"));
    }
}
