//! The enclave's side: greeting and request in one write, then the parent's answer.
//!
//! What comes back is input from an adversary: it is read piece by piece into fixed arrays.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{
    Command, NO_AUTHENTICATION, RESERVED, Reply, VERSION, is_closed, put_address, take,
    take_address,
};

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

    match take(stream).await? {
        [VERSION, NO_AUTHENTICATION] => read_reply(stream).await,
        [VERSION, method] => Err(ExchangeError::Malformed {
            what: "method",
            byte: method,
        }),
        [version, _] => Err(ExchangeError::Malformed {
            what: "version",
            byte: version,
        }),
    }
}

/// One reply, with its bound address. A BIND gets two of them.
///
/// # Errors
///
/// See [`ExchangeError`].
pub async fn read_reply<S>(stream: &mut S) -> Result<SocketAddr, ExchangeError>
where
    S: AsyncRead + Unpin,
{
    let [version, code, _reserved, address_type] = take(stream).await?;
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
