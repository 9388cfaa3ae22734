//! OTLP as bytes: what a proxy does with encoded requests, without building messages of them.
//!
//! A *request* (`Export…ServiceRequest`) holds *entries* (`ResourceSpans`, `ResourceMetrics`, `ResourceLogs`), and an entry holds
//! *records* (spans, data points, log records). Entries under their frames, one after the other, are a request again.
//!
//! ```
//! use otlp::{Found, ReadValue, Signal};
//!
//! // One entry, whose resource has `service.name`, with no records.
//! let request = b"\x0a\x18\x0a\x16\x0a\x14\x0a\x0cservice.name\x12\x04\x0a\x02ab";
//! assert_eq!(otlp::validate(Signal::Traces, request).unwrap(), 0);
//! let split = otlp::split(Signal::Traces, request).unwrap();
//! let mut found = [Found::Absent];
//! otlp::find(split.entries[0].resource(), &["service.name"], &mut found);
//! assert_eq!(found[0], Found::Value(ReadValue::Text("ab")));
//! ```
//!
//! All walks run on static tables (`schema`), which `build.rs` makes from `proto/`. What a walk may assume of its bytes, its
//! documentation says: most take what [`split()`] or [`validate()`] has let through.

#![deny(missing_docs)]

#[cfg(any(test, feature = "oracle"))]
mod arbitrary;
mod attributes;
mod cut;
#[cfg(test)]
mod damaged;
mod edit;
mod fault;
mod ignored;
mod json;
mod locate;
#[cfg(any(test, feature = "oracle"))]
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

#[cfg(any(test, feature = "oracle"))]
pub use arbitrary::request as arbitrary_request;
pub use attributes::{Found, find};
pub use cut::Cut;
pub use edit::{
    AttributeTest, ConvertedType, Edit, EditAction, EditBound, EditKeys, EditMemory, EditTexts, EditedPart,
    LibraryTest, NewValue, NoTexts, SPAN_KINDS, Selection, SeverityTest, TextTest, ValueSource, ValueTest,
    WriteWhere,
};
pub use fault::{Reason, Violation};
pub use ignored::Ignored;
pub use json::{JsonReadError, Omitted, Transcoded, count_json, read_request, write_request};
pub use partition::{NoRoom, RecordWays, RoomCheck, most_partitioned, partition};
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
