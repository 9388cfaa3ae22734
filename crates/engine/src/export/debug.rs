//! The `debug` exporter: prints what it is given.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Answer, AttemptOutcome, DebugSettings};
use crate::route::Values;
use crate::stream::Batch;
use otlp::write_request;

/// Prints batches to standard output.
pub struct DebugTransport {
    name: Arc<str>,
    detailed: bool,
    /// Shared, so that lines of streams don't run into each other.
    out: Arc<Mutex<Box<dyn Write + Send>>>,
}

/// A stream, as it is named in its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebugTarget {
    key: Option<Arc<str>>,
}

impl DebugTarget {
    pub(super) fn new(values: &impl Values) -> Self {
        Self { key: values.key().map(|key| key.text().into()) }
    }
}

impl DebugTransport {
    pub(super) fn new(name: &str, settings: &DebugSettings) -> Self {
        Self::printing_to(Box::new(io::stdout()), name, settings)
    }

    fn printing_to(out: Box<dyn Write + Send>, name: &str, settings: &DebugSettings) -> Self {
        Self { name: name.into(), detailed: settings.detailed, out: Arc::new(Mutex::new(out)) }
    }

    /// Prints one line, or the whole batch as JSON on a line of its own after it.
    pub(super) async fn attempt(&self, target: &DebugTarget, batch: &Batch) -> Answer {
        let key = target.key.as_deref().map(|key| format!(" key={key:?}")).unwrap_or_default();
        let (name, signal, records, bytes) = (&self.name, batch.signal(), batch.records(), batch.len());
        let mut text = format!("{name}: {signal}{key} records={records} bytes={bytes}\n").into_bytes();
        let (detailed, out, batch) = (self.detailed, Arc::clone(&self.out), batch.clone());
        // Whoever reads standard output may be slow.
        let printed = tokio::task::spawn_blocking(move || {
            if detailed {
                write_request(batch.signal(), batch.chunks(), &mut text);
                text.push(b'\n');
            }
            let mut out = out.lock();
            out.write_all(&text)?;
            out.flush()
        });
        match printed.await.map_err(io::Error::other).and_then(|printed| printed) {
            Ok(()) => Answer {
                code: "printed".into(),
                outcome: AttemptOutcome::Delivered { rejected: 0, warning: false },
                least: Duration::ZERO,
                detail: String::new(),
            },
            Err(error) => Answer {
                code: "io".into(),
                outcome: AttemptOutcome::Retry { after: None },
                least: Duration::ZERO,
                detail: format!("can't print to standard output: {error}"),
            },
        }
    }
}

impl fmt::Debug for DebugTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DebugTransport").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use otlp::Signal;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    async fn printed(detailed: bool, key: Option<&str>) -> String {
        let page = Page::default();
        let debug =
            DebugTransport::printing_to(Box::new(page.clone()), "debug/x", &DebugSettings { detailed });
        // One `ResourceLogs` without fields.
        let batch = Batch::new(Signal::Logs, vec![Bytes::from_static(b"\x0a\x00")], 3);
        let answer = debug.attempt(&DebugTarget { key: key.map(Into::into) }, &batch).await;
        assert_eq!(answer.outcome, AttemptOutcome::Delivered { rejected: 0, warning: false });
        let text = page.0.lock().clone();
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn prints_a_line_per_batch() {
        assert_eq!(printed(false, Some("shop")).await, "debug/x: logs key=\"shop\" records=3 bytes=2\n");
        assert_eq!(printed(false, None).await, "debug/x: logs records=3 bytes=2\n");
    }

    #[tokio::test]
    async fn prints_the_batch_as_json_if_detailed() {
        let text = printed(true, None).await;
        let mut lines = text.lines().skip(1);
        let json: serde_json::Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert!(json["resourceLogs"].is_array(), "{text}");
        assert_eq!(lines.next(), None);
    }

    #[tokio::test]
    async fn what_cannot_be_printed_is_tried_again() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let debug =
            DebugTransport::printing_to(Box::new(Closed), "debug", &DebugSettings { detailed: false });
        let batch = Batch::new(Signal::Logs, vec![Bytes::from_static(b"\x0a\x00")], 1);
        let answer = debug.attempt(&DebugTarget { key: None }, &batch).await;
        assert_eq!((answer.code.as_ref(), answer.outcome), ("io", AttemptOutcome::Retry { after: None }));
    }
}
