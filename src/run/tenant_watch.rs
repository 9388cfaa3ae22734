//! Keeps the table of tenants current while the files of its directory change.
//!
//! A change is noticed by the file system's events in the directory, and in those of the files that rows name; and by
//! looking at the stamps of all these files now and then, for file systems without events.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Router;
use super::watched_directories::WatchedDirectories;

/// How often all stamps are looked at, at most.
const LOOK: Duration = Duration::from_secs(5);

/// And so many times as long as a look takes, it is waited before the next one: of a hundred thousand files a look takes
/// a while.
const REST: u32 = 50;

/// Programs write files in several steps, and several files; rows are read when this long has passed since the first change.
const SETTLE: Duration = Duration::from_millis(100);

/// Keeps the table of a router current with the files that it comes from, for ever.
pub async fn watch_tenants(router: Arc<Router>) {
    let registry = router.tenant_registry();
    let noticed = Arc::new(Noticed::default());
    let otherwise =
        format!("when all files are looked at: after {LOOK:?}, or {REST} times as long as a look takes");
    let mut watched = WatchedDirectories::new(otherwise, {
        let noticed = noticed.clone();
        move |event| noticed.take_note(event)
    });
    let mut next_look = Instant::now() + LOOK;
    loop {
        let also = tokio::select! {
            () = registry.reloaded() => None,
            () = noticed.something.notified() => {
                tokio::time::sleep(SETTLE).await;
                Some(registry.refresh(noticed.files()).await)
            }
            () = tokio::time::sleep_until(next_look) => {
                let begun = Instant::now();
                registry.refresh(None).await;
                next_look = Instant::now() + LOOK.max(begun.elapsed() * REST);
                // One may have taken the place of another.
                None
            }
        };
        let others;
        (watched, others) = registry.follow(watched, also).await;
        if others {
            // What has changed between reading and watching was not noticed.
            next_look = Instant::now();
        }
    }
}

/// What events have told since they were last asked for.
#[derive(Default)]
struct Noticed {
    files: Mutex<NoticedFiles>,
    something: Notify,
}

#[derive(Default)]
struct NoticedFiles {
    paths: HashSet<PathBuf>,
    /// Whether there may be others.
    incomplete: bool,
}

impl Noticed {
    fn take_note(&self, event: Option<notify::Event>) {
        let mut files = self.files.lock();
        match event {
            Some(event) => files.paths.extend(event.paths),
            None => files.incomplete = true,
        }
        drop(files);
        self.something.notify_one();
    }

    /// The files that have changed, if these are known to be all.
    fn files(&self) -> Option<HashSet<PathBuf>> {
        let NoticedFiles { paths, incomplete } = std::mem::take(&mut *self.files.lock());
        (!incomplete).then_some(paths)
    }
}
