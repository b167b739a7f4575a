//! A unix socket on which a program answers those who operate it.
//!
//! A connection carries one line of JSON, the request, and lines of JSON back: for most requests one, for
//! what takes a while several, as they come. The socket is for root and the program's own user.
//!
//! - [`Conversation`]: what is said on a socket, and by whom;
//! - [`Server`]: the end that answers;
//! - [`ask`], [`listen`]: the end that asks.

#![forbid(unsafe_code)]

mod client;
mod server;
mod socket;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use client::{AskError, ask, listen};
pub use server::{Replies, Server};
pub use socket::SocketError;

/// What is said on a socket.
pub trait Conversation: 'static {
    /// What an operator wants. At most a kibibyte or so of JSON.
    type Request: Serialize + DeserializeOwned + Send + 'static;

    /// What an operator gets. At most a mebibyte of JSON each.
    type Reply: Serialize + DeserializeOwned + Send + 'static;

    /// Who answers, as in "proxify's answer".
    const PROGRAM: &'static str;

    /// What it means that nobody listens, as "no proxify serves names here".
    const NOBODY: &'static str;

    /// What to do then.
    const START: &'static str;

    /// How long an answer may take, with all that comes before its last line.
    const ANSWER: Duration;
}

/// The last line in the place of a reply: why there is none.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Refusal {
    refused: String,
}
