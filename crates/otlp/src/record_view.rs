//! A record with its scope, metric and resource, found in an encoded entry without building messages.

use std::cell::{Cell, OnceCell};
use std::ops::ControlFlow;
use std::sync::LazyLock;

use smallvec::SmallVec;

use super::piece::{self, Child};
use super::plain;
use super::read_value::{self, ReadValue, text};
use super::schema::{self, FieldKind, INSTRUMENTATION_SCOPE, MESSAGES, Message};
use super::wire::{Fields, Sound, Value, put_delimited};
use super::{Signal, split};

/// The records of a valid entry, in their order, until `visit` has seen enough.
pub fn visit_records<'a>(
    signal: Signal,
    entry: &'a [u8],
    visit: &mut dyn FnMut(&RecordView<'_, 'a>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut around = RecordSurroundings {
        signal,
        resource: split::resource(entry),
        scopes: SmallVec::new(),
        scope: Cell::new(None),
        metric: Cell::new(None),
        kind: None,
        levels: SmallVec::new(),
        visited: 0,
    };
    visit_within(&mut around, Message::entry(signal), entry, 0, visit)
}

fn visit_within<'a>(
    around: &mut RecordSurroundings<'a>,
    message: &'static Message,
    bytes: &'a [u8],
    number: u32,
    visit: &mut dyn FnMut(&RecordView<'_, 'a>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let (scopes, kind) = (around.scopes.clone(), around.kind);
    around.enter(message, bytes, number);
    for child in piece::children(message, bytes) {
        if child.field.record {
            visit(&RecordView { around, message: child.message(), bytes: child.bytes, field: child.field })?;
            around.visited += 1;
        } else {
            around.kind = Some(child.field.name);
            visit_within(around, child.message(), child.bytes, child.field.number, visit)?;
        }
    }
    around.levels.pop();
    (around.scopes, around.kind) = (scopes, kind);
    ControlFlow::Continue(())
}

/// The messages around a record, from the entry down to where a walk is.
struct RecordSurroundings<'a> {
    signal: Signal,
    resource: &'a [u8],
    /// Encoded scopes, which are one to protobuf if there are several.
    scopes: SmallVec<[&'a [u8]; 1]>,
    /// Name and version of these, once somebody has asked for them: that they are many fields does not cost each record.
    scope: Cell<Option<(&'a str, &'a str)>>,
    /// Name and unit of the metric, in the same way.
    metric: Cell<Option<(&'a str, &'a str)>>,
    /// The name of the field that the innermost level stands in.
    kind: Option<&'static str>,
    levels: SmallVec<[RecordLevel<'a>; 4]>,
    /// Records so far.
    visited: usize,
}

/// A message that holds records.
struct RecordLevel<'a> {
    message: &'static Message,
    bytes: &'a [u8],
    /// The number of the field that it is in the level above.
    number: u32,
    /// Its fields that are no records and hold none, once somebody has asked for them.
    own: OnceCell<Vec<u8>>,
}

/// Where the metric stands among the levels: in a scope, in an entry.
const METRIC: usize = 2;

impl<'a> RecordSurroundings<'a> {
    fn enter(&mut self, message: &'static Message, bytes: &'a [u8], number: u32) {
        match self.levels.len() {
            1 => {
                let is_scope = |number| {
                    message
                        .field(number)
                        .is_some_and(|field| field.kind == FieldKind::Message(INSTRUMENTATION_SCOPE))
                };
                let fields = Sound::of(bytes).filter(|(number, _)| is_scope(*number));
                self.scopes = fields.filter_map(|(_, value)| value.delimited()).collect();
                self.scope.take();
            }
            METRIC => _ = self.metric.take(),
            _ => {}
        }
        self.levels.push(RecordLevel { message, bytes, number, own: OnceCell::new() });
    }
}

/// A span, log record or data point in an entry.
#[derive(Clone, Copy)]
pub struct RecordView<'v, 'a> {
    around: &'v RecordSurroundings<'a>,
    message: &'static Message,
    bytes: &'a [u8],
    field: &'static schema::Field,
}

/// An attribute of a record, a scope, a metric or a resource.
#[derive(Clone, Copy)]
pub struct AttributeView<'a> {
    /// The encoded `KeyValue`.
    pair: &'a [u8],
}

