//! The addresses of this machine's interfaces.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use tokio::time::Instant;

/// How long they are believed. To read them takes longer than the rest of a request together.
const FRESH: Duration = Duration::from_secs(1);

/// The addresses as they are now, or were within [`FRESH`].
#[derive(Debug, Default)]
pub(crate) struct OwnAddresses {
    read: Mutex<Option<(Instant, Arc<[IpAddr]>)>>,
}

impl OwnAddresses {
    pub(crate) fn at(&self, now: Instant) -> io::Result<Arc<[IpAddr]>> {
        self.at_with(now, read)
    }

    fn at_with(
        &self,
        now: Instant,
        read: impl FnOnce() -> io::Result<Arc<[IpAddr]>>,
    ) -> io::Result<Arc<[IpAddr]>> {
        let mut last = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((at, addresses)) if now.saturating_duration_since(*at) < FRESH => {
                Ok(Arc::clone(addresses))
            }
            _ => {
                let addresses = read()?;
                *last = Some((now, Arc::clone(&addresses)));
                Ok(addresses)
            }
        }
    }
}

fn read() -> io::Result<Arc<[IpAddr]>> {
    let ip_of = |address: nix::ifaddrs::InterfaceAddress| {
        let address = address.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
    };
    Ok(getifaddrs()?.filter_map(ip_of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_include_loopback() {
        let own = OwnAddresses::default().at(Instant::now()).unwrap();
        assert!(own.iter().any(IpAddr::is_loopback), "{own:?}");
    }

    #[test]
    fn a_change_is_seen_within_a_second_and_a_failure_is_not_remembered() {
        let own = OwnAddresses::default();
        let start = Instant::now();
        let first: Arc<[IpAddr]> = [[10, 0, 0, 1].into()].into();
        let second: Arc<[IpAddr]> = [[10, 0, 0, 2].into()].into();
        let fail = || Err(io::ErrorKind::OutOfMemory.into());
        own.at_with(start, fail).unwrap_err();
        assert_eq!(own.at_with(start, || Ok(first.clone())).unwrap(), first);
        let soon = start + Duration::from_millis(999);
        assert_eq!(own.at_with(soon, || Ok(second.clone())).unwrap(), first);
        let later = start + FRESH;
        own.at_with(later, fail).unwrap_err();
        assert_eq!(own.at_with(later, || Ok(second.clone())).unwrap(), second);
    }
}
