//! The commands in the documents, run as they stand there: each page by one shell, in its order, in a directory that looks like a
//! checkout, and in a network of its own, so that the ports are those of the page. What can't be run here - Docker, a cluster, the
//! service manager, a build - has a stand-in in `stand_ins`, which says what it checks instead. A command that is neither is unknown to
//! the shell, and fails.
//!
//! Needs bash, curl, jq, openssl and iproute2, and root or unprivileged user namespaces.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

#[path = "../documents/blocks.rs"]
mod blocks;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use blocks::{CodeBlock, blocks, pages, root};
use serde_json::Value;

/// Programs of the machine that pages may use.
const TOOLS: [&str; 34] = [
    "awk",
    "base64",
    "bash",
    "cat",
    "chmod",
    "cp",
    "curl",
    "cut",
    "date",
    "diff",
    "env",
    "grep",
    "head",
    "ip",
    "jq",
    "kill",
    "ls",
    "mkdir",
    "mktemp",
    "openssl",
    "printf",
    "readlink",
    "rm",
    "sed",
    "sh",
    "sha256sum",
    "sleep",
    "sort",
    "tail",
    "timeout",
    "tr",
    "uname",
    "unshare",
    "wc",
];

/// Pages that are run at a time.
const AT_A_TIME: usize = 6;

/// How long a page may take, in seconds.
const PATIENCE: &str = "120";

/// What a page is run with: `block PLACE` begins a block, `stays PLACE NAME` runs the commands of its standard input in another terminal.
const PRELUDE: &str = include_str!("prelude.sh");

/// The script that does what a page says.
fn script(blocks: &[CodeBlock]) -> String {
    let mut script = PRELUDE.to_owned();
    for block in blocks {
        let CodeBlock { place, language, word, file, text } = block;
        match (language.as_str(), word.as_deref(), file) {
            ("sh", Some("stays"), _) => {
                writeln!(script, "stays '{place}' '{}' <<'END OF BLOCK'\n{text}END OF BLOCK", terminal(text))
            }
            ("sh", Some("fails"), _) => {
                writeln!(script, "block '{place}'\nfails <<'END OF BLOCK'\n{text}END OF BLOCK")
            }
            ("sh", _, _) => writeln!(script, "block '{place}'\n{text}"),
            (_, _, Some(file)) => {
                writeln!(script, "block '{place}'\nwrite '{file}' <<'END OF BLOCK'\n{text}END OF BLOCK")
            }
            _ => Ok(()),
        }
        .unwrap();
    }
    script + "end\n"
}

/// What goes on in a terminal: whatever is started by the same words later takes its place.
fn terminal(text: &str) -> String {
    let last = text.lines().rfind(|line| !line.trim_start().starts_with('#')).unwrap_or_default();
    let words: Vec<&str> = last.split_whitespace().skip_while(|word| word.contains('=')).collect();
    let program = words.first().map_or("", |word| word.rsplit('/').next().unwrap());
    let listen = words.iter().position(|word| *word == "--listen").map_or("", |at| words[at + 1]);
    match (program, words.get(1)) {
        ("sluice", Some(&"sink")) => format!("sink {listen}"),
        ("sluice", Some(&"tap")) => "tap".to_owned(),
        ("sluice", _) | ("make", Some(&"run")) => "sluice".to_owned(),
        _ => program.to_owned(),
    }
}

/// A directory `sluice` that looks like a clone with both builds in it.
fn clone(directory: &Path) -> PathBuf {
    let clone = directory.join("sluice");
    fs::create_dir(&clone).unwrap();
    for name in ["Makefile", "deploy", "docs", "Dockerfile"] {
        symlink(root().join(name), clone.join(name)).unwrap();
    }
    let copied = Command::new("cp").args(["-r"]).arg(root().join("config")).arg(&clone).status().unwrap();
    assert!(copied.success());
    fs::create_dir_all(clone.join(".git/hooks")).unwrap();
    for profile in ["debug", "release"] {
        let built = clone.join("target").join(profile);
        fs::create_dir_all(&built).unwrap();
        symlink(env!("CARGO_BIN_EXE_sluice"), built.join("sluice")).unwrap();
    }
    clone
}

/// Where a program of the machine is.
fn on_path(name: &str) -> PathBuf {
    let of_path = std::env::var_os("PATH").unwrap();
    let mut places = std::env::split_paths(&of_path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = places.find_map(|place| Some(place.join(name)).filter(|path| path.is_file()));
    found.unwrap_or_else(|| panic!("the commands in the documents need `{name}`"))
}

/// The directory that is all of `PATH`: stand-ins, the tools of the machine that pages may use, and `sluice`.
fn programs() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let link = |to: &Path, name: &str| symlink(to, directory.path().join(name)).unwrap();
    for name in TOOLS {
        link(&on_path(name), name);
    }
    for stand_in in fs::read_dir(root().join("tests/commands/stand_ins")).unwrap() {
        let path = stand_in.unwrap().path();
        link(&path, path.file_name().unwrap().to_str().unwrap());
    }
    link(Path::new(env!("CARGO_BIN_EXE_sluice")), "sluice");
    directory
}

