//! SOCKS5 without authentication (RFC 1928), both sides, as the old `proxify` spoke it.
//!
//! ```text
//! client  05 01 00              version, one method: none        (greeting)
//!         05 CMD 00 ATYP ADDR PORT                               (request, in the same write)
//! server  05 00                 method taken
//!         05 REP 00 ATYP ADDR PORT                               (reply)
//! ```
//!
//! The client does not wait for the method before it asks, so a request costs one round trip.
//! Three commands stand in the range that RFC 1928 leaves unassigned, as Tor's RESOLVE (0xF0)
//! does: DNS (0xD0), RESOLV_CONF (0xD1) and REPORT (0xD2). Addresses are IPv4 (ATYP 1) or IPv6
//! (ATYP 4); a name (ATYP 3) is refused with reply 8, since names are resolved in the enclave.
//!
//! BIND has two replies: the bound address at once, and the client's when a connection has come in.
//! The old `proxify` reads fixed sizes there: 10 bytes for the first, so to a request in IPv4 it is in
//! IPv4, and 22 for the second, which is always in IPv6. It dials again whenever a BIND ends.

pub mod client;
pub mod server;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// What the enclave asks of the parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// CONNECT (0x01): a TCP connection from the parent to this address.
    Connect(SocketAddr),
    /// BIND (0x02): the parent listens here and hands one connection in. An unspecified address is
    /// all of the parent's, of both families; port 0 is any that is free.
    Bind(SocketAddr),
    /// DNS (0xD0): frames to and from this nameserver.
    Dns(SocketAddr),
    /// RESOLV_CONF (0xD1): the parent's resolv.conf, now and as it changes.
    ResolvConf,
    /// REPORT (0xD2): the enclave tells how it is, and runs what the parent's operator asks for.
    Report,
}

/// How the parent answered (RFC 1928 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// 0: the stream now belongs to the command.
    Succeeded,
    /// 1: anything that has no code of its own.
    GeneralFailure,
    /// 2: the parent's policy refuses this address.
    NotAllowed,
    /// 3
    NetworkUnreachable,
    /// 4
    HostUnreachable,
    /// 5
    ConnectionRefused,
    /// 6 ("TTL expired"): nothing answered in time.
    TimedOut,
    /// 7
    CommandNotSupported,
    /// 8: a name, or an address family that the link does not carry.
    AddressTypeNotSupported,
    /// A code that RFC 1928 does not assign.
    Unassigned(u8),
}

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const NO_ACCEPTABLE_METHOD: u8 = 0xFF;
const RESERVED: u8 = 0;

const CONNECT: u8 = 0x01;
const BIND: u8 = 0x02;
const DNS: u8 = 0xD0;
const RESOLV_CONF: u8 = 0xD1;
const REPORT: u8 = 0xD2;

const ATYP_IPV4: u8 = 1;
const ATYP_NAME: u8 = 3;
const ATYP_IPV6: u8 = 4;

/// "No address", where a field must be filled (RFC 1928 has no empty address).
pub const UNSPECIFIED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

impl Command {
    /// CMD and DST of the request.
    fn fields(self) -> (u8, SocketAddr) {
        match self {
            Self::Connect(to) => (CONNECT, to),
            Self::Bind(listen) => (BIND, listen),
            Self::Dns(nameserver) => (DNS, nameserver),
            Self::ResolvConf => (RESOLV_CONF, UNSPECIFIED),
            Self::Report => (REPORT, UNSPECIFIED),
        }
    }

    /// The command of these fields, if it is one that the link knows.
    fn from_fields(command: u8, destination: SocketAddr) -> Option<Self> {
        match command {
            CONNECT => Some(Self::Connect(destination)),
            BIND => Some(Self::Bind(destination)),
            DNS => Some(Self::Dns(destination)),
            RESOLV_CONF => Some(Self::ResolvConf),
            REPORT => Some(Self::Report),
            _ => None,
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(to) => write!(f, "CONNECT {to}"),
            Self::Bind(listen) => write!(f, "BIND {listen}"),
            Self::Dns(nameserver) => write!(f, "DNS {nameserver}"),
            Self::ResolvConf => write!(f, "RESOLV_CONF"),
            Self::Report => write!(f, "REPORT"),
        }
    }
}

