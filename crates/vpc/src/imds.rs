//! The parent instance's metadata service, IMDSv2, asked through the link for the VPC's block
//! (EC2 User Guide, "Use the Instance Metadata Service" and "Instance metadata categories").
//!
//! ```text
//! PUT /latest/api/token                                                    a token, for a minute
//! GET /latest/meta-data/mac                                                the primary interface
//! GET /latest/meta-data/network/interfaces/macs/MAC/vpc-ipv4-cidr-block    its VPC's primary block
//! ```
//!
//! The service answers to the relay, which runs on the instance, so a hop limit of 1 is enough. But
//! whoever runs the parent can answer in its place: each text is parsed into a value of its kind.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use link::{Command, Parent, RequestError};
use resolv::ResolvConf;

use crate::http::{self, HttpError, MAX_BODY, Request, shown};
use crate::nameservers::DNS_PORT;
use crate::{BasePlusTwoError, Found, Source, base_plus_two, parse_cidr};

/// Where it answers on every instance.
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));

/// HTTP.
const PORT: u16 = 80;

/// How long our token lives, in seconds: three requests.
const TOKEN_TTL: &str = "60";

/// The sizes of a VPC's block (VPC User Guide, "VPC CIDR blocks").
const VPC_PREFIXES: std::ops::RangeInclusive<u8> = 16..=28;

/// Base + 2 of the primary block of the VPC that the primary interface is in.
pub(crate) async fn ask(parent: &Parent) -> Result<Found, ImdsError> {
    let ttl = ("X-aws-ec2-metadata-token-ttl-seconds", TOKEN_TTL);
    let token = request(parent, "PUT", "/latest/api/token", ttl).await?;
    let token = ("X-aws-ec2-metadata-token", token.as_str());
    let mac = request(parent, "GET", "/latest/meta-data/mac", token).await?;
    let mac = hardware_address(&mac).ok_or_else(|| ImdsError::NoMac { text: shown(&mac) })?;
    let path = format!("/latest/meta-data/network/interfaces/macs/{mac}/vpc-ipv4-cidr-block");
    let block = request(parent, "GET", &path, token).await?;
    let nameserver = amazon_dns(&block)?;
    Ok(Found::only(
        vec![SocketAddr::new(nameserver, DNS_PORT)],
        Source::Imds,
    ))
}

/// One text: a word of visible ASCII.
async fn request(
    parent: &Parent,
    method: &'static str,
    path: &str,
    header: (&'static str, &str),
) -> Result<String, ImdsError> {
    let to = Command::Connect(SocketAddr::new(ADDRESS, PORT));
    let mut stream = parent.request(to).await?.stream;
    let request = Request {
        method,
        host: &ADDRESS.to_string(),
        path,
        header,
    };
    let body = match http::exchange(&mut stream, &request).await {
        Ok(body) => body,
        Err(source) => {
            return Err(ImdsError::Http {
                request: format!("{method} {path}"),
                source,
            });
        }
    };
    let body = String::from_utf8_lossy(body.trim_ascii());
    let is_word = !body.is_empty() && body.bytes().all(|byte| byte.is_ascii_graphic());
    match is_word {
        true => Ok(body.into_owned()),
        false => Err(ImdsError::NotAWord {
            request: format!("{method} {path}"),
            text: shown(&body),
        }),
    }
}

/// Reads `0e:49:61:0f:c3:11`, and writes it anew.
pub(crate) fn hardware_address(text: &str) -> Option<String> {
    let mut written = String::new();
    let mut bytes = 0;
    for part in text.split(':') {
        let byte = u8::from_str_radix(part, 16).ok()?;
        // from_str_radix takes a sign.
        if part.len() != 2 || !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let colon = if bytes == 0 { "" } else { ":" };
        write!(written, "{colon}{byte:02x}").ok()?;
        bytes += 1;
    }
    (bytes == 6).then_some(written)
}

/// Where AmazonDNS is in a VPC with this block.
pub(crate) fn amazon_dns(text: &str) -> Result<IpAddr, ImdsError> {
    let not_a_block = |source| ImdsError::NoBlock {
        text: shown(text),
        source,
    };
    let block: IpNet = parse_cidr(text).map_err(|_| not_a_block(None))?;
    let nameserver = base_plus_two(block).map_err(|source| not_a_block(Some(source)))?;
    match VPC_PREFIXES.contains(&block.prefix_len()) && ResolvConf::usable(nameserver) {
        true => Ok(nameserver),
        false => Err(ImdsError::NoVpc { block }),
    }
}

/// Why there is no base + 2.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImdsError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("{request}: {source}")]
    Http { request: String, source: HttpError },
    #[error("{request}: `{text}` is not one word (of at most {MAX_BODY} bytes)")]
    NotAWord { request: String, text: String },
    #[error("`{text}` is not an interface's hardware address")]
    NoMac { text: String },
    #[error("`{text}` is not a VPC's IPv4 block{}", why(source.as_ref()))]
    NoBlock {
        text: String,
        source: Option<BasePlusTwoError>,
    },
    #[error(
        "{block} is not a VPC's block, which has a prefix of {} to {}, of addresses that can be asked",
        VPC_PREFIXES.start(),
        VPC_PREFIXES.end()
    )]
    NoVpc { block: IpNet },
}

fn why(source: Option<&BasePlusTwoError>) -> String {
    source
        .map(|source| format!(": {source}"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
