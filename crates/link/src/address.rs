//! Where the two halves meet, as written on a command line.
//!
//! `unix:PREFIX` follows the convention of Firecracker and of vhost-device-vsock: the socket of
//! vsock port 8888 is the file `PREFIX_8888`, so one relay serves their guests unchanged.

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokio_vsock::VMADDR_CID_ANY;

/// Where the parent is: `vsock:CID`, `unix:PREFIX` or `tcp:IP`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// AF_VSOCK to this context id; 3 is the parent instance of a Nitro enclave.
    Vsock(u32),
    /// The unix socket `PREFIX_PORT`.
    Unix(PathBuf),
    /// TCP to this address: for tests, since nothing on it is encrypted or authenticated.
    Tcp(IpAddr),
}

/// Where the relay listens: `vsock:any`, `unix:PREFIX` or `tcp:IP`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// AF_VSOCK on every context id of this machine.
    VsockAny,
    /// The unix socket `PREFIX_PORT`.
    Unix(PathBuf),
    /// TCP on this address: for tests, since nothing on it is encrypted or authenticated.
    Tcp(IpAddr),
}

/// Text that names no address of the link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseAddressError {
    /// None of the three schemes.
    #[error("`{text}` is not an address of the link: use {expected}")]
    Scheme {
        /// What was given.
        text: String,
        /// The forms that would have been taken.
        expected: &'static str,
    },
    /// Not a number, or one that stands for no single machine.
    #[error("`{text}` is not a vsock context id: use a number such as 3, the parent instance")]
    Cid {
        /// What stood after `vsock:`.
        text: String,
    },
    /// The relay listens on all context ids or none.
    #[error("`vsock:{text}`: the relay listens on `vsock:any` only")]
    ListenCid {
        /// What stood after `vsock:`.
        text: String,
    },
    /// `unix:` and nothing after it.
    #[error(
        "`unix:` needs the prefix of a socket's path: `unix:/run/proxify` is /run/proxify_8888"
    )]
    EmptyPrefix,
    /// Not an IP address; names are not looked up.
    #[error("`{text}` is not an IP address: use one such as `tcp:127.0.0.1`")]
    Ip {
        /// What stood after `tcp:`.
        text: String,
    },
}

impl Address {
    /// The parent instance of a Nitro enclave.
    pub const PARENT: Self = Self::Vsock(3);

    /// With the port, as it is dialled: `vsock:3:8888`, `unix:/run/x_8888`, `tcp:[::1]:8888`.
    pub(crate) fn endpoint(&self, port: u32) -> String {
        match self {
            Self::Vsock(cid) => format!("vsock:{cid}:{port}"),
            Self::Unix(prefix) => unix_endpoint(prefix, port),
            Self::Tcp(ip) => tcp_endpoint(*ip, port),
        }
    }
}

impl ListenAddress {
    /// With the port, as it is bound: `vsock:any:8888`, `unix:/run/x_8888`, `tcp:[::1]:8888`.
    pub(crate) fn endpoint(&self, port: u32) -> String {
        match self {
            Self::VsockAny => format!("vsock:any:{port}"),
            Self::Unix(prefix) => unix_endpoint(prefix, port),
            Self::Tcp(ip) => tcp_endpoint(*ip, port),
        }
    }
}

/// The file that stands for `port` under `prefix`.
pub(crate) fn unix_path(prefix: &Path, port: u32) -> PathBuf {
    let mut path = OsString::from(prefix);
    path.push(format!("_{port}"));
    path.into()
}

fn unix_endpoint(prefix: &Path, port: u32) -> String {
    format!("unix:{}", unix_path(prefix, port).display())
}

fn tcp_endpoint(ip: IpAddr, port: u32) -> String {
    match ip {
        IpAddr::V4(ip) => format!("tcp:{ip}:{port}"),
        IpAddr::V6(ip) => format!("tcp:[{ip}]:{port}"),
    }
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("vsock", cid)) => match cid.parse() {
                Ok(VMADDR_CID_ANY) | Err(_) => Err(ParseAddressError::Cid { text: cid.into() }),
                Ok(cid) => Ok(Self::Vsock(cid)),
            },
            Some(("unix", prefix)) => unix_prefix(prefix).map(Self::Unix),
            Some(("tcp", ip)) => tcp_ip(ip).map(Self::Tcp),
            _ => Err(ParseAddressError::Scheme {
                text: text.into(),
                expected: "vsock:CID, unix:PREFIX or tcp:IP",
            }),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("vsock", "any")) => Ok(Self::VsockAny),
            Some(("vsock", cid)) => Err(ParseAddressError::ListenCid { text: cid.into() }),
            Some(("unix", prefix)) => unix_prefix(prefix).map(Self::Unix),
            Some(("tcp", ip)) => tcp_ip(ip).map(Self::Tcp),
            _ => Err(ParseAddressError::Scheme {
                text: text.into(),
                expected: "vsock:any, unix:PREFIX or tcp:IP",
            }),
        }
    }
}

fn unix_prefix(prefix: &str) -> Result<PathBuf, ParseAddressError> {
    if prefix.is_empty() {
        return Err(ParseAddressError::EmptyPrefix);
    }
    Ok(prefix.into())
}

fn tcp_ip(text: &str) -> Result<IpAddr, ParseAddressError> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse()
        .map_err(|_| ParseAddressError::Ip { text: text.into() })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vsock(cid) => write!(f, "vsock:{cid}"),
            Self::Unix(prefix) => write!(f, "unix:{}", prefix.display()),
            Self::Tcp(ip) => write!(f, "tcp:{ip}"),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VsockAny => write!(f, "vsock:any"),
            Self::Unix(prefix) => write!(f, "unix:{}", prefix.display()),
            Self::Tcp(ip) => write!(f, "tcp:{ip}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_reads_back_as_written() {
        for text in [
            "vsock:3",
            "vsock:16",
            "unix:/run/proxify",
            "tcp:127.0.0.1",
            "tcp:::1",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for text in ["vsock:any", "unix:/run/proxify", "tcp:127.0.0.1", "tcp:::1"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        assert_eq!(
            "tcp:[::1]".parse::<Address>().unwrap(),
            "tcp:::1".parse().unwrap()
        );
    }

    #[test]
    fn the_endpoint_carries_the_port() {
        let endpoint = |text: &str| text.parse::<Address>().unwrap().endpoint(8888);
        assert_eq!(endpoint("vsock:3"), "vsock:3:8888");
        assert_eq!(endpoint("unix:/run/x"), "unix:/run/x_8888");
        assert_eq!(endpoint("tcp:::1"), "tcp:[::1]:8888");
        assert_eq!(ListenAddress::VsockAny.endpoint(8888), "vsock:any:8888");
    }

    #[test]
    fn what_names_no_address_is_refused_with_what_would_do() {
        for (text, hint) in [
            ("3", "vsock:CID"),
            ("vsock:", "a number such as 3"),
            ("vsock:any", "a number such as 3"),
            ("vsock:4294967295", "a number such as 3"),
            ("vsock:-1", "a number such as 3"),
            ("unix:", "/run/proxify_8888"),
            ("tcp:localhost", "tcp:127.0.0.1"),
            ("tcp:127.0.0.1:80", "tcp:127.0.0.1"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
        for (text, hint) in [
            ("vsock:3", "vsock:any"),
            ("any", "vsock:any"),
            ("unix:", "unix:/run"),
        ] {
            let error = text.parse::<ListenAddress>().unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}
