//! The upstream of Sluice's own telemetry.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::report::ReloadError;
use crate::config::Compiled;
use crate::export::TelemetryUpstream;
use crate::net::Network;
use crate::telemetry::{OwnTelemetry, log_records};

/// The upstream of own telemetry, if there is one. A reload changes it.
#[derive(Debug, Default)]
pub(super) struct TelemetryExport(ArcSwapOption<TelemetryUpstream>);

impl TelemetryExport {
    /// Makes the upstream of a configuration; the present one, if its settings are unchanged.
    pub(super) fn prepare(
        &self,
        compiled: &Compiled,
        telemetry: &OwnTelemetry,
        network: &Network,
    ) -> Result<Option<Arc<TelemetryUpstream>>, ReloadError> {
        let Some(settings) = &compiled.telemetry else { return Ok(None) };
        if let Some(same) = self.0.load_full().filter(|known| known.settings() == settings) {
            return Ok(Some(same));
        }
        let new = TelemetryUpstream::new(settings.clone(), telemetry.instance_id(), network);
        new.map(|new| Some(Arc::new(new))).map_err(|error| ReloadError::Telemetry(Arc::new(error)))
    }

    /// The upstream, if there is one.
    pub(super) fn upstream(&self) -> Option<Arc<TelemetryUpstream>> {
        self.0.load_full()
    }

    /// Whether there is an upstream.
    pub(super) fn is_on(&self) -> bool {
        self.0.load().is_some()
    }

    /// Has own telemetry be sent to this upstream from now on, or nowhere.
    pub(super) fn put_to_use(&self, upstream: Option<Arc<TelemetryUpstream>>, telemetry: &OwnTelemetry) {
        let before = self.0.swap(upstream.clone());
        if let Some(upstream) = upstream {
            telemetry.enable(upstream.settings().sampling);
            log_records().want(true);
        } else if before.is_some() {
            telemetry.disable();
            log_records().want(false);
        }
    }
}
