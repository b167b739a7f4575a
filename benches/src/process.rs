//! Servers as processes: pinned to a core, their CPU time and memory read, killed at the end.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::failure::Failure;
use crate::outcome::count;

/// Where servers run, and where the load does.
#[derive(Clone, Copy)]
pub(crate) struct Cores {
    server: CpuSet,
    load: CpuSet,
    pub(crate) server_number: usize,
}

impl Cores {
    /// The last of the cores that this process may use is the servers'; the others are the load's.
    pub(crate) fn split() -> Result<Self, Failure> {
        let cannot = |errno: nix::Error| Failure::io("affinity of this process", errno);
        let all = sched_getaffinity(Pid::from_raw(0)).map_err(cannot)?;
        let usable: Vec<usize> = (0..CpuSet::count())
            .filter(|&core| all.is_set(core).unwrap_or(false))
            .collect();
        let [others @ .., server_number] = usable.as_slice() else {
            return Err(Failure::Setting("no core to run on".to_owned()));
        };
        if others.is_empty() {
            return Err(Failure::Setting(
                "load and server need a core each, and there is one".to_owned(),
            ));
        }
        let mut server = CpuSet::new();
        server.set(*server_number).map_err(cannot)?;
        let mut load = CpuSet::new();
        for core in others {
            load.set(*core).map_err(cannot)?;
        }
        let cores = Self {
            server,
            load,
            server_number: *server_number,
        };
        pin(&cores.load)?;
        Ok(cores)
    }

    /// Runs `ask` on the servers' core: a program in the enclave, whose cores are its own, while relay
    /// and nameserver stay on the parent's.
    pub(crate) fn in_enclave<T>(
        &self,
        ask: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        pin(&self.server)?;
        let asked = ask();
        pin(&self.load)?;
        asked
    }
}

fn pin(cores: &CpuSet) -> Result<(), Failure> {
    sched_setaffinity(Pid::from_raw(0), cores)
        .map_err(|errno| Failure::io("cannot pin a process to a core", errno))
}

/// A process that ends with its value.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts a server on the servers' core. What it says goes to the file `log`.
    pub(crate) fn start_pinned(
        command: &mut Command,
        log: &Path,
        cores: &Cores,
    ) -> Result<Self, Failure> {
        // A child has the affinity of the thread that starts it from its first instruction.
        pin(&cores.server)?;
        let started = Self::start(command, log);
        pin(&cores.load)?;
        started
    }

    /// Starts a program where this process runs.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self, Failure> {
        let started = File::create(log).and_then(|out| {
            let err = out.try_clone()?;
            command.stdin(Stdio::null()).stdout(out).stderr(err).spawn()
        });
        match started {
            Ok(child) => Ok(Self { child }),
            Err(source) => {
                let program = command.get_program().display();
                Err(Failure::io(format!("cannot start {program}"), source))
            }
        }
    }

    /// User and system time of all its threads so far (proc_pid_stat(5)).
    pub(crate) fn cpu(&self) -> Result<Duration, Failure> {
        cpu(self.child.id())
    }

    /// Resident memory in bytes, now and at its highest (proc_pid_status(5)).
    pub(crate) fn resident(&self) -> Result<(u64, u64), Failure> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = read(&path)?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
            Some(kib * 1024)
        };
        field("VmRSS:")
            .zip(field("VmHWM:"))
            .ok_or_else(|| Failure::Setting(format!("{path} has no VmRSS: the server has ended")))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// User and system time of all threads of a process so far.
pub(crate) fn cpu(pid: u32) -> Result<Duration, Failure> {
    let path = format!("/proc/{pid}/stat");
    let stat = read(&path)?;
    // The name in parentheses may hold anything; behind it utime and stime are fields 12 and 13.
    let ticks = stat.rsplit_once(')').and_then(|(_, fields)| {
        let mut fields = fields.split_whitespace().skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        Some(user + system)
    });
    let per_second = sysconf(SysconfVar::CLK_TCK)
        .ok()
        .flatten()
        .and_then(|ticks| u64::try_from(ticks).ok());
    match (ticks, per_second) {
        (Some(ticks), Some(per_second)) => {
            Ok(Duration::from_secs_f64(count(ticks) / count(per_second)))
        }
        _ => Err(Failure::Setting(format!("cannot make sense of {path}"))),
    }
}

fn read(path: &str) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|source| Failure::io(format!("cannot read {path}"), source))
}
