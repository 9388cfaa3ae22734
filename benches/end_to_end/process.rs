//! What `/proc` says about a process and its children.

use std::collections::HashMap;
use std::fs;

use crate::Failure;

/// `USER_HZ`, which is 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// The ids of `root` and everything that descends from it.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        if let Some(parent) = stat(&format!("/proc/{pid}/stat")).and_then(|fields| fields[1].parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut tree = vec![root];
    let mut next = 0;
    while next < tree.len() {
        tree.extend(children.get(&tree[next]).into_iter().flatten());
        next += 1;
    }
    tree
}

/// User and system time of a process and its children since they started, in seconds.
pub(crate) fn cpu(root: u32) -> Result<f64, Failure> {
    let mut ticks = 0;
    for pid in tree(root) {
        let fields = stat(&format!("/proc/{pid}/stat")).ok_or("the process has gone")?;
        ticks += fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    }
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

/// The fields of a `stat` file from `state` on, which is the first after the name in parentheses.
fn stat(path: &str) -> Option<Vec<String>> {
    let text = fs::read_to_string(path).ok()?;
    Some(text[text.rfind(')')? + 1..].split_ascii_whitespace().map(str::to_owned).collect())
}

/// Memory of a process and its children, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) resident: u64,
    /// The most that was ever resident.
    pub(crate) peak: u64,
}

/// Resident memory. Pages that processes share count for each of them.
pub(crate) fn memory(root: u32) -> Memory {
    let mut sum = Memory::default();
    for pid in tree(root) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok())
                .unwrap_or_default()
        };
        sum.resident += kib("VmRSS:") * 1024;
        sum.peak += kib("VmHWM:") * 1024;
    }
    sum
}

/// CPU seconds of the threads of this process whose name begins with `name`.
pub(crate) fn cpu_of_threads(name: &str) -> f64 {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let path = thread.path();
        let matches = fs::read_to_string(path.join("comm")).ok()?.starts_with(name);
        let schedstat = matches.then(|| fs::read_to_string(path.join("schedstat")).ok())??;
        schedstat.split_ascii_whitespace().next()?.parse::<u64>().ok()
    });
    nanoseconds.sum::<u64>() as f64 / 1e9
}
