//! What operators hold: streams, and whole exporters, until they are released or for a time.
//!
//! A hold is about a name. It goes on when the stream of that name ends and begins again, when the exporter changes or is removed and
//! comes back, and, where there is a journal, when the process starts anew: queued data outlives the process then, and must not be
//! delivered because of a restart. So holds are kept in a file beside the journal, which is written before a hold begins or ends.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::MutexGuard;
use tokio::task::spawn_blocking;
use tracing::error;

use super::exporter_list::ExporterList;
use super::whole_files;
use crate::export::{Exporter, OperatorHold, ReleasedStreams, WaitingStreams};
use crate::otlp::Signal;
use crate::regular;
use crate::route::RoutingKey;
use crate::stream::{EngineState, StreamName};

/// The file in the journal's directory.
const FILE: &str = "operator-holds.json";

/// The most holds at a time.
const MOST: usize = 10_000;

/// Bytes of the largest file that is read: [`MOST`] holds of the longest names.
const LARGEST: u64 = 64 << 20;

/// The stream or exporter that an operator holds or releases.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeldName {
    /// The exporter.
    pub exporter: Arc<str>,
    /// The stream; `None` for all streams of the exporter.
    pub stream: Option<StreamName>,
}

/// Why a hold does not begin or end. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum OperatorHoldError {
    /// There is no exporter of this name.
    #[error("there is no exporter `{0}`")]
    UnknownExporter(Arc<str>),
    /// The exporter has no stream of this name, and had none lately.
    #[error(
        "there is no such stream, and was none within the last minutes: `signal`, `tenant` and `key` name it as /api/v1/streams shows it"
    )]
    UnknownStream,
    /// There are as many holds as there may be.
    #[error("there are {MOST} holds already; release some, or hold their exporter")]
    TooMany,
    /// The file can't be written.
    #[error("can't write `{}`: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
}

/// All that operators hold.
pub struct OperatorHoldRegistry {
    /// The file that keeps the holds, if there is a journal.
    file: Option<PathBuf>,
    held: Mutex<HashMap<HeldName, OperatorHold>>,
    /// Held while a hold begins or ends, or an exporter begins.
    changing: tokio::sync::Mutex<()>,
    exporters: Arc<ExporterList>,
    shared: Arc<EngineState>,
}

/// A hold as the file keeps it. Times are milliseconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
struct KeptHold {
    exporter: String,
    signal: Option<String>,
    /// As it is [written](RoutingKey::written).
    key: Option<String>,
    since: u64,
    until: Option<u64>,
    /// Who began the hold; absent in files of older versions.
    #[serde(default)]
    by: Option<String>,
}

impl OperatorHoldRegistry {
    /// The holds that are kept in the directory of the journal, if there is one, of streams of these exporters. Blocks.
    pub(super) fn load(
        journal: Option<&Path>,
        exporters: Arc<ExporterList>,
        shared: Arc<EngineState>,
    ) -> Self {
        let file = journal.map(|directory| directory.join(FILE));
        let held = file.as_deref().map(|path| read(path).unwrap_or_else(|reason| {
            error!("can't read `{}`, so that the holds of operators from before the restart are lost: {reason}", path.display());
            HashMap::new()
        }));
        let held = Mutex::new(held.unwrap_or_default());
        Self { file, held, changing: tokio::sync::Mutex::default(), exporters, shared }
    }

    /// As long as the guard lives, no hold begins or ends.
    pub(super) async fn as_they_are(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().await
    }

    /// Applies the holds of an exporter that begins.
    pub(super) fn apply_to(&self, exporter: &Exporter) {
        for (name, hold) in self.held.lock().iter().filter(|(name, _)| name.exporter == *exporter.name()) {
            exporter.holds().hold_for_operator(name.stream.as_ref(), hold.clone());
        }
    }