impl From<u8> for Reply {
    fn from(code: u8) -> Self {
        match code {
            0 => Self::Succeeded,
            1 => Self::GeneralFailure,
            2 => Self::NotAllowed,
            3 => Self::NetworkUnreachable,
            4 => Self::HostUnreachable,
            5 => Self::ConnectionRefused,
            6 => Self::TimedOut,
            7 => Self::CommandNotSupported,
            8 => Self::AddressTypeNotSupported,
            code => Self::Unassigned(code),
        }
    }
}

impl From<Reply> for u8 {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Succeeded => 0,
            Reply::GeneralFailure => 1,
            Reply::NotAllowed => 2,
            Reply::NetworkUnreachable => 3,
            Reply::HostUnreachable => 4,
            Reply::ConnectionRefused => 5,
            Reply::TimedOut => 6,
            Reply::CommandNotSupported => 7,
            Reply::AddressTypeNotSupported => 8,
            Reply::Unassigned(code) => code,
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded => write!(f, "succeeded"),
            Self::GeneralFailure => write!(f, "general failure"),
            Self::NotAllowed => write!(f, "not allowed by the relay's policy"),
            Self::NetworkUnreachable => write!(f, "network unreachable"),
            Self::HostUnreachable => write!(f, "host unreachable"),
            Self::ConnectionRefused => write!(f, "connection refused"),
            Self::TimedOut => write!(f, "timed out"),
            Self::CommandNotSupported => write!(f, "command not supported"),
            Self::AddressTypeNotSupported => write!(f, "address type not supported"),
            Self::Unassigned(code) => write!(f, "reply code {code}"),
        }
    }
}

/// Appends ATYP, address and port.
fn put_address(address: SocketAddr, out: &mut Vec<u8>) {
    match address.ip() {
        IpAddr::V4(ip) => {
            out.push(ATYP_IPV4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(ATYP_IPV6);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&address.port().to_be_bytes());
}

/// The first bytes of a stream, in few reads. No read goes beyond what is known to belong to them, for
/// what follows is the stream's next reader's.
#[derive(Debug)]
struct Head<const N: usize> {
    bytes: [u8; N],
    filled: usize,
}

impl<const N: usize> Head<N> {
    fn new() -> Self {
        Self {
            bytes: [0; N],
            filled: 0,
        }
    }

    /// What has been read.
    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }

    /// The bytes from `from` on, which must have been read.
    fn at<const M: usize>(&self, from: usize) -> [u8; M] {
        let bytes = self.bytes.get(from..).and_then(<[u8]>::first_chunk);
        bytes.copied().unwrap_or([0; M])
    }

    /// One read of what is missing to `size` bytes, which is at least one.
    async fn read(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        size: usize,
    ) -> std::io::Result<()> {
        let room = self.bytes.get_mut(self.filled..size).unwrap_or_default();
        match stream.read(room).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.filled += read;
                Ok(())
            }
        }
    }
}

/// Reads exactly `N` bytes: what follows belongs to the stream's next reader.
async fn take<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// Reads address and port after an ATYP of 1 or 4; `None` for another.
async fn take_address(
    stream: &mut (impl AsyncRead + Unpin),
    address_type: u8,
) -> std::io::Result<Option<SocketAddr>> {
    let ip: IpAddr = match address_type {
        ATYP_IPV4 => Ipv4Addr::from(take::<4>(stream).await?).into(),
        ATYP_IPV6 => Ipv6Addr::from(take::<16>(stream).await?).into(),
        _ => return Ok(None),
    };
    let port = u16::from_be_bytes(take(stream).await?);
    Ok(Some(SocketAddr::new(ip, port)))
}

/// Whether the peer has gone. One that closes with our bytes unread resets the connection.
fn is_closed(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

#[cfg(test)]
mod tests;
