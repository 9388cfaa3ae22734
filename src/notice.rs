//! Log lines about trouble, at most one per cause and [`WINDOW`].
//!
//! An upstream that is down fails thousands of attempts a minute, and a broken sender thousands of requests. One
//! line says it as well; the next one says how many were kept back.

use std::sync::LazyLock;
use std::time::Duration;

use dashmap::DashMap;
use tokio::time::Instant;

/// The time between two lines about the same cause.
pub(crate) const WINDOW: Duration = Duration::from_secs(10);

/// Scopes come from the configuration (exporter and listener names), so the map stays small.
static CAUSES: LazyLock<DashMap<(String, &'static str), Cause>> = LazyLock::new(DashMap::new);

#[derive(Debug)]
struct Cause {
    next: Instant,
    suppressed: u64,
}

/// Whether a line about `cause` in `scope` may be logged now, and how many were not since the last one.
pub(crate) fn due(scope: &str, cause: &'static str) -> Option<u64> {
    let now = Instant::now();
    let mut entry =
        CAUSES.entry((scope.to_owned(), cause)).or_insert_with(|| Cause { next: now, suppressed: 0 });
    if now < entry.next {
        entry.suppressed += 1;
        return None;
    }
    entry.next = now + WINDOW;
    Some(std::mem::take(&mut entry.suppressed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_per_cause_and_window_says_how_many_were_kept_back() {
        assert_eq!(due("a", "retry"), Some(0));
        assert_eq!(due("a", "retry"), None);
        assert_eq!(due("a", "retry"), None);
        assert_eq!(due("b", "retry"), Some(0));
        tokio::time::advance(WINDOW).await;
        assert_eq!(due("a", "retry"), Some(2));
        tokio::time::advance(WINDOW).await;
        assert_eq!(due("a", "retry"), Some(0));
    }
}
