//! The walk over the messages of a document.

use std::fmt::Write as _;

use super::super::super::schema::{self, Field, FieldKind, KEY_VALUE, Label, MESSAGES, Message};
use super::super::super::validate::Level;
use super::super::super::{Cut, Ignored, Malformed, Reason, Signal, ignored, locate, wire};
use super::cut::OpenMessage;
use super::former::{FormerMember, is_nothing};
use super::scalar::Ids;
use super::skip::Brackets;
use super::text::{self, space};
use super::{JsonReadError, Omitted, Transcoded};

/// More fields than any message has.
const ROWS: usize = 24;

/// The name of each row is at first expected behind that of the row before.
const IN_ORDER: [u8; ROWS] = {
    let mut rows = [0; ROWS];
    let mut row = 0;
    while row < ROWS {
        rows[row] = row as u8;
        row += 1;
    }
    rows
};

/// Bytes that a key and a number, or a key and a length, can take.
pub(super) const NUMBER: usize = 16;

/// Bytes of an unknown name that a path shows.
const LONGEST_NAME: usize = 40;

/// The walk has stopped, for a reason that [`DocumentReader`] keeps: an error without a payload goes up through a hundred levels
/// in one register.
#[derive(Debug)]
pub(super) struct WalkStop;

pub(super) type WalkResult<T> = Result<T, WalkStop>;

/// Why the walk has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WalkTrouble {
    /// The value at this position is JSON, but not OTLP.
    Wrong(Reason, usize),
    /// The text at this position is not JSON, so that nobody can tell where the value ends.
    Broken(Reason, usize),
    NoRoom,
}

