//! The enclave's resolv.conf: it names the stub while that serves, and is put back afterwards.
//!
//! Images bring all kinds: a dangling link, a file of mode 0444, none at all, a bind mount of the
//! container runtime. The new text is renamed over the old file, so that no reader sees half of
//! it, and the old one, link or file, waits beside it under another name with all that belongs to
//! it. Where rename cannot work, since the file is a mount point, the text is written through it,
//! and a copy of what it held waits there.
//!
//! At the end a reader finds what it would have found before us. What other programs wrote in the
//! meantime ([`Written::check`]) was put right, and does not come back. The kept file also outlives
//! a proxify that is killed: the next one puts it back.

use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use tracing::{debug, error};
use vpc::Found;

pub(crate) use self::place::Foreign;
use self::place::{Original, Place};

mod place;

/// The line by which a text of ours is known.
const HEADER: &str =
    "# Written by proxify, whose stub answers here; the file from before is put back at the end.\n";

/// Seconds that a client waits, where nobody says otherwise: libc's own default, beyond the 4 s
/// that the stub takes at most.
const TIMEOUT: u8 = 5;

/// Times that a client asks, where nobody says otherwise: libc's own default.
const ATTEMPTS: u8 = 2;

/// A resolv.conf that is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct Written {
    place: Place,
    /// What has to stand there.
    text: String,
    /// What was there before.
    original: Original,
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
    let file = place.original();
    match vpc::read_resolv_conf(file) {
        Ok(text) => text,
        Err(error) => {
            debug!(?file, %error, "the image has no resolv.conf to read");
            Vec::new()
        }
    }
}

impl Written {
    /// Puts `text` at `path`, and keeps what was there. After a `takeover`, from an owner that this
    /// process has outlived, what that one kept and did not put back is the original.
    ///
    /// # Errors
    ///
    /// Nothing there can be written; the error says what to do.
    pub(crate) fn write(path: &Path, text: &str, takeover: bool) -> Result<Self, ResolvConfError> {
        let place = Place::new(path);
        let original = place
            .keep(takeover)
            .map_err(|source| refused(&place, source))?;
        if let Err(source) = place.put(text.as_bytes()) {
            let _ = place.unkeep(&original);
            return Err(refused(&place, source));
        }
        Ok(Self {
            place,
            text: text.to_owned(),
            original,
        })
    }

    /// Puts another text of ours in its place. If that fails, [`Self::check`] misses it, and
    /// [`Self::restore`] tries again.
    ///
    /// # Errors
    ///
    /// As [`Self::write`].
    pub(crate) fn rewrite(&mut self, text: String) -> Result<(), ResolvConfError> {
        if self.text == text {
            return Ok(());
        }
        self.text = text;
        self.restore()
    }

    /// Whether a reader finds our text there; what stands there if not. It is read whole each
    /// time, about 20 µs: a size and a time can be the same, and a link or a mount can change what
    /// is read while both stay.
    pub(crate) fn check(&self) -> Result<(), Foreign> {
        self.place.holds(self.text.as_bytes())
    }

    /// Puts our text there again.
    ///
    /// # Errors
    ///
    /// As [`Self::write`].
    pub(crate) fn restore(&self) -> Result<(), ResolvConfError> {
        let put = self.place.put(self.text.as_bytes());
        put.map_err(|source| refused(&self.place, source))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.place.path
    }
}

impl Drop for Written {
    /// Puts back what was there: content, mode, owner, link, or nothing.
    fn drop(&mut self) {
        match self.place.unkeep(&self.original) {
            Ok(()) => debug!(path = ?self.place.path, "put back"),
            Err(error) => error!(path = ?self.place.path, %error, "cannot be put back as it was"),
        }
    }
}

fn refused(place: &Place, source: io::Error) -> ResolvConfError {
    ResolvConfError {
        path: place.path.clone(),
        source,
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
