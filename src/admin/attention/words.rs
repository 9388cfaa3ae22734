//! Times and sizes in words.

use std::time::{Duration, SystemTime};

/// A text with a full stop, unless it has one.
pub(super) fn ended(text: &str) -> String {
    let text = text.trim_end();
    let stop = if text.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{text}{stop}")
}

/// A count with its noun in singular or plural.
pub(super) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// The age of a moment.
pub(super) fn ago(since: SystemTime) -> String {
    time(SystemTime::now().duration_since(since).unwrap_or_default())
}

/// A duration, in the largest unit of which it has at least two.
pub(super) fn time(length: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match length.as_secs() {
        seconds if seconds >= 2 * DAY => format!("{} days", seconds / DAY),
        seconds if seconds >= 2 * HOUR => format!("{} h", seconds / HOUR),
        seconds if seconds >= 2 * MINUTE => format!("{} min", seconds / MINUTE),
        seconds => format!("{seconds} s"),
    }
}

/// Bytes, to two or three digits.
pub(super) fn size(bytes: u64) -> String {
    let units = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    let Some((unit, name)) = units.into_iter().find(|(unit, _)| bytes >= *unit) else {
        return format!("{bytes} bytes");
    };
    let value = bytes as f64 / unit as f64;
    if value < 10.0 { format!("{value:.1} {name}") } else { format!("{value:.0} {name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_has_one_end() {
        for (text, sentence) in
            [("it is wrong", "it is wrong."), ("did you mean `x`?", "did you mean `x`?"), ("so.", "so.")]
        {
            assert_eq!(ended(text), sentence);
        }
    }

    #[test]
    fn times_and_sizes_are_as_people_say_them() {
        for (seconds, text) in
            [(0, "0 s"), (119, "119 s"), (120, "2 min"), (719, "11 min"), (7200, "2 h"), (172_800, "2 days")]
        {
            assert_eq!(time(Duration::from_secs(seconds)), text);
        }
        for (bytes, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (3_100_000, "3.1 MB"),
            (512 << 20, "537 MB"),
            (10_000, "10 kB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
