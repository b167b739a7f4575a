//! New namespaces for the whole sandbox: mounts, network, process ids, and where the caller is not root, users
//! (namespaces(7), user_namespaces(7)).
//!
//! All of it happens in one thread, before any other exists: the kernel refuses `unshare(CLONE_NEWUSER)` otherwise.

use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use crate::mounts::{self, MountError};

/// Leaves the host's namespaces. The next child is the first process of the new PID namespace.
pub(crate) fn enter() -> Result<(), EnterError> {
    let wanted = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWPID;
    match unshare(wanted) {
        Err(Errno::EPERM) => {
            become_root_of_user_namespace()?;
            unshare(wanted)
        }
        other => other,
    }
    .map_err(|source| EnterError::refused("mount, network and PID namespaces", source))?;
    mounts::make_private()?;
    Ok(())
}

/// A user namespace in which the caller is root, and no one else exists.
fn become_root_of_user_namespace() -> Result<(), EnterError> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER)
        .map_err(|source| EnterError::refused("a user namespace", source))?;
    // The kernel lets an unprivileged process map its group only once setgroups(2) is given up.
    for (file, text) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {user} 1")),
        ("/proc/self/gid_map", format!("0 {group} 1")),
    ] {
        fs::write(file, text).map_err(|error| EnterError::Map {
            file,
            error,
            advice: advice(Path::new("/proc/sys")),
        })?;
    }
    Ok(())
}

/// Why this machine does not let us make a sandbox, and what would.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnterError {
    #[error("the kernel refuses {what}: {}; {advice}", source.desc())]
    Refused {
        what: &'static str,
        source: Errno,
        advice: String,
    },
    #[error("cannot write {file}: {error}; {advice}")]
    Map {
        file: &'static str,
        error: io::Error,
        advice: String,
    },
    #[error(transparent)]
    Mount(#[from] MountError),
}

impl EnterError {
    fn refused(what: &'static str, source: Errno) -> Self {
        let advice = match source {
            Errno::EINVAL | Errno::ENOSYS => {
                "the kernel was built without them (CONFIG_USER_NS, CONFIG_NET_NS, CONFIG_PID_NS)"
                    .to_owned()
            }
            _ => advice(Path::new("/proc/sys")),
        };
        Self::Refused {
            what,
            source,
            advice,
        }
    }
}

/// Every sysctl below `sysctls` that stands in the way; what else can be done where none does.
fn advice(sysctls: &Path) -> String {
    let blocking: &[(&str, &str, &str)] = &[
        (
            "kernel/unprivileged_userns_clone",
            "0",
            "kernel.unprivileged_userns_clone=1",
        ),
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        (
            "user/max_user_namespaces",
            "0",
            "user.max_user_namespaces=1024",
        ),
        (
            "user/max_mnt_namespaces",
            "0",
            "user.max_mnt_namespaces=1024",
        ),
        (
            "user/max_net_namespaces",
            "0",
            "user.max_net_namespaces=1024",
        ),
        (
            "user/max_pid_namespaces",
            "0",
            "user.max_pid_namespaces=1024",
        ),
    ];
    let found: Vec<String> = blocking
        .iter()
        .filter(|(path, bad, _)| {
            fs::read_to_string(sysctls.join(path)).is_ok_and(|value| value.trim() == *bad)
        })
        .map(|(_, _, good)| format!("`sysctl -w {good}`"))
        .collect();
    if found.is_empty() {
        "run it as root; in a container start that with --privileged, or with --cap-add SYS_ADMIN and \
         --security-opt seccomp=unconfined,apparmor=unconfined,systempaths=unconfined"
            .to_owned()
    } else {
        format!("run it as root, or set {}", found.join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice_for(settings: &[(&str, &str)]) -> String {
        let root = tempfile::tempdir().unwrap();
        for (path, value) in settings {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{value}\n")).unwrap();
        }
        advice(root.path())
    }

    #[test]
    fn the_sysctl_in_the_way_is_named_with_the_value_that_helps() {
        for (path, bad, named) in [
            (
                "kernel/unprivileged_userns_clone",
                "0",
                "kernel.unprivileged_userns_clone=1",
            ),
            (
                "user/max_user_namespaces",
                "0",
                "user.max_user_namespaces=1024",
            ),
            (
                "kernel/apparmor_restrict_unprivileged_userns",
                "1",
                "kernel.apparmor_restrict_unprivileged_userns=0",
            ),
        ] {
            let advice = advice_for(&[(path, bad)]);
            assert!(advice.contains(named), "{advice}");
        }
    }

    #[test]
    fn where_no_sysctl_is_in_the_way_the_container_flags_are_named() {
        let advice = advice_for(&[
            ("user/max_user_namespaces", "96365"),
            ("kernel/unprivileged_userns_clone", "1"),
        ]);
        assert!(
            advice.contains("--privileged") && !advice.contains("sysctl"),
            "{advice}"
        );
    }
}
