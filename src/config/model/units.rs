//! Durations, sizes, amounts of memory and file modes as people write them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use serde::{Deserialize, Deserializer, de::Error as _};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::utc::rfc3339;

/// A time span: `50ms`, `30s`, `1h30m`, `0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Duration(pub(crate) std::time::Duration);

/// Bytes: `524288`, `512KiB`, `10MB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ByteSize(pub(crate) u64);

/// Bytes a second: `10MiB/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteRate(pub(crate) u64);

/// A moment, as RFC 3339 writes it: `2026-12-01T00:00:00Z`, `2026-12-01T00:00:00+01:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timestamp(pub(crate) SystemTime);

/// Bytes, or a share of the memory there is: `512MiB`, `60%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    Bytes(u64),
    Percent(u8),
}

/// `queue_size`: what a bare number counts depends on `sizer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueueSize {
    Bare(u64),
    Bytes(u64),
}

/// When what is written to the journal is made safe against a power cut: `always`, `100ms`, `never`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum JournalSync {
    #[default]
    Always,
    Every(Duration),
    Never,
}

/// Who may read and write a file that is made: `0600`, `0640`. Its owner may always do both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileMode(pub(crate) u32);

/// Nothing here waits longer; it also keeps sums of durations from overflowing.
const LONGEST: std::time::Duration = std::time::Duration::from_secs(8760 * 3600);

const DURATION_UNITS: [(&str, f64); 8] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("μs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

const SIZE_UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];

impl Duration {
    pub(crate) const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    pub(crate) const fn from_millis(millis: u64) -> Self {
        Self(std::time::Duration::from_millis(millis))
    }

    /// As a deadline, of which zero means none, as in the Collector: then it is longer than anything lasts.
    pub(crate) const fn or_longest(self) -> std::time::Duration {
        if self.0.is_zero() { LONGEST } else { self.0 }
    }
}

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "write a duration such as `50ms`, `30s`, `5m` or `1h30m`";
        if text == "0" {
            return Ok(Self(std::time::Duration::ZERO));
        }
        let mut seconds = 0.0;
        let mut rest = text;
        while !rest.is_empty() {
            let (number, unit, after) = split(rest).ok_or(EXPECTED)?;
            if unit.is_empty() {
                return Err(format!(
                    "it has no unit: write `{number}s` for seconds or `{number}ms` for milliseconds"
                ));
            }
            let (_, scale) = DURATION_UNITS.iter().find(|(name, _)| *name == unit).ok_or(EXPECTED)?;
            seconds += number.parse::<f64>().map_err(|_| EXPECTED)? * scale;
            rest = after;
        }
        if text.is_empty() {
            return Err(EXPECTED.into());
        }
        std::time::Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|duration| *duration <= LONGEST)
            .map(Self)
            .ok_or_else(|| "it is longer than a year".into())
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        match (seconds, nanos) {
            (_, 1..) if nanos.is_multiple_of(1_000_000) => write!(f, "{}ms", self.0.as_millis()),
            (_, 1..) => write!(f, "{}ns", self.0.as_nanos()),
            (1.., 0) if seconds.is_multiple_of(3600) => write!(f, "{}h", seconds / 3600),
            (1.., 0) if seconds.is_multiple_of(60) => write!(f, "{}m", seconds / 60),
            (_, 0) => write!(f, "{seconds}s"),
        }
    }
}

/// A boolean of YAML 1.2. The other ones of YAML 1.1, such as `yes`, are text for a Collector as well.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// An integer as YAML 1.1 and the core schema of YAML 1.2 write it: decimal, `0x1F`, `0o17`, `0b101`, each with `_`
/// wherever YAML 1.1 has it: between the digits, after them, and after the `0x`. `017` is octal, as in YAML 1.1 and so for a
/// Collector; `089` can't be, and is decimal. A number in base 60, which YAML 1.1 has as well, is [`sexagesimal`].
pub(crate) fn integer(text: &str) -> Option<i128> {
    let (negative, unsigned) = match text.strip_prefix(['+', '-']) {
        Some(unsigned) => (text.starts_with('-'), unsigned),
        None => (false, text),
    };
    let in_radix = |digits: &str, radix: u32| {
        let digits = digits.replace('_', "");
        // A sign may only stand before all.
        digits.chars().all(|char| char.is_digit(radix)).then(|| i128::from_str_radix(&digits, radix).ok())?
    };
    let number = if let Some(digits) = unsigned.strip_prefix("0x") {
        in_radix(digits, 16)
    } else if let Some(digits) = unsigned.strip_prefix("0o") {
        in_radix(digits, 8)
    } else if let Some(digits) = unsigned.strip_prefix("0b") {
        in_radix(digits, 2)
    } else if unsigned.starts_with('0') {
        in_radix(unsigned, 8).or_else(|| in_radix(unsigned, 10))
    } else if unsigned.starts_with('_') {
        None
    } else {
        in_radix(unsigned, 10)
    }?;
    Some(if negative { -number } else { number })
}

