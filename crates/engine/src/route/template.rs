//! Templates: `{{ key }}`, `{{ key.part }}`, `{{ signal }}`, `{{ tenant.NAME }}` and `{{ resource["service.name"] }}` in
//! endpoints, headers and keys.
//!
//! Between the braces stands a Jinja expression of these values, string literals and filters, which minijinja evaluates.
//! The result of each pair of braces is put into the text by rules of our own, so that a value, which comes from a sender
//! or a tenant's row, never changes the shape of what the operator has written around it: in a URL path it is
//! percent-encoded and can't be `.` or `..`, in a URL host it must be made of host characters, in a header it must be
//! header-safe: printable, and without spaces around it, which those who read headers cut off.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use minijinja::value::ValueKind;
use minijinja::{Environment, Expression, UndefinedBehavior, Value};
use percent_encoding::utf8_percent_encode;
use thiserror::Error;

use super::RoutingKey;
use super::key::RESERVED;
use otlp::Signal;

/// The engine of expressions. It knows the filters, and no functions, tests or other templates.
static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut engine = Environment::empty();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.add_filter("default", minijinja::filters::default);
    engine.add_filter("lower", minijinja::filters::lower);
    engine.add_filter("upper", minijinja::filters::upper);
    engine.add_filter("replace", minijinja::filters::replace);
    engine.add_filter("truncate", truncate);
    engine
});

/// Jinja's `truncate`, with its arguments and defaults. `leeway`, which can only be written by its name, is how many characters
/// too many are left alone.
#[expect(clippy::needless_pass_by_value, reason = "the engine gives named arguments away")]
fn truncate(
    text: &str,
    length: Option<usize>,
    killwords: Option<bool>,
    end: Option<&str>,
    named: minijinja::value::Kwargs,
) -> Result<String, minijinja::Error> {
    let length = length.or(named.get("length")?).unwrap_or(255);
    let killwords = killwords.or(named.get("killwords")?).unwrap_or(false);
    let end = end.or(named.get("end")?).unwrap_or("...");
    let leeway = named.get::<Option<usize>>("leeway")?.unwrap_or(5);
    named.assert_all_used()?;
    if text.chars().count() <= length.saturating_add(leeway) {
        return Ok(text.to_owned());
    }
    let kept: String = text.chars().take(length.saturating_sub(end.chars().count())).collect();
    let kept = match kept.rsplit_once(' ') {
        Some((words, _)) if !killwords => words,
        _ => &kept,
    };
    Ok(format!("{kept}{end}"))
}

/// More bytes than a part of a routing key, a tenant's id or the name of a signal can have. A whole key can have many parts.
const LONGEST_READ: usize = 1024;

/// A parsed template. A text without `{{` is a template without values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<TemplatePiece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplatePiece {
    Text(String),
    Braces(Braces),
}

/// The expression between one pair of braces.
#[derive(Clone)]
struct Braces {
    /// The values it reads, in the order in which they are named.
    reads: Vec<TemplateValue>,
    /// The expression that is made of these values; `None` if it is one value alone.
    made: Option<CompiledExpression>,
}

#[derive(Clone)]
struct CompiledExpression {
    /// The expression, in which `v0`, `v1`, … stand for the values.
    source: String,
    expression: Arc<Expression<'static, 'static>>,
}

/// A value that a template reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateValue {
    /// The routing key.
    Key,
    /// A named part of it.
    KeyPart(String),
    /// The signal.
    Signal,
    /// A resource attribute.
    Resource(String),
    /// A value of the tenant's row, or its `id`.
    Tenant(String),
}

/// The place where a template's text is used, which decides which characters its values may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateTarget {
    /// A routing key: values as they are.
    Key,
    /// An absolute URL.
    Url,
    /// A header's value.
    Header,
}

/// The values that a template is filled with.
pub trait Values {
    /// The routing key.
    fn key(&self) -> Option<&RoutingKey>;

    /// The signal.
    fn signal(&self) -> Signal;

    /// A resource attribute as text.
    fn resource(&self, _name: &str) -> Option<&str> {
        None
    }

    /// A value of the tenant's row, or its `id`.
    fn tenant(&self, _name: &str) -> Option<&str> {
        None
    }
}

/// Why a text is not a template.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TemplateError {
    /// `{{` without `}}`.
    #[error("`{{{{` at byte {0} is never closed by `}}}}`")]
    Unclosed(usize),
    /// Something else than an expression of known values and filters between the braces.
    #[error("`{expression}` is not an expression: {reason}")]
    Expression {
        /// The expression as it is written.
        expression: String,
        /// Why it is none.
        reason: String,
    },
}

