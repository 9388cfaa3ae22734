//! What becomes of records: where they are received, and where they are sent.

/// What became of received records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// At least one exporter has them in its queues.
    Accepted,
    /// Their request was refused whole; the sender is to send it again.
    Refused,
    /// They were cut out of their request, and the sender was told.
    Rejected,
    /// A written policy ended them: `unrouted: drop` or `when_full: shed`.
    Dropped,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Accepted, Self::Refused, Self::Rejected, Self::Dropped];

    /// The `outcome` label of `sluice_received_records_total`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Dropped => "dropped",
        }
    }
}

/// How the records of a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The upstream took them.
    Delivered,
    /// The upstream, or the lack of a dead-letter directory, ended them.
    Rejected,
    /// They are in the dead-letter directory.
    DeadLettered,
    /// A written policy ended them: `shed`, a full dead-letter directory, or `acknowledge_timeout`, which withdraws them.
    Dropped,
}

impl Fate {
    /// Every fate.
    pub const ALL: [Self; 4] = [Self::Delivered, Self::Rejected, Self::DeadLettered, Self::Dropped];

    /// The `outcome` label of `sluice_exported_records_total`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Rejected => "rejected",
            Self::DeadLettered => "dead_lettered",
            Self::Dropped => "dropped",
        }
    }
}
