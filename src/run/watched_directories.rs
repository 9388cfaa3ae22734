//! Watches directories for the file system's events.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{ErrorKind, Event, RecursiveMode, Watcher};
use parking_lot::Mutex;
use rustix::io::Errno;
use tracing::warn;

/// Directories that are watched. Where watching is not possible, the owner has to look for changes itself.
///
/// The system reports the events of a directory by one path, though several may lead to it. So one of several paths is watched, and its
/// events are reported by the others as well.
pub(super) struct WatchedDirectories {
    watcher: Option<Box<dyn Watcher + Send>>,
    /// Every path that is followed, and the directory that it leads to.
    followed: HashMap<Arc<Path>, DirectoryIdentity>,
    /// Each directory that is watched, by one of the paths that lead to it.
    directories: HashMap<DirectoryIdentity, Arc<Path>>,
    other_paths: Arc<Mutex<OtherPaths>>,
    /// The paths that can't be followed, though there is a directory.
    unwatched: HashSet<Arc<Path>>,
    /// Whether the warning about them has been logged.
    is_told: bool,
    /// When changes in them are seen, in words.
    otherwise: String,
}

/// A directory's device and inode numbers, which tell whether another directory has taken its place.
type DirectoryIdentity = (u64, u64);

/// By the watched path of a directory: the other paths that lead there and are followed.
type OtherPaths = HashMap<Arc<Path>, Vec<Arc<Path>>>;

impl WatchedDirectories {
    /// Calls `changed` with every event that may have changed a file, and with `None` if events may have been missed. `otherwise` says in
    /// words when a change without an event is seen.
    pub(super) fn new(otherwise: String, changed: impl Fn(Option<Event>) + Send + 'static) -> Self {
        let other_paths = Arc::new(Mutex::new(OtherPaths::new()));
        let watcher = notify::recommended_watcher({
            let other_paths = other_paths.clone();
            move |event: notify::Result<Event>| match event {
                Ok(event) if event.need_rescan() => changed(None),
                Ok(event) if event.kind.is_access() => {}
                Ok(mut event) => {
                    add_other_paths(&mut event, &other_paths.lock());
                    changed(Some(event));
                }
                Err(_) => changed(None),
            }
        });
        let watcher: Option<Box<dyn Watcher + Send>> = match watcher {
            Ok(watcher) => Some(Box::new(watcher)),
            Err(error) => {
                warn!(
                    "directories can't be watched for changes, which are seen {otherwise}: {}",
                    reason(&error)
                );
                None
            }
        };
        Self::with(watcher, other_paths, otherwise)
    }

    fn with(
        watcher: Option<Box<dyn Watcher + Send>>,
        other_paths: Arc<Mutex<OtherPaths>>,
        otherwise: String,
    ) -> Self {
        Self {
            watcher,
            followed: HashMap::new(),
            directories: HashMap::new(),
            other_paths,
            unwatched: HashSet::new(),
            is_told: false,
            otherwise,
        }
    }

    /// Watches the directories that these paths lead to, and no others. Returns whether there are paths among them that were not
    /// followed before. Blocks for as long as looking at each of them takes.
    pub(super) fn follow(&mut self, wanted: &HashSet<Arc<Path>>) -> bool {
        self.unwatched.clear();
        let unwanted = self.followed.keys().filter(|path| !wanted.contains(*path)).cloned().collect();
        self.change(unwanted, wanted)
    }

    /// Watches the directories that these paths lead to, beside those that it watches already. Returns as `follow` does.
    pub(super) fn follow_also(&mut self, wanted: &HashSet<Arc<Path>>) -> bool {
        self.change(HashSet::new(), wanted)
    }

    fn change(&mut self, mut leaving: HashSet<Arc<Path>>, wanted: &HashSet<Arc<Path>>) -> bool {
        let mut coming = HashMap::with_capacity(wanted.len());
        for path in wanted {
            let identity = identity_of(path);
            if self.followed.get(path).is_some_and(|known| identity != Some(*known)) {
                leaving.insert(path.clone());
            }
            // A directory that does not exist is reported by its user.
            coming.extend(identity.map(|identity| (path.clone(), identity)));
        }
        for path in &leaving {
            let staying = self.leave(path).into_iter().filter(|other| !leaving.contains(other));
            coming.extend(staying.filter_map(|other| Some((other.clone(), identity_of(&other)?))));
        }
        let (mut others, mut failure) = (false, None);
        for (path, identity) in coming {
            if self.followed.contains_key(&path) {
                continue;
            }
            match self.enter(&path, identity, failure.as_ref()) {
                Ok(()) => others = true,
                Err(error) => failure = error.or(failure),
            }
        }
        if let Some(text) = self.complaint(failure.as_ref()) {
            warn!("{text}");
        }
        others
    }

