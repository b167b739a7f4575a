//! The cache: answers by key, bounded in bytes, the least useful out first.
//!
//! Eviction is SIEVE (Zhang et al., NSDI 2024): entries stand in order of arrival, a hit only sets
//! a bit, and a hand walks from the oldest to the newest, clearing bits and evicting the first
//! entry whose bit is clear. A scan of names that nobody asks for again is evicted behind the
//! hand, while the hot set, asked for between two visits of the hand, stays.
//!
//! # Concurrency
//!
//! One owner, no lock: the cache is part of a shard, all of whose methods take `&mut self`. The stub has
//! one shard behind one mutex and serves all clients in one thread. It takes the mutex for a batch of at
//! most 32 packets, for one query over TCP, for an answer or for a tick, and never over a system call or
//! an await: who comes second waits for what stands below and for nothing else.
//!
//! # Worst case
//!
//! With `n` entries, which the limit in bytes bounds (16 MiB: 88,000 of one address each):
//!
//! - A **lookup** is one hash of at most 258 bytes, one probe of the table, and one comparison of keys, as
//!   an entry's whole hash is compared first. A hit sets a bit; nothing moves. A question that is not
//!   cached is looked up under two keys, its own and that of its name's NXDOMAIN, some times each.
//! - An **insertion** is the same, and one step of the hand for each entry that it evicts: one at most where
//!   answers are alike, some 350 where one of 64 KiB drives out the smallest. The hand walks on over entries
//!   that were hit since it last came by. It clears their bits, so a walk over all `n` takes `n` hits before
//!   it, and the next has to wait for as many: an insertion costs O(n) at most, and O(1) hits and insertions
//!   together.
//! - Table and nodes **grow** by doubling, and never shrink: the insertion that finds them full moves `n`
//!   entries. That is so when `n` has doubled, and for the table alone, when as many removals as it had
//!   room have left their marks in it.
//! - **Removal** is a lookup and the mending of two links.
//!
//! **Hash flooding**: names come from whoever asks. The hash is SipHash-1-3 under a key of 128 random bits,
//! new in each process, which nobody is told, so that names which meet in one place of the table cannot be
//! chosen.

use hashbrown::HashTable;
use slab::Slab;

use crate::Millis;
use crate::packed::Packed;
use crate::routes::Via;

#[cfg(test)]
mod tests;

pub(crate) struct Cache {
    nodes: Slab<Node>,
    table: HashTable<u32>,
    newest: Option<u32>,
    oldest: Option<u32>,
    hand: Option<u32>,
    bytes: usize,
    limit: usize,
}

/// An answer and what became of it since.
pub(crate) struct Entry {
    pub(crate) answer: Packed,
    pub(crate) stored: Millis,
    /// Seconds from `stored` on in which the answer is fresh.
    pub(crate) lifetime: u32,
    /// The route that it came by ...
    pub(crate) via: Via,
    /// ... and the nameservers of it that gave it.
    pub(crate) generation: u32,
    /// Until then a stale answer goes out at once, because a refresh has failed ...
    pub(crate) recheck: Millis,
    /// ... unless this is no longer the route's epoch: the link or the nameservers came back since.
    pub(crate) epoch: u32,
    /// From then on a hit begins a refresh.
    pub(crate) prefetch: Millis,
    /// Hits that have turned the addresses.
    pub(crate) turn: u16,
}

struct Node {
    entry: Entry,
    hash: u64,
    newer: Option<u32>,
    older: Option<u32>,
    visited: bool,
}

/// What an entry costs beside its answer's bytes: its node, its place in the table and the
/// allocator's header.
const OVERHEAD: usize = size_of::<Node>() + 6 + 16;

impl Cache {
    /// A cache of at most `limit` bytes, all costs of an entry counted.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            nodes: Slab::new(),
            table: HashTable::new(),
            newest: None,
            oldest: None,
            hand: None,
            bytes: 0,
            limit,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The entry of `key`, which hashes to `hash`. Being looked up is what keeps an entry.
    pub(crate) fn get(&mut self, hash: u64, key: &[u8]) -> Option<&mut Entry> {
        let index = self.find(hash, key)?;
        let node = self.nodes.get_mut(index as usize)?;
        node.visited = true;
        Some(&mut node.entry)
    }

    /// The same without a trace: being looked at by an operator keeps no entry.
    pub(crate) fn peek(&self, hash: u64, key: &[u8]) -> Option<&Entry> {
        let index = self.find(hash, key)?;
        self.nodes.get(index as usize).map(|node| &node.entry)
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let same = |&index: &u32| {
            self.nodes
                .get(index as usize)
                .is_some_and(|node| node.hash == hash && node.entry.answer.key() == key)
        };
        self.table.find(hash, same).copied()
    }

    /// Puts an entry in the place of what its key had. One that is larger than the whole cache is
    /// not kept.
    pub(crate) fn insert(&mut self, hash: u64, entry: Entry) {
        self.remove(hash, entry.answer.key());
        let cost = cost(&entry);
        if cost > self.limit {
            return;
        }
        self.make_room(cost);
        // `OVERHEAD` bytes each: as many entries as a u32 counts are half a terabyte.
        let Ok(index) = u32::try_from(self.nodes.vacant_key()) else {
            return;
        };
        self.bytes += cost;
        self.nodes.insert(Node {
            entry,
            hash,
            newer: None,
            older: self.newest,
            visited: false,
        });
        match self.newest.replace(index) {
            Some(newest) => self.nodes[newest as usize].newer = Some(index),
            None => self.oldest = Some(index),
        }
        let nodes = &self.nodes;
        self.table
            .insert_unique(hash, index, |&index| nodes[index as usize].hash);
    }

    pub(crate) fn remove(&mut self, hash: u64, key: &[u8]) {
        if let Some(index) = self.find(hash, key) {
            self.take_out(index);
        }
    }

    /// Takes out all entries whose key is one of these, and gives their number. Looks at every entry.
    pub(crate) fn remove_all(&mut self, is_one: impl Fn(&[u8]) -> bool) -> usize {
        let is_one = |(index, node): (usize, &Node)| {
            let index = u32::try_from(index).ok()?;
            is_one(node.entry.answer.key()).then_some(index)
        };
        let found: Vec<u32> = self.nodes.iter().filter_map(is_one).collect();
        for &index in &found {
            self.take_out(index);
        }
        found.len()
    }

    fn make_room(&mut self, cost: usize) {
        while self.bytes + cost > self.limit {
            let Some(victim) = self.victim() else {
                return;
            };
            self.take_out(victim);
        }
    }

    /// Moves the hand to the first entry not visited since it last came by.
    fn victim(&mut self) -> Option<u32> {
        let mut at = self.hand.or(self.oldest)?;
        loop {
            let node = &mut self.nodes[at as usize];
            if !node.visited {
                self.hand = Some(at);
                return Some(at);
            }
            node.visited = false;
            at = node.newer.or(self.oldest)?;
        }
    }

    fn take_out(&mut self, index: u32) {
        let node = self.nodes.remove(index as usize);
        self.bytes -= cost(&node.entry);
        if let Ok(found) = self.table.find_entry(node.hash, |&other| other == index) {
            found.remove();
        }
        match node.older {
            Some(older) => self.nodes[older as usize].newer = node.newer,
            None => self.oldest = node.newer,
        }
        match node.newer {
            Some(newer) => self.nodes[newer as usize].older = node.older,
            None => self.newest = node.older,
        }
        if self.hand == Some(index) {
            self.hand = node.newer;
        }
    }
}

fn cost(entry: &Entry) -> usize {
    OVERHEAD + entry.answer.size()
}
