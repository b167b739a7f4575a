//! What the enclave holds itself: the override file, and the resolv.conf baked into the image.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::{Found, Source};

/// Where the `proxify` of old images looked for nameservers of the operator's, and so do we.
pub const OVERRIDE_FILE: &str = "/etc/resolv_override.conf";

/// The enclave's own files.
#[derive(Clone, Debug)]
pub struct Files {
    /// A resolv.conf that wins over what the enclave is told; it may come and go.
    pub override_file: PathBuf,
    /// The text of the image's own resolv.conf, as it was before ours took its place; empty if the
    /// image has none.
    pub image: Vec<u8>,
}

impl Files {
    /// What the override file names.
    pub(crate) fn overriding(&self) -> Result<Found, FileError> {
        // A few lines of a local file: no thread is worth it.
        let text = read_resolv_conf(&self.override_file).map_err(|source| match source.kind() {
            ErrorKind::NotFound => FileError::Absent,
            _ => FileError::Read { source },
        })?;
        Found::read(&text, Source::Override).ok_or(FileError::NoNameserver)
    }

    /// What the image's resolv.conf names.
    pub(crate) fn baked_in(&self) -> Result<Found, FileError> {
        if self.image.is_empty() {
            return Err(FileError::Absent);
        }
        Found::read(&self.image, Source::Image).ok_or(FileError::NoNameserver)
    }
}

/// The head of a resolv.conf, as much of it as `resolv` looks at; one byte more tells it that the
/// file goes on.
///
/// # Errors
///
/// What reading gives, and `InvalidInput` for what is no regular file.
pub fn read_resolv_conf(path: &Path) -> io::Result<Vec<u8>> {
    // A FIFO would never end.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    let most = u64::try_from(resolv::MAX_TEXT)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let mut text = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut text)?;
    Ok(text)
}

/// Why a file was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("there is none")]
    Absent,
    #[error("it cannot be read: {source}")]
    Read { source: io::Error },
    #[error("it names no nameserver that can be asked from another host")]
    NoNameserver,
}
