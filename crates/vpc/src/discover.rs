//! What is asked for nameservers, in which order, and who follows it: [`discover()`].

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use link::Parent;
use resolv::ResolvConf;
use tokio::sync::watch;
use tracing::debug;

use crate::chain::Chain;
use crate::nameservers::DNS_PORT;
use crate::{Files, Nameservers, amazon_dns};

/// What a source gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// At least one, in the order in which they are to be asked; at most
    /// [`resolv::MAX_NAMESERVERS`].
    pub nameservers: Vec<SocketAddr>,
    /// The search list, at most [`resolv::MAX_SEARCH`] names.
    pub search: Vec<String>,
    /// Seconds that a client waits, 1 to [`resolv::MAX_TIMEOUT`].
    pub timeout: Option<u8>,
    /// Times that a client asks, 1 to [`resolv::MAX_ATTEMPTS`].
    pub attempts: Option<u8>,
    /// Who gave it.
    pub source: Source,
}

/// Who named the nameservers. In the order in which they are asked: a lesser source is a better
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// `--nameservers`.
    CommandLine,
    /// A file in the image that overrides what the enclave is told: [`Files::override_file`].
    Override,
    /// The parent's resolv.conf, told by the relay (RESOLV_CONF).
    Parent,
    /// The parent's resolv.conf, told by the gRPC getter of an old parent.
    Getter,
    /// The VPC's primary block, from the parent instance's metadata.
    Imds,
    /// The image's own resolv.conf: [`Files::image`].
    Image,
    /// AmazonDNS at its link-local address, the same in every VPC.
    LinkLocal,
    /// AmazonDNS at its IPv6 address, the same in every VPC.
    Ipv6,
}

/// Finds nameservers and keeps `found` in step with the best source that has any. Where the
/// relay and all other sources have been asked in vain, its receivers are told of a change once, and
/// it is `None` still. Runs until it is dropped.
pub async fn discover(
    wanted: Nameservers,
    parent: Parent,
    files: Files,
    found: watch::Sender<Option<Arc<Found>>>,
) {
    let mut given = Vec::new();
    let sources: &[Source] = match wanted {
        Nameservers::Fixed(nameservers) => {
            given = nameservers;
            &[Source::CommandLine]
        }
        Nameservers::Auto => &[
            Source::Override,
            Source::Parent,
            Source::Getter,
            Source::Imds,
            Source::Image,
            Source::LinkLocal,
            Source::Ipv6,
        ],
        Nameservers::Parent => &[Source::Parent, Source::Getter],
        Nameservers::Imds => &[Source::Imds],
    };
    Chain::new(parent, given, files, sources, found)
        .follow()
        .await;
}

impl Found {
    /// Nameservers from a source that says no more.
    pub(crate) fn only(nameservers: Vec<SocketAddr>, source: Source) -> Self {
        Self {
            nameservers,
            search: Vec::new(),
            timeout: None,
            attempts: None,
            source,
        }
    }

    /// What a resolv.conf says, if it names a nameserver that can be asked from another host.
    pub(crate) fn read(text: &[u8], source: Source) -> Option<Self> {
        let conf = ResolvConf::parse(text);
        let (usable, unusable): (Vec<_>, Vec<_>) = conf
            .nameservers
            .iter()
            .partition(|&&ip| ResolvConf::usable(ip));
        if !unusable.is_empty() {
            debug!(%source, ?unusable, "nameservers not taken: not reachable from another host");
        }
        if usable.is_empty() {
            return None;
        }
        let nameservers = usable
            .into_iter()
            .map(|&ip| SocketAddr::new(ip, DNS_PORT))
            .collect();
        Some(Self {
            nameservers,
            search: conf.search,
            timeout: conf.timeout,
            attempts: conf.attempts,
            source,
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("the command line"),
            Self::Override => f.write_str("the override file"),
            Self::Parent => f.write_str("the parent's resolv.conf"),
            Self::Getter => f.write_str("the old parent's getter"),
            Self::Imds => f.write_str("IMDS"),
            Self::Image => f.write_str("the image's resolv.conf"),
            Self::LinkLocal => write!(f, "AmazonDNS at {}", amazon_dns::LINK_LOCAL),
            Self::Ipv6 => write!(f, "AmazonDNS at {}", amazon_dns::IPV6),
        }
    }
}
