//! The resolv.conf of a parent that runs the `proxy` we replace, from the getter that may run beside
//! it: a gRPC server on the parent instance, reached as everything else there.
//!
//! ```text
//! CONNECT 127.0.0.1:1600                                   the parent's loopback, by the old proxy
//! POST /privacy_sandbox.server_common.ResolvConfGetterService/GetResolvConf     in HTTP/2 (RFC 9113)
//!   data:     00 00000000                                  an empty message, not compressed
//!   headers:  :status 200, content-type application/grpc
//!   data:     00 LENGTH(4) message { string content = 1; }
//!   trailers: grpc-status 0
//! ```
//!
//! ("gRPC over HTTP2" in grpc/grpc, doc/PROTOCOL-HTTP2.md.) All of it is input from an adversary: so
//! much is read of the connection and no more, and of the message one field, which `resolv` reads.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::pin::pin;

use h2::client::{Builder, SendRequest};
use h2::{Reason, RecvStream};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use http::{Method, Request, StatusCode, Version};
use link::{Command, Parent, RequestError};
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use crate::http::shown;
use crate::relay::MAX_TEXT;
use crate::{Found, Source};

/// Where it listens on the parent.
pub(crate) const ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1600));

/// Its one method.
const METHOD: &str =
    "http://127.0.0.1:1600/privacy_sandbox.server_common.ResolvConfGetterService/GetResolvConf";

/// The media type of gRPC, which a codec's name may follow.
const GRPC: &str = "application/grpc";

/// Before each message: whether it is compressed, and its length in 4 bytes.
const PREFIX: usize = 5;

/// An empty message: there is nothing to say.
const NOTHING: &[u8] = &[0; PREFIX];

/// Bytes of a message: the text of RESOLV_CONF with a tag and its length.
const MAX_MESSAGE: usize = MAX_TEXT + 8;

/// Bytes of a header list as HTTP/2 counts them (RFC 9113 §6.5.2): gRPC sends 200.
const MAX_HEADERS: u32 = 4 * 1024;

/// Bytes of the whole connection, pings, settings and empty frames with it.
const MAX_RECEIVED: u64 = 64 * 1024;

/// The answer.
#[derive(Message)]
struct ResolvConfText {
    /// A `string` there; bytes here, since a comment in another encoding than UTF-8 is not worth
    /// the nameservers beside it.
    #[prost(bytes = "vec", tag = "1")]
    content: Vec<u8>,
}

/// What the parent's resolv.conf names.
pub(crate) async fn ask(parent: &Parent) -> Result<Found, GetterError> {
    let stream = parent.request(Command::Connect(ADDRESS)).await?.stream;
    let text = resolv_conf(stream).await?;
    Found::read(&text, Source::Getter).ok_or(GetterError::NoNameserver)
}

/// One request over a connection of its own.
pub(crate) async fn resolv_conf<S>(stream: S) -> Result<Vec<u8>, GetterError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (reader, writer) = tokio::io::split(stream);
    let bounded = tokio::io::join(reader.take(MAX_RECEIVED), writer);
    let (requests, connection) = Builder::new()
        .enable_push(false)
        .max_header_list_size(MAX_HEADERS)
        .handshake(bounded)
        .await?;
    let mut call = pin!(call(requests));
    let message = tokio::select! {
        biased;
        message = &mut call => message?,
        // What came before the end is still to be read.
        _ = connection => call.await?,
    };
    Ok(ResolvConfText::decode(message.as_slice())?.content)
}

/// Calls the method and gives the message that it answers with.
async fn call(requests: SendRequest<&'static [u8]>) -> Result<Vec<u8>, GetterError> {
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = http::Uri::from_static(METHOD);
    let headers = request.headers_mut();
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));

    let (response, mut body) = requests.ready().await?.send_request(request, false)?;
    body.send_data(NOTHING, true)?;
    let (head, mut body) = response.await?.into_parts();
    if head.status != StatusCode::OK {
        return Err(GetterError::Status {
            status: head.status.as_u16(),
        });
    }
    let content_type = text(&head.headers, CONTENT_TYPE.as_str()).unwrap_or_default();
    if !content_type.starts_with(GRPC) {
        return Err(GetterError::NotGrpc {
            content_type: shown(&content_type),
        });
    }
    // An error may have no body: then what would follow it comes first.
    if body.is_end_stream() {
        check(&head.headers)?;
    }
    let received = read_message(&mut body).await?;
    check(&body.trailers().await?.unwrap_or_default())?;
    received.ok_or(GetterError::NoMessage)
}

