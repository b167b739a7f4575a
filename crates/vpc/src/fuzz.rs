//! What the parent says over HTTP: IMDS, and the old parent's getter.

use link::fuzz::{Script, block_on};
use resolv::ResolvConf;

use crate::http::{self, MAX_BODY, Request};
use crate::relay::MAX_TEXT;
use crate::{Found, Source, getter, imds};

/// A body is what follows the head of a 200, and no more than is taken; what IMDS says in it is a
/// hardware address, a block of a VPC, or nothing.
pub fn imds(data: &[u8]) {
    let mut stream = Script::new(data);
    let said = stream.left();
    let request = Request {
        method: "GET",
        host: "169.254.169.254",
        path: "/latest/meta-data/mac",
        header: ("X-aws-ec2-metadata-token", "dG9rZW4="),
    };
    let Ok(body) = block_on(http::exchange(&mut stream, &request)) else {
        return;
    };
    assert!(said.starts_with(b"HTTP/1.1 200") || said.starts_with(b"HTTP/1.0 200"));
    let end = said.windows(4).position(|window| window == b"\r\n\r\n");
    let behind = end.and_then(|end| said.get(end + 4..));
    assert!(body.len() <= MAX_BODY && behind.is_some_and(|behind| behind.starts_with(&body)));
    let text = String::from_utf8_lossy(&body);
    if let Some(address) = imds::hardware_address(&text) {
        assert!(address.eq_ignore_ascii_case(&text));
    }
    if let Ok(nameserver) = imds::amazon_dns(&text) {
        assert!(ResolvConf::usable(nameserver));
    }
}

/// The call ends when the connection does, with no more than a text may have; what is found in it can
/// be asked.
pub fn getter(data: &[u8]) {
    let Ok(text) = block_on(getter::resolv_conf(Script::new(data))) else {
        return;
    };
    assert!(text.len() <= MAX_TEXT + 8);
    if let Some(found) = Found::read(&text, Source::Getter) {
        assert!(!found.nameservers.is_empty());
        for nameserver in found.nameservers {
            assert!(ResolvConf::usable(nameserver.ip()));
        }
    }
}
