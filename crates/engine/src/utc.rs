//! Wall-clock time as text, in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// RFC 3339 with milliseconds: `2026-01-02T03:04:05.678Z`.
pub fn rfc3339(time: SystemTime) -> String {
    let Civil { year, month, day, hour, minute, second, milli } = civil(time);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// The moment that a text in the form of RFC 3339 names, with whatever offset.
pub(crate) fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from)
}

/// The same for file names, without what some file systems refuse; sorts by time: `20260102T030405.678Z`.
pub(crate) fn compact(time: SystemTime) -> String {
    let Civil { year, month, day, hour, minute, second, milli } = civil(time);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}.{milli:03}Z")
}

/// Whether this is a time as [`compact`] writes it.
pub(crate) fn is_compact(text: &str) -> bool {
    const FORM: &[u8] = b"00000000T000000.000Z";
    let fits = |(byte, form): (u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == *form };
    text.len() == FORM.len() && text.bytes().zip(FORM).all(fits)
}

struct Civil {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    milli: u32,
}

/// The proleptic Gregorian date, by Howard Hinnant's `civil_from_days`: years are counted from 1 March, so that
/// the leap day is the last of its year. A clock before 1970 counts as 1970.
fn civil(time: SystemTime) -> Civil {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let days = seconds / 86_400 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    Civil {
        year: year_of_era + era * 400 + u64::from(month <= 2),
        month,
        day: day_of_year - (153 * shifted_month + 2) / 5 + 1,
        hour: seconds % 86_400 / 3600,
        minute: seconds % 3600 / 60,
        second: seconds % 60,
        milli: since.subsec_millis(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> String {
        rfc3339(UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 7))
    }

    #[test]
    fn leap_days_and_year_ends_are_where_they_belong() {
        assert_eq!(at(0), "1970-01-01T00:00:00.007Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59.007Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.007Z");
        assert_eq!(at(951_868_800), "2000-03-01T00:00:00.007Z");
        assert_eq!(at(4_107_542_399), "2100-02-28T23:59:59.007Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00.007Z");
        assert_eq!(at(1_767_225_599), "2025-12-31T23:59:59.007Z");
    }

    #[test]
    fn every_day_agrees_with_httpdate() {
        for day in 0..50_000 {
            let time = UNIX_EPOCH + Duration::from_secs(day * 86_400 + 3_723);
            let text = httpdate::fmt_http_date(time);
            let parts: Vec<_> = text.split(' ').collect();
            let ours = rfc3339(time);
            assert_eq!((&ours[..4], &ours[8..10], &ours[11..19]), (parts[3], parts[1], parts[4]), "{text}");
        }
    }

    #[test]
    fn compact_times_sort_by_time() {
        let early = compact(UNIX_EPOCH + Duration::from_secs(999_999_999));
        let late = compact(UNIX_EPOCH + Duration::from_secs(1_000_000_000));
        assert_eq!(early, "20010909T014639.000Z");
        assert!(early < late);
    }

    #[test]
    fn compact_times_are_told_from_other_texts() {
        assert!(is_compact(&compact(UNIX_EPOCH)) && is_compact(&compact(SystemTime::now())));
        for other in [
            "",
            "important",
            "20010909T014639.000",
            "20010909T014639.000ZZ",
            "20010909t014639.000Z",
            "2001-09-09T01:46:39Z",
            "2001090900014639.000Z",
            "20010909T01463９.0Z",
        ] {
            assert!(!is_compact(other), "{other}");
        }
    }
}