/// What YAML 1.1 reads `190:20:30` as, a number in base 60. Neither YAML 1.2 nor a Collector does, so that it is text; but who
/// wrote it can be told the number.
pub(crate) fn sexagesimal(text: &str) -> Option<i128> {
    let (negative, unsigned) = match text.strip_prefix(['+', '-']) {
        Some(unsigned) => (text.starts_with('-'), unsigned),
        None => (false, text),
    };
    let (first, rest) = unsigned.split_once(':')?;
    let is_number = |digits: &str| {
        digits.starts_with(|char: char| char.is_ascii_digit())
            && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
    };
    let mut number: i128 = is_number(first).then(|| first.replace('_', "").parse().ok())??;
    for digits in rest.split(':') {
        let is_place = matches!(digits.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9']);
        let place: i128 = is_place.then(|| digits.parse().ok())??;
        number = number.checked_mul(60)?.checked_add(place)?;
    }
    Some(if negative { -number } else { number })
}

/// What to write instead of a number in base 60.
pub(crate) fn instead_of_sexagesimal(text: &str) -> Option<String> {
    let number = sexagesimal(text)?;
    Some(format!("in YAML 1.1, numbers with `:` are in base 60; if that is meant, write `{number}`"))
}

/// The octal number that this is, and the decimal one that it is for readers of YAML 1.2, where they differ.
pub(crate) fn octal_or_decimal(text: &str) -> Option<(i128, i128)> {
    let digits = text.trim_start_matches(['+', '-']);
    if !digits.starts_with('0') || !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_') {
        return None;
    }
    let octal = integer(text)?;
    let decimal = text.replace('_', "").parse().ok()?;
    (octal != decimal).then_some((octal, decimal))
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "write a size such as `524288`, `512KiB`, `10MB` or `1GiB`";
        if let Some(bytes) = integer(text) {
            return u64::try_from(bytes).map(Self).map_err(|_| EXPECTED.to_owned());
        }
        if let Some(instead) = instead_of_sexagesimal(text) {
            return Err(instead);
        }
        let text = &without_underscores(text);
        let (number, unit, rest) = split(text).ok_or(EXPECTED)?;
        if !rest.is_empty() {
            return Err(EXPECTED.into());
        }
        let (_, scale) =
            SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or(EXPECTED)?;
        let bytes = match number.parse::<u64>() {
            Ok(whole) => whole.checked_mul(*scale),
            Err(_) => number
                .parse::<f64>()
                .ok()
                .map(|number| number * *scale as f64)
                .filter(|bytes| *bytes < 9e18)
                .map(|bytes| bytes as u64),
        };
        bytes.map(Self).ok_or_else(|| EXPECTED.into())
    }
}

