//! The parent's side: greeting and request in, reply out.
//!
//! No read goes beyond what the request must have, so a client may send a byte at a time or
//! everything at once, and bytes after the request stay on the stream for the command. Sizes are
//! bounded by the protocol's own length bytes and the limits below; the caller sets the deadline.

use std::future::ready;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{
    ATYP_IPV4, ATYP_IPV6, ATYP_NAME, Command, Head, NO_ACCEPTABLE_METHOD, NO_AUTHENTICATION,
    RESERVED, Reply, UNSPECIFIED, VERSION, is_closed, put_address, take_address,
};

/// Authentication methods a greeting may offer. IANA has assigned ten; clients offer one to four.
pub const MAX_METHODS: u8 = 16;

/// The longest name of an ATYP 3 request that is read to its end, in bytes (RFC 1035 §2.3.4).
pub const MAX_NAME: u8 = 253;

/// A greeting that offers one method, in bytes; one that offers none is refused.
const LEAST_GREETING: usize = 3;

/// The shortest request, in bytes: an empty name and a port.
const LEAST_REQUEST: usize = 7;

/// Greeting and request within the limits.
const LONGEST: usize = 2 + MAX_METHODS as usize + 4 + 1 + MAX_NAME as usize + 2;

/// Reads greeting and request, and answers the greeting.
///
/// # Errors
///
/// See [`HandshakeError`]; [`HandshakeError::reply`] says what to answer before closing.
pub async fn read_request<S>(stream: &mut S) -> Result<Command, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = Request::read(stream).await?;
    request.tell_method(stream).await?;
    Ok(request.command)
}

/// A request whose client may not know the method yet. One that has asked already does not wait for
/// it: it can go out in one write with the reply, and wakes the client once.
#[derive(Debug)]
pub struct Request {
    /// What the client asks.
    pub command: Command,
    method: Owed,
}

/// What is still to be sent of the answer to a greeting.
type Owed = &'static [u8];

impl Request {
    /// Reads greeting and request. A client that waits for the method before it goes on is told at
    /// once.
    ///
    /// # Errors
    ///
    /// As [`read_request`]'s; then the method has been told.
    pub async fn read<S>(stream: &mut S) -> Result<Self, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut method: Owed = &[];
        match read(stream, &mut method).await {
            Ok(command) => Ok(Self { command, method }),
            Err(error) => {
                // A client that has gone needs no telling.
                let _ = stream.write_all(method).await;
                Err(error)
            }
        }
    }

    /// Sends the method, if the client does not know it.
    ///
    /// # Errors
    ///
    /// What writing gives.
    pub async fn tell_method<S>(&mut self, stream: &mut S) -> io::Result<()>
    where
        S: AsyncWrite + Unpin,
    {
        stream.write_all(std::mem::take(&mut self.method)).await
    }

    /// Sends a reply with its bound address, in one write with what comes before it.
    ///
    /// # Errors
    ///
    /// What writing gives.
    pub async fn reply<S>(self, stream: &mut S, reply: Reply, bound: SocketAddr) -> io::Result<()>
    where
        S: AsyncWrite + Unpin,
    {
        let mut bytes = self.method.to_vec();
        put_reply(reply, bound, &mut bytes);
        stream.write_all(&bytes).await
    }
}

async fn read<S>(stream: &mut S, owed: &mut Owed) -> Result<Command, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = Head::<LONGEST>::new();
    fill(&mut head, stream, owed, 2, LEAST_GREETING + LEAST_REQUEST).await?;
    let [version, count] = head.at(0);
    if version != VERSION {
        return Err(HandshakeError::Malformed {
            what: "version",
            byte: version,
        });
    }
    if count > MAX_METHODS {
        return Err(HandshakeError::Oversized {
            what: "methods",
            size: count,
            limit: MAX_METHODS,
        });
    }
    let greeting = 2 + usize::from(count);
    let least = greeting + LEAST_REQUEST;
    fill(&mut head, stream, owed, greeting, least).await?;
    let methods = head.bytes().get(2..greeting).unwrap_or_default();
    if !methods.contains(&NO_AUTHENTICATION) {
        *owed = &[VERSION, NO_ACCEPTABLE_METHOD];
        return Err(HandshakeError::NoMethod);
    }
    *owed = &[VERSION, NO_AUTHENTICATION];

    let address = greeting + 4;
    fill(&mut head, stream, owed, address, least).await?;
    let [version, command, reserved, address_type] = head.at(greeting);
    if version != VERSION {
        return Err(HandshakeError::Malformed {
            what: "version of the request",
            byte: version,
        });
    }
    if reserved != RESERVED {
        return Err(HandshakeError::Malformed {
            what: "reserved byte",
            byte: reserved,
        });
    }
    let end = match address_type {
        ATYP_IPV4 => address + 4 + 2,
        ATYP_IPV6 => address + 16 + 2,
        ATYP_NAME => {
            fill(&mut head, stream, owed, address + 1, least).await?;
            let [size] = head.at(address);
            if size > MAX_NAME {
                return Err(HandshakeError::Oversized {
                    what: "name",
                    size,
                    limit: MAX_NAME,
                });
            }
            address + 1 + usize::from(size) + 2
        }
        byte => return Err(HandshakeError::AddressType { byte }),
    };
    fill(&mut head, stream, owed, end, end).await?;
    let mut rest = head.bytes().get(address..).unwrap_or_default();
    match take_address(&mut rest, address_type).await? {
        Some(destination) => Command::from_fields(command, destination)
            .ok_or(HandshakeError::UnknownCommand { byte: command }),
        // It has been read although it is refused: closing with bytes unread resets the connection,
        // and the client might never see the reply.
        None => {
            let name = head.bytes().get(address + 1..end - 2).unwrap_or_default();
            Err(HandshakeError::Name {
                name: name.escape_ascii().to_string(),
            })
        }
    }
}