    /// Writes to the file that a hold has begun or ended: when this returns, the change outlives the process.
    async fn keep(&self, name: &HeldName, hold: Option<OperatorHold>) -> Result<(), OperatorHoldError> {
        let mut changed = self.held.lock().clone();
        changed.retain(|_, hold| hold.left().is_some());
        match hold {
            Some(_) if changed.len() >= MOST && !changed.contains_key(name) => {
                return Err(OperatorHoldError::TooMany);
            }
            Some(hold) => drop(changed.insert(name.clone(), hold)),
            None => drop(changed.remove(name)),
        }
        if let Some(path) = self.file.clone() {
            let kept: Vec<KeptHold> = changed.iter().map(|(name, hold)| KeptHold::of(name, hold)).collect();
            let text = serde_json::to_string(&kept).expect("names and numbers are written as JSON");
            let written = spawn_blocking(move || {
                let written = whole_files::write(&path, &text);
                written.map_err(|reason| OperatorHoldError::File { path, reason })
            });
            written.await.expect("writing a file doesn't panic")?;
        }
        *self.held.lock() = changed;
        Ok(())
    }

    /// Holds a stream or an exporter, for a time or until it is released; `by` names the author. Attempts that are under way go on.
    pub async fn hold(
        &self,
        name: HeldName,
        length: Option<Duration>,
        by: Arc<str>,
    ) -> Result<OperatorHold, OperatorHoldError> {
        let since = SystemTime::now();
        let until = length.and_then(|length| since.checked_add(length));
        let hold = OperatorHold { since, until, by: Some(by) };
        self.change(name, Some(hold.clone())).await?;
        Ok(hold)
    }

    /// Ends a hold, if there is one, and has the stream, or all streams of the exporter, make at once the attempts that they wait for.
    pub async fn release(&self, name: HeldName) -> Result<ReleasedStreams, OperatorHoldError> {
        let exporters = self.exporters.present();
        let exporter = exporters.iter().find(|exporter| *exporter.name() == name.exporter).cloned();
        let stream = name.stream.clone();
        // Which streams wait has to be known before the hold ends, and scanning all streams takes its time.
        let waiting = spawn_blocking(move || {
            let exporter = exporter?;
            Some(match stream {
                Some(stream) => WaitingStreams::of_one(&exporter, &stream),
                None => WaitingStreams::of(&exporter, |_| true),
            })
        });
        let waiting = waiting.await.expect("looking at streams doesn't panic");
        self.change(name, None).await?;
        let trying = spawn_blocking(move || waiting.map(WaitingStreams::try_now).unwrap_or_default());
        Ok(trying.await.expect("waking streams doesn't panic"))
    }

    async fn change(&self, name: HeldName, hold: Option<OperatorHold>) -> Result<(), OperatorHoldError> {
        // So that no exporter begins meanwhile, to which the hold would not be applied.
        let _held = self.as_they_are().await;
        let exporters = self.exporters.present();
        let exporter = exporters.iter().find(|exporter| *exporter.name() == name.exporter);
        let exporter = exporter.ok_or_else(|| OperatorHoldError::UnknownExporter(name.exporter.clone()))?;
        if let Some(stream) = &name.stream {
            let is_known = exporter.registry().find(stream).is_some()
                || self.shared.past.get(&name.exporter, stream).is_some()
                || self.held.lock().contains_key(&name);
            if !is_known {
                return Err(OperatorHoldError::UnknownStream);
            }
        }
        self.keep(&name, hold.clone()).await?;
        match hold {
            Some(hold) => exporter.holds().hold_for_operator(name.stream.as_ref(), hold),
            None => exporter.holds().release_for_operator(name.stream.as_ref()),
        }
        Ok(())
    }
}

fn read(path: &Path) -> io::Result<HashMap<HeldName, OperatorHold>> {
    let text = match regular::read(path, LARGEST) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
        text => text?,
    };
    let kept: Vec<KeptHold> = serde_json::from_slice(&text)?;
    Ok(kept.into_iter().filter_map(KeptHold::read).filter(|(_, hold)| hold.left().is_some()).collect())
}

