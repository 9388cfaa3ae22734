//! What a status that is no success means for a batch: one of HTTP, for OTLP/HTTP and for an answer to a gRPC call that has
//! no status of gRPC; and what an exporter's `statuses` says about those, about statuses of gRPC, and about all that nobody
//! else says anything of.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use http::header::LOCATION;
use http::{HeaderMap, StatusCode};

use super::answer::{AttemptOutcome, is_of_proxies};
use super::holds::HoldScope;
use crate::client::shown_url;

use crate::rpc::Code;

/// What becomes of a batch that was answered by a status, where the configuration names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusAction {
    /// It counts as delivered.
    Delivered,
    /// It is tried again.
    Retry,
    /// It is sent again in parts, until what is refused stands alone.
    Split,
    /// Its stream is held, or more than that.
    Hold(HoldScope),
    /// It becomes a dead letter.
    DeadLetter,
    /// It is dropped.
    Drop,
}

/// An action with its least time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedAction {
    /// What is done.
    pub action: StatusAction,
    /// How long what waits does so at least; how long what ends or splits a batch has to be preceded by attempts that failed.
    /// Mostly zero.
    pub least: Duration,
}

/// What a status means for a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StatusMeaning {
    /// What to do with it.
    pub(super) outcome: AttemptOutcome,
    /// As in [`Answer::least`](super::Answer::least).
    pub(super) least: Duration,
}

/// What an exporter's `statuses` and `retry_on_failure.statuses` say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses {
    /// `retry_on_failure.statuses`.
    retried: Vec<u16>,
    /// What `statuses` says of HTTP's, the narrowest range first, so that the first that holds is the one that counts. Two of
    /// the same width have no status in common, and the lower one is first, so that equal settings are the same in whatever
    /// order they were written.
    http: Vec<(RangeInclusive<u16>, TimedAction)>,
    /// What `statuses` says of gRPC's.
    grpc: BTreeMap<Code, TimedAction>,
    /// What becomes of a batch by a status that is not named, and that has no meaning of its own in either protocol.
    otherwise: TimedAction,
}

impl Default for Statuses {
    fn default() -> Self {
        Self::retrying(Self::RETRIED.to_vec())
    }
}

impl From<StatusAction> for TimedAction {
    fn from(action: StatusAction) -> Self {
        Self { action, least: Duration::ZERO }
    }
}

impl TimedAction {
    /// `after` is what the upstream asks to wait.
    fn meaning(self, after: Option<Duration>) -> StatusMeaning {
        let outcome = match self.action {
            // It is told of, since nobody else would ever hear of what the upstream did not take.
            StatusAction::Delivered => AttemptOutcome::Delivered { rejected: 0, warning: true },
            StatusAction::Retry => AttemptOutcome::Retry { after },
            StatusAction::Split => AttemptOutcome::Bad,
            StatusAction::Hold(scope) => AttemptOutcome::Hold { scope, after },
            StatusAction::DeadLetter => AttemptOutcome::Refused,
            StatusAction::Drop => AttemptOutcome::Unwanted,
        };
        StatusMeaning { outcome, least: self.least }
    }
}

impl From<AttemptOutcome> for StatusMeaning {
    fn from(outcome: AttemptOutcome) -> Self {
        Self { outcome, least: Duration::ZERO }
    }
}

impl Statuses {
    /// Those of HTTP that are tried again by default (OTLP rule 39).
    pub const RETRIED: [u16; 4] = [429, 502, 503, 504];

    /// Those of HTTP that are tried again, unless [`set`](Self::set) says something else of one.
    pub fn retrying(retried: Vec<u16>) -> Self {
        Self { retried, http: Vec::new(), grpc: BTreeMap::new(), otherwise: StatusAction::DeadLetter.into() }
    }

    /// Says what becomes of a batch that is answered by one of these statuses of HTTP. Of several that hold, the narrowest
    /// counts. An error is the range that is as wide as this one and overlaps it; then nothing is changed.
    pub fn set(
        &mut self,
        statuses: RangeInclusive<u16>,
        action: impl Into<TimedAction>,
    ) -> Result<(), RangeInclusive<u16>> {
        debug_assert!(*statuses.start() >= 300 && statuses.start() <= statuses.end(), "no success is named");
        let width = |range: &RangeInclusive<u16>| range.end() - range.start();
        let overlaps =
            |other: &RangeInclusive<u16>| statuses.start() <= other.end() && other.start() <= statuses.end();
        let mut known = self.http.iter().map(|(other, _)| other);
        if let Some(other) = known.find(|other| width(other) == width(&statuses) && overlaps(other)) {
            return Err(other.clone());
        }
        let place = |range: &RangeInclusive<u16>| (width(range), *range.start());
        let at = self.http.partition_point(|(other, _)| place(other) < place(&statuses));
        self.http.insert(at, (statuses, action.into()));
        Ok(())
    }

