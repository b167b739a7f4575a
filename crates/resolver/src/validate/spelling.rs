//! Names spelled with bytes that change.
//!
//! A compression pointer may lead anywhere before it (RFC 1035 section 4.1.4), so a hostile nameserver
//! can have one lead into a TTL or an address. Those change from reply to reply: a record that belonged
//! to its question when it was judged would be another name's a second later.

use wire::{Message, Name, rtype};

/// Whether owners, and where CNAMEs lead, stay what they are whatever becomes of TTLs and addresses.
pub(super) fn is_settled(message: &Message<'_>) -> bool {
    let bytes = message.bytes();
    let mut other = bytes.to_vec();
    for record in message.records() {
        let ttl = record.ttl_at..record.ttl_at + 4;
        let address = match record.rtype {
            rtype::A | rtype::AAAA => record.rdata_at..record.end,
            _ => 0..0,
        };
        for field in [ttl, address] {
            // No label reads the same with all of its bits turned over.
            let field = other.get_mut(field).unwrap_or_default();
            field.iter_mut().for_each(|byte| *byte = !*byte);
        }
    }
    let is_same = |at| Name::read(bytes, at) == Name::read(&other, at);
    message.records().all(|record| {
        is_same(record.start) && (record.rtype != rtype::CNAME || is_same(record.rdata_at))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer to `a. A`: an address, and a record whose owner stands at `owner`.
    fn settled(ttl: [u8; 4], address: [u8; 4], owner: u8) -> bool {
        let header = [0, 0, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0];
        let question = b"\x01a\0\0\x01\0\x01";
        let first = [&b"\xc0\x0c\0\x01\0\x01"[..], &ttl, &[0, 4], &address].concat();
        let second = [0xc0, owner, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, 2];
        let bytes = [&header[..], question, &first, &second].concat();
        is_settled(&Message::parse(&bytes).unwrap())
    }

    #[test]
    fn a_name_in_a_ttl_or_an_address_is_not_settled() {
        let (ttl, address) = ([1, b'a', 0, 60], [1, b'a', 0, 1]);
        assert!(settled(ttl, address, 12), "the question's");
        assert!(settled(ttl, address, 19), "the first owner");
        assert!(!settled(ttl, address, 25), "in the TTL");
        assert!(!settled(ttl, address, 31), "in the address");
        // The same name at first sight, and its root in the TTL.
        assert!(!settled([0, 0, 0, 60], address, 25));
    }
}
