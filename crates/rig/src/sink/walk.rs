//! Reads the entries, records and sequence numbers of an encoded request, without decoding it.
//!
//! This walk follows framing only as deep as the routing attribute, the records and their sequence numbers; what
//! it does not need it steps over. It is no validation: a request it can walk may still be invalid OTLP.

use std::borrow::Cow;

use crate::sequence::{SENDER_ATTRIBUTE, SEQUENCE_ATTRIBUTE, SenderId, SequenceText};
use otlp::Signal;

/// The bytes end inside a field, or are not protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is not an encoded OTLP request")]
pub(super) struct BrokenFraming;

/// The sender and the sequence number that a record states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbering {
    /// Sender and sequence number.
    Numbered(SenderId, u64),
    /// The record does not come from `sluice send`.
    Unnumbered,
}

/// The fields of a message, one after the other: number and, for length-delimited ones, the bytes.
struct MessageFields<'a> {
    rest: &'a [u8],
}

impl<'a> MessageFields<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn varint(&mut self) -> Result<u64, BrokenFraming> {
        let mut value = 0_u64;
        for (index, &byte) in self.rest.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(BrokenFraming)
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], BrokenFraming> {
        let len = usize::try_from(len).map_err(|_| BrokenFraming)?;
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(BrokenFraming)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next field, or `None` at the end.
    #[inline]
    fn next(&mut self) -> Result<Option<(u64, FieldValue<'a>)>, BrokenFraming> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => FieldValue::Varint(self.varint()?),
            1 => self.take(8).map(|_| FieldValue::Fixed)?,
            2 => {
                let len = self.varint()?;
                FieldValue::Bytes(self.take(len)?)
            }
            5 => self.take(4).map(|_| FieldValue::Fixed)?,
            _ => return Err(BrokenFraming),
        };
        Ok(Some((tag >> 3, value)))
    }

    /// The next length-delimited field with this number.
    #[inline]
    fn find(&mut self, number: u64) -> Result<Option<&'a [u8]>, BrokenFraming> {
        while let Some((field, value)) = self.next()? {
            if let (true, FieldValue::Bytes(bytes)) = (field == number, value) {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}

enum FieldValue<'a> {
    Varint(u64),
    Fixed,
    Bytes(&'a [u8]),
}

/// Calls `each` for every entry in `request`.
pub(super) fn entries<'a>(
    request: &'a [u8],
    mut each: impl FnMut(&'a [u8]) -> Result<(), BrokenFraming>,
) -> Result<(), BrokenFraming> {
    let mut fields = MessageFields::new(request);
    while let Some(entry) = fields.find(1)? {
        each(entry)?;
    }
    Ok(())
}

/// The value of the resource attribute `name` as a routing key; empty if there is none.
pub(super) fn routing_key<'a>(entry: &'a [u8], name: &str) -> Result<Cow<'a, [u8]>, BrokenFraming> {
    let Some(resource) = MessageFields::new(entry).find(1)? else { return Ok(Cow::Borrowed(b"")) };
    let mut fields = MessageFields::new(resource);
    while let Some(attribute) = fields.find(1)? {
        if MessageFields::new(attribute).find(1)? == Some(name.as_bytes()) {
            return attribute_text(attribute);
        }
    }
    Ok(Cow::Borrowed(b""))
}

/// An attribute's value as text: strings as they are, integers in decimal, booleans as words.
fn attribute_text(attribute: &[u8]) -> Result<Cow<'_, [u8]>, BrokenFraming> {
    let Some(value) = MessageFields::new(attribute).find(2)? else { return Ok(Cow::Borrowed(b"")) };
    Ok(match MessageFields::new(value).next()? {
        Some((1, FieldValue::Bytes(text))) => Cow::Borrowed(text),
        Some((2, FieldValue::Varint(flag))) => Cow::Borrowed(if flag == 0 { b"false" } else { b"true" }),
        Some((3, FieldValue::Varint(number))) => Cow::Owned((number as i64).to_string().into_bytes()),
        _ => Cow::Borrowed(b""),
    })
}

/// Calls `each` for every record of an entry.
pub(super) fn records(
    signal: Signal,
    entry: &[u8],
    mut each: impl FnMut(Numbering),
) -> Result<(), BrokenFraming> {
    let mut scopes = MessageFields::new(entry);
    while let Some(scope) = scopes.find(2)? {
        let mut items = MessageFields::new(scope);
        while let Some(item) = items.find(2)? {
            match signal {
                Signal::Logs => each(place(item, 6)?),
                Signal::Traces => each(place(item, 9)?),
                Signal::Metrics => data_points(item, &mut each)?,
            }
        }
    }
    Ok(())
}

