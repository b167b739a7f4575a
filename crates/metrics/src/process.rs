//! What every program tells Prometheus of its process, under the names that all client libraries use:
//! <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>, from proc(5).

use std::fs;

use crate::family::Read::Gauge;
use crate::family::{Family, float};

/// This process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Process {
    resident_bytes: u64,
    threads: u64,
    open_fds: u64,
    max_fds: u64,
}

pub(crate) const FAMILIES: &[Family<Process>] = &[
    Family::new(
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        Gauge(|process| float(process.resident_bytes)),
    ),
    Family::new(
        "process_threads",
        "Number of threads.",
        Gauge(|process| float(process.threads)),
    ),
    Family::new(
        "process_open_fds",
        "Number of open file descriptors.",
        Gauge(|process| float(process.open_fds)),
    ),
    Family::new(
        "process_max_fds",
        "Maximum number of open file descriptors.",
        Gauge(|process| float(process.max_fds)),
    ),
];

impl Process {
    /// As it is now; none where proc(5) is not mounted, or tells something else.
    pub(crate) fn this() -> Option<Self> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let limits = fs::read_to_string("/proc/self/limits").ok()?;
        // The directory that is read is one of them.
        let open = fs::read_dir("/proc/self/fd").ok()?.count().checked_sub(1)?;
        Self::read(&status, &limits, open.try_into().ok()?)
    }

    fn read(status: &str, limits: &str, open_fds: u64) -> Option<Self> {
        // `VmRSS:	    2048 kB`, and `Max open files            1024                 524288 …`.
        let first = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        Some(Self {
            resident_bytes: first(status, "VmRSS:")?.checked_mul(1024)?,
            threads: first(status, "Threads:")?,
            open_fds,
            // No number is `unlimited`.
            max_fds: first(limits, "Max open files").unwrap_or(u64::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen() {
        let process = Process::this().unwrap();
        assert!(process.resident_bytes > 100_000);
        assert!(process.open_fds >= 3 && process.max_fds >= process.open_fds);
        assert!(process.threads >= 1);
    }

    #[test]
    fn proc_is_read_as_it_is_written() {
        let status = "Name:\tproxify\nVmRSS:\t    4264 kB\nThreads:\t3\n";
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 524288               files     \n";
        let process = Process::read(status, limits, 9).unwrap();
        assert_eq!(process.resident_bytes, 4264 * 1024);
        assert_eq!(
            (process.threads, process.open_fds, process.max_fds),
            (3, 9, 1024)
        );
        assert_eq!(Process::read("", limits, 9), None);
    }
}
