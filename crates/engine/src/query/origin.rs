//! The origin of records: the facts about an entry that its bytes do not tell.

use otlp::{RecordFields, Signal};

/// The facts about an entry that its bytes do not tell.
#[derive(Clone, Copy, Debug)]
pub struct RecordOrigin<'o> {
    /// The signal of its records.
    pub signal: Signal,
    /// The id of its tenant.
    pub tenant: Option<&'o str>,
    /// The exporters that it goes to, and the routing key that it has there, as people write it.
    pub streams: &'o [(&'o str, &'o str)],
    /// When it was admitted, in nanoseconds since 1970.
    pub admitted: u64,
}

impl RecordOrigin<'_> {
    /// The time of a record, in nanoseconds since 1970: as OTLP has it, when it happened or else was observed; of one that says
    /// neither, when it was admitted.
    pub fn time_of(&self, fields: &RecordFields<'_>) -> u64 {
        if fields.time == 0 { self.admitted } else { fields.time }
    }
}
