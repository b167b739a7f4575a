//! The enclave's side: greeting and request in one write, then the parent's answer.
//!
//! What comes back is input from an adversary: it is read piece by piece into fixed arrays.

use std::io;
use std::net::SocketAddr;

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::{
    Command, Head, NO_AUTHENTICATION, RESERVED, Reply, VERSION, is_closed, put_address, take,
    take_address,
};

/// From the first byte of a BIND's second reply to its last: the parent has it whole.
const SECOND_REPLY: Duration = Duration::from_secs(10);

/// Greeting, request and reply; the bound address of a reply that says "succeeded".
///
/// Reads nothing past the reply. Has no deadline of its own.
///
/// # Errors
///
/// See [`ExchangeError`].
pub async fn request<S>(stream: &mut S, command: Command) -> Result<SocketAddr, ExchangeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut bytes = vec![VERSION, 1, NO_AUTHENTICATION];
    let (code, destination) = command.fields();
    bytes.extend_from_slice(&[VERSION, code, RESERVED]);
    put_address(destination, &mut bytes);
    stream.write_all(&bytes).await?;

    let mut head = Head::<{ METHOD + LEAST_REPLY }>::new();
    while head.bytes().len() < METHOD {
        head.read(stream, METHOD + LEAST_REPLY).await?;
    }
    match head.bytes() {
        [VERSION, NO_AUTHENTICATION, ..] => {}
        [VERSION, method, ..] => {
            return Err(ExchangeError::Malformed {
                what: "method",
                byte: *method,
            });
        }
        head => {
            return Err(ExchangeError::Malformed {
                what: "version",
                byte: head.first().copied().unwrap_or_default(),
            });
        }
    }
    while head.bytes().len() < METHOD + LEAST_REFUSAL {
        head.read(stream, METHOD + LEAST_REPLY).await?;
    }
    let reply = head.bytes().get(METHOD..).unwrap_or_default();
    read_reply(&mut reply.chain(stream)).await
}

/// Bytes that tell the method.
const METHOD: usize = 2;

/// What of a reply tells that it is a refusal, in bytes. Nothing is read after one.
const LEAST_REFUSAL: usize = 4;

/// The shortest reply that says "succeeded", in bytes: its address is an IPv4 one.
const LEAST_REPLY: usize = 10;

/// A BIND's second reply: the address of the client whose connection the stream carries from here.
/// One that is written as IPv4 in IPv6 (RFC 4291 §2.5.5.2) is given as IPv4.
///
/// Waits for it as long as no client comes, but not for the rest of one that has begun.
///
/// # Errors
///
/// See [`ExchangeError`]. [`ExchangeError::Closed`] is everyday life: the parent ends long waits.
pub async fn read_second_reply<S>(stream: &mut S) -> Result<SocketAddr, ExchangeError>
where
    S: AsyncRead + Unpin,
{
    let [version] = take(stream).await?;
    let client = timeout(SECOND_REPLY, read_reply_after(version, stream))
        .await
        .map_err(|_| ExchangeError::Stalled)??;
    Ok(SocketAddr::new(client.ip().to_canonical(), client.port()))
}

/// One reply, with its bound address.
pub(super) async fn read_reply<S>(stream: &mut S) -> Result<SocketAddr, ExchangeError>
where
    S: AsyncRead + Unpin,
{
    let [version] = take(stream).await?;
    read_reply_after(version, stream).await
}

async fn read_reply_after<S>(version: u8, stream: &mut S) -> Result<SocketAddr, ExchangeError>
where
    S: AsyncRead + Unpin,
{
    let [code, _reserved, address_type] = take(stream).await?;
    if version != VERSION {
        return Err(ExchangeError::Malformed {
            what: "version of the reply",
            byte: version,
        });
    }
    match Reply::from(code) {
        Reply::Succeeded => {
            take_address(stream, address_type)
                .await?
                .ok_or(ExchangeError::Malformed {
                    what: "address type of the reply",
                    byte: address_type,
                })
        }
        // The bound address of a refusal says nothing, and a parent in a hurry may leave it out.
        reply => Err(ExchangeError::Refused(reply)),
    }
}

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The parent closed before it had replied: an old parent that does not know the command, a
    /// failed connect on one, or a relay that is restarting.
    #[error("closed without a reply")]
    Closed,
    /// The parent replied, and not with "succeeded".
    #[error("{0}")]
    Refused(Reply),
    /// The answer is not SOCKS5.
    #[error("not a SOCKS5 answer: {what} {byte:#04x}")]
    Malformed {
        /// The field that is wrong.
        what: &'static str,
        /// What stood there.
        byte: u8,
    },
    /// A second reply that began, and did not go on.
    #[error("the reply stopped half way")]
    Stalled,
    /// Reading or writing failed otherwise.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for ExchangeError {
    fn from(error: io::Error) -> Self {
        if is_closed(&error) {
            Self::Closed
        } else {
            Self::Io(error)
        }
    }
}
