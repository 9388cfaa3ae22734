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

/// The shortest time between two checks of all stamps.
const LOOK: Duration = Duration::from_secs(5);

/// A check of all stamps is followed by a pause of so many times its own length: with a hundred thousand files it takes a while.
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
                // A directory may have taken the place of another.
                None
            }
        };
        let others;
        (watched, others) = registry.follow(watched, also).await;
        if others {
            // Changes between reading and watching were not noticed.
            next_look = Instant::now();
        }
    }
}

/// The changes that events have reported since they were last taken.
#[derive(Default)]
struct Noticed {
    files: Mutex<NoticedFiles>,
    something: Notify,
}

#[derive(Default)]
struct NoticedFiles {
    paths: HashSet<PathBuf>,
    /// Whether events may have been missed.
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

    /// Takes the files that have changed; `None` if events may have been missed.
    fn files(&self) -> Option<HashSet<PathBuf>> {
        let NoticedFiles { paths, incomplete } = std::mem::take(&mut *self.files.lock());
        (!incomplete).then_some(paths)
    }
}
