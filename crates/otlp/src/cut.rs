//! Cutting out of an entry what is not valid, so that nothing else in it suffers.

use super::fault::{Reason, Violation};
use super::piece::{self, Child, EntryPiece, Header, Parts};
use super::schema::Message;
use super::validate::{Level, Walk};
use super::wire::{Fields, WireField};
use super::{Signal, locate};

/// How many parts of a request are cut out one by one. What follows goes into one last [`Cut`] together, so that a
/// request of nothing but small broken records takes no more memory than its bytes.
pub(super) const NAMED: usize = 16;

/// A part of a request that is not valid OTLP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The position in the request of the entry that the part was in.
    pub index: usize,
    /// The path of the offending field: `resource_logs[3].scope_logs[0].log_records[2].body.string_value`.
    pub path: String,
    /// The position of the fault in the request's bytes.
    pub offset: usize,
    /// What is wrong at that position.
    pub reason: Reason,
    /// Spans, data points or log records in `bytes`; 1 for a part whose records can't be counted.
    pub records: u64,
    /// What was cut out, with copies of the messages around it, as a request: for the dead letter. When a request
    /// has more than 16 such parts, the last cut has all further ones, and tells where the first of them is. The same
    /// goes for an entry in which repeating the messages around them would take more than the entry itself.
    pub bytes: Vec<u8>,
}

/// Takes an invalid entry apart. Returns its valid parts as an entry, and how many records they have, unless no part is valid;
/// the other parts are added to `cuts`.
pub(super) fn sift(
    signal: Signal,
    request: &[u8],
    entry: &WireField<'_>,
    index: usize,
    fault: Violation,
    cuts: &mut Vec<Cut>,
) -> Option<(Vec<u8>, u64)> {
    let entry = Child::of(Message::request(signal), entry, false).expect("entries lead to records");
    let mut sieve = Sieve {
        signal,
        request,
        index,
        cuts,
        kept: EntryPiece::default(),
        cut: EntryPiece::default(),
        fault: None,
        copies_left: entry.raw.len(),
    };
    // The entry is sifted as a child of the request, so that cutting it out whole is no special case.
    sieve.cut.enter(0, Header::default());
    sieve.sift(&entry, Level::ENTRY, fault);
    sieve.flush();
    sieve.kept.take()
}

struct Sieve<'a> {
    signal: Signal,
    request: &'a [u8],
    index: usize,
    cuts: &'a mut Vec<Cut>,
    /// The valid parts, as an entry.
    kept: EntryPiece,
    /// The other ones, as a request.
    cut: EntryPiece,
    /// Why the first part in `cut` is there.
    fault: Option<Violation>,
    /// Bytes of headers that may still be copied so that a part can be named for itself: an entry with a large resource
    /// and many broken records takes no more memory than twice its bytes.
    copies_left: usize,
}

impl Sieve<'_> {
    /// Sorts the parts of `child`, which has `fault` and stands at `level`.
    fn sift(&mut self, child: &Child<'_>, level: Level, fault: Violation) {
        let message = child.message();
        let sound = !child.field.record && Self::has_valid_header(message, child.bytes, level);
        let parts = if sound { Parts::of(message, child.bytes) } else { None };
        let (Some(parts), Some(below)) = (parts, level.below()) else { return self.cut(child, fault) };
        self.kept.enter(child.field.number, parts.header.clone());
        self.cut.enter(child.field.number, parts.header.clone());
        for part in parts.children() {
            let mut walk = Walk::new(self.request);
            match walk.message(part.message(), part.bytes, below) {
                Ok(()) => self.kept.put(&part.renumbered(), walk.records + u64::from(part.field.record)),
                Err(fault) => self.sift(&part, below, fault),
            }
        }
        if level != Level::ENTRY {
            self.kept.leave();
        }
        self.cut.leave();
    }

    /// Whether all is right but, perhaps, the children.
    fn has_valid_header(message: &'static Message, bytes: &[u8], level: Level) -> bool {
        let mut walk = Walk::new(bytes);
        let former = piece::is_former(message, bytes);
        Fields::of(bytes).map_while(Result::ok).all(|field| {
            Child::of(message, &field, former).is_some() || walk.message(message, field.raw, level).is_ok()
        })
    }

    fn cut(&mut self, child: &Child<'_>, fault: Violation) {
        let headers = self.cut.len_with(0);
        self.cut.put(child.raw, child.records().unwrap_or(1).max(1));
        self.fault.get_or_insert(fault);
        if self.cuts.len() <= NAMED && headers <= self.copies_left {
            self.copies_left -= headers;
            self.flush();
        }
    }

    /// Makes a [`Cut`] of what was cut out since the last time.
    fn flush(&mut self) {
        let Some(((bytes, records), fault)) = self.cut.take().zip(self.fault.take()) else { return };
        if self.cuts.len() <= NAMED {
            let path = locate::path(self.signal, self.request, fault.offset);
            let Violation { reason, offset } = fault;
            self.cuts.push(Cut { index: self.index, path, offset, reason, records, bytes });
        } else if let Some(further) = self.cuts.last_mut() {
            further.bytes.extend_from_slice(&bytes);
            further.records += records;
        }
    }
}
