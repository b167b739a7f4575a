//! The options before APP and those of `dns`, which are the same, and what they must have in common.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use clap::builder::BoolishValueParser;
use link::{Address, Parent};
use publish::Ports;
use stub::{Pins, Routes};
use tracing_subscriber::filter::{LevelFilter, Targets};
use vpc::Nameservers;

use super::pin::PinList;
use super::route::RouteList;
use super::{Config, Job, Report, ResolvConfFile};

/// Where DNS is served (RFC 1035 §4.2), and the only port that a resolv.conf can mean.
const DNS_PORT: u16 = 53;

/// The largest `--upstream-pps`: more than any link carries.
const MOST_PPS: u32 = 1_000_000;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Where the relay is: vsock:CID, unix:PREFIX (the socket PREFIX_PORT) or tcp:IP (loopback).
    #[arg(long, value_name = "ADDRESS", default_value = "vsock:3")]
    parent: Address,
    /// The relay's port.
    #[arg(long, value_name = "PORT", default_value = "8888")]
    port: u32,
    /// Who answers behind the relay: auto (the first that is known of the others), parent (whom the
    /// parent asks), imds (base + 2 of the parent's VPC), or a list of amazon (AmazonDNS at
    /// 169.254.169.253 and fd00:ec2::253), cidr:CIDR (the VPC's base + 2), IP and IP:PORT.
    #[arg(long, value_name = "LIST", default_value = "auto")]
    nameservers: Nameservers,
    /// Names at SUFFIX and under it go to these nameservers alone, a list of IP, IP:PORT, cidr:CIDR
    /// and amazon. The longest suffix wins; all other names go to --nameservers. May be given several
    /// times, or once with blanks between the routes.
    #[arg(long, value_name = "SUFFIX=LIST")]
    route: Vec<RouteList>,
    /// Names at SUFFIX and under it may have addresses in these networks only, a list of CIDR and IP:
    /// any other answer is refused with SERVFAIL. The longest suffix wins. S3 and DynamoDB, whose gateway
    /// endpoints keep public addresses, are held by a suffix of their own only, such as
    /// s3.us-east-1.amazonaws.com. Of the parent's search names only pinned ones are taken. May be given
    /// several times, or once with blanks between the pins.
    #[arg(long, value_name = "SUFFIX=CIDR")]
    pin: Vec<PinList>,
    /// Where to answer DNS, on loopback.
    #[arg(
        long,
        value_name = "IP:PORT",
        value_delimiter = ',',
        default_value = "127.0.0.1:53,[::1]:53"
    )]
    listen: Vec<SocketAddr>,
    /// The file that tells programs where to ask, put back at the end; none to leave it alone.
    #[arg(long, value_name = "PATH|none", default_value = "/etc/resolv.conf")]
    resolv_conf: PathBuf,
    /// Memory for cached answers.
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "16MiB",
        value_parser = size
    )]
    cache_size: usize,
    /// The most packets to nameservers in any second: AmazonDNS drops what is above 1024. From 10 on;
    /// 0 is no limit.
    #[arg(
        long,
        value_name = "PACKETS",
        default_value = "900",
        value_parser = upstream_pps
    )]
    upstream_pps: u32,
    /// Which ports of the parent reach programs here: auto (each port that a program listens on, but
    /// on loopback), none, or a list of PORT, PARENT:PORT and ADDR:PARENT:PORT, as 8443:443. Outside
    /// an enclave, auto is none.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "auto"
    )]
    publish: Vec<publish::Word>,
    /// How to carry TCP out: auto (detour if it works here, else redirect, else not at all), detour
    /// (connect() fails as it would without an enclave), redirect (it succeeds, and a reset follows),
    /// off.
    #[arg(long, value_name = "HOW", default_value = "auto")]
    egress: egress::Mode,
    /// Carry TCP to these destinations only; repeatable.
    #[arg(long, value_name = "CIDR[:PORT]", value_delimiter = ',')]
    egress_allow: Vec<link::Rule>,
    /// Serve metrics for Prometheus here, on loopback, at /metrics; such as 127.0.0.1:9153.
    #[arg(long, value_name = "IP:PORT")]
    metrics: Option<SocketAddr>,
    /// What the relay on the parent is told: none; status (how proxify is, in numbers, and its
    /// nameservers and ports); all (its warnings and errors, too, and what `proxify-relay check` and
    /// `bench` have it run). Never a name that was asked for.
    #[arg(long, value_name = "WHAT", default_value = "status")]
    report: Report,
    /// What to log on standard error: off, error, warn, info, debug, trace, or such as
    /// warn,vpc=debug.
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log: Targets,
    /// How to log.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: logging::Format,
    /// Log a line for each query as well, with its name and what became of it, whatever --log says; at
    /// most 1,000 a second. Without it no name is logged above debug.
    #[arg(long, value_parser = BoolishValueParser::new())]
    query_log: bool,
    /// Go on where there are other interfaces than lo, and change this host's resolv.conf.
    #[arg(long, value_parser = BoolishValueParser::new())]
    force: bool,
}

