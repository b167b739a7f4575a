//! Which nameservers a name is asked at: those of the route with the longest suffix that it is at
//! or under, else the discovered ones.
//!
//! Routes are an operator's word and never change. A question keeps to its route: nobody else is
//! asked when the route's nameservers fail, since another's NXDOMAIN for a name of theirs would be
//! believed. An answer is taken as given, also where it is a chain of CNAMEs out of the suffix.

use std::net::SocketAddr;
use std::sync::Arc;

use thiserror::Error;
use wire::{Name, suffixes};

use crate::Millis;
use crate::servers::Servers;

/// Most routes: what bounds the connections, 8 for each.
pub const MAX_ROUTES: usize = 32;

/// Nameservers for a suffix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Names at it and under it are asked there.
    pub suffix: Name,
    /// In the order of preference; those beyond [`MAX_NAMESERVERS`](crate::MAX_NAMESERVERS) are
    /// left out.
    pub nameservers: Vec<SocketAddr>,
}

/// At most [`MAX_ROUTES`] routes, none of them for every name, and no two for one suffix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes(Vec<Route>);

/// Routes that contradict each other or the discovered nameservers.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RoutesError {
    /// The suffix is the root.
    #[error(
        "a route for `.` would take every name: the nameservers of all other names are given by \
         --nameservers"
    )]
    Everything,
    /// Which of the two counts would be a guess.
    #[error("{suffix} has two routes: write one, with commas between its nameservers")]
    Twice {
        /// The suffix of both.
        suffix: String,
    },
    /// More than the stub keeps connections for.
    #[error("{count} routes are too many: write at most {MAX_ROUTES}")]
    TooMany {
        /// How many were given.
        count: usize,
    },
}

impl Routes {
    /// Checks routes against each other. Their order means nothing.
    ///
    /// # Errors
    /// [`RoutesError`]
    pub fn new(routes: Vec<Route>) -> Result<Self, RoutesError> {
        if routes.len() > MAX_ROUTES {
            return Err(RoutesError::TooMany {
                count: routes.len(),
            });
        }
        for (index, Route { suffix, .. }) in routes.iter().enumerate() {
            if *suffix == Name::ROOT {
                return Err(RoutesError::Everything);
            }
            if routes
                .iter()
                .skip(index + 1)
                .any(|other| other.suffix == *suffix)
            {
                let suffix = suffix.to_string();
                return Err(RoutesError::Twice { suffix });
            }
        }
        Ok(Self(routes))
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Route> {
        self.0.iter()
    }
}

/// Names the route of a lookup, a cache entry or a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Via(u8);

impl Via {
    /// The discovered nameservers: no route has this number.
    pub(crate) const DEFAULT: Self = Self(u8::MAX);
}

/// The nameservers of all routes and the discovered ones.
pub(crate) struct Upstreams {
    routed: Vec<Upstream>,
    default: Upstream,
}

/// Nameservers that are asked for the same names, and what is known of them.
pub(crate) struct Upstream {
    /// The root for the discovered ones.
    pub(crate) suffix: Arc<Name>,
    pub(crate) servers: Servers,
    /// Counts changes of the nameservers: older answers are no longer fresh.
    pub(crate) generation: u32,
    /// Counts returns of the link and of nameservers: older failures are forgotten.
    pub(crate) epoch: u32,
}

impl Upstreams {
    /// Those of the routes; no nameserver is discovered yet.
    pub(crate) fn new(routes: &Routes) -> Self {
        let routed = routes.iter().map(|route| Upstream {
            suffix: Arc::new(route.suffix),
            servers: Servers::new(&route.nameservers),
            generation: 0,
            epoch: 0,
        });
        Self {
            routed: routed.collect(),
            default: Upstream {
                suffix: Arc::new(Name::ROOT),
                servers: Servers::default(),
                generation: 0,
                epoch: 0,
            },
        }
    }

