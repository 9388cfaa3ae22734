//! A request as entries that are valid each by itself, and what had to be cut out of it.

use std::borrow::Cow;

use smallvec::SmallVec;
use thiserror::Error;

use super::cut::{self, Cut};
use super::fault::{Reason, Violation};
use super::schema::Message;
use super::validate::{Level, Walk};
use super::wire::{Fields, Value, put_delimited};
use super::{Ignored, Signal, attributes, locate, piece};

/// The number of the resource's field in an entry of any signal.
const RESOURCE: u32 = 1;

/// A request, split into entries.
#[derive(Debug, Default)]
pub struct Split<'a> {
    /// The valid entries in the request's order.
    pub entries: SmallVec<[Entry<'a>; 4]>,
    /// The parts that are not valid, in the request's order.
    pub cuts: Vec<Cut>,
    /// The unknown fields that were passed over in parts that have no records.
    pub ignored: Ignored,
}

impl Split<'_> {
    /// Bytes of entries that are not borrowed from the request.
    pub fn copied_bytes(&self) -> usize {
        let copied = |entry: &Entry<'_>| match &entry.bytes {
            Cow::Owned(bytes) => bytes.len(),
            Cow::Borrowed(_) => 0,
        };
        self.entries.iter().map(copied).sum()
    }
}

/// A valid `ResourceSpans`, `ResourceMetrics` or `ResourceLogs`.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// The encoded message without the key and length that frame it in the request. Borrowed unless something
    /// was cut out of it, it was partitioned, or its scopes stood under field 1000 alone: here they stand under field 2.
    pub bytes: Cow<'a, [u8]>,
    /// The position among the request's entries, those that are not valid included.
    pub index: usize,
    /// Spans, data points or log records in it.
    pub records: u64,
    /// Where in `bytes` the resource starts and ends; a length that an encoded message can have fits.
    resource: (u32, u32),
}

impl Entry<'_> {
    /// The encoded `Resource`; empty if there is none.
    pub fn resource(&self) -> &[u8] {
        &self.bytes[self.resource.0 as usize..self.resource.1 as usize]
    }

    /// Writes an attribute into the resource, in place of every value that it has there. Copies the entry unless it has that
    /// value already.
    pub fn stamp(&mut self, name: &str, text: &str) {
        let Some(resource) = attributes::stamped(self.resource(), name, text) else { return };
        let mut bytes = Vec::with_capacity(self.bytes.len() + resource.len() + 8);
        put_delimited(&mut bytes, RESOURCE, &resource);
        let range = ((bytes.len() - resource.len()) as u32, bytes.len() as u32);
        for field in Fields::of(&self.bytes).map_while(Result::ok).filter(|field| field.number != RESOURCE) {
            bytes.extend_from_slice(field.raw);
        }
        self.bytes = Cow::Owned(bytes);
        self.resource = range;
    }
}

/// The request's own framing is broken, so that no entry can be told from the next.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason} (`{path}`, at byte {offset})")]
pub struct Malformed {
    /// The path of the broken field, as far as it can be told.
    pub path: String,
    /// Its position in the request's bytes.
    pub offset: usize,
    /// Which rule it breaks.
    pub reason: Reason,
}

/// How many entries a request has, valid or not, as far as its framing can be read. Cheap: nothing in them is looked at.
pub fn count_entries(request: &[u8]) -> usize {
    Fields::of(request).map_while(Result::ok).filter(|field| field.number == 1).count()
}

/// The entries of a request that is known to hold nothing else, each under its frame and without.
pub fn frames(request: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let fields = Fields::of(request).map_while(Result::ok);
    fields.filter_map(|field| Some((field.raw, field.delimited()?)))
}

/// The encoded `Resource` of an entry, which need not be valid; empty if there is none.
pub fn resource(entry: &[u8]) -> &[u8] {
    let resource = Fields::of(entry).map_while(Result::ok).find(|field| field.number == 1);
    resource.and_then(|field| field.delimited()).unwrap_or_default()
}

/// How many records a valid entry has.
pub fn count_records(signal: Signal, entry: &[u8]) -> u64 {
    piece::records(Message::entry(signal), entry).unwrap_or_default()
}

/// How many records a request has, valid or not; 0 if its framing doesn't hold on the way to them. Cheap, and takes no
/// memory.
pub fn count_request(signal: Signal, request: &[u8]) -> u64 {
    piece::records(Message::request(signal), request).unwrap_or_default()
}

