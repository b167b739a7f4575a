//! One HTTP/1.1 request and its response (RFC 9112), as much as IMDS needs: one request a
//! connection, a text of known length or up to the end of the stream, and everything else an error.
//!
//! No crate: those for clients follow redirects, keep pools and read what is offered; the work here
//! is to take little.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of status line and headers: IMDS sends 300.
const MAX_HEAD: usize = 4 * 1024;

/// Bytes of a body: a token has 56, an address block 18.
pub(crate) const MAX_BODY: usize = 1024;

/// Characters of a text that an error shows.
const SHOWN: usize = 40;

/// The end of the head.
const BLANK_LINE: &[u8] = b"\r\n\r\n";

/// What is asked. Nothing in it may hold a line end.
pub(crate) struct Request<'a> {
    pub(crate) method: &'static str,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) header: (&'static str, &'a str),
}

/// Sends the request and gives the body of a 200.
pub(crate) async fn exchange<S>(stream: &mut S, request: &Request<'_>) -> Result<Vec<u8>, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Request {
        method,
        host,
        path,
        header: (name, value),
    } = request;
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{name}: {value}\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(text.as_bytes()).await?;
    let most = MAX_HEAD + MAX_BODY;
    let mut stream = stream.take(u64::try_from(most).unwrap_or(u64::MAX));
    let mut received = Vec::new();
    let end = loop {
        let found = received
            .windows(BLANK_LINE.len())
            .position(|window| window == BLANK_LINE);
        match found {
            Some(end) if end <= MAX_HEAD => break end,
            None if received.len() < MAX_HEAD => {}
            _ => return Err(HttpError::LongHead),
        }
        if stream.read_buf(&mut received).await? == 0 {
            return Err(HttpError::Closed);
        }
    };
    let mut body = received.split_off(end + BLANK_LINE.len());
    received.truncate(end);
    let length = body_length(&received)?;
    if length.is_some_and(|length| length > MAX_BODY) {
        return Err(HttpError::LongBody);
    }
    while length.is_none_or(|length| body.len() < length) && body.len() <= MAX_BODY {
        if stream.read_buf(&mut body).await? == 0 {
            break;
        }
    }
    match length {
        Some(length) if body.len() < length => Err(HttpError::Closed),
        None if body.len() > MAX_BODY => Err(HttpError::LongBody),
        Some(length) => {
            body.truncate(length);
            Ok(body)
        }
        None => Ok(body),
    }
}

/// Reads the head: a status of 200, and the body's length if it is told.
fn body_length(head: &[u8]) -> Result<Option<usize>, HttpError> {
    let head = str::from_utf8(head).map_err(|_| HttpError::NotHttp)?;
    let mut lines = head.split("\r\n");
    let status = status(lines.next().unwrap_or_default()).ok_or(HttpError::NotHttp)?;
    if status != 200 {
        return Err(HttpError::Status { status });
    }
    let mut length = None;
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(HttpError::NotHttp)?;
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(HttpError::Encoded);
        }
        if name.eq_ignore_ascii_case("content-length") {
            let value: usize = value.trim().parse().map_err(|_| HttpError::NotHttp)?;
            if length.replace(value).is_some_and(|before| before != value) {
                return Err(HttpError::NotHttp);
            }
        }
    }
    Ok(length)
}

/// `HTTP/1.1 200 OK` (RFC 9112 §4).
fn status(line: &str) -> Option<u16> {
    let (version, rest) = line.split_once(' ')?;
    let code = rest.split(' ').next()?;
    let is_http = version == "HTTP/1.1" || version == "HTTP/1.0";
    (is_http && code.len() == 3)
        .then(|| code.parse().ok())
        .flatten()
}

/// Text of the parent's as a log line may show it.
pub(crate) fn shown(text: &str) -> String {
    text.chars()
        .take(SHOWN)
        .flat_map(char::escape_default)
        .collect()
}

/// What is not a body with status 200.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    #[error("the connection was closed before the end of the response")]
    Closed,
    #[error("the response is not HTTP/1.1")]
    NotHttp,
    #[error("the status is {status}")]
    Status { status: u16 },
    #[error("the headers are longer than {MAX_HEAD} bytes")]
    LongHead,
    #[error("the body is longer than {MAX_BODY} bytes")]
    LongBody,
    #[error("the body is in a transfer encoding")]
    Encoded,
}

#[cfg(test)]
mod tests;
