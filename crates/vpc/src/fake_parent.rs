//! A parent instance of the tests': the link's own server side on a unix socket.

use std::io::Cursor;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use link::socks::{UNSPECIFIED, server};
use link::{Command, ListenAddress, Listener, Parent, Reply, Stream, frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::sleep;

use crate::getter;

/// A parent, and the enclave's way to it.
pub(crate) struct FakeParent {
    listener: Listener,
    parent: Parent,
}

/// How the parts of a parent behave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Behaviour {
    pub(crate) resolv_conf: Part,
    /// What answers a request for RESOLV_CONF, greeting and all, in place of SOCKS5.
    pub(crate) socks: Option<Vec<u8>>,
    /// An old parent's.
    pub(crate) getter: Part,
    pub(crate) imds: Part,
    /// Nameservers that answer.
    pub(crate) nameservers: Vec<IpAddr>,
    /// It knows only CONNECT and BIND, as the old one.
    pub(crate) is_old: bool,
    /// What does not answer hangs; otherwise it fails at once.
    pub(crate) hangs: bool,
}

/// One source on the parent.
#[derive(Clone, Debug, Default)]
pub(crate) enum Part {
    /// It fails.
    #[default]
    Broken,
    /// Its connection is granted, and nothing comes: not for IMDS.
    Hangs,
    /// Its connection is granted, and these bytes come, with this pause behind each: RESOLV_CONF only.
    Sends(Vec<u8>, Duration),
    /// A resolv.conf, or a VPC's block.
    Says(String),
}

impl FakeParent {
    /// One whose sockets start with this path.
    pub(crate) fn at(prefix: &Path) -> Self {
        let address = ListenAddress::Unix(prefix.to_owned());
        Self {
            listener: Listener::bind(&address, link::DEFAULT_PORT).unwrap(),
            parent: Parent::new(link::Address::Unix(prefix.to_owned()), link::DEFAULT_PORT),
        }
    }

    pub(crate) fn address(&self) -> &Parent {
        &self.parent
    }

    /// Serves CONNECT to IMDS with these responses, for ever; `None` hangs.
    pub(crate) async fn serve_imds(&self, respond: impl Fn(&str) -> Option<Vec<u8>>) {
        loop {
            let (mut stream, _) = self.listener.accept().await.unwrap();
            let command = server::read_request(&mut stream).await.unwrap();
            let imds = "169.254.169.254:80".parse().unwrap();
            assert_eq!(command, Command::Connect(imds));
            grant(&mut stream).await;
            http(&mut stream, &respond).await;
        }
    }

    /// Behaves so, and then so, as the receiver says, for ever.
    pub(crate) async fn behave(&self, behaviour: tokio::sync::watch::Receiver<Behaviour>) {
        loop {
            let (stream, _) = self.listener.accept().await.unwrap();
            tokio::spawn(connection(stream, behaviour.clone()));
        }
    }
}

async fn connection(mut stream: Stream, mut behaviour: tokio::sync::watch::Receiver<Behaviour>) {
    let now = behaviour.borrow_and_update().clone();
    let Ok(mut request) = server::Request::read(&mut stream).await else {
        return;
    };
    let command = request.command;
    if let (Command::ResolvConf, Some(bytes)) = (command, &now.socks) {
        // The enclave may leave at any byte.
        let _ = stream.write_all(bytes).await;
        return;
    }
    request.tell_method(&mut stream).await.unwrap();
    let imds: SocketAddr = "169.254.169.254:80".parse().unwrap();
    match (command, &now.imds) {
        (Command::Dns(_) | Command::ResolvConf, _) if now.is_old => return,
        (Command::ResolvConf, _) => match &now.resolv_conf {
            Part::Broken => {}
            Part::Hangs => {
                grant(&mut stream).await;
                std::future::pending::<()>().await;
            }
            Part::Sends(bytes, pause) => {
                grant(&mut stream).await;
                return send(stream, bytes, *pause).await;
            }
            Part::Says(_) => {
                grant(&mut stream).await;
                loop {
                    let Part::Says(text) = behaviour.borrow_and_update().resolv_conf.clone() else {
                        return;
                    };
                    frame::write(&mut stream, text.as_bytes()).await.unwrap();
                    behaviour.changed().await.unwrap();
                }
            }
        },
        (Command::Connect(to), Part::Says(block)) if to == imds => {
            grant(&mut stream).await;
            let respond = |request: &str| {
                let body = match request {
                    _ if request.contains("/api/token ") => "token",
                    _ if request.contains("/meta-data/mac ") => "0e:49:61:0f:c3:11",
                    _ => block.as_str(),
                };
                Some(format!("HTTP/1.1 200 OK\r\n\r\n{body}").into_bytes())
            };
            return http(&mut stream, &respond).await;
        }
        (Command::Connect(to), _) if now.is_old && to == getter::ADDRESS => match &now.getter {
            Part::Broken | Part::Sends(..) => {}
            Part::Hangs => {
                grant(&mut stream).await;
                std::future::pending::<()>().await;
            }
            Part::Says(text) => {
                grant(&mut stream).await;
                let answer = Answer::new(text.as_bytes());
                return grpc(stream, &answer, |_| ()).await;
            }
        },
        (Command::Dns(to) | Command::Connect(to), _) if now.nameservers.contains(&to.ip()) => {
            grant(&mut stream).await;
            let mut message = Vec::new();
            while let Ok(Some(())) = frame::read(&mut stream, &mut message).await {
                message[2] |= 0x80;
                frame::write(&mut stream, &message).await.unwrap();
            }
        }
        _ => {}
    }
    if now.hangs {
        std::future::pending::<()>().await;
    }
    if !now.is_old {
        let _ = server::write_refusal(&mut stream, Reply::HostUnreachable).await;
    }
}

