//! Past the cache: the link's DNS command, and on it frames to a nameserver of the parent's, as the stub
//! sends them.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use link::{Command, Parent, Reply, RequestError, Stream, frame};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout_at;

use super::reply::{Judged, judge};
use super::{Answer, Ask, OpenError};
use crate::Failure;
use crate::questions::Lookup;

/// A nameserver behind the link.
pub(super) struct Upstream {
    parent: Parent,
    nameserver: SocketAddr,
    timeout: Duration,
    runtime: Runtime,
    /// Gone after a failure of the connection.
    connection: Option<Connection>,
}

struct Connection {
    frames: frame::Reader<ReadHalf<Stream>>,
    out: WriteHalf<Stream>,
}

impl Upstream {
    pub(super) fn open(
        parent: Parent,
        nameserver: SocketAddr,
        timeout: Duration,
    ) -> Result<Self, OpenError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| OpenError::System { source })?;
        let connection = runtime.block_on(connect(&parent, nameserver));
        let connection = connection.map_err(|source| match is_unknown_command(&source) {
            true => OpenError::OldParent {
                parent: parent.clone(),
            },
            false => OpenError::Link { source },
        })?;
        Ok(Self {
            parent,
            nameserver,
            timeout,
            runtime,
            connection: Some(connection),
        })
    }
}

impl Ask for Upstream {
    fn ask(&mut self, lookup: &Lookup) -> Result<Answer, Failure> {
        let deadline = Instant::now() + self.timeout;
        let Self {
            parent,
            nameserver,
            runtime,
            connection,
            ..
        } = self;
        let kept = connection.take();
        let exchange = async {
            let mut open = match kept {
                Some(open) => open,
                None => connect(parent, *nameserver)
                    .await
                    .map_err(|_| Failure::Unreachable)?,
            };
            let result = open.exchange(lookup).await;
            Ok((result?, open))
        };
        match runtime.block_on(async { timeout_at(deadline.into(), exchange).await }) {
            Ok(Ok((result, open))) => {
                *connection = Some(open);
                result
            }
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::Timeout),
        }
    }
}

impl Connection {
    /// The end of the lookup; an error when it is the connection's end.
    async fn exchange(&mut self, lookup: &Lookup) -> io::Result<Result<Answer, Failure>> {
        frame::write(&mut self.out, &lookup.packet).await?;
        loop {
            let Some(message) = self.frames.next().await? else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            match judge(lookup, message) {
                Judged::Ended(result) => return Ok(result),
                // The relay has asked over TCP itself.
                Judged::Truncated => return Ok(Ok(Answer { is_empty: false })),
                Judged::NotOurs => {}
            }
        }
    }
}

async fn connect(parent: &Parent, nameserver: SocketAddr) -> Result<Connection, RequestError> {
    let stream = parent.request(Command::Dns(nameserver)).await?.stream;
    let (read, out) = tokio::io::split(stream);
    Ok(Connection {
        frames: frame::Reader::new(read),
        out,
    })
}

/// The old `proxy` closes; other SOCKS5 servers say it.
fn is_unknown_command(error: &RequestError) -> bool {
    matches!(
        error,
        RequestError::Closed { .. }
            | RequestError::Refused {
                reply: Reply::CommandNotSupported,
                ..
            }
    )
}
