//! Watches that fire: too many or too few records match what somebody has asked to be told of.

use super::words::{ago, counted, time};
use super::{Attention, AttentionSubject, Urgency};
use crate::run::Router;
use crate::watches::{FiringSeries, RecordWatch, Threshold};

/// The most tenants of a watch that are named.
const NAMED: usize = 3;

pub(super) fn found(router: &Router) -> Vec<Attention> {
    let watches = router.intake().observer.watches();
    watches.iter().filter_map(|watch| of_watch(watch)).collect()
}

fn of_watch(watch: &RecordWatch) -> Option<Attention> {
    let (settings, firing) = (watch.settings(), watch.state().firing);
    let since = firing.iter().map(|series| series.since).min()?;
    let text = format!(
        "Watch `{}` has fired for {}: {}.",
        settings.name,
        ago(since),
        told(settings.threshold, firing)
    );
    let subject = AttentionSubject::Watch(settings.name.clone());
    Some(Attention::new(Urgency::Warning, "watch_firing", subject, text).since(Some(since)))
}

/// How many records match, of which tenants, and how many may. The tenants farthest beyond that come first.
fn told(threshold: Threshold, mut firing: Vec<FiringSeries>) -> String {
    let (above, below) = threshold.bounds();
    let bound =
        above.map(|records| format!("above {records}")).or(below.map(|records| format!("below {records}")));
    let (bound, within) = (bound.unwrap_or_default(), time(threshold.within()));
    firing.sort_by_key(|series| if above.is_some() { u64::MAX - series.counted } else { series.counted });
    let of_whom = |FiringSeries { tenant, counted: records, .. }: &FiringSeries| {
        let records = counted(*records, "record", "records");
        tenant.as_ref().map_or(records.clone(), |tenant| format!("{records} of {tenant}"))
    };
    let mut parts: Vec<String> = firing.iter().take(NAMED).map(of_whom).collect();
    let unnamed = firing.len() - parts.len();
    if unnamed > 0 {
        parts.push(counted(unnamed as u64, "more tenant", "more tenants"));
    }
    let last = parts.pop().unwrap_or_default();
    let all = if parts.is_empty() { last } else { format!("{} and {last}", parts.join(", ")) };
    let each = if firing.len() > 1 { "each " } else { "" };
    format!("{all} matched in the last {within}, {each}{bound}")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn it_says_how_many_match_of_whom_and_how_many_may() {
        let series = |tenant: Option<&str>, counted| FiringSeries {
            tenant: tenant.map(Into::into),
            since: SystemTime::now(),
            counted,
        };
        let above = Threshold::Above { records: 10, within: Duration::from_secs(300) };
        let below = Threshold::Below { records: 1, within: Duration::from_secs(26 * 3600) };
        for (threshold, firing, text) in [
            (above, vec![series(None, 3616)], "3616 records matched in the last 5 min, above 10"),
            (below, vec![series(None, 0)], "0 records matched in the last 26 h, below 1"),
            (
                above,
                vec![series(Some("a"), 11), series(Some("b"), 90)],
                "90 records of b and 11 records of a matched in the last 5 min, each above 10",
            ),
            (
                below,
                ["a", "b", "c", "d"].map(|tenant| series(Some(tenant), 0)).to_vec(),
                "0 records of a, 0 records of b, 0 records of c and 1 more tenant matched in the last 26 h, each below 1",
            ),
        ] {
            assert_eq!(told(threshold, firing), text);
        }
    }
}
