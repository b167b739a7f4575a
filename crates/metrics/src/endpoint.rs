//! Where Prometheus scrapes: HTTP/1.1 (RFC 9112) by hyper, GET /metrics and a page that leads there.
//!
//! Whoever can connect may read: the page has counts and addresses of nameservers, and no name that
//! anybody asked for. One connection is one request, and each has a deadline as a whole, so that who is
//! silent or slow holds nothing for long.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::debug;

/// Connections at a time; others wait in the kernel. A Prometheus has one, and two look together often.
const CONNECTIONS: usize = 8;

/// Connections that the kernel keeps until then (listen(2)).
const BACKLOG: u32 = 16;

/// From a connection to the end of its answer: Prometheus itself gives up after 10 s.
const DEADLINE: Duration = Duration::from_secs(10);

/// Bytes of a request's line and headers, the least that hyper takes.
const REQUEST: usize = 8192;

/// A pause when the system refuses to accept, for lack of descriptors: they come back.
const PAUSE: Duration = Duration::from_millis(100);

/// Where the metrics are.
const PATH: &str = "/metrics";

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// A bound socket for those who scrape.
#[derive(Clone, Debug)]
pub struct Endpoint {
    listener: Arc<TcpListener>,
}

impl Endpoint {
    /// Binds and listens.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // What scrapes of before have left behind is in nobody's way.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        Ok(Self {
            listener: Arc::new(listener),
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves for as long as it is polled. `page` writes the metrics as they are; none if there are
    /// none any more.
    pub async fn serve(self, page: impl Fn() -> Option<String> + Send + Sync + 'static) {
        let page = Arc::new(page);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS => {
                    match accepted {
                        Ok((stream, _)) => {
                            connections.spawn(connection(stream, Arc::clone(&page)));
                        }
                        Err(_) => sleep(PAUSE).await,
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

fn connection<P>(stream: TcpStream, page: Arc<P>) -> impl Future<Output = ()> + Send + 'static
where
    P: Fn() -> Option<String> + Send + Sync + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(request.method(), request.uri().path(), &*page);
        async { Ok::<_, Infallible>(answer) }
    });
    let serve = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(REQUEST)
        .serve_connection(TokioIo::new(stream), service);
    async move {
        match timeout(DEADLINE, serve).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!("a scrape failed: {error}"),
            Err(_) => debug!("a scrape took longer than {DEADLINE:?}"),
        }
    }
}

fn answer(
    method: &Method,
    path: &str,
    page: &impl Fn() -> Option<String>,
) -> Response<Full<Bytes>> {
    let (status, content, text) = match (path, method) {
        (PATH | "/", method) if !matches!(*method, Method::GET | Method::HEAD) => {
            let text = "GET and HEAD only\n".to_owned();
            (StatusCode::METHOD_NOT_ALLOWED, TEXT, text)
        }
        (PATH, _) => match page() {
            Some(text) => (StatusCode::OK, prometheus::TEXT_FORMAT, text),
            None => {
                let text = "nothing is served any more\n".to_owned();
                (StatusCode::SERVICE_UNAVAILABLE, TEXT, text)
            }
        },
        ("/", _) => {
            let text = format!("<!doctype html><title>proxify</title><a href={PATH}>Metrics</a>\n");
            (StatusCode::OK, HTML, text)
        }
        _ => {
            let text = format!("there is {PATH} only\n");
            (StatusCode::NOT_FOUND, TEXT, text)
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

#[cfg(test)]
mod tests;
