//! RESOLV_CONF (0xD1): the parent's resolv.conf as our relay tells it.
//!
//! After the reply the relay sends frames of u16 length and resolv.conf text: one at once, one on
//! each change, and one as a heartbeat. All of it is input from an adversary: a frame is bounded,
//! parsed into values, and no byte of it is kept.
//!
//! The connection is kept over restarts of the relay. Until it is back, what it said last stays in
//! effect.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use link::{Command, Parent, RequestError, frame};
use resolv::ResolvConf;
use tokio::io::AsyncRead;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use crate::discover::publish;
use crate::nameservers::DNS_PORT;
use crate::{Found, Source};

/// How often the relay sends a frame when nothing changes, in milliseconds.
const HEARTBEAT_MS: u64 = 5_000;

/// Silence after which the relay counts as dead, 2.5 heartbeats: a vsock peer that is killed sends
/// nothing.
const SILENCE: Duration = Duration::from_millis(HEARTBEAT_MS * 5 / 2);

/// Dialling and the reply: what a step of the chain may cost when it hangs.
const REQUEST: Duration = Duration::from_secs(1);

/// The longest frame, in bytes: the wire's limit.
const MAX_FRAME: usize = 16 * 1024;

/// The first wait before dialling again; it doubles up to [`LONGEST_PAUSE`]. The first attempt
/// after the loss of a connection that lasted that long waits for nothing.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest wait before dialling again: a relay that starts late is seen within a second.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Publishes what the relay says, for ever.
pub(crate) async fn follow(parent: &Parent, found: &watch::Sender<Option<Arc<Found>>>) {
    let mut pause = Pause::default();
    loop {
        let lost = match request(parent).await {
            Ok(stream) => {
                debug!(%parent, "RESOLV_CONF granted");
                read_frames(stream, found, &mut pause).await
            }
            Err(lost) => lost,
        };
        pause.log(parent, &lost);
        pause.wait().await;
    }
}

async fn request(parent: &Parent) -> Result<link::Stream, Lost> {
    match timeout(REQUEST, parent.request(Command::ResolvConf)).await {
        Ok(accepted) => Ok(accepted?.stream),
        Err(_) => Err(Lost::Hung),
    }
}

/// Takes frames until the connection is lost.
async fn read_frames<S>(
    stream: S,
    found: &watch::Sender<Option<Arc<Found>>>,
    pause: &mut Pause,
) -> Lost
where
    S: AsyncRead + Unpin,
{
    let since = Instant::now();
    let mut frames = frame::Reader::new(stream);
    loop {
        match timeout(SILENCE, frames.next()).await {
            Ok(Ok(Some(frame))) if frame.len() > MAX_FRAME => {
                return Lost::Oversized {
                    length: frame.len(),
                };
            }
            Ok(Ok(Some(frame))) => take(frame, found),
            Ok(Ok(None)) => return Lost::Closed,
            Ok(Err(source)) => return Lost::Read { source },
            Err(_) => return Lost::Silent,
        }
        pause.frame(since.elapsed());
    }
}

fn take(frame: &[u8], found: &watch::Sender<Option<Arc<Found>>>) {
    let conf = ResolvConf::parse(frame);
    let (usable, unusable): (Vec<_>, Vec<_>) = conf
        .nameservers
        .iter()
        .partition(|&&ip| ResolvConf::usable(ip));
    if !unusable.is_empty() {
        debug!(
            ?unusable,
            "nameservers of the parent not taken: not reachable from another host"
        );
    }
    if usable.is_empty() {
        debug!(
            bytes = frame.len(),
            "the parent's resolv.conf names no usable nameserver; what was known stays"
        );
        return;
    }
    let nameservers = usable
        .into_iter()
        .map(|&ip| SocketAddr::new(ip, DNS_PORT))
        .collect();
    let ResolvConf {
        search,
        timeout,
        attempts,
        ..
    } = conf;
    publish(
        found,
        Found {
            nameservers,
            search,
            timeout,
            attempts,
            source: Source::Parent,
        },
    );
}

/// Why there is no connection to take frames from.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("the parent did not answer RESOLV_CONF within {} s", REQUEST.as_secs())]
    Hung,
    #[error("the relay closed RESOLV_CONF; it may be restarting")]
    Closed,
    #[error("reading RESOLV_CONF failed: {source}")]
    Read { source: std::io::Error },
    #[error("the relay sent nothing for {} ms", SILENCE.as_millis())]
    Silent,
    #[error("the relay sent a frame of {length} bytes, above the limit of {MAX_FRAME}")]
    Oversized { length: usize },
}

/// The wait between two attempts, and what was said of them: one warning a loss, the rest for
/// debugging.
#[derive(Debug, Default)]
struct Pause {
    failures: u32,
    warned: bool,
}

impl Pause {
    /// A frame has come on a connection of this age.
    fn frame(&mut self, age: Duration) {
        if std::mem::take(&mut self.warned) {
            info!("the relay answers again");
        }
        // Not for a young one: a parent that closes after each frame would have us dial without
        // pause.
        if age >= LONGEST_PAUSE {
            self.failures = 0;
        }
    }

    fn log(&mut self, parent: &Parent, lost: &Lost) {
        if self.failures == 1 && !self.warned {
            warn!(%parent, %lost, "the parent's nameservers are not known now; asking each second");
            self.warned = true;
        } else {
            debug!(%parent, %lost, "RESOLV_CONF lost");
        }
    }

    async fn wait(&mut self) {
        if let Some(doublings) = self.failures.checked_sub(1) {
            let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
            sleep(FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)).await;
        }
        self.failures = self.failures.saturating_add(1);
    }
}

#[cfg(test)]
mod tests;