/// The digits of a number with a unit without the `_` between them.
fn without_underscores(text: &str) -> String {
    let between = |at: usize| {
        let is_digit = |at: Option<usize>| {
            at.and_then(|at| text.as_bytes().get(at))
                .is_some_and(|byte| byte.is_ascii_digit() || *byte == b'_')
        };
        is_digit(at.checked_sub(1)) && is_digit(Some(at + 1))
    };
    text.char_indices().filter(|(at, char)| *char != '_' || !between(*at)).map(|(_, char)| char).collect()
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(_, scale): &&(&str, u64)| {
            scale.is_power_of_two() && self.0 >= *scale && self.0.is_multiple_of(*scale)
        };
        match SIZE_UNITS.iter().rev().find(whole) {
            Some((unit, scale)) if *scale > 1 => write!(f, "{}{unit}", self.0 / scale),
            _ => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(percent) = text.strip_suffix('%') else {
            return text.parse().map(|ByteSize(bytes)| Self::Bytes(bytes)).map_err(|_| {
                instead_of_sexagesimal(text)
                    .unwrap_or_else(|| "write a size such as `512MiB`, or a share such as `60%`".to_owned())
            });
        };
        match percent.trim().parse() {
            Ok(percent @ 1..=100) => Ok(Self::Percent(percent)),
            _ => Err("write a share from `1%` to `100%`".into()),
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => ByteSize(*bytes).fmt(f),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for QueueSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match integer(text).map(u64::try_from) {
            Some(Ok(bare)) => Ok(Self::Bare(bare)),
            _ => text.parse().map(|ByteSize(bytes)| Self::Bytes(bytes)).map_err(|_| {
                instead_of_sexagesimal(text)
                    .unwrap_or_else(|| "write a size such as `16MiB`, or a number of requests".to_owned())
            }),
        }
    }
}

impl fmt::Display for QueueSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bare(number) => number.fmt(f),
            Self::Bytes(bytes) => ByteSize(*bytes).fmt(f),
        }
    }
}

impl FromStr for JournalSync {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse::<Duration>()) {
            ("always", _) => Ok(Self::Always),
            ("never", _) => Ok(Self::Never),
            (_, Ok(every)) if !every.0.is_zero() => Ok(Self::Every(every)),
            _ => Err("write `always`, `never`, or a duration such as `100ms`".into()),
        }
    }
}

impl fmt::Display for JournalSync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::Every(every) => every.fmt(f),
            Self::Never => f.write_str("never"),
        }
    }
}

impl FromStr for FileMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "write an octal mode such as `0640`: 6 for the owner, then 0, 2, 4 or 6 for the group and for all others";
        // YAML 1.2 writes octal numbers as `0o640`.
        let digits = text.strip_prefix("0o").unwrap_or(text);
        let digits = if digits.len() == 4 { digits.strip_prefix('0') } else { Some(digits) };
        let digits =
            digits.filter(|digits| digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit()));
        let mode = digits.and_then(|digits| u32::from_str_radix(digits, 8).ok());
        // Sluice reads what it continues, and nothing that senders write should be a program.
        mode.filter(|mode| mode & 0o711 == 0o600).map(Self).ok_or_else(|| EXPECTED.into())
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl FromStr for ByteRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size = text.strip_suffix("/s").and_then(|size| size.trim_end().parse().ok());
        size.map(|ByteSize(bytes)| Self(bytes))
            .ok_or_else(|| "write bytes a second, such as `10MiB/s`".into())
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", ByteSize(self.0))
    }
}

impl FromStr for Timestamp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let moment = OffsetDateTime::parse(text, &Rfc3339);
        moment
            .map(|moment| Self(moment.into()))
            .map_err(|_| "write a moment such as `2026-12-01T00:00:00Z`".into())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&rfc3339(self.0))
    }
}

/// A leading decimal number, the letters after it, and what follows.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let digits = text.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let rest = rest.trim_start();
    let letters = rest.find(|char: char| !char.is_alphabetic()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(letters);
    (number.starts_with(|char: char| char.is_ascii_digit())).then_some((number, unit, rest))
}

/// Reads the type as text, and gives it a schema of this name, whose `format` says what it is, in which a default is written as text.
macro_rules! as_text {
    ($type:ident, $name:literal, $format:literal, $what:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }

        #[cfg(test)]
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        #[cfg(test)]
        impl schemars::JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": ["string", "integer"], "format": $format, "description": $what })
            }
        }
    };
}

