//! A request that is encoded once, and in which only numbers of fixed width change from sending to sending.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::messages::{self, ID, RecordParts, SENDER, SEQUENCE, START, TIME};
use super::settings::{SendError, SendSettings};
use crate::sequence::{SequenceText, sender_id};

/// How long what a record tells of took, in nanoseconds.
const TOOK: u64 = 12_000_000;

/// Which stream an entry is for, and the sequence number of its first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryPlace {
    pub(super) stream: usize,
    pub(super) first: u64,
}

/// The request of one connection. All its entries have the same length and shape.
#[derive(Debug)]
pub(super) struct RequestTemplate {
    bytes: Bytes,
    /// Bytes from one entry to the next.
    stride: usize,
    /// Where in an entry the digits of the stream's name are.
    stream: std::ops::Range<usize>,
    /// Where in an entry the records' senders, sequence numbers, times and ids are.
    senders: Vec<usize>,
    sequences: Vec<usize>,
    starts: Vec<usize>,
    times: Vec<usize>,
    /// None for metrics, else two for each record, its trace's and its span's.
    ids: Vec<usize>,
    run: u32,
    connection: usize,
    connections: usize,
}

impl RequestTemplate {
    /// Encodes the request of one sender. It is full of placeholders until it has been filled.
    pub(super) fn new(settings: &SendSettings, run: u32, connection: usize) -> Result<Self, SendError> {
        let parts = |variant| RecordParts { filling: 0, variant };
        let filled = |variant| filled_to(settings, parts(variant));
        // Fails here rather than for the first record that is too small.
        for variant in 0..settings.records.min(4) {
            filled(variant)?;
        }
        let digits = stream_digits(settings.streams);
        let key = format!("{}{}", settings.stream_prefix, "@".repeat(digits));
        let record = |variant| filled(variant).unwrap_or_else(|_| parts(variant));
        let entry = messages::entry(settings.signal, &settings.attribute, &key, settings.records, record);

        let mut framed = Vec::with_capacity(entry.len() + 8);
        encode_key(1, WireType::LengthDelimited, &mut framed);
        encode_varint(entry.len() as u64, &mut framed);
        framed.extend_from_slice(&entry);

        let all = |placeholder: &[u8]| memmem::find_iter(&framed, placeholder).collect::<Vec<_>>();
        // Whose last field is the name. The resource's stands before those of the records.
        let naming = messages::text(&settings.attribute, &key).encode_to_vec();
        let name_end = all(&naming).first().expect("the resource names its stream") + naming.len();
        Ok(Self {
            stride: framed.len(),
            stream: name_end - digits..name_end,
            senders: all(SENDER.as_bytes()),
            sequences: all(SEQUENCE.as_bytes()),
            starts: all(&START.to_le_bytes()),
            times: all(&TIME.to_le_bytes()),
            ids: all(&ID[..8]),
            bytes: framed.repeat(settings.entries).into(),
            run,
            connection,
            connections: settings.connections,
        })
    }

    /// The encoded size of the request.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The request with these places for its entries. What is handed out shares the template's memory; if it has been
    /// dropped before the next call, that memory is written in place.
    pub(super) fn fill(&mut self, places: impl Iterator<Item = EntryPlace>) -> Bytes {
        let bytes = std::mem::take(&mut self.bytes);
        let mut bytes = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(TOOK, |since| since.as_nanos() as u64);
        for (entry, place) in bytes.chunks_exact_mut(self.stride).zip(places) {
            self.fill_entry(entry, place, now);
        }
        self.bytes = bytes.freeze();
        self.bytes.clone()
    }

    fn fill_entry(&self, entry: &mut [u8], place: EntryPlace, now: u64) {
        let mut number = place.stream;
        for digit in entry[self.stream.clone()].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        let sender = sender_id(self.run, self.connection, self.connections, place.stream);
        for &at in &self.senders {
            entry[at..at + sender.len()].copy_from_slice(&sender);
        }
        let mut text = SequenceText::new(place.first);
        for &at in &self.sequences {
            entry[at..at + text.as_bytes().len()].copy_from_slice(text.as_bytes());
            text.increment();
        }
        write_all(entry, &self.starts, (now - TOOK).to_le_bytes());
        write_all(entry, &self.times, now.to_le_bytes());
        let unique = u64::from(self.run) ^ ((self.connection as u64) << 32) ^ ((place.stream as u64) << 40);
        for (pair, number) in self.ids.chunks_exact(2).zip(place.first..) {
            write_all(entry, pair, (unique ^ number | 1 << 63).to_be_bytes());
        }
    }
}

