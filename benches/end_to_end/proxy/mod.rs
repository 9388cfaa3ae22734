//! The proxies: how each is configured, started and stopped.

mod collector;
mod haproxy;
mod nginx;
mod rotel;
mod sluice;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

use crate::Failure;
use crate::certificates::Certificates;
use crate::process::{self, Memory};
use crate::wire::Passage;

/// How long a proxy may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(40);

/// Worker threads or processes of each proxy.
const WORKERS: u32 = 2;

/// What stands between load generator and upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Nothing.
    Direct,
    Nginx,
    Haproxy,
    Sluice,
    /// A Collector that hands each request on as it is.
    Collector,
    /// A Collector that does what Sluice does: a pipeline for each stream, batches by size, one consumer for order.
    CollectorRouting,
    Rotel,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] = [
        Self::Direct,
        Self::Nginx,
        Self::Haproxy,
        Self::Sluice,
        Self::Collector,
        Self::CollectorRouting,
        Self::Rotel,
    ];

    /// Whether it is known to reorder records, and to lose the resource of batches that it splits.
    pub(crate) fn changes(self) -> bool {
        self == Self::Rotel
    }

    /// Whether it may reorder records: in a Collector two batches of a stream that wait for its one consumer at the same
    /// time now and then overtake each other.
    pub(crate) fn reorders(self) -> bool {
        matches!(self, Self::CollectorRouting | Self::Rotel)
    }

    /// Whether it can be set up for this.
    pub(crate) fn passes(self, passage: Passage) -> bool {
        match self {
            Self::Direct => passage.incoming == passage.outgoing,
            Self::Nginx => passage == Passage::PLAIN,
            Self::Haproxy => passage.keeps_bodies(),
            Self::Sluice | Self::Collector | Self::CollectorRouting => true,
            Self::Rotel => rotel::passes(passage),
        }
    }

    /// Its binary, if there is one.
    pub(crate) fn program(self, sluice: &Path) -> Option<PathBuf> {
        let found = match self {
            Self::Direct => return None,
            Self::Nginx => PathBuf::from("/usr/sbin/nginx"),
            Self::Haproxy => PathBuf::from("/usr/sbin/haproxy"),
            Self::Sluice => sluice.to_owned(),
            Self::Collector | Self::CollectorRouting => installed("collector/collector"),
            Self::Rotel => installed("rotel/rotel/rotel-agent"),
        };
        found.exists().then_some(found)
    }
}

/// What `make bench` puts below the target directory.
fn installed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients").join(path)
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Sluice => "Sluice",
            Self::Collector => "Collector",
            Self::CollectorRouting => "Collector, routing",
            Self::Rotel => "Rotel",
        })
    }
}

/// What a proxy is to do.
pub(crate) struct Task<'a> {
    pub(crate) listen: SocketAddr,
    pub(crate) upstream: SocketAddr,
    pub(crate) passage: Passage,
    pub(crate) certificates: &'a Certificates,
    /// What Sluice's configuration says beside that.
    pub(crate) more: &'a str,
    /// One more option of Sluice's exporter.
    pub(crate) option: &'a str,
    /// One more key of Sluice's route.
    pub(crate) route: &'a str,
}

/// How Sluice is set up, beyond what every proxy is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tuning {
    /// Top-level blocks of its configuration, in YAML.
    pub(crate) blocks: String,
    /// One more option of its exporter, in YAML.
    pub(crate) option: String,
    /// One more key of its route, in YAML.
    pub(crate) route: String,
    /// Whether all its threads share one core, so that it can't hide work on the other.
    pub(crate) one_core: bool,
}

/// A running proxy. It is ended when it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    /// Where Sluice has its admin listener.
    pub(crate) admin: SocketAddr,
    child: Child,
    directory: TempDir,
}

impl Proxy {
    /// Starts `kind` in front of `upstream`, in a directory of its own, and waits until it accepts connections.
    pub(crate) fn start(
        kind: Kind,
        program: &Path,
        upstream: SocketAddr,
        passage: Passage,
        certificates: &Certificates,
        more: &str,
    ) -> Result<Self, Failure> {
        let directory = tempfile::tempdir()?;
        let (addr, admin) = (free_address()?, free_address()?);
        let task = Task { listen: addr, upstream, passage, certificates, more, option: "", route: "" };
        let path = directory.path();
        let mut command = Command::new(program);
        match kind {
            Kind::Direct => return Err("`direct` has no process".into()),
            Kind::Nginx => {
                fs::write(path.join("nginx.conf"), nginx::config(&task, path)?)?;
                command.arg("-p").arg(path).arg("-c").arg(path.join("nginx.conf"));
                command.arg("-e").arg(path.join("error.log"));
            }
            Kind::Haproxy => {
                fs::write(path.join("haproxy.cfg"), haproxy::config(&task))?;
                command.arg("-db").arg("-f").arg(path.join("haproxy.cfg"));
            }
            Kind::Sluice => {
                fs::write(path.join("sluice.yaml"), sluice::config(&task, admin))?;
                command.arg("run").arg("--config").arg(path.join("sluice.yaml"));
                command.env("TOKIO_WORKER_THREADS", WORKERS.to_string());
            }
            Kind::Collector | Kind::CollectorRouting => {
                let config = match kind {
                    Kind::Collector => collector::pass_through(&task),
                    _ => collector::routing(&task),
                };
                fs::write(path.join("collector.yaml"), config)?;
                command.arg("--config").arg(path.join("collector.yaml"));
                command.env("GOMAXPROCS", WORKERS.to_string());
            }
            Kind::Rotel => {
                command.args(rotel::options(&task, free_address()?));
                command.arg("--pid-file").arg(path.join("pid")).arg("--log-file").arg(path.join("log"));
                command.env("TOKIO_WORKER_THREADS", WORKERS.to_string());
            }
        }
        let mut proxy = Self::spawn(command, addr, admin, directory)?;
        proxy.wait_until_it_accepts(kind)?;
        Ok(proxy)
    }