/// Runs a page; what it says if it fails.
fn run(page: &Path, programs: &Path) -> Result<(), String> {
    let blocks = blocks(page);
    if !blocks.iter().any(|block| block.language == "sh") {
        return Ok(());
    }
    let directory = tempfile::tempdir().unwrap();
    let clone = clone(directory.path());
    let script_file = directory.path().join("page.sh");
    fs::write(&script_file, script(&blocks)).unwrap();
    let user = Command::new("id").arg("-u").output().unwrap().stdout;
    let as_root: &[&str] = if user == b"0\n" { &[] } else { &["--user", "--map-root-user"] };
    let output = Command::new("timeout")
        .args([PATIENCE, "unshare", "--net", "--pid", "--fork", "--kill-child"])
        .args(as_root)
        .arg("bash")
        .arg(&script_file)
        .current_dir(&clone)
        .env_clear()
        .env("PATH", programs)
        .env("HOME", directory.path())
        .env("SLUICE_CHECKOUT", root())
        .env("SLUICE_MAKE", on_path("make"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    if output.status.success() {
        return Ok(());
    }
    let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(format!("{}: {}\n{printed}\n{said}", page.display(), output.status))
}

#[test]
fn the_commands_of_every_page_do_what_they_are_for() {
    let programs = programs();
    let (all, programs) = (pages(), programs.path());
    assert!(all.len() > 15, "{all:?}");
    let mut failed = Vec::new();
    // What pages wait for by `sleep` has to be done by then.
    for some in all.chunks(AT_A_TIME) {
        failed.extend(thread::scope(|scope| {
            let pages: Vec<_> = some.iter().map(|page| scope.spawn(move || run(page, programs))).collect();
            pages.into_iter().filter_map(|page| page.join().unwrap().err()).collect::<Vec<_>>()
        }));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Runs a command in a clone, with no variable but what it is found by.
fn run_in_clone(command: &str) -> (bool, String) {
    let directory = tempfile::tempdir().unwrap();
    let (clone, programs) = (clone(directory.path()), programs());
    let mut shell = Command::new(on_path("bash"));
    shell.args(["-e", "-c", command]).current_dir(clone).env_clear().env("PATH", programs.path());
    let output = shell.output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A block of the page about checking that is of this kind, as it is read.
fn shown(kind: &str) -> Value {
    let blocks = blocks(&root().join("docs/checking.md"));
    let block = blocks.iter().find(|block| block.word.as_deref() == Some(kind)).unwrap();
    serde_saphyr::from_str(&block.text).unwrap()
}

#[test]
fn the_hook_for_pre_commit_and_the_job_for_github_check_what_they_are_for() {
    let hook = &shown("pre-commit")["repos"][0]["hooks"][0];
    let published: Value =
        serde_saphyr::from_str(&fs::read_to_string(root().join(".pre-commit-hooks.yaml")).unwrap()).unwrap();
    assert_eq!(published[0]["entry"], hook["entry"]);
    let steps = shown("github")["jobs"]["check"]["steps"].clone();
    let job = steps.as_array().unwrap().iter().find(|step| step["name"] == "Check").unwrap();
    // pre-commit gives the hook the files that have changed.
    let with_files = format!("{} config/s2.yaml config/gateway.yaml", hook["entry"].as_str().unwrap());
    for command in [&with_files, job["run"].as_str().unwrap()] {
        let (fine, said) = run_in_clone(command);
        assert!(fine, "{command}: {said}");
        for file in ["config/s2.yaml", "config/gateway.yaml"] {
            let spoilt = format!("echo 'exporter: {{}}' >{file}; {command}");
            let (fine, said) = run_in_clone(&spoilt);
            assert!(!fine && said.contains("did you mean `exporters`?"), "{command}: {said}");
        }
    }
}

#[test]
fn a_stand_in_refuses_what_the_program_does_not_know() {
    for known in [
        "docker build -t sluice .",
        "docker run --detach -v ./config:/etc/sluice:ro sluice --an-option=of-the-image",
        "docker compose --file deploy/compose/docker-compose.yaml up --build",
        "helm install sluice deploy/helm/sluice --set image.tag=1 --namespace=a",
        "kubectl --namespace a apply -k deploy/kubernetes/gateway",
        "kubectl exec -n a sluice-0 -- /sluice journal inspect --an-option DIR",
    ] {
        assert!(run_in_clone(known).0, "{known}");
    }
    for unknown in [
        "docker build --tags sluice .",
        "docker build -t sluice ./nothing",
        "docker run --detatch sluice",
        "docker run -v ./nothing:/etc/sluice sluice",
        "docker run --name",
        "docker compose up --file deploy/compose/docker-compose.yaml",
        "docker compose --file deploy/nothing.yaml up",
        "helm install sluice deploy/helm/sluice --sett image.tag=1",
        "helm install sluice deploy/helm/sluice --set images.tag=1",
        "helm install deploy/helm/sluice",
        "kubectl apply --kustomise deploy/kubernetes/gateway",
        "kubectl apply -k deploy/nothing",
        "kubectl exec sluice-0 --contaner sluice -- /sluice health",
        "kubectl port-forward --namespace a sluice-0",
    ] {
        assert!(!run_in_clone(unknown).0, "{unknown}");
    }
}