/// Why a template can't be filled for a stream.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RenderError {
    /// The value is not there.
    #[error("{0:#}, which a template needs")]
    Missing(TemplateValue),
    /// The value can't be put where the template stands.
    #[error("the value of `{read}` can't be put into {place}: {reason}")]
    Unsafe {
        /// Which value; of several that are put together one of the tenant's, if there is one.
        read: TemplateValue,
        /// Where it was to go.
        place: &'static str,
        /// Why the value is not safe there; never the value itself.
        reason: &'static str,
    },
    /// A filter can't take its value, or gives no text.
    #[error("a template makes no text of `{read}`: {reason}")]
    NoText {
        /// Which value, as above.
        read: TemplateValue,
        /// Why there is no text; never the value itself.
        reason: String,
    },
}

impl RenderError {
    /// Whether the tenant's row is what has to be changed, rather than what was sent. A part that the key does not have is: the
    /// keys of a route fit the exporters that the route names, so it is the row that names another.
    pub fn is_of_row(&self) -> bool {
        if matches!(self, Self::Missing(TemplateValue::KeyPart(_))) {
            return true;
        }
        let (Self::Missing(read) | Self::Unsafe { read, .. } | Self::NoText { read, .. }) = self;
        read.is_of_row()
    }
}

impl TemplateValue {
    /// The most bytes that it has, if there is such a limit.
    fn longest(&self) -> Option<usize> {
        match self {
            Self::KeyPart(_) | Self::Signal => Some(LONGEST_READ),
            Self::Tenant(_) if !self.is_of_row() => Some(LONGEST_READ),
            Self::Key | Self::Tenant(_) | Self::Resource(_) => None,
        }
    }

    /// Whether it is a value of the tenant's row, and not only whose row it is.
    pub fn is_of_row(&self) -> bool {
        matches!(self, Self::Tenant(name) if name != TENANT_ID)
    }

    fn of<'v>(&self, values: &'v impl Values) -> Option<Cow<'v, str>> {
        match self {
            Self::Key => values.key().map(RoutingKey::text),
            Self::KeyPart(part) => values.key()?.part(part).map(Cow::Borrowed),
            Self::Signal => Some(Cow::Borrowed(values.signal().name())),
            Self::Resource(name) => values.resource(name).map(Cow::Borrowed),
            Self::Tenant(name) => values.tenant(name).map(Cow::Borrowed),
        }
    }
}

/// As it is written in a template; with `{:#}` the words for its absence.
impl fmt::Display for TemplateValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, f.alternate()) {
            (Self::Key, false) => f.write_str("key"),
            (Self::KeyPart(name), false) => write!(f, "key.{name}"),
            (Self::Signal, false) => f.write_str("signal"),
            (Self::Resource(name), false) => f.write_str(name),
            (Self::Tenant(name), false) => write!(f, "tenant.{name}"),
            (Self::Key, true) => f.write_str("there is no routing key"),
            (Self::KeyPart(name), true) => write!(f, "the routing key has no part `{name}`"),
            (Self::Signal, true) => f.write_str("there is no signal"),
            (Self::Resource(name), true) => write!(f, "the resource has no attribute `{name}`"),
            (Self::Tenant(name), true) if name == TENANT_ID => f.write_str("the entry is no tenant's"),
            (Self::Tenant(name), true) => write!(f, "the tenant's row has no value `{name}`"),
        }
    }
}

/// The name by which a template reads whose row it is.
pub const TENANT_ID: &str = "id";

/// A URL that a template has given.
#[derive(Debug, PartialEq, Eq)]
pub struct RenderedUrl {
    /// The URL that is requested.
    pub url: String,
    /// The URL for people: values of a tenant's row behind the host are `[redacted]`, as they may be credentials.
    pub shown: String,
    /// The texts that are not shown.
    pub hidden: Vec<String>,
}