/// Splits a request into valid entries. A valid entry is not copied; of another one, what is not valid is cut
/// out: the record where the framing around it holds, else the metric, the scope or the entry. An entry that has its
/// scopes under field 1000 alone gets them under field 2. Of the request's own fields only the entries are taken over.
pub fn split(signal: Signal, request: &[u8]) -> Result<Split<'_>, Malformed> {
    let split = split_entries(signal, request);
    // White space in front of JSON can pass as the frame of an entry.
    let taken = split.as_ref().is_ok_and(|split| !split.entries.is_empty() || split.cuts.is_empty());
    if !taken && looks_like_json(request) {
        let path = Message::request(signal).name.to_owned();
        return Err(Malformed { path, offset: 0, reason: Reason::LooksLikeJson });
    }
    split
}

/// Whether bytes begin as a JSON object does.
fn looks_like_json(bytes: &[u8]) -> bool {
    // Some encoders write the byte order mark of UTF-8 before a text.
    let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes).trim_ascii_start();
    text.strip_prefix(b"{").is_some_and(|rest| matches!(rest.trim_ascii_start().first(), Some(b'"' | b'}')))
}

fn split_entries(signal: Signal, request: &[u8]) -> Result<Split<'_>, Malformed> {
    let malformed = |reason, at: &[u8]| {
        let offset = at.as_ptr().addr() - request.as_ptr().addr();
        Malformed { path: locate::path(signal, request, offset), offset, reason }
    };
    // The offsets kept with an entry are 32 bits wide, and no server takes a message of 2 GiB.
    if u32::try_from(request.len()).is_err() {
        let path = Message::request(signal).name.to_owned();
        return Err(Malformed { path, offset: 0, reason: Reason::TooLong });
    }
    let mut split = Split::default();
    let mut index = 0;
    for field in Fields::of(request) {
        let field = field.map_err(|(reason, at)| malformed(reason, at))?;
        match (field.number, field.value) {
            (1, Value::Delimited(bytes)) => {
                match check(signal, request, bytes, index) {
                    Ok((entry, beside)) => {
                        if beside > 0 && piece::differs_from_former(Message::entry(signal), bytes) {
                            split.ignored.add_former(signal, index);
                        } else if entry.records == 0 {
                            let offset = bytes.as_ptr().addr() - request.as_ptr().addr();
                            split.ignored.look_into_entry(signal, request, bytes, offset);
                        }
                        split.entries.push(entry);
                    }
                    Err(fault) => {
                        let rest = cut::sift(signal, request, &field, index, fault, &mut split.cuts);
                        split.entries.extend(rest.map(|(bytes, records)| rewritten(bytes, index, records)));
                    }
                }
                index += 1;
            }
            (1, _) => return Err(malformed(Reason::WireType, field.raw)),
            _ => {}
        }
    }
    let is_empty = split.entries.iter().all(|entry| entry.records == 0) && split.cuts.is_empty();
    if is_empty && split.ignored.count() == 0 {
        split.ignored.look_into_request(signal, request);
    }
    Ok(split)
}

/// The entry, if it is valid as it is, and how many records stand under the number that scopes once had, beside those of
/// today.
fn check<'a>(
    signal: Signal,
    request: &'a [u8],
    bytes: &'a [u8],
    index: usize,
) -> Result<(Entry<'a>, u64), Violation> {
    let mut walk = Walk::new(request);
    let message = Message::entry(signal);
    walk.message(message, bytes, Level::ENTRY)?;
    if let Some(records) = walk.former
        && piece::is_former(message, bytes)
    {
        return Ok((rewritten(piece::renumbered(message, bytes), index, records), 0));
    }
    let resource = walk.resource.map_or((0, 0), |resource| range(bytes, resource));
    let entry = Entry { bytes: Cow::Borrowed(bytes), index, records: walk.records, resource };
    Ok((entry, walk.former.unwrap_or_default()))
}

/// An entry that is not as it came: something was cut out of it, its scopes stood under their number of once, or it is a part
/// of one.
pub(super) fn rewritten<'a>(bytes: Vec<u8>, index: usize, records: u64) -> Entry<'a> {
    let resource = match resource(&bytes) {
        [] => (0, 0),
        resource => range(&bytes, resource),
    };
    Entry { bytes: Cow::Owned(bytes), index, records, resource }
}

/// Where `part` lies in `whole`.
fn range(whole: &[u8], part: &[u8]) -> (u32, u32) {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    (start as u32, (start + part.len()) as u32)
}

#[cfg(test)]
mod tests;
