//! What is known of an entry beside its bytes.

use otlp::{RecordFields, Signal};

/// What is known of an entry beside its bytes.
#[derive(Clone, Copy, Debug)]
pub struct RecordOrigin<'o> {
    /// What its records are.
    pub signal: Signal,
    /// Whose it is.
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