impl Template {
    /// Parses a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Self::parse_around(text, &[])
    }

    /// Parses a template of which some byte ranges were not written by the operator, but brought in by a variable or a
    /// file. Their text stands for itself, whatever braces are in it; between braces it can only stand in quotes.
    pub fn parse_around(text: &str, literal: &[Range<usize>]) -> Result<Self, TemplateError> {
        let text = TemplateText { text, literal };
        let mut pieces = Vec::new();
        let mut from = 0;
        while let Some(open) = text.find("{{", from) {
            if open > from {
                pieces.push(TemplatePiece::Text(text.text[from..open].to_owned()));
            }
            let close = text.end_of_braces(open + 2).ok_or(TemplateError::Unclosed(open))?;
            pieces.push(TemplatePiece::Braces(Braces::parse(&text, open + 2..close)?));
            from = close + 2;
        }
        if from < text.text.len() {
            pieces.push(TemplatePiece::Text(text.text[from..].to_owned()));
        }
        Ok(Self { pieces })
    }

    /// The values that the template reads.
    pub fn reads(&self) -> impl Iterator<Item = &TemplateValue> {
        self.pieces.iter().flat_map(|piece| match piece {
            TemplatePiece::Text(_) => [].iter(),
            TemplatePiece::Braces(braces) => braces.reads.iter(),
        })
    }

    /// Whether a value of the tenant's row is among them.
    pub fn reads_row(&self) -> bool {
        self.reads().any(TemplateValue::is_of_row)
    }

    /// The names of those of the tenant's row, the id not counted.
    pub fn row_reads(&self) -> impl Iterator<Item = &str> {
        self.reads().filter_map(|read| match read {
            TemplateValue::Tenant(name) if read.is_of_row() => Some(name.as_str()),
            _ => None,
        })
    }

    /// The texts of the values that the template reads of the tenant's row.
    pub fn row_values<'v>(&'v self, values: &'v impl Values) -> impl Iterator<Item = &'v str> {
        row_values(self.reads(), values)
    }

    /// The resource attributes among them.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.reads().filter_map(|read| match read {
            TemplateValue::Resource(name) => Some(name.as_str()),
            TemplateValue::Key
            | TemplateValue::KeyPart(_)
            | TemplateValue::Signal
            | TemplateValue::Tenant(_) => None,
        })
    }

    /// The text, if the template has no values.
    pub fn as_text(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [TemplatePiece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The most bytes that the template becomes; `None` where it reads what may be of any length, or makes something of what it reads.
    pub fn longest(&self) -> Option<usize> {
        self.pieces.iter().map(TemplatePiece::longest).sum()
    }

    /// Fills the template.
    pub fn render(&self, values: &impl Values, place: TemplateTarget) -> Result<String, RenderError> {
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                TemplatePiece::Text(text) => out.push_str(text),
                TemplatePiece::Braces(braces) => place.put(&mut out, braces, &braces.value(values)?)?,
            }
        }
        Ok(out)
    }

    /// As [`Template::render`], for a URL.
    pub fn render_url(&self, values: &impl Values) -> Result<RenderedUrl, RenderError> {
        let (mut url, mut shown, mut hidden) = (String::new(), String::new(), Vec::new());
        for piece in &self.pieces {
            let from = url.len();
            match piece {
                TemplatePiece::Text(text) => url.push_str(text),
                TemplatePiece::Braces(braces) => {
                    let in_host = in_authority(&url);
                    let value = braces.value(values)?;
                    TemplateTarget::Url.put(&mut url, braces, &value)?;
                    if !in_host && braces.reads_row() {
                        shown.push_str("[redacted]");
                        hidden.extend(braces.row_values(values).map(str::to_owned));
                        hidden.push(value.into_owned());
                        hidden.push(url[from..].to_owned());
                        continue;
                    }
                }
            }
            shown.push_str(&url[from..]);
        }
        Ok(RenderedUrl { url, shown, hidden })
    }

    /// Whether the template's text shows nothing that is not shown elsewhere: its values are the routing key, its parts, the tenant's id
    /// and the signal, and the text around these has only marks such as `-` and `/`. Any other text may be a secret.
    pub fn shows_nothing_new(&self) -> bool {
        let is_harmless = |piece: &TemplatePiece| match piece {
            TemplatePiece::Text(text) => !text.contains(char::is_alphanumeric),
            TemplatePiece::Braces(braces) => braces.made.is_none() && !braces.reads_row(),
        };
        self.as_text().is_none() && self.pieces.iter().all(is_harmless)
    }
}

impl TemplatePiece {
    fn longest(&self) -> Option<usize> {
        match self {
            Self::Text(text) => Some(text.len()),
            Self::Braces(braces) if braces.made.is_none() => {
                braces.reads.iter().map(TemplateValue::longest).sum()
            }
            Self::Braces(_) => None,
        }
    }
}

impl Braces {
    fn reads_row(&self) -> bool {
        self.reads.iter().any(TemplateValue::is_of_row)
    }

    fn row_values<'v>(&'v self, values: &'v impl Values) -> impl Iterator<Item = &'v str> {
        row_values(self.reads.iter(), values)
    }
}

fn row_values<'v>(
    reads: impl Iterator<Item = &'v TemplateValue>,
    values: &'v impl Values,
) -> impl Iterator<Item = &'v str> {
    reads.filter(|read| read.is_of_row()).filter_map(|read| match read {
        TemplateValue::Tenant(name) => values.tenant(name),
        _ => None,
    })
}

