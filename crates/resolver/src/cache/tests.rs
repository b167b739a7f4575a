//! The cache against a naive model, with a seeded generator.

use std::collections::HashSet;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wire::Question;

use super::*;
use crate::key::{Key, KeyedHash};
use crate::packed::{Kind, Rotation};
use crate::routes::Via;

/// The key of one of many names.
fn key(number: usize) -> Key {
    let name = format!("\x08{number:08}\x04test\0");
    let question = Question {
        name: name.as_bytes(),
        qtype: 1,
        qclass: 1,
    };
    Key::new(&question, 0)
}

/// An entry with `size` bytes behind its key; its lifetime tells it from others of the key.
fn entry(key: &Key, size: usize, lifetime: u32) -> Entry {
    let tail = vec![0; size];
    Entry {
        answer: Packed::new(
            key,
            Kind::Positive,
            [1, 0, 0],
            Rotation::default(),
            &tail,
            &[],
        )
        .unwrap(),
        stored: 0,
        via: Via::DEFAULT,
        lifetime,
        generation: 0,
        recheck: 0,
        prefetch: Millis::MAX,
        epoch: 0,
        turn: 0,
    }
}

fn hash(key: &Key) -> u64 {
    KeyedHash::new([1, 2]).of(key.as_bytes())
}

impl Cache {
    fn put(&mut self, number: usize, size: usize, lifetime: u32) {
        let key = key(number);
        self.insert(hash(&key), entry(&key, size, lifetime));
    }

    /// The lifetime of what is kept for a name.
    fn ask(&mut self, number: usize) -> Option<u32> {
        let key = key(number);
        self.get(hash(&key), key.as_bytes())
            .map(|entry| entry.lifetime)
    }

    /// Walks the links and checks everything that is kept twice.
    fn assert_consistent(&self) {
        let mut at = self.oldest;
        let mut older = None;
        let mut bytes = 0;
        let mut seen = HashSet::new();
        while let Some(index) = at {
            let node = &self.nodes[index as usize];
            assert!(seen.insert(index), "the links make a loop");
            assert_eq!(node.older, older);
            assert_eq!(self.find(node.hash, node.entry.answer.key()), Some(index));
            bytes += cost(&node.entry);
            older = at;
            at = node.newer;
        }
        assert_eq!(self.newest, older);
        assert_eq!(seen.len(), self.nodes.len());
        assert_eq!(seen.len(), self.table.len());
        assert!(self.hand.is_none_or(|hand| seen.contains(&hand)));
        assert_eq!(bytes, self.bytes);
        assert!(self.bytes <= self.limit);
    }
}

/// SIEVE as its authors tell it: a queue and a hand.
struct Model {
    queue: Vec<Kept>,
    hand: Option<usize>,
    limit: usize,
}

struct Kept {
    number: usize,
    lifetime: u32,
    cost: usize,
    visited: bool,
}

impl Model {
    fn put(&mut self, number: usize, size: usize, lifetime: u32) {
        self.remove(number);
        let cost = cost(&entry(&key(number), size, lifetime));
        if cost > self.limit {
            return;
        }
        while self.queue.iter().map(|kept| kept.cost).sum::<usize>() + cost > self.limit {
            let mut at = self.hand.unwrap_or(0);
            while std::mem::take(&mut self.queue[at].visited) {
                at = (at + 1) % self.queue.len();
            }
            self.hand = Some(at);
            self.take_out(at);
        }
        self.queue.push(Kept {
            number,
            lifetime,
            cost,
            visited: false,
        });
    }

    fn ask(&mut self, number: usize) -> Option<u32> {
        let kept = self.queue.iter_mut().find(|kept| kept.number == number)?;
        kept.visited = true;
        Some(kept.lifetime)
    }

    fn remove(&mut self, number: usize) {
        if let Some(at) = self.queue.iter().position(|kept| kept.number == number) {
            self.take_out(at);
        }
    }

    fn take_out(&mut self, at: usize) {
        self.queue.remove(at);
        self.hand = match self.hand {
            Some(hand) if hand > at => Some(hand - 1),
            Some(hand) if hand == at && at == self.queue.len() => None,
            hand => hand,
        };
    }
}

#[test]
fn the_cache_keeps_what_the_model_keeps() {
    for seed in 0..20 {
        let mut random = StdRng::seed_from_u64(seed);
        let limit = random.random_range(0..20_000);
        let mut cache = Cache::new(limit);
        let mut model = Model {
            queue: Vec::new(),
            hand: None,
            limit,
        };
        for step in 0..3000 {
            let number = random.random_range(0..100);
            match random.random_range(0..10) {
                0..4 => {
                    let largest = if random.random_bool(0.01) {
                        30_000
                    } else {
                        500
                    };
                    let size = random.random_range(0..largest);
                    cache.put(number, size, step);
                    model.put(number, size, step);
                }
                4..9 => assert_eq!(cache.ask(number), model.ask(number)),
                _ => {
                    let key = key(number);
                    cache.remove(hash(&key), key.as_bytes());
                    model.remove(number);
                }
            }
            cache.assert_consistent();
            assert_eq!(cache.len(), model.queue.len());
        }
    }
}

#[test]
fn a_hot_set_survives_a_scan() {
    let mut cache = Cache::new(1000 * (OVERHEAD + 100));
    for number in 0..100 {
        cache.put(number, 50, 0);
    }
    for scanned in 0..100_000 {
        cache.put(1000 + scanned, 50, 0);
        let hot = scanned % 100;
        assert_eq!(cache.ask(hot), Some(0), "{hot} was evicted by {scanned}");
    }
}

#[test]
fn what_is_larger_than_the_whole_cache_is_not_kept_and_costs_nothing_else() {
    let mut cache = Cache::new(2000);
    cache.put(1, 100, 0);
    cache.put(2, 100, 0);
    cache.put(3, 5000, 0);
    // In the place of an older one too; that one is no longer true.
    cache.put(2, 5000, 0);
    assert_eq!(
        [1, 2, 3].map(|number| cache.ask(number)),
        [Some(0), None, None]
    );
    cache.assert_consistent();
}

#[test]
fn equal_hashes_do_not_mix_up_names() {
    let mut cache = Cache::new(100_000);
    let keys = [1, 2, 3].map(key);
    for (key, lifetime) in keys.iter().zip(0..) {
        cache.insert(7, entry(key, 0, lifetime));
    }
    cache.remove(7, keys[1].as_bytes());
    let kept = keys
        .each_ref()
        .map(|key| cache.get(7, key.as_bytes()).map(|entry| entry.lifetime));
    assert_eq!(kept, [Some(0), None, Some(2)]);
}
