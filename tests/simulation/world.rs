//! A run: hosts, network, and the hand that disturbs them, until everything is settled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sluice::export::Fate;
use sluice::journal::simulation::{DiskFaults, SimulatedDisk};
use sluice::otlp::Signal;
use turmoil::Sim;

use crate::house::{Command, House};
use crate::plan::{Fault, Plan, UPSTREAMS};
use crate::sender::{Sender, Senders};
use crate::trace::{Event, Trace};
use crate::upstream::{Mood, Upstream};

/// The simulated network delivers so often.
const TICK: Duration = Duration::from_millis(10);

/// After peace everything has to be settled in this time.
const PATIENCE: Duration = Duration::from_secs(120);

/// What may still be on its way when nothing is pending.
const STRAYS: Duration = Duration::from_secs(4);

/// What came of a run.
pub(crate) struct Run {
    pub(crate) plan: Plan,
    pub(crate) trace: Trace,
    /// What was found without looking at the trace.
    pub(crate) problems: Vec<String>,
    /// Faults that were really there, by kind.
    pub(crate) faults: BTreeMap<String, u64>,
}

struct World<'a> {
    plan: &'a Plan,
    sim: Sim<'static>,
    trace: Trace,
    house: Arc<House>,
    upstreams: Vec<Arc<Upstream>>,
    senders: Arc<Senders>,
    /// The router is to be started again once it has ended.
    restart: bool,
    faults: BTreeMap<String, u64>,
}