    /// Where a name is asked, in lower case on the wire. Costs a look at each route for each of its
    /// labels.
    pub(crate) fn of(&self, name: &[u8]) -> Via {
        // From the whole name on, so that the longest suffix is found first.
        let index = suffixes(name).find_map(|suffix| {
            let is_its = |route: &Upstream| route.suffix.as_bytes() == suffix;
            self.routed.iter().position(is_its)
        });
        index
            .and_then(|index| u8::try_from(index).ok())
            .map_or(Via::DEFAULT, Via)
    }

    pub(crate) fn get(&self, via: Via) -> &Upstream {
        self.routed.get(usize::from(via.0)).unwrap_or(&self.default)
    }

    /// Those of the routes.
    pub(crate) fn routed(&self) -> impl Iterator<Item = &Upstream> {
        self.routed.iter()
    }

    pub(crate) fn get_mut(&mut self, via: Via) -> &mut Upstream {
        self.routed
            .get_mut(usize::from(via.0))
            .unwrap_or(&mut self.default)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Upstream> {
        self.routed
            .iter_mut()
            .chain(std::iter::once(&mut self.default))
    }
}

impl Upstream {
    /// Notes an answer of a nameserver. One that was resting is back.
    pub(crate) fn answered(&mut self, nameserver: SocketAddr) {
        if self.servers.answered(nameserver) {
            self.forget_failures();
        }
    }

    pub(crate) fn stayed_silent(&mut self, now: Millis, nameserver: SocketAddr) {
        self.servers.stayed_silent(now, nameserver);
    }

    /// Failures of before count no longer.
    pub(crate) fn forget_failures(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(suffix: &str) -> Route {
        Route {
            suffix: suffix.parse().unwrap(),
            nameservers: vec![SocketAddr::from(([10, 0, 0, 2], 53))],
        }
    }

    fn routes(suffixes: &[&str]) -> Result<Routes, RoutesError> {
        Routes::new(suffixes.iter().copied().map(route).collect())
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let suffix = "corp.example".to_owned();
        let twice = RoutesError::Twice { suffix };
        for other in [&["Corp.Example."][..], &["a", "corp.example"]] {
            let twice = twice.clone();
            assert_eq!(routes(&[&["corp.example"], other].concat()), Err(twice));
        }
        assert_eq!(routes(&["a", "."]), Err(RoutesError::Everything));
        assert!(routes(&["corp.example", "sub.corp.example", "example"]).is_ok());
    }

    #[test]
    fn there_are_at_most_thirty_two() {
        let many = |count| {
            let routes = (0..count).map(|number: usize| route(&format!("z{number}")));
            Routes::new(routes.collect())
        };
        assert_eq!(many(33), Err(RoutesError::TooMany { count: 33 }));
        // Each has a number of its own.
        let upstreams = Upstreams::new(&many(32).unwrap());
        for number in 0..32 {
            let suffix: Name = format!("z{number}").parse().unwrap();
            let via = upstreams.of(suffix.as_bytes());
            assert_eq!(*upstreams.get(via).suffix, suffix);
        }
    }

    #[test]
    fn the_longest_suffix_wins_at_the_borders_of_labels() {
        let orders = [
            ["example", "corp.example", "10.in-addr.arpa"],
            ["corp.example", "10.in-addr.arpa", "example"],
        ];
        for order in orders {
            let mut upstreams = Upstreams::new(&routes(&order).unwrap());
            for (name, suffix) in [
                ("corp.example", "corp.example"),
                ("a.b.corp.example", "corp.example"),
                ("notcorp.example", "example"),
                ("example", "example"),
                ("17.1.0.10.in-addr.arpa", "10.in-addr.arpa"),
                ("17.1.0.110.in-addr.arpa", "."),
                ("corp.example.com", "."),
                ("notexample", "."),
                (".", "."),
            ] {
                let name: Name = name.parse().unwrap();
                let via = upstreams.of(name.as_bytes());
                assert_eq!(upstreams.get(via).suffix.to_string(), suffix, "{name:?}");
                assert_eq!(upstreams.get_mut(via).suffix.to_string(), suffix);
            }
        }
        // A length byte's value within a label is no border: 0x07 and `example` are one label.
        let upstreams = Upstreams::new(&routes(&["example"]).unwrap());
        assert_eq!(upstreams.of(b"\x09x\x07example\0"), Via::DEFAULT);
    }
}