/// A template as it is written, and the parts that a variable or a file has brought in.
struct TemplateText<'t> {
    text: &'t str,
    literal: &'t [Range<usize>],
}

impl TemplateText<'_> {
    fn is_literal(&self, at: usize) -> bool {
        self.literal.iter().any(|range| range.contains(&at))
    }

    /// The first place at `from` or behind it where the operator has written these two characters.
    fn find(&self, braces: &str, from: usize) -> Option<usize> {
        let mut found = self.text[from..].match_indices(braces).map(|(at, _)| from + at);
        found.find(|at| !self.is_literal(*at) && !self.is_literal(at + 1))
    }

    /// Where the `}}` is that closes braces whose inside begins at `from`.
    fn end_of_braces(&self, mut from: usize) -> Option<usize> {
        loop {
            let close = self.find("}}", from)?;
            let quotes = self.text[from..close].match_indices(['"', '\'']).map(|(at, _)| from + at);
            let Some(quote) = quotes.into_iter().find(|at| !self.is_literal(*at)) else { return Some(close) };
            from = self.end_of_quotes(quote)? + 1;
        }
    }

    /// Where the quote is that closes the one at `open`. As in Jinja, a backslash takes the next character along.
    fn end_of_quotes(&self, open: usize) -> Option<usize> {
        let quote = &self.text[open..=open];
        let mut escaped = false;
        for (at, char) in self.text[open + 1..].char_indices().map(|(at, char)| (open + 1 + at, char)) {
            if self.is_literal(at) || escaped {
                escaped = false;
            } else if char == '\\' {
                escaped = true;
            } else if quote.starts_with(char) {
                return Some(at);
            }
        }
        None
    }
}

/// Reads an expression from the left to the right.
struct Scanner<'t> {
    written: &'t TemplateText<'t>,
    at: usize,
    end: usize,
}

impl<'t> Scanner<'t> {
    fn peek(&self) -> Option<char> {
        self.written.text[self.at..self.end].chars().next()
    }

    fn skip_spaces(&mut self) {
        while let Some(space) = self.peek().filter(|char| char.is_whitespace()) {
            self.at += space.len_utf8();
        }
    }

    fn take(&mut self, char: char) -> bool {
        let is_next = self.peek() == Some(char) && !self.written.is_literal(self.at);
        self.at += if is_next { char.len_utf8() } else { 0 };
        is_next
    }

    fn word(&mut self) -> &'t str {
        let rest = &self.written.text[self.at..self.end];
        let length = rest.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// The text in quotes; reading goes on behind them.
    fn quoted(&mut self) -> Option<&'t str> {
        let open = self.at;
        let close = self.written.end_of_quotes(open).filter(|close| *close < self.end)?;
        self.at = close + 1;
        Some(&self.written.text[open + 1..close])
    }

    /// `.name` or `["name"]`, if that comes next.
    fn member(&mut self) -> Result<Option<&'t str>, &'static str> {
        self.skip_spaces();
        let name = if self.take('.') {
            self.skip_spaces();
            self.word()
        } else if self.take('[') {
            self.skip_spaces();
            let name = self.peek().filter(|char| ['"', '\''].contains(char)).and_then(|_| self.quoted());
            self.skip_spaces();
            name.filter(|_| self.take(']')).ok_or("a name in brackets stands in quotes: `[\"name\"]`")?
        } else {
            return Ok(None);
        };
        self.skip_spaces();
        match (name, self.peek()) {
            ("", _) => Err("a name is missing"),
            (_, Some('.' | '[' | '(')) => {
                Err("what is read has no parts; write a name with dots as `[\"service.name\"]`")
            }
            (name, _) => Ok(Some(name)),
        }
    }
}

