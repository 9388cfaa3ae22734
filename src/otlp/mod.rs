//! OTLP as bytes: the signals, the schema tables, and the walks over encoded messages.

#[cfg(test)]
mod arbitrary;
mod attributes;
mod cut;
mod edit;
mod fault;
mod ignored;
mod json;
mod locate;
#[cfg(any(test, fuzzing))]
pub mod oracle;
mod partition;
mod piece;
mod plain;
mod read_value;
mod record_view;
mod records;
mod redact;
mod resize;
mod schema;
mod signal;
mod split;
mod validate;
mod wire;

#[cfg(test)]
pub(crate) use arbitrary::request as arbitrary_request;
pub use attributes::{Found, find};
pub use cut::Cut;
pub use edit::{
    AttributeTest, ConvertedType, Edit, EditAction, EditBound, EditKeys, EditMemory, EditTexts, EditedPart,
    LibraryTest, NewValue, SPAN_KINDS, Selection, SeverityTest, TextTest, ValueSource, ValueTest, WriteWhere,
};
pub use fault::{Fault, Reason};
pub use ignored::Ignored;
pub use json::{Omitted, Transcoded, Untaken, count_json, read_request, write_request};
pub use partition::{NoRoom, RecordWays, Room, most_partitioned, partition};
pub use read_value::ReadValue;
pub use record_view::{
    AttributeView, MetricFields, PointValue, RecordFields, RecordView, resource_attributes, visit_records,
};
pub use records::{RecordAttribute, RecordAttributes};
pub use redact::{REDACTED, Redaction};
pub use resize::{halve, split_to_size};
pub use signal::Signal;
pub use split::{
    Entry, Malformed, Split, count_entries, count_records, count_request, frames, resource, split,
};
pub use validate::validate;
pub use wire::{frame_len, put_frame, skip_frames};
