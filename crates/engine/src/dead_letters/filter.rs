//! The conditions that select dead letters, by the names that the API and `sluice replay` take.

use std::fmt;

use thiserror::Error;

use super::stored::StoredDeadLetter;
use crate::route::Values as _;
use crate::utc;
use otlp::Signal;

/// Conditions, all of which a letter has to meet. Without any, every letter does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// The exporter that it is for; empty: none.
    exporter: Option<String>,
    /// The tenant whose it is; empty: nobody's.
    tenant: Option<String>,
    /// A part of the routing key.
    key: Option<String>,
    /// A part of the reason, in lower case.
    reason: Option<String>,
    signal: Option<Signal>,
    /// The first moment, as letters have theirs.
    from: Option<String>,
    /// The first moment that is too late.
    to: Option<String>,
}

/// Why a condition can't be set.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConditionError {
    /// There is no condition of this name.
    #[error("unknown condition `{0}`: there are exporter, tenant, key, reason, signal, from and to")]
    Unknown(String),
    /// Not a signal.
    #[error("`signal` is traces, metrics or logs, not `{0}`")]
    Signal(String),
    /// Not a moment.
    #[error("`{name}` is a moment such as `2026-12-01T00:00:00Z`, not `{value}`")]
    Moment {
        /// The condition.
        name: &'static str,
        /// The value that it was to have.
        value: String,
    },
}

impl DeadLetterFilter {
    /// Sets a condition by its name.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), ConditionError> {
        match name {
            "exporter" => self.exporter = Some(value.to_owned()),
            "tenant" => self.tenant = Some(value.to_owned()),
            // An empty text is a part of every text: no condition.
            "key" => self.key = (!value.is_empty()).then(|| value.to_owned()),
            "reason" => self.reason = (!value.is_empty()).then(|| value.to_lowercase()),
            "signal" => {
                let signal = Signal::from_name(value);
                self.signal = Some(signal.ok_or_else(|| ConditionError::Signal(value.to_owned()))?);
            }
            "from" => self.from = Some(moment("from", value)?),
            "to" => self.to = Some(moment("to", value)?),
            _ => return Err(ConditionError::Unknown(name.to_owned())),
        }
        Ok(())
    }

    /// Whether every letter meets it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a letter whose files are named so, without an ending, may meet it. That is told without opening it.
    pub(super) fn may_take(&self, stem: &str) -> bool {
        let is_of_signal =
            |signal: Signal| stem.rsplit_once('.').is_some_and(|(_, end)| end == signal.name());
        // A letter's place is never before its time.
        let is_late_enough = |from: &str| {
            let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).take(17).collect::<Vec<_>>();
            digits(stem) >= digits(from)
        };
        self.signal.is_none_or(is_of_signal) && self.from.as_deref().is_none_or(is_late_enough)
    }

    /// Whether a letter meets it.
    pub fn takes(&self, letter: &StoredDeadLetter) -> bool {
        let is = |wanted: &Option<String>, value: Option<&str>| {
            wanted.as_ref().is_none_or(|wanted| *wanted == value.unwrap_or_default())
        };
        is(&self.exporter, letter.exporter())
            && is(&self.tenant, letter.tenant())
            && self
                .key
                .as_ref()
                .is_none_or(|part| letter.key().is_some_and(|key| key.text().contains(part.as_str())))
            && self.reason.as_ref().is_none_or(|part| letter.reason().to_lowercase().contains(part.as_str()))
            && self.signal.is_none_or(|signal| signal == letter.signal())
            && self.from.as_ref().is_none_or(|from| letter.time() >= from.as_str())
            && self.to.as_ref().is_none_or(|to| letter.time() < to.as_str())
    }
}

/// The conditions, for the log.
impl fmt::Display for DeadLetterFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { exporter, tenant, key, reason, signal, from, to } = self;
        let signal = signal.map(|signal| signal.name().to_owned());
        let conditions = [
            ("exporter", exporter),
            ("tenant", tenant),
            ("key", key),
            ("reason", reason),
            ("signal", &signal),
            ("from", from),
            ("to", to),
        ];
        let set = conditions.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        for (nth, (name, value)) in set.enumerate() {
            let separator = if nth > 0 { ", " } else { "" };
            write!(f, "{separator}{name}: {value:?}")?;
        }
        Ok(())
    }
}

