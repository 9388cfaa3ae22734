//! Conditions of a `routing` connector: the part of the OpenTelemetry Transformation Language that routes can express.
//!
//! Attributes are compared by `==` and `!=` with a text, a whole number, a boolean or `nil`, or matched by `IsMatch`; that is
//! combined by `and`, `or`, `not` and parentheses. All else is refused by its name.

use regex::Regex;

use crate::config::quoting::{REDACTED, is_name};
use crate::config::re2;
use crate::otlp::Signal;
use crate::route::ExactValue;

/// A condition on an entry.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    /// It holds for everything, or for nothing.
    Constant(bool),
    /// The value is this one, and of the same type.
    Is(Attribute, ExactValue),
    /// The regular expression, in the words of the crate `regex`, matches somewhere in the value's text.
    Matches(Attribute, String),
    /// There is a value.
    Exists(Attribute),
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
}

/// The place from which a value is read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Attribute {
    Resource(String),
    /// Of a span, a log record or a data point itself.
    Record(String),
    /// A header of the request.
    Request(String),
}

/// The subject of a condition whose paths don't name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    Resource,
    /// A record of the signal.
    Record(Signal),
    Metric,
    Request,
}

/// A condition, or a part of one, that routes can't express.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotExpressible {
    /// The part, in words.
    pub(super) message: String,
    /// What to write instead.
    pub(super) help: &'static str,
}

/// The deepest that a condition may be nested.
const DEEPEST: usize = 32;

const GRAMMAR: &str = "compare attributes by `==`, `!=` and `IsMatch`, and combine that by `and`, `or`, `not` and parentheses: \
                       `resource.attributes[\"tenant\"] == \"acme\"`";

const OF_METRIC: &str = "with `context: metric` a route can ask for `resource.attributes[\"x\"]` alone: for attributes of data points write \
                         `context: datapoint` and `attributes[\"x\"]`; what a metric has otherwise, let a Collector before this one \
                         write in an attribute";

const OF_RECORD: &str = "a route can ask for the record's own `attributes[\"x\"]` and for `resource.attributes[\"x\"]`: what its scope, its \
                         metric or its events have, let a Collector before this one write in an attribute of the record";

/// Reads a condition, or with `is_statement` the part of a statement behind `route() where`.
pub(super) fn parse(text: &str, about: About, is_statement: bool) -> Result<Condition, NotExpressible> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, about, depth: 0 };
    if is_statement {
        let route = [Token::word("route"), Token::Sign("("), Token::Sign(")")];
        if !parser.take_all(&route) {
            return Err(NotExpressible {
                message: "the statement is not `route()`".to_owned(),
                help: "write `route() where CONDITION`; resources are edited by processors",
            });
        }
        if parser.tokens.is_empty() {
            return Ok(Condition::Constant(true));
        }
        if !parser.take(&Token::word("where")) {
            return Err(unexpected(parser.tokens.first()));
        }
    }
    let condition = parser.any_of()?;
    match parser.tokens.first() {
        None => Ok(condition),
        Some(rest) => Err(unexpected(Some(rest))),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Text(String),
    Number(String),
    /// A name, with the dots in it.
    Word(String),
    Sign(&'static str),
}

impl Token {
    fn word(word: &str) -> Self {
        Self::Word(word.to_owned())
    }
}

/// Signs of the language, the longer ones first.
const SIGNS: [&str; 18] =
    ["==", "!=", "<=", ">=", "<", ">", "(", ")", "[", "]", ",", "+", "-", "*", "/", "{", "}", ":"];

fn tokens(text: &str) -> Result<Vec<Token>, NotExpressible> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let after_sign = rest.strip_prefix('-').unwrap_or(rest);
        if first == '"' {
            let (token, length) = quoted(rest)?;
            tokens.push(token);
            rest = &rest[length..];
        } else if after_sign.starts_with(|char: char| char.is_ascii_digit()) {
            let end = after_sign.find(|char: char| !char.is_ascii_alphanumeric() && char != '.');
            let length = rest.len() - after_sign.len() + end.unwrap_or(after_sign.len());
            tokens.push(Token::Number(rest[..length].to_owned()));
            rest = &rest[length..];
        } else if first.is_ascii_alphabetic() || first == '_' {
            let end = rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '_' && char != '.');
            let length = end.unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..length].to_owned()));
            rest = &rest[length..];
        } else if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            tokens.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else if rest.starts_with("${") {
            return Err(not_understood("a variable outside of quotes"));
        } else {
            return Err(not_understood(&format!("the character {first:?}").replace('\'', "`")));
        }
        rest = rest.trim_start();
    }
    Ok(tokens)
}

