//! What systemd, or who else listens on `NOTIFY_SOCKET`, is told of a running Sluice, and what the exit code tells it.

use std::os::unix::net::UnixDatagram as StdUnixDatagram;
use std::path::Path;
use std::time::Duration;

use sluice::otlp::Signal;
use tokio::net::UnixDatagram;
use tokio::time::timeout;

use crate::support::payload::logs;
use crate::support::sinks::{self, Received as _};
use crate::support::{PATIENCE, SluiceProcess, yaml};

/// The side of the service manager.
struct NotifySocket {
    socket: UnixDatagram,
    path: String,
    _directory: tempfile::TempDir,
}

impl NotifySocket {
    fn bind() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = StdUnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let path = path.to_str().unwrap().to_owned();
        Self { socket: UnixDatagram::from_std(socket).unwrap(), path, _directory: directory }
    }

    /// The next message, line by line; answers to the watchdog are left out.
    async fn next(&self) -> Vec<String> {
        loop {
            let message = self.receive(PATIENCE).await.expect("a message comes");
            if message != ["WATCHDOG=1"] {
                return message;
            }
        }
    }

    /// The next message, if one comes in that time.
    async fn receive(&self, patience: Duration) -> Option<Vec<String>> {
        let mut buffer = [0; 4096];
        let length = timeout(patience, self.socket.recv(&mut buffer)).await.ok()?.unwrap();
        Some(std::str::from_utf8(&buffer[..length]).unwrap().lines().map(ToOwned::to_owned).collect())
    }
}

/// The number that stands behind `name=` in one of the lines.
fn number(message: &[String], name: &str) -> u64 {
    let value = message.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("{name} is not in {message:?}")).parse().unwrap()
}

fn monotonic_microseconds() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
}

#[tokio::test]
async fn systemd_is_told_of_readiness_of_reloads_and_of_the_end() {
    let up = sinks::recording().await;
    let manager = NotifySocket::bind();
    let config = yaml::up(&up.url(), &[]) + "shutdown_delay: 1s\nshutdown_timeout: 20s\n";
    let mut sluice = SluiceProcess::start_with_env(&config, &[("NOTIFY_SOCKET", &manager.path)]).await;
    assert_eq!(manager.next().await, ["READY=1", "STATUS=Configuration 1 is in use"]);
    // It is ready for those who send, not only in words.
    sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;

    let before = monotonic_microseconds();
    sluice.signal("HUP").await;
    let reloading = manager.next().await;
    assert_eq!(reloading[0], "RELOADING=1");
    // systemd waits for a reload that began after it has asked.
    let told = number(&reloading, "MONOTONIC_USEC");
    assert!((before..=monotonic_microseconds()).contains(&told), "{reloading:?}");
    assert_eq!(manager.next().await, ["READY=1", "STATUS=Configuration 2 is in use"]);

    sluice.write_config("receivers: [\n");
    assert_eq!(manager.next().await[0], "RELOADING=1");
    let ready = manager.next().await;
    assert_eq!(ready[0], "READY=1", "the configuration of before goes on");
    assert!(ready[1].contains("Configuration 2 is in use; the one read last can't be used"), "{ready:?}");

    sluice.signal("TERM").await;
    let stopping = manager.next().await;
    assert_eq!(stopping[0], "STOPPING=1");
    let patience = number(&stopping, "EXTEND_TIMEOUT_USEC");
    assert_eq!(patience, 28_000_000, "the delay, the timeout, and what comes after it");
    assert!(stopping[2].starts_with("STATUS=Shutting down, with "), "{stopping:?}");
    assert_eq!(sluice.ended().await.code(), Some(0), "{:?}", sluice.log());
    assert_eq!(up.texts(Signal::Logs), ["x"]);
}

#[tokio::test]
async fn the_watchdog_is_answered_as_long_as_the_process_runs() {
    let manager = NotifySocket::bind();
    let config = "exporters: { nop: }\nroutes: [{ exporters: [nop] }]\n";
    let variables = [("NOTIFY_SOCKET", &*manager.path), ("WATCHDOG_USEC", "200000")];
    let sluice = SluiceProcess::start_with_env(config, &variables).await;
    manager.next().await;
    for _ in 0..5 {
        assert_eq!(manager.receive(PATIENCE).await.unwrap(), ["WATCHDOG=1"]);
    }
    sluice.signal("STOP").await;
    // What had been sent before is still there to be read.
    while manager.receive(Duration::from_millis(600)).await.is_some() {}
    sluice.signal("CONT").await;
    assert_eq!(manager.receive(PATIENCE).await.unwrap(), ["WATCHDOG=1"]);
}

#[tokio::test]
async fn no_watchdog_that_is_meant_for_another_process_is_answered() {
    let manager = NotifySocket::bind();
    let config = "exporters: { nop: }\nroutes: [{ exporters: [nop] }]\n";
    let variables = [("NOTIFY_SOCKET", &*manager.path), ("WATCHDOG_USEC", "20000"), ("WATCHDOG_PID", "1")];
    let _sluice = SluiceProcess::start_with_env(config, &variables).await;
    assert_eq!(manager.receive(PATIENCE).await.unwrap()[0], "READY=1");
    assert_eq!(manager.receive(Duration::from_millis(300)).await, None);
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_told_in_the_log_and_stops_nothing() {
    let config = "exporters: { nop: }\nroutes: [{ exporters: [nop] }]\n";
    let sluice = SluiceProcess::start_with_env(config, &[("NOTIFY_SOCKET", "/nowhere/notify")]).await;
    sluice.logged("the service manager can't be told what Sluice does").await;
    sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
}

/// How `sluice run` ends that does not get to run, for a service manager.
async fn exit_code(config: &Path) -> Option<i32> {
    let manager = NotifySocket::bind();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.env("NOTIFY_SOCKET", &*manager.path);
    command.args(["run", "--config"]).arg(config).env_remove("SLUICE_CONFIG").kill_on_drop(true);
    timeout(PATIENCE, command.output()).await.expect("it ends").unwrap().status.code()
}

#[tokio::test]
async fn a_configuration_that_no_new_start_would_cure_has_an_exit_code_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("sluice.yaml");
    assert_eq!(exit_code(&config).await, Some(78), "there is no file");
    std::fs::write(&config, "exporters: [").unwrap();
    assert_eq!(exit_code(&config).await, Some(78), "it is no YAML");
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let text = format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: '{address}' }} }} }} }}\n\
         exporters: {{ nop: }}\nroutes: [{{ exporters: [nop] }}]\nadmin: {{ endpoint: 127.0.0.1:0 }}\n"
    );
    std::fs::write(&config, text).unwrap();
    assert_eq!(exit_code(&config).await, Some(1), "the port may be free at the next start");
}