impl Braces {
    fn parse(written: &TemplateText<'_>, inside: Range<usize>) -> Result<Self, TemplateError> {
        let wrong = |reason: &str| TemplateError::Expression {
            expression: written.text[inside.clone()].trim().to_owned(),
            reason: reason.to_owned(),
        };
        if (inside.clone()).any(|at| written.is_literal(at))
            && !Self::has_literals_in_quotes(written, &inside)
        {
            return Err(wrong("what a variable or a file brings in can only stand in quotes there"));
        }
        let mut scanner = Scanner { written, at: inside.start, end: inside.end };
        let (mut reads, mut source) = (Vec::new(), String::new());
        while let Some(char) = scanner.peek() {
            let from = scanner.at;
            if ['"', '\''].contains(&char) {
                scanner.quoted().ok_or_else(|| wrong("a quote is not closed"))?;
                put_quoted(&mut source, written, from..scanner.at);
            } else if char.is_alphabetic() || char == '_' {
                let word = scanner.word();
                // A word behind a dot is a member of another value, and behind a bar a filter.
                if source.trim_end().ends_with(['.', '|']) {
                    source.push_str(word);
                    continue;
                }
                let read = match word {
                    "key" => scanner.member().map(|part| {
                        part.map_or(TemplateValue::Key, |part| TemplateValue::KeyPart(part.into()))
                    }),
                    "signal" => Ok(TemplateValue::Signal),
                    "resource" => scanner
                        .member()
                        .and_then(|name| name.ok_or("name the attribute: `resource[\"service.name\"]`"))
                        .map(|name| TemplateValue::Resource(name.into())),
                    "tenant" => scanner
                        .member()
                        .and_then(|name| name.ok_or("name the value: `tenant.id`"))
                        .map(|name| TemplateValue::Tenant(name.into())),
                    // These names stand for the values in the expression that is compiled.
                    other if other.strip_prefix('v').is_some_and(is_number) => {
                        return Err(wrong(&no_such_value(other)));
                    }
                    other => {
                        source.push_str(other);
                        continue;
                    }
                };
                let read = read.map_err(wrong)?;
                let at = reads.iter().position(|known| *known == read).unwrap_or(reads.len());
                if at == reads.len() {
                    reads.push(read);
                }
                write!(source, "v{at}").expect("writing to a String can't fail");
            } else {
                source.push(char);
                scanner.at += char.len_utf8();
            }
        }
        let source = source.trim();
        if source == "v0" {
            return Ok(Self { reads, made: None });
        }
        let made =
            CompiledExpression::compile(source.to_owned(), reads.len()).map_err(|reason| wrong(&reason))?;
        Ok(Self { reads, made: Some(made) })
    }

    /// Whether all that was brought in stands in quotes.
    fn has_literals_in_quotes(written: &TemplateText<'_>, inside: &Range<usize>) -> bool {
        let mut at = inside.start;
        while at < inside.end {
            if written.is_literal(at) {
                return false;
            }
            at = match written.text.as_bytes()[at] {
                b'"' | b'\'' => match written.end_of_quotes(at) {
                    Some(close) => close + 1,
                    None => return false,
                },
                _ => at + 1,
            };
        }
        true
    }

    /// The text that the expression gives.
    fn value<'v>(&self, values: &'v impl Values) -> Result<Cow<'v, str>, RenderError> {
        let Some(made) = &self.made else {
            let read = &self.reads[0];
            return read.of(values).ok_or_else(|| RenderError::Missing(read.clone()));
        };
        let read: Vec<_> = self.reads.iter().map(|read| read.of(values)).collect();
        let missing = read.iter().position(Option::is_none);
        let variables = read.into_iter().enumerate().filter_map(|(at, value)| {
            // Jinja knows no variable that is not there, which is what `default` stands in for.
            Some((format!("v{at}"), Value::from(value?.into_owned())))
        });
        let made = made.text(variables);
        made.map(Cow::Owned).map_err(|reason| match missing {
            Some(at) => RenderError::Missing(self.reads[at].clone()),
            None => RenderError::NoText { read: self.named(), reason },
        })
    }

    /// The value to name in an error.
    fn named(&self) -> TemplateValue {
        let of_row = self.reads.iter().find(|read| read.is_of_row());
        of_row.or(self.reads.first()).cloned().unwrap_or(TemplateValue::Key)
    }
}

/// Writes a text in quotes, with the quotes, so that no character that a variable or a file has brought in ends them or means
/// something else.
fn put_quoted(source: &mut String, written: &TemplateText<'_>, range: Range<usize>) {
    for (at, char) in written.text[range.clone()].char_indices().map(|(at, char)| (range.start + at, char)) {
        if written.is_literal(at) && ['"', '\'', '\\'].contains(&char) {
            source.push('\\');
        }
        source.push(char);
    }
}

impl CompiledExpression {
    /// Compiles an expression over `v0` and so on, so many of them, or says what is wrong with it.
    fn compile(source: String, reads: usize) -> Result<Self, String> {
        let expression = ENGINE.compile_expression_owned(source.clone()).map_err(|error| said_by(&error))?;
        let is_known = |name: &String| (0..reads).any(|at| *name == format!("v{at}"));
        if let Some(unknown) = expression.undeclared_variables(false).iter().find(|name| !is_known(name)) {
            return Err(no_such_value(unknown));
        }
        let made = Self { source, expression: Arc::new(expression) };
        // Filters and their arguments are only looked at when there are values: some that any of them takes.
        made.text((0..reads).map(|at| (format!("v{at}"), Value::from("1"))))?;
        Ok(made)
    }

