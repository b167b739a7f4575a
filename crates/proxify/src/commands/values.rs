//! What options of several commands take.

use std::net::{IpAddr, SocketAddr};

/// RFC 1035 §4.2.
pub(super) const DNS_PORT: u16 = 53;

/// `IP`, `IP:PORT`, `[v6]:PORT`.
pub(super) fn server(text: &str) -> Result<SocketAddr, String> {
    text.parse::<SocketAddr>()
        .or_else(|_| text.parse().map(|ip: IpAddr| SocketAddr::new(ip, DNS_PORT)))
        .map_err(|_| {
            "write an address such as 10.0.0.2, 10.0.0.2:53 or [fd00:ec2::253]:53".to_owned()
        })
}

/// A region's name; whether AWS has it, DNS will tell.
pub(super) fn region(text: &str) -> Result<String, String> {
    let is_region = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    match is_region {
        true => Ok(text.to_owned()),
        false => Err("write a region such as eu-central-1".to_owned()),
    }
}
