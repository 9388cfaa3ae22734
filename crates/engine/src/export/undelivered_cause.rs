//! Why records end that were not delivered.

use super::Fate;

/// Why records end that were not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UndeliveredCause {
    /// The upstream has refused them.
    Refused,
    /// It has refused them in a way after which the configuration wants no dead letter.
    Unwanted,
    /// There are no more retries.
    Retries,
    /// Their exporter or their tenant is gone, or the process ends.
    GivenUp,
    /// There was no room for them, and `when_full: shed` cuts them out.
    Shed,
    /// Nobody waits for them any more, and whoever sent them is to send them again.
    Withdrawn,
}

impl UndeliveredCause {
    /// The word by which log lines about it are told apart.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unwanted => "unwanted",
            Self::Retries => "retries",
            Self::GivenUp => "given_up",
            Self::Shed => "shed",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Whether the upstream has said so, of these very records.
    pub(super) const fn is_the_upstreams(self) -> bool {
        matches!(self, Self::Refused | Self::Unwanted)
    }

    /// The log's word for how records have ended for this cause. What nobody has refused and no directory keeps is counted as rejected,
    /// for want of another word, and is lost.
    pub(super) const fn outcome(self, fate: Fate) -> &'static str {
        match (self, fate) {
            (Self::Retries | Self::GivenUp, Fate::Rejected) => "lost",
            _ => fate.name(),
        }
    }
}