/// The one message of a body; `None` if the body is empty.
async fn read_message(body: &mut RecvStream) -> Result<Option<Vec<u8>>, GetterError> {
    let mut received = Vec::new();
    let mut length = None;
    while let Some(data) = body.data().await {
        received.extend_from_slice(&data?);
        if let (None, Some(&[compressed, a, b, c, d])) = (length, received.first_chunk()) {
            let told = u32::from_be_bytes([a, b, c, d]);
            length = match usize::try_from(told) {
                _ if compressed != 0 => return Err(GetterError::Compressed),
                Ok(length) if length <= MAX_MESSAGE => Some(length),
                _ => return Err(GetterError::TooLong { length: told }),
            };
        }
        if length.is_some_and(|length| received.len() > PREFIX + length) {
            return Err(GetterError::TwoMessages);
        }
    }
    match length {
        Some(length) if received.len() == PREFIX + length => Ok(Some(received.split_off(PREFIX))),
        None if received.is_empty() => Ok(None),
        _ => Err(GetterError::CutShort {
            received: received.len(),
        }),
    }
}

/// Whether the call ended well.
fn check(trailers: &HeaderMap) -> Result<(), GetterError> {
    match text(trailers, "grpc-status").as_deref() {
        Some("0") => Ok(()),
        Some(status) => Err(GetterError::Failed {
            status: shown(status),
            message: shown(&text(trailers, "grpc-message").unwrap_or_default()),
        }),
        None => Err(GetterError::NoStatus),
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Why there is no resolv.conf from it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GetterError {
    #[error("the parent has none that listens at {ADDRESS}")]
    None,
    #[error(transparent)]
    Request(RequestError),
    #[error("HTTP/2 with {ADDRESS} failed: {why} (at most {MAX_RECEIVED} bytes are read)")]
    Http2 { why: String },
    #[error("the status is {status}")]
    Status { status: u16 },
    #[error("its content type is `{content_type}`, not {GRPC}; is another server at {ADDRESS}?")]
    NotGrpc { content_type: String },
    #[error("it answered with gRPC status {status}: `{message}`")]
    Failed { status: String, message: String },
    #[error("its answer ended without a gRPC status")]
    NoStatus,
    #[error("it answered without a message")]
    NoMessage,
    #[error("its message is compressed, which was not offered")]
    Compressed,
    #[error("its message has {length} bytes, above the limit of {MAX_MESSAGE}")]
    TooLong { length: u32 },
    #[error("its message ended early, after {received} bytes")]
    CutShort { received: usize },
    #[error("it answered with more than one message")]
    TwoMessages,
    #[error("its message cannot be read: {0}")]
    Protobuf(#[from] prost::DecodeError),
    #[error("its resolv.conf names no nameserver that can be asked from another host")]
    NoNameserver,
}

impl From<RequestError> for GetterError {
    fn from(error: RequestError) -> Self {
        match error {
            // So the old proxy says that it could not connect.
            RequestError::Closed { .. } => Self::None,
            error => Self::Request(error),
        }
    }
}

impl From<h2::Error> for GetterError {
    /// Without the debug data of a GOAWAY, which is text of the parent's of any length.
    fn from(error: h2::Error) -> Self {
        Self::Http2 {
            why: match error.reason() {
                Some(Reason::NO_ERROR) => "it was ended in good order".to_owned(),
                Some(reason) => reason.description().to_owned(),
                None => error.to_string(),
            },
        }
    }
}

#[cfg(test)]
mod tests;
