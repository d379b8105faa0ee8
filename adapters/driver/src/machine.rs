//! What this process may use of the machine.

/// The number of descriptors that the process may open.
#[cfg(unix)]
pub(crate) fn descriptors() -> usize {
    use rustix::process::{Resource, getrlimit};
    let most = getrlimit(Resource::Nofile).current;
    most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX)
}

/// The number of descriptors that the process may open. This system has no limit.
#[cfg(not(unix))]
pub(crate) fn descriptors() -> usize {
    usize::MAX
}

/// Bytes of memory that the process may use: the machine's, or those of its control group if that has fewer.
/// `None` if the system does not tell.
#[cfg(target_os = "linux")]
pub(crate) fn memory() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.as_deref().and_then(total);
    let group = std::fs::read_to_string("/proc/self/cgroup").ok();
    let group = group.as_deref().and_then(|groups| {
        let limits =
            paths(groups).into_iter().filter_map(|path| std::fs::read_to_string(path).ok());
        limits.filter_map(|limit| limit.trim().parse().ok()).min()
    });
    match (machine, group) {
        (Some(machine), Some(group)) => Some(machine.min(group)),
        (one, other) => one.or(other),
    }
}

/// Bytes of memory that the process may use. This system does not tell.
#[cfg(not(target_os = "linux"))]
pub(crate) fn memory() -> Option<u64> {
    None
}

/// The machine's memory, from `/proc/meminfo`.
#[cfg(target_os = "linux")]
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The files that may hold the limit of the process's control group, or of one above it, from
/// `/proc/self/cgroup`. Within a container the root of the file system is that of its group.
#[cfg(target_os = "linux")]
fn paths(groups: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|it| it == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let mut group = group.trim_end_matches('/');
        loop {
            paths.push(format!("{root}{group}/{file}"));
            let Some((above, _)) = group.rsplit_once('/') else { break };
            group = above;
        }
    }
    paths
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_machines_memory_is_told_in_kibibytes() {
        assert_eq!(total("MemTotal:        2097152 kB\nMemFree: 1 kB\n"), Some(2 << 30));
        assert_eq!((total(""), total("MemTotal: many kB\n")), (None, None));
        assert!(memory().is_some_and(|bytes| bytes > 1 << 20));
    }

    #[test]
    fn the_limits_of_all_groups_above_count() {
        assert_eq!(
            paths("0::/a.slice/b.service\n"),
            [
                "/sys/fs/cgroup/a.slice/b.service/memory.max",
                "/sys/fs/cgroup/a.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert_eq!(
            paths("3:cpu:/x\n5:memory,hugetlb:/x\n0::/\n"),
            [
                "/sys/fs/cgroup/memory/x/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory.max",
            ]
        );
    }
}
