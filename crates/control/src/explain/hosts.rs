//! The hosts file (hosts(5)), which libc reads before it asks anybody.

use std::net::IpAddr;

/// The addresses that a hosts file has for a name, each once, in its order.
pub(crate) fn addresses(text: &str, name: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line
            .split('#')
            .next()
            .unwrap_or_default()
            .split_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse().ok()) else {
            continue;
        };
        if words.any(|word| word.eq_ignore_ascii_case(name)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_any_word_behind_an_address() {
        let text = "127.0.0.1 localhost\n\
                    10.0.0.1\tdb.corp DB # db.other\n\
                    fd00::1 db\n\
                    10.0.0.1 db\n\
                    # 10.0.0.9 db\n\
                    nonsense db\n";
        let found = |name| -> Vec<String> {
            addresses(text, name)
                .iter()
                .map(IpAddr::to_string)
                .collect()
        };
        assert_eq!(found("db"), ["10.0.0.1", "fd00::1"]);
        assert_eq!(found("Db.Corp"), ["10.0.0.1"]);
        for name in ["db.other", "nonsense", "corp", "127.0.0.1"] {
            assert!(found(name).is_empty(), "{name}");
        }
    }
}
