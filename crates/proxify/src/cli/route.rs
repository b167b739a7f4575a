//! `--route SUFFIX=LIST`: names at or under a suffix, and who is asked for them.

use std::str::FromStr;

use stub::{Name, ParseNameError, Route};
use vpc::ParseNameserversError;

/// What one `--route` says, or all of PROXIFY_ROUTE: routes with blanks between them, since a comma
/// stands between the nameservers of one.
#[derive(Clone, Debug)]
pub(super) struct RouteList(pub(super) Vec<Route>);

impl FromStr for RouteList {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let routes: Vec<Route> = text
            .split_whitespace()
            .map(route)
            .collect::<Result<_, _>>()?;
        if routes.is_empty() {
            return Err(RouteError::Syntax {
                text: text.to_owned(),
            });
        }
        Ok(Self(routes))
    }
}

fn route(text: &str) -> Result<Route, RouteError> {
    let Some((suffix, list)) = text.split_once('=') else {
        let text = text.to_owned();
        return Err(RouteError::Syntax { text });
    };
    let nameservers = vpc::nameserver_list(list).map_err(|source| RouteError::Nameservers {
        suffix: suffix.to_owned(),
        source,
    })?;
    let suffix = suffix
        .parse::<Name>()
        .map_err(|source| RouteError::Suffix {
            suffix: suffix.to_owned(),
            source,
        })?;
    Ok(Route {
        suffix,
        nameservers,
    })
}

/// Text that `--route` does not take.
#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    #[error(
        "`{text}` is no route: write SUFFIX=NAMESERVERS, such as corp.example=10.1.0.53,10.2.0.53 or \
         amazonaws.com=cidr:10.0.0.0/16"
    )]
    Syntax { text: String },
    #[error(
        "`{suffix}` is no suffix: {source}; write a name such as corp.example, which stands for itself \
         and all names under it"
    )]
    Suffix {
        suffix: String,
        source: ParseNameError,
    },
    #[error("for {suffix}: {source}")]
    Nameservers {
        suffix: String,
        source: ParseNameserversError,
    },
}
