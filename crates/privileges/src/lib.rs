//! What a thread may do, made less once it has started (capabilities(7)).
//!
//! Capabilities belong to threads: each gives up its own, and the threads that it starts afterwards
//! begin with what is left. A program that it executes afterwards gets nothing back, though it be
//! root's (PR_SET_NO_NEW_PRIVS, prctl(2)). What was forked before keeps everything: so APP, which
//! is to have exactly what proxify was given, is started first.

#![forbid(unsafe_code)]

pub use caps::Capability;
use caps::{CapSet, CapsHashSet};
use nix::errno::Errno;

/// Leaves to the calling thread these of its capabilities, for good. The inheritable and bounding sets
/// stay: with PR_SET_NO_NEW_PRIVS nothing comes out of them.
///
/// # Errors
///
/// The system does not allow it to be given up, as a seccomp filter may; what could be is given up.
pub fn keep(needed: &[Capability]) -> Result<(), KeepError> {
    let no_more = nix::sys::prctl::set_no_new_privs().map_err(KeepError::NoNewPrivileges);
    // What is permitted must be left at least to what is in effect.
    for set in [CapSet::Effective, CapSet::Permitted] {
        let had = caps::read(None, set)?;
        let is_needed = |capability: &Capability| needed.contains(capability);
        let kept: CapsHashSet = had.iter().copied().filter(is_needed).collect();
        // A system call that changes nothing may be forbidden all the same, as in the relay's unit.
        if kept != had {
            caps::set(None, set, &kept)?;
        }
    }
    no_more
}

/// Why a thread may do more than it needs to.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// capget(2) or capset(2).
    #[error("capabilities stay as they are: {0}")]
    Capabilities(#[from] caps::errors::CapsError),
    /// prctl(2).
    #[error("what it executes may get more privileges: {0}")]
    NoNewPrivileges(Errno),
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// The sets and the bit of the calling thread, by the kernel's own word.
    fn status() -> Vec<String> {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let lines = status
            .lines()
            .filter(|line| line.starts_with("Cap") || line.starts_with("NoNewPrivs"));
        lines.map(str::to_owned).collect()
    }

    fn in_a_thread<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
        thread::spawn(run).join().unwrap()
    }

    #[test]
    fn a_thread_keeps_what_it_names_and_its_threads_begin_so() {
        let before = status();
        let stays = |set: &str| {
            let line = before.iter().find(|line| line.starts_with(set));
            line.unwrap().clone()
        };
        let nothing = "0000000000000000";
        let left = in_a_thread(|| {
            keep(&[]).unwrap();
            let left = status();
            assert_eq!(in_a_thread(status), left);
            left
        });
        for line in [
            format!("CapPrm:\t{nothing}"),
            format!("CapEff:\t{nothing}"),
            stays("CapInh"),
            stays("CapBnd"),
            format!("CapAmb:\t{nothing}"),
            "NoNewPrivs:\t1".to_owned(),
        ] {
            assert!(left.contains(&line), "{line}: {left:?}");
        }
        assert_eq!(status(), before, "the other threads stay as they were");
    }

    #[test]
    fn only_what_was_there_is_kept() {
        let had = caps::read(None, CapSet::Permitted).unwrap();
        let needed = Capability::CAP_KILL;
        let kept = in_a_thread(move || {
            keep(&[needed]).unwrap();
            [CapSet::Permitted, CapSet::Effective].map(|set| caps::read(None, set).unwrap())
        });
        for kept in kept {
            assert_eq!(kept.contains(&needed), had.contains(&needed));
            assert!(kept.iter().all(|capability| *capability == needed));
        }
    }
}
