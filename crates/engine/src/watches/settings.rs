//! The settings of watches.

use std::fmt;
use std::time::Duration;

use crate::glob::Glob;
use crate::query::Query;

/// A watch, as it is configured. One that is configured as before goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchSettings {
    /// The name of the watch.
    pub name: String,
    /// The query whose records are counted.
    pub query: Query,
    /// The query as it is shown: what could be a secret in it is masked.
    pub shown_query: String,
    /// The tenants of which each is counted by itself; without any, all records are counted together.
    pub tenants: Option<Vec<Glob>>,
    /// When it fires.
    pub threshold: Threshold,
}

/// How many records in which time are too many or too few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threshold {
    /// More than so many.
    Above {
        /// Records.
        records: u64,
        /// In this time.
        within: Duration,
    },
    /// Fewer than so many.
    Below {
        /// Records.
        records: u64,
        /// In this time.
        within: Duration,
    },
}

impl Threshold {
    /// The time in which records are counted.
    pub fn within(self) -> Duration {
        let (Self::Above { within, .. } | Self::Below { within, .. }) = self;
        within
    }

    /// The number above which it fires, and the number below which it fires: one of them.
    pub fn bounds(self) -> (Option<u64>, Option<u64>) {
        match self {
            Self::Above { records, .. } => (Some(records), None),
            Self::Below { records, .. } => (None, Some(records)),
        }
    }

    /// Whether so many are too many or too few.
    pub fn is_met(self, counted: u64) -> bool {
        match self {
            Self::Above { records, .. } => counted > records,
            Self::Below { records, .. } => counted < records,
        }
    }

    /// Reads `10 in 5m`; or says what to write.
    pub fn read(
        text: &str,
        duration: impl Fn(&str) -> Result<Duration, String>,
    ) -> Result<(u64, Duration), String> {
        const FORM: &str = "write how many records in which time, such as `10 in 5m`";
        let (records, within) = text.split_once(" in ").ok_or(FORM)?;
        let records = records.trim().parse().map_err(|_| FORM)?;
        let within = duration(within.trim()).map_err(|_| FORM)?;
        if !(Self::SHORTEST..=Self::LONGEST).contains(&within) {
            return Err("the time is from 1s to 744h".to_owned());
        }
        Ok((records, within))
    }

    /// Records are counted in steps of a second.
    const SHORTEST: Duration = Duration::from_secs(1);

    /// Of a month.
    const LONGEST: Duration = Duration::from_secs(744 * 3600);
}

/// In words.
impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Above { records, within } => write!(f, "more than {records} records in {within:?}"),
            Self::Below { records, within } => write!(f, "fewer than {records} records in {within:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn above_and_below_leave_the_number_itself_alone() {
        let within = Duration::from_secs(60);
        let above = Threshold::Above { records: 10, within };
        let below = Threshold::Below { records: 1, within };
        assert_eq!([10, 11].map(|counted| above.is_met(counted)), [false, true]);
        assert_eq!([0, 1].map(|counted| below.is_met(counted)), [true, false]);
    }
}
