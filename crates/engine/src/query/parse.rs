//! Reads queries.
//!
//! ```text
//! query  = either
//! either = both { "OR" both }
//! both   = each { [ "AND" ] each }
//! each   = ( "NOT" | "-" ) each | "(" either ")" | [ field ":" ] value
//! value  = word | "\"" text "\"" | ( "<" | "<=" | ">" | ">=" ) word | "[" word "TO" word "]" | "(" values ")"
//! ```

use super::bound::{self, QueryBound};
use super::field::QueryField;
use super::pattern::{PatternPart, TextPattern};
use super::print::KEYWORDS;
use super::{Comparison, FieldTest, Query, QueryError};

/// The longest query, in characters.
const LONGEST: usize = 4096;

/// The longest word or quoted text in it, in characters: looking for it takes as long as that times the text in which it is looked for.
/// The whole name of a tenant, a stream or an exporter may be longer, since it is only compared.
const LONGEST_TEXT: usize = 256;

/// The most conditions of a query.
const MOST_TERMS: usize = 128;

/// The deepest that brackets and `NOT` may be nested.
const DEEPEST: usize = 32;

/// Reads a query in which no attribute may be asked for whose name `is_hidden`.
pub(super) fn query(text: &str, is_hidden: &dyn Fn(&str) -> bool) -> Result<Query, QueryError> {
    let mut parser = QueryParser { chars: text.chars().collect(), at: 0, terms: 0, depth: 0, is_hidden };
    if parser.chars.len() > LONGEST {
        let message = format!("a query has at most {LONGEST} characters: write a shorter one");
        return Err(QueryError { column: LONGEST + 1, message });
    }
    parser.skip_space();
    if parser.peek().is_none() {
        return Ok(Query::Everything);
    }
    let query = parser.either(None)?;
    match parser.peek() {
        None => Ok(query),
        Some(_) => Err(parser.wrong("nothing is open that `)` could close: leave it out")),
    }
}

/// Any text is read or refused at a column that it has, and what is read is written and read as the same again.
#[cfg(any(test, fuzzing, feature = "fuzzed"))]
pub fn check_query(text: &str) {
    match Query::parse(text) {
        Ok(query) => {
            let written = query.to_string();
            // Escapes may make it, or a text in it, longer than what may be read.
            match Query::parse(&written) {
                Ok(again) => assert_eq!(again, query, "written as {written}"),
                Err(error) => {
                    assert!(error.message.contains(" has at most "), "written as {written}: {error:?}");
                }
            }
        }
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.column), "{error:?}");
        }
    }
}

struct QueryParser<'h> {
    chars: Vec<char>,
    at: usize,
    terms: usize,
    depth: usize,
    /// Whether no attribute of a name may be asked for.
    is_hidden: &'h dyn Fn(&str) -> bool,
}

/// Where a word ends.
#[derive(Clone, Copy, PartialEq)]
enum Until {
    /// At `:` as well: it may be a field.
    Colon,
    /// The value of a field.
    Space,
    /// A bound of a range.
    Bracket,
}

/// A word with what its unescaped characters are.
struct Word {
    pattern: TextPattern,
    /// As it is written, escapes resolved.
    text: String,
    escaped: bool,
}

