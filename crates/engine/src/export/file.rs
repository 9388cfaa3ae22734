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
mod name;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use self::log::FileLog;
use super::{Answer, AttemptOutcome, FileSettings};
use crate::descriptors::{MakesRoom, TakenDescriptors, Use, User, descriptors};
use crate::route::Values;
use crate::stream::Batch;
use otlp::write_request;

/// Files that one exporter keeps open, if its share of the descriptors is as large; the one used longest ago is closed first.
pub const MAX_OPEN: usize = 256;

/// Threads that one exporter writes with. A disk is not faster with more, and there may be 100,000 streams.
const WRITERS: usize = 4;

/// The pause before a file that another is writing to is tried again, which is a matter of one line.
const LOCKED_PAUSE: Duration = Duration::from_millis(10);

/// Tries at a locked file before the attempt has failed.
const LOCKED_TRIES: usize = 100;

/// The files of one exporter.
#[derive(Debug)]
pub struct FileTransport {
    shared: Arc<ExporterFiles>,
    writers: Arc<Semaphore>,
}

/// The file of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileTarget {
    path: Arc<Path>,
}

#[derive(Debug)]
struct ExporterFiles {
    settings: FileSettings,
    open: Mutex<OpenFiles>,
    /// Takes the descriptors of the files.
    user: User,
}

#[derive(Debug, Default)]
struct OpenFiles {
    files: HashMap<Arc<Path>, OpenFile>,
    /// Counts uses, to tell which was longest ago.
    uses: u64,
}

#[derive(Debug)]
struct OpenFile {
    log: Arc<Mutex<FileLog>>,
    last_use: u64,
    _descriptor: TakenDescriptors,
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
        let shared = Arc::new_cyclic(|room: &Weak<ExporterFiles>| {
            let room: Weak<dyn MakesRoom> = room.clone();
            let user = descriptors().share(Use::Files).user(room);
            ExporterFiles { settings: settings.clone(), open: Mutex::default(), user }
        });
        Self { shared, writers: Arc::new(Semaphore::new(WRITERS)) }
    }

    pub(super) fn target(&self, values: &impl Values) -> FileTarget {
        let directory = self.shared.settings.path.join(name::directory(values.key()));
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
                outcome: AttemptOutcome::Delivered { rejected: 0, warning: false },
                least: Duration::ZERO,
                detail: String::new(),
            },
            Err(error) => Answer {
                code: "io".into(),
                outcome: AttemptOutcome::Retry { after: None },
                least: Duration::ZERO,
                detail: format!("can't write to `{target}`: {error}"),
            },
        }
    }

    async fn write(&self, target: &FileTarget, batch: &Batch) -> io::Result<()> {
        let permit = Arc::clone(&self.writers).acquire_owned().await.expect("the semaphore is never closed");
        let log = self.shared.log(&target.path).await;
        let (shared, batch) = (Arc::clone(&self.shared), batch.clone());
        let written = tokio::task::spawn_blocking(move || {
            // Moved in, as an attempt that is dropped does not end the write.
            let _permit = permit;
            shared.write(&log, &batch)
        });
        written.await.map_err(io::Error::other)?
    }
}

impl ExporterFiles {
    /// The file at `path`, which may yet have to be opened; others are closed for it if there are too many.
    async fn log(&self, path: &Arc<Path>) -> Arc<Mutex<FileLog>> {
        if let Some(known) = self.open.lock().find(path) {
            return known;
        }
        while self.open.lock().files.len() >= MAX_OPEN && self.make_room() {}
        let descriptor = self.user.take(1).await;
        let mut open = self.open.lock();
        // Another may have come first.
        open.find(path).unwrap_or_else(|| open.insert(path, descriptor))
    }

    fn write(&self, log: &Mutex<FileLog>, batch: &Batch) -> io::Result<()> {
        // JSON is about twice as long as protobuf.
        let mut line = Vec::with_capacity(batch.len() * 2 + 64);
        write_request(batch.signal(), batch.chunks(), &mut line);
        line.push(b'\n');
        log.lock().append(&line, &self.settings)
    }
}

impl MakesRoom for ExporterFiles {
    fn make_room(&self) -> bool {
        let Some(closed) = self.open.lock().take_longest_unused() else { return false };
        // Closing a file may take as long as writing to it.
        tokio::task::spawn_blocking(move || drop(closed));
        true
    }
}

impl OpenFiles {
    /// The file at `path`, if it is one of them.
    fn find(&mut self, path: &Path) -> Option<Arc<Mutex<FileLog>>> {
        self.uses += 1;
        let known = self.files.get_mut(path)?;
        known.last_use = self.uses;
        Some(Arc::clone(&known.log))
    }

    /// One more file, which is opened with its first line.
    fn insert(&mut self, path: &Arc<Path>, descriptor: TakenDescriptors) -> Arc<Mutex<FileLog>> {
        let log = Arc::new(Mutex::new(FileLog::new(Arc::clone(path))));
        let file = OpenFile { log: Arc::clone(&log), last_use: self.uses, _descriptor: descriptor };
        let before = self.files.insert(Arc::clone(path), file);
        debug_assert!(before.is_none(), "a file is opened once");
        log
    }

    /// The one that was used longest ago, out of those that nobody writes to: those stay, since a second handle would only
    /// wait for the first one's lock.
    fn take_longest_unused(&mut self) -> Option<OpenFile> {
        let idle = self.files.iter().filter(|(_, file)| Arc::strong_count(&file.log) == 1);
        let path = idle.min_by_key(|(_, file)| file.last_use).map(|(path, _)| Arc::clone(path))?;
        self.files.remove(&path)
    }
}

#[cfg(test)]
mod tests;
