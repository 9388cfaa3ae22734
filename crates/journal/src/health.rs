//! Whether the journal takes anything: it doesn't while its disk fails or hangs, or while its directory, or a file that is
//! open in it, is not where it was opened. What is written into files that have been removed, or moved away with their
//! directory, is on no disk that anybody will look at again.
//!
//! What is known is locked for a moment only, and nothing else meanwhile.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use sluice_notice as notice;

use super::catalog::SharedCatalog;
use super::closing::Closing;
use super::directory::LOCK;
use super::disk::{Disk, Identity};
use super::pending::PendingChanges;
use super::segments::{SegmentState, segment_name};
use super::types::Failing;

/// How often the threads look whether the journal's disk still answers, and whether its directory is still there.
const INTERVAL: Duration = Duration::from_millis(250);

/// Whether the disk can be written, and whether the journal is where it was opened.
#[derive(Debug)]
pub(super) struct DiskHealth {
    disk: Arc<dyn Disk>,
    catalog: SharedCatalog,
    pending: Arc<PendingChanges>,
    /// The directory's path, for people.
    path: String,
    /// The directory when it was opened.
    directory: Option<Identity>,
    /// The files that are open as long as the journal is.
    files: Vec<(&'static str, Option<Identity>)>,
    known: Mutex<HealthState>,
}

#[derive(Debug, Default)]
struct HealthState {
    /// The disk says that it can't write.
    failing: Option<Failing>,
    /// The directory is not where it was opened, or a file in it isn't.
    displaced: Option<Failing>,
    /// Whether the newest line in the log about it says that the journal can't be written.
    is_reported: bool,
}

/// Notes the newest reason; since when there has been one is the oldest's.
fn note(known: &mut Option<Failing>, why: &str) {
    match known {
        Some(failing) => failing.why = why.into(),
        None => *known = Some(Failing { since: SystemTime::now(), why: why.into() }),
    }
}

impl DiskHealth {
    /// The directory as it is now, with its lock, and with `open`, other files that are open.
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        catalog: SharedCatalog,
        pending: Arc<PendingChanges>,
        path: String,
        open: impl IntoIterator<Item = (&'static str, Option<Identity>)>,
    ) -> io::Result<Self> {
        let directory = disk.identity(None)?;
        let lock = if directory.is_some() { disk.identity(Some(LOCK))? } else { None };
        let files = std::iter::once((LOCK, lock)).chain(open).collect();
        Ok(Self { disk, catalog, pending, path, directory, files, known: Mutex::default() })
    }

    /// Since when and why nothing can be written, if so.
    pub(super) fn failing(&self) -> Option<Failing> {
        let known = self.known.lock();
        let failing = known.displaced.clone().or_else(|| known.failing.clone());
        drop(known);
        failing.or_else(|| self.pending.hanging())
    }

    /// Since when and why the journal is not where it was opened, if so.
    pub(super) fn displaced(&self) -> Option<Failing> {
        self.known.lock().displaced.clone()
    }

    /// Whether the disk has refused something, and has not been tried successfully since.
    pub(super) fn has_failed(&self) -> bool {
        self.known.lock().failing.is_some()
    }

    /// Notes that the disk fails.
    pub(super) fn fail(&self, why: &str) {
        note(&mut self.known.lock().failing, why);
    }

    /// Notes that the disk can be written again.
    pub(super) fn recover(&self) {
        self.known.lock().failing = None;
    }

    /// Logs that the journal has begun to fail, and why, or that it works again: where no lock is held, which is not where it
    /// happens.
    pub(super) fn report(&self) {
        let failing = self.failing();
        let mut known = self.known.lock();
        match failing {
            // A disk that works and fails in turn has a line of each kind now and then.
            Some(failing) if !known.is_reported && notice::due("journal", "failing").is_some() => {
                known.is_reported = true;
                tracing::error!(
                    directory = self.path,
                    error = &*failing.why,
                    "the journal can't be written: senders are refused, and it goes on by itself once it can"
                );
            }
            None if known.is_reported => {
                known.is_reported = false;
                tracing::info!(directory = self.path, "the journal can be written again");
            }
            _ => {}
        }
    }

    /// The thread that reports: it asks nothing of the disk, and so can tell when that hangs. Until the journal is closed.
    pub(super) fn report_until_closed(&self, closing: &Closing) {
        while closing.wait(INTERVAL) {
            self.report();
        }
    }

    /// The thread that looks whether everything is where it was opened. Until the journal is closed.
    pub(super) fn check_until_closed(&self, closing: &Closing) {
        while closing.wait(INTERVAL) {
            self.check_place();
        }
    }

    /// Looks whether everything is where it was opened, and notes it.
    pub(super) fn check_place(&self) {
        let displacement = self.displacement();
        let mut known = self.known.lock();
        match displacement {
            Some(why) => note(&mut known.displaced, &why),
            None => known.displaced = None,
        }
    }

    /// An error if the journal is not where it was opened: then nothing that is found under its path is true of it.
    pub(super) fn is_in_place(&self) -> io::Result<()> {
        self.check_place();
        self.displaced().map_or(Ok(()), |displaced| Err(io::Error::other(displaced.why.to_string())))
    }

    /// Which name does not lead to what was opened any more, and what to do.
    fn displacement(&self) -> Option<String> {
        let mut files = self.files.iter();
        self.displaced_name(None, self.directory)
            .or_else(|| self.displaced_segment())
            .or_else(|| files.find_map(|(name, opened)| self.displaced_name(Some(name), *opened)))
    }

    /// The same of a segment that is being written.
    fn displaced_segment(&self) -> Option<String> {
        let open: Vec<(u64, Option<Identity>)> = {
            let catalog = self.catalog.lock();
            let open = catalog.segments.values().filter(|segment| segment.is_open());
            open.map(|segment| (segment.segment.id(), segment.identity)).collect()
        };
        open.into_iter().find_map(|(id, opened)| {
            let displaced = self.displaced_name(Some(&segment_name(id)), opened)?;
            // It may have got another name meanwhile, because nobody needs it.
            let is_open = self.catalog.lock().segments.get(&id).is_some_and(SegmentState::is_open);
            is_open.then_some(displaced)
        })
    }

    /// The same of one name, which should lead to `opened`; `None` stands for the directory.
    fn displaced_name(&self, name: Option<&str>, opened: Option<Identity>) -> Option<String> {
        const DIRECTORY: &str = "the journal's directory";
        const RESTART: &str = "or restart Sluice, which delivers first what it has in memory";
        let opened = opened?;
        let now = self.disk.identity(name);
        let is_gone = matches!(&now, Err(error) if error.kind() == io::ErrorKind::NotFound);
        Some(match (name, now) {
            (_, Ok(Some(now))) if now == opened => return None,
            (None, Ok(_)) => format!(
                "{DIRECTORY} is not the one that was opened: put that one back, or restart Sluice to use this one"
            ),
            (None, Err(_)) if is_gone => {
                format!("{DIRECTORY} is gone: put it back, or restart Sluice to begin a new one")
            }
            (None, Err(error)) => format!("{DIRECTORY} can't be looked at: {error}"),
            (Some(name), Ok(_)) => {
                format!(
                    "`{name}` in {DIRECTORY} is not the file that was opened: put that one back, {RESTART}"
                )
            }
            (Some(name), Err(_)) if is_gone => {
                format!("`{name}` is gone from {DIRECTORY}: put it back, {RESTART}")
            }
            (Some(name), Err(error)) => format!("`{name}` in {DIRECTORY} can't be looked at: {error}"),
        })
    }
}
