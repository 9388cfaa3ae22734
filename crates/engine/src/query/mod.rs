//! The query language that taps, watches and the search of recent records have in common.
//!
//! [`Query::parse`] reads what a person has typed, and says at which column it is wrong and what to write; `Display` writes it
//! back. [`QuerySet`] is any number of queries, compiled: it looks at a record once for all of them, on the bytes as they
//! came, and builds no message. `docs/tap.md` says what queries mean.

mod bound;
mod error;
mod facts;
mod field;
mod interval;
mod matcher;
mod names;
mod node;
mod origin;
mod parse;
mod pattern;
mod print;
mod set;
#[cfg(test)]
mod tests;
mod wildcard;

use bound::QueryBound;
use field::QueryField;
use pattern::TextPattern;

pub use bound::{SeverityLevel, rfc3339, time as read_time};
pub use error::QueryError;
pub use facts::QuerySight;
pub use origin::RecordOrigin;
pub use set::{ExaminedEntry, QuerySet};

#[cfg(any(test, fuzzing, feature = "fuzzed"))]
pub use parse::check_query;

/// A query: a condition on records.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Query {
    /// Every record.
    #[default]
    Everything,
    /// Records for which all of these hold; at least two.
    And(Vec<Self>),
    /// Records for which one of these holds; at least two.
    Or(Vec<Self>),
    /// Records for which this does not hold.
    Not(Box<Self>),
    /// Records whose texts have this in them: the body of a log record, the name of a span, an event or a metric, what the
    /// status of a span says.
    Text(TextPattern),
    /// Records that have this in a field.
    Field(QueryField, FieldTest),
}

/// A test of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldTest {
    /// Its text is like this.
    Matches(TextPattern),
    /// It compares to this bound in this way.
    Compare(Comparison, QueryBound),
    /// It is between these bounds, which are included.
    Between(Option<QueryBound>, Option<QueryBound>),
}

/// The comparison of a value with a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `field:bound`.
    Equal,
    /// `<`.
    Below,
    /// `<=`.
    AtMost,
    /// `>`.
    Above,
    /// `>=`.
    AtLeast,
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with what to write.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        Self::parse_without(text, &|_| false)
    }

    /// Reads a query of somebody from whom attributes of some names are hidden, and who could find out their values by asking.
    ///
    /// # Errors
    ///
    /// As [`Query::parse`]; a field that is, or is short for, a hidden attribute is wrong.
    pub fn parse_without(text: &str, is_hidden: &dyn Fn(&str) -> bool) -> Result<Self, QueryError> {
        parse::query(text, is_hidden)
    }

    /// The records among these that belong to a tenant whose id is like one of the globs.
    #[must_use]
    pub fn of_tenants<'g>(self, globs: impl IntoIterator<Item = &'g str>) -> Self {
        let of_tenant = |glob| Self::Field(QueryField::Tenant, FieldTest::Matches(TextPattern::glob(glob)));
        Self::And(vec![Self::Or(globs.into_iter().map(of_tenant).collect()), self])
    }

    /// The query with `mask` in place of every text, and of every name of an attribute, that may not be shown.
    #[must_use]
    pub fn masked(&self, is_shown: &dyn Fn(&str) -> bool, mask: &str) -> Self {
        let all = |parts: &[Self]| parts.iter().map(|part| part.masked(is_shown, mask)).collect();
        match self {
            Self::Everything => Self::Everything,
            Self::And(parts) => Self::And(all(parts)),
            Self::Or(parts) => Self::Or(all(parts)),
            Self::Not(part) => Self::Not(part.masked(is_shown, mask).into()),
            Self::Text(pattern) => Self::Text(pattern.masked(is_shown, mask)),
            Self::Field(field, test) => {
                let field = match field {
                    QueryField::Attribute { place, name } if !is_shown(name) => {
                        QueryField::Attribute { place: *place, name: mask.to_owned() }
                    }
                    other => other.clone(),
                };
                let test = match test {
                    FieldTest::Matches(pattern) => FieldTest::Matches(pattern.masked(is_shown, mask)),
                    other => other.clone(),
                };
                Self::Field(field, test)
            }
        }
    }
}
