//! HTTP/1.1 (RFC 9112) as far as IMDS speaks it: a request without a body, a response with a short one, and the
//! connection's end.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Bytes of a request.
const LONGEST_REQUEST: usize = 16 * 1024;

/// A request, its head read whole.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: Vec<(String, String)>,
}

/// Reads one; `None` for what is none.
pub(crate) async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<Request>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > LONGEST_REQUEST || stream.read_buf(&mut head).await? == 0 {
            return Ok(None);
        }
    }
    Ok(str::from_utf8(&head).ok().and_then(Request::parse))
}

impl Request {
    pub(crate) fn parse(head: &str) -> Option<Self> {
        let mut lines = head.trim_end().split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let headers = lines
            .map(|line| {
                let (name, value) = line.split_once(':')?;
                Some((name.to_owned(), value.trim().to_owned()))
            })
            .collect::<Option<_>>()?;
        Some(Self {
            method,
            path,
            headers,
        })
    }

    /// A header's value; names are without case (RFC 9110 §5.1).
    pub(crate) fn header(&self, wanted: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.as_str())
    }
}

/// What goes back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: String,
    headers: String,
}

impl Response {
    pub(crate) fn text(text: &str) -> Self {
        Self {
            status: 200,
            body: text.to_owned(),
            headers: "Content-Type: text/plain\r\n".to_owned(),
        }
    }

    /// An error, with a page, as the service has it.
    pub(crate) fn status(status: u16) -> Self {
        let reason = reason(status);
        Self {
            status,
            body: format!(
                "<?xml version=\"1.0\"?>\n<html><head><title>{status} - {reason}</title></head><body><h1>{status} - \
                 {reason}</h1></body></html>\n"
            ),
            headers: "Content-Type: text/html\r\n".to_owned(),
        }
    }

    pub(crate) fn redirect() -> Self {
        let mut response = Self::status(302);
        let location = "Location: http://169.254.169.254/elsewhere/\r\n";
        response.headers.push_str(location);
        response
    }

    pub(crate) fn with_ttl(mut self, seconds: u64) -> Self {
        let ttl = format!("X-Aws-Ec2-Metadata-Token-Ttl-Seconds: {seconds}\r\n");
        self.headers.push_str(&ttl);
        self
    }

    pub(crate) fn render(&self) -> Vec<u8> {
        let Self {
            status,
            body,
            headers,
        } = self;
        let length = body.len();
        format!(
            "HTTP/1.1 {status} {}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\nServer: EC2ws\r\n\r\n{body}",
            reason(*status)
        )
        .into_bytes()
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        302 => "Found",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Not Allowed",
        _ => "Bad Request",
    }
}