as_text!(Duration, "Duration", "duration", "A duration such as `50ms`, `30s`, `5m` or `1h30m`.");
as_text!(ByteSize, "Size", "size", "Bytes, such as `524288`, `512KiB`, `10MB` or `1GiB`.");
as_text!(Memory, "Memory", "memory", "Bytes such as `512MiB`, or a share such as `60%`.");
as_text!(JournalSync, "JournalSync", "sync policy", "`always`, `never`, or a duration such as `100ms`.");
as_text!(QueueSize, "QueueSize", "queue size", "Bytes such as `16MiB`, or a number.");
as_text!(ByteRate, "ByteRate", "rate", "Bytes a second, such as `10MiB/s`.");
as_text!(Timestamp, "Timestamp", "moment", "A moment such as `2026-12-01T00:00:00Z`.");
as_text!(FileMode, "FileMode", "file mode", "Octal digits such as `0640`.");

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(text: &str) -> Option<u128> {
        text.parse::<Duration>().ok().map(|duration| duration.0.as_millis())
    }

    #[test]
    fn durations_are_the_collectors() {
        assert_eq!(millis("50ms"), Some(50));
        assert_eq!(millis("1h30m"), Some(5_400_000));
        assert_eq!(millis("1.5s"), Some(1500));
        assert_eq!(millis("0"), Some(0));
        assert_eq!(millis("0s"), Some(0));
        for wrong in ["", "5", "-1s", "s", "1d", "1e3s", "1s5", "9999999999999h", "1..s", "nan", "∞s", "５s"]
        {
            assert_eq!(millis(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_duration_without_a_unit_says_what_to_write() {
        let error = "30".parse::<Duration>().unwrap_err();
        assert_eq!(error, "it has no unit: write `30s` for seconds or `30ms` for milliseconds");
    }

    #[test]
    fn sizes_are_decimal_and_binary() {
        let bytes = |text: &str| text.parse::<ByteSize>().ok().map(|size| size.0);
        assert_eq!(bytes("524288"), Some(524_288));
        assert_eq!(bytes("512KiB"), Some(524_288));
        assert_eq!(bytes("10MB"), Some(10_000_000));
        assert_eq!(bytes("1.5GiB"), Some(3 << 29));
        assert_eq!(bytes("64 mib"), Some(64 << 20));
        for wrong in
            ["", "-1", "1X", "1KiB2", "99999999999999999999", "18446744073709551615TiB", "MiB", "1e30GiB"]
        {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn integers_are_those_of_yaml() {
        for (text, number) in [
            ("0", 0),
            ("4_000_000", 4_000_000),
            ("+5", 5),
            ("-1_0", -10),
            ("0x1F", 31),
            ("0xff_ff", 65_535),
            ("0o17", 15),
            ("0b1010", 10),
            ("010", 8),
            ("0_10", 8),
            ("089", 89),
            ("00", 0),
            ("1_", 1),
            ("4_000_000_", 4_000_000),
            ("1__0", 10),
            ("0x_3D", 61),
            ("-0x_3D_", -61),
            ("0b_1010_0111_0100_1010_1110", 685_230),
            ("0_", 0),
            ("02472256_", 685_230),
            ("089_", 89),
        ] {
            assert_eq!(integer(text), Some(number), "{text}");
        }
        for text in [
            "", "_", "_1", "+_1", "0x", "0x_", "0b__", "0o8", "0b2", "1e3", "1.0", "five", "+", "--1",
            "0x-1", "1+", "0X1F", "1:30",
        ] {
            assert_eq!(integer(text), None, "{text}");
        }
        assert_eq!(octal_or_decimal("010"), Some((8, 10)));
        assert_eq!(octal_or_decimal("-017"), Some((-15, -17)));
        for text in ["0", "07", "089", "0o10", "10", "0x10"] {
            assert_eq!(octal_or_decimal(text), None, "{text}");
        }
    }

    #[test]
    fn a_number_in_base_60_is_no_integer_and_the_number_is_told() {
        for (text, number) in [
            ("190:20:30", 685_230),
            ("1:30", 90),
            ("-1:30", -90),
            ("+1:0", 60),
            ("1_0:00", 600),
            ("0:59", 59),
        ] {
            assert_eq!((sexagesimal(text), integer(text)), (Some(number), None), "{text}");
        }
        for text in [
            "",
            ":",
            "1:",
            ":1",
            "1:60",
            "1:+5",
            "1:123",
            "1:2:",
            "1:2.5",
            "a:1",
            "_:1",
            "1",
            "::1",
            "localhost:80",
        ] {
            assert_eq!(sexagesimal(text), None, "{text}");
        }
        let told = "190:20:30".parse::<ByteSize>().unwrap_err();
        assert_eq!(told, "in YAML 1.1, numbers with `:` are in base 60; if that is meant, write `685230`");
        assert_eq!("190:20:30".parse::<Memory>(), Err(told.clone()));
        assert_eq!("190:20:30".parse::<QueueSize>(), Err(told));
    }

    #[test]
    fn sizes_take_every_integer_and_underscores_before_a_unit() {
        let bytes = |text: &str| text.parse::<ByteSize>().ok().map(|size| size.0);
        assert_eq!(bytes("4_000_000"), Some(4_000_000));
        assert_eq!(bytes("0x80000"), Some(524_288));
        assert_eq!(bytes("1_000KiB"), Some(1_024_000));
        assert_eq!(bytes("-5"), None);
        assert_eq!(bytes("_5KiB"), None);
        assert_eq!("1_000".parse(), Ok(QueueSize::Bare(1000)));
        assert_eq!("1_0MiB".parse(), Ok(QueueSize::Bytes(10 << 20)));
        assert_eq!("0x100000".parse(), Ok(Memory::Bytes(1 << 20)));
    }

    #[test]
    fn what_is_displayed_parses_as_the_same() {
        for text in ["50ms", "30s", "5m", "1h", "90s", "0s", "1500ns"] {
            assert_eq!(text.parse::<Duration>().unwrap().to_string(), text);
        }
        for text in ["512KiB", "16MiB", "10GiB", "1", "1000"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn file_modes_are_octal_and_let_their_owner_read_and_write() {
        let mode = |text: &str| text.parse::<FileMode>().ok().map(|mode| mode.0);
        for (text, bits) in [
            ("0600", 0o600),
            ("600", 0o600),
            ("0640", 0o640),
            ("0o640", 0o640),
            ("0o0640", 0o640),
            ("664", 0o664),
            ("0666", 0o666),
            ("0620", 0o620),
        ] {
            assert_eq!(mode(text), Some(bits), "{text}");
            assert_eq!(mode(&FileMode(bits).to_string()), Some(bits), "{text}");
        }
        for wrong in [
            "",
            "0",
            "60",
            "00600",
            "0000",
            "0400",
            "0200",
            "0040",
            "0700",
            "0755",
            "0641",
            "0680",
            "0698",
            "1600",
            "4600",
            "6000",
            "-600",
            "+600",
            "0x180",
            "416",
            "rw-------",
            "u=rw",
            "0640 ",
            "６００",
        ] {
            assert_eq!(mode(wrong), None, "{wrong}");
        }
        assert!("0400".parse::<FileMode>().unwrap_err().contains("6 for the owner"));
    }

    #[test]
    fn memory_is_bytes_or_a_share() {
        assert_eq!("60%".parse(), Ok(Memory::Percent(60)));
        assert_eq!("512MiB".parse(), Ok(Memory::Bytes(512 << 20)));
        assert!("0%".parse::<Memory>().is_err());
        assert!("101%".parse::<Memory>().is_err());
    }

    #[test]
    fn rates_are_sizes_a_second() {
        let rate = |text: &str| text.parse::<ByteRate>().ok().map(|rate| rate.0);
        assert_eq!(rate("10MiB/s"), Some(10 << 20));
        assert_eq!(rate("1.5 kB/s"), Some(1500));
        assert_eq!(rate("500/s"), Some(500));
        for wrong in ["", "/s", "10MiB", "10MiB/m", "10/s/s", "-1/s", "10MiB/ s"] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn moments_are_those_of_rfc_3339() {
        let seconds = |text: &str| {
            let Timestamp(moment) = text.parse().ok()?;
            moment.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
        };
        assert_eq!(seconds("1970-01-02T00:00:00Z"), Some(86_400));
        assert_eq!(seconds("1970-01-02T01:00:00+01:00"), Some(86_400));
        assert_eq!(seconds("2026-12-01T00:00:00.5Z"), Some(1_796_083_200));
        assert_eq!(
            "0000-01-01T00:00:00Z".parse::<Timestamp>().map(|moment| moment.to_string().len()),
            Ok(24)
        );
        for wrong in
            ["", "2026-12-01", "2026-12-01T00:00:00", "2026-13-01T00:00:00Z", "tomorrow", "1796083200"]
        {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
