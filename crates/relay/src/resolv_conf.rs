//! RESOLV_CONF (0xD1): the parent's nameservers, search list and options, now and as they change.
//!
//! One watcher reads the file every [`REREAD`] for all enclaves: links and mounts defeat inotify. A
//! nameserver on loopback (systemd-resolved's 127.0.0.53) is of no use to an enclave, so the
//! relay looks behind it, into the file where systemd-resolved lists the real ones. What is sent
//! is rendered anew by `resolv`, as one frame: on connect, on change, and as a heartbeat.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use link::{Seldom, frame};
use resolv::{MAX_NAMESERVERS, ResolvConf};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tracing::{info, warn};

use crate::counters::Count;
use crate::server::drained;

/// How often the file is read.
pub(crate) const REREAD: Duration = Duration::from_secs(2);

/// How often a frame is sent when nothing changes: a vsock peer that is killed sends nothing, so
/// the enclave tells a quiet relay from a dead one by this.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long an enclave may take nothing before it counts as gone.
pub(crate) const STALLED: Duration = Duration::from_secs(10);

/// The longest frame, in bytes: the wire's limit. At most 8 addresses and 6 names are sent, below
/// 3 KiB.
pub(crate) const MAX_FRAME: usize = 16 * 1024;

/// Where the parent's nameservers are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The parent's resolv.conf.
    pub file: PathBuf,
    /// Where systemd-resolved lists the nameservers behind its loopback address.
    pub behind_loopback: PathBuf,
}

impl Default for Files {
    fn default() -> Self {
        Self {
            file: "/etc/resolv.conf".into(),
            behind_loopback: "/run/systemd/resolve/resolv.conf".into(),
        }
    }
}

/// What is sent; `None` until the file has been read for the first time.
pub(crate) type Text = Option<Arc<str>>;

/// Reads the files for ever and publishes each change.
pub(crate) async fn watch(files: Files, texts: watch::Sender<Text>, failures: Arc<Count>) {
    let files = Arc::new(files);
    let mut ticks = interval(REREAD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = Seldom::default();
    loop {
        ticks.tick().await;
        let reader = Arc::clone(&files);
        // A file system that hangs stops this task; the heartbeats go on with the last text.
        let read = tokio::task::spawn_blocking(move || reader.read()).await;
        match read.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            Ok(text) => {
                publish(text, &files.file, &texts);
            }
            Err(error) => {
                failures.add(1);
                if let Some(left_out) = failing.admit(Instant::now()) {
                    let file = files.file.display();
                    warn!(
                        %file, %error, left_out,
                        "cannot read it; what enclaves were told before stays"
                    );
                }
                // With nothing known, an enclave is told so at once and tries its next source.
                texts.send_if_modified(|text| {
                    let first = text.is_none();
                    text.get_or_insert_with(|| "".into());
                    first
                });
            }
        }
    }
}

fn publish(text: String, file: &Path, texts: &watch::Sender<Text>) {
    let changed = texts.send_if_modified(|known| {
        let changed = known.as_deref() != Some(text.as_str());
        if changed {
            *known = Some(text.as_str().into());
        }
        changed
    });
    if changed && text.is_empty() {
        let file = file.display();
        warn!(%file, "it names no nameserver that an enclave could use (loopback is none)");
    } else if changed {
        let conf = text.trim_end().replace('\n', "; ");
        info!(file = %file.display(), %conf, "nameservers for the enclaves");
    }
}

impl Files {
    /// The text to send, from both files.
    fn read(&self) -> io::Result<String> {
        let mut conf = ResolvConf::parse(&bounded(&self.file)?);
        let mut nameservers: Vec<IpAddr> = Vec::new();
        for address in std::mem::take(&mut conf.nameservers) {
            if !address.is_loopback() {
                nameservers.push(address);
            } else if let Ok(text) = bounded(&self.behind_loopback) {
                let behind = ResolvConf::parse(&text);
                nameservers.extend(behind.nameservers);
                if conf.search.is_empty() {
                    conf.search = behind.search;
                }
            }
        }
        for address in nameservers {
            let known = conf.nameservers.contains(&address);
            if ResolvConf::usable(address) && !known && conf.nameservers.len() < MAX_NAMESERVERS {
                conf.nameservers.push(address);
            }
        }
        Ok(conf.render())
    }
}

/// A file's head, as much as `resolv` looks at; one byte more tells it that the file goes on.
fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let most = u64::try_from(resolv::MAX_TEXT)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    File::open(path)?.take(most).read_to_end(&mut text)?;
    Ok(text)
}

/// Serves one subscriber until it ends the connection or the relay drains.
pub(crate) async fn serve<S>(
    stream: S,
    mut texts: watch::Receiver<Text>,
    mut drain: watch::Receiver<bool>,
) -> Result<(), FeedError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut read, mut write) = tokio::io::split(stream);
    let mut byte = [0; 1];
    texts.mark_changed();
    let mut heartbeat = Instant::now() + HEARTBEAT;
    loop {
        tokio::select! {
            changed = texts.changed() => if changed.is_err() { break },
            () = sleep_until(heartbeat) => {}
            read = read.read(&mut byte) => match read.map_err(FeedError::Read)? {
                0 => break,
                _ => return Err(FeedError::NotAFeed),
            },
            () = drained(&mut drain) => break,
        }
        let text = texts.borrow_and_update().clone();
        if let Some(text) = text {
            debug_assert!(text.len() <= MAX_FRAME);
            let written = timeout(STALLED, frame::write(&mut write, text.as_bytes())).await;
            written
                .map_err(|_| FeedError::Stalled)?
                .map_err(FeedError::Write)?;
        }
        heartbeat = Instant::now() + HEARTBEAT;
    }
    write.shutdown().await.map_err(FeedError::Write)
}

/// Why a subscriber was closed before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FeedError {
    #[error("bytes on a connection that only the relay writes to")]
    NotAFeed,
    #[error("it took nothing for {} s", STALLED.as_secs())]
    Stalled,
    #[error("reading: {0}")]
    Read(io::Error),
    #[error("writing: {0}")]
    Write(io::Error),
}

#[cfg(test)]
mod tests;
