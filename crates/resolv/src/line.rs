//! One line of a resolv.conf as values.

use std::net::IpAddr;

use resolv_conf::Config;

use crate::{MAX_SEARCH, MAX_SEARCH_TEXT};

/// Octets of a domain name as text without its final dot (RFC 1035 §2.3.4: 255 on the wire).
const MAX_NAME: usize = 253;

/// Octets of a label (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// Something that a line said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Nameserver(IpAddr),
    Search(Vec<String>),
    Timeout(u32),
    Attempts(u32),
}

/// What a line says of what we take; empty for comments, other keywords and anything malformed.
pub(crate) fn read(line: &[u8]) -> Vec<Value> {
    let Ok(text) = std::str::from_utf8(line) else {
        return Vec::new();
    };
    let mut words = text.split_whitespace();
    match words.next() {
        Some("nameserver") => parse(text)
            .nameservers
            .iter()
            .map(|address| Value::Nameserver(address.into()))
            .collect(),
        Some("search" | "domain") => {
            let config = parse(text);
            let said = config.get_search().is_some() || config.get_domain().is_some();
            let names = || bounded(config.get_last_search_or_domain());
            said.then(|| Value::Search(names())).into_iter().collect()
        }
        Some("options") => words
            .take_while(|word| !word.starts_with(['#', ';']))
            .filter_map(option)
            .collect(),
        _ => Vec::new(),
    }
}

/// One option by itself, so that a value that equals the parser's default is still seen.
fn option(word: &str) -> Option<Value> {
    let (config, errors) = Config::parse_with_errors(format!("options {word}").as_bytes());
    if !errors.is_empty() {
        return None;
    }
    match word.split_once(':')?.0 {
        "timeout" => Some(Value::Timeout(config.timeout)),
        "attempts" => Some(Value::Attempts(config.attempts)),
        _ => None,
    }
}

fn parse(line: &str) -> Config {
    Config::parse_with_errors(line.as_bytes()).0
}

/// The valid names, in order, until one limit is reached.
fn bounded<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut length = 0;
    names
        .filter_map(|name| valid(name))
        .take(MAX_SEARCH)
        .take_while(|name| {
            length += name.len() + usize::from(length > 0);
            length <= MAX_SEARCH_TEXT
        })
        .map(str::to_owned)
        .collect()
}

/// The name without its final dot, if it is made of letters, digits, hyphens and underscores (RFC
/// 952, RFC 8552).
fn valid(name: &str) -> Option<&str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    (name.len() <= MAX_NAME && name.split('.').all(valid_label)).then_some(name)
}

fn valid_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
