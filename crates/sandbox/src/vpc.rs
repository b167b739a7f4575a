//! The VPC: a network namespace with its router, AmazonDNS and every address of an endpoint or public service.

mod network;

use std::ffi::OsString;
use std::future;
use std::io;
use std::process::ExitCode;

use self::network::NetworkError;
use crate::addresses::AMAZON_DNS_LINK_LOCAL;
use crate::amazon_dns::{self, ServeError};
use crate::cli::{Options, Resolver};
use crate::zone::{Zone, ZoneError};
use crate::{UNAVAILABLE, complain, handover, options};

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
    network::make(options.vpc_cidr, zone.addresses()).await?;
    let mut server = match options.resolver {
        Resolver::Builtin => {
            let addresses = [options.vpc_cidr.amazon_dns(), AMAZON_DNS_LINK_LOCAL];
            Some(amazon_dns::serve(zone, &addresses).await?)
        }
        Resolver::None => None,
    };
    handover::ready(ready).map_err(VpcError::Handover)?;
    match &mut server {
        Some(server) => server
            .block_until_done()
            .await
            .map_err(|error| VpcError::Server(error.to_string())),
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
    #[error("the VPC's resolver ended: {0}")]
    Server(String),
}