    /// The text that is made of the variables, or why none is.
    fn text(&self, variables: impl Iterator<Item = (String, Value)>) -> Result<String, String> {
        let made =
            self.expression.eval(variables.collect::<BTreeMap<_, _>>()).map_err(|error| said_by(&error))?;
        match made.kind() {
            ValueKind::String | ValueKind::Number | ValueKind::Bool => Ok(made.to_string()),
            kind => Err(format!("it is {kind}, and not text")),
        }
    }
}

fn no_such_value(name: &str) -> String {
    format!("there is no `{name}`; there are `key`, `signal`, `tenant` and `resource`")
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The message of an engine's error, without any part of the values.
fn said_by(error: &minijinja::Error) -> String {
    match (error.kind(), error.detail()) {
        (kind @ (minijinja::ErrorKind::SyntaxError | minijinja::ErrorKind::UnknownFilter), Some(detail)) => {
            format!("{kind}: {detail}")
        }
        (kind, _) => kind.to_string(),
    }
}

impl PartialEq for Braces {
    fn eq(&self, other: &Self) -> bool {
        let source = |braces: &Self| braces.made.as_ref().map(|made| made.source.clone());
        self.reads == other.reads && source(self) == source(other)
    }
}

impl Eq for Braces {}

/// The values that are read; the expression may hold a secret.
impl fmt::Debug for Braces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Braces").field("reads", &self.reads).finish_non_exhaustive()
    }
}

impl TemplateTarget {
    fn put(self, out: &mut String, braces: &Braces, value: &str) -> Result<(), RenderError> {
        let refuse = |place, reason| Err(RenderError::Unsafe { read: braces.named(), place, reason });
        match self {
            Self::Key => out.push_str(value),
            Self::Header => {
                if !value.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
                    return refuse("a header", "only printable ASCII can be sent in a header");
                }
                // Wherever the value stands in the header, so that one rule holds for all (RFC 9110, section 5.5; RFC
                // 9113, section 8.2.1).
                if value.starts_with(' ') || value.ends_with(' ') {
                    return refuse("a header", "the spaces around it would not arrive");
                }
                out.push_str(value);
            }
            Self::Url if in_authority(out) => {
                let host = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
                if !value.bytes().all(host) {
                    return refuse("a URL's host", "only letters, digits, `-` and `.` make a host name");
                }
                out.push_str(value);
            }
            Self::Url => {
                if matches!(value, "." | "..") {
                    return refuse("a URL path", "`.` and `..` would name another path");
                }
                write!(out, "{}", utf8_percent_encode(value, RESERVED))
                    .expect("writing to a String can't fail");
            }
        }
        Ok(())
    }
}

