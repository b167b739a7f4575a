//! Mounts, all in the sandbox's own mount namespaces, so that the host sees none of them and they go with the last
//! process (mount_namespaces(7)).
//!
//! /run and /etc become tmpfs: /run loses the sockets of nscd, systemd-resolved and D-Bus, through which a program
//! would get answers past the stub; /etc keeps the host's entries, read-only, but for the files that decide how names
//! resolve.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::MsFlags;
use nix::sys::statvfs::{FsFlags, statvfs};

use crate::run_dir;

/// Files of /etc that decide how names resolve: none of the host's is let through. The last one is read by the
/// `proxify` of old images and by ours.
const NAMING_FILES: [&str; 4] = [
    "hosts",
    "nsswitch.conf",
    "resolv.conf",
    "resolv_override.conf",
];

const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost\n";

const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n\
                        protocols: files\nservices: files\nethers: files\nrpc: files\n";

/// What stands at /etc/resolv.conf.
pub(crate) enum ResolvConf<'a> {
    /// A file with this text.
    File(&'a str),
    /// A link to a file that does not exist, as images often have it.
    Dangling,
}

/// Keeps every later mount from spreading to the host.
pub(crate) fn make_private() -> Result<(), MountError> {
    mount(
        None,
        Path::new("/"),
        None,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None,
    )
}

/// /proc for the PID namespace of the caller.
pub(crate) fn proc() -> Result<(), MountError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(
        Some(Path::new("proc")),
        Path::new("/proc"),
        Some("proc"),
        flags,
        None,
    )
}

/// /sys for the network namespace of the caller, with the control groups of the old one.
pub(crate) fn sys() -> Result<(), MountError> {
    let sys = Path::new("/sys");
    let cgroup = Path::new("/sys/fs/cgroup");
    let old = directory(cgroup).ok();
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some(Path::new("sysfs")), sys, Some("sysfs"), flags, None)?;
    match old {
        Some(old) => bind(&descriptor_path(&old), cgroup),
        None => Ok(()),
    }
}

/// An empty /run. With `keep`, the run directory of the old one stays.
pub(crate) fn run(keep: bool) -> Result<(), MountError> {
    let run = Path::new("/run");
    let kept = keep
        .then(|| directory(Path::new(run_dir::PATH)))
        .transpose()?;
    tmpfs(run, "mode=755")?;
    if let Some(kept) = kept {
        let path = Path::new(run_dir::PATH);
        fs::create_dir(path).map_err(|error| MountError::create(path, error))?;
        bind(&descriptor_path(&kept), path)?;
    }
    let var_run = Path::new("/var/run");
    if fs::symlink_metadata(var_run).is_ok_and(|metadata| metadata.is_dir()) {
        bind(run, var_run)?;
    }
    Ok(())
}

/// Makes what stands in /etc read-only, for whatever [`etc`] binds from it.
pub(crate) fn protect_etc() -> Result<(), MountError> {
    let etc = Path::new("/etc");
    bind(etc, etc)?;
    // In a user namespace a remount may add flags but not drop those that stand.
    let flags = statvfs(etc)
        .map_err(|source| MountError::mount(etc, source))?
        .flags();
    let kept = [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
    ];
    let kept = kept.into_iter().filter(|(is, _)| flags.contains(*is));
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(
        None,
        etc,
        None,
        kept.fold(read_only, |all, (_, flag)| all | flag),
        None,
    )
}

/// A tmpfs on /etc with the entries of the old one, and its own files for naming.
pub(crate) fn etc(resolv_conf: &ResolvConf<'_>) -> Result<(), MountError> {
    let etc = Path::new("/etc");
    let old = directory(etc)?;
    tmpfs(etc, "mode=755")?;
    let old = descriptor_path(&old);
    let entries = fs::read_dir(&old).map_err(|error| MountError::create(etc, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| MountError::create(etc, error))?;
        let name = entry.file_name();
        if NAMING_FILES.iter().any(|naming| name == *naming) {
            continue;
        }
        let place = etc.join(&name);
        let create = |error| MountError::create(&place, error);
        let kind = entry.file_type().map_err(create)?;
        if kind.is_symlink() {
            let target = fs::read_link(entry.path()).map_err(create)?;
            symlink(target, &place).map_err(create)?;
            continue;
        }
        if kind.is_dir() {
            fs::create_dir(&place).map_err(create)?;
        } else {
            File::create_new(&place).map_err(create)?;
        }
        bind(&old.join(&name), &place)?;
    }

    let write = |name: &str, text: &str| {
        let path = etc.join(name);
        fs::write(&path, text).map_err(|error| MountError::create(&path, error))
    };
    write("hosts", HOSTS)?;
    write("nsswitch.conf", NSSWITCH)?;
    match resolv_conf {
        ResolvConf::File(text) => write("resolv.conf", text),
        ResolvConf::Dangling => {
            let path = etc.join("resolv.conf");
            symlink("/run/resolvconf/resolv.conf", &path)
                .map_err(|error| MountError::create(&path, error))
        }
    }
}

/// mount(2), with its target in the error.
pub(crate) fn mount(
    source: Option<&Path>,
    target: &Path,
    kind: Option<&str>,
    flags: MsFlags,
    data: Option<&str>,
) -> Result<(), MountError> {
    nix::mount::mount(source, target, kind, flags, data)
        .map_err(|source| MountError::mount(target, source))
}

fn bind(source: &Path, target: &Path) -> Result<(), MountError> {
    // Recursive: in a user namespace a mount must not show what mounts below it hide (EINVAL).
    mount(
        Some(source),
        target,
        None,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        None,
    )
}

fn tmpfs(target: &Path, options: &str) -> Result<(), MountError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(
        Some(Path::new("sandbox")),
        target,
        Some("tmpfs"),
        flags,
        Some(options),
    )
}

/// A handle on a directory that stays valid when something is mounted over it.
fn directory(path: &Path) -> Result<File, MountError> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path);
    opened.map_err(|error| MountError::create(path, error))
}

/// A path to what `file` has open, whatever is mounted where it was.
fn descriptor_path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// What could not be mounted or made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MountError {
    #[error("cannot mount on {}: {}{}", target.display(), source.desc(), mount_hint(target, *source))]
    Mount { target: PathBuf, source: Errno },
    #[error("cannot make {}: {error}", path.display())]
    Create { path: PathBuf, error: io::Error },
}

impl MountError {
    fn mount(target: &Path, source: Errno) -> Self {
        let target = target.to_owned();
        Self::Mount { target, source }
    }

    fn create(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        Self::Create { path, error }
    }
}

fn mount_hint(target: &Path, errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM | Errno::EACCES if target == Path::new("/proc") => {
            " (a container that hides parts of /proc forbids this: run it with --privileged, or with \
             --security-opt systempaths=unconfined)"
        }
        Errno::EPERM | Errno::EACCES => {
            " (on Ubuntu set kernel.apparmor_restrict_unprivileged_userns=0; in a container use --privileged, or \
             --cap-add SYS_ADMIN with --security-opt apparmor=unconfined; or run as root)"
        }
        Errno::ENOENT => " (the directory must exist on this machine)",
        _ => "",
    }
}
