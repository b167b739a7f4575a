//! A table taken apart, so that a chain can be added and taken away, and put together again.
//!
//! The kernel knows a table as one run of entries in which hooks and jumps are offsets. Here every
//! entry has a name that outlives its offset: where it stood when it was read, or a number of ours.

use super::Family;
use super::rule::{self, Rule};
use super::sockopt::{HOOKS, Info, Rendered};

/// NF_INET_LOCAL_OUT: the hook that iptables calls OUTPUT.
const OUTPUT: usize = 3;

/// The name of the last entry's target, and of the one at the head of each chain of a user's.
const ERROR: &str = "ERROR";

/// What stands before the data of a target.
const HEAD: usize = 32;

/// An entry's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Id {
    /// Read at this offset.
    Read(usize),
    /// Added, the so-manieth.
    Added(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    id: Id,
    bytes: Vec<u8>,
    goes: Goes,
}

/// Where a packet goes from a rule that it fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goes {
    /// Its target says.
    Elsewhere,
    /// To the next rule: written as a jump there.
    On,
    /// To the first rule of a chain.
    To(Id),
}

/// Where a hook's rules start, and its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hook {
    first: Id,
    policy: Id,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blob {
    family: Family,
    hooks: [Option<Hook>; HOOKS],
    entries: Vec<Entry>,
    added: usize,
}

impl Blob {
    /// `None` for what is no table with an end, or one without OUTPUT.
    pub(super) fn parse(family: Family, info: &Info, bytes: &[u8]) -> Option<Self> {
        let mut entries = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let rest = bytes.get(at..)?;
            let length = usize::from(u16_at(rest, family.offsets_at() + 2)?);
            if length < family.entry_size() + HEAD {
                return None;
            }
            let entry = rest.get(..length)?.to_vec();
            let next = at + length;
            let goes = match (target(family, &entry)?, verdict(family, &entry)) {
                ("", Some(verdict)) => match usize::try_from(verdict) {
                    Ok(to) if to == next => Goes::On,
                    Ok(to) => Goes::To(Id::Read(to)),
                    Err(_) => Goes::Elsewhere,
                },
                ("", None) => return None,
                _ => Goes::Elsewhere,
            };
            entries.push(Entry {
                id: Id::Read(at),
                bytes: entry,
                goes,
            });
            at = next;
        }
        if entries.last()?.label(family) != Some(ERROR) {
            return None;
        }
        let id = |offset: u32| {
            let id = Id::Read(usize::try_from(offset).ok()?);
            entries.iter().any(|entry| entry.id == id).then_some(id)
        };
        let mut hooks = [None; HOOKS];
        for (number, hook) in hooks.iter_mut().enumerate() {
            if info.valid_hooks & (1 << number) != 0 {
                *hook = Some(Hook {
                    first: id(*info.hook_entry.get(number)?)?,
                    policy: id(*info.underflow.get(number)?)?,
                });
            }
        }
        hooks[OUTPUT]?;
        Some(Self {
            family,
            hooks,
            entries,
            added: 0,
        })
    }

    /// Takes away a chain, and the rules that jump to it.
    pub(super) fn remove_chain(&mut self, name: &str) {
        let Some(head) = self.position(|entry| entry.label(self.family) == Some(name)) else {
            return;
        };
        let length = self
            .entries
            .iter()
            .skip(head + 1)
            .take_while(|entry| entry.label(self.family).is_none())
            .count();
        let chain: Vec<Id> = self
            .entries
            .drain(head..=head + length)
            .map(|entry| entry.id)
            .collect();
        while let Some(jump) =
            self.position(|entry| matches!(entry.goes, Goes::To(id) if chain.contains(&id)))
        {
            let gone = self.entries.remove(jump).id;
            let Some(next) = self.entries.get(jump).map(|entry| entry.id) else {
                return;
            };
            for hook in self.hooks.iter_mut().flatten() {
                if hook.first == gone {
                    hook.first = next;
                }
            }
            for entry in &mut self.entries {
                if entry.goes == Goes::To(gone) {
                    entry.goes = Goes::To(next);
                }
            }
        }
    }

    /// Adds a chain, and to OUTPUT a last rule that jumps to it.
    pub(super) fn add_chain(&mut self, name: &str, rules: &[Rule]) {
        let family = self.family;
        let Some(hook) = self.hooks[OUTPUT] else {
            return;
        };
        let Some(policy) = self.position(|entry| entry.id == hook.policy) else {
            return;
        };
        let mut chain: Vec<Entry> = [rule::label(family, name)]
            .into_iter()
            .chain(rules.iter().map(|rule| rule.render(family)))
            .chain([rule::chain_end(family)])
            .map(|bytes| self.entry(bytes, Goes::Elsewhere))
            .collect();
        let Some(first) = chain.get(1).map(|entry| entry.id) else {
            return;
        };
        let jump = self.entry(rule::jump(family), Goes::To(first));
        if hook.first == hook.policy {
            self.hooks[OUTPUT] = Some(Hook {
                first: jump.id,
                ..hook
            });
        }
        self.entries.insert(policy, jump);
        // The last entry stays the last.
        let end = self.entries.len() - 1;
        let last = self.entries.split_off(end);
        self.entries.append(&mut chain);
        self.entries.extend(last);
    }

    /// The bytes that the kernel takes.
    pub(super) fn render(&self) -> Rendered {
        let mut offsets = Vec::with_capacity(self.entries.len());
        let mut end = 0_usize;
        for entry in &self.entries {
            offsets.push((entry.id, end));
            end += entry.bytes.len();
        }
        // Every identity that is referred to is that of an entry: see `parse` and `remove_chain`.
        let offset = |id: Id| {
            let found = offsets.iter().find(|(known, _)| *known == id);
            found.map_or(u32::MAX, |(_, offset)| narrow(*offset))
        };
        let mut bytes = Vec::with_capacity(end);
        for entry in &self.entries {
            let start = bytes.len();
            bytes.extend_from_slice(&entry.bytes);
            let to = match entry.goes {
                Goes::Elsewhere => continue,
                Goes::On => narrow(bytes.len()),
                Goes::To(id) => offset(id),
            };
            let at = verdict_at(self.family, &entry.bytes).unwrap_or(usize::MAX);
            if let Some(field) = bytes
                .get_mut(start.saturating_add(at)..)
                .and_then(|rest| rest.get_mut(..4))
            {
                field.copy_from_slice(&to.to_ne_bytes());
            }
        }
        let at = |id: fn(Hook) -> Id| {
            self.hooks
                .map(|hook| hook.map_or(0, |hook| offset(id(hook))))
        };
        let valid_hooks = (0..HOOKS)
            .filter(|number| self.hooks.get(*number).is_some_and(Option::is_some))
            .fold(0, |bits, number| bits | 1 << number);
        Rendered {
            valid_hooks,
            hook_entry: at(|hook| hook.first),
            underflow: at(|hook| hook.policy),
            entries: narrow(self.entries.len()),
            bytes,
        }
    }

    fn entry(&mut self, bytes: Vec<u8>, goes: Goes) -> Entry {
        let id = Id::Added(self.added);
        self.added += 1;
        Entry { id, bytes, goes }
    }

    fn position(&self, is: impl Fn(&Entry) -> bool) -> Option<usize> {
        self.entries.iter().position(is)
    }
}