/// Whether a text is another one once variables have their values: it has a `${…}` in it, or a `$$`, which is one `$`.
pub(super) fn has_variable(text: &str) -> bool {
    text.contains("${") || text.contains("$$")
}

/// A text in double quotes, and how long it is with them.
fn quoted(rest: &str) -> Result<(Token, usize), NotExpressible> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, char)) = characters.next() {
        match char {
            '"' => return Ok((Token::Text(text), at + 1)),
            '\\' => match characters.next().map(|(_, escaped)| escaped) {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                Some(escaped @ ('"' | '\\')) => text.push(escaped),
                // Regular expressions are mostly written without the second backslash.
                Some(other) => text.extend(['\\', other]),
                None => break,
            },
            char => text.push(char),
        }
    }
    Err(NotExpressible {
        message: "a text in the condition is never closed by `\"`".to_owned(),
        help: "put it between double quotes, and a backslash before those within it",
    })
}

struct Parser<'t> {
    /// What is not read yet.
    tokens: &'t [Token],
    about: About,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn take(&mut self, token: &Token) -> bool {
        self.take_all(std::slice::from_ref(token))
    }

    fn take_all(&mut self, tokens: &[Token]) -> bool {
        let rest = self.tokens.strip_prefix(tokens);
        self.tokens = rest.unwrap_or(self.tokens);
        rest.is_some()
    }

    fn next(&mut self) -> Option<&'t Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), NotExpressible> {
        if self.take(&Token::Sign(sign)) { Ok(()) } else { Err(unexpected(self.tokens.first())) }
    }

    fn any_of(&mut self) -> Result<Condition, NotExpressible> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(NotExpressible {
                message: format!("the condition is nested more than {DEEPEST} levels deep"),
                help: GRAMMAR,
            });
        }
        let mut all = vec![self.all_of()?];
        while self.take(&Token::word("or")) {
            all.push(self.all_of()?);
        }
        self.depth -= 1;
        Ok(if all.len() == 1 { all.remove(0) } else { Condition::Or(all) })
    }

    fn all_of(&mut self) -> Result<Condition, NotExpressible> {
        let mut all = vec![self.one()?];
        while self.take(&Token::word("and")) {
            all.push(self.one()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Condition::And(all) })
    }

    fn one(&mut self) -> Result<Condition, NotExpressible> {
        if self.take(&Token::word("not")) {
            // As in OTTL, it stands before one comparison or one pair of parentheses.
            let inner = if self.take(&Token::word("not")) {
                return Err(not_understood("`not not`"));
            } else {
                self.one()?
            };
            return Ok(Condition::Not(Box::new(inner)));
        }
        if self.take(&Token::Sign("(")) {
            let inner = self.any_of()?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.take_all(&[Token::word("IsMatch"), Token::Sign("(")]) {
            let attribute = self.attribute()?;
            self.expect(",")?;
            let Some(Token::Text(pattern)) = self.next() else {
                return Err(not_understood("what `IsMatch` matches with"));
            };
            self.expect(")")?;
            let pattern = re2::translated(pattern);
            // A variable's later value is not known.
            return match Regex::new(&pattern).err().filter(|_| !has_variable(&pattern)) {
                None => Ok(Condition::Matches(attribute, pattern)),
                Some(error) => Err(NotExpressible {
                    message: format!(
                        "what `IsMatch` matches with is no regular expression: {}",
                        re2::reason(&error)
                    ),
                    help: "write it as RE2 has it, with a second backslash before each: `IsMatch(attributes[\"a\"], \"^\\\\d+$\")`",
                }),
            };
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Condition, NotExpressible> {
        for (word, value) in [("true", true), ("false", false)] {
            let is_alone = !matches!(self.tokens.get(1), Some(Token::Sign("==" | "!=")));
            if is_alone && self.take(&Token::word(word)) {
                return Ok(Condition::Constant(value));
            }
        }
        let left = self.operand()?;
        let is_equal = match self.next() {
            Some(Token::Sign("==")) => true,
            Some(Token::Sign("!=")) => false,
            other => return Err(unexpected(other)),
        };
        let right = self.operand()?;
        let (attribute, value) = match (left, right) {
            (Operand::Attribute(attribute), Operand::Value(value))
            | (Operand::Value(value), Operand::Attribute(attribute)) => (attribute, value),
            (Operand::Attribute(_), Operand::Attribute(_)) => {
                return Err(not_understood("the comparison of two attributes"));
            }
            (Operand::Value(_), Operand::Value(_)) => {
                return Err(not_understood("the comparison of two values"));
            }
        };
        let is_of_request = matches!(attribute, Attribute::Request(_));
        if is_of_request && !matches!(value, Some(ExactValue::Text(_)) | None) {
            return Err(not_understood("the comparison of a header with what is no text"));
        }
        let exists = Condition::Exists(attribute.clone());
        let test = match value {
            Some(value) => Condition::Is(attribute, value),
            None => return Ok(if is_equal { Condition::Not(Box::new(exists)) } else { exists }),
        };
        if is_equal {
            return Ok(test);
        }
        let not = Condition::Not(Box::new(test));
        // A header that is not there is unlike no value, to the connector.
        Ok(if is_of_request { Condition::And(vec![exists, not]) } else { not })
    }

    fn operand(&mut self) -> Result<Operand, NotExpressible> {
        match self.tokens.first() {
            Some(Token::Text(text)) => {
                self.next();
                Ok(Operand::Value(Some(ExactValue::Text(text.clone()))))
            }
            Some(Token::Number(number)) => {
                self.next();
                let digits = number.strip_prefix('-').unwrap_or(number);
                let is_octal = digits.len() > 1 && digits.starts_with('0');
                if is_octal && digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(not_understood("a number that begins with 0, which is octal in a Collector"));
                }
                let whole = number.parse().map_err(|_| {
                    let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit());
                    not_understood(if is_whole {
                        "a number that is larger than 64 bits hold"
                    } else {
                        "a number that is not whole"
                    })
                })?;
                Ok(Operand::Value(Some(ExactValue::Number(whole))))
            }
            Some(Token::Word(word)) if ["true", "false"].contains(&word.as_str()) => {
                self.next();
                Ok(Operand::Value(Some(ExactValue::Boolean(word == "true"))))
            }
            Some(Token::Word(word)) if word == "nil" => {
                self.next();
                Ok(Operand::Value(None))
            }
            _ => self.attribute().map(Operand::Attribute),
        }
    }

    /// `resource.attributes["tenant"]` and the like.
    fn attribute(&mut self) -> Result<Attribute, NotExpressible> {
        let Some(Token::Word(path)) = self.next() else { return Err(unexpected(None)) };
        let kind: fn(String) -> Attribute = match (path.as_str(), self.about) {
            ("resource.attributes", About::Resource | About::Record(_) | About::Metric)
            | ("attributes", About::Resource) => Attribute::Resource,
            ("attributes", About::Record(_))
            | ("span.attributes", About::Record(Signal::Traces))
            | ("datapoint.attributes", About::Record(Signal::Metrics))
            | ("log.attributes", About::Record(Signal::Logs)) => Attribute::Record,
            ("request", About::Request) => Attribute::Request,
            (other, about) => {
                let help = match about {
                    About::Metric => OF_METRIC,
                    About::Record(_) if other.ends_with("attributes") => OF_RECORD,
                    _ => GRAMMAR,
                };
                return Err(NotExpressible { help, ..not_understood(&shown(other)) });
            }
        };
        self.expect("[")?;
        let Some(Token::Text(name)) = self.next() else {
            return Err(not_understood("an attribute whose name is not a text"));
        };
        self.expect("]")?;
        if self.tokens.first() == Some(&Token::Sign("[")) {
            return Err(not_understood("a value within an attribute"));
        }
        // The name becomes a key of a map in the imported file, and variables in keys are not substituted.
        if has_variable(name) {
            return Err(not_understood("a variable or `$$` in the name of an attribute or a header"));
        }
        Ok(kind(name.clone()))
    }
}

