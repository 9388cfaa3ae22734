//! Members under a name that their field had once, as a Collector still reads them: they stand for the field where it is
//! absent or empty, and are nothing beside it.

use super::super::super::schema::{Field, Label, Message};
use super::super::super::validate::Level;
use super::super::super::wire::Fields;
use super::text::space;
use super::walk::{DocumentReader, PathSegment, WalkResult, WalkStop, WalkTrouble};

/// A member that waits for the end of its message, where it is known whether the field itself is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct FormerMember<'a> {
    /// How many messages that hold records were open around it.
    pub(super) depth: usize,
    /// As it stands in the document.
    name: &'a [u8],
    value: &'a [u8],
}

impl<'a> DocumentReader<'a, '_> {
    /// Notes a member that was passed over, if it is of a name that a field had once. Returns whether it is.
    pub(super) fn note_former(
        &mut self,
        message: &'static Message,
        member: &'a [u8],
        name: &'a [u8],
        value: &'a [u8],
    ) -> WalkResult<bool> {
        if self.formerly(message, member)?.is_none() {
            return Ok(false);
        }
        if !is_nothing(value) {
            self.ask(size_of::<FormerMember<'_>>())?;
            self.former.push(FormerMember { depth: self.open.len(), name, value });
        }
        Ok(true)
    }

    /// The field that once had the name of a member, if one had.
    pub(super) fn formerly(
        &mut self,
        message: &'static Message,
        member: &'a [u8],
    ) -> WalkResult<Option<&'static Field>> {
        let Some(former) = message.former else { return Ok(None) };
        let (name, _) = self.text(member)?;
        let is_former = former.names.iter().any(|known| known.as_bytes() == &*name);
        Ok(if is_former { message.field(former.field) } else { None })
    }

    /// Reads those members of the message that begins at `text` that have a name of once, the message's own being
    /// written from `written` on.
    #[cold]
    pub(super) fn read_former(
        &mut self,
        message: &'static Message,
        text: &'a [u8],
        written: usize,
        level: Level,
    ) -> WalkResult<()> {
        let depth = self.open.len();
        let first = self.former.iter().position(|member| member.depth == depth);
        let (Some(first), Some(former)) = (first, message.former) else { return Ok(()) };
        let members = self.former.split_off(first);
        let field = message.field(former.field).expect("a former name is of a field of today");
        let mut is_set = self.is_set(message, field, text)?;
        for member in members {
            if !is_set {
                is_set = true;
                self.alias = Some(member.name);
                let read = self.member(field, member.value, level);
                self.alias = None;
                if read.is_err() {
                    return self.on_the_way(PathSegment::Name(member.name));
                }
            } else if self.differs(field, member, written, level)? {
                let path = self.path_of(member.name);
                let instead = field.json_name();
                self.ignored
                    .add(|| format!("`{path}` was ignored, since it differs from the `{instead}` beside it"));
            }
        }
        Ok(())
    }

    /// Whether a message, which is JSON, has the field with something in it.
    fn is_set(
        &mut self,
        message: &'static Message,
        field: &'static Field,
        text: &'a [u8],
    ) -> WalkResult<bool> {
        let (mut rest, mut after) = (space(&text[1..]), 0);
        while let [b'"', ..] = rest {
            let (known, value) = self.name(message, rest, &mut after)?;
            let is_field = known.is_some_and(|known| std::ptr::eq(known, field));
            // An object, even an empty one, has been written.
            let is_empty =
                if field.label == Label::Repeated { is_nothing(value) } else { value.starts_with(b"n") };
            if is_field && !is_empty {
                return Ok(true);
            }
            rest = match space(self.skip(value)?) {
                [b',', rest @ ..] => space(rest),
                rest => rest,
            };
        }
        Ok(false)
    }

    /// Whether a member has records and would be written in another way than the field of today was.
    fn differs(
        &mut self,
        field: &'static Field,
        member: FormerMember<'a>,
        written: usize,
        level: Level,
    ) -> WalkResult<bool> {
        let (mark, end, found) = (self.mark(), self.out.len(), self.found);
        let differs = match (self.member(field, member.value, level), self.trouble) {
            // Nothing is lost with scopes that hold no records.
            (Ok(_), _) if field.leads && self.found == found => false,
            (Ok(_), _) => {
                let (today, once) = self.out[written..].split_at(end - written);
                let fields = |bytes| Fields::of(bytes).map_while(Result::ok);
                let today = fields(today).filter(|today| today.number == field.number);
                !today.map(|today| today.raw).eq(fields(once).map(|once| once.raw))
            }
            (Err(WalkStop), Some(WalkTrouble::NoRoom)) => return Err(WalkStop),
            (Err(WalkStop), _) => true,
        };
        self.go_back(mark);
        Ok(differs)
    }
}

/// Whether a value has nothing in it that could be lost.
pub(super) fn is_nothing(value: &[u8]) -> bool {
    match value {
        [b'n', ..] | [b'"', b'"', ..] => true,
        [b'[', rest @ ..] => space(rest).starts_with(b"]"),
        [b'{', rest @ ..] => space(rest).starts_with(b"}"),
        _ => false,
    }
}
