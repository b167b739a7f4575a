//! Who may still connect, and how many sockets towards nameservers an enclave holds.
//!
//! One lock, held for a look-up in a map of at most [`Limits::connections`] peers and never across
//! an await. A connection's [`Seat`] gives back what it took when it is dropped, however the
//! connection ends.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use link::Peer;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::config::Limits;
use crate::counters::Counters;

/// Enclaves without a connection whose counters are kept: of those that started anew many times.
const PAST: usize = 64;

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
    /// What was done for those who have no connection any more, the last at the end.
    past: VecDeque<(Peer, Arc<Counters>)>,
}

#[derive(Debug)]
struct Enclave {
    connections: usize,
    sockets: Arc<Semaphore>,
    counters: Arc<Counters>,
}

/// One connection's place.
#[derive(Debug)]
pub(crate) struct Seat {
    admission: Arc<Admission>,
    peer: Peer,
    sockets: Arc<Semaphore>,
    counters: Arc<Counters>,
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
        let Taken {
            total,
            enclaves,
            past,
        } = &mut *taken;
        if *total >= self.total {
            let counters = match enclaves.get(&peer) {
                Some(enclave) => Some(&enclave.counters),
                None => past.iter().rfind(|(of, _)| *of == peer).map(|(_, of)| of),
            };
            if let Some(counters) = counters {
                counters.turned_away.add(1);
            }
            return Err(Full::Total { limit: self.total });
        }
        let enclave = enclaves.entry(peer).or_insert_with(|| Enclave {
            connections: 0,
            sockets: Arc::new(Semaphore::new(self.sockets_per_enclave)),
            counters: of_past(past, peer).unwrap_or_default(),
        });
        if enclave.connections >= self.per_enclave {
            enclave.counters.turned_away.add(1);
            return Err(Full::Enclave {
                limit: self.per_enclave,
            });
        }
        enclave.connections += 1;
        enclave.counters.connections.add(1);
        let sockets = Arc::clone(&enclave.sockets);
        let counters = Arc::clone(&enclave.counters);
        *total += 1;
        Ok(Seat {
            admission: Arc::clone(self),
            peer,
            sockets,
            counters,
        })
    }

    /// Each enclave, how many connections it has, and what was done for it.
    pub(crate) fn counted(&self) -> Vec<(Peer, usize, Arc<Counters>)> {
        let taken = self.taken();
        let now = taken.enclaves.iter();
        let now = now.map(|(peer, of)| (*peer, of.connections, Arc::clone(&of.counters)));
        let past = taken.past.iter().rev();
        let past = past.map(|(peer, counters)| (*peer, 0, Arc::clone(counters)));
        now.chain(past).collect()
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

/// What was done for an enclave that is back.
fn of_past(past: &mut VecDeque<(Peer, Arc<Counters>)>, peer: Peer) -> Option<Arc<Counters>> {
    let at = past.iter().position(|(of, _)| *of == peer)?;
    past.remove(at).map(|(_, counters)| counters)
}

impl Seat {
    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    /// What is done for the enclave.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
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
                if taken.past.len() >= PAST {
                    taken.past.pop_front();
                }
                let past = (self.peer, Arc::clone(&self.counters));
                taken.past.push_back(past);
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
    fn counters_outlive_connections_and_are_bounded() {
        let admission = admission(&Limits {
            connections: 1,
            ..Limits::default()
        });
        for _ in 0..2 {
            let seat = admission.admit(Peer::Cid(16)).unwrap();
            admission.admit(Peer::Cid(16)).unwrap_err();
            drop(seat);
        }
        let counted = || -> Vec<_> {
            let counted = admission.counted().into_iter();
            let counts = |(peer, open, counters): (_, _, Arc<Counters>)| {
                (
                    peer,
                    open,
                    counters.connections.read(),
                    counters.turned_away.read(),
                )
            };
            counted.map(counts).collect()
        };
        assert_eq!(counted(), [(Peer::Cid(16), 0, 2, 2)]);
        for cid in 0..1000 {
            admission.admit(Peer::Cid(100 + cid)).unwrap();
        }
        let _held = admission.admit(Peer::Cid(1099)).unwrap();
        let counted = counted();
        assert_eq!(counted.len(), PAST);
        assert_eq!(counted[0], (Peer::Cid(1099), 1, 2, 0));
        assert_eq!(counted[1], (Peer::Cid(1098), 0, 1, 0), "the last first");
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
