//! The enclave's resolv.conf: it names the stub while that serves, and is put back afterwards.
//!
//! Images bring all kinds: a dangling link, a file of mode 0444, none at all, a bind mount of the
//! container runtime. The new text is renamed over the old file, so that no reader sees half of
//! it, and the old one, link or file, waits beside it under another name with all that belongs to
//! it. Where rename cannot work, since the file is a mount point, the text is written through it.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tracing::{debug, error, warn};
use vpc::Found;

/// The line by which a text of ours is known.
const HEADER: &str =
    "# Written by proxify, whose stub answers here; the file from before is put back at the end.\n";

/// Every program must be able to read it, whatever the umask.
const MODE: u32 = 0o644;

/// Seconds that a client waits, where nobody says otherwise: libc's own default, beyond the 4 s
/// that the stub takes at most.
const TIMEOUT: u8 = 5;

/// Times that a client asks, where nobody says otherwise: libc's own default.
const ATTEMPTS: u8 = 2;

/// A resolv.conf that is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct Written {
    place: Place,
    /// What was there; `None` once it is back.
    original: Option<Original>,
}

/// The text that sends every program to the stub: one nameserver (musl asks all that it finds at
/// once), and only values that were parsed, never bytes of somebody's file.
pub(crate) fn render(stub: IpAddr, found: Option<&Found>) -> String {
    let mut text = HEADER.to_owned();
    let search = found
        .map(|found| found.search.join(" "))
        .unwrap_or_default();
    let timeout = found.and_then(|found| found.timeout).unwrap_or(TIMEOUT);
    let attempts = found.and_then(|found| found.attempts).unwrap_or(ATTEMPTS);
    let _ = writeln!(text, "nameserver {stub}");
    if !search.is_empty() {
        let _ = writeln!(text, "search {search}");
    }
    let _ = writeln!(
        text,
        "options timeout:{timeout} attempts:{attempts} ndots:1"
    );
    text
}

/// The text of the image's own file at `path`, if it has one: called before [`Written::write`]. Where
/// a proxify was killed, it is the text that was kept.
pub(crate) fn original(path: &Path) -> Vec<u8> {
    let place = Place::new(path);
    let file = match place.is_ours() {
        true => &place.kept,
        false => &place.path,
    };
    match vpc::read_resolv_conf(file) {
        Ok(text) => text,
        Err(error) => {
            debug!(?file, %error, "the image has no resolv.conf to read");
            Vec::new()
        }
    }
}

impl Written {
    /// Puts `text` at `path`, and keeps what was there.
    ///
    /// # Errors
    ///
    /// Nothing there can be written; the error says what to do.
    pub(crate) fn write(path: &Path, text: &str) -> Result<Self, ResolvConfError> {
        let place = Place::new(path);
        let original = match place.take(text) {
            Ok(kept) => Original::Beside { kept },
            Err(error) if is_in_the_way(&error) => {
                debug!(%error, ?path, "cannot be replaced; writing through it");
                let content = place
                    .write_through(text)
                    .map_err(|source| place.refused(source))?;
                Original::Content(content)
            }
            Err(source) => return Err(place.refused(source)),
        };
        Ok(Self {
            place,
            original: Some(original),
        })
    }

    /// Puts another text of ours in its place.
    ///
    /// # Errors
    ///
    /// As [`Self::write`].
    pub(crate) fn rewrite(&self, text: &str) -> Result<(), ResolvConfError> {
        let result = match self.original {
            Some(Original::Content(_)) => self.place.write_through(text).map(drop),
            _ => self.place.replace(text),
        };
        result.map_err(|source| self.place.refused(source))
    }
}

impl Drop for Written {
    /// Puts back what was there: content, mode, owner, link, or nothing.
    fn drop(&mut self) {
        let result = match self.original.take() {
            Some(Original::Beside { kept: true }) => fs::rename(&self.place.kept, &self.place.path),
            Some(Original::Beside { kept: false }) => remove(&self.place.path),
            Some(Original::Content(content)) => self.place.open().and_then(|mut file| {
                file.set_len(0)?;
                file.write_all(&content)
            }),
            None => Ok(()),
        };
        match result {
            Ok(()) => debug!(path = ?self.place.path, "put back"),
            Err(error) => error!(path = ?self.place.path, %error, "cannot be put back as it was"),
        }
    }
}

/// What was there before.
#[derive(Debug)]
enum Original {
    /// It waits under its other name, or there was nothing.
    Beside { kept: bool },
    /// The bytes of a file that could not be replaced.
    Content(Vec<u8>),
}

/// The file, and the two names beside it that a rename needs.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    /// The new text, until it is complete.
    new: PathBuf,
    /// The original, while ours stands in its place.
    kept: PathBuf,
}

impl Place {
    fn new(path: &Path) -> Self {
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

    /// Replaces the original for the first time; says whether there is one to keep.
    fn take(&self, text: &str) -> io::Result<bool> {
        self.write_new(text)?;
        let result = self.keep().and_then(|kept| {
            fs::rename(&self.new, &self.path)?;
            Ok(kept)
        });
        if result.is_err() {
            let _ = remove(&self.new);
        }
        result
    }

    /// Gives the original its other name. Both names stand for it until ours replaces one, so
    /// that no moment is without a resolv.conf.
    fn keep(&self) -> io::Result<bool> {
        match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        if self.is_ours() {
            // A proxify was killed here: what it kept, if anything, is the original.
            let kept = fs::symlink_metadata(&self.kept).is_ok();
            warn!(path = ?self.path, kept, "left behind by a proxify that was killed");
            return Ok(kept);
        }
        remove(&self.kept)?;
        match fs::hard_link(&self.path, &self.kept) {
            Ok(()) => Ok(true),
            Err(error) if is_in_the_way(&error) => Err(error),
            // A file system without hard links, or a kernel that forbids them here.
            Err(_) => fs::rename(&self.path, &self.kept).map(|()| true),
        }
    }

    fn is_ours(&self) -> bool {
        let mut start = vec![0; HEADER.len()];
        let link = fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.is_symlink());
        let read = File::open(&self.path).and_then(|mut file| file.read_exact(&mut start));
        !link && read.is_ok() && start == HEADER.as_bytes()
    }

    fn replace(&self, text: &str) -> io::Result<()> {
        self.write_new(text)?;
        fs::rename(&self.new, &self.path)
    }

    fn write_new(&self, text: &str) -> io::Result<()> {
        remove(&self.new)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&self.new)?;
        file.set_permissions(Permissions::from_mode(MODE))?;
        file.write_all(text.as_bytes())
    }

    /// Writes into the file as it stands; gives what it held. A reader in between sees an empty
    /// file, which to libc means 127.0.0.1.
    fn write_through(&self, text: &str) -> io::Result<Vec<u8>> {
        let mut file = self.open()?;
        let content = fs::read(&self.path)?;
        file.set_len(0)?;
        file.write_all(text.as_bytes())?;
        Ok(content)
    }

    fn open(&self) -> io::Result<File> {
        OpenOptions::new().write(true).open(&self.path)
    }

    fn refused(&self, source: io::Error) -> ResolvConfError {
        ResolvConfError {
            path: self.path.clone(),
            source,
        }
    }
}

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

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A resolv.conf that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot write {}: {source}; mount a tmpfs or a writable file there, name another with \
     --resolv-conf PATH, or let the image's own say `nameserver 127.0.0.1` and run with \
     --resolv-conf none", path.display()
)]
pub(crate) struct ResolvConfError {
    path: PathBuf,
    source: io::Error,
}

#[cfg(test)]
mod tests;
