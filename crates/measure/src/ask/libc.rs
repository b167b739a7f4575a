//! getaddrinfo(3), which is how most programs look names up.
//!
//! It is that of the libc which this program is linked with: nsswitch.conf and resolv.conf are read, A
//! and AAAA asked for, answers merged and sorted, as in any program with that libc. A static glibc
//! (since 2.34) has `files` and `dns` within it, which is what an image's nsswitch.conf names; others are
//! shared libraries, and loading those of another glibc into a static program may crash it.

use std::io;
use std::net::ToSocketAddrs as _;

use super::{Answer, Ask, OpenError};
use crate::Failure;
use crate::questions::Lookup;

/// Any port: getaddrinfo only copies it into its results.
const PORT: u16 = 443;

/// What std says before libc's own words.
const PREFIX: &str = "failed to lookup address information: ";

/// Modules that a static glibc has within it.
const BUILT_IN: [&str; 2] = ["files", "dns"];

/// Whether libc is glibc, linked in.
const IS_STATIC_GLIBC: bool = cfg!(all(target_env = "gnu", target_feature = "crt-static"));

/// This process's libc.
pub(super) struct Libc;

impl Libc {
    pub(super) fn open() -> Result<Self, OpenError> {
        if IS_STATIC_GLIBC {
            let switch = std::fs::read("/etc/nsswitch.conf").unwrap_or_default();
            if let Some(module) = foreign_module(&String::from_utf8_lossy(&switch)) {
                return Err(OpenError::Module { module });
            }
        }
        Ok(Self)
    }
}

impl Ask for Libc {
    fn ask(&mut self, lookup: &Lookup) -> Result<Answer, Failure> {
        match (lookup.host.as_str(), PORT).to_socket_addrs() {
            Ok(mut addresses) => Ok(Answer {
                is_empty: addresses.next().is_none(),
            }),
            Err(error) => Err(failure(&error)),
        }
    }
}

/// libc's words are all that std passes on: EAI_NONAME is "Name or service not known", EAI_AGAIN, for
/// SERVFAIL and for silence alike, "Temporary failure in name resolution".
fn failure(error: &io::Error) -> Failure {
    let text = error.to_string();
    Failure::Libc(text.strip_prefix(PREFIX).unwrap_or(&text).to_owned())
}

/// The first module of the `hosts` line (nsswitch.conf(5)) that is not within a static glibc.
fn foreign_module(switch: &str) -> Option<String> {
    let hosts = switch.lines().find_map(|line| {
        let line = line.split('#').next()?;
        line.trim_start().strip_prefix("hosts:")
    })?;
    let mut is_action = false;
    let module = hosts.split_whitespace().find(|word| {
        // `[!UNAVAIL=return]`, which may have blanks inside.
        let begins = word.starts_with('[');
        let skip = begins || is_action;
        is_action = skip && !word.ends_with(']');
        !skip && !BUILT_IN.contains(word)
    })?;
    Some(module.escape_debug().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_that_must_be_loaded_are_told() {
        for (switch, module) in [
            ("", None),
            ("passwd: files systemd\nhosts:\tfiles dns\n", None),
            ("hosts: files [ NOTFOUND=continue ] dns # resolve", None),
            (
                "hosts: files resolve [!UNAVAIL=return] dns",
                Some("resolve"),
            ),
            (
                "  hosts: dns [!UNAVAIL=return] myhostname",
                Some("myhostname"),
            ),
        ] {
            assert_eq!(foreign_module(switch).as_deref(), module, "{switch}");
        }
    }

    #[test]
    fn what_libc_says_is_the_kind() {
        let error = io::Error::other(format!("{PREFIX}Name or service not known"));
        assert_eq!(
            failure(&error),
            Failure::Libc("Name or service not known".to_owned())
        );
    }
}