/// Reads until there are `size` bytes, and not beyond `known`, up to where the request goes in any
/// case. What the client is owed is sent before it is waited for.
async fn fill<S>(
    head: &mut Head<LONGEST>,
    stream: &mut S,
    owed: &mut Owed,
    size: usize,
    known: usize,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while head.bytes().len() < size {
        tokio::select! {
            biased;
            read = head.read(stream, known) => read?,
            () = ready(()), if !owed.is_empty() => {
                stream.write_all(std::mem::take(owed)).await?;
            }
        }
    }
    Ok(())
}

/// Sends a reply with its bound address.
///
/// # Errors
///
/// What writing gives.
pub async fn write_reply<S>(stream: &mut S, reply: Reply, bound: SocketAddr) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
{
    let mut bytes = Vec::new();
    put_reply(reply, bound, &mut bytes);
    stream.write_all(&bytes).await
}

/// Sends a reply that is not "succeeded"; it carries no bound address.
///
/// # Errors
///
/// What writing gives.
pub async fn write_refusal<S>(stream: &mut S, reply: Reply) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
{
    write_reply(stream, reply, UNSPECIFIED).await
}

fn put_reply(reply: Reply, bound: SocketAddr, out: &mut Vec<u8>) {
    out.extend_from_slice(&[VERSION, reply.into(), RESERVED]);
    put_address(bound, out);
}

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The client closed before its request was whole.
    #[error("closed before the request was whole")]
    Closed,
    /// Not SOCKS5.
    #[error("malformed: {what} {byte:#04x}")]
    Malformed {
        /// The field that is wrong.
        what: &'static str,
        /// What stood there.
        byte: u8,
    },
    /// A length byte above what is taken.
    #[error("oversized: {what} of {size}, at most {limit}")]
    Oversized {
        /// What was too long.
        what: &'static str,
        /// Its announced size.
        size: u8,
        /// The limit it exceeds.
        limit: u8,
    },
    /// The client offers only methods with authentication.
    #[error("no method without authentication offered")]
    NoMethod,
    /// ATYP 3.
    #[error("asked for a name: names are resolved in the enclave, send an address")]
    Name {
        /// The name, with what is not printable escaped; what is asked for is for nobody's log.
        name: String,
    },
    /// An ATYP that RFC 1928 does not assign.
    #[error("unknown address type {byte:#04x}")]
    AddressType {
        /// What stood there.
        byte: u8,
    },
    /// A CMD that the link does not know.
    #[error("unknown command {byte:#04x}")]
    UnknownCommand {
        /// What stood there.
        byte: u8,
    },
    /// Reading or writing failed.
    #[error(transparent)]
    Io(io::Error),
}

impl HandshakeError {
    /// What the client is told before the stream is closed; `None` for one that does not speak
    /// SOCKS5 or has gone.
    pub fn reply(&self) -> Option<Reply> {
        match self {
            Self::Name { .. } | Self::AddressType { .. } => Some(Reply::AddressTypeNotSupported),
            Self::UnknownCommand { .. } => Some(Reply::CommandNotSupported),
            Self::Closed
            | Self::Malformed { .. }
            | Self::Oversized { .. }
            | Self::NoMethod
            | Self::Io(_) => None,
        }
    }
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        if is_closed(&error) {
            Self::Closed
        } else {
            Self::Io(error)
        }
    }
}
