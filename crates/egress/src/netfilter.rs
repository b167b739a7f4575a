//! Packet rules without an `iptables` command: the tables of ip_tables and ip6_tables, read and
//! replaced by socket options (linux/netfilter_ipv4/ip_tables.h).
//!
//! Our rules stand in a chain of our own, [`CHAIN`], to which the last rule of OUTPUT jumps. So what
//! somebody else put into a table stays, and comes first; and what a killed predecessor left is
//! known by the chain's name, and replaced. A table is always replaced whole, and the kernel says if
//! it has changed since it was read.

mod blob;
mod rule;
mod sockopt;

use std::fmt;
use std::io;

use nix::errno::Errno;

pub(crate) use rule::{Rule, Test, Verdict};
use sockopt::TableSocket;

/// The name of our chain, in every table that we touch.
const CHAIN: &str = "proxify";

/// How often a table is read and replaced anew, if others keep changing it in between.
const ATTEMPTS: usize = 10;

/// The IP version of a table, which has its own layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4: ip_tables.
    V4,
    /// IPv6: ip6_tables.
    V6,
}

/// Addresses are translated here, before a packet is routed again.
pub(crate) const NAT: &str = "nat";
/// Packets are refused here.
pub(crate) const FILTER: &str = "filter";

/// Makes these the rules of our chain in a table's OUTPUT, in place of those that stand there.
pub(crate) fn install(
    family: Family,
    table: &'static str,
    rules: &[Rule],
) -> Result<(), RulesError> {
    change(family, table, |blob| {
        blob.remove_chain(CHAIN);
        blob.add_chain(CHAIN, rules);
    })
}

/// Takes our chain out of a table, if it is there. A table that does not exist is not made.
pub(crate) fn remove(family: Family, table: &'static str) -> Result<(), RulesError> {
    if !exists(family, table) {
        return Ok(());
    }
    change(family, table, |blob| blob.remove_chain(CHAIN))
}

/// Whether a table is there; the kernel makes one when it is first asked about it. The list can be
/// read by root alone, as a table can.
fn exists(family: Family, table: &str) -> bool {
    let names = match family {
        Family::V4 => "/proc/net/ip_tables_names",
        Family::V6 => "/proc/net/ip6_tables_names",
    };
    std::fs::read_to_string(names).is_ok_and(|names| names.lines().any(|name| name == table))
}

fn change(
    family: Family,
    table: &'static str,
    edit: impl Fn(&mut blob::Blob),
) -> Result<(), RulesError> {
    let failed = |doing, source| RulesError::System {
        family,
        table,
        doing,
        source,
    };
    let socket =
        TableSocket::open(family).map_err(|source| failed("open a raw socket for", source))?;
    for _ in 0..ATTEMPTS {
        let (info, entries) = match socket.read(table) {
            Ok(read) => read,
            // It has grown since its size was asked.
            Err(error) if error.raw_os_error() == Some(Errno::EAGAIN as i32) => continue,
            Err(source) => return Err(failed("read", source)),
        };
        let old = blob::Blob::parse(family, &info, &entries)
            .ok_or(RulesError::Malformed { family, table })?;
        let mut new = old.clone();
        edit(&mut new);
        if new == old {
            return Ok(());
        }
        match socket.replace(table, &info, &new.render()) {
            Err(error) if error.raw_os_error() == Some(Errno::EAGAIN as i32) => {}
            done => return done.map_err(|source| failed("replace", source)),
        }
    }
    Err(failed("replace", Errno::EAGAIN.into()))
}

/// Why packet rules could not be set or taken away.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// The kernel refused.
    #[error(
        "cannot {doing} {family}'s table `{table}`: {source}{}",
        advice(source)
    )]
    System {
        /// Whose table.
        family: Family,
        /// Its name.
        table: &'static str,
        /// What was refused.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel's own table does not have the layout that its interface promises.
    #[error("{family}'s table `{table}` has a layout that is not understood")]
    Malformed {
        /// Whose table.
        family: Family,
        /// Its name.
        table: &'static str,
    },
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM | Errno::EACCES) => " (it takes CAP_NET_ADMIN and CAP_NET_RAW)",
        Some(Errno::ENOENT | Errno::ENOPROTOOPT) => {
            " (the kernel needs IP_NF_IPTABLES, IP_NF_NAT, IP_NF_FILTER, IP_NF_TARGET_REJECT and \
             NETFILTER_XT_TARGET_REDIRECT, and for IPv6 the same)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests;
