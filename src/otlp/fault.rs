//! What can be wrong with encoded OTLP, and where.

use std::fmt;

/// Why bytes are not valid OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A field, or the length it states, goes beyond the end of its message.
    Truncated,
    /// A varint is longer than ten bytes, or its value longer than 64 bits.
    Varint,
    /// A field number is 0 or above 2^29-1.
    FieldNumber,
    /// A known field has the wire type of another type.
    WireType,
    /// Wire types 3 and 4, which proto3 does not have and servers disagree about.
    Group,
    /// A request in JSON where protobuf is expected; as protobuf its `{` would begin a group.
    LooksLikeJson,
    /// Wire types 6 and 7, which don't exist.
    UnknownWireType,
    /// A string is not UTF-8.
    Utf8,
    /// A trace id that has neither 0 nor 16 bytes, or a span id that has neither 0 nor 8.
    IdLength,
    /// More than 100 messages inside one another.
    Depth,
    /// An entry with more than one resource.
    DuplicateResource,
    /// Field 1000 of an entry.
    OldInstrumentationLibrary,
    /// A request of 4 GiB or more.
    TooLong,
    /// The length of a packed field is not a whole number of values.
    Packed,
}

impl Reason {
    const fn text(self) -> &'static str {
        match self {
            Self::Truncated => "field goes beyond the end of its message",
            Self::Varint => "varint is longer than 64 bits",
            Self::FieldNumber => "field number is not within 1 and 2^29-1",
            Self::WireType => "wire type is not that of the field",
            Self::Group => "groups are not allowed",
            Self::LooksLikeJson => {
                "this looks like JSON, not protobuf: send JSON with `Content-Type: application/json`"
            }
            Self::UnknownWireType => "wire type does not exist",
            Self::Utf8 => "string is not valid UTF-8",
            Self::IdLength => "a trace id must have 16 bytes and a span id 8, or none",
            Self::Depth => "messages are nested more than 100 levels deep",
            Self::DuplicateResource => "entry has more than one resource",
            Self::OldInstrumentationLibrary => {
                "field 1000 is of the old instrumentation library, send scopes instead"
            }
            Self::TooLong => "request is longer than a protobuf message can be",
            Self::Packed => "packed field is not a whole number of values",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// Something wrong in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub reason: Reason,
    /// Where: the position in the request's bytes of the offending field, or within it.
    pub offset: usize,
}
