//! A parent instance of the tests': the link's own server side on a unix socket.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use link::socks::{UNSPECIFIED, server};
use link::{Command, ListenAddress, Listener, Parent, Reply, Stream, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A parent, and the enclave's way to it.
pub(crate) struct FakeParent {
    listener: Listener,
    parent: Parent,
}

/// How the parts of a parent behave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Behaviour {
    pub(crate) resolv_conf: Part,
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
    let command = server::read_request(&mut stream).await.unwrap();
    let now = behaviour.borrow_and_update().clone();
    let imds: SocketAddr = "169.254.169.254:80".parse().unwrap();
    match (command, &now.imds) {
        (Command::Dns(_) | Command::ResolvConf, _) if now.is_old => return,
        (Command::ResolvConf, _) => {
            if let Part::Says(_) = &now.resolv_conf {
                grant(&mut stream).await;
                loop {
                    let Part::Says(text) = behaviour.borrow_and_update().resolv_conf.clone() else {
                        return;
                    };
                    frame::write(&mut stream, text.as_bytes()).await.unwrap();
                    behaviour.changed().await.unwrap();
                }
            }
        }
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
