use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use wire::{MAX_NAME, Question};

/// Bytes behind the name in a key: type and flags.
const SUFFIX: usize = 3;

/// What makes two questions the same: the name in lower case, the type, and the DO and CD bits,
/// which change what upstream answers. The class is always IN.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    bytes: [u8; MAX_NAME + SUFFIX],
    len: u16,
}

/// The type in the key of a name that does not exist: that is so for all types (RFC 2308 section 5).
const NO_TYPE: u16 = 0;

impl Key {
    /// DNSSEC records wanted.
    pub(crate) const DO: u8 = 1;
    /// Checking disabled.
    pub(crate) const CD: u8 = 2;
    /// Asked by an operator past the cache: a lookup of its own, and nothing is kept of it.
    pub(crate) const PAST_CACHE: u8 = 4;

    pub(crate) fn new(question: &Question<'_>, flags: u8) -> Self {
        let mut key = Self {
            bytes: [0; MAX_NAME + SUFFIX],
            len: 0,
        };
        let mut out = wire::Writer::new(&mut key.bytes);
        // A parsed question's name has at most MAX_NAME bytes, so all of it fits.
        let _ = out.bytes(question.name);
        out.written().make_ascii_lowercase();
        let _ = out.u16(question.qtype);
        let _ = out.u8(flags);
        key.len = u16::try_from(out.len()).unwrap_or_default();
        key
    }

    /// The key of this name's non-existence.
    pub(crate) fn without_type(&self) -> Self {
        let mut key = *self;
        let at = key.name().len();
        if let Some(room) = key.bytes.get_mut(at..at + 2) {
            room.copy_from_slice(&NO_TYPE.to_be_bytes());
        }
        key
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len.into()).unwrap_or_default()
    }

    pub(crate) fn name(&self) -> &[u8] {
        name_of(self.as_bytes())
    }

    pub(crate) fn qtype(&self) -> u16 {
        wire::read_u16(self.as_bytes(), self.name().len()).unwrap_or_default()
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.as_bytes()
            .last()
            .is_some_and(|flags| flags & flag != 0)
    }
}

/// The name in a key's bytes.
pub(crate) fn name_of(key: &[u8]) -> &[u8] {
    key.len()
        .checked_sub(SUFFIX)
        .and_then(|len| key.get(..len))
        .unwrap_or_default()
}

/// The keyed hash of names: they come from outside, and an unkeyed one could be made to collide.
#[derive(Clone, Copy)]
pub(crate) struct KeyedHash(SipHasher13);

impl KeyedHash {
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        Self(SipHasher13::new_with_keys(seed[0], seed[1]))
    }

    pub(crate) fn of(&self, key: &[u8]) -> u64 {
        let mut hasher = self.0;
        hasher.write(key);
        hasher.finish()
    }
}
