//! Directories in which the file system's events are listened to.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tracing::debug;

/// Directories that are watched. Where watching is not possible, whoever wants to know has to look.
pub(super) struct Watched {
    watcher: Option<RecommendedWatcher>,
    /// By device and number, which tell whether another directory has taken its place.
    directories: HashMap<PathBuf, (u64, u64)>,
}

impl Watched {
    /// Calls `changed` with every event that may have changed a file; with none if some may have been missed.
    pub(super) fn new(changed: impl Fn(Option<Event>) + Send + 'static) -> Self {
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| match event {
            Ok(event) if event.need_rescan() => changed(None),
            Ok(event) if event.kind.is_access() => {}
            Ok(event) => changed(Some(event)),
            Err(_) => changed(None),
        });
        if let Err(error) = &watcher {
            debug!("file events are not available, polling instead: {error}");
        }
        Self { watcher: watcher.ok(), directories: HashMap::new() }
    }

    /// Watches these directories and no others. Returns whether there are some among them that were not watched before.
    pub(super) fn follow(&mut self, wanted: &HashSet<PathBuf>) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        self.directories.retain(|directory, identity| {
            let stays = wanted.contains(directory) && identity_of(directory) == Some(*identity);
            if !stays {
                let _ = watcher.unwatch(directory);
            }
            stays
        });
        let mut others = false;
        for new in wanted {
            if self.directories.contains_key(new) {
                continue;
            }
            let identity = identity_of(new);
            match watcher.watch(new, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    if let Some(identity) = identity {
                        self.directories.insert(new.clone(), identity);
                        others = true;
                    }
                }
                Err(error) => {
                    debug!(directory = %new.display(), "can't be watched, polling instead: {error}");
                }
            }
        }
        others
    }
}

/// The directory that a file is in.
pub(super) fn directory_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => Path::new(".").to_owned(),
    }
}

fn identity_of(directory: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(directory).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}
