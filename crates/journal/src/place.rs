//! Whether the journal's directory and the files that are open in it are still where they were opened. What is written into
//! files that have been removed, or moved away with their directory, is on no disk that anybody will look at again.

use std::io;
use std::time::SystemTime;

use super::directory::LOCK;
use super::disk::{Disk, Identity};
use super::shared::Shared;
use super::state::{Index, segment_name};
use super::types::Failing;

/// What has to be where it was when the journal was opened.
#[derive(Debug, Default)]
pub(super) struct Place {
    directory: Option<Identity>,
    /// The files that are open as long as the journal is.
    files: Vec<(&'static str, Option<Identity>)>,
}

impl Place {
    /// The directory as it is now, with its lock, and with other files that are open.
    pub(super) fn of(
        disk: &dyn Disk,
        open: impl IntoIterator<Item = (&'static str, Option<Identity>)>,
    ) -> io::Result<Self> {
        let directory = disk.identity(None)?;
        let lock = if directory.is_some() { disk.identity(Some(LOCK))? } else { None };
        Ok(Self { directory, files: std::iter::once((LOCK, lock)).chain(open).collect() })
    }
}

/// What is wrong with a name, which should lead to `opened`.
fn problem(disk: &dyn Disk, name: Option<&str>, opened: Option<Identity>) -> Option<Problem> {
    let opened = opened?;
    match disk.identity(name) {
        Ok(Some(now)) if now == opened => None,
        Ok(_) => Some(Problem::Another),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Problem::Gone),
        Err(error) => Some(Problem::Unknown(error)),
    }
}

enum Problem {
    Gone,
    Another,
    Unknown(io::Error),
}

impl Shared {
    /// Looks whether everything is where it was opened; what is said of the journal from now on follows from that.
    pub(super) fn look_at_place(&self) {
        let displaced = self.displacement();
        let mut state = self.state.lock();
        match (displaced, &mut state.displaced) {
            (None, displaced) => *displaced = None,
            (Some(why), Some(known)) => known.why = why.into(),
            (Some(why), displaced) => {
                *displaced = Some(Failing { since: SystemTime::now(), why: why.into() });
            }
        }
    }

    /// An error, if what has the journal's name now is not the journal: nothing that it says is true of it then.
    pub(super) fn is_in_place(&self) -> io::Result<()> {
        self.look_at_place();
        match &self.state.lock().displaced {
            Some(Failing { why, .. }) => Err(io::Error::other(why.to_string())),
            None => Ok(()),
        }
    }

    /// What is not where it was, and what to do.
    fn displacement(&self) -> Option<String> {
        const DIRECTORY: &str = "the journal's directory";
        if let Some(problem) = problem(&*self.disk, None, self.place.directory) {
            return Some(match problem {
                Problem::Gone => {
                    format!("{DIRECTORY} is gone: put it back, or restart Sluice to begin a new one")
                }
                Problem::Another => format!(
                    "{DIRECTORY} is not the one that was opened: put that one back, or restart Sluice to use this one"
                ),
                Problem::Unknown(error) => format!("{DIRECTORY} can't be looked at: {error}"),
            });
        }
        let open: Vec<(u64, Option<Identity>)> = {
            let state = self.state.lock();
            let open = state.segments.values().filter(|segment| matches!(segment.index, Index::Open(_)));
            open.map(|segment| (segment.segment.id(), segment.identity)).collect()
        };
        let segments = open.into_iter().find_map(|(id, opened)| {
            let name = segment_name(id);
            let problem = problem(&*self.disk, Some(&name), opened)?;
            // It may have got another name meanwhile, because nobody needs it.
            let state = self.state.lock();
            let is_open =
                state.segments.get(&id).is_some_and(|segment| matches!(segment.index, Index::Open(_)));
            is_open.then_some((name, problem))
        });
        let files = || {
            let mut files = self.place.files.iter();
            files.find_map(|(name, opened)| {
                Some(((*name).to_owned(), problem(&*self.disk, Some(*name), *opened)?))
            })
        };
        let (name, problem) = segments.or_else(files)?;
        Some(match problem {
            Problem::Gone => format!(
                "`{name}` is gone from {DIRECTORY}: put it back, or restart Sluice, which delivers first what it has in memory"
            ),
            Problem::Another => format!(
                "`{name}` in {DIRECTORY} is not the file that was opened: put that one back, or restart Sluice, which \
                 delivers first what it has in memory"
            ),
            Problem::Unknown(error) => format!("`{name}` in {DIRECTORY} can't be looked at: {error}"),
        })
    }
}
