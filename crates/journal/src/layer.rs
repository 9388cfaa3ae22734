//! A disk in front of another one: each call passes through a layer on its way, which may note it or hold it up.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use super::disk::{Disk, DiskFile, Identity};

/// What a disk is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    /// To change something: what it is asked to do, in words.
    Change(&'static str),
    /// To sync what was changed, in the same way.
    Sync(&'static str),
    /// What is there.
    Look,
    /// So many bytes of a file.
    #[cfg_attr(
        not(any(test, feature = "simulation")),
        expect(dead_code, reason = "tests alone ask how many")
    )]
    Read(usize),
    /// Which file has a name: the system may know that without asking the disk.
    Identity,
}

/// What is done around each call of a disk.
pub(super) trait Layer: Debug + Send + Sync + 'static {
    /// Has `ask` ask the disk, now or later, and returns the answer.
    fn around<T>(&self, asked: Asked, ask: impl FnOnce() -> T) -> T;
}

/// Another disk behind a layer.
#[derive(Debug)]
pub(super) struct LayeredDisk<L> {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) layer: Arc<L>,
}

#[derive(Debug)]
struct LayeredFile<L> {
    file: Arc<dyn DiskFile>,
    layer: Arc<L>,
}

impl<L: Layer> LayeredDisk<L> {
    fn file(&self, file: io::Result<Arc<dyn DiskFile>>) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(LayeredFile { file: file?, layer: self.layer.clone() }))
    }
}

impl<L: Layer> Disk for LayeredDisk<L> {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.layer.around(Asked::Change("lock the directory"), || self.disk.lock())
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.layer.around(Asked::Look, || self.disk.list())
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.file(self.layer.around(Asked::Change("make a file"), || self.disk.create(name, len)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.file(self.layer.around(Asked::Change("open a file"), || self.disk.open(name)))
    }

    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.file(self.layer.around(Asked::Look, || self.disk.open_to_read(name)))
    }

    fn open_to_read_directly(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.file(self.layer.around(Asked::Look, || self.disk.open_to_read_directly(name)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.layer.around(Asked::Change("rename a file"), || self.disk.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.layer.around(Asked::Change("remove a file"), || self.disk.remove(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.layer.around(Asked::Sync("sync the directory"), || self.disk.sync_directory())
    }

    fn nonce(&self) -> u64 {
        self.disk.nonce()
    }

    fn identity(&self, name: Option<&str>) -> io::Result<Option<Identity>> {
        self.layer.around(Asked::Identity, || self.disk.identity(name))
    }
}

impl<L: Layer> DiskFile for LayeredFile<L> {
    fn length(&self) -> io::Result<u64> {
        self.layer.around(Asked::Look, || self.file.length())
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.layer.around(Asked::Read(into.len()), || self.file.read_at(into, offset))
    }

    fn will_need(&self, offset: u64, length: u64) {
        self.file.will_need(offset, length);
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.layer.around(Asked::Change("write"), || self.file.write_at(bytes, offset))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.layer.around(Asked::Change("reserve room for a file"), || self.file.allocate(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.layer.around(Asked::Sync("sync a file"), || self.file.sync_data())
    }

    fn identity(&self) -> io::Result<Option<Identity>> {
        self.file.identity()
    }
}
