//! A directory of the real file system.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Advice, FallocateFlags, OFlags, fadvise, fallocate, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use super::disk::{Disk, DiskFile, Identity};

/// The file that a process locks. It stays when the process ends: removing it would let two processes lock two files.
pub(super) const LOCK: &str = "lock";

/// Of all files: they are for this user alone, also in a directory that people have made for others.
const FILE_MODE: u32 = 0o600;

/// The files below a directory. Writes and large reads go past the page cache where the file system can do that: the
/// journal reads little of what it has just written, and nothing twice, and a copy and its bookkeeping cost more than the
/// write or the read itself.
#[derive(Debug)]
pub(super) struct JournalDirectory {
    root: PathBuf,
    /// Cleared when the file system turns out not to take direct writes.
    direct: AtomicBool,
}

impl JournalDirectory {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), direct: AtomicBool::new(true) }
    }

    /// Opens a file past the page cache if that can be.
    fn open_file(&self, name: &str, options: &OpenOptions) -> io::Result<File> {
        let path = self.root.join(name);
        if self.direct.load(Ordering::Relaxed) {
            match options.clone().custom_flags(OFlags::DIRECT.bits().cast_signed()).open(&path) {
                Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                    self.direct.store(false, Ordering::Relaxed);
                }
                opened => return opened,
            }
        }
        options.open(&path)
    }

    /// Makes the directory that a file is to be in, below this one. Never this one itself: if it has gone, nobody may go on
    /// in another of its name, without what was in it and without its lock.
    fn make_room_for(&self, name: &str) -> io::Result<()> {
        let Some((below, _)) = name.rsplit_once('/') else { return Ok(()) };
        match DirBuilder::new().mode(0o700).create(self.root.join(below)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }
}

impl Disk for JournalDirectory {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        // What senders send is for nobody else on the machine to read. The directories above may be for others, too.
        fs::create_dir_all(self.root.parent().unwrap_or(&self.root))?;
        DirBuilder::new().recursive(true).mode(0o700).create(&self.root)?;
        // That there is such a directory has to survive a power cut as well. Not everybody may open the one above.
        let above = self.root.parent().filter(|above| !above.as_os_str().is_empty());
        let _ = File::open(above.unwrap_or(Path::new("."))).and_then(|above| above.sync_all());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(self.root.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            // Beside a running process a file may go while the directory is read.
            let Ok(metadata) = entry.metadata() else { continue };
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push((name, metadata.len()));
            }
        }
        files.sort_unstable();
        Ok(files)
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.make_room_for(name)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(FILE_MODE);
        let file = RealFile { file: self.open_file(name, &options)? };
        if let Err(error) = file.allocate(len) {
            // The room that was reserved until it ran out is wanted back.
            let _ = self.remove(name);
            return Err(error);
        }
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile { file: self.open_file(name, OpenOptions::new().read(true).write(true))? }))
    }

    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile { file: File::open(self.root.join(name))? }))
    }

    fn open_to_read_directly(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile { file: self.open_file(name, OpenOptions::new().read(true))? }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.make_room_for(to)?;
        fs::rename(self.root.join(from), self.root.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.root.join(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.root)?.sync_all()
    }

    fn nonce(&self) -> u64 {
        rand::random()
    }

    fn identity(&self, name: Option<&str>) -> io::Result<Option<Identity>> {
        let path = name.map_or_else(|| self.root.clone(), |name| self.root.join(name));
        fs::metadata(path).map(|metadata| Some(identity(&metadata)))
    }
}

fn identity(metadata: &fs::Metadata) -> Identity {
    Identity { device: metadata.dev(), number: metadata.ino() }
}

#[derive(Debug)]
struct RealFile {
    file: File,
}

impl RealFile {
    /// Does something again through the page cache if the file can't do it past that: some file systems take the flag and
    /// not the reads and writes, and what does not begin or end at a block can't be read so anywhere.
    fn or_not_directly(&self, mut run: impl FnMut(&File) -> io::Result<()>) -> io::Result<()> {
        match run(&self.file) {
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                let flags = fcntl_getfl(&self.file)?;
                if !flags.contains(OFlags::DIRECT) {
                    return Err(error);
                }
                fcntl_setfl(&self.file, flags - OFlags::DIRECT)?;
                run(&self.file)
            }
            done => done,
        }
    }
}

impl DiskFile for RealFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.or_not_directly(|file| file.read_exact_at(into, offset))
    }

    fn will_need(&self, offset: u64, length: u64) {
        // A hint: if it is not taken, the reads take longer.
        let _ = fadvise(&self.file, offset, NonZeroU64::new(length), Advice::WillNeed);
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.or_not_directly(|file| file.write_all_at(bytes, offset))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match fallocate(&self.file, FallocateFlags::empty(), 0, len) {
            // No such thing on this file system: the file gets its room as it is written.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.file.set_len(len.max(self.length()?)),
            done => Ok(done?),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn identity(&self) -> io::Result<Option<Identity>> {
        self.file.metadata().map(|metadata| Some(identity(&metadata)))
    }
}
