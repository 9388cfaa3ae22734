//! The lines of the log as records of OTLP.
//!
//! [`LogExport`] stands behind the same filter as what writes the log, and so gets the lines that are written and no others: none below
//! the log's level, and no more in a second. What a line may hold is decided where it is logged, for both.

use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::time::SystemTime;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use tokio::task_local;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::{RecordBuffer, TraceContext, attribute, text, unix_nanos};

/// Bytes of a message, or of a value, that are sent.
const LONGEST_TEXT: usize = 4096;

/// The crates that Sluice's own lines come from. What libraries log is about single frames and files: at the level `trace` each
/// request with own telemetry would make more lines than are in it.
const OWN_CRATES: [&str; 2] = ["sluice", "sluice_engine"];

/// The log records of the process that wait to be sent.
static LOG_RECORDS: RecordBuffer = RecordBuffer::new();

task_local! {
    static SCOPE: Cell<LogScope>;
}

/// The subject of a task's log lines.
#[derive(Clone, Copy, Debug)]
pub enum LogScope {
    /// The lines are about neither of the following.
    Other,
    /// The lines are about the traced request of this span.
    Request(TraceContext),
    /// The lines are about own telemetry that is being received: they are written to the log, and not sent, since each of them would
    /// cause the next one.
    Withheld,
}

impl LogScope {
    /// Does work whose lines are in this scope, until it [enters](Self::enter) another.
    pub async fn of<F: Future>(self, work: F) -> F::Output {
        SCOPE.scope(Cell::new(self), work).await
    }

    /// Does work at once whose lines are in this scope.
    pub fn of_call<T>(self, work: impl FnOnce() -> T) -> T {
        SCOPE.sync_scope(Cell::new(self), work)
    }

    /// Changes the scope of the work that is being done. Work without a scope gets none.
    pub fn enter(self) {
        let _ = SCOPE.try_with(|scope| scope.set(self));
    }
}

/// Log records that wait to be sent.
pub fn log_records() -> &'static RecordBuffer {
    &LOG_RECORDS
}

/// A layer of the log whose lines wait to be sent, while the log is exported.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogExport;

impl<S: Subscriber> Layer<S> for LogExport {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if !LOG_RECORDS.is_wanted() {
            return;
        }
        let is_own = event.metadata().target().split("::").next().is_some_and(|of| OWN_CRATES.contains(&of));
        let scope = SCOPE.try_with(Cell::get).ok();
        if is_own && !matches!(scope, Some(LogScope::Withheld)) {
            LOG_RECORDS.push(&record(event, scope));
        }
    }
}

fn record(event: &Event<'_>, scope: Option<LogScope>) -> LogRecord {
    let mut fields = LineFields::default();
    event.record(&mut fields);
    let level = *event.metadata().level();
    let now = unix_nanos(SystemTime::now());
    let mut record = LogRecord {
        time_unix_nano: now,
        observed_time_unix_nano: now,
        severity_number: severity(level) as i32,
        severity_text: level.as_str().to_owned(),
        body: fields.message.map(|message| AnyValue { value: Some(text(message)) }),
        attributes: fields.attributes,
        ..LogRecord::default()
    };
    if let Some(LogScope::Request(context)) = scope {
        record.trace_id = context.trace_id().to_vec();
        record.span_id = context.span_id().to_vec();
        record.flags = context.flags();
    }
    record
}

fn severity(level: Level) -> SeverityNumber {
    match level {
        Level::ERROR => SeverityNumber::Error,
        Level::WARN => SeverityNumber::Warn,
        Level::INFO => SeverityNumber::Info,
        Level::DEBUG => SeverityNumber::Debug,
        Level::TRACE => SeverityNumber::Trace,
    }
}

/// The message and the fields of a log line.
#[derive(Default)]
struct LineFields {
    message: Option<String>,
    attributes: Vec<KeyValue>,
}

impl LineFields {
    fn add(&mut self, field: &Field, value: Value) {
        self.attributes.push(attribute(field.name(), value));
    }
}

impl Visit for LineFields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::IntValue(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, super::integer(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::DoubleValue(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::BoolValue(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let mut shortened = Shortened::default();
        // The text is cut to the room that there is.
        let _ = shortened.write_str(value);
        self.add(field, text(shortened.0));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut shortened = Shortened::default();
        let _ = write!(shortened, "{value:?}");
        if field.name() == "message" {
            self.message = Some(shortened.0);
        } else {
            self.add(field, text(shortened.0));
        }
    }
}

/// The beginning of a text.
#[derive(Default)]
struct Shortened(String);

impl fmt::Write for Shortened {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let mut end = part.len().min(LONGEST_TEXT - self.0.len());
        while !part.is_char_boundary(end) {
            end -= 1;
        }
        self.0.push_str(&part[..end]);
        if end < part.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use tracing::{debug, info, warn};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    fn body(record: &LogRecord) -> &str {
        match record.body.as_ref().and_then(|body| body.value.as_ref()) {
            Some(Value::StringValue(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    /// One test alone, since the records are the process's.
    #[test]
    fn the_log_becomes_records_but_for_what_is_withheld_and_what_libraries_say() {
        let subscriber = tracing_subscriber::registry().with(LogExport);
        let _default = tracing::subscriber::set_default(subscriber);
        let is_of_this_test = |record: &LogRecord| body(record).contains("of this test");
        let decoded = |record: Vec<u8>| LogRecord::decode(&*record).expect("it was encoded");
        let taken =
            || log_records().take().into_iter().map(decoded).filter(is_of_this_test).collect::<Vec<_>>();
        info!("not wanted yet, of this test");
        log_records().want(true);
        assert_eq!(taken(), []);

        warn!(records = 7_u64, exporter = %"otlp_http/up", tenant = "acme", "refused, of this test");
        warn!(target: "h2::proto", "a frame, of this test");
        let [record] = &taken()[..] else { panic!("there is one") };
        assert_eq!((body(record), &*record.severity_text), ("refused, of this test", "WARN"));
        assert_eq!(record.severity_number, SeverityNumber::Warn as i32);
        let expected = [
            ("records", super::super::integer(7)),
            ("exporter", text("otlp_http/up")),
            ("tenant", text("acme")),
        ];
        assert_eq!(record.attributes, expected.map(|(key, value)| attribute(key, value)));
        assert!(record.trace_id.is_empty());

        let context = TraceContext::root(|_| true);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(LogScope::Withheld.of(async { info!("withheld, of this test") }));
        runtime.block_on(LogScope::Request(context).of(async { debug!("in a request, of this test") }));
        let [record] = &taken()[..] else { panic!("there is one") };
        assert_eq!((&*record.trace_id, &*record.span_id), (&context.trace_id()[..], &context.span_id()[..]));
        runtime.block_on(LogScope::Other.of(async {
            LogScope::Withheld.of_call(|| info!("withheld for a call, of this test"));
            info!("after the call, of this test");
            LogScope::Withheld.enter();
            tokio::task::yield_now().await;
            info!("withheld from there on, of this test");
        }));
        let [record] = &taken()[..] else { panic!("there is one") };
        assert_eq!((body(record), &*record.trace_id), ("after the call, of this test", &[][..]));

        info!("{} of this test: {}", "long", "ü".repeat(LONGEST_TEXT));
        let [record] = &taken()[..] else { panic!("there is one") };
        assert!((LONGEST_TEXT - 3..=LONGEST_TEXT).contains(&body(record).len()));
        log_records().want(false);
    }
}