    /// Follows one more path. After a `failure` for want of watches, the system is asked for no other.
    fn enter(
        &mut self,
        path: &Arc<Path>,
        identity: DirectoryIdentity,
        failure: Option<&notify::Error>,
    ) -> Result<(), Option<notify::Error>> {
        let Some(watcher) = &mut self.watcher else { return Err(None) };
        if let Some(watched) = self.directories.get(&identity) {
            self.other_paths.lock().entry(watched.clone()).or_default().push(path.clone());
        } else {
            let is_full = failure.is_some_and(|error| matches!(error.kind, ErrorKind::MaxFilesWatch));
            let watching = if is_full {
                Err(None)
            } else {
                watcher.watch(path, RecursiveMode::NonRecursive).map_err(Some)
            };
            if let Err(error) = watching {
                self.unwatched.insert(path.clone());
                return Err(error);
            }
            self.directories.insert(identity, path.clone());
        }
        self.unwatched.remove(path);
        self.followed.insert(path.clone(), identity);
        Ok(())
    }

    /// Stops following a path. If its directory was watched by this path, returns the other paths that lead there, which are not followed
    /// any more either.
    fn leave(&mut self, path: &Arc<Path>) -> Vec<Arc<Path>> {
        let Some(identity) = self.followed.remove(path) else { return Vec::new() };
        let Some(watched) = self.directories.get(&identity) else { return Vec::new() };
        if watched != path {
            let mut other_paths = self.other_paths.lock();
            if let Some(others) = other_paths.get_mut(watched) {
                others.retain(|other| other != path);
                if others.is_empty() {
                    other_paths.remove(watched);
                }
            }
            return Vec::new();
        }
        self.directories.remove(&identity);
        if let Some(watcher) = &mut self.watcher {
            let _ = watcher.unwatch(path);
        }
        let others = self.other_paths.lock().remove(path).unwrap_or_default();
        for other in &others {
            self.followed.remove(other);
        }
        others
    }

    /// The warning about directories that can't be watched, if it has not been logged.
    fn complaint(&mut self, failure: Option<&notify::Error>) -> Option<String> {
        let was_told = std::mem::replace(&mut self.is_told, !self.unwatched.is_empty());
        let error = failure.filter(|_| self.is_told && !was_told)?;
        let (count, otherwise, reason) = (self.unwatched.len(), &self.otherwise, reason(error));
        Some(format!(
            "{count} of {} directories can't be watched for changes, which are seen there {otherwise}: {reason}",
            count + self.followed.len()
        ))
    }
}

/// Adds to an event the other followed paths of each file.
fn add_other_paths(event: &mut Event, other_paths: &OtherPaths) {
    let mut more = Vec::new();
    for path in &event.paths {
        let others = |path: &Path| other_paths.get(path).into_iter().flatten();
        more.extend(others(path).map(|other| other.to_path_buf()));
        if let (Some(directory), Some(name)) = (path.parent(), path.file_name()) {
            more.extend(others(directory).map(|other| other.join(name)));
        }
    }
    event.paths.extend(more);
}

/// Why a directory can't be watched, and what to do about it.
fn reason(error: &notify::Error) -> String {
    match &error.kind {
        ErrorKind::MaxFilesWatch => {
            "all watches that the system allows are in use; raise the sysctl `fs.inotify.max_user_watches`"
                .to_owned()
        }
        ErrorKind::Io(error) if error.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => {
            "all watchers that the system allows are in use; raise the sysctl `fs.inotify.max_user_instances`"
                .to_owned()
        }
        _ => error.to_string(),
    }
}

/// The directory of a file.
pub(super) fn directory_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => Path::new(".").to_owned(),
    }
}

