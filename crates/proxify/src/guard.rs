//! Keeps resolv.conf ours while other programs write it too: a DHCP hook, a container engine, the
//! `resolv_conf_getter_client` of old images.
//!
//! The file is read every [`CHECK_EVERY`] and put right if it is not our text. It is not watched:
//! inotify follows one inode, and tells nothing of what is mounted over the path or done to the
//! target of a link. A program that writes again and again meets the same answer, and costs one
//! line of log every [`TELL_EVERY`]. What it wrote is forgotten: at the end the file from before us
//! is put back.

use std::path::Path;
use std::time::Duration;

use link::Seldom;
use tokio::time::Instant;
use tracing::{error, warn};
use vpc::Found;

use crate::cli::ResolvConfFile;
use crate::resolv_conf::{Foreign, ResolvConfError, Written, render};

/// Between two looks at the file: half of the 2 s within which it is to be right again.
pub(crate) const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Between two lines about a program that does not stop.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// resolv.conf while the stub serves.
#[derive(Debug)]
pub(crate) struct Guard {
    file: ResolvConfFile,
    written: Written,
    /// What has happened since the last report.
    untold: Option<Report>,
    /// When that was.
    told: Option<Instant>,
    /// Of search lists that could not be written.
    stale: Seldom,
}

/// What is to be said of other programs.
#[derive(Debug)]
pub(crate) struct Report {
    /// Times that the file was not ours, since the last report.
    times: u32,
    /// What stood there the last time.
    foreign: Foreign,
    /// Whether ours stands there again.
    restored: Result<(), ResolvConfError>,
}

impl Guard {
    /// Writes the file.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub(crate) fn new(file: ResolvConfFile, takeover: bool) -> Result<Self, ResolvConfError> {
        let text = render(file.nameserver, None);
        let written = Written::write(&file.path, &text, takeover)?;
        Ok(Self {
            file,
            written,
            untold: None,
            told: None,
            stale: Seldom::default(),
        })
    }

    /// Brings the search list and options up to date. The stub's address stands there already, so
    /// a failure costs no names.
    pub(crate) fn rewrite(&mut self, found: &Found) {
        let text = render(self.file.nameserver, Some(found));
        if let Err(failure) = self.written.rewrite(text)
            && let Some(left_out) = self.stale.admit(Instant::now())
        {
            error!(%failure, left_out, "the search list stays as it was");
        }
    }

    /// Looks at the file, puts it right and says so.
    pub(crate) fn check(&mut self, now: Instant) {
        if let Some(report) = self.look(now) {
            report.log(self.written.path());
        }
    }

    fn look(&mut self, now: Instant) -> Option<Report> {
        if let Err(foreign) = self.written.check() {
            let before = self.untold.as_ref().map_or(0, |report| report.times);
            self.untold = Some(Report {
                times: before.saturating_add(1),
                foreign,
                restored: self.written.restore(),
            });
        }
        if self.told.is_some_and(|told| now < told + TELL_EVERY) {
            return None;
        }
        let report = self.untold.take()?;
        self.told = Some(now);
        Some(report)
    }
}

impl Report {
    fn log(&self, path: &Path) {
        let Self { times, foreign, .. } = self;
        let path = path.display();
        match &self.restored {
            Ok(()) => warn!(
                %path, %foreign, times,
                "another program put its own there; it names the stub again (--resolv-conf none leaves it \
                 alone)"
            ),
            Err(failure) => error!(
                %path, %foreign, times, %failure,
                "another program put its own there, and programs do not ask the stub"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
