//! The causes of a reload: SIGHUP, and a change of a file that the configuration was read from.
//!
//! Changes are noticed by the file system's events on the parent directories, so that an editor's rename and a
//! `ConfigMap`'s swapped symlink count, and by reading the files again every [`POLL`], for file systems without
//! events. Either way only different content reloads.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::Notify;
use tracing::info;

use super::Router;
use super::watched_directories::{WatchedDirectories, directory_of};
use crate::config;

/// How often the files are read without an event.
const POLL: Duration = Duration::from_secs(5);

/// Programs write files in several steps; a reload waits until this long after the first.
const SETTLE: Duration = Duration::from_millis(100);

/// Reloads on SIGHUP and on changes, for ever. `hangups` receives SIGHUP; it is made before the process is ready, since the signal would
/// end the process until then.
pub async fn reload_when_asked(router: Arc<Router>, mut hangups: Signal) {
    let changed = Arc::new(Notify::new());
    let mut watched = WatchedDirectories::new(format!("within {POLL:?}"), {
        let changed = changed.clone();
        move |_| changed.notify_one()
    });
    let mut poll = tokio::time::interval(POLL);
    poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        let directories = router.report().files.0.iter().map(|file| directory_of(file).into()).collect();
        let following = tokio::task::spawn_blocking(move || {
            watched.follow(&directories);
            watched
        });
        watched = following.await.expect("watching directories doesn't panic");
        tokio::select! {
            hangup = hangups.recv() => {
                if hangup.is_none() {
                    return;
                }
                info!("SIGHUP: reloading");
                // The outcome is logged, counted and shown by the API.
                let _ = router.reload("SIGHUP").await;
                continue;
            }
            () = changed.notified() => tokio::time::sleep(SETTLE).await,
            _ = poll.tick() => {}
        }
        let (files, known) = router.report().files.clone();
        let now = tokio::task::spawn_blocking(move || config::fingerprint(&files)).await;
        if now.is_ok_and(|now| now != known) {
            let _ = router.reload("a changed file").await;
        }
    }
}