enum Operand {
    Attribute(Attribute),
    /// `None` for `nil`.
    Value(Option<ExactValue>),
}

fn shown(word: &str) -> String {
    if is_name(word) { format!("`{word}`") } else { format!("`{REDACTED}`") }
}

fn not_understood(what: &str) -> NotExpressible {
    NotExpressible { message: format!("the condition has what no route can express: {what}"), help: GRAMMAR }
}

fn unexpected(token: Option<&Token>) -> NotExpressible {
    match token {
        None => not_understood("it ends too early"),
        Some(Token::Word(word)) => not_understood(&shown(word)),
        Some(Token::Sign(sign)) => not_understood(&format!("`{sign}`")),
        Some(Token::Text(_)) => not_understood("a text where none can stand"),
        Some(Token::Number(_)) => not_understood("a number where none can stand"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(name: &str) -> Attribute {
        Attribute::Resource(name.to_owned())
    }

    fn text(text: &str) -> ExactValue {
        ExactValue::Text(text.to_owned())
    }

    fn is(name: &str, value: ExactValue) -> Condition {
        Condition::Is(resource(name), value)
    }

    fn not(inner: Condition) -> Condition {
        Condition::Not(Box::new(inner))
    }

    fn parsed(text: &str) -> Condition {
        parse(text, About::Resource, false).unwrap_or_else(|error| panic!("{text}: {error:?}"))
    }

    #[test]
    fn and_binds_closer_than_or_and_not_closer_than_both() {
        let a = || is("a", text("1"));
        let of_b = || is("b", ExactValue::Number(2));
        let both = || Condition::And(vec![of_b(), is("c", text("3"))]);
        let texts =
            ["attributes[\"a\"] == \"1\"", "attributes[\"b\"] == 2", "\"3\" == resource.attributes[\"c\"]"];
        let [one, two, three] = texts;
        assert_eq!(parsed(&format!("{one} or {two} and {three}")), Condition::Or(vec![a(), both()]));
        assert_eq!(
            parsed(&format!("({one} or {two})and {three}")),
            Condition::And(vec![Condition::Or(vec![a(), of_b()]), is("c", text("3"))])
        );
        assert_eq!(parsed(&format!("not {one} and {two}")), Condition::And(vec![not(a()), of_b()]));
        assert_eq!(parsed(&format!("not ({two} and {three})")), not(both()));
        assert_eq!(parsed(" true "), Condition::Constant(true));
    }

    #[test]
    fn values_are_texts_whole_numbers_booleans_and_nil() {
        for (written, value) in [
            ("\"a b\"", text("a b")),
            ("\"5\"", text("5")),
            ("\"\"", text("")),
            ("5", ExactValue::Number(5)),
            ("-7", ExactValue::Number(-7)),
            ("true", ExactValue::Boolean(true)),
            (r#""\"\\""#, text("\"\\")),
        ] {
            assert_eq!(parsed(&format!("attributes[\"a\"]=={written}")), is("a", value.clone()));
            assert_eq!(parsed(&format!("attributes[\"a\"] != {written}")), not(is("a", value)));
        }
        assert_eq!(parsed("attributes[\"a\"] != nil"), Condition::Exists(resource("a")));
        assert_eq!(parsed("attributes[\"a\"] == nil"), not(Condition::Exists(resource("a"))));
        let pattern = Condition::Matches(resource("a"), r"^[0-9]+\.x$".to_owned());
        assert_eq!(parsed(r#"IsMatch(attributes["a"], "^\d+\\.x$")"#), pattern);
    }

    #[test]
    fn what_is_no_regular_expression_is_refused_with_the_reason() {
        let parse = |pattern: &str| {
            parse(&format!("IsMatch(attributes[\"a\"], \"{pattern}\")"), About::Resource, false)
        };
        let error = parse("^(secret").unwrap_err();
        assert_eq!(error.message, "what `IsMatch` matches with is no regular expression: unclosed group");
        assert!(parse("^[a[]$").is_ok(), "as RE2 reads it");
        assert!(parse("^${env:PREFIX}(").is_ok(), "the rest is known where it runs");
    }

    #[test]
    fn a_path_says_what_it_is_about_or_the_context_does() {
        let of = |path: &str, about| match parse(&format!("{path}[\"x\"] == \"1\""), about, false) {
            Ok(Condition::Is(attribute, _)) => attribute,
            other => panic!("{other:?}"),
        };
        let x = || "x".to_owned();
        for (own, signal) in [
            ("span.attributes", Signal::Traces),
            ("datapoint.attributes", Signal::Metrics),
            ("log.attributes", Signal::Logs),
        ] {
            let about = About::Record(signal);
            assert_eq!(of("attributes", about), Attribute::Record(x()));
            assert_eq!(of("resource.attributes", about), Attribute::Resource(x()));
            assert_eq!(of(own, about), Attribute::Record(x()));
        }
        assert_eq!(of("resource.attributes", About::Metric), Attribute::Resource(x()));
        assert_eq!(of("request", About::Request), Attribute::Request(x()));
        let unlike = parse("request[\"x\"] != \"1\"", About::Request, false).unwrap();
        let header = || Attribute::Request(x());
        let is = Condition::Is(header(), text("1"));
        assert_eq!(unlike, Condition::And(vec![Condition::Exists(header()), not(is)]));
    }

    #[test]
    fn a_statement_routes_and_does_nothing_else() {
        let statement = |text| parse(text, About::Resource, true);
        assert_eq!(statement("route() where attributes[\"a\"] == \"1\""), Ok(is("a", text("1"))));
        assert_eq!(statement("route()"), Ok(Condition::Constant(true)));
        let other = statement("delete_key(attributes, \"a\") where attributes[\"a\"] == \"1\"").unwrap_err();
        assert_eq!(other.message, "the statement is not `route()`");
    }

    #[test]
    fn what_a_context_has_besides_attributes_is_refused_with_what_to_write() {
        for (path, about, help) in [
            ("attributes", About::Metric, OF_METRIC),
            ("metric.name", About::Metric, OF_METRIC),
            ("datapoint.attributes", About::Metric, OF_METRIC),
            ("scope.attributes", About::Record(Signal::Logs), OF_RECORD),
            ("span.attributes", About::Record(Signal::Logs), OF_RECORD),
            ("instrumentation_scope.attributes", About::Record(Signal::Traces), OF_RECORD),
            ("severity_number", About::Record(Signal::Logs), GRAMMAR),
            ("log.attributes", About::Resource, GRAMMAR),
        ] {
            let error = parse(&format!("{path}[\"x\"] == \"1\""), about, false).unwrap_err();
            let message = format!("the condition has what no route can express: `{path}`");
            assert_eq!((error.message, error.help), (message, help));
        }
        let number = parse("request[\"x\"] == 5", About::Request, false).unwrap_err();
        assert!(number.message.ends_with("the comparison of a header with what is no text"));
    }

    #[test]
    fn what_routes_cant_express_is_named() {
        for (text, what) in [
            ("severity_number < 5", "`severity_number`"),
            ("attributes[\"a\"] < 5", "`<`"),
            ("attributes[\"a\"] == 5.5", "a number that is not whole"),
            ("attributes[\"a\"] == 99999999999999999999", "a number that is larger than 64 bits hold"),
            ("attributes[\"a\"] == 010", "a number that begins with 0"),
            ("attributes[\"a\"] == attributes[\"b\"]", "the comparison of two attributes"),
            ("1 == 1", "the comparison of two values"),
            ("attributes[\"a\"][\"b\"] == \"c\"", "a value within an attribute"),
            ("attributes[a] == \"c\"", "an attribute whose name is not a text"),
            ("HasPrefix(attributes[\"a\"], \"b\")", "`HasPrefix`"),
            ("attributes[\"a\"]", "it ends too early"),
            ("attributes[\"a\"] == \"b\" attributes", "`attributes`"),
            ("(attributes[\"a\"] == \"b\"", "it ends too early"),
            ("", "it ends too early"),
            ("attributes[\"a\"] == 'b'", "the character `\\`"),
            ("log.body == \"b\"", "`log.body`"),
            ("not not true", "`not not`"),
        ] {
            let error = parse(text, About::Resource, false).unwrap_err();
            let message = format!("the condition has what no route can express: {what}");
            assert!(error.message.starts_with(&message) || text.contains('\''), "{text}: {error:?}");
        }
        let open = parse("attributes[\"a", About::Resource, false).unwrap_err();
        assert_eq!(open.message, "a text in the condition is never closed by `\"`");
        let deep = format!("{}true{}", "(".repeat(40), ")".repeat(40));
        assert!(parse(&deep, About::Resource, false).unwrap_err().message.contains("32 levels"));
    }
}
