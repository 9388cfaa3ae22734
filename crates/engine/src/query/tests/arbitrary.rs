//! Arbitrary queries, over what [arbitrary requests](otlp::arbitrary_request) have.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::bound::{QueryBound, SeverityLevel};
use super::super::field::{AttributePlace, QueryField};
use super::super::pattern::TextPattern;
use super::super::{Comparison, FieldTest, Query};
use otlp::Signal;

pub(super) fn query() -> impl Strategy<Value = Query> {
    let leaf = prop_oneof![
        1 => pattern().prop_filter("it is not empty", |pattern| pattern.literal() != Some("")).prop_map(Query::Text),
        6 => (field(), pattern()).prop_map(|(field, pattern)| Query::Field(field, FieldTest::Matches(pattern))),
        2 => id().prop_map(|(field, pattern)| Query::Field(field, FieldTest::Matches(pattern))),
        4 => attribute().prop_flat_map(|field| (Just(field), ordered(number())))
            .prop_map(|(field, test)| Query::Field(field, test)),
        2 => of(QueryField::SeverityLevel, level().boxed()),
        1 => of(QueryField::SeverityNumber, number().boxed()),
        1 => ordered(time()).prop_map(|test| Query::Field(QueryField::Time, test)),
        1 => ordered(duration()).prop_map(|test| Query::Field(QueryField::Duration, test)),
        1 => proptest::sample::select(Signal::ALL.to_vec()).prop_map(|signal| {
            let test = FieldTest::Compare(Comparison::Equal, QueryBound::Signal(signal));
            Query::Field(QueryField::Signal, test)
        }),
    ];
    let tree = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 2..4).prop_map(|parts| flat(parts, true)),
            vec(inner.clone(), 2..4).prop_map(|parts| flat(parts, false)),
            inner.prop_map(|part| Query::Not(part.into())),
        ]
    });
    prop_oneof![40 => tree, 1 => Just(Query::Everything)]
}

/// Lists of a kind are not nested.
fn flat(parts: Vec<Query>, is_and: bool) -> Query {
    let parts = parts.into_iter().flat_map(|part| match part {
        Query::And(inner) if is_and => inner,
        Query::Or(inner) if !is_and => inner,
        other => vec![other],
    });
    if is_and { Query::And(parts.collect()) } else { Query::Or(parts.collect()) }
}

/// A typed field, compared or equal.
fn of(field: QueryField, bound: BoxedStrategy<QueryBound>) -> BoxedStrategy<Query> {
    let equal = bound.clone().prop_map(|bound| FieldTest::Compare(Comparison::Equal, bound));
    let any = Just({
        let mut any = TextPattern::default();
        any.push_run();
        FieldTest::Matches(any)
    });
    prop_oneof![ordered(bound), equal, any].prop_map(move |test| Query::Field(field.clone(), test)).boxed()
}

fn ordered(bound: impl Strategy<Value = QueryBound> + Clone + 'static) -> BoxedStrategy<FieldTest> {
    let comparison = proptest::sample::select(vec![
        Comparison::Below,
        Comparison::AtMost,
        Comparison::Above,
        Comparison::AtLeast,
    ]);
    let option = || proptest::option::of(bound.clone());
    prop_oneof![
        (comparison, bound.clone()).prop_map(|(comparison, bound)| FieldTest::Compare(comparison, bound)),
        (option(), option()).prop_map(|(from, to)| FieldTest::Between(from, to)),
    ]
    .boxed()
}

fn number() -> impl Strategy<Value = QueryBound> + Clone {
    prop_oneof![(-2..300_i64).prop_map(|number| number as f64), -1e6..1e6_f64].prop_map(QueryBound::Number)
}

fn level() -> impl Strategy<Value = QueryBound> + Clone {
    use SeverityLevel::{Debug, Error, Fatal, Info, Trace, Warn};
    proptest::sample::select(vec![Trace, Debug, Info, Warn, Error, Fatal]).prop_map(QueryBound::SeverityLevel)
}

fn time() -> impl Strategy<Value = QueryBound> + Clone {
    prop_oneof![0..4_000_000_000_000_000_000_u64, 0..3_000_000_000_u64].prop_map(QueryBound::Time)
}

fn duration() -> impl Strategy<Value = QueryBound> + Clone {
    prop_oneof![any::<u64>(), 0..5_000_000_000_u64, (0..100_u64).prop_map(|minutes| minutes * 60_000_000_000)]
        .prop_map(QueryBound::Duration)
}

fn field() -> impl Strategy<Value = QueryField> {
    let fields = vec![
        QueryField::Tenant,
        QueryField::Stream,
        QueryField::Exporter,
        QueryField::SeverityText,
        QueryField::Body,
        QueryField::Name,
        QueryField::Scope,
    ];
    prop_oneof![1 => proptest::sample::select(fields), 2 => attribute()]
}

/// A field of ids with what it could be, of which the digits at the beginning are often there.
fn id() -> impl Strategy<Value = (QueryField, TextPattern)> {
    let fields = vec![(QueryField::TraceId, 32), (QueryField::SpanId, 16), (QueryField::ParentSpanId, 16)];
    (proptest::sample::select(fields), "[0-9a-fA-F?]{32}", 0..4_usize).prop_map(
        |((field, digits), text, known)| {
            let text = match known {
                3 => text[..digits].to_owned(),
                known => format!("{}*", &text[..known]),
            };
            (field, TextPattern::glob(&text))
        },
    )
}

fn attribute() -> impl Strategy<Value = QueryField> + Clone {
    let place = proptest::sample::select(vec![
        None,
        None,
        Some(AttributePlace::Record),
        Some(AttributePlace::Scope),
        Some(AttributePlace::Resource),
    ]);
    let name = prop_oneof![4 => "[ab]", 1 => "[a-zé\"\\\\.:* -]{1,6}", 1 => Just("service".to_owned())];
    (place, name).prop_map(|(place, name)| match place {
        Some(place) => QueryField::Attribute { place: Some(place), name },
        // What names a field or a place is read as that.
        None => match QueryField::named(&name) {
            QueryField::Attribute { place: None, name } => QueryField::Attribute { place: None, name },
            _ => QueryField::Attribute { place: None, name: "a".to_owned() },
        },
    })
}

fn pattern() -> impl Strategy<Value = TextPattern> {
    let parts = prop_oneof![
        4 => "[xyXY]".prop_map(Some),
        2 => "[ -~é]{1,3}".prop_map(Some),
        1 => Just(Some("AND".to_owned())),
        1 => (0..3_i64).prop_map(|number| Some(number.to_string())),
        2 => Just(None),
    ];
    (vec(parts, 0..3), any::<bool>()).prop_map(|(parts, one)| {
        let mut pattern = TextPattern::default();
        for part in parts {
            match part {
                Some(text) => text.chars().for_each(|char| pattern.push_char(char)),
                None if one => pattern.push_one(),
                None => pattern.push_run(),
            }
        }
        pattern
    })
}
