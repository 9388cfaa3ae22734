//! Sluice as its users run it: the binary, in a process of its own.

use std::io::BufRead as _;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::pty;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::router::write_config;
use super::{Front, editor_schema, eventually};

/// A running `sluice run`. It is killed when it is dropped.
pub struct SluiceProcess {
    front: Front,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    directory: Arc<tempfile::TempDir>,
}

impl SluiceProcess {
    /// Starts the binary with a configuration (completed as [`super::Sluice`] does) and more arguments, and waits
    /// until it says where it listens.
    pub async fn start(yaml: &str, args: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("there is a temporary directory");
        let config = write_config(directory.path(), yaml);
        Self::start_in(directory, &config, args, &[]).await
    }

    /// The same with more variables in its environment.
    pub async fn start_with_env(yaml: &str, variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("there is a temporary directory");
        let config = write_config(directory.path(), yaml);
        Self::start_in(directory, &config, &[], variables).await
    }

    /// The same, with files in its directory, which `prepare` writes, and more arguments and variables.
    pub async fn start_prepared(
        yaml: &str,
        args: &[&str],
        variables: &[(&str, &str)],
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let directory = tempfile::tempdir().expect("there is a temporary directory");
        prepare(directory.path());
        let config = write_config(directory.path(), yaml);
        Self::start_in(directory, &config, args, variables).await
    }

    /// The same where the process may have so many files and sockets open at a time.
    pub async fn start_with_open_files(yaml: &str, limit: usize) -> Self {
        let directory = tempfile::tempdir().expect("there is a temporary directory");
        let config = write_config(directory.path(), yaml);
        let mut child = limited_command(directory.path(), &config, limit)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the limit needs bash");
        let log = log_of(&mut child);
        Self::started(directory, child, log).await
    }

    /// What it says and how it ends where so few files may be open that it does not start.
    pub async fn refused_with_open_files(yaml: &str, limit: usize) -> (ExitStatus, String) {
        let directory = tempfile::tempdir().expect("there is a temporary directory");
        let config = write_config(directory.path(), yaml);
        let output = limited_command(directory.path(), &config, limit).stderr(Stdio::piped()).output();
        let output = tokio::time::timeout(super::PATIENCE, output).await.expect("it ends");
        let output = output.expect("the limit needs bash");
        (output.status, String::from_utf8(output.stderr).expect("it is text"))
    }

    /// The same for somebody who watches: its standard error is a terminal, so that it says what to try.
    pub async fn start_on_terminal(yaml: &str) -> Self {
        Self::start_on_terminal_with_env(yaml, &[]).await
    }

    /// The same with more variables in its environment.
    pub async fn start_on_terminal_with_env(yaml: &str, variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("there is a temporary directory");
        let config = write_config(directory.path(), yaml);
        let (mut command, log) = (command(directory.path(), &config, &[], variables), Arc::default());
        let child = spawn_on_terminal(&mut command, Arc::clone(&log));
        Self::started(directory, child, log).await
    }

    /// The same with a file as it is.
    pub async fn start_file(config: &Path) -> Self {
        Self::start_in(tempfile::tempdir().expect("there is a temporary directory"), config, &[], &[]).await
    }

    /// Starts another program, which is told by the variable `SLUICE_CONFIG` where the configuration is, and runs Sluice.
    pub async fn start_by(mut program: Command, yaml: &str) -> Self {
        let directory = tempfile::tempdir().expect("there is a temporary directory");
        let config = write_config(directory.path(), yaml);
        program.current_dir(directory.path()).env("SLUICE_CONFIG", config);
        program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = program.spawn().expect("the program is there");
        let log = log_of(&mut child);
        Self::started(directory, child, log).await
    }

    async fn start_in(
        directory: tempfile::TempDir,
        config: &Path,
        args: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let (child, log) = launch(directory.path(), config, args, variables);
        let started = Self::started(directory, child, log).await;
        editor_schema::takes(config);
        started
    }

    async fn started(directory: tempfile::TempDir, mut child: Child, log: Arc<Mutex<Vec<String>>>) -> Self {
        let mut address = async |what: &str| {
            eventually(what, async || {
                let found = log.lock().iter().find_map(|line| address_after(line, what));
                let ended = child.try_wait().expect("it can be waited for").filter(|_| found.is_none());
                assert!(ended.is_none(), "it does not start: {}", log.lock().join("\n"));
                found
            })
            .await
        };
        let front = Front { otlp: address("OTLP/HTTP on ").await, admin: address("admin on ").await };
        Self { front, child, log, directory: Arc::new(directory) }
    }

    /// Starts the binary at a site, and does not wait for anything.
    pub(super) fn launch_at(
        directory: &Arc<tempfile::TempDir>,
        config: &Path,
        variables: &[(&str, &str)],
        front: Front,
    ) -> Self {
        let (child, log) = launch(directory.path(), config, &[], variables);
        Self { front, child, log, directory: directory.clone() }
    }

    /// Waits until all its listeners accept.
    pub async fn ready(&self) -> &Self {
        for what in ["OTLP/HTTP on ", "admin on "] {
            eventually(what, async || self.says(what).then_some(())).await;
        }
        self
    }

    /// Whether it has logged a line with this text.
    pub fn says(&self, text: &str) -> bool {
        self.log.lock().iter().any(|line| line.contains(text))
    }