/// Does what the plan says. To be called on a thread whose randomness follows from the seed.
pub(crate) fn run(plan: Plan) -> Run {
    let mut world = World::new(&plan);
    let problems = world.run().err().into_iter().collect();
    let (trace, faults) = (world.trace.clone(), std::mem::take(&mut world.faults));
    drop(world);
    Run { plan, trace, problems, faults }
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan) -> Self {
        let mut sim = turmoil::Builder::new()
            .rng_seed(plan.seed)
            .epoch(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000))
            .simulation_duration(Duration::from_secs(3_600))
            .tick_duration(TICK)
            .tcp_capacity(1_024)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(20))
            .enable_random_order()
            .build();
        let trace = Trace::default();
        let senders = Arc::new(Senders {
            trace: trace.clone(),
            busy: AtomicUsize::new(plan.senders),
            ..Senders::default()
        });
        let upstreams: Vec<_> = (0..UPSTREAMS)
            .map(|number| {
                Arc::new(Upstream {
                    number,
                    mood: Mutex::new(Mood::good()),
                    random: Mutex::new(StdRng::seed_from_u64(plan.seed.wrapping_mul(31) + number as u64)),
                    trace: trace.clone(),
                    sent: senders.sent.clone(),
                })
            })
            .collect();
        for upstream in &upstreams {
            let served = upstream.clone();
            sim.host(format!("upstream-{}", upstream.number), move || served.clone().serve());
        }
        let house = Arc::new(House {
            trace: trace.clone(),
            disk: plan.journal.then(|| SimulatedDisk::new(plan.seed)),
            commit: plan.commit,
            compiled: Mutex::new(plan.configurations[0].clone()),
            commands: Mutex::default(),
            router: Mutex::default(),
            disk_hangs: AtomicBool::new(false),
        });
        let lived = house.clone();
        sim.host("router", move || lived.clone().live());
        let all: Vec<_> = (0..plan.senders as u32).map(|number| sender(plan, &senders, number)).collect();
        let all = Mutex::new(all);
        sim.host("senders", move || {
            let all = std::mem::take(&mut *all.lock());
            async move {
                let tasks: Vec<_> = all.into_iter().map(|sender| tokio::spawn(sender.run())).collect();
                for task in tasks {
                    task.await?;
                }
                std::future::pending().await
            }
        });
        Self { plan, sim, trace, house, upstreams, senders, restart: false, faults: BTreeMap::new() }
    }

    fn run(&mut self) -> Result<(), String> {
        let mut begun = 0;
        let mut ends: Vec<(Duration, usize)> = Vec::new();
        while self.sim.elapsed() < self.plan.peace {
            let now = self.sim.elapsed();
            ends.sort_unstable();
            while let Some((_, which)) = ends.first().copied().filter(|(at, _)| *at <= now) {
                ends.remove(0);
                self.end(&self.plan.troubles[which].fault.clone());
            }
            while let Some(trouble) = self.plan.troubles.get(begun).filter(|next| next.begins <= now) {
                if self.begin(&trouble.fault) {
                    ends.push((trouble.ends, begun));
                    *self.faults.entry(trouble.fault.kind()).or_default() += 1;
                }
                begun += 1;
            }
            self.step()?;
        }
        for (_, which) in ends {
            self.end(&self.plan.troubles[which].fault.clone());
        }
        self.make_peace();
        let deadline = self.sim.elapsed() + PATIENCE;
        while !self.is_settled() {
            if self.sim.elapsed() > deadline {
                return Err(format!("nothing is settled {PATIENCE:?} after peace: {}", self.state()));
            }
            self.step()?;
        }
        let end = self.sim.elapsed() + STRAYS;
        while self.sim.elapsed() < end {
            self.step()?;
        }
        self.trace.note(Event::Quiet);
        self.check_books()
    }

    fn step(&mut self) -> Result<(), String> {
        if self.restart && !self.sim.is_host_running("router") {
            self.restart = false;
            self.sim.bounce("router");
        }
        self.sim.step().map_err(|error| format!("a host has failed: {error}"))?;
        self.trace.set_now(self.sim.elapsed());
        Ok(())
    }

    /// Whether there was anything to disturb.
    fn begin(&mut self, fault: &Fault) -> bool {
        let running = self.sim.is_host_running("router");
        match fault {
            Fault::Partition(one, other) => self.sim.partition(*one, *other),
            Fault::OneWay(from, to) => self.sim.partition_oneway(*from, *to),
            Fault::Hold(one, other) => self.sim.hold(*one, *other),
            Fault::Delay(one, other, most) => {
                self.sim.set_link_max_message_latency(*one, *other, Duration::from_millis(*most));
            }
            Fault::CrashUpstream(number) => {
                let host = format!("upstream-{number}");
                if !self.sim.is_host_running(host.as_str()) {
                    return false;
                }
                self.sim.crash(host);
            }
            Fault::Mood(number, mood) => *self.upstreams[*number].mood.lock() = mood.clone(),
            Fault::Kill | Fault::PowerCut => {
                if !running {
                    return false;
                }
                // First, so that nothing is written on the way down.
                match (&self.house.disk, fault) {
                    (Some(disk), Fault::Kill) => disk.kill(),
                    (Some(disk), _) => {
                        self.tear_a_write(disk);
                        disk.cut_power();
                    }
                    (None, _) => {}
                }
                self.sim.crash("router");
            }
            Fault::Restart => {
                if !running || self.restart {
                    return false;
                }
                self.house.commands.lock().push_back(Command::Stop);
            }
            Fault::Reload(which) => {
                self.house.reload(self.plan.configurations[*which].clone());
            }
            Fault::BadReload => self.house.reload(self.plan.bad_configuration.clone()),
            Fault::Disk(faults) => {
                let Some(disk) = &self.house.disk else { return false };
                disk.set_faults(*faults);
            }
            Fault::DiskHangs => self.house.disk_hangs.store(true, Ordering::Relaxed),
        }
        self.trace.note(Event::Fault(format!("{fault:?}")));
        true
    }

    /// Has the journal write what waits, of which only a part gets there.
    fn tear_a_write(&self, disk: &SimulatedDisk) {
        let router = self.house.router.lock().upgrade();
        if let Some(journal) = router.as_ref().and_then(|router| router.intake().journal.as_ref()) {
            disk.set_faults(DiskFaults { failing_writes: 1, ..DiskFaults::default() });
            journal.commit_once();
        }
    }

    fn end(&mut self, fault: &Fault) {
        match fault {
            Fault::Partition(one, other) => self.sim.repair(*one, *other),
            Fault::OneWay(from, to) => self.sim.repair_oneway(*from, *to),
            Fault::Hold(one, other) => self.sim.release(*one, *other),
            Fault::Delay(one, other, _) => {
                self.sim.set_link_max_message_latency(*one, *other, Duration::from_millis(20));
            }
            Fault::CrashUpstream(number) => {
                let host = format!("upstream-{number}");
                if !self.sim.is_host_running(host.as_str()) {
                    self.sim.bounce(host);
                }
            }
            Fault::Mood(number, _) => *self.upstreams[*number].mood.lock() = Mood::good(),
            Fault::Kill | Fault::PowerCut | Fault::Restart => self.restart = true,
            Fault::Reload(_) | Fault::BadReload => return,
            Fault::Disk(_) => {
                if let Some(disk) = &self.house.disk {
                    disk.set_faults(DiskFaults::default());
                }
            }
            Fault::DiskHangs => self.house.disk_hangs.store(false, Ordering::Relaxed),
        }
        self.trace.note(Event::Fault(format!("end of {fault:?}")));
    }

    fn make_peace(&mut self) {
        let hosts = ["router", "senders", "upstream-0", "upstream-1"];
        for (at, one) in hosts.iter().enumerate() {
            for other in &hosts[at + 1..] {
                self.sim.release(*one, *other);
                self.sim.set_link_max_message_latency(*one, *other, Duration::from_millis(20));
            }
        }
        self.restart = true;
        self.trace.note(Event::Peace);
    }

    fn is_settled(&mut self) -> bool {
        if self.senders.busy.load(Ordering::Relaxed) > 0 || !self.sim.is_host_running("router") {
            return false;
        }
        let router = self.house.router.lock().upgrade();
        router.is_some_and(|router| {
            router.exporters().iter().all(|exporter| exporter.registry().pending_bytes() == 0)
        })
    }

    fn state(&self) -> String {
        let busy = self.senders.busy.load(Ordering::Relaxed);
        let Some(router) = self.house.router.lock().upgrade() else {
            return format!("{busy} senders are busy, and there is no router");
        };
        let pending: Vec<_> = router
            .exporters()
            .iter()
            .map(|exporter| format!("{}: {} records", exporter.name(), exporter.registry().pending_records()))
            .collect();
        format!("{busy} senders are busy; pending are {}", pending.join(", "))
    }

    /// What the last router has counted: everything has come to an end, and all memory was given back.
    fn check_books(&self) -> Result<(), String> {
        let router = self.house.router.lock().upgrade().ok_or("there is no router")?;
        for exporter in router.exporters().iter() {
            let registry = exporter.registry();
            let came: u64 = registry.recovered_records()
                + Signal::ALL.iter().map(|signal| registry.routed_records(*signal)).sum::<u64>();
            let ended =
                |fate| Signal::ALL.iter().map(|signal| exporter.counters().exported(*signal, fate)).sum();
            let ends: Vec<u64> = Fate::ALL.iter().map(|fate| ended(*fate)).collect();
            let pending = registry.pending_records();
            if came != ends.iter().sum::<u64>() + pending || pending != 0 {
                let name = exporter.name();
                return Err(format!(
                    "{name}: {came} records came, {ends:?} have ended, {pending} are pending"
                ));
            }
        }
        match router.shared().budget.used() {
            0 => Ok(()),
            used => Err(format!("{used} bytes of memory were not given back")),
        }
    }
}

fn sender(plan: &Plan, all: &Arc<Senders>, number: u32) -> Sender {
    Sender {
        all: all.clone(),
        random: StdRng::seed_from_u64(plan.seed.wrapping_mul(37) + u64::from(number)),
        streams: (0..plan.streams_each).map(|stream| number * plan.streams_each + stream).collect(),
        requests: plan.requests_each,
        pace: plan.pace,
        largest: plan.largest,
    }
}
