//! What is hidden of JSON that stands in a text, whole or cut.

use std::ops::Range;

use otlp::Redaction;
use serde_json::Value as Json;

use super::decoded_text::DecodedText;

/// Values within each other that are looked into. What is deeper is hidden.
const MAX_DEPTH: usize = 64;

/// Bytes that are looked at in all, as each bracket may be the one where JSON begins. Behind those, all is hidden from the next bracket on.
const MAX_SCANNED: usize = 256 * 1024;

/// Where a text has members of JSON whose name is hidden, and what patterns match in its texts and numbers. Each bracket may begin it.
/// JSON that is cut, or goes on as something else, is read as far as it goes.
pub(super) fn hidden_in_json(redaction: &Redaction, text: &str) -> Vec<Range<usize>> {
    let mut scan = JsonScan { redaction, text, at: 0, hidden: Vec::new() };
    let (mut from, mut scanned) = (0, 0);
    while let Some(before) = text[from..].find(['{', '[']) {
        let begin = from + before;
        if scanned > MAX_SCANNED {
            scan.hidden.push(begin..text.len());
            break;
        }
        scan.at = begin;
        let is_json = scan.value(0).is_some();
        scanned += scan.at - begin;
        from = if is_json { scan.at } else { begin + 1 };
    }
    scan.hidden
}

/// Reads JSON in a text from one place on. Its methods give nothing where the text is no JSON; its end may come anywhere.
struct JsonScan<'t> {
    redaction: &'t Redaction,
    text: &'t str,
    /// What is read next.
    at: usize,
    hidden: Vec<Range<usize>>,
}

/// A value, and where it stands: a text without its quotes.
struct JsonPart {
    place: Range<usize>,
    is_text: bool,
}

