//! The `file` exporter: OTLP JSON lines, one `Export<Signal>ServiceRequest` per line, in
//! `DIR/<routing key>/<signal>.jsonl`, as a Collector's `otlpjsonfile` receiver reads them.
//!
//! A batch is one line and one write. A line that could not be written whole is cut off again, so that every
//! line in a file is a whole request, also where several write to one file. A file that would grow too large is renamed to
//! `<signal>-<UTC time>.jsonl` first. Nothing is synced: what the operating system has taken is delivered.
//!
//! What senders send is for nobody else on the machine unless `mode` says so. A file that somebody else wrote is continued,
//! and nothing is cut off it.

mod log;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use self::log::Log;
use super::file_name::file_name;
use super::{Answer, FileSettings, Outcome};
use crate::otlp::write_request;
use crate::route::Values;
use crate::stream::Batch;

/// Files that one exporter keeps open; the one used longest ago is closed first.
const MAX_OPEN: usize = 256;

/// Threads that one exporter writes with. A disk is not faster with more, and there may be 100,000 streams.
const WRITERS: usize = 4;

/// The pause before a file that another is writing to is tried again, which is a matter of one line.
const LOCKED_PAUSE: Duration = Duration::from_millis(10);

/// Tries at a locked file before the attempt has failed.
const LOCKED_TRIES: usize = 100;

/// The files of one exporter.
#[derive(Debug)]
pub struct FileTransport {
    shared: Arc<Shared>,
    writers: Arc<Semaphore>,
}

/// The file of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileTarget {
    path: Arc<Path>,
}

#[derive(Debug)]
struct Shared {
    settings: FileSettings,
    open: Mutex<OpenFiles>,
}

#[derive(Debug, Default)]
struct OpenFiles {
    files: HashMap<Arc<Path>, OpenFile>,
    /// Counts uses, to tell which was longest ago.
    uses: u64,
}

#[derive(Debug)]
struct OpenFile {
    log: Arc<Mutex<Log>>,
    last_use: u64,
}

impl FileTarget {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for FileTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

impl FileTransport {
    pub(super) fn new(settings: &FileSettings) -> Self {
        let shared = Shared { settings: settings.clone(), open: Mutex::default() };
        Self { shared: Arc::new(shared), writers: Arc::new(Semaphore::new(WRITERS)) }
    }

    pub(super) fn target(&self, values: &impl Values) -> FileTarget {
        let directory = self.shared.settings.path.join(file_name(values.key()));
        FileTarget { path: directory.join(format!("{}.jsonl", values.signal())).into() }
    }

    /// Appends a batch. Whatever goes wrong (a full disk, a missing right) can be put right, so it is tried again.
    pub(super) async fn attempt(&self, target: &FileTarget, batch: &Batch) -> Answer {
        let mut written = self.write(target, batch).await;
        for _ in 1..LOCKED_TRIES {
            if !matches!(&written, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
                break;
            }
            tokio::time::sleep(LOCKED_PAUSE).await;
            written = self.write(target, batch).await;
        }
        match written {
            Ok(()) => Answer {
                code: "written".into(),
                outcome: Outcome::Delivered { rejected: 0, warning: false },
                detail: String::new(),
            },
            Err(error) => Answer {
                code: "io".into(),
                outcome: Outcome::Retry { after: None },
                detail: format!("can't write to `{target}`: {error}"),
            },
        }
    }

    async fn write(&self, target: &FileTarget, batch: &Batch) -> io::Result<()> {
        let permit = Arc::clone(&self.writers).acquire_owned().await.expect("the semaphore is never closed");
        let (shared, path, batch) = (Arc::clone(&self.shared), Arc::clone(&target.path), batch.clone());
        let written = tokio::task::spawn_blocking(move || {
            // Moved in, as an attempt that is dropped does not end the write.
            let _permit = permit;
            shared.write(&path, &batch)
        });
        written.await.map_err(io::Error::other)?
    }
}

impl Shared {
    fn write(&self, path: &Arc<Path>, batch: &Batch) -> io::Result<()> {
        // JSON is about twice as long as protobuf.
        let mut line = Vec::with_capacity(batch.len() * 2 + 64);
        write_request(batch.signal(), batch.chunks(), &mut line);
        line.push(b'\n');
        let log = self.open.lock().get(path);
        log.lock().append(&line, &self.settings)
    }
}

impl OpenFiles {
    /// The file at `path`, which may yet have to be opened; closes another if there are too many.
    fn get(&mut self, path: &Arc<Path>) -> Arc<Mutex<Log>> {
        self.uses += 1;
        if let Some(known) = self.files.get_mut(path) {
            known.last_use = self.uses;
            return Arc::clone(&known.log);
        }
        if self.files.len() >= MAX_OPEN {
            // Those that are being written to stay: a second handle would only wait for the first one's lock.
            let idle = self.files.iter().filter(|(_, file)| Arc::strong_count(&file.log) == 1);
            if let Some(path) = idle.min_by_key(|(_, file)| file.last_use).map(|(path, _)| Arc::clone(path)) {
                self.files.remove(&path);
            }
        }
        let log = Arc::new(Mutex::new(Log::new(Arc::clone(path))));
        self.files.insert(Arc::clone(path), OpenFile { log: Arc::clone(&log), last_use: self.uses });
        log
    }
}

#[cfg(test)]
mod tests;
