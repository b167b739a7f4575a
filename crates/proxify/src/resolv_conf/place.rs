//! The place of a resolv.conf: what stands there moved aside, ours put in, and back again.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use tracing::{debug, warn};

use super::HEADER;

/// The file, and the two names beside it that a rename needs.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    /// The new text, until it is complete.
    new: PathBuf,
    /// The original, while ours stands in its place.
    kept: PathBuf,
}

impl Place {
    pub(super) fn new(path: &Path) -> Self {
        let beside = |suffix: &str| {
            let mut name = std::ffi::OsString::from(".");
            name.push(path.file_name().unwrap_or_default());
            name.push(suffix);
            path.with_file_name(name)
        };
        Self {
            path: path.to_owned(),
            new: beside(".proxify-new"),
            kept: beside(".proxify-kept"),
        }
    }

    /// Gives the original its other name. Both names stand for it until ours replaces one, so
    /// that no moment is without a resolv.conf.
    pub(super) fn keep(&self, takeover: bool) -> io::Result<Original> {
        let exists = |path: &Path| match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            other => other.map(|_| true),
        };
        let kept = exists(&self.kept)?;
        if takeover && kept {
            // Whatever stands there now came after it.
            return Ok(Original::Kept);
        }
        if !exists(&self.path)? {
            // An old copy would be taken for the original by the next owner.
            let _ = remove(&self.kept);
            return Ok(Original::Nothing);
        }
        if fs::symlink_metadata(&self.path)?.is_dir() {
            // Not to be moved aside: somebody will miss it.
            return Err(ErrorKind::IsADirectory.into());
        }
        if self.is_ours() {
            // A proxify was killed here: what it kept, if anything, is the original.
            warn!(path = ?self.path, kept, "left behind by a proxify that was killed");
            return Ok(if kept {
                Original::Kept
            } else {
                Original::Nothing
            });
        }
        if let Err(error) = remove(&self.kept)
            && !is_in_the_way(&error)
        {
            return Err(error);
        }
        // A file system may lack hard links, and a kernel forbid them here.
        match fs::hard_link(&self.path, &self.kept).or_else(|_| fs::rename(&self.path, &self.kept))
        {
            Ok(()) => Ok(Original::Kept),
            Err(error) if is_in_the_way(&error) => self.copy(),
            Err(error) => Err(error),
        }
    }

    /// Keeps the bytes of a file that cannot be moved.
    fn copy(&self) -> io::Result<Original> {
        let mut bytes = Vec::new();
        reader(&self.path)?.read_to_end(&mut bytes)?;
        match write_new(&self.kept, &bytes) {
            Ok(()) => Ok(Original::Copied(bytes)),
            Err(error) => {
                debug!(%error, path = ?self.kept, "no copy beside it");
                let _ = remove(&self.kept);
                Ok(Original::Content(bytes))
            }
        }
    }

    /// Makes the original what is read there again. Where something was mounted over our file, that
    /// means what is mounted; our file and the original stay beneath, for a proxify that comes when
    /// it is gone.
    pub(super) fn unkeep(&self, original: &Original) -> io::Result<()> {
        match original {
            Original::Nothing => match remove(&self.path) {
                // To libc an empty file and none are the same.
                Err(error) if is_in_the_way(&error) => self.write_through(b""),
                other => other,
            },
            Original::Kept => match fs::rename(&self.kept, &self.path) {
                // A rename between two names of one file does nothing.
                Ok(()) => remove(&self.kept),
                Err(error) if is_in_the_way(&error) => {
                    // It may be a link that leads nowhere.
                    let bytes = fs::read(&self.kept).unwrap_or_default();
                    self.write_through(&bytes)
                }
                Err(error) => Err(error),
            },
            Original::Copied(bytes) => {
                self.put(bytes)?;
                remove(&self.kept)
            }
            Original::Content(bytes) => self.put(bytes),
        }
    }

    /// Where the image's own text stands: in the file, or where a proxify that was killed kept it.
    pub(super) fn original(&self) -> &Path {
        if self.is_ours() {
            &self.kept
        } else {
            &self.path
        }
    }

    fn is_ours(&self) -> bool {
        let mut start = vec![0; HEADER.len()];
        let link = fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.is_symlink());
        let read = reader(&self.path).and_then(|mut file| file.read_exact(&mut start));
        !link && read.is_ok() && start == HEADER.as_bytes()
    }

    pub(super) fn holds(&self, text: &[u8]) -> Result<(), Foreign> {
        let mut bytes = Vec::with_capacity(text.len() + 1);
        let most = u64::try_from(text.len())
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        let read = reader(&self.path).and_then(|file| file.take(most).read_to_end(&mut bytes));
        match read {
            Ok(_) if bytes == text => Ok(()),
            // This process has no descriptor left: that says nothing about the file.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                Ok(())
            }
            _ => Err(self.foreign()),
        }
    }

    fn foreign(&self) -> Foreign {
        let Ok(metadata) = fs::symlink_metadata(&self.path) else {
            return Foreign::Nothing;
        };
        match fs::read_link(&self.path) {
            Ok(target) => Foreign::Link { target },
            Err(_) if metadata.is_file() => Foreign::File {
                bytes: metadata.len(),
            },
            Err(_) => Foreign::Other,
        }
    }

    /// Replaces the file, or writes through it where it cannot be replaced.
    pub(super) fn put(&self, bytes: &[u8]) -> io::Result<()> {
        let replaced = write_new(&self.new, bytes).and_then(|()| fs::rename(&self.new, &self.path));
        let Err(error) = replaced else { return Ok(()) };
        let _ = remove(&self.new);
        if !is_in_the_way(&error) {
            return Err(error);
        }
        debug!(%error, path = ?self.path, "cannot be replaced; writing through it");
        self.write_through(bytes)
    }

    /// Writes into the file as it stands. A reader in between sees an empty file, which to libc
    /// means 127.0.0.1.
    fn write_through(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .custom_flags(NEVER_WAITS)
            .open(&self.path)?;
        file.set_len(0)?;
        file.write_all(bytes)
    }
}

/// What was there before.
#[derive(Debug)]
pub(super) enum Original {
    Nothing,
    /// It waits under its other name.
    Kept,
    /// The bytes of a file that could not be moved, and a copy of them under the other name, for
    /// the next proxify if this one is killed.
    Copied(Vec<u8>),
    /// The bytes of a file beside which nothing can be written.
    Content(Vec<u8>),
}

/// What stands there in the place of our text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    Nothing,
    Link { target: PathBuf },
    File { bytes: u64 },
    Other,
}

impl std::fmt::Display for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Link { target } => write!(f, "a link to {target:?}"),
            Self::File { bytes } => write!(f, "a file of {bytes} bytes"),
            Self::Other => f.write_str("something that is no file"),
        }
    }
}

/// Every program must be able to read it, whatever the umask.
pub(super) const MODE: u32 = 0o644;

/// Whether writing through the file may work where replacing it does not: it is a mount point
/// (EBUSY, EXDEV), or its directory cannot be written.
fn is_in_the_way(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ResourceBusy
            | ErrorKind::CrossesDevices
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::PermissionDenied
    )
}

/// A FIFO that somebody left there must stop nobody.
const NEVER_WAITS: i32 = libc::O_NONBLOCK | libc::O_NOCTTY;

/// Opens a regular file.
fn reader(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(NEVER_WAITS)
        .open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(
            ErrorKind::InvalidInput,
            "it is no regular file",
        )),
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    remove(path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.write_all(bytes)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