impl KeptHold {
    fn of(name: &HeldName, hold: &OperatorHold) -> Self {
        let millis =
            |at: SystemTime| at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let stream = name.stream.as_ref();
        Self {
            exporter: name.exporter.to_string(),
            signal: stream.map(|stream| stream.signal.name().to_owned()),
            key: stream.map(|stream| stream.key.as_written().to_string()),
            since: millis(hold.since),
            until: hold.until.map(millis),
            by: hold.by.as_deref().map(str::to_owned),
        }
    }

    fn read(self) -> Option<(HeldName, OperatorHold)> {
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        let stream = match (self.signal, self.key) {
            (Some(signal), Some(key)) => {
                let signal = Signal::from_name(&signal)?;
                Some(StreamName { signal, key: RoutingKey::written(key) })
            }
            _ => None,
        };
        let hold =
            OperatorHold { since: at(self.since), until: self.until.map(at), by: self.by.map(Arc::from) };
        Some((HeldName { exporter: self.exporter.into(), stream }, hold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Budget, StreamCount};

    fn load(journal: Option<&Path>) -> OperatorHoldRegistry {
        let shared = EngineState::new(Arc::new(Budget::new(1 << 20)), Arc::new(StreamCount::new(1)), None);
        OperatorHoldRegistry::load(journal, Arc::default(), Arc::new(shared))
    }

    #[tokio::test]
    async fn what_is_held_is_kept_in_the_file_and_what_is_over_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let holds = load(Some(directory.path()));
        let exporter: Arc<str> = "otlp_http/up".into();
        let key = RoutingKey::of(Some("acme"), "", [("service", "a/b"), ("zone", "\u{1F600}")].into_iter());
        let stream =
            HeldName { exporter: exporter.clone(), stream: Some(StreamName { signal: Signal::Traces, key }) };
        let all = HeldName { exporter, stream: None };
        // A file has milliseconds.
        let now = UNIX_EPOCH
            + Duration::from_millis(
                KeptHold::of(&all, &OperatorHold { since: SystemTime::now(), until: None, by: None }).since,
            );
        let lasting = OperatorHold { since: now, until: None, by: Some("the write token".into()) };
        let timed = OperatorHold { since: now, until: Some(now + Duration::from_secs(60)), by: None };
        let over = OperatorHold { since: now, until: Some(now), by: None };
        holds.keep(&stream, Some(timed.clone())).await.unwrap();
        holds.keep(&all, Some(lasting.clone())).await.unwrap();
        let again = load(Some(directory.path()));
        assert_eq!(
            *again.held.lock(),
            HashMap::from([(stream.clone(), timed), (all.clone(), lasting.clone())])
        );
        again.keep(&stream, Some(over)).await.unwrap();
        assert_eq!(*load(Some(directory.path())).held.lock(), HashMap::from([(all.clone(), lasting)]));
        again.keep(&all, None).await.unwrap();
        assert!(load(Some(directory.path())).held.lock().is_empty());
    }

    #[tokio::test]
    async fn what_can_not_be_kept_is_not_held_and_a_broken_file_holds_nothing() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE), "[{").unwrap();
        assert!(load(Some(directory.path())).held.lock().is_empty());
        let holds = load(Some(&directory.path().join("nowhere")));
        let all = HeldName { exporter: "up".into(), stream: None };
        let hold = OperatorHold { since: SystemTime::now(), until: None, by: None };
        assert!(matches!(holds.keep(&all, Some(hold.clone())).await, Err(OperatorHoldError::File { .. })));
        assert!(holds.held.lock().is_empty());
        let nowhere = load(None);
        nowhere.keep(&all, Some(hold.clone())).await.unwrap();
        assert_eq!(*nowhere.held.lock(), HashMap::from([(all, hold)]));
    }
}
