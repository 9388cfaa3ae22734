//! What can be wrong with OTLP, in protobuf or in JSON, and where.

use std::fmt;

/// Why bytes are not valid OTLP. Those from [`Reason::Ended`] on are of JSON alone.
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
    /// A request of 4 GiB or more.
    TooLong,
    /// The length of a packed field is not a whole number of values.
    Packed,
    /// The JSON document ends in the middle.
    Ended,
    /// Not JSON.
    Syntax,
    /// A backslash with something behind it that JSON has no meaning for.
    Escape,
    /// A character below U+0020 in a JSON string that is not escaped.
    Control,
    /// Something behind the end of the JSON document.
    Trailing,
    /// Another JSON document behind the first.
    SeveralDocuments,
    /// Half of a surrogate pair without the other.
    Surrogate,
    /// Another JSON type where a message is.
    NotAnObject,
    /// Another JSON type where a repeated field is.
    NotAList,
    /// Another JSON type where a string, bytes or an id is.
    NotAString,
    /// Neither a JSON number nor a string that holds one.
    NotANumber,
    /// Neither `true` nor `false`.
    NotABoolean,
    /// A number beyond what the field's type holds.
    OutOfRange,
    /// A number with a fraction where an integer is.
    NotWhole,
    /// A string that is neither a name nor a number of the enum.
    EnumName,
    /// An id with other characters than hexadecimal digits.
    Hex,
    /// Bytes that are not base64.
    Base64,
    /// Entries of another signal than the one that the request is for.
    OtherSignal,
    /// A name that stands twice in an object.
    Twice,
    /// More than one member of a `oneof`.
    Members,
}

impl Reason {
    /// What is wrong, in words.
    pub const fn text(self) -> &'static str {
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
            Self::TooLong => "request is longer than a protobuf message can be",
            Self::Packed => "packed field is not a whole number of values",
            Self::OtherSignal => "these are another signal's entries: send them to that signal's path",
            Self::Ended => "the document ends in the middle",
            Self::Syntax => "not valid JSON",
            Self::Escape => "not an escape that JSON knows",
            Self::Control => "control characters in a string must be escaped",
            Self::Trailing => "there is something behind the end of the document",
            Self::SeveralDocuments => {
                "there is more than one JSON document in the body: send each as a request of its own, or their entries in one list"
            }
            Self::Surrogate => "half of a surrogate pair is not a character",
            Self::NotAnObject => "must be an object",
            Self::NotAList => "must be a list",
            Self::NotAString => "must be a string",
            Self::NotANumber => "must be a number, or a string that holds one",
            Self::NotABoolean => "must be `true` or `false`",
            Self::OutOfRange => "number is out of the field's range",
            Self::NotWhole => "must be a whole number",
            Self::EnumName => "must be one of the enum's numbers or names",
            Self::Hex => "an id must be hexadecimal digits, or base64",
            Self::Base64 => "must be base64",
            Self::Twice => "stands twice in the object",
            Self::Members => "only one of these fields can be set",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// A place in a request that is not valid OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule the bytes break.
    pub reason: Reason,
    /// The position in the request's bytes of the offending field, or a position within that field.
    pub offset: usize,
}
