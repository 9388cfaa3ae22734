//! Messages to the service manager that has started the process and listens on the socket which `NOTIFY_SOCKET` names: systemd,
//! for units of `Type=notify`, and others that speak its protocol (`sd_notify(3)`). Without that variable no message is sent.
//!
//! A message is one small datagram to a process on this machine, so that sending it waits for nobody.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;
use tracing::warn;

use super::report::ConfigReport;
use crate::notice;

/// Whether a service manager has started the process and wants to be told.
pub fn has_service_manager() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Sent once all listeners accept and the journal is recovered, and again at the end of each reload, whatever its outcome: the former
/// configuration stays in use where the new one can't be used.
pub fn tell_ready(report: &ConfigReport) {
    let version = report.version;
    let status = if report.last_error.is_some() {
        format!("Configuration {version} is in use; the one read last can't be used, and the log says why")
    } else {
        format!("Configuration {version} is in use")
    };
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// Sent when a reload begins. systemd takes a message without the time for one of an earlier reload.
pub(super) fn tell_reloading() {
    let Ok(now) = NotifyState::monotonic_usec_now() else { return };
    tell(&[NotifyState::Reloading, now, NotifyState::Status("Reading the configuration")]);
}

/// Sent when the shutdown begins, and again when a second signal cuts it short, with the most time that it takes from now on. The manager
/// waits that long, even if its own setting is shorter.
pub(super) fn tell_stopping(patience: Duration, pending: u64) {
    let status = format!("Shutting down, with {pending} records to deliver");
    let patience = u32::try_from(patience.as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(patience), NotifyState::Status(&status)]);
}

/// Answers the manager's watchdog (`WatchdogSec=`), if it has one, for ever and twice as often as it asks for. It is a task as
/// those of connections and streams are: where none of them gets its turn any more, the watchdog gets no answer, and the manager
/// starts the process anew.
pub async fn answer_watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) else { return };
    let mut ticks = tokio::time::interval(limit.div_f64(2.0).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state)
        && let Some(suppressed) = notice::due("service manager", "notify")
    {
        warn!(suppressed, %error, "the service manager can't be told what Sluice does: NOTIFY_SOCKET names no socket that takes it");
    }
}