impl QueryParser<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn wrong(&self, message: impl Into<String>) -> QueryError {
        Self::wrong_at(self.at, message)
    }

    fn wrong_at(at: usize, message: impl Into<String>) -> QueryError {
        QueryError { column: at + 1, message: message.into() }
    }

    /// Takes a keyword, if it is next.
    fn keyword(&mut self, word: &str) -> bool {
        let is_next = self.is_at_keyword(word);
        if is_next {
            self.at += word.len();
            self.skip_space();
        }
        is_next
    }

    fn is_at_keyword(&self, word: &str) -> bool {
        let end = self.at + word.len();
        let is_next =
            self.chars.get(self.at..end).is_some_and(|chars| chars.iter().copied().eq(word.chars()));
        let ends = |char: &char| char.is_whitespace() || matches!(char, '(' | ')' | '"');
        is_next && self.chars.get(end).is_none_or(ends)
    }

    fn either(&mut self, field: Option<&QueryField>) -> Result<Query, QueryError> {
        let mut parts = vec![self.both(field)?];
        while self.keyword("OR") {
            parts.push(self.both(field)?);
        }
        Ok(joined(parts, Query::Or))
    }

    fn both(&mut self, field: Option<&QueryField>) -> Result<Query, QueryError> {
        let mut parts = vec![self.each(field)?];
        loop {
            let is_and = self.keyword("AND");
            let is_over = self.peek().is_none_or(|char| char == ')') || self.is_at_keyword("OR");
            if is_over && !is_and {
                return Ok(joined(parts, Query::And));
            }
            parts.push(self.each(field)?);
        }
    }

    fn each(&mut self, field: Option<&QueryField>) -> Result<Query, QueryError> {
        let start = self.at;
        let is_negated = self.keyword("NOT")
            || (self.peek() == Some('-')
                && self.chars.get(self.at + 1).is_some_and(|char| !char.is_whitespace() && *char != ')')
                && {
                    self.at += 1;
                    true
                });
        if is_negated {
            self.deeper(start)?;
            let part = self.each(field)?;
            self.depth -= 1;
            return Ok(Query::Not(part.into()));
        }
        if self.peek() == Some('(') {
            return self.group(field);
        }
        self.term(field)
    }

    fn deeper(&mut self, start: usize) -> Result<(), QueryError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Self::wrong_at(start, format!("brackets and NOT are nested at most {DEEPEST} deep")));
        }
        Ok(())
    }

    fn group(&mut self, field: Option<&QueryField>) -> Result<Query, QueryError> {
        let start = self.at;
        self.deeper(start)?;
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(')') {
            return Err(self.wrong("there is nothing in the brackets: write a condition, or leave them out"));
        }
        let query = self.either(field)?;
        if self.peek() != Some(')') {
            return Err(Self::wrong_at(
                start,
                "this bracket is not closed: write `)` behind its last condition",
            ));
        }
        self.at += 1;
        self.depth -= 1;
        self.skip_space();
        Ok(query)
    }

    fn term(&mut self, field: Option<&QueryField>) -> Result<Query, QueryError> {
        let start = self.at;
        self.terms += 1;
        if self.terms > MOST_TERMS {
            return Err(self.wrong(format!("a query has at most {MOST_TERMS} conditions")));
        }
        if let Some(keyword) = KEYWORDS.into_iter().find(|word| self.is_at_keyword(word)) {
            let message = if keyword == "TO" {
                "`TO` stands in a range such as `status:[500 TO 599]`: write \"TO\" to look for the word"
                    .to_owned()
            } else {
                format!(
                    "a condition is missing before `{keyword}`: write one, or \"{keyword}\" to look for the word"
                )
            };
            return Err(self.wrong(message));
        }
        if let Some(field) = field {
            return self.value(field);
        }
        match self.peek() {
            None => return Err(self.wrong("a condition is missing at the end: write one")),
            Some(')') => return Err(self.wrong("a condition is missing before `)`: write one")),
            Some(':') => {
                return Err(
                    self.wrong("a field is missing before `:`: write `field:value`, or \"…\" around a text")
                );
            }
            Some('"') => {
                let pattern = self.quoted(LONGEST_TEXT)?;
                return Self::text(start, pattern);
            }
            Some(_) => {}
        }
        let word = self.word(Until::Colon, LONGEST_TEXT)?;
        if self.peek() != Some(':') {
            self.skip_space();
            return Self::text(start, word.pattern);
        }
        let Some(name) = word.pattern.literal().filter(|name| !name.is_empty()) else {
            return Err(Self::wrong_at(start, "a field has no wildcards: write its whole name before `:`"));
        };
        let field = QueryField::named(name);
        if field.attributes().any(self.is_hidden) {
            let message = "this is hidden by `tap.redact`, or short for what is: look for something else";
            return Err(Self::wrong_at(start, message));
        }
        self.at += 1;
        if self.peek() == Some('(') {
            return self.group(Some(&field));
        }
        self.value(&field)
    }

    fn text(start: usize, pattern: TextPattern) -> Result<Query, QueryError> {
        if pattern.literal() == Some("") {
            return Err(Self::wrong_at(
                start,
                "an empty text is in every record: write a word, or leave it out",
            ));
        }
        Ok(Query::Text(pattern))
    }

    /// Reads the test of a field.
    fn value(&mut self, field: &QueryField) -> Result<Query, QueryError> {
        let start = self.at;
        let is_name = matches!(field, QueryField::Tenant | QueryField::Stream | QueryField::Exporter);
        let longest = if is_name { LONGEST } else { LONGEST_TEXT };
        let test = match self.peek() {
            Some('[') => self.range(field)?,
            Some('{') => return Err(self.wrong("a range is written with `[`: write `[1 TO 5]`")),
            Some('<' | '>') => self.comparison(field)?,
            Some('"') => {
                let pattern = self.quoted(longest)?;
                Self::equal(field, start, pattern)?
            }
            _ => {
                let word = self.word(Until::Space, longest)?;
                if word.pattern.literal().is_none() {
                    self.check_length(start, LONGEST_TEXT)?;
                }
                if word.text.is_empty() && !word.escaped {
                    return Err(Self::wrong_at(
                        start,
                        "this field has no value: write one behind `:`, or `*` for any",
                    ));
                }
                Self::equal(field, start, word.pattern)?
            }
        };
        self.skip_space();
        Ok(Query::Field(field.clone(), test))
    }

    /// A plain value, which for some fields is one of few.
    fn equal(field: &QueryField, start: usize, pattern: TextPattern) -> Result<FieldTest, QueryError> {
        if let Some(digits) = digits_of_id(field)
            && !could_be_id(&pattern, digits)
        {
            let message = format!(
                "this id has {digits} hexadecimal digits: write all of them, or `*` for those that you don't know"
            );
            return Err(Self::wrong_at(start, message));
        }
        let is_typed = matches!(
            field,
            QueryField::SeverityLevel
                | QueryField::Signal
                | QueryField::Time
                | QueryField::Duration
                | QueryField::SeverityNumber
        );
        if !is_typed || pattern.is_any() {
            return Ok(FieldTest::Matches(pattern));
        }
        let Some(text) = pattern.literal() else {
            return Err(Self::wrong_at(
                start,
                "this field takes no wildcard but `*` alone: write a whole value",
            ));
        };
        let bound = bound::read(field, text).map_err(|message| Self::wrong_at(start, message))?;
        if matches!(bound, QueryBound::Time(_) | QueryBound::Duration(_)) {
            let message = "nothing is that to the nanosecond: write `>=` or `<` before it, or a range such as `[1s TO 2s]`";
            return Err(Self::wrong_at(start, message));
        }
        Ok(FieldTest::Compare(Comparison::Equal, bound))
    }

    fn comparison(&mut self, field: &QueryField) -> Result<FieldTest, QueryError> {
        let start = self.at;
        let is_above = self.peek() == Some('>');
        self.at += 1;
        let or_equal = self.peek() == Some('=');
        self.at += usize::from(or_equal);
        let comparison = match (is_above, or_equal) {
            (true, true) => Comparison::AtLeast,
            (true, false) => Comparison::Above,
            (false, true) => Comparison::AtMost,
            (false, false) => Comparison::Below,
        };
        if !is_ordered(field) {
            return Err(Self::wrong_at(
                start,
                "this field has no order: write a value, such as `field:word`",
            ));
        }
        self.bound(field, Until::Space)?
            .map(|bound| FieldTest::Compare(comparison, bound))
            .ok_or_else(|| Self::wrong_at(start, "a comparison needs a value behind it: write one"))
    }

    fn range(&mut self, field: &QueryField) -> Result<FieldTest, QueryError> {
        let start = self.at;
        if !is_ordered(field) {
            return Err(Self::wrong_at(
                start,
                "this field has no order: write a value, such as `field:word`",
            ));
        }
        self.at += 1;
        self.skip_space();
        let from = self.bound(field, Until::Bracket)?;
        self.skip_space();
        if !self.keyword("TO") {
            return Err(
                self.wrong("a range is written `[FROM TO UPTO]`, such as `[500 TO 599]` or `[500 TO ..]`")
            );
        }
        let to = self.bound(field, Until::Bracket)?;
        self.skip_space();
        if self.peek() != Some(']') {
            return Err(Self::wrong_at(start, "this range is not closed: write `]` behind its second value"));
        }
        self.at += 1;
        Ok(FieldTest::Between(from, to))
    }

    /// A bound; nothing if it is `..` or `*`.
    fn bound(&mut self, field: &QueryField, until: Until) -> Result<Option<QueryBound>, QueryError> {
        let start = self.at;
        let text = match self.peek() {
            Some('"') => self.quoted(LONGEST_TEXT)?.literal().unwrap_or_default().to_owned(),
            _ => self.word(until, LONGEST_TEXT)?.text,
        };
        if until == Until::Bracket && matches!(&*text, ".." | "*") {
            return Ok(None);
        }
        if text.is_empty() {
            let message = if until == Until::Bracket {
                "a value is missing: write one, or `..` for none"
            } else {
                "a value is missing: write one"
            };
            return Err(Self::wrong_at(start, message));
        }
        bound::read(field, &text).map(Some).map_err(|message| Self::wrong_at(start, message))
    }

    /// Reads a word of so many characters at most.
    fn word(&mut self, until: Until, longest: usize) -> Result<Word, QueryError> {
        let start = self.at;
        let mut open_brackets = 0_usize;
        let mut word = Word { pattern: TextPattern::default(), text: String::new(), escaped: false };
        while let Some(char) = self.peek() {
            let ends = char.is_whitespace()
                || match until {
                    Until::Colon => matches!(char, ':' | '(' | ')' | '"'),
                    Until::Space => matches!(char, '(' | ')' | '"'),
                    Until::Bracket => char == ']',
                };
            if ends {
                break;
            }
            match char {
                '[' => open_brackets += 1,
                ']' if open_brackets == 0 => {
                    let message = "nothing is open that `]` could close: leave it out, or write \"…\" around the whole text";
                    return Err(self.wrong(message));
                }
                ']' => open_brackets -= 1,
                _ => {}
            }
            self.at += 1;
            let char = match char {
                '*' => {
                    word.pattern.push_run();
                    word.text.push(char);
                    continue;
                }
                '?' => {
                    word.pattern.push_one();
                    word.text.push(char);
                    continue;
                }
                '\\' => {
                    word.escaped = true;
                    let Some(char) = self.peek() else {
                        return Err(Self::wrong_at(
                            self.at - 1,
                            "a backslash stands before the character that it takes literally: write `\\\\` for one",
                        ));
                    };
                    self.at += 1;
                    char
                }
                char => char,
            };
            word.pattern.push_char(char);
            word.text.push(char);
        }
        self.check_length(start, longest)?;
        if matches!(self.peek(), Some('"' | '(')) && !word.text.is_empty() {
            return Err(
                self.wrong("a space is missing before this: write one, or \"…\" around the whole text")
            );
        }
        Ok(word)
    }

    /// Whether what begins there and ends here has so many characters at most.
    fn check_length(&self, start: usize, longest: usize) -> Result<(), QueryError> {
        if self.at - start <= longest {
            return Ok(());
        }
        let message = format!("a word or a text has at most {longest} characters: write a shorter one");
        Err(Self::wrong_at(start, message))
    }

    /// A text in quotes, of so many characters at most, in which nothing but a backslash means anything.
    fn quoted(&mut self, longest: usize) -> Result<TextPattern, QueryError> {
        let start = self.at;
        let mut pattern = TextPattern::default();
        self.at += 1;
        loop {
            let char = self.peek();
            self.at += 1;
            match char {
                Some('"') => break,
                Some('\\') if self.peek().is_some() => {
                    pattern.push_char(self.chars[self.at]);
                    self.at += 1;
                }
                Some(char) => pattern.push_char(char),
                None => return Err(Self::wrong_at(start, "this text is not closed: write `\"` at its end")),
            }
        }
        self.check_length(start, longest)?;
        let follows = self.peek().is_some_and(|char| !char.is_whitespace() && !matches!(char, ')' | ']'));
        if follows {
            return Err(self.wrong("a space is missing behind the text in quotes: write one"));
        }
        self.skip_space();
        Ok(pattern)
    }
}