fn write_all(entry: &mut [u8], places: &[usize], bytes: [u8; 8]) {
    for &at in places {
        entry[at..at + 8].copy_from_slice(&bytes);
    }
}

/// The routing key of stream number `stream`.
pub(super) fn stream_name(settings: &SendSettings, stream: usize) -> String {
    let prefix = &settings.stream_prefix;
    format!("{prefix}{stream:0width$}", width = stream_digits(settings.streams))
}

/// Digits in a stream's number, the same for all of them, so that all names are equally long.
fn stream_digits(streams: usize) -> usize {
    streams.saturating_sub(1).checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// The record with as much filling as makes it `record_bytes` long when encoded.
fn filled_to(settings: &SendSettings, parts: RecordParts) -> Result<RecordParts, SendError> {
    let len = |filling| messages::record_len(settings.signal, RecordParts { filling, ..parts });
    let wanted = settings.record_bytes;
    let least = len(0);
    if wanted < least {
        return Err(SendError::RecordTooSmall { wanted, least });
    }
    // The framing of the filling depends on its length, so the first guess can be a few bytes too long.
    let mut filling = wanted - least;
    while len(filling) > wanted && filling > 0 {
        filling -= (len(filling) - wanted).min(filling);
    }
    Ok(RecordParts { filling, ..parts })
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use prost::Message;

    use super::*;
    use otlp::Signal;

    fn settings(signal: Signal) -> SendSettings {
        SendSettings {
            signal,
            streams: 100,
            entries: 3,
            records: 7,
            record_bytes: 300,
            connections: 4,
            ..SendSettings::new("http://127.0.0.1:4318")
        }
    }

    fn places() -> impl Iterator<Item = EntryPlace> {
        (0..3).map(|index| EntryPlace { stream: 7 * index, first: 99 + index as u64 })
    }

    #[test]
    fn every_signal_has_a_place_for_every_number() {
        for signal in Signal::ALL {
            let template = RequestTemplate::new(&settings(signal), 1, 2).unwrap();
            assert_eq!((template.senders.len(), template.sequences.len()), (7, 7), "{signal}");
            assert_eq!(template.starts.len(), 7, "{signal}");
            assert_eq!(template.times.len(), 7, "{signal}");
            assert_eq!(template.ids.len(), if signal == Signal::Metrics { 0 } else { 14 }, "{signal}");
        }
    }

    #[test]
    fn a_filled_request_is_otlp_that_says_what_was_filled_in() {
        let mut template = RequestTemplate::new(&settings(Signal::Logs), 1, 2).unwrap();
        let request = ExportLogsServiceRequest::decode(template.fill(places())).unwrap();
        let mut seen = Vec::new();
        for entry in &request.resource_logs {
            let text = |attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue], key: &str| {
                let found = attributes.iter().find(|attribute| attribute.key == key).unwrap();
                match found.value.as_ref().unwrap().value.as_ref().unwrap() {
                    Value::StringValue(text) => text.clone(),
                    other => panic!("{key} is {other:?}"),
                }
            };
            let stream = text(&entry.resource.as_ref().unwrap().attributes, "s2.stream");
            for record in &entry.scope_logs[0].log_records {
                assert_eq!(record.encoded_len(), 300);
                seen.push(["sluice.sender", "sluice.sequence"].map(|key| text(&record.attributes, key)));
                assert_eq!(stream, format!("stream-{:02}", 7 * ((seen.len() - 1) / 7)));
            }
        }
        assert_eq!(seen.len(), 21);
        assert_eq!(seen[0], ["0000000100000002", "0000000000000099"]);
        assert_eq!(seen[20], ["000000010000003a", "0000000000000107"]);
    }

    #[test]
    fn filling_again_writes_in_place_unless_the_last_request_is_still_held() {
        let mut template = RequestTemplate::new(&settings(Signal::Traces), 1, 2).unwrap();
        let first = template.fill(places());
        let (address, copy) = (first.as_ptr(), first.to_vec());
        let second = template.fill(places());
        assert_ne!(second.as_ptr(), address);
        assert_eq!(first, copy);
        drop(first);
        let address = second.as_ptr();
        drop(second);
        assert_eq!(template.fill(places()).as_ptr(), address);
    }

    #[test]
    fn a_record_size_that_is_too_small_names_the_least() {
        let settings = SendSettings { record_bytes: 10, ..settings(Signal::Logs) };
        let error = RequestTemplate::new(&settings, 1, 2).unwrap_err();
        assert!(matches!(error, SendError::RecordTooSmall { wanted: 10, least } if least > 100), "{error}");
    }
}
