//! Whether a connection goes the way that was laid for it: a few are made before APP runs, to an
//! address whose answers are faked here.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use link::{Reply, Stream};
use nix::errno::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::machinery::Way;
use crate::netfilter::Family;

/// From TEST-NET-1 (RFC 5737) and the documentation prefix (RFC 3849): nobody is there.
const NOBODY_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const NOBODY_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 2);

/// A port that answers, one that refuses, and one of a host that cannot be reached.
const OPEN: u16 = 1;
const CLOSED: u16 = 2;
const AWAY: u16 = 3;

/// All of it is on this machine, so this is a way that does not work.
const WITHIN: Duration = Duration::from_secs(2);

const WORD: &[u8; 4] = b"echo";

/// What answers in place of the relay, while it is on.
#[derive(Debug, Default)]
pub(crate) struct Fakes(AtomicBool);

impl Fakes {
    pub(crate) fn set(&self, on: bool) {
        self.0.store(on, Ordering::Relaxed);
    }

    /// The answer for an address of the self-test, if it is one and the test is running.
    pub(crate) fn answer(&self, to: SocketAddr) -> Option<Result<Stream, Reply>> {
        let nobody = to.ip() == NOBODY_V4 || to.ip() == NOBODY_V6;
        if !nobody || !self.0.load(Ordering::Relaxed) {
            return None;
        }
        Some(match to.port() {
            OPEN => echo().map_err(|_| Reply::GeneralFailure),
            CLOSED => Err(Reply::ConnectionRefused),
            _ => Err(Reply::HostUnreachable),
        })
    }
}

/// A stream on which comes back what is sent.
fn echo() -> io::Result<Stream> {
    let (near, far) = UnixStream::pair()?;
    tokio::spawn(async move {
        let (mut read, mut write) = far.into_split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    });
    Ok(Stream::Unix(near.try_into()?))
}

/// Makes the connections; the machinery must be running, with its [`Fakes`] on.
pub(crate) async fn run(family: Family, way: Way) -> Result<(), SelfTestError> {
    let ip: IpAddr = match family {
        Family::V4 => NOBODY_V4.into(),
        Family::V6 => NOBODY_V6.into(),
    };
    let failed = |what, source| SelfTestError {
        family,
        way,
        what,
        source,
    };
    let opened = within(talk(SocketAddr::new(ip, OPEN))).await;
    opened.map_err(|source| failed("a connection", source))?;
    let (refused, away) = match way {
        Way::Detour => (Errno::ECONNREFUSED, Errno::EHOSTUNREACH),
        Way::Redirect => (Errno::ECONNRESET, Errno::ECONNRESET),
    };
    for (port, what, errno) in [(CLOSED, "a refusal", refused), (AWAY, "an error", away)] {
        match within(talk(SocketAddr::new(ip, port))).await {
            Err(error) if error.raw_os_error() == Some(errno as i32) => {}
            Err(error) => return Err(failed(what, error)),
            Ok(()) => return Err(failed(what, io::Error::other("connected"))),
        }
    }
    Ok(())
}

async fn within(talk: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    match timeout(WITHIN, talk).await {
        Ok(done) => done,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn talk(to: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(to).await?;
    if stream.peer_addr()? != to {
        return Err(io::Error::other("it has another peer"));
    }
    stream.write_all(WORD).await?;
    let mut back = [0; WORD.len()];
    stream.read_exact(&mut back).await?;
    match &back == WORD {
        true => Ok(()),
        false => Err(io::Error::other("other bytes came back")),
    }
}

/// What did not pass.
#[derive(Debug, thiserror::Error)]
#[error("{way} does not work here for {family}: {what} did not pass: {source}")]
pub struct SelfTestError {
    family: Family,
    way: Way,
    what: &'static str,
    source: io::Error,
}
