//! Judges the watches once in a second, and sends alerts to the Alertmanager.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use super::Router;
use crate::notice;
use crate::watches::{Alert, Alertmanager, AlertmanagerError, RecordWatch, SentAlerts};

/// How often counts are judged.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often the table of tenants is searched for tenants that have sent nothing.
const TENANTS: Duration = Duration::from_secs(10);

/// The longest wait after an Alertmanager has not taken alerts.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Judges the watches for ever. An Alertmanager that does not answer delays the alerts alone.
pub async fn judge_watches(router: Arc<Router>) {
    let mut interval = interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut teller = AlertTeller::default();
    let mut tenants_due = Instant::now();
    loop {
        interval.tick().await;
        let watches = router.intake().observer.watches();
        if tenants_due <= Instant::now() {
            tenants_due = Instant::now() + TENANTS;
            expect_tenants(&router, &watches);
        }
        for watch in &watches {
            watch.judge().iter().for_each(log);
        }
        let firing = watches.iter().flat_map(|watch| watch.alerts()).collect();
        teller.go_on(router.alertmanager(), firing).await;
    }
}

/// Makes tenants that have sent nothing yet known to watches for silence.
fn expect_tenants(router: &Router, watches: &[Arc<RecordWatch>]) {
    for watch in watches.iter().filter(|watch| watch.watches_for_silence()) {
        let table = router.tenants().table();
        table.tenants().for_each(|tenant| watch.expect(&tenant.id));
        watch.forget(|id| table.tenant(id).is_some());
    }
}

fn log(change: &Alert) {
    let Alert { watch, tenant, ended, summary, .. } = change;
    let tenant = tenant.as_deref();
    if ended.is_some() {
        info!(%watch, tenant, "watch fires no more");
    } else {
        warn!(%watch, tenant, "watch fires: {summary}");
    }
}

/// Alerts that were sent to an Alertmanager, and whether it has taken them.
type ToldAlerts = (Vec<Alert>, Result<(), AlertmanagerError>);

/// Sends alerts to an Alertmanager in a task of its own, one request at a time.
#[derive(Default)]
struct AlertTeller {
    sent: SentAlerts,
    telling: Option<JoinHandle<ToldAlerts>>,
    failures: u32,
    not_before: Option<Instant>,
}

impl AlertTeller {
    async fn go_on(&mut self, alertmanager: Option<Arc<Alertmanager>>, firing: Vec<Alert>) {
        let Some(alertmanager) = alertmanager else {
            self.sent = SentAlerts::default();
            return;
        };
        self.sent.update(firing);
        if let Some(telling) = self.telling.take_if(|telling| telling.is_finished())
            && let Ok((alerts, told)) = telling.await
        {
            self.settle(&alerts, told);
        }
        let may_tell =
            self.telling.is_none() && self.not_before.is_none_or(|not_before| not_before <= Instant::now());
        let due = if may_tell { self.sent.due() } else { Vec::new() };
        if !due.is_empty() {
            self.telling = Some(tokio::spawn(async move {
                let told = alertmanager.tell(&due).await;
                (due, told)
            }));
        }
    }

    fn settle(&mut self, alerts: &[Alert], told: Result<(), AlertmanagerError>) {
        match told {
            Ok(()) => {
                self.sent.taken(alerts);
                (self.failures, self.not_before) = (0, None);
            }
            Err(error) => {
                let wait = INTERVAL.saturating_mul(1 << self.failures.min(6)).min(LONGEST_WAIT);
                self.failures += 1;
                self.not_before = Some(Instant::now() + wait);
                if let Some(suppressed) = notice::due("alertmanager", "not told") {
                    warn!(suppressed, ?wait, "the Alertmanager has not taken the alerts: {error}");
                }
            }
        }
    }
}
