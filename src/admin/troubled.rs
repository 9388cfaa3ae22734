//! The streams that somebody has to look after: those that are held, and those of which an upstream has taken nothing since an attempt
//! failed, as far as they have something to send.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::export::Exporter;
use crate::run::Router;
use crate::stream::{LastError, Stream};

/// Those of one exporter and one tenant.
#[derive(Debug)]
pub(super) struct TroubledStreams {
    pub(super) exporter: Arc<Exporter>,
    /// `None` for what is nobody's.
    pub(super) tenant: Option<Arc<str>>,
    pub(super) failing: usize,
    pub(super) held: usize,
    /// Of all of them.
    pub(super) pending_bytes: u64,
    /// When the oldest entry was admitted that waits in them.
    pub(super) oldest: Instant,
    /// The stream that has it.
    longest: Arc<Stream>,
}

impl TroubledStreams {
    /// What went wrong with the stream that has waited longest.
    pub(super) fn last_error(&self) -> Option<Box<LastError>> {
        self.longest.state().history.last_error
    }
}

/// All of them. It looks at every stream.
pub(super) fn troubled_streams(router: &Router) -> Vec<TroubledStreams> {
    let mut all = Vec::new();
    for exporter in router.exporters().iter() {
        let mut of_exporter: HashMap<Option<Arc<str>>, TroubledStreams> = HashMap::new();
        exporter.registry().for_each(|stream| {
            let (failing, held) = (stream.is_failing(), stream.is_held());
            if !failing && !held {
                return;
            }
            let Some(oldest) = stream.oldest() else { return };
            let tenant = stream.account().map(|account| account.id().clone());
            let troubled = of_exporter.entry(tenant.clone()).or_insert_with(|| TroubledStreams {
                exporter: exporter.clone(),
                tenant,
                failing: 0,
                held: 0,
                pending_bytes: 0,
                oldest,
                longest: stream.clone(),
            });
            // One that is held has failed before that.
            troubled.held += usize::from(held);
            troubled.failing += usize::from(!held);
            troubled.pending_bytes += stream.state().pending_bytes;
            if oldest < troubled.oldest {
                (troubled.oldest, troubled.longest) = (oldest, stream.clone());
            }
        });
        all.extend(of_exporter.into_values());
    }
    all
}
