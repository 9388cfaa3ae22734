//! A disk that neither does what it is asked nor says that it can't, for tests; one that panics; and one that remembers how
//! much it was asked to read at once.

use std::io;
use std::sync::Arc;
use std::thread;

use parking_lot::{Condvar, Mutex};

use super::disk::{Disk, DiskFile, Identity};

/// Another disk, that can be made to answer nothing for a while. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct StallingDisk {
    disk: Arc<dyn Disk>,
    gate: Arc<Gate>,
}

/// What a disk does not answer.
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
    inner: Mutex<Inner>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    stalled: Stalled,
    /// How many wait for an answer.
    waiting: usize,
    largest_read: usize,
    /// The name of the thread whose next change panics.
    panics_in: Option<&'static str>,
}

#[derive(Debug)]
struct StallingFile {
    file: Arc<dyn DiskFile>,
    gate: Arc<Gate>,
}

impl StallingDisk {
    /// A disk that answers everything as `disk` does, until it is told otherwise.
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, gate: Arc::default() }
    }

    /// Has it answer nothing of that from now on; those who ask wait until it does.
    pub fn stall(&self, stalled: Stalled) {
        self.gate.inner.lock().stalled = stalled;
        self.gate.moved.notify_all();
    }

    /// Has the thread of this name panic when it next asks for a change, as a bug in that thread would.
    pub fn panic_in(&self, thread: &'static str) {
        self.gate.inner.lock().panics_in = Some(thread);
    }

    /// How many wait for an answer now.
    pub fn waiting(&self) -> usize {
        self.gate.inner.lock().waiting
    }

    /// Bytes of the largest read so far.
    pub fn largest_read(&self) -> usize {
        self.gate.inner.lock().largest_read
    }

    fn file(&self, file: io::Result<Arc<dyn DiskFile>>) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(StallingFile { file: file?, gate: self.gate.clone() }))
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

    fn change(&self) {
        let panics_in = self.inner.lock().panics_in;
        let is_here = panics_in.is_some() && thread::current().name() == panics_in;
        assert!(!is_here, "found by the thread `{}`", panics_in.unwrap_or_default());
        self.pass(|stalled| stalled.changes);
    }

    fn sync(&self) {
        self.change();
        self.pass(|stalled| stalled.syncs);
    }

    fn look(&self) {
        self.pass(|stalled| stalled.looks);
    }
}

impl Disk for StallingDisk {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.gate.change();
        self.disk.lock()
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.gate.look();
        self.disk.list()
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.gate.change();
        self.file(self.disk.create(name, len))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.gate.change();
        self.file(self.disk.open(name))
    }

    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.gate.look();
        self.file(self.disk.open_to_read(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.gate.change();
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.gate.change();
        self.disk.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.gate.sync();
        self.disk.sync_directory()
    }

    fn nonce(&self) -> u64 {
        self.disk.nonce()
    }

    fn identity(&self, name: Option<&str>) -> io::Result<Option<Identity>> {
        self.disk.identity(name)
    }
}

impl DiskFile for StallingFile {
    fn length(&self) -> io::Result<u64> {
        self.gate.look();
        self.file.length()
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.gate.look();
        let mut inner = self.gate.inner.lock();
        inner.largest_read = inner.largest_read.max(into.len());
        drop(inner);
        self.file.read_at(into, offset)
    }

    fn will_need(&self, offset: u64, length: u64) {
        self.file.will_need(offset, length);
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.gate.change();
        self.file.write_at(bytes, offset)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.gate.change();
        self.file.allocate(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.gate.sync();
        self.file.sync_data()
    }

    fn identity(&self) -> io::Result<Option<Identity>> {
        self.file.identity()
    }
}
