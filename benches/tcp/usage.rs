//! What processes and all their descendants have used, out of /proc.
//!
//! A load that is among the descendants (`but`) does not count.

use std::collections::HashSet;
use std::fs;

use crate::Error;

/// /proc/PID/stat counts in ticks of 10 ms (USER_HZ, on every architecture that Linux has now).
const TICKS: f64 = 100.0;

/// Processor seconds so far, user and system.
pub(crate) fn cpu(roots: &[u32], but: Option<u32>) -> Result<f64, Error> {
    let mut ticks = 0.0;
    for pid in family(roots, but)? {
        // One that has just ended is not there any more.
        ticks += stat(pid).map_or(0.0, |stat| stat.ticks);
    }
    Ok(ticks / TICKS)
}

/// Resident memory in MiB, what processes share divided among them.
pub(crate) fn memory(roots: &[u32], but: Option<u32>) -> Result<f64, Error> {
    let mut kibibytes = 0.0;
    for pid in family(roots, but)? {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let pss = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let figure = pss.and_then(|rest| rest.split_whitespace().next());
        kibibytes += figure.and_then(|text| text.parse().ok()).unwrap_or(0.0);
    }
    Ok(kibibytes / 1024.0)
}

struct Stat {
    parent: u32,
    ticks: f64,
}

/// See proc_pid_stat(5).
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name, in parentheses, may have spaces.
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        // Its own, and of those of its children that have ended.
        ticks: number(11)? + number(12)? + number(13)? + number(14)?,
    })
}

fn family(roots: &[u32], but: Option<u32>) -> Result<HashSet<u32>, Error> {
    let all: Vec<(u32, u32)> = fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| Some(*pid) != but)
        .filter_map(|pid| Some((pid, stat(pid)?.parent)))
        .collect();
    let mut family: HashSet<u32> = roots.iter().copied().collect();
    loop {
        let size = family.len();
        let children = all.iter().filter(|(_, parent)| family.contains(parent));
        let children: Vec<u32> = children.map(|(pid, _)| *pid).collect();
        family.extend(children);
        if family.len() == size {
            return Ok(family);
        }
    }
}
