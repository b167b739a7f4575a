//! The parent instance's metadata service at 169.254.169.254, version 2 only (EC2 User Guide, "Use the Instance
//! Metadata Service to access instance metadata"): a token by PUT, which lives as long as was asked for, and texts by
//! GET for those who show one.
//!
//! The instance has two interfaces. The second is in another VPC and is listed first; the primary one's VPC has a
//! secondary block, which is listed first too. Who takes the first of a list is wrong.
//!
//! While a file named after a fault is in the run directory's `imds/`, the service has that fault: see [`Fault`].

mod http;
mod metadata;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use self::http::{Request, Response};
use crate::addresses::VpcCidr;
use crate::run_dir;

/// Where it answers on every instance.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// HTTP.
const PORT: u16 = 80;

/// Seconds that a token may live: six hours at most.
const TOKEN_TTL: std::ops::RangeInclusive<u64> = 1..=21_600;

/// A connection that sends no request is closed.
const IDLE: Duration = Duration::from_secs(10);

/// The service.
#[derive(Debug)]
pub(crate) struct Imds {
    vpc: VpcCidr,
    tokens: Mutex<HashMap<String, Instant>>,
}

/// What can be wrong with it, under the name of its file. Several at once: the first of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// `off`: connections are closed at once.
    Off,
    /// `hang`: requests are read and not answered.
    Hang,
    /// `401`, `403`, `404`: every answer has this status.
    Status(u16),
    /// `redirect`: 302 to somewhere else.
    Redirect,
    /// `html`: 200 with a page, as of a proxy in between.
    Html,
    /// `huge`: a body without an end.
    Huge,
    /// `nul`: a NUL after each text.
    Nul,
    /// `garbage`, `small`: in the place of the VPC's block.
    Block(&'static str),
}

const FAULTS: [(&str, Fault); 11] = [
    ("off", Fault::Off),
    ("hang", Fault::Hang),
    ("401", Fault::Status(401)),
    ("403", Fault::Status(403)),
    ("404", Fault::Status(404)),
    ("redirect", Fault::Redirect),
    ("html", Fault::Html),
    ("huge", Fault::Huge),
    ("nul", Fault::Nul),
    ("garbage", Fault::Block("10.0.0.0/99")),
    ("small", Fault::Block("10.0.0.0/31")),
];

/// Binds the service's socket and serves there until the process ends.
pub(crate) async fn start(vpc: VpcCidr) -> io::Result<()> {
    let listener = TcpListener::bind(SocketAddr::from((ADDRESS, PORT))).await?;
    let imds = Arc::new(Imds::new(vpc));
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let imds = Arc::clone(&imds);
                    // A client that goes away in between is its own affair.
                    tokio::spawn(async move { imds.connection(stream).await });
                }
                Err(error) => {
                    tracing::warn!(%error, "IMDS: cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    Ok(())
}

impl Imds {
    fn new(vpc: VpcCidr) -> Self {
        let tokens = Mutex::default();
        Self { vpc, tokens }
    }

    /// One request, as the service's own answers say `Connection: close`.
    async fn connection(&self, mut stream: TcpStream) -> io::Result<()> {
        let fault = fault(Path::new(run_dir::IMDS));
        if fault == Some(Fault::Off) {
            return Ok(());
        }
        let Ok(request) = tokio::time::timeout(IDLE, http::read(&mut stream)).await else {
            return Ok(());
        };
        let mut response = match request? {
            Some(request) => self.answer(&request, Instant::now()),
            None => Response::status(400),
        };
        match fault {
            Some(Fault::Off | Fault::Hang) => std::future::pending().await,
            Some(Fault::Status(status)) => response = Response::status(status),
            Some(Fault::Redirect) => response = Response::redirect(),
            Some(Fault::Html) => response = Response::text("<html><body>Sign in</body></html>"),
            Some(Fault::Nul) => response.body.push('\0'),
            Some(Fault::Block(block)) if response.body == self.vpc.to_string() => {
                response = Response::text(block);
            }
            Some(Fault::Huge) => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                loop {
                    stream.write_all(&[b'a'; 4096]).await?;
                }
            }
            Some(Fault::Block(_)) | None => {}
        }
        stream.write_all(&response.render()).await?;
        stream.shutdown().await
    }

    fn answer(&self, request: &Request, now: Instant) -> Response {
        if request.path == "/latest/api/token" {
            return match request.method.as_str() {
                "PUT" => self.token(request, now),
                _ => Response::status(405),
            };
        }
        if request.method != "GET" {
            return Response::status(405);
        }
        let token = request.header("X-aws-ec2-metadata-token");
        if !token.is_some_and(|token| self.is_valid(token, now)) {
            return Response::status(401);
        }
        match metadata::text(self.vpc, &request.path) {
            Some(text) => Response::text(&text),
            None => Response::status(404),
        }
    }

    fn token(&self, request: &Request, now: Instant) -> Response {
        // Through a proxy the token would not stay on the instance.
        if request.header("X-Forwarded-For").is_some() {
            return Response::status(403);
        }
        let ttl = request.header("X-aws-ec2-metadata-token-ttl-seconds");
        let ttl: Option<u64> = ttl.and_then(|ttl| ttl.parse().ok());
        let Some(ttl) = ttl.filter(|ttl| TOKEN_TTL.contains(ttl)) else {
            return Response::status(400);
        };
        let random = || RandomState::new().hash_one(now);
        let token = format!("AQAEA{:016x}{:016x}==", random(), random());
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, ends| *ends > now);
        tokens.insert(token.clone(), now + Duration::from_secs(ttl));
        Response::text(&token).with_ttl(ttl)
    }

    fn is_valid(&self, token: &str, now: Instant) -> bool {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(token).is_some_and(|ends| *ends > now)
    }
}

/// Looked at for each connection, so that faults can come and go while the sandbox runs.
fn fault(directory: &Path) -> Option<Fault> {
    FAULTS
        .iter()
        .find(|(name, _)| directory.join(name).exists())
        .map(|(_, fault)| *fault)
}

#[cfg(test)]
mod tests;