/// The fields of a record beside its attributes. Those that it does not have, or that belong to another signal, are empty or zero.
#[derive(Clone, Copy, Debug)]
pub struct RecordFields<'a> {
    /// When it happened, in nanoseconds since 1970: of a span, when it started; of a log record that has no time, when it was
    /// observed.
    pub time: u64,
    /// When a span ended.
    pub end: u64,
    /// `severity_number` of a log record.
    pub severity_number: u64,
    /// `severity_text` of a log record.
    pub severity_text: &'a str,
    /// The body of a log record.
    pub body: ReadValue<'a>,
    /// The name of a span, an event or a metric.
    pub name: &'a str,
    /// 16 bytes, or none.
    pub trace_id: &'a [u8],
    /// 8 bytes, or none.
    pub span_id: &'a [u8],
    /// 8 bytes, or none.
    pub parent_span_id: &'a [u8],
    /// Whether a span's status is an error.
    pub failed: bool,
    /// The message of a span's status.
    pub status_message: &'a str,
    /// The value of a data point that is one number.
    pub value: PointValue,
    /// Count of a data point that is a distribution.
    pub count: u64,
    /// Sum of a data point that is a distribution.
    pub sum: Option<f64>,
}

/// The number that a data point is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PointValue {
    /// The record is no data point, or its value is not one number.
    Nothing,
    /// An integer.
    Int(i64),
    /// A double.
    Double(f64),
}

/// The fields of a metric beside its points.
#[derive(Clone, Copy, Debug)]
pub struct MetricFields<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its unit.
    pub unit: &'a str,
    /// `gauge`, `sum`, `histogram`, `exponential_histogram` or `summary`.
    pub kind: &'static str,
}

/// The role of a field of a record, by its name in the schema.
#[derive(Clone, Copy)]
enum FieldRole {
    Other,
    Time,
    Observed,
    Start,
    End,
    SeverityNumber,
    SeverityText,
    Body,
    Name,
    TraceId,
    SpanId,
    ParentSpanId,
    Status,
    AsDouble,
    AsInt,
    Count,
    Sum,
}

/// Field numbers below this have a role.
const ROLES: usize = 32;

/// The roles of the fields of each message of the schema, by their numbers.
static ROLES_OF: LazyLock<Vec<[FieldRole; ROLES]>> = LazyLock::new(|| MESSAGES.iter().map(roles).collect());

fn roles(message: &Message) -> [FieldRole; ROLES] {
    let is_span = message.fields.iter().any(|field| field.name == "parent_span_id");
    let mut roles = [FieldRole::Other; ROLES];
    for field in message.fields {
        roles[field.number as usize] = match field.name {
            "time_unix_nano" => FieldRole::Time,
            "observed_time_unix_nano" => FieldRole::Observed,
            "start_time_unix_nano" if is_span => FieldRole::Start,
            "end_time_unix_nano" => FieldRole::End,
            "severity_number" => FieldRole::SeverityNumber,
            "severity_text" => FieldRole::SeverityText,
            "body" => FieldRole::Body,
            "name" | "event_name" => FieldRole::Name,
            "trace_id" => FieldRole::TraceId,
            "span_id" => FieldRole::SpanId,
            "parent_span_id" => FieldRole::ParentSpanId,
            "status" => FieldRole::Status,
            "as_double" => FieldRole::AsDouble,
            "as_int" => FieldRole::AsInt,
            "count" => FieldRole::Count,
            "sum" => FieldRole::Sum,
            _ => FieldRole::Other,
        };
    }
    roles
}