    /// Ends it with SIGKILL, and waits until it is gone.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    /// What it has logged so far, line by line.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().clone()
    }

    /// Waits until it has logged a line with this text, and returns the line.
    pub async fn logged(&self, text: &str) -> String {
        let find = || self.log.lock().iter().find(|line| line.contains(text)).cloned();
        eventually(text, async || find()).await
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Its working directory, which `@DIR@` stands for.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Replaces the configuration file, in one step.
    pub fn write_config(&self, yaml: &str) {
        write_config(self.directory.path(), yaml);
    }

    /// Sends it a signal, such as `TERM` or `HUP`.
    pub async fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().await;
        assert!(sent.expect("`kill` is there").success());
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(super::PATIENCE, self.child.wait()).await;
        let ended = ended.unwrap_or_else(|_| panic!("it does not end: {:#?}", self.log()));
        ended.expect("it can be waited for")
    }

    /// Resident memory in bytes, as the kernel counts it.
    pub fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most that was ever resident.
    pub fn peak_resident_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// Its threads.
    pub fn threads(&self) -> u64 {
        self.status("Threads:").parse().expect("a number")
    }

    /// The file descriptors that it has open.
    pub fn open_files(&self) -> u64 {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("it runs on Linux");
        files.count() as u64
    }

    fn memory(&self, name: &str) -> u64 {
        let memory = self.status(name);
        memory.trim_end_matches(" kB").parse::<u64>().expect("a number of kilobytes") * 1024
    }

    fn status(&self, name: &str) -> String {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs on Linux");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("every process has one");
        line.trim().to_owned()
    }
}

/// Starts `sluice run`; the lines of its log come as it writes them.
fn launch(
    directory: &Path,
    config: &Path,
    args: &[&str],
    variables: &[(&str, &str)],
) -> (Child, Arc<Mutex<Vec<String>>>) {
    let mut child = command(directory, config, args, variables)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary was built");
    let log = log_of(&mut child);
    (child, log)
}

fn command(directory: &Path, config: &Path, args: &[&str], variables: &[(&str, &str)]) -> Command {
    completed(Command::new(env!("CARGO_BIN_EXE_sluice")), directory, config, args, variables)
}

/// The command for a process that may have so many files open, and can't raise the limit.
fn limited_command(directory: &Path, config: &Path, limit: usize) -> Command {
    let mut command = Command::new("bash");
    let limit = limit.to_string();
    command.args(["-c", "ulimit -n $0 && exec \"$@\"", &limit, env!("CARGO_BIN_EXE_sluice")]);
    completed(command, directory, config, &[], &[])
}

fn completed(
    mut command: Command,
    directory: &Path,
    config: &Path,
    args: &[&str],
    variables: &[(&str, &str)],
) -> Command {
    command
        .args(["run", "--config"])
        .arg(config)
        .args(args)
        .current_dir(directory)
        .env_remove("RUST_LOG")
        .env_remove("SLUICE_CONFIG")
        .env_remove("SLUICE_LOG_FORMAT")
        .env_remove("NO_COLOR")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Starts a program whose standard error is a terminal; what it writes there comes into `log`, line by line.
pub fn spawn_on_terminal(command: &mut Command, log: Arc<Mutex<Vec<String>>>) -> Child {
    let ours = pty::openpt(pty::OpenptFlags::RDWR | pty::OpenptFlags::NOCTTY).expect("there are terminals");
    pty::grantpt(&ours).expect("it is ours");
    pty::unlockpt(&ours).expect("it is ours");
    let name = pty::ptsname(&ours, Vec::new()).expect("it has a name").into_string().expect("it is a path");
    let theirs = std::fs::OpenOptions::new().read(true).write(true).open(name).expect("it can be opened");
    let child = command.stderr(theirs).spawn().expect("the binary was built");
    // The program has the only other copy of its side, so that reading ends with it.
    command.stderr(Stdio::null());
    std::thread::spawn(move || {
        // At the end Linux says EIO, which is no line.
        for line in std::io::BufReader::new(std::fs::File::from(ours)).lines().map_while(Result::ok) {
            log.lock().push(line.trim_end_matches('\r').to_owned());
        }
    });
    child
}

impl Deref for SluiceProcess {
    type Target = Front;

    fn deref(&self) -> &Front {
        &self.front
    }
}

fn address_after(line: &str, what: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(what)?;
    let (scheme, rest) = rest.split_once("://")?;
    assert!(["http", "https"].contains(&scheme), "{line}");
    // The line may be JSON.
    rest.split([' ', '"']).next()?.parse().ok()
}

/// The lines that a child writes to its standard error, which is piped, as they come.
pub fn log_of(child: &mut Child) -> Arc<Mutex<Vec<String>>> {
    let log = Arc::new(Mutex::new(Vec::new()));
    let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let lines_to = Arc::clone(&log);
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            lines_to.lock().push(line);
        }
    });
    log
}

/// What the printed curl says once all that it has sent is taken.
pub const TAKEN: &str = "{}\nHTTP 200\n";

/// Runs a printed command and returns what it prints itself.
pub async fn run_printed(line: &str) -> String {
    let run = Command::new("bash").args(["-o", "pipefail", "-c", line]).output().await;
    let run = run.expect("the printed commands need bash");
    assert!(run.status.success(), "{line}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).expect("it is text")
}