fn identity_of(directory: &Path) -> Option<DirectoryIdentity> {
    std::fs::metadata(directory).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::mpsc;
    use std::time::Duration;

    use notify::{Config, EventHandler, WatcherKind};

    use super::*;

    /// Watches so many directories and no more, and notes what it was asked for.
    #[derive(Clone, Default)]
    struct Limited(Arc<Mutex<LimitedState>>);

    #[derive(Default)]
    struct LimitedState {
        limit: usize,
        watched: HashSet<PathBuf>,
        asked: usize,
    }

    impl Watcher for Limited {
        fn new<F: EventHandler>(_: F, _: Config) -> notify::Result<Self> {
            Ok(Self::default())
        }

        fn watch(&mut self, path: &Path, _: RecursiveMode) -> notify::Result<()> {
            let mut state = self.0.lock();
            state.asked += 1;
            if state.watched.len() >= state.limit {
                return Err(notify::Error::new(ErrorKind::MaxFilesWatch));
            }
            state.watched.insert(path.to_owned());
            Ok(())
        }

        fn unwatch(&mut self, path: &Path) -> notify::Result<()> {
            self.0.lock().watched.remove(path);
            Ok(())
        }

        fn kind() -> WatcherKind {
            WatcherKind::NullWatcher
        }
    }

    impl Limited {
        fn set_limit(&self, limit: usize) {
            self.0.lock().limit = limit;
        }

        /// How often a watch was asked for since this was last called.
        fn asked(&self) -> usize {
            std::mem::take(&mut self.0.lock().asked)
        }
    }

    fn limited(limit: usize) -> (Limited, WatchedDirectories) {
        let watcher = Limited::default();
        watcher.set_limit(limit);
        let watched =
            WatchedDirectories::with(Some(Box::new(watcher.clone())), Arc::default(), "later".to_owned());
        (watcher, watched)
    }

    /// So many directories in one.
    fn directories(place: &Path, count: usize) -> HashSet<Arc<Path>> {
        let made = (0..count).map(|number| {
            let directory = place.join(number.to_string());
            std::fs::create_dir(&directory).unwrap();
            directory.into()
        });
        made.collect()
    }

    #[test]
    fn directories_beyond_the_systems_limit_are_said_once_and_not_all_asked_for_each_time() {
        let place = tempfile::tempdir().unwrap();
        let wanted = directories(place.path(), 10);
        let (watcher, mut watched) = limited(4);
        assert!(watched.follow(&wanted));
        assert_eq!((watcher.asked(), watched.unwatched.len(), watched.is_told), (5, 6, true));
        assert!(!watched.follow(&wanted), "none is new");
        assert_eq!(watcher.asked(), 1);

        let full = notify::Error::new(ErrorKind::MaxFilesWatch);
        assert_eq!(watched.complaint(Some(&full)), None, "it has been said");
        watcher.set_limit(100);
        assert!(watched.follow(&wanted));
        assert_eq!((watcher.asked(), watched.unwatched.len(), watched.is_told), (6, 0, false));
        watched.unwatched.insert(place.path().into());
        assert_eq!(
            watched.complaint(Some(&full)).unwrap(),
            "1 of 11 directories can't be watched for changes, which are seen there later: all watches that the system allows \
             are in use; raise the sysctl `fs.inotify.max_user_watches`"
        );
    }

    #[test]
    fn what_is_followed_also_costs_nothing_for_what_is_followed_already() {
        let place = tempfile::tempdir().unwrap();
        let wanted = directories(place.path(), 3);
        let (watcher, mut watched) = limited(100);
        watched.follow(&wanted);
        assert_eq!(watcher.asked(), 3);
        let new: Arc<Path> = place.path().into();
        let missing: Arc<Path> = place.path().join("missing").into();
        assert!(watched.follow_also(&[new.clone(), missing, wanted.iter().next().unwrap().clone()].into()));
        assert_eq!((watcher.asked(), watched.followed.len(), watched.unwatched.len()), (1, 4, 0));
        assert!(!watched.follow(&[new].into()));
        assert_eq!((watched.followed.len(), watcher.0.lock().watched.len()), (1, 1));
    }

    #[test]
    fn a_directory_to_which_two_paths_lead_has_its_events_told_by_both_and_by_the_one_that_stays() {
        let place = tempfile::tempdir().unwrap();
        let [real, link]: [Arc<Path>; 2] = ["real", "link"].map(|name| place.path().join(name).into());
        std::fs::create_dir(&real).unwrap();
        symlink("real", &link).unwrap();
        let (told, events) = mpsc::channel();
        let mut watched = WatchedDirectories::new("later".to_owned(), move |event| {
            let _ = told.send(event.expect("none is missed").paths);
        });
        // Writes a file, and waits until it was told by each of these paths.
        let is_told = |name: &str, directories: &[&Arc<Path>]| {
            std::fs::write(real.join(name), "text").unwrap();
            let mut missing: HashSet<PathBuf> =
                directories.iter().map(|directory| directory.join(name)).collect();
            while !missing.is_empty() {
                let paths = events.recv_timeout(Duration::from_secs(20)).expect("it is told by all paths");
                missing.retain(|path| !paths.contains(path));
            }
        };
        let both = HashSet::from([real.clone(), link.clone()]);
        assert!(watched.follow(&both));
        is_told("one", &[&real, &link]);
        for stays in [&real, &link] {
            watched.follow(&both);
            watched.follow(&[stays.clone()].into());
            is_told("two", &[stays]);
        }
        assert!(watched.follow(&both), "one of the paths is new");
        is_told("three", &[&real, &link]);
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_followed_there_and_others_stay_where_they_are() {
        let place = tempfile::tempdir().unwrap();
        let [first, second, link]: [Arc<Path>; 3] =
            ["first", "second", "link"].map(|name| place.path().join(name).into());
        for directory in [&first, &second] {
            std::fs::create_dir(directory).unwrap();
        }
        symlink("first", &link).unwrap();
        let (_, mut watched) = limited(100);
        watched.follow(&[link.clone()].into());
        watched.follow_also(&[first.clone()].into());
        assert_eq!(watched.directories.len(), 1);
        std::fs::remove_file(&link).unwrap();
        symlink("second", &link).unwrap();
        assert!(watched.follow_also(&[link.clone()].into()));
        let by: HashSet<_> = watched.directories.values().cloned().collect();
        assert_eq!(by, [first, link].into());
        assert!(watched.other_paths.lock().is_empty());
    }
}
