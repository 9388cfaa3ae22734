//! The bounds that values are compared with.

use std::fmt;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::field::QueryField;
use otlp::Signal;

/// A value that others are compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum QueryBound {
    /// A finite number.
    Number(f64),
    /// Nanoseconds since 1970.
    Time(u64),
    /// Nanoseconds.
    Duration(u64),
    /// A level.
    SeverityLevel(SeverityLevel),
    /// A signal.
    Signal(Signal),
}

/// The severity of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SeverityLevel {
    /// Severity numbers 1 to 4.
    Trace,
    /// 5 to 8.
    Debug,
    /// 9 to 12.
    Info,
    /// 13 to 16.
    Warn,
    /// 17 to 20; spans that have failed.
    Error,
    /// 21 to 24.
    Fatal,
}

impl SeverityLevel {
    /// In their order.
    const ALL: [Self; 6] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal];

    /// The name of the level.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }

    /// The level of a severity number.
    fn of_number(number: u64) -> Option<Self> {
        let step = usize::try_from(number).ok()?.checked_sub(1)? / 4;
        Self::ALL.get(step).copied()
    }

    /// The level that a word is, as loggers write it.
    pub(super) fn of_word(word: &str) -> Option<Self> {
        const WORDS: [(&str, SeverityLevel); 17] = [
            ("trace", SeverityLevel::Trace),
            ("verbose", SeverityLevel::Trace),
            ("debug", SeverityLevel::Debug),
            ("info", SeverityLevel::Info),
            ("information", SeverityLevel::Info),
            ("notice", SeverityLevel::Info),
            ("warn", SeverityLevel::Warn),
            ("warning", SeverityLevel::Warn),
            ("error", SeverityLevel::Error),
            ("err", SeverityLevel::Error),
            ("fatal", SeverityLevel::Fatal),
            ("critical", SeverityLevel::Fatal),
            ("crit", SeverityLevel::Fatal),
            ("alert", SeverityLevel::Fatal),
            ("panic", SeverityLevel::Fatal),
            ("emergency", SeverityLevel::Fatal),
            ("emerg", SeverityLevel::Fatal),
        ];
        WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, level)| *level)
    }

    /// The level of a log record: by its number, or where it has none by its text.
    pub(crate) fn of_log(number: u64, text: &str) -> Option<Self> {
        if number == 0 { Self::of_word(text.trim()) } else { Self::of_number(number) }
    }
}

/// The hint what to write for a level.
const LEVELS: &str = "write trace, debug, info, warn, error or fatal";

/// The bound that a text is for a field; or what to write. That does not repeat the text, which may be a secret.
pub(super) fn read(field: &QueryField, text: &str) -> Result<QueryBound, String> {
    match field {
        QueryField::SeverityLevel => {
            let level = SeverityLevel::of_word(text).map(QueryBound::SeverityLevel);
            level.ok_or_else(|| format!("this is not a level: {LEVELS}"))
        }
        QueryField::Signal => {
            let signal = Signal::ALL.into_iter().find(|signal| signal.name() == text).map(QueryBound::Signal);
            signal.ok_or_else(|| "this is not a signal: write traces, metrics or logs".to_owned())
        }
        QueryField::Time => time(text).map(QueryBound::Time).ok_or_else(|| {
            "this is not a time: write a day such as 2026-03-27, or a time such as 2026-03-27T08:30:00Z"
                .to_owned()
        }),
        QueryField::Duration => duration(text)
            .map(QueryBound::Duration)
            .ok_or_else(|| "this is not a duration: write one such as 500ms, 2s or 1m".to_owned()),
        _ => {
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
            number
                .map(QueryBound::Number)
                .ok_or_else(|| "this is not a number: write one such as 500 or 0.5".to_owned())
        }
    }
}

/// RFC 3339, of which the zone, the seconds or the time of day may be missing.
pub fn time(text: &str) -> Option<u64> {
    let whole = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        _ if text.ends_with(['Z', 'z']) || text.get(19..)?.contains(['+', '-']) => text.to_owned(),
        _ => format!("{text}Z"),
    };
    let time = OffsetDateTime::parse(&whole, &Rfc3339).ok()?;
    u64::try_from(time.unix_timestamp_nanos()).ok()
}

/// Units of durations in nanoseconds, the longest first.
const UNITS: [(&str, u64); 7] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("ns", 1),
];

fn duration(text: &str) -> Option<u64> {
    let unit = text.find(|char: char| !char.is_ascii_digit() && char != '.')?;
    let (number, unit) = text.split_at(unit);
    let (_, factor) = UNITS.iter().find(|(known, _)| *known == unit)?;
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(*factor);
    }
    let nanos = number.parse::<f64>().ok()? * *factor as f64;
    (nanos <= u64::MAX as f64).then_some(nanos.round() as u64)
}

impl fmt::Display for QueryBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Time(nanos) => f.write_str(&rfc3339(*nanos)),
            Self::Duration(nanos) => {
                let fits = |(_, factor): &&(&str, u64)| nanos.is_multiple_of(*factor);
                let (unit, factor) = UNITS.iter().find(fits).unwrap_or(&("ns", 1));
                write!(f, "{}{unit}", nanos / factor)
            }
            Self::SeverityLevel(level) => f.write_str(level.name()),
            Self::Signal(signal) => f.write_str(signal.name()),
        }
    }
}

/// A time in nanoseconds since 1970 as RFC 3339, with as many digits of the second as it has.
pub fn rfc3339(nanos: u64) -> String {
    let Ok(time) = OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanos)) else { return String::new() };
    let (date, clock) = (time.date(), time.time());
    let fraction = match clock.nanosecond() {
        0 => String::new(),
        nanos => format!(".{nanos:09}").trim_end_matches('0').to_owned(),
    };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{fraction}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second()
    )
}
