//! `--pin SUFFIX=CIDR[,CIDR]`: where the addresses of names at or under a suffix must lie.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use stub::{Name, ParseNameError, Pin};

/// What one `--pin` says, or all of PROXIFY_PIN: pins with blanks between them, since a comma stands
/// between the networks of one.
#[derive(Clone, Debug)]
pub(super) struct PinList(pub(super) Vec<Pin>);

impl FromStr for PinList {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let pins: Vec<Pin> = text.split_whitespace().map(pin).collect::<Result<_, _>>()?;
        if pins.is_empty() {
            return Err(PinError::Syntax {
                text: text.to_owned(),
            });
        }
        Ok(Self(pins))
    }
}

fn pin(text: &str) -> Result<Pin, PinError> {
    let Some((suffix, list)) = text.split_once('=') else {
        let text = text.to_owned();
        return Err(PinError::Syntax { text });
    };
    let networks = list.split(',').map(|text| network(suffix, text));
    let networks = networks.collect::<Result<_, _>>()?;
    let suffix = suffix.parse::<Name>().map_err(|source| PinError::Suffix {
        suffix: suffix.to_owned(),
        source,
    })?;
    Ok(Pin { suffix, networks })
}

fn network(suffix: &str, text: &str) -> Result<IpNet, PinError> {
    let network = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| PinError::Network {
            suffix: suffix.to_owned(),
            text: text.to_owned(),
        })?;
    match network.trunc() {
        base if base == network => Ok(network),
        base => Err(PinError::HostBits {
            suffix: suffix.to_owned(),
            network,
            base,
        }),
    }
}

/// Text that `--pin` does not take.
#[derive(Debug, thiserror::Error)]
pub(super) enum PinError {
    #[error(
        "`{text}` is no pin: write SUFFIX=CIDR, such as amazonaws.com=10.0.0.0/16, or with more \
         networks corp.example=10.1.0.0/16,fd00:1::/64"
    )]
    Syntax { text: String },
    #[error(
        "`{suffix}` is no suffix: {source}; write a name such as amazonaws.com, which stands for itself \
         and all names under it"
    )]
    Suffix {
        suffix: String,
        source: ParseNameError,
    },
    #[error(
        "for {suffix}: `{text}` is no network: write a block such as 10.0.0.0/16, or an address"
    )]
    Network { suffix: String, text: String },
    #[error("for {suffix}: {network} is not the base of its block: write {base}, if that is meant")]
    HostBits {
        suffix: String,
        network: IpNet,
        base: IpNet,
    },
}
