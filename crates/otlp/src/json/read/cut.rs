//! Cutting out of a document what is not OTLP, so that nothing else in it suffers.

use super::super::super::schema::{Field, Label, Message};
use super::super::super::validate::Level;
use super::super::super::{Cut, cut};
use super::scalar::Ids;
use super::text::space;
use super::walk::{DocumentReader, WalkResult, WalkStop, WalkTrouble};

/// A message that is a record or holds records, and is being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenMessage<'a> {
    /// The field of its parent that it is in.
    pub(super) field: &'static Field,
    /// The former name of that field, if the document uses it.
    pub(super) alias: Option<&'a [u8]>,
    /// Its position in the list; `None` if it is not in one.
    pub(super) index: Option<usize>,
    /// How many members were in [`DocumentReader::headers`] before its own.
    headers: usize,
}

/// What to go back to when a part is cut out.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    out: usize,
    open: usize,
    headers: usize,
    kept: u64,
    parts: u64,
    found: u64,
    ignored: usize,
    unknown: usize,
    former: usize,
    cuts: usize,
    /// Bytes and records of the last cut, to which more may be added.
    last: (usize, u64),
}

impl<'a> DocumentReader<'a, '_> {
    /// Reads a message that is a record or holds records. If it is an element of a list and wrong, it is cut out; if
    /// nothing is left of it, it is left out.
    pub(super) fn child(
        &mut self,
        field: &'static Field,
        index: Option<usize>,
        message: &'static Message,
        text: &'a [u8],
        level: Level,
    ) -> WalkResult<&'a [u8]> {
        let mark = self.mark();
        // Of what was renamed only the scopes of an entry lead to records.
        let alias = self.alias.filter(|_| mark.open == 1);
        let open = OpenMessage { field, alias, index, headers: self.headers.len() };
        if mark.open == 0 {
            self.ids = Ids::default();
        }
        self.open.push(open);
        let mut read = self.framed(field, message, text, level);
        if mark.open == 0 && read.is_ok() && self.ids.are_mixed() {
            self.go_back(mark);
            self.open.push(open);
            self.ids = Ids::HEXADECIMAL;
            read = self.framed(field, message, text, level);
        }
        if field.record {
            self.found += 1;
        } else if read.is_ok() {
            self.end_unknown(message, mark.found);
        }
        match (read, index, self.trouble) {
            (Ok(rest), Some(index), _) => {
                if self.parts != mark.parts && self.kept == mark.kept {
                    self.out.truncate(mark.out);
                    self.note_gone(mark.open, index);
                } else {
                    self.kept += 1;
                }
                self.close(mark);
                Ok(rest)
            }
            (Ok(rest), None, _) => {
                self.close(mark);
                Ok(rest)
            }
            (Err(WalkStop), Some(index), Some(WalkTrouble::Wrong(reason, offset))) => {
                let path = self.path();
                self.go_back(mark);
                self.note_gone(mark.open, index);
                let rest = self.skip(text)?;
                let part = &text[..text.len() - rest.len()];
                let position = self.open.first().and_then(|entry| entry.index).unwrap_or(index);
                let records =
                    self.count(field.record, message, part).map_or(1, |(records, _)| records.max(1));
                self.trouble = None;
                self.found += records;
                let cut = Cut { index: position, path, offset, reason, records, bytes: Vec::new() };
                self.add(cut, field, part);
                Ok(rest)
            }
            (Err(WalkStop), ..) => {
                self.close(mark);
                Err(WalkStop)
            }
        }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            out: self.out.len(),
            open: self.open.len(),
            headers: self.headers.len(),
            kept: self.kept,
            parts: self.parts,
            found: self.found,
            ignored: self.ignored.count(),
            unknown: self.unknown.len(),
            former: self.former.len(),
            cuts: self.cuts.len(),
            last: self.cuts.last().map_or((0, 0), |cut| (cut.bytes.len(), cut.records)),
        }
    }

    fn close(&mut self, mark: Mark) {
        self.open.truncate(mark.open);
        self.headers.truncate(mark.headers);
        self.unknown.truncate(mark.unknown);
        self.former.truncate(mark.former);
    }

    /// Forgets everything since the mark: what was cut out of a part goes with the part.
    pub(super) fn go_back(&mut self, mark: Mark) {
        self.close(mark);
        self.out.truncate(mark.out);
        (self.kept, self.parts, self.found) = (mark.kept, mark.parts, mark.found);
        self.ignored.truncate(mark.ignored);
        self.cuts.truncate(mark.cuts);
        if let Some(last) = self.cuts.last_mut() {
            last.bytes.truncate(mark.last.0);
            last.records = mark.last.1;
        }
        self.trouble = None;
        self.trail.clear();
    }

    fn note_gone(&mut self, depth: usize, index: usize) {
        if depth == 0 {
            self.gone.push(index as u32);
        }
    }

    /// Counts the records in the whole document; 0 if it is no JSON.
    pub(super) fn count_document(mut self) -> u64 {
        self.count(false, self.request, space(self.json)).map_or(0, |(records, _)| records)
    }

    /// Counts the records in a part, which may be one. Of what stands under a name of once, those count only if there are
    /// no others.
    fn count(
        &mut self,
        is_record: bool,
        message: &'static Message,
        text: &'a [u8],
    ) -> WalkResult<(u64, &'a [u8])> {
        let rest = match text {
            [b'{', rest @ ..] if !is_record => rest,
            _ => return Ok((u64::from(is_record), self.skip(text)?)),
        };
        let (mut records, mut of_once) = (0, 0);
        let (mut after, mut rest) = (0, space(rest));
        while let [b'"', ..] = rest {
            let (known, value) = self.name(message, rest, &mut after)?;
            let former = if known.is_none() { self.formerly(message, rest)? } else { None };
            let member = known.or(former).filter(|member| member.leads);
            let Some((member, inner)) = member.and_then(|member| Some((member, member.message()?))) else {
                rest = behind_comma(self.skip(value)?);
                continue;
            };
            let counted = if former.is_some() { &mut of_once } else { &mut records };
            rest = match value {
                [b'[', elements @ ..] if member.label == Label::Repeated => {
                    let mut rest = space(elements);
                    while let [next, ..] = rest
                        && *next != b']'
                    {
                        let (more, after) = self.count(member.record, inner, rest)?;
                        *counted += more;
                        rest = behind_comma(after);
                    }
                    behind_bracket(rest)
                }
                _ => {
                    let (more, rest) = self.count(member.record, inner, value)?;
                    *counted += more;
                    rest
                }
            };
            rest = behind_comma(rest);
        }
        Ok((if records == 0 { of_once } else { records }, behind_bracket(rest)))
    }

    /// Adds a part that was cut out; its parents are still open.
    fn add(&mut self, mut cut: Cut, field: &'static Field, part: &'a [u8]) {
        self.parts += 1;
        cut.bytes = self.letter(field, part);
        if self.cuts.len() <= cut::NAMED {
            self.cuts.push(cut);
        } else if let Some(further) = self.cuts.last_mut() {
            further.bytes.append(&mut cut.bytes);
            further.records += cut.records;
        }
    }

    /// The part as a request on one line, with those members of the messages around it that came before; empty if there
    /// is no memory for it.
    fn letter(&mut self, field: &'static Field, part: &'a [u8]) -> Vec<u8> {
        let fields = self.open.iter().map(|open| open.field).chain([field]);
        let starts = self.open.iter().map(|open| open.headers).chain([self.headers.len()]);
        let mut pieces: Vec<&[u8]> = vec![b"{"];
        let mut closing: Vec<&[u8]> = vec![b"}"];
        let mut from = 0;
        for (depth, (field, to)) in fields.zip(starts).enumerate() {
            if depth > 0 {
                pieces.push(b"{");
                closing.push(b"}");
            }
            for header in &self.headers[from..to] {
                pieces.extend([*header, b","]);
            }
            from = to;
            pieces.push(field.json.as_bytes());
            if field.label == Label::Repeated {
                pieces.push(b"[");
                closing.push(b"]");
            }
        }
        pieces.push(part);
        pieces.extend(closing.iter().rev());
        let len = pieces.iter().map(|piece| piece.len()).sum::<usize>() + 1;
        if self.ask(len).is_err() {
            self.trouble = None;
            return Vec::new();
        }
        let mut line = Vec::with_capacity(len);
        for piece in pieces {
            // Line breaks are white space here: in a string they would not be JSON.
            line.extend(piece.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
        }
        line.push(b'\n');
        line
    }
}

/// What follows a closing bracket; nothing, if the document ends before it.
fn behind_bracket(text: &[u8]) -> &[u8] {
    text.get(1..).unwrap_or_default()
}

/// What follows a member or an element, without the comma if there is one.
fn behind_comma(text: &[u8]) -> &[u8] {
    match space(text) {
        [b',', rest @ ..] => space(rest),
        rest => rest,
    }
}