impl Entry {
    /// The chain's name, at its head; `ERROR` at the table's end.
    fn label(&self, family: Family) -> Option<&str> {
        if target(family, &self.bytes)? != ERROR {
            return None;
        }
        text(self.bytes.get(verdict_at(family, &self.bytes)?..)?)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*field))
}

fn target_at(family: Family, entry: &[u8]) -> Option<usize> {
    u16_at(entry, family.offsets_at()).map(usize::from)
}

/// The name of an entry's target; none for the standard one.
fn target(family: Family, entry: &[u8]) -> Option<&str> {
    text(entry.get(target_at(family, entry)? + 2..)?)
}

/// Where the data of an entry's target starts.
fn verdict_at(family: Family, entry: &[u8]) -> Option<usize> {
    Some(target_at(family, entry)? + HEAD)
}

fn verdict(family: Family, entry: &[u8]) -> Option<i32> {
    let field = entry.get(verdict_at(family, entry)?..)?.first_chunk()?;
    Some(i32::from_ne_bytes(*field))
}

/// Up to the terminator, or as far as a name goes.
fn text(bytes: &[u8]) -> Option<&str> {
    let name = bytes.split(|byte| *byte == 0).next()?;
    std::str::from_utf8(name.get(..name.len().min(HEAD))?).ok()
}

/// A table is a few kilobytes; the kernel takes none beyond its memory's.
fn narrow(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
