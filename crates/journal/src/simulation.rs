//! A disk in memory that fails as disks do, for tests. What it does follows from its seed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::io::Errno;

use super::disk::{BLOCK, Disk, DiskFile};

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

/// A directory of files in memory. Clones are the same directory.
#[derive(Clone, Debug)]
pub struct SimulatedDisk {
    inner: Arc<Mutex<DiskState>>,
}

#[derive(Debug)]
struct DiskState {
    random: StdRng,
    files: BTreeMap<String, Arc<Mutex<Content>>>,
    /// The directory as a power cut leaves it, and what was done since.
    durable: BTreeMap<String, Arc<Mutex<Content>>>,
    pending: Vec<DirectoryChange>,
    faults: DiskFaults,
    /// What happens when a file is next opened to be read.
    interruptions: BTreeMap<String, Interruption>,
    /// Changes when the machine restarts: what was open before is of no use then.
    boot: u64,
    locked: Arc<()>,
}

/// What is wrong with the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskFaults {
    /// Bytes that all files may have together.
    pub capacity: Option<u64>,
    /// Nothing can be changed.
    pub read_only: bool,
    /// So many of the next syncs fail, after which nobody knows what was written.
    pub failing_syncs: u32,
    /// So many of the next writes fail.
    pub failing_writes: u32,
    /// No file can be renamed or removed.
    pub names_stay: bool,
}

struct Interruption(Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Interruption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Interruption")
    }
}

#[derive(Clone, Debug)]
enum DirectoryChange {
    Put(String, Arc<Mutex<Content>>),
    Rename(String, String),
    Remove(String),
}

#[derive(Debug, Default)]
struct Content {
    /// As processes see it.
    seen: Vec<u8>,
    /// As a power cut leaves it.
    durable: Vec<u8>,
    /// Blocks that are not the same.
    unsynced: BTreeSet<usize>,
    /// Blocks that can't be read until they are written again.
    unreadable: BTreeSet<usize>,
    /// Blocks that can't be written.
    worn: BTreeSet<usize>,
}

impl Content {
    /// Makes an unsynced block durable, part of it, or none of it.
    fn settle_block(&mut self, block: usize, random: &mut StdRng) {
        let start = block * BLOCK;
        let end = (start + BLOCK).min(self.seen.len());
        let kept = match random.random_range(0..3) {
            0 => start,
            1 => end,
            _ => end.min(start + SECTOR * random.random_range(0..BLOCK / SECTOR)),
        };
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.durable[start..kept].copy_from_slice(&self.seen[start..kept]);
    }

    fn settle(&mut self, random: &mut StdRng) {
        for block in std::mem::take(&mut self.unsynced) {
            self.settle_block(block, random);
        }
    }
}

