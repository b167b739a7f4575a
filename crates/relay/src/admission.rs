//! Who may still connect, and how many sockets towards nameservers an enclave holds.
//!
//! One lock, held for a look-up in a map of at most [`Limits::connections`] peers and never across
//! an await. A connection's [`Seat`] gives back what it took when it is dropped, however the
//! connection ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use link::Peer;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::config::Limits;

/// The connections there are.
#[derive(Debug)]
pub(crate) struct Admission {
    per_enclave: usize,
    total: usize,
    sockets_per_enclave: usize,
    sockets: Semaphore,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    enclaves: HashMap<Peer, Enclave>,
}

#[derive(Debug)]
struct Enclave {
    connections: usize,
    sockets: Arc<Semaphore>,
}

/// One connection's place.
#[derive(Debug)]
pub(crate) struct Seat {
    admission: Arc<Admission>,
    peer: Peer,
    sockets: Arc<Semaphore>,
}

/// The right to one socket towards a nameserver, out of the enclave's share and out of all.
#[derive(Debug)]
pub(crate) struct Socket<'a> {
    _own: SemaphorePermit<'a>,
    _of_all: SemaphorePermit<'a>,
}

/// No place is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    #[error("it has {limit} connections already")]
    Enclave { limit: usize },
    #[error("all enclaves together have {limit} connections already")]
    Total { limit: usize },
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            per_enclave: limits.connections_per_enclave,
            total: limits.connections,
            sockets_per_enclave: limits.dns_sockets_per_enclave,
            sockets: Semaphore::new(limits.dns_sockets),
            taken: Mutex::default(),
        }
    }

    /// A place for one more connection of `peer`.
    pub(crate) fn admit(self: &Arc<Self>, peer: Peer) -> Result<Seat, Full> {
        let mut taken = self.taken();
        if taken.total >= self.total {
            return Err(Full::Total { limit: self.total });
        }
        let enclave = taken.enclaves.entry(peer).or_insert_with(|| Enclave {
            connections: 0,
            sockets: Arc::new(Semaphore::new(self.sockets_per_enclave)),
        });
        if enclave.connections >= self.per_enclave {
            return Err(Full::Enclave {
                limit: self.per_enclave,
            });
        }
        enclave.connections += 1;
        let sockets = Arc::clone(&enclave.sockets);
        taken.total += 1;
        Ok(Seat {
            admission: Arc::clone(self),
            peer,
            sockets,
        })
    }

    /// Connections of all enclaves.
    pub(crate) fn connections(&self) -> usize {
        self.taken().total
    }

    /// The enclaves that have connections, and how many.
    pub(crate) fn connected(&self) -> Vec<(Peer, usize)> {
        let taken = self.taken();
        let enclaves = taken.enclaves.iter();
        enclaves
            .map(|(peer, enclave)| (*peer, enclave.connections))
            .collect()
    }

    fn is_connected(&self, peer: Peer) -> bool {
        self.taken().enclaves.contains_key(&peer)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // The counts are changed in steps that cannot panic between them.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    /// Whether this or another enclave has a connection now.
    pub(crate) fn is_connected(&self, peer: Peer) -> bool {
        self.admission.is_connected(peer)
    }

    /// The right to one socket, if there is one now. Nobody waits: queries that did would hold
    /// memory on each of an enclave's connections.
    pub(crate) fn socket(&self) -> Option<Socket<'_>> {
        let own = self.sockets.try_acquire().ok()?;
        let of_all = self.admission.sockets.try_acquire().ok()?;
        Some(Socket {
            _own: own,
            _of_all: of_all,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.admission.taken();
        taken.total = taken.total.saturating_sub(1);
        if let Some(enclave) = taken.enclaves.get_mut(&self.peer) {
            enclave.connections = enclave.connections.saturating_sub(1);
            if enclave.connections == 0 {
                taken.enclaves.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(limits: &Limits) -> Arc<Admission> {
        Arc::new(Admission::new(limits))
    }

    fn seats(admission: &Arc<Admission>, peer: Peer, count: usize) -> Vec<Seat> {
        std::iter::repeat_with(|| admission.admit(peer).unwrap())
            .take(count)
            .collect()
    }

    #[test]
    fn an_enclave_gets_16384_connections_and_others_are_not_concerned() {
        let admission = admission(&Limits::default());
        let mut held = seats(&admission, Peer::Cid(16), 16_384);
        assert_eq!(
            admission.admit(Peer::Cid(16)).unwrap_err(),
            Full::Enclave { limit: 16_384 }
        );
        admission.admit(Peer::Cid(17)).unwrap();
        held.pop();
        admission.admit(Peer::Cid(16)).unwrap();
    }

    #[test]
    fn all_enclaves_together_get_65536_connections() {
        let admission = admission(&Limits::default());
        let mut held: Vec<_> = (16..20)
            .flat_map(|cid| seats(&admission, Peer::Cid(cid), 16_384))
            .collect();
        assert_eq!(
            admission.admit(Peer::Unix(9)).unwrap_err(),
            Full::Total { limit: 65_536 }
        );
        held.pop();
        admission.admit(Peer::Unix(9)).unwrap();
        held.clear();
        assert!(admission.taken().enclaves.is_empty());
    }

    #[test]
    fn sockets_are_bounded_for_an_enclave_and_for_all() {
        let admission = admission(&Limits::default());
        let seats: Vec<_> = [16, 16, 17, 18]
            .map(|cid| admission.admit(Peer::Cid(cid)).unwrap())
            .into();
        let first: Vec<_> = (0..2048).map(|_| seats[0].socket().unwrap()).collect();
        assert!(
            seats[1].socket().is_none(),
            "another connection of the same enclave"
        );
        let second: Vec<_> = (0..2048).map(|_| seats[2].socket().unwrap()).collect();
        assert!(seats[3].socket().is_none(), "all 4,096 are taken");
        drop(first);
        assert!(seats[1].socket().is_some());
        assert!(seats[3].socket().is_some());
        drop(second);
    }
}
