//! One connection of the link, from its handshake to the end of its command.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use link::socks::server::{self, HandshakeError, Request};
use link::{Command, Reply, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use tracing::debug;

use crate::admission::Seat;
use crate::counters::Outcome;
use crate::enclaves;
use crate::policy::Denied;
use crate::server::{Relay, drained};
use crate::{bind, dns, reporter, resolv_conf, tunnel};

/// How long a refused peer gets to read its reply and close.
const LINGER: Duration = Duration::from_secs(1);

/// Serves the connection to its end. What goes wrong is one log line.
pub(crate) async fn run(mut stream: Stream, seat: Seat, relay: Arc<Relay>) {
    let peer = seat.peer();
    let mut drain = relay.drain.clone();
    let handshake = timeout(relay.limits.handshake, read_request(&mut stream));
    let request = tokio::select! {
        request = handshake => request,
        () = drained(&mut drain) => return,
    };
    let request = match request {
        Ok(Ok(request)) => request,
        // A probe for life, or an enclave that changed its mind: nothing to complain about.
        Ok(Err(HandshakeError::Closed)) => return debug!(%peer, "closed during its handshake"),
        Ok(Err(error)) => {
            seat.counters().handshake_failures.add(1);
            if let HandshakeError::Name { name } = &error {
                debug!(%peer, name, "asked for a name");
            }
            relay.complain(Some(peer), "handshake refused", &error);
            return refuse(stream, error.reply()).await;
        }
        Err(_) => {
            seat.counters().handshake_failures.add(1);
            let seconds = relay.limits.handshake.as_secs();
            return relay.complain(
                Some(peer),
                "handshake stalled",
                &format_args!("{seconds} s"),
            );
        }
    };
    let command = request.command;
    debug!(%peer, "{command}");
    match serve(stream, request, &seat, &relay).await {
        Ok(()) => {}
        Err(ConnectionError::Denied { to, denied }) => relay.refused(peer, command, to, &denied),
        Err(error) => relay.complain(
            Some(peer),
            error.kind(),
            &format_args!("{command}: {error}"),
        ),
    }
}

/// The greeting of a CONNECT that came with it is answered by one write with the reply, which wakes
/// the enclave once.
async fn read_request(stream: &mut Stream) -> Result<Request, HandshakeError> {
    let mut request = Request::read(stream).await?;
    if !matches!(request.command, Command::Connect(_)) {
        request.tell_method(stream).await?;
    }
    Ok(request)
}

async fn serve(
    mut stream: Stream,
    request: Request,
    seat: &Seat,
    relay: &Relay,
) -> Result<(), ConnectionError> {
    let drain = relay.drain.clone();
    let command = request.command;
    let became = |outcome| seat.counters().requested(command, outcome);
    match command {
        Command::Connect(to) => {
            if let Err(error) = allowed(to, relay) {
                became(Outcome::Denied);
                refuse_unanswered(stream, request, error.reply()).await;
                return Err(error);
            }
            match tunnel::connect(to, &relay.limits).await {
                Ok((target, bound)) => {
                    became(Outcome::Served);
                    let open = seat.counters().tunnel();
                    // How a tunnel ends is the business of its two ends.
                    let end =
                        tunnel::serve(stream, request, target, bound, &relay.limits, &open).await;
                    debug!(peer = %seat.peer(), "{command} ended: {end:?}");
                }
                Err(error) => {
                    became(Outcome::Failed);
                    // Closed ports and dead hosts are everyday life for APP, which is told.
                    debug!(peer = %seat.peer(), "{command} failed: {error}");
                    refuse_unanswered(stream, request, error.reply()).await;
                }
            }
        }
        Command::Dns(nameserver) => {
            if let Err(error) = allowed(nameserver, relay) {
                became(Outcome::Denied);
                refuse(stream, Some(error.reply())).await;
                return Err(error);
            }
            became(Outcome::Served);
            grant(&mut stream, relay).await?;
            dns::serve(stream, nameserver, seat, relay).await?;
        }
        Command::ResolvConf => {
            became(Outcome::Served);
            grant(&mut stream, relay).await?;
            resolv_conf::serve(stream, relay.resolv_conf.clone(), drain).await?;
        }
        Command::Report => {
            let place = match relay.enclaves.enter(seat.peer()) {
                Ok(place) => place,
                Err(error) => {
                    became(Outcome::Failed);
                    refuse(stream, Some(Reply::GeneralFailure)).await;
                    return Err(error.into());
                }
            };
            became(Outcome::Served);
            grant(&mut stream, relay).await?;
            reporter::serve(stream, place, drain).await?;
        }
        Command::Bind(asked) => {
            let place = match relay.ports.queue(asked, seat).await {
                Ok(place) => place,
                Err(error) => {
                    became(match error.reply() {
                        Reply::NotAllowed => Outcome::Denied,
                        _ => Outcome::Failed,
                    });
                    refuse(stream, Some(error.reply())).await;
                    return Err(error.into());
                }
            };
            became(Outcome::Served);
            let bound = place.bound();
            let mut drain = drain;
            let client = tokio::select! {
                client = bind::wait(&mut stream, asked, place, &relay.limits) => client?,
                () = drained(&mut drain) => None,
            };
            let Some(client) = client else { return Ok(()) };
            let detail = format!("from {} on {bound}", client.address);
            relay.report(seat.peer(), "connection", &detail);
            let open = seat.counters().tunnel();
            let count = |out, into| open.moved(out, into);
            let end = link::carry_counted(stream, Stream::Tcp(client.stream), count).await;
            debug!(peer = %seat.peer(), client = %client.address, "{command} ended: {end:?}");
        }
    }
    Ok(())
}

/// Asks the policy about an address, with the parent's own as they are now.
fn allowed(to: SocketAddr, relay: &Relay) -> Result<(), ConnectionError> {
    let own = relay
        .own
        .at(Instant::now())
        .map_err(ConnectionError::OwnAddresses)?;
    relay
        .policy
        .judge(to, &own)
        .map_err(|denied| ConnectionError::Denied { to, denied })
}

/// Says that the stream is the command's from here.
async fn grant(stream: &mut Stream, relay: &Relay) -> Result<(), ConnectionError> {
    let reply = server::write_reply(stream, Reply::Succeeded, link::socks::UNSPECIFIED);
    match timeout(relay.limits.handshake, reply).await {
        Ok(written) => written.map_err(ConnectionError::Reply),
        Err(_) => Err(ConnectionError::Reply(io::ErrorKind::TimedOut.into())),
    }
}

/// Sends a refusal and lets the peer read it: closing with bytes unread would reset the
/// connection, and the reply could be lost.
async fn refuse(mut stream: Stream, reply: Option<Reply>) {
    let Some(reply) = reply else { return };
    let farewell = async {
        server::write_refusal(&mut stream, reply).await?;
        stream.shutdown().await?;
        let mut ignored = [0; 1024];
        while stream.read(&mut ignored).await? > 0 {}
        io::Result::Ok(())
    };
    // Whether the peer heard it is the peer's concern.
    let _ = timeout(LINGER, farewell).await;
}

/// As [`refuse`], of a request whose greeting may not have been answered.
async fn refuse_unanswered(mut stream: Stream, mut request: Request, reply: Reply) {
    if request.tell_method(&mut stream).await.is_ok() {
        refuse(stream, Some(reply)).await;
    }
}

/// Why a connection ended that had sent a whole request.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("{denied}")]
    Denied { to: SocketAddr, denied: Denied },
    #[error("cannot read the parent's own addresses, so nothing is allowed: {0}")]
    OwnAddresses(io::Error),
    #[error(transparent)]
    Port(#[from] bind::QueueError),
    #[error(transparent)]
    Bind(#[from] bind::WaitError),
    #[error("cannot send the reply: {0}")]
    Reply(io::Error),
    #[error(transparent)]
    Dns(#[from] dns::DnsError),
    #[error(transparent)]
    Feed(#[from] resolv_conf::FeedError),
    #[error(transparent)]
    NoPlace(#[from] enclaves::Full),
    #[error(transparent)]
    Report(#[from] reporter::ReportError),
}

impl ConnectionError {
    /// The line's first words, by which floods are counted.
    fn kind(&self) -> &'static str {
        match self {
            Self::Denied { .. } => "not allowed",
            Self::OwnAddresses(_) => "not judged",
            Self::Port(_) => "port not opened",
            Self::NoPlace(_) => "not listened to",
            Self::Reply(_) | Self::Bind(_) | Self::Dns(_) | Self::Feed(_) | Self::Report(_) => {
                "connection closed"
            }
        }
    }

    /// What the enclave is told, where the request is refused.
    fn reply(&self) -> Reply {
        match self {
            Self::Denied { .. } => Reply::NotAllowed,
            _ => Reply::GeneralFailure,
        }
    }
}