    /// Starts Sluice in front of `upstream`, which need not be there, and waits until it says that it is ready: how long
    /// that took.
    pub(crate) fn start_tuned(
        sluice: &Path,
        upstream: SocketAddr,
        certificates: &Certificates,
        tuning: &Tuning,
    ) -> Result<(Self, Duration), Failure> {
        let directory = tempfile::tempdir()?;
        let (addr, admin) = (free_address()?, free_address()?);
        let passage = Passage::PLAIN;
        let Tuning { blocks: more, option, route, .. } = tuning;
        let task = Task { listen: addr, upstream, passage, certificates, more, option, route };
        let config = directory.path().join("sluice.yaml");
        fs::write(&config, sluice::config(&task, admin))?;
        let mut command = if tuning.one_core {
            // Sluice starts as many workers as it may use cores.
            let mut command = Command::new("taskset");
            command.args(["--cpu-list", "0"]).arg(sluice);
            command
        } else {
            let mut command = Command::new(sluice);
            command.env("TOKIO_WORKER_THREADS", WORKERS.to_string());
            command
        };
        command.arg("run").arg("--config").arg(config);
        let began = Instant::now();
        let mut proxy = Self::spawn(command, addr, admin, directory)?;
        while !is_ready(admin) {
            proxy.must_run(Kind::Sluice, began + PATIENCE)?;
            pause(Duration::from_millis(2));
        }
        Ok((proxy, began.elapsed()))
    }

    fn spawn(
        mut command: Command,
        addr: SocketAddr,
        admin: SocketAddr,
        directory: TempDir,
    ) -> Result<Self, Failure> {
        let output = File::create(directory.path().join("output"))?;
        command.current_dir(&directory).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command
            .spawn()
            .map_err(|error| format!("can't start `{}`: {error}", command.get_program().display()))?;
        Ok(Self { addr, admin, child, directory })
    }

    fn wait_until_it_accepts(&mut self, kind: Kind) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(self.addr).is_err() {
            self.must_run(kind, deadline)?;
            pause(Duration::from_millis(10));
        }
        Ok(())
    }

    /// An error if it has ended, or if it is too late.
    fn must_run(&mut self, kind: Kind, deadline: Instant) -> Result<(), Failure> {
        if let Some(status) = self.child.try_wait()? {
            return Err(format!("{kind} ended with {status}:\n{}", self.output()).into());
        }
        if Instant::now() > deadline {
            return Err(format!("{kind} doesn't listen on {}:\n{}", self.addr, self.output()).into());
        }
        Ok(())
    }

    /// Ends it without warning, as `kill -9` and a crash do.
    pub(crate) fn kill(mut self) -> Result<(), Failure> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// What it has printed.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(self.directory.path().join("output")).unwrap_or_default()
    }

    /// CPU seconds since its start, children included.
    pub(crate) fn cpu(&self) -> Result<f64, Failure> {
        process::cpu(self.child.id())
    }

    pub(crate) fn memory(&self) -> Memory {
        process::memory(self.child.id())
    }

    /// Asks it to end, and waits until it has.
    fn stop(&mut self) -> io::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        // Killing nginx's master would leave its workers behind.
        let pid = self.child.id().to_string();
        Command::new("/bin/kill").args(["-TERM", &pid]).status()?;
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                self.child.kill()?;
            }
            pause(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("can't stop process {}: {error}", self.child.id());
        }
    }
}

/// Nothing else runs on the calling thread, which is none of a runtime's.
fn pause(time: Duration) {
    std::thread::park_timeout(time);
}

/// Whether the admin listener there says so.
fn is_ready(admin: SocketAddr) -> bool {
    let ask = || -> io::Result<String> {
        let mut connection = TcpStream::connect(admin)?;
        connection.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// An address on which nothing listens just now.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
