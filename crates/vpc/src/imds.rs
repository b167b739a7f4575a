//! The parent instance's metadata service, IMDSv2, asked through the link for the VPC's block
//! (EC2 User Guide, "Use the Instance Metadata Service" and "Instance metadata categories").
//!
//! ```text
//! PUT /latest/api/token                                                    a token, for a minute
//! GET /latest/meta-data/mac                                                the primary interface
//! GET /latest/meta-data/network/interfaces/macs/MAC/vpc-ipv4-cidr-block    its VPC's primary block
//!                                                   vpc-ipv4-cidr-blocks   all of them
//!                                                   vpc-ipv6-cidr-blocks   404 where there are none
//! GET /latest/meta-data/placement/region                                   us-east-1
//! ```
//!
//! The service answers to the relay, which runs on the instance, so a hop limit of 1 is enough. But
//! whoever runs the parent can answer in its place: each text is parsed into a value of its kind.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use link::{Command, Parent, RequestError, Stream};
use resolv::ResolvConf;
use tokio::net::TcpStream;
use tokio::time::timeout;

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

/// How long [`place`] may take: a service that is there answers within milliseconds.
const PLACE: Duration = Duration::from_secs(2);

/// How the service is reached.
#[derive(Clone, Copy, Debug)]
pub enum Via<'a> {
    /// From an enclave, through the relay on the instance.
    Link(&'a Parent),
    /// On the instance itself.
    Network,
}

/// Where an instance is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Such as `us-east-1`.
    pub region: String,
    /// The blocks of the primary interface's VPC, IPv4 and IPv6.
    pub blocks: Vec<IpNet>,
}

/// Where the instance is, within 2 s.
///
/// # Errors
///
/// The service is not there, or says what cannot be.
pub async fn place(via: Via<'_>) -> Result<Place, PlaceError> {
    match timeout(PLACE, ask_place(via)).await {
        Ok(place) => Ok(place?),
        Err(_) => Err(PlaceError(ImdsError::Silent)),
    }
}

async fn ask_place(via: Via<'_>) -> Result<Place, ImdsError> {
    let session = Session::open(via).await?;
    let region = session.word("/latest/meta-data/placement/region").await?;
    if !region
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    {
        return Err(ImdsError::NoRegion {
            text: shown(&region),
        });
    }
    let interface = session.interface().await?;
    let mut blocks = Vec::new();
    for family in ["ipv4", "ipv6"] {
        let path = format!("{interface}/vpc-{family}-cidr-blocks");
        let text = match session.text(&path).await {
            Err(error) if family == "ipv6" && error.is_absence() => continue,
            text => text?,
        };
        for line in text.lines() {
            let block = parse_cidr(line).map_err(|_| ImdsError::NoBlock {
                text: shown(line),
                source: None,
            })?;
            blocks.push(block);
        }
    }
    Ok(Place { region, blocks })
}

/// Base + 2 of the primary block of the VPC that the primary interface is in.
pub(crate) async fn ask(parent: &Parent) -> Result<Found, ImdsError> {
    let session = Session::open(Via::Link(parent)).await?;
    let path = session.interface().await? + "/vpc-ipv4-cidr-block";
    let nameserver = amazon_dns(&session.word(&path).await?)?;
    Ok(Found::only(
        vec![SocketAddr::new(nameserver, DNS_PORT)],
        Source::Imds,
    ))
}

/// A token, and where it is good.
struct Session<'a> {
    via: Via<'a>,
    token: String,
}

impl<'a> Session<'a> {
    async fn open(via: Via<'a>) -> Result<Self, ImdsError> {
        let ttl = ("X-aws-ec2-metadata-token-ttl-seconds", TOKEN_TTL);
        let text = request(via, "PUT", "/latest/api/token", ttl).await?;
        let token = word("PUT", "/latest/api/token", text)?;
        Ok(Self { via, token })
    }

    /// The directory of the primary interface.
    async fn interface(&self) -> Result<String, ImdsError> {
        let mac = self.word("/latest/meta-data/mac").await?;
        let mac = hardware_address(&mac).ok_or_else(|| ImdsError::NoMac { text: shown(&mac) })?;
        Ok(format!("/latest/meta-data/network/interfaces/macs/{mac}"))
    }

    async fn text(&self, path: &str) -> Result<String, ImdsError> {
        let header = ("X-aws-ec2-metadata-token", self.token.as_str());
        request(self.via, "GET", path, header).await
    }

    async fn word(&self, path: &str) -> Result<String, ImdsError> {
        word("GET", path, self.text(path).await?)
    }
}

/// One text without the blanks around it.
async fn request(
    via: Via<'_>,
    method: &'static str,
    path: &str,
    header: (&'static str, &str),
) -> Result<String, ImdsError> {
    let to = SocketAddr::new(ADDRESS, PORT);
    let mut stream = match via {
        Via::Link(parent) => parent.request(Command::Connect(to)).await?.stream,
        Via::Network => match TcpStream::connect(to).await {
            Ok(stream) => Stream::Tcp(stream),
            Err(source) => return Err(ImdsError::Connect { source }),
        },
    };
    let request = Request {
        method,
        host: &ADDRESS.to_string(),
        path,
        header,
    };
    match http::exchange(&mut stream, &request).await {
        Ok(body) => Ok(String::from_utf8_lossy(body.trim_ascii()).into_owned()),
        Err(source) => Err(ImdsError::Http {
            request: format!("{method} {path}"),
            source,
        }),
    }
}

/// Visible ASCII and nothing else.
fn word(method: &str, path: &str, text: String) -> Result<String, ImdsError> {
    let is_word = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    match is_word {
        true => Ok(text),
        false => Err(ImdsError::NotAWord {
            request: format!("{method} {path}"),
            text: shown(&text),
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

/// Why [`place`] does not know.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct PlaceError(#[from] ImdsError);

impl ImdsError {
    /// Whether the service says that there is no such text.
    fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::Http {
                source: HttpError::Status { status: 404 },
                ..
            }
        )
    }
}

/// Why there is no base + 2, or no place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImdsError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("no IMDS at {ADDRESS}: {source}")]
    Connect { source: io::Error },
    #[error("IMDS did not answer within {} s", PLACE.as_secs())]
    Silent,
    #[error("`{text}` is not a region")]
    NoRegion { text: String },
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