/// The hexadecimal digits of the ids that a field has.
fn digits_of_id(field: &QueryField) -> Option<usize> {
    match field {
        QueryField::TraceId => Some(32),
        QueryField::SpanId | QueryField::ParentSpanId => Some(16),
        _ => None,
    }
}

/// Whether an id of so many hexadecimal digits can match.
fn could_be_id(pattern: &TextPattern, digits: usize) -> bool {
    let (mut known, mut has_run) = (0, false);
    for part in pattern.parts() {
        match part {
            PatternPart::Text(text) if text.chars().all(|char| char.is_ascii_hexdigit()) => {
                known += text.len();
            }
            PatternPart::Text(_) => return false,
            PatternPart::One => known += 1,
            PatternPart::Run => has_run = true,
        }
    }
    known == digits || (has_run && known < digits)
}

/// Whether values of a field are more or less than others.
fn is_ordered(field: &QueryField) -> bool {
    matches!(
        field,
        QueryField::SeverityLevel
            | QueryField::SeverityNumber
            | QueryField::Time
            | QueryField::Duration
            | QueryField::Attribute { .. }
    )
}

/// Joins parts: one part alone stays as it is, and parts that are joined in the same way become one list.
fn joined(mut parts: Vec<Query>, join: fn(Vec<Query>) -> Query) -> Query {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let is_and = matches!(join(Vec::new()), Query::And(_));
    let mut all = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Query::And(inner) if is_and => all.extend(inner),
            Query::Or(inner) if !is_and => all.extend(inner),
            other => all.push(other),
        }
    }
    join(all)
}