/// The data points of one metric, whose attributes have a field number that depends on the kind of metric.
fn data_points(metric: &[u8], each: &mut impl FnMut(Numbering)) -> Result<(), BrokenFraming> {
    let mut fields = MessageFields::new(metric);
    while let Some((number, value)) = fields.next()? {
        let attributes = match number {
            5 | 7 | 11 => 7, // gauge, sum, summary
            9 => 9,          // histogram
            10 => 1,         // exponential histogram
            _ => continue,
        };
        let FieldValue::Bytes(data) = value else { return Err(BrokenFraming) };
        let mut points = MessageFields::new(data);
        while let Some(point) = points.find(1)? {
            each(place(point, attributes)?);
        }
    }
    Ok(())
}

/// Sender and sequence number of one record whose attributes are the field `attributes`.
fn place(record: &[u8], attributes: u64) -> Result<Numbering, BrokenFraming> {
    let (mut sender, mut sequence) = (None, None);
    let mut fields = MessageFields::new(record);
    while let Some(attribute) = fields.find(attributes)? {
        // A Collector writes the key last.
        let Some(key) = MessageFields::new(attribute).find(1)? else { continue };
        if key == SEQUENCE_ATTRIBUTE.as_bytes() {
            sequence = SequenceText::parse(&attribute_text(attribute)?);
        } else if key == SENDER_ATTRIBUTE.as_bytes() {
            sender = SenderId::try_from(&*attribute_text(attribute)?).ok();
        }
        if let (Some(sender), Some(sequence)) = (sender, sequence) {
            return Ok(Numbering::Numbered(sender, sequence));
        }
    }
    Ok(Numbering::Unnumbered)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use prost::Message;

    use super::*;

    fn attribute(key: &str, value: Any) -> KeyValue {
        KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
    }

    fn request(key: Any) -> Vec<u8> {
        let record = LogRecord {
            body: Some(AnyValue { value: Some(Any::DoubleValue(0.5)) }),
            attributes: vec![
                attribute("other", Any::BoolValue(true)),
                attribute("sluice.sequence", Any::StringValue("0000000000000012".to_owned())),
                attribute("sluice.sender", Any::StringValue("00000000000000ab".to_owned())),
            ],
            flags: 1,
            ..LogRecord::default()
        };
        let resource = Resource { attributes: vec![attribute("key", key)], ..Resource::default() };
        let scope_logs = vec![ScopeLogs { log_records: vec![record; 2], ..ScopeLogs::default() }];
        let entry = ResourceLogs { resource: Some(resource), scope_logs, ..ResourceLogs::default() };
        ExportLogsServiceRequest { resource_logs: vec![entry] }.encode_to_vec()
    }

    fn read(request: &[u8]) -> Result<Vec<(Vec<u8>, Numbering)>, BrokenFraming> {
        let mut seen = Vec::new();
        entries(request, |entry| {
            let key = routing_key(entry, "key")?.into_owned();
            records(Signal::Logs, entry, |place| seen.push((key.clone(), place)))
        })?;
        Ok(seen)
    }

    #[test]
    fn attributes_are_found_in_any_order() {
        let place = Numbering::Numbered(*b"00000000000000ab", 12);
        assert_eq!(read(&request(Any::StringValue("a".to_owned()))), Ok(vec![(b"a".to_vec(), place); 2]));
    }

    #[test]
    fn attributes_are_found_with_their_fields_in_any_order() {
        let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
        let text = |value: &str| field(2, &field(1, value.as_bytes()));
        let attribute = |key: &str, value: &str| [text(value), field(1, key.as_bytes())].concat();
        let record = [
            field(6, &attribute("sluice.sender", "00000000000000ab")),
            field(6, &attribute("sluice.sequence", "0000000000000012")),
        ];
        let resource = field(1, &field(1, &attribute("key", "a")));
        let scope = field(2, &field(2, &record.concat()));
        let request = field(1, &[scope, resource].concat());
        let place = Numbering::Numbered(*b"00000000000000ab", 12);
        assert_eq!(read(&request), Ok(vec![(b"a".to_vec(), place)]));
    }

    #[test]
    fn a_routing_key_is_its_value_as_text() {
        for (value, text) in
            [(Any::IntValue(-7), "-7"), (Any::BoolValue(true), "true"), (Any::DoubleValue(1.0), "")]
        {
            assert_eq!(read(&request(value)).unwrap()[0].0, text.as_bytes());
        }
    }

    #[test]
    fn a_request_that_ends_too_early_is_malformed_wherever_it_ends() {
        let request = request(Any::StringValue("a".to_owned()));
        for end in 1..request.len() {
            assert_eq!(read(&request[..end]), Err(BrokenFraming), "cut at {end}");
        }
    }
}