    /// Says what becomes of a batch that is answered by this status of gRPC.
    pub fn set_grpc(&mut self, code: Code, action: impl Into<TimedAction>) {
        debug_assert!(code != Code::Ok, "no success is named");
        self.grpc.insert(code, action.into());
    }

    /// Says what becomes of a batch by a status of which nothing else is said, neither here nor in the rules of the protocols.
    pub fn set_otherwise(&mut self, action: impl Into<TimedAction>) {
        self.otherwise = action.into();
    }

    /// What to do with a batch that was answered by this status of HTTP, which is no success (OTLP rules 38 and 39). `after` is
    /// what the upstream asks to wait.
    pub(super) fn of_http(&self, status: StatusCode, after: Option<Duration>) -> StatusMeaning {
        let status = status.as_u16();
        if let Some((_, action)) = self.http.iter().find(|(range, _)| range.contains(&status)) {
            return action.meaning(after);
        }
        match status {
            status if self.retried.contains(&status) || is_of_proxies(status) => {
                AttemptOutcome::Retry { after }.into()
            }
            400 | 413 | 422 => AttemptOutcome::Bad.into(),
            // Not what is meant by `endpoint`: moved, of another kind, or behind credentials; 407 is a proxy's 401.
            300..=399 | 401 | 403 | 404 | 405 | 407 | 415 | 501 => {
                AttemptOutcome::Hold { scope: HoldScope::Stream, after }.into()
            }
            _ => self.otherwise(after),
        }
    }

    /// What `statuses` says of this status of gRPC, if anything.
    pub(super) fn of_grpc(&self, code: Code, after: Option<Duration>) -> Option<StatusMeaning> {
        self.grpc.get(&code).map(|action| action.meaning(after))
    }

    /// What to do with a batch that was answered by a status of which nothing else is said.
    pub(super) fn otherwise(&self, after: Option<Duration>) -> StatusMeaning {
        self.otherwise.meaning(after)
    }
}

/// Why a batch was not taken, with what `statuses` makes of it where nobody could tell by what becomes of it.
pub(super) fn reason_shown(reason: String, outcome: AttemptOutcome) -> String {
    match outcome {
        AttemptOutcome::Delivered { .. } => format!("{reason}; `statuses` counts that as delivered"),
        AttemptOutcome::Unwanted => format!("{reason}; `statuses` drops what is answered so"),
        _ => reason,
    }
}

/// The metric's label for a status. HTTP has statuses up to 599; others would make labels without bound.
pub(super) fn code(status: StatusCode) -> std::borrow::Cow<'static, str> {
    match status.as_u16() {
        200 => "200".into(),
        100..=599 => status.as_str().to_owned().into(),
        _ => "other".into(),
    }
}

