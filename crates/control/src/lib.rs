//! What operators ask a running proxify, and what it tells them: `proxify status`, `proxify explain
//! NAME`, `proxify cache flush`.
//!
//! The proxify that serves names listens on a unix socket beside its lock, [`SOCKET`]. A connection
//! carries one line of JSON, the [`Request`], and one back, the [`Reply`]:
//!
//! ```text
//! {"explain":{"name":"ec2.us-east-1.amazonaws.com","rtype":1}}
//! {"explained":{"cached":{"age_ms":38000,"left":{"fresh":22000},"message":"0000…"},…}}
//! ```
//!
//! - [`Status`], from `report`: how proxify is;
//! - [`serve`] and [`ask`]: both ends of the socket, which `operator` makes;
//! - [`explain`]: what a libc would do with a name before and behind the stub, put together by the
//!   command. Answers come to it as bytes: the process that serves names parses no more than it needs;
//! - `show`: explanations as text for people.

#![forbid(unsafe_code)]

pub mod explain;
mod protocol;
mod show;

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use operator::Conversation;

pub use operator::{AskError, Server, SocketError};
pub use protocol::{
    Cached, Explanation, Held, Hex, LastFailure, Left, Looked, Reply, Request, UnderWay,
};
pub use report::{
    Durations, Gauges, Health, Link, Nameserver, Parent, ParentKind, Port, Status, Style, Totals,
};

/// Where the proxify that serves names is asked.
pub const SOCKET: &str = "/run/proxify.sock";

/// How long an answer may take: a lookup ends after 4 s.
const ANSWER: Duration = Duration::from_secs(6);

/// What is said on the socket.
#[derive(Debug)]
enum Said {}

impl Conversation for Said {
    type Request = Request;
    type Reply = Reply;
    const PROGRAM: &'static str = "proxify";
    const NOBODY: &'static str = "no proxify serves names here";
    const START: &'static str = "start `proxify dns`, or `proxify -- APP`";
    const ANSWER: Duration = ANSWER;
}

/// Answers requests on the socket at `path` by `answer`, in a task of the current tokio runtime. The
/// caller has seen to it that nobody else does: a socket that is there is replaced.
///
/// # Errors
/// The socket cannot be made.
pub fn serve<A, F>(path: &Path, answer: A) -> Result<Server, SocketError>
where
    A: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Reply, String>> + Send + 'static,
{
    Server::start::<Said, _, _>(path, move |request, _| answer(request))
}

/// Asks the proxify that serves names here, at [`SOCKET`].
///
/// # Errors
/// [`AskError`]; a request that proxify refuses is one too.
pub fn ask(socket: &Path, request: &Request) -> Result<Reply, AskError> {
    operator::ask::<Said>(socket, request)
}

/// What is wrong with a reply that is none to its request.
#[must_use]
pub fn other() -> AskError {
    AskError::other(Said::PROGRAM)
}
