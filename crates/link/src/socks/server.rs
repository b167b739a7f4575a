//! The parent's side: greeting and request in, reply out.
//!
//! Each piece is read by its exact size, so a client may send a byte at a time or everything at
//! once, and bytes after the request stay on the stream for the command. Sizes are bounded by
//! the protocol's own length bytes and the limits below; the caller sets the deadline.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{
    ATYP_IPV4, ATYP_IPV6, ATYP_NAME, Command, NO_ACCEPTABLE_METHOD, NO_AUTHENTICATION, RESERVED,
    Reply, UNSPECIFIED, VERSION, is_closed, put_address, take, take_address,
};

/// Authentication methods a greeting may offer. IANA has assigned ten; clients offer one to four.
pub const MAX_METHODS: u8 = 16;

/// The longest name of an ATYP 3 request that is read to its end, in bytes (RFC 1035 §2.3.4).
pub const MAX_NAME: u8 = 253;

/// Reads greeting and request, and answers the greeting.
///
/// # Errors
///
/// See [`HandshakeError`]; [`HandshakeError::reply`] says what to answer before closing.
pub async fn read_request<S>(stream: &mut S) -> Result<Command, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    greeting(stream).await?;
    let [version, command, reserved, address_type] = take(stream).await?;
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
    match address_type {
        ATYP_NAME => Err(HandshakeError::Name {
            name: take_name(stream).await?,
        }),
        ATYP_IPV4 | ATYP_IPV6 => {
            let unknown = HandshakeError::AddressType { byte: address_type };
            let destination = take_address(stream, address_type).await?.ok_or(unknown)?;
            Command::from_fields(command, destination)
                .ok_or(HandshakeError::UnknownCommand { byte: command })
        }
        byte => Err(HandshakeError::AddressType { byte }),
    }
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
    let mut bytes = vec![VERSION, reply.into(), RESERVED];
    put_address(bound, &mut bytes);
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

async fn greeting<S>(stream: &mut S) -> Result<(), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let [version, count] = take(stream).await?;
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
    let mut methods = [0; MAX_METHODS as usize];
    let methods = methods.get_mut(..usize::from(count)).unwrap_or_default();
    stream.read_exact(methods).await?;
    if !methods.contains(&NO_AUTHENTICATION) {
        stream.write_all(&[VERSION, NO_ACCEPTABLE_METHOD]).await?;
        return Err(HandshakeError::NoMethod);
    }
    stream.write_all(&[VERSION, NO_AUTHENTICATION]).await?;
    Ok(())
}

/// The name and port of an ATYP 3 request. They are read although they are refused: closing with
/// bytes unread resets the connection, and the client might never see the reply.
async fn take_name<S>(stream: &mut S) -> Result<String, HandshakeError>
where
    S: AsyncRead + Unpin,
{
    let [size] = take(stream).await?;
    if size > MAX_NAME {
        return Err(HandshakeError::Oversized {
            what: "name",
            size,
            limit: MAX_NAME,
        });
    }
    let mut name = [0; MAX_NAME as usize];
    let name = name.get_mut(..usize::from(size)).unwrap_or_default();
    stream.read_exact(name).await?;
    let _port: [u8; 2] = take(stream).await?;
    Ok(name.escape_ascii().to_string())
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
    #[error("asked for the name `{name}`: names are resolved in the enclave, send an address")]
    Name {
        /// The name, with what is not printable escaped.
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