impl JsonScan<'_> {
    fn value(&mut self, depth: usize) -> Option<JsonPart> {
        let begin = self.at;
        match self.next_byte() {
            Some(b'"') => {
                let place = self.string()?;
                self.hide_matches(&place);
                return Some(JsonPart { place, is_text: true });
            }
            Some(b'{' | b'[') if depth == MAX_DEPTH => {
                self.hidden.push(begin..self.text.len());
                self.at = self.text.len();
            }
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            _ => self.scalar()?,
        }
        Some(JsonPart { place: begin..self.at, is_text: false })
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        let mut members = Vec::new();
        let read = self.members(depth, &mut members);
        // What was read before it turned out to be no JSON counts as well.
        self.hide_members(&members);
        read
    }

    /// Reads the members of an object and its end.
    fn members(&mut self, depth: usize, members: &mut Vec<(Range<usize>, JsonPart)>) -> Option<()> {
        self.at += 1;
        loop {
            if self.has_ended(b'}') {
                return Some(());
            }
            let name = self.string()?;
            match self.next_byte() {
                Some(b':') => self.at += 1,
                None => return Some(()),
                Some(_) => return None,
            }
            if self.next_byte().is_none() {
                return Some(());
            }
            let begin = self.at;
            let before = self.hidden.len();
            let value = self.value(depth + 1);
            if self.is_named(&name, "key") && value.as_ref().is_some_and(|value| value.is_text) {
                // The key of an attribute stays as it is.
                self.hidden.truncate(before);
            }
            let is_json = value.is_some();
            let mut value = value.unwrap_or(JsonPart { place: begin..begin, is_text: false });
            let behind = self.next_byte();
            let has_end = is_json && matches!(behind, Some(b',' | b'}') | None);
            if !has_end {
                // Where it ends is not known.
                value.place.end = self.text.len();
            }
            members.push((name, value));
            if !has_end {
                return None;
            }
            if behind == Some(b',') {
                self.at += 1;
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.at += 1;
        loop {
            if self.has_ended(b']') {
                return Some(());
            }
            self.value(depth + 1)?;
            match self.next_byte() {
                Some(b',') => self.at += 1,
                Some(b']') | None => {}
                Some(_) => return None,
            }
        }
    }

    /// Whether an object or array ends here, by this bracket, which it passes, or since the text does.
    fn has_ended(&mut self, bracket: u8) -> bool {
        let next = self.next_byte();
        let has_ended = next.is_none_or(|next| next == bracket);
        self.at += usize::from(has_ended && next.is_some());
        has_ended
    }

    /// Reads a number or a word.
    fn scalar(&mut self) -> Option<()> {
        let rest = &self.text[self.at..];
        let is_part = |char: char| char.is_alphanumeric() || matches!(char, '+' | '-' | '.' | '_');
        let scalar = &rest[..rest.find(|char| !is_part(char)).unwrap_or(rest.len())];
        let place = self.at..self.at + scalar.len();
        self.at = place.end;
        if let Ok(json) = serde_json::from_str::<Json>(scalar) {
            let mut shown = json.clone();
            self.redaction.hide_in_json(&mut shown);
            if shown != json {
                self.hidden.push(place);
            }
        }
        (!scalar.is_empty()).then_some(())
    }

    /// Reads a text, and where it stands without its quotes.
    fn string(&mut self) -> Option<Range<usize>> {
        self.text[self.at..].starts_with('"').then_some(())?;
        let begin = self.at + 1;
        let mut is_escaped = false;
        let end = self.text[begin..].bytes().position(|byte| {
            let is_end = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            is_end
        });
        let place = begin..end.map_or(self.text.len(), |len| begin + len);
        self.at = self.text.len().min(place.end + 1);
        Some(place)
    }

    /// The next byte that is no space, to which it goes on.
    fn next_byte(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.text.as_bytes().get(self.at).copied()
    }

    /// Hides what patterns match in a text of the JSON by itself.
    fn hide_matches(&mut self, place: &Range<usize>) {
        for text in DecodedText::all_of(&self.text[place.clone()]) {
            for found in self.redaction.matches(text.text()) {
                let found = text.place(found);
                self.hidden.push(place.start + found.start..place.start + found.end);
            }
        }
    }

    fn is_named(&self, name: &Range<usize>, wanted: &str) -> bool {
        self.text[name.clone()].eq_ignore_ascii_case(wanted)
    }

    /// Hides the members of an object as [`Redaction::hide_in_json`] does.
    fn hide_members(&mut self, members: &[(Range<usize>, JsonPart)]) {
        let texts = |place: &Range<usize>| DecodedText::all_of(&self.text[place.clone()]);
        let hides_key = members.iter().any(|(name, value)| {
            let is_key = value.is_text && self.is_named(name, "key");
            is_key && texts(&value.place).iter().any(|key| self.redaction.hides(key.text()))
        });
        let hidden = members.iter().filter(|(name, value)| {
            let is_value = self.is_named(name, "value");
            let text = value.is_text.then(|| &self.text[value.place.clone()]);
            let hides = |name: &DecodedText| self.redaction.hides_member(name.text(), text);
            hides_key && is_value || texts(name).iter().any(hides)
        });
        let hidden: Vec<_> =
            hidden.map(|(_, value)| value.place.clone()).filter(|it| !it.is_empty()).collect();
        self.hidden.extend(hidden);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text with `~` in place of each part that is hidden.
    fn shown(text: &str) -> String {
        let redaction = Redaction::new(&["(?i)password$", "^hush-[a-z]+$", r"\b4[0-9]{15}\b"]).unwrap();
        let mut hidden = hidden_in_json(&redaction, text);
        hidden.sort_unstable_by_key(|place| (place.start, usize::MAX - place.end));
        let (mut shown, mut at) = (String::new(), 0);
        for place in hidden.into_iter().filter(|place| !place.is_empty()) {
            if place.start >= at {
                shown += &text[at..place.start];
                shown.push('~');
            }
            at = at.max(place.end);
        }
        shown + &text[at..]
    }

    #[test]
    fn members_are_hidden_wherever_json_begins_and_wherever_it_is_cut() {
        for (text, expected) in [
            (r#"400: [api] {"password":"x"}"#, r#"400: [api] {"password":"~"}"#),
            (
                r#"{x} [a b] {"why":[{"Password" : "x y"}]} {"password":1}"#,
                r#"{x} [a b] {"why":[{"Password" : "~"}]} {"password":~}"#,
            ),
            (r#"["no end {"password":"x"}"#, r#"["no end {"password":"~"}"#),
            (r#"{"password":"x\"y","a":"b"#, r#"{"password":"~","a":"b"#),
            (r#"{"a":{"password":"x\"y..."#, r#"{"a":{"password":"~"#),
            (r#"{"password":{"a":["x","y"#, r#"{"password":~"#),
            (r#"{"password":{"a":"x" y"}, "b"}"#, r#"{"password":~"#),
            (r#"{"password":"x" and "more"}"#, r#"{"password":"~"#),
            (r#"{"pass\u0077ord":"x"}"#, r#"{"pass\u0077ord":"~"}"#),
            (r#"{"value":{"stringValue":"x"},"key":"db.password"}"#, r#"{"value":~,"key":"db.password"}"#),
            (r#"[{"key":"db.password","value":{"stringValue":"x"#, r#"[{"key":"db.password","value":~"#),
            (r#"{"intValue":"04111111111111111"}"#, r#"{"intValue":"~"}"#),
            (r#"{"bytesValue":"NDExMTExMTExMTExMTExMQA"}"#, r#"{"bytesValue":"~"}"#),
            (r#"[4.111111111111111e15,true,"\u0068ush-abc","hush-1"]"#, r#"[~,true,"~","hush-1"]"#),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        for untouched in [
            "",
            "{",
            "[",
            "}",
            "{\"",
            "{\"a",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":\"",
            "[[1,",
            "{,}",
            "[é",
            "{\"key\":1}",
        ] {
            assert_eq!(shown(untouched), untouched);
        }
    }

    #[test]
    fn what_takes_too_long_to_look_at_is_hidden() {
        assert_eq!(shown(&format!("{}\"x\"", "[".repeat(100))), format!("{}~", "[".repeat(MAX_DEPTH)));
        let failing_late = format!("{}{}0 0", "[".repeat(MAX_DEPTH), "0,".repeat(7000));
        let shown = shown(&failing_late);
        assert!(shown.len() < 30 && shown.ends_with("[~"), "{shown}");
    }
}