/// A moment as letters have theirs.
fn moment(name: &'static str, value: &str) -> Result<String, ConditionError> {
    let moment = utc::parse_rfc3339(value);
    moment.map(utc::rfc3339).ok_or_else(|| ConditionError::Moment { name, value: value.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use bytes::Bytes;
    use tempfile::TempDir;

    use super::super::{DeadLetter, DeadLetterSettings, DeadLetters, letters};
    use super::*;
    use crate::encoding::Encoding;
    use crate::route::RoutingKey;

    fn filter(conditions: &[(&str, &str)]) -> Result<DeadLetterFilter, ConditionError> {
        let mut filter = DeadLetterFilter::default();
        conditions.iter().try_for_each(|(name, value)| filter.set(name, value))?;
        Ok(filter)
    }

    #[tokio::test]
    async fn a_letter_is_taken_if_it_meets_every_condition() {
        let root = TempDir::new().unwrap();
        let settings = DeadLetterSettings { directory: root.path().into(), max_size: 1 << 20, synced: false };
        let dead = DeadLetters::open(&settings).unwrap();
        // 2001-09-09T01:46:40Z and the two seconds behind it.
        let stored = [
            (Some("otlp_http/a"), Some("acme"), "web", Signal::Logs, "400: bad", 0),
            (Some("otlp_http/b"), None, "web-2", Signal::Traces, "Given up", 1),
            (None, None, "db", Signal::Logs, "no route", 2),
        ];
        for (exporter, tenant, key, signal, reason, second) in stored {
            let key = RoutingKey::of(tenant, key, std::iter::empty());
            let letter = DeadLetter {
                exporter: exporter.map(str::to_owned),
                signal,
                encoding: Encoding::Proto,
                key: exporter.map(|_| key),
                origin: None,
                reason: reason.to_owned(),
                records: 1,
                bytes: vec![Bytes::from_static(b"x")],
                time: UNIX_EPOCH + Duration::from_secs(1_000_000_000 + second),
            };
            dead.store(letter).await.unwrap();
        }
        let all = letters(root.path()).unwrap().letters;
        let taken = |conditions: &[(&str, &str)]| -> Vec<usize> {
            let filter = filter(conditions).unwrap();
            let by_name = |letter: &StoredDeadLetter| {
                let stem = letter.path().file_stem().unwrap().to_str().unwrap();
                assert!(filter.may_take(stem) || !filter.takes(letter), "{conditions:?} {stem}");
            };
            all.iter().for_each(by_name);
            (0..all.len()).filter(|at| filter.takes(&all[*at])).collect()
        };
        assert_eq!(taken(&[]), [0, 1, 2]);
        assert_eq!(taken(&[("exporter", "otlp_http/a")]), [0]);
        assert_eq!(taken(&[("exporter", "otlp_http")]), [0_usize; 0], "a name is compared as a whole");
        assert_eq!(taken(&[("exporter", "")]), [2], "those that never had one");
        assert_eq!(taken(&[("tenant", "acme")]), [0]);
        assert_eq!(taken(&[("tenant", "")]), [1, 2]);
        assert_eq!(taken(&[("key", "web")]), [0, 1]);
        assert_eq!(taken(&[("reason", "GIVEN")]), [1], "whatever the case is");
        assert_eq!(taken(&[("signal", "logs")]), [0, 2]);
        assert_eq!(taken(&[("from", "2001-09-09T01:46:41Z")]), [1, 2]);
        assert_eq!(taken(&[("to", "2001-09-09T03:46:41+02:00")]), [0], "the end is not in it");
        assert_eq!(taken(&[("from", "2001-09-09T01:46:40.001Z"), ("signal", "logs")]), [2]);
        assert_eq!(taken(&[("key", "web"), ("reason", "no route")]), [0_usize; 0]);
    }

    #[test]
    fn what_is_no_condition_is_told() {
        let told = |name: &str, value: &str| filter(&[(name, value)]).unwrap_err().to_string();
        assert!(
            told("exporters", "x").starts_with("unknown condition `exporters`: there are exporter, tenant")
        );
        assert_eq!(told("signal", "log"), "`signal` is traces, metrics or logs, not `log`");
        assert_eq!(told("to", "today"), "`to` is a moment such as `2026-12-01T00:00:00Z`, not `today`");
        assert!(filter(&[]).unwrap().is_empty() && !filter(&[("key", "a")]).unwrap().is_empty());
        assert!(filter(&[("key", ""), ("reason", "")]).unwrap().is_empty(), "they would meet every letter");
    }
}
