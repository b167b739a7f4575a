//! resolv.conf (resolv.conf(5), glibc and musl) as bounded values.
//!
//! The text may come from an adversary: the enclave reads its parent's. So nothing of it is ever
//! copied into a file that we write. [`ResolvConf::parse`] takes addresses, names and two numbers
//! out of it, each within a limit named here, and [`ResolvConf::render`] writes a new text from
//! those values.
//!
//! Words are read by the kept parser `resolv-conf`, the one under hickory-resolver, a line at a
//! time: a line that it refuses costs that line only, as in libc.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::net::IpAddr;

#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod line;
#[cfg(test)]
mod tests;

/// Bytes of a resolv.conf that are read; the rest, and the line that straddles the limit, is
/// ignored. A file that people wrote is below 4 KiB.
pub const MAX_TEXT: usize = 64 * 1024;

/// Nameservers kept, in their order. libc uses 3; a DHCP option set may name 4, and 8 bounds the
/// connections upstream.
pub const MAX_NAMESERVERS: usize = 8;

/// Search names kept, in their order: what glibc before 2.26 allows, and a bound on the queries
/// that a short name costs.
pub const MAX_SEARCH: usize = 6;

/// Bytes of the search list with its blanks: musl drops a line that is longer than 255 bytes with
/// `search ` and line end.
pub const MAX_SEARCH_TEXT: usize = 247;

/// The largest `timeout`, in seconds: libc's default, beyond which a client waits longer than the
/// stub ever takes.
pub const MAX_TIMEOUT: u8 = 5;

/// The largest `attempts`: what libc caps it at.
pub const MAX_ATTEMPTS: u8 = 5;

/// What is taken from a resolv.conf.
///
/// Everything else is left out on purpose: `ndots` is ours to say, `use-vc` and `trust-ad` are not
/// for the parent to set, and sortlists belong to the application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Addresses in the file's order, each once, at most [`MAX_NAMESERVERS`]. Loopback and other
    /// unusable ones are among them: ask [`ResolvConf::usable`].
    pub nameservers: Vec<IpAddr>,
    /// Names of the last `search` or `domain` line, without the final dot, at most [`MAX_SEARCH`].
    pub search: Vec<String>,
    /// Seconds that a client waits for an answer, 1 to [`MAX_TIMEOUT`].
    pub timeout: Option<u8>,
    /// Times that a client asks, 1 to [`MAX_ATTEMPTS`].
    pub attempts: Option<u8>,
}

impl ResolvConf {
    /// Reads a resolv.conf. Never fails: what is not understood or not valid is skipped, as libc
    /// does.
    pub fn parse(text: &[u8]) -> Self {
        let mut conf = Self::default();
        for line in whole_lines(text).split(|&byte| byte == b'\n') {
            conf.take(line);
        }
        conf
    }

    /// A resolv.conf with these values and nothing else.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for address in &self.nameservers {
            let _ = writeln!(text, "nameserver {address}");
        }
        if !self.search.is_empty() {
            let _ = writeln!(text, "search {}", self.search.join(" "));
        }
        for (option, value) in [("timeout", self.timeout), ("attempts", self.attempts)] {
            if let Some(value) = value {
                let _ = writeln!(text, "options {option}:{value}");
            }
        }
        text
    }

    /// Whether DNS can be sent to this address from another host.
    ///
    /// Not so: unspecified, loopback, multicast, broadcast and IPv4-mapped addresses, and IPv6
    /// link-local ones, since the scope that they need does not leave its host. IPv4 link-local is
    /// usable: AmazonDNS answers at 169.254.169.253.
    pub fn usable(address: IpAddr) -> bool {
        let special = address.is_unspecified() || address.is_loopback() || address.is_multicast();
        !special
            && match address {
                IpAddr::V4(v4) => !v4.is_broadcast(),
                IpAddr::V6(v6) => v6.to_ipv4_mapped().is_none() && !v6.is_unicast_link_local(),
            }
    }

    fn take(&mut self, line: &[u8]) {
        for value in line::read(line) {
            match value {
                line::Value::Nameserver(address) => {
                    if self.nameservers.len() < MAX_NAMESERVERS
                        && !self.nameservers.contains(&address)
                    {
                        self.nameservers.push(address);
                    }
                }
                line::Value::Search(names) => self.search = names,
                line::Value::Timeout(seconds) => self.timeout = Some(clamp(seconds, MAX_TIMEOUT)),
                line::Value::Attempts(times) => self.attempts = Some(clamp(times, MAX_ATTEMPTS)),
            }
        }
    }
}

fn clamp(value: u32, most: u8) -> u8 {
    u8::try_from(value).unwrap_or(most).clamp(1, most)
}

/// The lines that end within [`MAX_TEXT`]. Half a line is not taken: half an address can be another
/// address.
fn whole_lines(text: &[u8]) -> &[u8] {
    match text.get(..MAX_TEXT) {
        Some(head) if text.len() > MAX_TEXT => {
            let end = head.iter().rposition(|&byte| byte == b'\n').unwrap_or(0);
            head.get(..end).unwrap_or_default()
        }
        _ => text,
    }
}
