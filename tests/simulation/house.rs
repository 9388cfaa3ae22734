//! The host that the router runs on: its disk, its configuration, its lives.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use sluice::cli;
use sluice::config::{Compiled, ConfigSource};
use sluice::journal::Journal;
use sluice::journal::simulation::SimulatedDisk;
use sluice::run::{self, Router, RouterEnvironment};
use tokio::time::{interval, sleep};

use crate::network::Network;
use crate::trace::{Event, Trace};

/// How often the journal's positions are written, as its own thread would do it.
const TEND: Duration = Duration::from_millis(200);

/// What a router is told.
pub(crate) enum Command {
    Reload(Box<Compiled>),
    Stop,
}

/// What outlives a router.
pub(crate) struct House {
    pub(crate) trace: Trace,
    /// None: everything is in memory.
    pub(crate) disk: Option<SimulatedDisk>,
    /// How long the disk takes.
    pub(crate) commit: Duration,
    /// What the next router starts with.
    pub(crate) compiled: Mutex<Compiled>,
    pub(crate) commands: Mutex<VecDeque<Command>>,
    /// The one that lives.
    pub(crate) router: Mutex<Weak<Router>>,
    /// Whether syncs do not come back now.
    pub(crate) disk_hangs: AtomicBool,
}

impl House {
    /// Has the router change its configuration.
    pub(crate) fn reload(&self, compiled: Compiled) {
        self.commands.lock().push_back(Command::Reload(Box::new(compiled)));
    }

    /// One life of a router.
    pub(crate) async fn live(self: Arc<Self>) -> turmoil::Result {
        self.commands.lock().clear();
        let compiled = self.compiled.lock().clone();
        let opened = match &self.disk {
            Some(disk) => Some(self.open(disk, &compiled).await),
            None => None,
        };
        let recovered =
            opened.iter().flat_map(|(_, recovery)| &recovery.streams).map(|stream| stream.records).sum();
        self.trace.note(Event::Started { recovered });
        if let Some((journal, _)) = &opened {
            tokio::spawn(drive(self.clone(), journal.clone(), self.commit));
        }
        let environment = RouterEnvironment {
            source: ConfigSource::Embedded,
            env: |_| None,
            serve: cli::run::serve(),
            network: sluice::net::Network::Simulated(Arc::new(Network(self.trace.clone()))),
            journal: opened,
        };
        let router = Router::start_on(environment, compiled).await?;
        *self.router.lock() = Arc::downgrade(&router);
        tokio::spawn(run::sweep(router.clone()));
        loop {
            sleep(Duration::from_millis(25)).await;
            let command = self.commands.lock().pop_front();
            match command {
                None => {}
                Some(Command::Reload(compiled)) => {
                    let outcome = router.apply((*compiled).clone()).await;
                    if outcome.is_ok() {
                        *self.compiled.lock() = *compiled;
                    }
                    self.trace.note(Event::Reloaded(outcome.map_err(|error| error.to_string())));
                }
                Some(Command::Stop) => {
                    self.trace.note(Event::Stopping);
                    let left = run::shut_down(&router).await;
                    self.trace.note(Event::Stopped { lost: !left.is_empty() });
                    return Ok(());
                }
            }
        }
    }

    /// Opens the journal, again and again if the disk doesn't let it, as whoever restarts processes would.
    async fn open(&self, disk: &SimulatedDisk, compiled: &Compiled) -> (Journal, sluice::journal::Recovery) {
        let settings = compiled.journal.clone().expect("there is a disk for it");
        loop {
            match Journal::open_by_hand(settings.clone(), disk.process()) {
                Ok(opened) => return opened,
                Err(problem) => self.trace.note(Event::Fault(format!("no journal: {problem}"))),
            }
            sleep(Duration::from_millis(500)).await;
        }
    }
}

/// Does what the journal's threads would do.
///
/// While the disk hangs none of them comes back, so that nothing that waits becomes durable and nobody gets an answer.
async fn drive(house: Arc<House>, journal: Journal, commit: Duration) {
    let mut tend = interval(TEND);
    loop {
        tokio::select! {
            biased;
            _ = tend.tick(), if !house.disk_hangs.load(Ordering::Relaxed) => journal.tend_once(),
            () = sleep(commit) => {
                let mut has_committed = true;
                while has_committed {
                    has_committed = !house.disk_hangs.load(Ordering::Relaxed) && journal.commit_once();
                }
            }
        }
    }
}
