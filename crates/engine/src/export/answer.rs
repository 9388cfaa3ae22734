//! What came of an attempt at a batch.

use std::borrow::Cow;
use std::time::Duration;

use super::circuit::Sign;
use super::holds::HoldScope;

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The metric's label: an HTTP status, a gRPC code such as `UNAVAILABLE`, or `connect`, `tls`, `timeout`, `reset`,
    /// `protocol`, `oversize`, `encode`, `descriptors`, `token`, `token_refused`, `written`, `io`, `printed`, `discarded`,
    /// `other`.
    pub code: Cow<'static, str>,
    /// What to do with the batch.
    pub outcome: AttemptOutcome,
    /// What `statuses` says of time, else zero: how long the wait before the next attempt is at least, or, of an outcome that
    /// ends or divides the batch, how long after its first failure that happens at the earliest. Until then it is tried again.
    pub least: Duration,
    /// For logs: one line of at most some 256 characters, without secrets; empty if there is nothing to say.
    pub detail: String,
}

/// What an answer means for the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// Taken. It is never sent again, whatever was rejected of it (OTLP rule 13).
    Delivered {
        /// Records that the upstream rejected by partial success; at most the batch's.
        rejected: u64,
        /// The answer's detail is worth a warning.
        warning: bool,
    },
    /// Not taken now, or nobody answered.
    Retry {
        /// What the upstream asks to wait (`Retry-After`), unbounded.
        after: Option<Duration>,
    },
    /// Something in the batch is bad: halve it.
    Bad,
    /// The destination is wrong, not the data: hold the stream, or more than that, and say so.
    Hold {
        /// What is held.
        scope: HoldScope,
        /// As in [`AttemptOutcome::Retry`].
        after: Option<Duration>,
    },
    /// Refused for good, as a whole.
    Refused,
    /// The same, and the configuration wants no dead letter of it.
    Unwanted,
}

impl AttemptOutcome {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered { .. } => "delivered",
            Self::Retry { .. } => "retry",
            Self::Bad => "bad",
            Self::Hold { .. } => "hold",
            Self::Refused => "refused",
            Self::Unwanted => "unwanted",
        }
    }
}

impl Answer {
    /// What an attempt comes to that no upstream has answered.
    pub(super) fn own(code: &'static str, outcome: AttemptOutcome, detail: String) -> Self {
        Self { code: code.into(), outcome, least: Duration::ZERO, detail }
    }

    /// What it shows of the destination. Whoever says when to come again is there, whatever else it says; but only if
    /// that has lengthened the wait, which is then `wished`: what asks for more attempts than there would be is no
    /// reason to leave a circuit closed. A status that ends or divides the batch, because the configuration says so, is
    /// about the batch, whatever it usually says about the destination.
    pub fn sign(&self, wished: bool) -> Sign {
        if wished {
            return Sign::Alive;
        }
        let may_be_down = matches!(self.outcome, AttemptOutcome::Retry { .. } | AttemptOutcome::Hold { .. });
        match &*self.code {
            "oversize" | "encode" | "descriptors" | "token" | "token_refused" => Sign::Unclear,
            _ if !may_be_down => Sign::Alive,
            "connect" | "tls" | "timeout" | "reset" | "protocol" | "UNAVAILABLE" | "DEADLINE_EXCEEDED" => {
                Sign::Down
            }
            code if code.parse().is_ok_and(says_nobody_is_there) => Sign::Down,
            _ => Sign::Alive,
        }
    }
}

/// Whether a status says that nobody is there behind whoever answers.
fn says_nobody_is_there(status: u16) -> bool {
    matches!(status, 502..=504) || is_of_proxies(status)
}

/// 520 to 530 are no statuses of HTTP: proxies, Cloudflare's first of all, say so what they miss of the server behind them.
pub(super) fn is_of_proxies(status: u16) -> bool {
    matches!(status, 520..=530)
}