/// For people, where a redirect leads; `None` for other statuses.
pub(super) fn redirect(status: StatusCode, headers: &HeaderMap) -> Option<String> {
    if !status.is_redirection() {
        return None;
    }
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or("nowhere");
    // It may repeat the query that was sent.
    let location = shown_url(location);
    Some(format!("redirects are not followed; `endpoint` should name what `{location}` is"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: AttemptOutcome = AttemptOutcome::Retry { after: None };
    const HOLD: AttemptOutcome = AttemptOutcome::Hold { scope: HoldScope::Stream, after: None };
    const DELIVERED: AttemptOutcome = AttemptOutcome::Delivered { rejected: 0, warning: true };

    fn outcome(statuses: &Statuses, status: u16) -> AttemptOutcome {
        statuses.of_http(StatusCode::from_u16(status).unwrap(), None).outcome
    }

    #[test]
    fn the_narrowest_that_names_a_status_counts_in_whatever_order_they_are_written() {
        let named = [
            (500..=599, StatusAction::DeadLetter),
            (520..=530, StatusAction::Hold(HoldScope::Stream)),
            (404..=404, StatusAction::Delivered),
            (503..=503, StatusAction::Split),
            (400..=499, StatusAction::Retry),
        ];
        for turn in 0..named.len() {
            let mut statuses = Statuses::default();
            for (range, action) in named.iter().cycle().skip(turn).take(named.len()) {
                statuses.set(range.clone(), *action).unwrap();
            }
            let expected = [
                (404, DELIVERED),
                (403, RETRY),
                (429, RETRY),
                (499, RETRY),
                (502, AttemptOutcome::Refused),
                (503, AttemptOutcome::Bad),
                (519, AttemptOutcome::Refused),
                (520, HOLD),
                (530, HOLD),
                (531, AttemptOutcome::Refused),
                (302, HOLD),
            ];
            for (status, expected) in expected {
                assert_eq!(outcome(&statuses, status), expected, "{status}, {turn}");
            }
        }
    }

    #[test]
    fn two_of_the_same_width_that_overlap_are_refused() {
        let mut statuses = Statuses::default();
        statuses.set(500..=510, StatusAction::Hold(HoldScope::Stream)).unwrap();
        assert_eq!(statuses.set(505..=515, StatusAction::Retry), Err(500..=510));
        assert_eq!(statuses.set(511..=521, StatusAction::Retry), Ok(()));
        assert_eq!(outcome(&statuses, 508), HOLD);
        assert_eq!(outcome(&statuses, 515), RETRY);
    }

    #[test]
    fn what_is_named_wins_over_the_retried_ones_and_takes_what_the_upstream_asks_to_wait() {
        let mut statuses = Statuses::retrying(vec![408, 500]);
        statuses.set(408..=408, StatusAction::Hold(HoldScope::Stream)).unwrap();
        let after = Some(Duration::from_secs(7));
        let held = statuses.of_http(StatusCode::REQUEST_TIMEOUT, after);
        assert_eq!(held, AttemptOutcome::Hold { scope: HoldScope::Stream, after }.into());
        assert_eq!(outcome(&statuses, 500), RETRY);
        assert_eq!(outcome(&statuses, 503), AttemptOutcome::Refused, "it is not in the list");
    }

    #[test]
    fn a_status_of_grpc_means_its_default_unless_it_is_named() {
        let mut statuses = Statuses::default();
        statuses.set_grpc(Code::NotFound, StatusAction::Hold(HoldScope::Stream));
        assert_eq!(statuses.of_grpc(Code::NotFound, None), Some(HOLD.into()));
        assert_eq!(statuses.of_grpc(Code::Internal, None), None);
    }

    #[test]
    fn what_is_said_of_all_others_touches_no_status_that_is_named_or_means_something_by_itself() {
        let mut statuses = Statuses::retrying(vec![429, 503]);
        statuses.set(402..=402, StatusAction::Hold(HoldScope::Tenant)).unwrap();
        let all = |statuses: &Statuses| -> Vec<AttemptOutcome> {
            (300..600).map(|status| outcome(statuses, status)).collect()
        };
        let before = all(&statuses);
        statuses.set_otherwise(StatusAction::Drop);
        for (status, (before, after)) in (300..).zip(before.into_iter().zip(all(&statuses))) {
            let expected = if before == AttemptOutcome::Refused { AttemptOutcome::Unwanted } else { before };
            assert_eq!(after, expected, "{status}");
        }
        assert_eq!([502, 500, 409].map(|status| outcome(&statuses, status)), [AttemptOutcome::Unwanted; 3]);
        assert_eq!([401, 404, 302].map(|status| outcome(&statuses, status)), [HOLD; 3]);
    }

    #[test]
    fn an_action_takes_its_least_time_along() {
        let mut statuses = Statuses::default();
        let least = Duration::from_secs(3600);
        statuses.set(402..=402, TimedAction { action: StatusAction::Drop, least }).unwrap();
        statuses.set_otherwise(TimedAction { action: StatusAction::Retry, least });
        let of = |status: u16| statuses.of_http(StatusCode::from_u16(status).unwrap(), None);
        assert_eq!(of(402), StatusMeaning { outcome: AttemptOutcome::Unwanted, least });
        assert_eq!(of(409), StatusMeaning { outcome: RETRY, least });
        assert_eq!(of(503), RETRY.into());
    }
}