/// Sends and stays, unless the enclave leaves.
async fn send(mut stream: Stream, bytes: &[u8], pause: Duration) {
    if pause.is_zero() {
        let _ = stream.write_all(bytes).await;
    } else {
        for byte in bytes {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(pause).await;
        }
    }
    let _ = stream.read(&mut [0]).await;
}

/// What a gRPC server answers a call with.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// One frame each.
    pub(crate) data: Vec<Vec<u8>>,
    /// Without any the headers or the data are the end.
    pub(crate) trailers: Vec<(&'static str, String)>,
}

impl Answer {
    /// This text, of less than 16 KiB, as the getter gives it.
    pub(crate) fn new(text: &[u8]) -> Self {
        // Field 1, of a length that is told in base 128.
        let length = u8::try_from(text.len() % 128).unwrap() | 0x80;
        let mut message = vec![0x0A, length, u8::try_from(text.len() / 128).unwrap()];
        message.extend(text);
        Self {
            status: 200,
            headers: vec![("content-type", "application/grpc".to_owned())],
            data: vec![Self::prefixed(0, &message)],
            trailers: vec![("grpc-status", "0".to_owned())],
        }
    }

    /// A message as gRPC frames it.
    pub(crate) fn prefixed(compressed: u8, message: &[u8]) -> Vec<u8> {
        let mut bytes = vec![compressed];
        bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        bytes.extend(message);
        bytes
    }

    fn fields(pairs: &[(&'static str, String)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, String)| {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            (HeaderName::from_static(name), value)
        };
        pairs.iter().map(field).collect()
    }
}

/// Answers the calls of one connection so, until it ends.
pub(crate) async fn grpc<S>(stream: S, answer: &Answer, called: impl Fn(&Request<h2::RecvStream>))
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let server = h2::server::Builder::new();
    let Ok(mut connection) = server.handshake::<_, Cursor<Vec<u8>>>(stream).await else {
        return;
    };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        called(&request);
        let mut head = Response::new(());
        *head.status_mut() = http::StatusCode::from_u16(answer.status).unwrap();
        *head.headers_mut() = Answer::fields(&answer.headers);
        let is_only = answer.data.is_empty() && answer.trailers.is_empty();
        let mut body = respond.send_response(head, is_only).unwrap();
        for (index, data) in answer.data.iter().enumerate() {
            let is_last = index + 1 == answer.data.len() && answer.trailers.is_empty();
            body.send_data(Cursor::new(data.clone()), is_last).unwrap();
        }
        if !answer.trailers.is_empty() {
            body.send_trailers(Answer::fields(&answer.trailers))
                .unwrap();
        }
    }
}

async fn grant(stream: &mut Stream) {
    server::write_reply(stream, Reply::Succeeded, UNSPECIFIED)
        .await
        .unwrap();
}

async fn http(stream: &mut Stream, respond: &impl Fn(&str) -> Option<Vec<u8>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut request).await.unwrap() == 0 {
            return;
        }
    }
    match respond(str::from_utf8(&request).unwrap()) {
        Some(response) => stream.write_all(&response).await.unwrap(),
        None => std::future::pending().await,
    }
}
