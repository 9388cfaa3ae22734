//! What asks for a reload: SIGHUP, and a change of a file that the configuration was read from.
//!
//! Changes are noticed by the file system's events on the parent directories, so that an editor's rename and a
//! `ConfigMap`'s swapped symlink count, and by reading the files again every [`POLL`], for file systems without
//! events. Either way only different content reloads.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::signal::unix::Signal;
use tokio::sync::Notify;
use tracing::{debug, info};

use super::Router;
use crate::config;

/// How often the files are read without being asked to.
const POLL: Duration = Duration::from_secs(5);

/// Programs write files in several steps; a reload waits until this long after the first.
const SETTLE: Duration = Duration::from_millis(100);

/// Reloads whenever it is asked for, for ever. `hangups` are SIGHUPs, which somebody has to catch from the start.
pub async fn reload_when_asked(router: Arc<Router>, mut hangups: Signal) {
    let changed = Arc::new(Notify::new());
    let mut watched = Watched::new(changed.clone());
    let mut poll = tokio::time::interval(POLL);
    poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        watched.follow(&router.report().files.0);
        tokio::select! {
            hangup = hangups.recv() => {
                if hangup.is_none() {
                    return;
                }
                info!("SIGHUP: reloading");
                // The outcome is logged, counted and shown by the API.
                let _ = router.reload().await;
                continue;
            }
            () = changed.notified() => tokio::time::sleep(SETTLE).await,
            _ = poll.tick() => {}
        }
        let (files, known) = router.report().files.clone();
        let now = tokio::task::spawn_blocking(move || config::fingerprint(&files)).await;
        if now.is_ok_and(|now| now != known) {
            let _ = router.reload().await;
        }
    }
}

/// The directories that are watched. Where watching is not possible, polling goes on.
struct Watched {
    watcher: Option<RecommendedWatcher>,
    directories: HashSet<PathBuf>,
}

impl Watched {
    fn new(changed: Arc<Notify>) -> Self {
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                changed.notify_one();
            }
        });
        if let Err(error) = &watcher {
            debug!("file events are not available, polling instead: {error}");
        }
        Self { watcher: watcher.ok(), directories: HashSet::new() }
    }

    fn follow(&mut self, files: &[PathBuf]) {
        let Some(watcher) = &mut self.watcher else { return };
        let parent = |file: &PathBuf| match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => Path::new(".").to_owned(),
        };
        let wanted: HashSet<PathBuf> = files.iter().map(parent).collect();
        for gone in self.directories.difference(&wanted) {
            let _ = watcher.unwatch(gone);
        }
        let mut followed: HashSet<PathBuf> = self.directories.intersection(&wanted).cloned().collect();
        for new in wanted.difference(&self.directories) {
            match watcher.watch(new, RecursiveMode::NonRecursive) {
                Ok(()) => drop(followed.insert(new.clone())),
                Err(error) => {
                    debug!(directory = %new.display(), "can't be watched, polling instead: {error}");
                }
            }
        }
        self.directories = followed;
    }
}
