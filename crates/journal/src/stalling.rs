//! A disk that neither does what it is asked nor says that it can't, for tests; one that panics; and one that remembers how
//! much it was asked to read at once.

use std::sync::Arc;
use std::thread;

use parking_lot::{Condvar, Mutex};

use super::disk::Disk;
use super::layer::{Asked, Layer, LayeredDisk};

/// Another disk, that can be made to answer nothing for a while. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct StallingDisk {
    disk: Arc<LayeredDisk<Gate>>,
}

/// The kinds of calls that a disk does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stalled {
    /// What changes something: writes, syncs, names.
    pub changes: bool,
    /// Syncs alone.
    pub syncs: bool,
    /// What looks at what a file or the directory holds.
    pub looks: bool,
}

#[derive(Debug, Default)]
struct Gate {
    inner: Mutex<GateState>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    stalled: Stalled,
    /// How many wait for an answer.
    waiting: usize,
    largest_read: usize,
    /// The name of the thread whose next change panics.
    panics_in: Option<&'static str>,
}

impl StallingDisk {
    /// A disk that answers everything as `disk` does, until it is told otherwise.
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk: Arc::new(LayeredDisk { disk, layer: Arc::default() }) }
    }

    /// The disk that can be made to answer nothing.
    pub fn disk(&self) -> Arc<dyn Disk> {
        self.disk.clone()
    }

    /// Has it answer nothing of that from now on; those who ask wait until it does.
    pub fn stall(&self, stalled: Stalled) {
        self.disk.layer.inner.lock().stalled = stalled;
        self.disk.layer.moved.notify_all();
    }

    /// Has the thread of this name panic when it next asks for a change, as a bug in that thread would.
    pub fn panic_in(&self, thread: &'static str) {
        self.disk.layer.inner.lock().panics_in = Some(thread);
    }

    /// How many wait for an answer now.
    pub fn waiting(&self) -> usize {
        self.disk.layer.inner.lock().waiting
    }

    /// Bytes of the largest read so far.
    pub fn largest_read(&self) -> usize {
        self.disk.layer.inner.lock().largest_read
    }
}

impl Gate {
    fn pass(&self, is_stalled: impl Fn(&Stalled) -> bool) {
        let mut inner = self.inner.lock();
        while is_stalled(&inner.stalled) {
            inner.waiting += 1;
            self.moved.wait(&mut inner);
            inner.waiting -= 1;
        }
    }
}

impl Layer for Gate {
    fn around<T>(&self, asked: Asked, ask: impl FnOnce() -> T) -> T {
        match asked {
            Asked::Change(_) | Asked::Sync(_) => {
                let panics_in = self.inner.lock().panics_in;
                let is_here = panics_in.is_some() && thread::current().name() == panics_in;
                assert!(!is_here, "found by the thread `{}`", panics_in.unwrap_or_default());
                let is_sync = matches!(asked, Asked::Sync(_));
                self.pass(|stalled| stalled.changes || is_sync && stalled.syncs);
            }
            Asked::Look | Asked::Read(_) => self.pass(|stalled| stalled.looks),
            Asked::Identity => {}
        }
        if let Asked::Read(bytes) = asked {
            let mut inner = self.inner.lock();
            inner.largest_read = inner.largest_read.max(bytes);
        }
        ask()
    }
}