impl<'a> RecordView<'_, 'a> {
    /// The signal of the record.
    pub fn signal(&self) -> Signal {
        self.around.signal
    }

    /// Its position among the records of the entry.
    pub fn position(&self) -> usize {
        self.around.visited
    }

    /// Its fields, which are read in one go.
    pub fn fields(&self) -> RecordFields<'a> {
        let roles = &ROLES_OF[self.message.index as usize];
        let mut fields = RecordFields {
            time: 0,
            end: 0,
            severity_number: 0,
            severity_text: "",
            body: ReadValue::Empty,
            name: "",
            trace_id: &[],
            span_id: &[],
            parent_span_id: &[],
            failed: false,
            status_message: "",
            value: PointValue::Nothing,
            count: 0,
            sum: None,
        };
        let mut observed = 0;
        for (number, value) in Sound::of(self.bytes) {
            match (roles.get(number as usize).copied().unwrap_or(FieldRole::Other), value) {
                (FieldRole::Time | FieldRole::Start, Value::Number(number)) => fields.time = number,
                (FieldRole::Observed, Value::Number(number)) => observed = number,
                (FieldRole::End, Value::Number(number)) => fields.end = number,
                (FieldRole::SeverityNumber, Value::Number(number)) => fields.severity_number = number,
                (FieldRole::SeverityText, Value::Delimited(bytes)) => fields.severity_text = text(bytes),
                (FieldRole::Body, Value::Delimited(bytes)) => fields.body = ReadValue::of(bytes),
                (FieldRole::Name, Value::Delimited(bytes)) => fields.name = text(bytes),
                (FieldRole::TraceId, Value::Delimited(bytes)) => fields.trace_id = bytes,
                (FieldRole::SpanId, Value::Delimited(bytes)) => fields.span_id = bytes,
                (FieldRole::ParentSpanId, Value::Delimited(bytes)) => fields.parent_span_id = bytes,
                (FieldRole::Status, Value::Delimited(bytes)) => {
                    (fields.failed, fields.status_message) = status(bytes);
                }
                (FieldRole::AsDouble, Value::Number(bits)) => {
                    fields.value = PointValue::Double(f64::from_bits(bits));
                }
                (FieldRole::AsInt, Value::Number(number)) => fields.value = PointValue::Int(number as i64),
                (FieldRole::Count, Value::Number(number)) => fields.count = number,
                (FieldRole::Sum, Value::Number(bits)) => fields.sum = Some(f64::from_bits(bits)),
                _ => {}
            }
        }
        if fields.time == 0 {
            fields.time = observed;
        }
        if let Some(metric) = self.metric() {
            fields.name = metric.name;
        }
        fields
    }

    /// The record's own attributes.
    pub fn attributes(&self) -> impl Iterator<Item = AttributeView<'a>> + use<'a> {
        attributes_in(self.bytes, self.message.attributes)
    }

    /// The metadata of the metric that a data point belongs to.
    pub fn metadata(&self) -> impl Iterator<Item = AttributeView<'a>> + use<'a> {
        let metric = self.around.levels.get(METRIC);
        let number = metric.and_then(|metric| {
            metric.message.fields.iter().find(|field| field.name == "metadata").map(|field| field.number)
        });
        attributes_in(metric.map_or(&[][..], |metric| metric.bytes), number.unwrap_or_default())
    }

    /// The attributes of its scope.
    pub fn scope_attributes(&self) -> impl Iterator<Item = AttributeView<'a>> + use<'a> {
        let number = schema::message(INSTRUMENTATION_SCOPE).attributes;
        self.around.scopes.clone().into_iter().flat_map(move |scope| attributes_in(scope, number))
    }

    /// Where the message begins that has its scope and the records of that.
    pub fn scope_position(&self) -> *const u8 {
        self.around.levels.get(1).map_or(self.bytes, |level| level.bytes).as_ptr()
    }

    /// The attributes of its resource.
    pub fn resource_attributes(&self) -> impl Iterator<Item = AttributeView<'a>> + use<'a> {
        resource_attributes(self.around.resource)
    }

    /// Where the metric begins that it is a data point of.
    pub fn metric_position(&self) -> Option<*const u8> {
        self.around.levels.get(METRIC).map(|metric| metric.bytes.as_ptr())
    }

    /// The name and the version of its scope.
    pub fn scope(&self) -> (&'a str, &'a str) {
        self.around.scope.get().unwrap_or_else(|| {
            let scope = self.around.scopes.iter().flat_map(|scope| Sound::of(scope));
            let scope = texts(scope, 1, 2);
            self.around.scope.set(Some(scope));
            scope
        })
    }

    /// The metric that it is a data point of.
    pub fn metric(&self) -> Option<MetricFields<'a>> {
        let metric = self.around.levels.get(METRIC)?;
        let (name, unit) = self.around.metric.get().unwrap_or_else(|| {
            let texts = texts(Sound::of(metric.bytes), 1, 3);
            self.around.metric.set(Some(texts));
            texts
        });
        Some(MetricFields { name, unit, kind: self.around.kind.unwrap_or_default() })
    }

    /// Whether a data point of a sum or a histogram counts from the point before it, `delta`, or from its start, `cumulative`;
    /// `None` for other records, and where it is not said.
    pub fn temporality(&self) -> Option<&'static str> {
        let data = self.around.levels.get(METRIC + 1)?;
        let field = data.message.fields.iter().find(|field| field.name == "aggregation_temporality")?;
        let said = Sound::of(data.bytes).filter(|(number, _)| *number == field.number).last()?;
        match said.1 {
            Value::Number(1) => Some("delta"),
            Value::Number(2) => Some("cumulative"),
            _ => None,
        }
    }

    /// Bytes that [`RecordView::alone`] takes at most.
    pub fn len_alone(&self) -> usize {
        let own = self.around.levels.iter().map(|level| level.own().len() + 16);
        own.sum::<usize>() + self.bytes.len()
    }

    /// An entry that has this record and no other, under the same resource and scope.
    pub fn alone(&self) -> Vec<u8> {
        let mut inner = Vec::with_capacity(self.len_alone());
        put_delimited(&mut inner, self.field.number, self.bytes);
        for (depth, level) in self.around.levels.iter().enumerate().rev() {
            let whole = [level.own(), &inner].concat();
            if depth == 0 {
                return whole;
            }
            inner.clear();
            put_delimited(&mut inner, level.number, &whole);
        }
        inner
    }
}

