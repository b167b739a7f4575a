//! Text of an adversary: what is taken of it is within its limits, and what we write of that reads as
//! the same.

use std::collections::BTreeSet;

use crate::{
    MAX_ATTEMPTS, MAX_NAMESERVERS, MAX_SEARCH, MAX_SEARCH_TEXT, MAX_TEXT, MAX_TIMEOUT, ResolvConf,
};

/// Reads a text.
pub fn resolv_conf(text: &[u8]) {
    let conf = ResolvConf::parse(text);
    let distinct: BTreeSet<_> = conf.nameservers.iter().collect();
    assert!(conf.nameservers.len() <= MAX_NAMESERVERS && distinct.len() == conf.nameservers.len());
    assert!(conf.search.len() <= MAX_SEARCH && conf.search.join(" ").len() <= MAX_SEARCH_TEXT);
    for name in &conf.search {
        let is_of_names = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        assert!(
            !name.is_empty() && name.bytes().all(is_of_names),
            "{name:?}"
        );
    }
    assert!(
        conf.timeout
            .is_none_or(|seconds| (1..=MAX_TIMEOUT).contains(&seconds))
    );
    assert!(
        conf.attempts
            .is_none_or(|times| (1..=MAX_ATTEMPTS).contains(&times))
    );
    assert_eq!(ResolvConf::parse(conf.render().as_bytes()), conf);
    // Nothing after the limit counts.
    let longer = [
        text,
        b"\n",
        &vec![b'#'; MAX_TEXT],
        b"\nnameserver 192.0.2.1\n",
    ]
    .concat();
    if text.len() < MAX_TEXT {
        assert_eq!(ResolvConf::parse(&longer), conf);
    }
}
