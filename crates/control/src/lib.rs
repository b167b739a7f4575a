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
//! - [`Server`] and [`ask`]: both ends of the socket;
//! - [`explain`]: what a libc would do with a name before and behind the stub, put together by the
//!   command. Answers come to it as bytes: the process that serves names parses no more than it needs;
//! - `show`: explanations as text for people.

#![forbid(unsafe_code)]

mod client;
pub mod explain;
mod protocol;
mod server;
mod show;
mod socket;

pub use client::{AskError, ask};
pub use protocol::{
    Cached, Explanation, Held, Hex, LastFailure, Left, Looked, Reply, Request, UnderWay,
};
pub use report::{
    Durations, Gauges, Health, Link, Nameserver, Parent, ParentKind, Port, Status, Style, Totals,
};
pub use server::Server;
pub use socket::SocketError;

/// Where the proxify that serves names is asked.
pub const SOCKET: &str = "/run/proxify.sock";
