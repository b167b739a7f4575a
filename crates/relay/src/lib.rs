//! The parent's daemon: SOCKS5 in from the enclaves, TCP and DNS over UDP out.
//!
//! An enclave reaches the world through its parent instance only. Each connection of the link
//! carries one request (RFC 1928): CONNECT becomes a TCP connection, DNS (0xD0) a stream of
//! queries that leave as UDP, RESOLV_CONF (0xD1) a feed of the parent's resolv.conf, REPORT (0xD2)
//! what the enclave tells of itself, and BIND hands in a connection to one of the parent's ports. The
//! parts:
//!
//! - [`serve`]: accepts, counts, and drains at the end;
//! - `connection`: one connection, from its handshake to its command;
//! - `dns`, `tunnel`, `resolv_conf`, `reporter`, `bind`: the commands;
//! - [`enclaves`]: what the enclaves have told of themselves;
//! - `quota`: how many packets go to nameservers, and whose turn it is;
//! - `operators`, `commands`: what operators of the parent ask;
//! - [`Policy`]: which addresses an enclave may reach.
//!
//! The enclaves are guests on the parent, so nothing that one of them sends may harm another:
//! every size, count and wait has a limit in [`Limits`] or beside the code that keeps it.

mod admission;
mod bind;
mod cli;
mod commands;
mod config;
mod connection;
mod counters;
mod dns;
pub mod enclaves;
mod floods;
mod operators;
mod page;
mod policy;
mod quota;
mod ready;
mod refusals;
mod reporter;
mod resolv_conf;
mod server;
mod tunnel;

pub use bind::{BindTo, ParseBindToError};
pub use cli::{command_line, main};
pub use config::{Config, Limits};
pub use policy::Policy;
pub use resolv_conf::Files;
pub use server::serve;

#[cfg(test)]
mod tests;