impl SimulatedDisk {
    /// An empty directory.
    pub fn new(seed: u64) -> Self {
        let inner = DiskState {
            random: StdRng::seed_from_u64(seed),
            files: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
            faults: DiskFaults::default(),
            interruptions: BTreeMap::new(),
            boot: 0,
            locked: Arc::new(()),
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Sets what is wrong with the disk from now on.
    pub fn set_faults(&self, faults: DiskFaults) {
        self.inner.lock().faults = faults;
    }

    /// Cuts the power: of what was not synced each block is kept, lost or torn, and of what was done to the directory only
    /// the beginning is left. Locks are gone, and files that are open fail.
    pub fn cut_power(&self) {
        let inner = &mut *self.inner.lock();
        let kept = inner.random.random_range(0..=inner.pending.len());
        for change in std::mem::take(&mut inner.pending).into_iter().take(kept) {
            change.apply(&mut inner.durable);
        }
        let mut files = BTreeMap::new();
        for (name, content) in &inner.durable {
            let mut content = content.lock();
            content.settle(&mut inner.random);
            let left = content.durable.clone();
            let unreadable = content.unreadable.clone();
            let content = Content { seen: left.clone(), durable: left, unreadable, ..Content::default() };
            files.insert(name.clone(), Arc::new(Mutex::new(content)));
        }
        inner.durable.clone_from(&files);
        inner.files = files;
        inner.boot += 1;
        inner.locked = Arc::new(());
        inner.faults = DiskFaults::default();
    }

    /// Ends the process: what it wrote stays, and its locks are gone.
    pub fn kill(&self) {
        let inner = &mut *self.inner.lock();
        inner.boot += 1;
        inner.locked = Arc::new(());
    }

    /// The files and their lengths.
    pub fn files(&self) -> Vec<(String, u64)> {
        let inner = self.inner.lock();
        inner.files.iter().map(|(name, content)| (name.clone(), content.lock().seen.len() as u64)).collect()
    }

    /// What is in a file.
    pub fn content(&self, name: &str) -> Vec<u8> {
        self.inner.lock().files[name].lock().seen.clone()
    }

    /// Puts a file there, or replaces what is in it, as if it had always been so.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let content = Content { seen: bytes.clone(), durable: bytes, ..Content::default() };
        let content = Arc::new(Mutex::new(content));
        let inner = &mut *self.inner.lock();
        inner.files.insert(name.to_owned(), content.clone());
        inner.durable.insert(name.to_owned(), content);
    }

    /// Removes a file as if it had never been there.
    pub fn lose(&self, name: &str) {
        let inner = &mut *self.inner.lock();
        inner.files.remove(name);
        inner.durable.remove(name);
    }

    /// Flips one bit of a file.
    pub fn flip(&self, name: &str, bit: usize) {
        let mut bytes = self.content(name);
        bytes[bit / 8] ^= 1 << (bit % 8);
        self.put(name, bytes);
    }

    /// Makes blocks of a file unreadable, until they are written again.
    pub fn lose_blocks(&self, name: &str, blocks: Range<usize>) {
        self.inner.lock().files[name].lock().unreadable.extend(blocks);
    }

    /// Makes blocks of a file unwritable.
    pub fn wear_out(&self, name: &str, blocks: Range<usize>) {
        self.inner.lock().files[name].lock().worn.extend(blocks);
    }

    /// Has `then` happen when the file is next opened to be read, as if another thread did it in this moment.
    pub fn interrupt(&self, name: &str, then: impl FnOnce() + Send + 'static) {
        self.inner.lock().interruptions.insert(name.to_owned(), Interruption(Box::new(then)));
    }

    /// The disk for a process that starts now.
    pub fn process(&self) -> Arc<dyn Disk> {
        Arc::new(Process { disk: self.clone(), boot: self.inner.lock().boot })
    }
}

impl DirectoryChange {
    fn apply(self, files: &mut BTreeMap<String, Arc<Mutex<Content>>>) {
        match self {
            Self::Put(name, content) => {
                files.insert(name, content);
            }
            Self::Rename(from, to) => {
                if let Some(content) = files.remove(&from) {
                    files.insert(to, content);
                }
            }
            Self::Remove(name) => {
                files.remove(&name);
            }
        }
    }
}

impl DiskState {
    fn may_change(&self) -> io::Result<()> {
        if self.faults.read_only { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }

    fn may_change_name(&self, name: &str) -> io::Result<()> {
        self.may_change()?;
        match self.files.contains_key(name) {
            false => Err(io::ErrorKind::NotFound.into()),
            true if self.faults.names_stay => Err(io::Error::other("the directory can't be written")),
            true => Ok(()),
        }
    }

    /// Whether there is room for `more` bytes.
    fn has_room(&self, more: usize) -> io::Result<()> {
        let used: usize = self.files.values().map(|content| content.lock().seen.len()).sum();
        let fits = self.faults.capacity.is_none_or(|capacity| (used + more) as u64 <= capacity);
        if fits || more == 0 { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    fn change(&mut self, change: DirectoryChange) {
        change.clone().apply(&mut self.files);
        self.pending.push(change);
    }
}

/// The disk as one process has it, until that is killed.
#[derive(Debug)]
struct Process {
    disk: SimulatedDisk,
    boot: u64,
}

impl Process {
    fn alive(&self) -> io::Result<MutexGuard<'_, DiskState>> {
        let inner = self.disk.inner.lock();
        if inner.boot == self.boot { Ok(inner) } else { Err(io::Error::other("the process is dead")) }
    }

    fn file(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let content = self.alive()?.files.get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimulatedFile { process: Self { disk: self.disk.clone(), boot: self.boot }, content }))
    }
}

impl Disk for Process {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        let inner = self.alive()?;
        inner.may_change()?;
        if Arc::strong_count(&inner.locked) > 1 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(inner.locked.clone()))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        Ok(self.disk.files().into_iter().filter(|(name, _)| !name.contains('/')).collect())
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        {
            let mut inner = self.alive()?;
            inner.may_change()?;
            inner.has_room(len as usize)?;
            let content = Content { seen: vec![0; len as usize], ..Content::default() };
            inner.change(DirectoryChange::Put(name.to_owned(), Arc::new(Mutex::new(content))));
        }
        self.file(name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.alive()?.may_change()?;
        self.file(name)
    }

    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let interruption = self.disk.inner.lock().interruptions.remove(name);
        if let Some(Interruption(then)) = interruption {
            then();
        }
        self.file(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.alive()?;
        inner.may_change_name(from)?;
        inner.change(DirectoryChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.alive()?;
        inner.may_change_name(name)?;
        inner.change(DirectoryChange::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let inner = &mut *self.alive()?;
        inner.may_change()?;
        if inner.faults.failing_syncs > 0 {
            inner.faults.failing_syncs -= 1;
            return Err(io::Error::other("the directory can't be synced"));
        }
        for change in std::mem::take(&mut inner.pending) {
            change.apply(&mut inner.durable);
        }
        Ok(())
    }

    fn nonce(&self) -> u64 {
        self.disk.inner.lock().random.random()
    }
}

#[derive(Debug)]
struct SimulatedFile {
    process: Process,
    content: Arc<Mutex<Content>>,
}

impl DiskFile for SimulatedFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.content.lock().seen.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let content = self.content.lock();
        let blocks = offset as usize / BLOCK..(offset as usize + into.len()).div_ceil(BLOCK);
        if content.unreadable.range(blocks).next().is_some() {
            return Err(Errno::IO.into());
        }
        let from = content.seen.get(offset as usize..offset as usize + into.len());
        into.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let aligned =
            [bytes.as_ptr().addr(), bytes.len(), offset as usize].iter().all(|n| n.is_multiple_of(BLOCK));
        assert!(aligned, "a write of {} bytes at {offset} is not in whole blocks", bytes.len());
        let inner = &mut *self.process.alive()?;
        inner.may_change()?;
        let end = offset as usize + bytes.len();
        let more = end.saturating_sub(self.content.lock().seen.len());
        inner.has_room(more)?;
        if self.content.lock().worn.range(offset as usize / BLOCK..end / BLOCK).next().is_some() {
            return Err(Errno::IO.into());
        }
        let mut written = bytes.len();
        let fails = inner.faults.failing_writes > 0;
        if fails {
            inner.faults.failing_writes -= 1;
            written = inner.random.random_range(0..=bytes.len() / BLOCK) * BLOCK;
        }
        let mut content = self.content.lock();
        if written > 0 {
            let grown = content.seen.len().max(offset as usize + written);
            content.seen.resize(grown, 0);
            content.seen[offset as usize..][..written].copy_from_slice(&bytes[..written]);
        }
        let first = offset as usize / BLOCK;
        content.unsynced.extend(first..first + written / BLOCK);
        content.unreadable.retain(|block| !(first..first + written / BLOCK).contains(block));
        if fails { Err(io::Error::other("the disk can't be written")) } else { Ok(()) }
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let inner = self.process.alive()?;
        inner.may_change()?;
        let more = (len as usize).saturating_sub(self.content.lock().seen.len());
        inner.has_room(more)?;
        let mut content = self.content.lock();
        let len = (len as usize).max(content.seen.len());
        content.seen.resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let inner = &mut *self.process.alive()?;
        let mut content = self.content.lock();
        if inner.faults.failing_syncs > 0 {
            inner.faults.failing_syncs -= 1;
            // As on Linux: what could not be written counts as written from now on, and may be on disk or not.
            content.settle(&mut inner.random);
            return Err(io::Error::other("the disk can't be synced"));
        }
        content.unsynced.clear();
        let content = &mut *content;
        content.durable.clone_from(&content.seen);
        Ok(())
    }
}
