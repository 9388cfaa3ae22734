//! How much memory there is: the control group's limit, else the machine's.

use std::path::{Path, PathBuf};

/// Bytes of memory this process may use, if the system says so.
pub(super) fn memory() -> Option<u64> {
    memory_below(Path::new("/"))
}

/// The smallest of the limits of this process's control group, of those above it, and of the machine. `root` is
/// `/`, or stands for it in tests.
fn memory_below(root: &Path) -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let machine = read("proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
    });

    let groups = read("proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().flat_map(|line| {
        // `0::/path` in version 2, `4:memory:/path` in version 1.
        let mut fields = line.splitn(3, ':').skip(1);
        let (mount, file) = match fields.next() {
            Some("") => ("sys/fs/cgroup", "memory.max"),
            Some(controllers) if controllers.split(',').any(|name| name == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return Vec::new(),
        };
        let group = fields.next().unwrap_or_default().trim_start_matches('/');
        PathBuf::from(group)
            .ancestors()
            .filter_map(|group| {
                let path = Path::new(mount).join(group).join(file);
                std::fs::read_to_string(root.join(path)).ok()?.trim().parse::<u64>().ok()
            })
            .collect()
    });
    limits.chain(machine).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        memory_below(root.path())
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:        2048 kB\nMemFree: 5 kB\n");

    #[test]
    fn without_a_limit_it_is_the_machines() {
        assert_eq!(machine(&[MEMINFO]), Some(2048 * 1024));
        assert_eq!(
            machine(&[MEMINFO, ("proc/self/cgroup", "0::/a\n"), ("sys/fs/cgroup/a/memory.max", "max\n")]),
            Some(2048 * 1024)
        );
        assert_eq!(machine(&[]), None);
    }

    #[test]
    fn the_narrowest_limit_of_the_groups_above_holds() {
        let v2 = [
            MEMINFO,
            ("proc/self/cgroup", "0::/pod/box\n"),
            ("sys/fs/cgroup/pod/memory.max", "1000\n"),
            ("sys/fs/cgroup/pod/box/memory.max", "5000\n"),
        ];
        assert_eq!(machine(&v2), Some(1000));
        let v1 = [
            MEMINFO,
            ("proc/self/cgroup", "5:cpu:/x\n4:memory:/pod\n"),
            ("sys/fs/cgroup/memory/pod/memory.limit_in_bytes", "3000\n"),
        ];
        assert_eq!(machine(&v1), Some(3000));
    }
}
