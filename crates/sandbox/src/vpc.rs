//! The VPC: a network namespace with its router, AmazonDNS, IMDS and every address of an endpoint or public service.

mod network;

use std::ffi::OsString;
use std::future;
use std::io;
use std::net::IpAddr;
use std::process::ExitCode;

use tokio::task::JoinSet;

use self::network::NetworkError;
use crate::addresses::{AMAZON_DNS_IPV6, AMAZON_DNS_LINK_LOCAL};
use crate::amazon_dns::{self, ServeError};
use crate::cli::{Options, Resolver};
use crate::zone::{Zone, ZoneError};
use crate::{UNAVAILABLE, complain, handover, imds, options};

/// The role's whole program: it ends with the sandbox.
pub(crate) fn main(arguments: Vec<OsString>) -> ExitCode {
    let options = match options(arguments) {
        Ok(options) => options,
        Err(code) => return code,
    };
    // One thread: the network namespace is this thread's.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime
        .map_err(VpcError::Runtime)
        .and_then(|runtime| runtime.block_on(run(&options)))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error, UNAVAILABLE),
    }
}

async fn run(options: &Options) -> Result<(), VpcError> {
    let ready = handover::take().map_err(VpcError::Handover)?;
    let zone = match &options.zone {
        Some(file) => Zone::read(file)?,
        None => Zone::builtin(options.vpc_cidr)?,
    };
    let has_ipv6 = network::make(options.vpc_cidr, zone.addresses()).await?;
    imds::start(options.vpc_cidr)
        .await
        .map_err(VpcError::Imds)?;
    let mut servers = JoinSet::new();
    if options.resolver == Resolver::Builtin {
        let mut addresses: Vec<IpAddr> = vec![
            options.vpc_cidr.amazon_dns().into(),
            AMAZON_DNS_LINK_LOCAL.into(),
        ];
        addresses.extend(has_ipv6.then_some(IpAddr::from(AMAZON_DNS_IPV6)));
        for mut server in amazon_dns::serve(zone, &addresses).await? {
            servers.spawn(async move { server.block_until_done().await });
        }
    }
    handover::ready(ready).map_err(VpcError::Handover)?;
    match servers.join_next().await {
        Some(ended) => Err(VpcError::Server(format!("{ended:?}"))),
        None => future::pending().await,
    }
}

/// Why there is no VPC.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VpcError {
    #[error("cannot start the runtime: {0}")]
    Runtime(io::Error),
    #[error("cannot tell the parent instance that the VPC is ready: {0}")]
    Handover(io::Error),
    #[error(transparent)]
    Zone(#[from] ZoneError),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("cannot bind IMDS's address: {0}")]
    Imds(io::Error),
    #[error("the VPC's resolver ended: {0}")]
    Server(String),
}