impl RecordLevel<'_> {
    /// Its fields that are no records and hold none.
    fn own(&self) -> &[u8] {
        self.own.get_or_init(|| {
            let former = piece::is_former(self.message, self.bytes);
            let fields = Fields::of(self.bytes).map_while(Result::ok);
            let own = fields.filter(|field| Child::of(self.message, field, former).is_none());
            own.fold(Vec::new(), |mut own, field| {
                own.extend_from_slice(field.raw);
                own
            })
        })
    }
}

/// The texts in the fields of these two numbers.
fn texts<'a>(fields: impl Iterator<Item = (u32, Value<'a>)>, first: u32, second: u32) -> (&'a str, &'a str) {
    let mut texts = ("", "");
    for (number, value) in fields {
        let Value::Delimited(bytes) = value else { continue };
        if number == first {
            texts.0 = text(bytes);
        } else if number == second {
            texts.1 = text(bytes);
        }
    }
    texts
}

/// The attributes of an encoded `Resource`.
pub fn resource_attributes(resource: &[u8]) -> impl Iterator<Item = AttributeView<'_>> {
    attributes_in(resource, schema::message(schema::RESOURCE).attributes)
}

fn attributes_in(message: &[u8], number: u32) -> impl Iterator<Item = AttributeView<'_>> {
    let fields = Sound::of(message).filter(move |(known, _)| *known == number);
    fields.filter_map(|(_, value)| Some(AttributeView { pair: value.delimited()? }))
}

/// Whether an encoded `Status` is an error, and its message.
fn status(bytes: &[u8]) -> (bool, &str) {
    const ERROR: u64 = 2;
    let (mut failed, mut message) = (false, "");
    for (number, value) in Sound::of(bytes) {
        match (number, value) {
            (2, Value::Delimited(bytes)) => message = text(bytes),
            (3, Value::Number(code)) => failed = code == ERROR,
            _ => {}
        }
    }
    (failed, message)
}

impl<'a> AttributeView<'a> {
    /// Its key.
    pub fn key(&self) -> &'a str {
        text(self.key_bytes())
    }

    /// Its key, which is UTF-8.
    #[inline]
    pub fn key_bytes(&self) -> &'a [u8] {
        plain::attribute(self.pair).map_or_else(|| read_value::key(self.pair), |(key, _)| key)
    }

    /// Its value.
    pub fn value(&self) -> ReadValue<'a> {
        ReadValue::of_pair(self.pair)
    }
}