/// Whether what follows `url` is still in its host and port.
fn in_authority(url: &str) -> bool {
    url.find("://").is_none_or(|scheme| !url[scheme + 3..].contains(['/', '?', '#']))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of a tenant `acme` whose host is `eu.example` and whose token is `t0ken`.
    struct Fixed(RoutingKey);

    impl Values for Fixed {
        fn key(&self) -> Option<&RoutingKey> {
            Some(&self.0)
        }
        fn signal(&self) -> Signal {
            Signal::Logs
        }
        fn resource(&self, name: &str) -> Option<&str> {
            (name == "service.name").then_some("shop")
        }
        fn tenant(&self, name: &str) -> Option<&str> {
            match name {
                "id" => Some("acme"),
                "host" => Some("eu.example"),
                "api-token" => Some("t0ken"),
                _ => None,
            }
        }
    }

    fn fixed(key: &str) -> Fixed {
        Fixed(RoutingKey::written(key))
    }

    fn rendered(text: &str, key: &str, place: TemplateTarget) -> Result<String, RenderError> {
        Template::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).render(&fixed(key), place)
    }

    fn url(text: &str, key: &str) -> Result<String, RenderError> {
        rendered(text, key, TemplateTarget::Url)
    }

    fn key(text: &str) -> String {
        rendered(text, "Acme Shop", TemplateTarget::Key).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn refused(text: &str) -> String {
        Template::parse(text).expect_err(text).to_string()
    }

    #[test]
    fn fills_key_signal_tenant_and_resource_attributes() {
        let text = r#"{{key}}/{{ signal }}/{{ resource["service.name"] }}/{{ tenant.id }}/{{ tenant['api-token'] }}!"#;
        assert_eq!(rendered(text, "k", TemplateTarget::Key).unwrap(), "k/logs/shop/acme/t0ken!");
        assert_eq!(Template::parse(text).unwrap().attributes().collect::<Vec<_>>(), ["service.name"]);
        assert_eq!(
            rendered("{{ key.zone }}|{{ key['tenant'] }}", "\0tenant\0a b\0zone\0eu", TemplateTarget::Key)
                .unwrap(),
            "eu|a b"
        );
        assert_eq!(
            rendered("{{ key }}", "\0tenant\0a b\0zone\0eu", TemplateTarget::Key).unwrap(),
            "a%20b/eu"
        );
    }

    #[test]
    fn filters_are_those_of_jinja() {
        for (text, expected) in [
            ("{{ key | lower }}", "acme shop"),
            ("{{ key|upper|replace(' ', '_') }}", "ACME_SHOP"),
            ("{{ resource['nope'] | default('none') }}", "none"),
            ("{{ resource['nope'] | default(tenant.id) | upper }}", "ACME"),
            ("{{ key | truncate(4, true, '') }}", "Acme Shop"),
            ("{{ key | truncate(4, true, '', leeway=0) }}", "Acme"),
            ("{{ key | truncate(length=6, end='', leeway=0) }}", "Acme"),
            ("{{ key | truncate(7, leeway=0) }}", "Acme..."),
            ("{{ key ~ '-' ~ signal }}", "Acme Shop-logs"),
            ("{{ '{{' }}key{{ \"}}\" }}", "{{key}}"),
            ("{{ 'key' }}", "key"),
            ("{{ 12 }}", "12"),
        ] {
            assert_eq!(key(text), expected, "{text}");
        }
    }

    #[test]
    fn only_what_is_made_of_values_that_are_shown_anyway_shows_nothing_new() {
        let shows = |text: &str| Template::parse(text).unwrap().shows_nothing_new();
        for text in ["{{ key }}", "{{ signal }}", "{{ key }}/{{ signal }}", " {{ key.zone }}-{{ tenant.id }}"]
        {
            assert!(shows(text), "{text}");
        }
        for text in [
            "s3cret",
            "",
            "--",
            "Bearer {{ key }}",
            "{{ key }}s",
            "{{ key }}é",
            "{{ tenant.host }}",
            "{{ key ~ 's3cret' }}",
        ] {
            assert!(!shows(text), "{text}");
        }
    }

    #[test]
    fn what_was_brought_in_is_never_a_template() {
        let parse = |text: &str, literal: Range<usize>| Template::parse_around(text, &[literal]);
        let text = "ab{{ key }}cd{{";
        assert_eq!(parse(text, 0..text.len()).unwrap().as_text(), Some(text));
        // Braces of which one alone was brought in, on either side.
        assert_eq!(parse("{{ key }}", 1..2).unwrap().as_text(), Some("{{ key }}"));
        assert_eq!(parse("{{ key }}", 0..1).unwrap().as_text(), Some("{{ key }}"));
        assert_eq!(parse("{{ key }}", 7..8), Err(TemplateError::Unclosed(0)));
        let unquoted = parse("{{ key }}", 3..6).unwrap_err().to_string();
        assert!(unquoted.contains("can only stand in quotes"), "{unquoted}");
        let render = |template: Template| template.render(&fixed("k"), TemplateTarget::Header).unwrap();
        assert_eq!(render(parse("{{ key }}-{{ key }}", 10..19).unwrap()), "k-{{ key }}");
        let attribute = parse(r#"{{ resource["service.name"] }}"#, 13..25).unwrap();
        assert_eq!(render(attribute), "shop");
        let name = parse(r#"{{ resource["a}}b"] }}"#, 13..17).unwrap();
        assert_eq!(name.attributes().collect::<Vec<_>>(), ["a}}b"]);
    }

    #[test]
    fn a_value_cannot_leave_its_path_segment() {
        assert_eq!(url("http://u/{{ key }}/v1", "a/../b?c").unwrap(), "http://u/a%2F..%2Fb%3Fc/v1");
        assert!(url("http://u/{{ key }}/v1", "..").is_err());
        assert_eq!(url("http://u/{{ key ~ '/..' }}", "a").unwrap(), "http://u/a%2F..");
    }

    #[test]
    fn a_value_in_a_host_is_made_of_host_characters() {
        assert_eq!(
            url("https://{{ key }}.b.s2.dev/otlp", "basin-1").unwrap(),
            "https://basin-1.b.s2.dev/otlp"
        );
        assert!(url("https://{{ key }}.b.s2.dev/otlp", "evil.example/").is_err());
        assert!(url("https://{{ key | replace('x', '/') }}.b.s2.dev/otlp", "evilx").is_err());
    }

    #[test]
    fn a_value_in_a_header_is_header_safe() {
        assert_eq!(rendered("Bearer {{ key }}", "abc", TemplateTarget::Header).unwrap(), "Bearer abc");
        assert!(rendered("Bearer {{ key }}", "a\r\nb", TemplateTarget::Header).is_err());
        assert_eq!(rendered("Bearer {{ key }}", "a b", TemplateTarget::Header).unwrap(), "Bearer a b");
    }

    #[test]
    fn a_value_with_spaces_around_it_can_not_be_put_into_a_header_wherever_it_stands_there() {
        for text in ["{{ key }}", "Bearer {{ key }}", "{{ key }};", "<{{ key }}>"] {
            for key in ["admin ", " admin", "  admin  ", "admin\t", "\tadmin", " "] {
                let refused = rendered(text, key, TemplateTarget::Header).unwrap_err().to_string();
                assert!(refused.starts_with("the value of `key` can't be put into a header: "), "{refused}");
                assert_eq!(rendered(text, key, TemplateTarget::Key).unwrap(), text.replace("{{ key }}", key));
            }
        }
    }

    #[test]
    fn what_is_missing_is_named_and_a_value_of_the_row_is_told_apart() {
        let error = |text: &str| rendered(text, "k", TemplateTarget::Header).unwrap_err();
        let missing = error(r#"{{ resource["nope"] | lower }}"#);
        assert_eq!(missing.to_string(), "the resource has no attribute `nope`, which a template needs");
        assert!(!missing.is_of_row());
        for (text, said) in [
            ("{{ tenant.nope }}", "the tenant's row has no value `nope`, which a template needs"),
            (
                "{{ tenant.host | replace('.', '\\n') }}",
                "the value of `tenant.host` can't be put into a header: only printable ASCII can be sent in a header",
            ),
            (
                "{{ 'a' if tenant.host == '1' else [key] }}",
                "a template makes no text of `tenant.host`: it is sequence",
            ),
        ] {
            let error = error(text);
            assert!(error.to_string().starts_with(said) && error.is_of_row(), "{text}: {error}");
        }
    }

    #[test]
    fn a_credential_of_the_row_in_a_url_is_not_shown() {
        let template =
            Template::parse("https://{{ tenant.host }}/in/{{ tenant['api-token'] }}/{{ key }}?t={{ tenant['api-token'] | upper }}").unwrap();
        let rendered = template.render_url(&fixed("k")).unwrap();
        assert_eq!(rendered.url, "https://eu.example/in/t0ken/k?t=T0KEN");
        assert_eq!(rendered.shown, "https://eu.example/in/[redacted]/k?t=[redacted]");
        assert!(rendered.hidden.iter().any(|text| text == "T0KEN"), "{rendered:?}");
    }

    #[test]
    fn what_is_no_expression_says_why() {
        assert_eq!(Template::parse("a {{ key"), Err(TemplateError::Unclosed(2)));
        assert_eq!(Template::parse("a {{ 'key }}"), Err(TemplateError::Unclosed(2)));
        for (text, why) in [
            ("{{ }}", "syntax error"),
            ("{{ tenant }}", "name the value: `tenant.id`"),
            ("{{ resource }}", "name the attribute"),
            ("{{ resource[key] }}", "stands in quotes"),
            ("{{ resource.service.name }}", "has no parts"),
            ("{{ key.a.b }}", "has no parts"),
            ("{{ env.HOME }}", "there is no `env`"),
            ("{{ range(3) }}", "there is no `range`"),
            ("{{ v0 }}", "there is no `v0`"),
            ("{{ key ~ v0 }}", "there is no `v0`"),
            ("{{ v12 | default(key) }}", "there is no `v12`"),
            ("{{ key | safe }}", "unknown filter"),
            ("{{ key | truncate('x') }}", "invalid"),
            ("{{ [key] }}", "not text"),
            ("{{ key", "never closed"),
        ] {
            let said = refused(text);
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_template_or_says_why_not(
            text in r#"([{]{2}|[}]{2}|key|tenant\.|resource|["'\[\]|.\\ ~a]){0,12}"#, from in 0_usize..20, length in 0_usize..8
        ) {
            let literal = from.min(text.len())..(from + length).min(text.len());
            let _ = Template::parse_around(&text, &[]).map(|template| template.render(&fixed("k"), TemplateTarget::Url));
            let _ = Template::parse_around(&text, &[literal]).map(|template| template.render(&fixed("k"), TemplateTarget::Url));
        }

        #[test]
        fn what_was_brought_in_stands_for_itself_in_quotes(value in "\\PC{0,12}", quote in "[\"']") {
            let text = format!("<{{{{ {quote}{value}{quote} }}}}>");
            let literal = 5..5 + value.len();
            let template = Template::parse_around(&text, &[literal]).unwrap();
            prop_assert_eq!(template.render(&fixed("k"), TemplateTarget::Key).unwrap(), format!("<{value}>"));
        }
    }
}