/// A part of the path to a trouble.
#[derive(Clone, Copy, Debug)]
pub(super) enum PathSegment<'a> {
    Field(&'static Field),
    Index(usize),
    /// A name that the schema doesn't have.
    Name(&'a [u8]),
}

/// A document being read, and the protobuf that has been written of it.
pub(super) struct DocumentReader<'a, 'r> {
    pub(super) request: &'static Message,
    pub(super) json: &'a [u8],
    pub(super) out: Vec<u8>,
    room: &'r mut dyn FnMut(usize) -> bool,
    /// By message: the bytes that its last length took.
    widths: [u8; MESSAGES.len()],
    /// By message: the row whose name came last time behind that of each row, and at first.
    next: [[u8; ROWS]; MESSAGES.len()],
    /// The messages that hold records from the entry down to where the walk is.
    pub(super) open: Vec<OpenMessage<'a>>,
    /// Their members that hold none, as far as they have come.
    pub(super) headers: Vec<&'a [u8]>,
    /// Parts that are records or hold records, and are not cut out.
    pub(super) kept: u64,
    pub(super) cuts: Vec<Cut>,
    /// Parts in `cuts`.
    pub(super) parts: u64,
    pub(super) gone: Vec<u32>,
    /// Records that the document has, right or wrong, and parts in `ignored`.
    pub(super) found: u64,
    pub(super) ignored: Ignored,
    /// The first unknown name in each open message that leads to records, with how many such are open around it.
    pub(super) unknown: Vec<(usize, &'a [u8])>,
    /// Members of open messages under names that their fields had once.
    pub(super) former: Vec<FormerMember<'a>>,
    /// The name of once that the field being read has in the document.
    pub(super) alias: Option<&'a [u8]>,
    pub(super) ids: Ids,
    pub(super) trouble: Option<WalkTrouble>,
    /// The path to the trouble, innermost first.
    pub(super) trail: Vec<PathSegment<'a>>,
    pub(super) brackets: Brackets,
    /// The longest text, in bytes, that has been copied to undo its escapes.
    pub(super) unescaped: usize,
}

impl<'a, 'r> DocumentReader<'a, 'r> {
    pub(super) fn new(
        request: &'static Message,
        json: &'a [u8],
        room: &'r mut dyn FnMut(usize) -> bool,
    ) -> Self {
        let mut widths = [1; MESSAGES.len()];
        // Entries and scopes are seldom more than one, and hold all there is.
        for (width, message) in widths.iter_mut().zip(&MESSAGES) {
            if message.holds_records {
                *width = wire::varint_len(json.len() / 2) as u8;
            }
        }
        Self {
            request,
            json,
            out: Vec::new(),
            room,
            widths,
            next: [IN_ORDER; MESSAGES.len()],
            open: Vec::new(),
            headers: Vec::new(),
            kept: 0,
            cuts: Vec::new(),
            parts: 0,
            gone: Vec::new(),
            found: 0,
            ignored: Ignored::default(),
            unknown: Vec::new(),
            former: Vec::new(),
            alias: None,
            ids: Ids::default(),
            trouble: None,
            trail: Vec::new(),
            brackets: Brackets::default(),
            unescaped: 0,
        }
    }

    /// Reads the whole document.
    pub(super) fn document(mut self) -> Result<Transcoded, JsonReadError> {
        match self.request() {
            Ok(()) => {
                let omitted = Omitted { cuts: self.cuts, entries: self.gone, ignored: self.ignored };
                Ok(Transcoded { bytes: self.out, omitted })
            }
            Err(WalkStop) => Err(match self.trouble {
                Some(WalkTrouble::Wrong(reason, offset) | WalkTrouble::Broken(reason, offset)) => {
                    JsonReadError::Malformed(Malformed { path: self.path(), offset, reason })
                }
                Some(WalkTrouble::NoRoom) | None => JsonReadError::NoRoom,
            }),
        }
    }

    fn request(&mut self) -> WalkResult<()> {
        // Telemetry takes half as many bytes in protobuf.
        self.grow(self.json.len() / 2)?;
        let rest = match space(self.json) {
            // As in a Collector.
            document @ [b'n', ..] => self.literal(document, b"null")?,
            document => self.message(self.request, document, Level::REQUEST)?,
        };
        self.end_unknown(self.request, 0);
        match space(rest) {
            [] => Ok(()),
            rest @ [b'{' | b'[', ..] => self.broken(rest, Reason::SeveralDocuments),
            rest => self.broken(rest, Reason::Trailing),
        }
    }

    /// Reads a message that stands at `level` and writes its fields.
    fn message(&mut self, message: &'static Message, text: &'a [u8], level: Level) -> WalkResult<&'a [u8]> {
        let [b'{', rest @ ..] = text else { return self.wrong(text, Reason::NotAnObject) };
        let mut rest = space(rest);
        if let [b'}', rest @ ..] = rest {
            return Ok(rest);
        }
        let (mut seen, mut after) = (0_u32, 0);
        let written = self.out.len();
        loop {
            let member = rest;
            let (field, value) = self.name(message, member, &mut after)?;
            rest = match field {
                Some(_) if value.first() == Some(&b'n') => self.literal(value, b"null")?,
                Some(field) => {
                    let slot = 1 << field.slot;
                    if seen & slot != 0 {
                        return self.again(field, member);
                    }
                    seen |= slot;
                    let rest = match self.member(field, value, level) {
                        Ok(rest) => rest,
                        Err(WalkStop) => return self.on_the_way(PathSegment::Field(field)),
                    };
                    if message.holds_records && !field.leads {
                        self.headers.push(&member[..member.len() - rest.len()]);
                    }
                    rest
                }
                None => self.unknown(message, member, value)?,
            };
            rest = match space(rest) {
                [b',', rest @ ..] => space(rest),
                [b'}', rest @ ..] => {
                    if message.holds_records && !self.former.is_empty() {
                        self.read_former(message, text, written, level)?;
                    }
                    return Ok(rest);
                }
                rest => return self.broken(rest, Reason::Syntax),
            }
        }
    }

    /// Reads a name with its colon; gives the field it is of, if it is of one, and what follows. `after` is the row
    /// after that of the name before.
    #[inline]
    pub(super) fn name(
        &mut self,
        message: &'static Message,
        text: &'a [u8],
        after: &mut usize,
    ) -> WalkResult<(Option<&'static Field>, &'a [u8])> {
        let expected = self.next[message.index as usize][*after] as usize;
        if let Some(field) = message.fields.get(expected)
            && let Some(rest) = text.strip_prefix(field.json.as_bytes())
        {
            *after = expected + 1;
            return Ok((Some(field), space(rest)));
        }
        self.unexpected_name(message, text, after)
    }

    #[inline(never)]
    fn unexpected_name(
        &mut self,
        message: &'static Message,
        text: &'a [u8],
        after: &mut usize,
    ) -> WalkResult<(Option<&'static Field>, &'a [u8])> {
        let (name, rest) = self.text(text)?;
        let [b':', rest @ ..] = space(rest) else { return self.broken(space(rest), Reason::Syntax) };
        let named = |field: &Field| field.json_name().as_bytes() == &*name || field.name.as_bytes() == &*name;
        let Some(row) = message.fields.iter().position(named) else {
            // At the wrong address; passed over, all of it would be lost unseen.
            let is_entries = |field: &Field| {
                Signal::ALL.iter().any(|signal| field.json_name() == signal.json_entry_field())
            };
            let of_other = |signal: &Signal| {
                *name == *signal.json_entry_field().as_bytes() || *name == *signal.entry_field().as_bytes()
            };
            if message.fields.iter().any(is_entries) && Signal::ALL.iter().any(of_other) {
                return self.broken(text, Reason::OtherSignal);
            }
            return Ok((None, space(rest)));
        };
        self.next[message.index as usize][*after] = row as u8;
        *after = row + 1;
        Ok((Some(&message.fields[row]), space(rest)))
    }

    /// Passes over a member that the schema doesn't have (rule 51), at least under this name.
    fn unknown(
        &mut self,
        message: &'static Message,
        member: &'a [u8],
        value: &'a [u8],
    ) -> WalkResult<&'a [u8]> {
        let name = text::string(&member[1..]).map_or(member, |(name, _)| name.bytes);
        let Ok(rest) = self.skip(value) else { return self.on_the_way(PathSegment::Name(name)) };
        if message.holds_records {
            let depth = self.open.len();
            if self.note_former(message, member, name, value)? {
                // For a record that is cut out: it goes with what stood before it.
                if message.former.is_some_and(|former| former.number == 0) {
                    self.headers.push(&member[..member.len() - rest.len()]);
                }
            } else if (!is_nothing(value) || is_nearly_known(message, name))
                && self.unknown.last().is_none_or(|(known, _)| *known < depth)
            {
                self.unknown.push((depth, name));
            }
        }
        Ok(rest)
    }

    /// At the end of a message that leads to records: if it has none, but unknown names, the sender is told. `found` is
    /// how many there were before it.
    pub(super) fn end_unknown(&mut self, message: &'static Message, found: u64) {
        let depth = self.open.len();
        if let Some((_, name)) = self.unknown.pop_if(|(known, _)| *known == depth)
            && self.found == found
        {
            let path = self.path_of(name);
            self.ignored.add_unknown(|| path, &ignored::expected_in_json(message));
            self.found += 1;
        }
    }

    /// The path of a member of the message that the walk is in.
    pub(super) fn path_of(&mut self, name: &'a [u8]) -> String {
        self.trail.push(PathSegment::Name(name));
        let path = self.path();
        self.trail.pop();
        path
    }

    #[inline]
    pub(super) fn member(
        &mut self,
        field: &'static Field,
        text: &'a [u8],
        level: Level,
    ) -> WalkResult<&'a [u8]> {
        if field.label == Label::Repeated {
            return self.list(field, text, level);
        }
        match field.kind {
            FieldKind::Message(index) if field.leads => {
                self.child(field, None, schema::message(index), text, level)
            }
            FieldKind::Message(index) => self.framed(field, schema::message(index), text, level),
            _ => self.scalar(field, text),
        }
    }

    fn list(&mut self, field: &'static Field, text: &'a [u8], level: Level) -> WalkResult<&'a [u8]> {
        let [b'[', rest @ ..] = text else { return self.wrong(text, Reason::NotAList) };
        let mut rest = space(rest);
        if let [b']', rest @ ..] = rest {
            return Ok(rest);
        }
        let is_packed = !matches!(
            field.kind,
            FieldKind::Message(_) | FieldKind::String | FieldKind::Bytes | FieldKind::Id(_)
        );
        let packed = if is_packed { Some(self.enter(field, 1)?) } else { None };
        let mut index = 0;
        loop {
            let element = match field.kind {
                FieldKind::Message(below) => self.element(field, index, below, rest, level),
                _ if packed.is_some() => self.packed(field, rest),
                _ => self.scalar(field, rest),
            };
            let Ok(after) = element else { return self.on_the_way(PathSegment::Index(index)) };
            rest = match space(after) {
                [b',', rest @ ..] => space(rest),
                [b']', rest @ ..] => {
                    if let Some(start) = packed {
                        self.leave(start, 1)?;
                    }
                    return Ok(rest);
                }
                rest => return self.broken(rest, Reason::Syntax),
            };
            index += 1;
        }
    }

    #[inline]
    fn element(
        &mut self,
        field: &'static Field,
        index: usize,
        below: u8,
        text: &'a [u8],
        level: Level,
    ) -> WalkResult<&'a [u8]> {
        if below == KEY_VALUE
            && let Some(value_level) = level.below()
            && value_level.below().is_some()
            && let Some(rest) = self.plain_attribute(field, text)
        {
            return rest;
        }
        let below = schema::message(below);
        if field.leads {
            self.child(field, Some(index), below, text, level)
        } else {
            self.framed(field, below, text, level)
        }
    }

    /// Reads a message in a message that stands at `level`, and writes it with key and length. `null` is an empty one.
    pub(super) fn framed(
        &mut self,
        field: &'static Field,
        message: &'static Message,
        text: &'a [u8],
        level: Level,
    ) -> WalkResult<&'a [u8]> {
        let Some(below) = level.below() else { return self.wrong(text, Reason::Depth) };
        let width = self.widths[message.index as usize] as usize;
        let start = self.enter(field, width)?;
        let rest = match text {
            [b'n', ..] => self.literal(text, b"null")?,
            _ => self.message(message, text, below)?,
        };
        self.widths[message.index as usize] = self.leave(start, width)? as u8;
        Ok(rest)
    }

    /// Writes the key of something with a length, for which `width` bytes are left free. Returns where it starts.
    pub(super) fn enter(&mut self, field: &Field, width: usize) -> WalkResult<usize> {
        self.need(NUMBER)?;
        self.key(field, 2);
        self.out.extend_from_slice(&[0; 5][..width]);
        Ok(self.out.len())
    }

    /// Writes the length of what starts at `start`; returns how many bytes it took.
    #[inline]
    pub(super) fn leave(&mut self, start: usize, width: usize) -> WalkResult<usize> {
        let len = self.out.len() - start;
        let needed = wire::varint_len(len);
        if needed != width {
            self.move_by(start, width, needed)?;
        }
        let mut rest = len;
        for byte in &mut self.out[start - width..][..needed] {
            *byte = rest as u8 | 0x80;
            rest >>= 7;
        }
        self.out[start - width + needed - 1] &= 0x7f;
        Ok(needed)
    }

    #[inline(never)]
    fn move_by(&mut self, start: usize, width: usize, needed: usize) -> WalkResult<()> {
        let end = self.out.len();
        if needed > width {
            self.need(needed - width)?;
            self.out.resize(end + needed - width, 0);
        }
        self.out.copy_within(start..end, start - width + needed);
        self.out.truncate(end - width + needed);
        Ok(())
    }

    /// Writes a key; there is room for it.
    #[inline]
    pub(super) fn key(&mut self, field: &Field, wire_type: u8) {
        wire::put_varint(&mut self.out, u64::from(field.number << 3 | u32::from(wire_type)));
    }

    /// Makes sure that there is room for `bytes` more.
    #[inline]
    pub(super) fn need(&mut self, bytes: usize) -> WalkResult<()> {
        if self.out.capacity() - self.out.len() < bytes { self.grow(bytes) } else { Ok(()) }
    }

    #[cold]
    fn grow(&mut self, bytes: usize) -> WalkResult<()> {
        let more = bytes.max(self.out.capacity() / 2).max(64);
        self.ask(more)?;
        let capacity = self.out.capacity() + more;
        self.out.reserve_exact(capacity - self.out.len());
        Ok(())
    }

    /// Asks for memory.
    pub(super) fn ask(&mut self, bytes: usize) -> WalkResult<()> {
        if (self.room)(bytes) {
            return Ok(());
        }
        self.trouble = Some(WalkTrouble::NoRoom);
        Err(WalkStop)
    }

    /// Where `at` begins in the document.
    fn offset(&self, at: &[u8]) -> usize {
        at.as_ptr().addr() - self.json.as_ptr().addr()
    }

    /// What begins at `at` is not what the schema wants.
    #[cold]
    pub(super) fn wrong<T>(&mut self, at: &'a [u8], reason: Reason) -> WalkResult<T> {
        self.trouble = Some(WalkTrouble::Wrong(reason, self.offset(at)));
        Err(WalkStop)
    }

    /// What begins at `at` is not JSON.
    #[cold]
    pub(super) fn broken<T>(&mut self, at: &'a [u8], reason: Reason) -> WalkResult<T> {
        let reason = if at.is_empty() { Reason::Ended } else { reason };
        self.trouble = Some(WalkTrouble::Broken(reason, self.offset(at)));
        Err(WalkStop)
    }

    /// A member that was set before, or whose `oneof` was.
    #[cold]
    fn again<T>(&mut self, field: &'static Field, member: &'a [u8]) -> WalkResult<T> {
        let reason = if field.label == Label::Member { Reason::Members } else { Reason::Twice };
        self.trail.push(PathSegment::Field(field));
        self.wrong(member, reason)
    }

    /// Notes where the trouble is, level by level.
    #[cold]
    pub(super) fn on_the_way<T>(&mut self, segment: PathSegment<'a>) -> WalkResult<T> {
        self.trail.push(segment);
        Err(WalkStop)
    }

    /// The path to the trouble, as the document's writer would name it.
    pub(super) fn path(&self) -> String {
        let mut path = String::new();
        for open in &self.open {
            open.alias.map_or(PathSegment::Field(open.field), PathSegment::Name).append_to(&mut path);
            if let Some(index) = open.index {
                PathSegment::Index(index).append_to(&mut path);
            }
        }
        for segment in self.trail.iter().rev() {
            segment.append_to(&mut path);
        }
        if path.is_empty() { self.request.name.to_owned() } else { locate::abbreviated(path) }
    }
}

impl PathSegment<'_> {
    fn append_to(self, path: &mut String) {
        if !path.is_empty() && !matches!(self, Self::Index(_)) {
            path.push('.');
        }
        let written = match self {
            Self::Index(index) => write!(path, "[{index}]"),
            Self::Field(field) => path.write_str(field.json_name()),
            // Whoever sends chooses it.
            Self::Name(name) => write!(path, "{}", name[..name.len().min(LONGEST_NAME)].escape_ascii()),
        };
        written.expect("writing to a string can't fail");
    }
}

/// Whether a name would be that of a field in which records are looked for, were its letters of the other case or its `_`
/// elsewhere. Whoever writes it has nothing to send now, and loses what comes later.
fn is_nearly_known(message: &Message, name: &[u8]) -> bool {
    fn letters(name: &[u8]) -> impl Iterator<Item = u8> {
        name.iter().filter(|byte| **byte != b'_').map(u8::to_ascii_lowercase)
    }
    message.fields.iter().any(|field| field.leads && letters(field.name.as_bytes()).eq(letters(name)))
}