impl Options {
    /// What clap cannot check by itself: values that depend on each other.
    ///
    /// # Errors
    ///
    /// A line that says what is wrong and what to write.
    pub(super) fn check(self, job: Job) -> Result<Config, String> {
        let Self {
            parent,
            port,
            nameservers,
            route,
            pin,
            listen,
            resolv_conf,
            ..
        } = self;
        if let Some(open) = listen.iter().find(|address| !address.ip().is_loopback()) {
            return Err(format!(
                "--listen {open}: the stub answers this machine only; use an address such as \
                 127.0.0.1:53\n"
            ));
        }
        if let Address::Tcp(ip) = parent
            && !ip.is_loopback()
        {
            return Err(format!(
                "--parent tcp:{ip}: TCP to another machine is neither encrypted nor authenticated; \
                 use vsock:CID, unix:PREFIX or a loopback address\n"
            ));
        }
        if let Some(open) = self.metrics
            && !open.ip().is_loopback()
        {
            return Err(format!(
                "--metrics {open}: they are served to this machine only, and by proxify-relay to \
                 others; use an address such as 127.0.0.1:9153\n"
            ));
        }
        let routes = route.into_iter().flat_map(|RouteList(routes)| routes);
        let routes = Routes::new(routes.collect())
            .map_err(|error| format!("--route (PROXIFY_ROUTE): {error}\n"))?;
        let pins = pin.into_iter().flat_map(|PinList(pins)| pins);
        let pins =
            Pins::new(pins.collect()).map_err(|error| format!("--pin (PROXIFY_PIN): {error}\n"))?;
        let resolv_conf = match resolv_conf.as_os_str() == "none" {
            true => None,
            false => Some(ResolvConfFile {
                path: resolv_conf,
                nameserver: nameserver(&listen)?,
            }),
        };
        let publish =
            Ports::from_words(&self.publish).map_err(|error| format!("--publish: {error}\n"))?;
        Ok(Config {
            parent: Parent::new(parent, port),
            nameservers,
            routes,
            pins,
            listen,
            resolv_conf,
            cache_size: self.cache_size,
            upstream_pps: self.upstream_pps,
            publish,
            egress: Some(self.egress),
            egress_allow: self.egress_allow,
            metrics: self.metrics,
            report: self.report,
            log: match self.query_log {
                true => self.log.with_target(stub::QUERY_LOG, LevelFilter::INFO),
                false => self.log,
            },
            query_log: self.query_log,
            log_format: self.log_format,
            force: self.force,
            job,
        })
    }
}

/// The listen address that a resolv.conf can name: it has no place for a port. IPv4 comes first,
/// since the other is skipped where IPv6 is off.
fn nameserver(listen: &[SocketAddr]) -> Result<IpAddr, String> {
    let at_53 = || listen.iter().filter(|address| address.port() == DNS_PORT);
    let address = at_53()
        .find(|address| address.is_ipv4())
        .or_else(|| at_53().next());
    address.map(SocketAddr::ip).ok_or_else(|| {
        format!(
            "--listen without port {DNS_PORT}: a resolv.conf cannot name another; add \
             {}:{DNS_PORT} or [{}]:{DNS_PORT}, or say --resolv-conf none\n",
            Ipv4Addr::LOCALHOST,
            Ipv6Addr::LOCALHOST
        )
    })
}

/// Bytes as `16MiB`, `512KiB`, `1GiB` or `65536`.
fn size(text: &str) -> Result<usize, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "" | "B" => Some(1),
        "KiB" | "K" => Some(1 << 10),
        "MiB" | "M" => Some(1 << 20),
        "GiB" | "G" => Some(1 << 30),
        _ => None,
    };
    let bytes = number
        .parse::<usize>()
        .ok()
        .zip(unit)
        .and_then(|(n, unit)| n.checked_mul(unit));
    bytes.ok_or_else(|| "write a size such as 16MiB, 512KiB or 65536".to_owned())
}

/// Packets a second. Fewer than 10 could not be spread over a second.
fn upstream_pps(text: &str) -> Result<u32, String> {
    let number = text.parse().ok();
    let number = number.filter(|number| *number == 0 || (10..=MOST_PPS).contains(number));
    number.ok_or_else(|| format!("write 0 for no limit, or a number from 10 to {MOST_PPS}"))
}
