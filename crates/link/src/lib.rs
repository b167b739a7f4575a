//! A byte stream between the enclave and its parent instance, and SOCKS5 on it.
//!
//! An enclave has no network but a vsock to its parent. Everything between the two halves is one
//! protocol on one port: SOCKS5 (RFC 1928, no authentication), with three commands of our own in
//! the private range. The enclave dials with [`Parent::request`]; the relay accepts with
//! [`Listener`] and reads the request with [`socks::server`]. After the reply the stream belongs
//! to the command: bytes of a TCP connection (CONNECT), or frames of a length and a message
//! ([`frame`]) for DNS, RESOLV_CONF and REPORT.
//!
//! The transport is chosen by the address at run time (`vsock:`, `unix:`, `tcp:`), so tests run
//! the code that an enclave runs.

#![deny(unsafe_code)]

mod address;
mod carry;
mod complaints;
pub mod frame;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod listener;
mod local;
mod parent;
mod rule;
pub mod socks;
mod stream;

pub use address::{Address, ListenAddress, ParseAddressError};
pub use carry::{Carried, CarryError, IDLE, Side, carry, carry_counted};
pub use complaints::{Complaints, Seldom};
pub use listener::{BindError, Listener, Peer};
pub use local::Local;
pub use parent::{Accepted, HANDSHAKE, Parent, RequestError};
pub use rule::{ParseRuleError, Rule};
pub use socks::client::ExchangeError;
pub use socks::{Command, Reply};
pub use stream::Stream;

/// The port of the old parent `proxy`, kept so that either half can be swapped alone.
pub const DEFAULT_PORT: u32 = 8888;
