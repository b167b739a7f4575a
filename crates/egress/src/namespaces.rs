//! Tests that change interfaces, mounts or /etc run as a process of their own, in namespaces that
//! it makes: plain ones as root, under a user namespace elsewhere.

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

/// Says in the child that it is in the namespaces already.
const INSIDE: &str = "PROXIFY_TEST_INSIDE";

/// Runs `body` in new network and mount namespaces, as root there; `name` is the test's own path.
///
/// # Panics
///
/// Where the test fails, or no namespaces can be made: it is never skipped.
pub(crate) fn in_namespaces(name: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1");
    // SAFETY: between fork and exec this makes system calls and allocates; glibc keeps its
    // allocator usable in the child of a process with threads.
    unsafe { command.pre_exec(enter) };
    let output = command
        .output()
        .expect("a test in namespaces needs root or user namespaces");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "in namespaces: {}\n{text}\n{errors}",
        output.status
    );
    assert!(
        text.contains("1 passed"),
        "`{name}` is not this test's path\n{text}"
    );
}

fn enter() -> std::io::Result<()> {
    let (user, group) = (geteuid(), getegid());
    let mut flags = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    if !user.is_root() {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(flags)?;
    if !user.is_root() {
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
        std::fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
    }
    // Nothing that is mounted here reaches the host.
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )?;
    Ok(())
}
