//! When the next request is due.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Tickets for requests, shared by all connections. Without a rate there is always one, as long as there are any;
/// with one, ticket `n` comes at `n / rate` seconds, and waits for a connection if none is free: the time
/// in which it waited is part of its request's latency.
#[derive(Debug)]
pub(super) struct Pace {
    start: Instant,
    taken: AtomicU64,
    limit: u64,
    rate: Option<f64>,
    /// Tickets that are due and not taken.
    due: Semaphore,
    stop: CancellationToken,
}

impl Pace {
    /// Starts now. `limit` is the number of tickets in all.
    pub(super) fn start(rate: Option<f64>, limit: u64, stop: CancellationToken) -> Arc<Self> {
        let pace = Self {
            start: Instant::now(),
            taken: AtomicU64::new(0),
            limit,
            rate,
            due: Semaphore::new(0),
            stop,
        };
        let pace = Arc::new(pace);
        if let Some(rate) = rate {
            // The runtime's timer ticks in milliseconds, which would be added to every latency; a thread wakes up
            // within some 50 microseconds.
            let issuing = Arc::clone(&pace);
            let thread = thread::Builder::new().name("pace".to_owned()).spawn(move || issuing.issue(rate));
            thread.expect("the system allows one more thread");
        }
        pace
    }

    /// Waits for a ticket; its due time, or `None` when there are no more.
    pub(super) async fn ticket(&self) -> Option<Instant> {
        if self.rate.is_some() {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                permit = self.due.acquire() => permit.ok()?.forget(),
            }
        } else if self.stop.is_cancelled() {
            return None;
        }
        let number = self.taken.fetch_add(1, Relaxed);
        if number >= self.limit {
            return None;
        }
        Some(
            self.rate
                .map_or_else(Instant::now, |rate| self.start + Duration::from_secs_f64(number as f64 / rate)),
        )
    }

    /// Issues tickets as they come due.
    fn issue(&self, rate: f64) {
        let mut issued = 0;
        while !self.stop.is_cancelled() {
            let due = ((self.start.elapsed().as_secs_f64() * rate) as u64).saturating_add(1).min(self.limit);
            self.due.add_permits((due - issued) as usize);
            issued = due;
            if issued == self.limit {
                // Connections that wait for one more are to learn that there is none.
                self.due.add_permits(Semaphore::MAX_PERMITS / 2);
                return;
            }
            let next = self.start + Duration::from_secs_f64(issued as f64 / rate);
            // Bounded, so that a stop is noticed; above zero, so that a high rate doesn't take a core.
            let wait = next.saturating_duration_since(Instant::now());
            thread::park_timeout(wait.clamp(Duration::from_micros(20), Duration::from_millis(50)));
        }
    }

    /// Tickets of a limited schedule that nobody took, because the run was stopped or no connection was free.
    pub(super) fn unsent(&self) -> u64 {
        if self.rate.is_none() || self.limit == u64::MAX {
            return 0;
        }
        self.limit.saturating_sub(self.taken.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_rate_issues_exactly_the_limit_in_the_order_of_the_schedule() {
        let pace = Pace::start(Some(10_000.0), 20, CancellationToken::new());
        let mut due = Vec::new();
        while let Some(at) = pace.ticket().await {
            assert!(at <= Instant::now(), "a ticket must not come before its time");
            due.push(at - pace.start);
        }
        assert_eq!(
            due,
            (0..20).map(|n| Duration::from_secs_f64(f64::from(n) / 10_000.0)).collect::<Vec<_>>()
        );
        assert_eq!(pace.unsent(), 0);
    }

    #[tokio::test]
    async fn a_stop_ends_the_wait_for_a_ticket() {
        let stop = CancellationToken::new();
        let pace = Pace::start(Some(0.001), 10, stop.clone());
        assert!(pace.ticket().await.is_some());
        stop.cancel();
        assert!(pace.ticket().await.is_none());
        assert_eq!(pace.unsent(), 9);
    }
}
