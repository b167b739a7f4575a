//! Enclaves that wait, and whose turn is next (start-time fair queueing, Goyal et al., SIGCOMM 1996).
//!
//! Each enclave's next query has a tag: the packets that the enclave was granted, and for one that
//! comes late what the others were granted meanwhile. The least tag is next. So enclaves that want more
//! than their share get equal shares, and one that wants less has what it asks for and is
//! served before them.

use std::collections::{HashMap, VecDeque};

use link::Peer;

use super::OverQuota;

/// Queries of type `Q` that wait, by enclave.
#[derive(Clone, Debug)]
pub(super) struct Turns<Q> {
    enclaves: HashMap<Peer, Enclave<Q>>,
    waiting: usize,
    /// Most that may wait, over all enclaves.
    room: usize,
    /// Whether somebody waits for a query still.
    is_wanted: fn(&Q) -> bool,
    /// The tag of the last turn.
    tag: u64,
}

#[derive(Clone, Debug)]
struct Enclave<Q> {
    tag: u64,
    /// What each costs in packets, and the query; the oldest first.
    queries: VecDeque<(u32, Q)>,
}

impl<Q> Turns<Q> {
    pub(super) fn new(room: usize, is_wanted: fn(&Q) -> bool) -> Self {
        Self {
            enclaves: HashMap::new(),
            waiting: 0,
            room,
            is_wanted,
            tag: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// Has a query wait. When there is no room, the enclave with the most queries loses its newest,
    /// which may be this one.
    pub(super) fn wait(&mut self, peer: Peer, packets: u32, query: Q) -> Result<(), OverQuota> {
        if self.waiting >= self.room {
            self.forget_unwanted();
        }
        if self.waiting >= self.room {
            let own = self.enclaves.get(&peer).map_or(0, |own| own.queries.len());
            let longest = self.enclaves.values_mut().max_by_key(|of| of.queries.len());
            let longest = longest.filter(|longest| longest.queries.len() > own + 1);
            longest.ok_or(OverQuota)?.queries.pop_back();
            self.waiting -= 1;
        }
        let enclave = self.enclaves.entry(peer).or_insert_with(|| Enclave {
            tag: self.tag,
            queries: VecDeque::new(),
        });
        enclave.queries.push_back((packets, query));
        self.waiting += 1;
        Ok(())
    }

    /// The next query, and what it costs.
    pub(super) fn next(&mut self) -> Option<(u32, Q)> {
        loop {
            let next = self.enclaves.values_mut();
            let next = next.filter(|enclave| !enclave.queries.is_empty());
            let Some(enclave) = next.min_by_key(|enclave| enclave.tag) else {
                self.enclaves.clear();
                return None;
            };
            let (packets, query) = enclave.queries.pop_front()?;
            self.waiting -= 1;
            if !(self.is_wanted)(&query) {
                continue;
            }
            self.tag = enclave.tag;
            enclave.tag += u64::from(packets);
            // One that is not ahead of the others is as good as one that was never here.
            let tag = self.tag;
            self.enclaves
                .retain(|_, enclave| !enclave.queries.is_empty() || enclave.tag > tag);
            return Some((packets, query));
        }
    }

    fn forget_unwanted(&mut self) {
        self.waiting = 0;
        for enclave in self.enclaves.values_mut() {
            let is_wanted = self.is_wanted;
            enclave.queries.retain(|(_, query)| is_wanted(query));
            self.waiting += enclave.queries.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREEDY: Peer = Peer::Cid(16);
    const MODEST: Peer = Peer::Cid(17);
    const OTHER: Peer = Peer::Cid(18);

    fn turns(room: usize, waiting: &[(Peer, u32)]) -> Turns<Peer> {
        let mut turns = Turns::new(room, |_| true);
        for &(peer, packets) in waiting {
            turns.wait(peer, packets, peer).unwrap();
        }
        turns
    }

    fn order(turns: &mut Turns<Peer>, count: usize) -> Vec<Peer> {
        let next = || turns.next().map(|(_, peer)| peer);
        std::iter::from_fn(next).take(count).collect()
    }

    fn count(order: &[Peer], of: Peer) -> usize {
        order.iter().filter(|peer| **peer == of).count()
    }

    #[test]
    fn enclaves_take_turns_whoever_asked_first() {
        let waiting = [[(GREEDY, 1); 6], [(MODEST, 1); 6]].concat();
        let order = order(&mut turns(100, &waiting), 100);
        assert_eq!(order.len(), 12);
        for pair in order.chunks(2) {
            assert_ne!(pair[0], pair[1], "{order:?}");
        }
    }

    #[test]
    fn shares_are_of_packets_and_not_of_queries() {
        let waiting = [[(GREEDY, 5); 50], [(MODEST, 1); 50]].concat();
        let order = order(&mut turns(100, &waiting), 30);
        assert_eq!(count(&order, GREEDY), 5);
    }

    #[test]
    fn who_comes_late_waits_for_nobodys_past_and_has_none_to_make_up_for() {
        let mut turns = turns(1000, &[(GREEDY, 1); 500]);
        order(&mut turns, 100);
        turns.wait(MODEST, 1, MODEST).unwrap();
        assert!(order(&mut turns, 2).contains(&MODEST));
        // It has not saved up a hundred turns.
        for _ in 0..50 {
            turns.wait(MODEST, 1, MODEST).unwrap();
        }
        let order = order(&mut turns, 40);
        assert!((19..=21).contains(&count(&order, MODEST)), "{order:?}");
    }

    /// One that has a single query waiting at any time gets its share, not every turn.
    #[test]
    fn a_turn_is_remembered_when_no_query_is_left() {
        let mut turns = turns(1000, &[(GREEDY, 1); 500]);
        let mut served = Vec::new();
        for _ in 0..40 {
            let modest = turns.enclaves.get(&MODEST);
            if modest.is_none_or(|modest| modest.queries.is_empty()) {
                turns.wait(MODEST, 1, MODEST).unwrap();
            }
            served.extend(order(&mut turns, 1));
        }
        assert!((19..=21).contains(&count(&served, MODEST)), "{served:?}");
    }

    #[test]
    fn when_it_is_full_the_enclave_with_the_most_loses_its_newest() {
        let mut turns = turns(4, &[(GREEDY, 1), (GREEDY, 2), (GREEDY, 3), (MODEST, 1)]);
        assert_eq!(turns.wait(GREEDY, 1, GREEDY), Err(OverQuota));
        assert_eq!(
            turns.wait(MODEST, 2, MODEST),
            Ok(()),
            "in place of the third"
        );
        // Two each: neither gives way to the other.
        assert_eq!(turns.wait(MODEST, 3, MODEST), Err(OverQuota));
        assert_eq!(turns.wait(GREEDY, 3, GREEDY), Err(OverQuota));
        assert_eq!(turns.wait(OTHER, 9, OTHER), Ok(()));
        let served: Vec<_> = std::iter::from_fn(|| turns.next()).collect();
        assert_eq!(served.len(), 4);
        let first = served.iter().filter(|(packets, _)| *packets == 1).count();
        assert_eq!(first, 2, "the oldest of both stayed: {served:?}");
        assert!(turns.is_empty());
    }

    /// It would then be the one with the most.
    #[test]
    fn nobody_gives_way_to_one_that_would_have_as_much() {
        let mut turns = turns(3, &[(GREEDY, 1), (GREEDY, 1), (MODEST, 1)]);
        assert_eq!(turns.wait(MODEST, 1, MODEST), Err(OverQuota));
    }

    #[test]
    fn who_gave_up_costs_no_turn() {
        let mut turns = Turns::new(11, |number: &i32| *number >= 8);
        for number in 0..10 {
            turns.wait(GREEDY, 1, number).unwrap();
        }
        turns.wait(MODEST, 1, 10).unwrap();
        // Nor a place.
        let mut full = turns.clone();
        assert_eq!(full.wait(GREEDY, 1, 11), Ok(()));
        assert_eq!(full.waiting, 4);
        let mut served: Vec<_> = std::iter::from_fn(|| turns.next()).collect();
        served.sort_unstable();
        assert_eq!(served, [(1, 8), (1, 9), (1, 10)]);
        assert!(turns.is_empty() && turns.enclaves.is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut turns = Turns::new(100, |()| true);
        for cid in 0..10_000 {
            turns.wait(GREEDY, 1, ()).unwrap();
            turns.wait(Peer::Cid(1000 + cid), 1, ()).unwrap();
            turns.next();
            turns.next();
        }
        assert!(turns.enclaves.len() <= 100, "{}", turns.enclaves.len());
    }
}
