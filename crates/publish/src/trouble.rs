//! What keeps a port from being published: how often it is said, and how soon it is tried again.

use std::time::{Duration, Instant};

use link::{ExchangeError, Reply, RequestError};

/// The first retry after a parent that is away or restarting, doubled up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_millis(100);

/// The longest pause while the parent is away, and the first after a refusal.
const LONGEST: Duration = Duration::from_secs(1);

/// The longest pause after refusals: the port's holder, or the operator, has to change first.
const REFUSED: Duration = Duration::from_secs(10);

/// How long a parent may be away before it is told of: a restart takes less.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the same is told of a port that is published and lost again and again.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The troubles of one port.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    since: Option<Instant>,
    /// The kind that was told of last, and is not over.
    told: Option<Kind>,
    /// When each was.
    lines: Vec<(Kind, Instant)>,
}

/// What differs in how it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Away,
    Refused(Reply),
    Open,
}

impl Trouble {
    /// What to say of a failure at `now`, once for each kind, and no more than once in [`TELL_EVERY`].
    pub(crate) fn say(&mut self, failure: &Failure, now: Instant) -> Option<String> {
        let kind = failure.kind();
        let since = *self.since.get_or_insert(now);
        if kind == Kind::Away && now.saturating_duration_since(since) < PATIENCE {
            return None;
        }
        if self.told == Some(kind) {
            return None;
        }
        self.lines
            .retain(|(_, at)| now.saturating_duration_since(*at) < TELL_EVERY);
        if self.lines.iter().any(|(told, _)| *told == kind) {
            return None;
        }
        self.lines.push((kind, now));
        self.told = Some(kind);
        Some(failure.to_string())
    }

    /// The port is published; says whether somebody was told that it is not.
    pub(crate) fn over(&mut self) -> bool {
        self.since = None;
        self.told.take().is_some()
    }
}

/// Why the parent does not listen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(
        "it belongs to another enclave, or the relay's --bind does not permit it; it is asked for again"
    )]
    NotOurs,
    #[error(
        "the parent cannot listen there: the log of proxify-relay says why (a program of the parent's \
         listens there, or a port below 1024 needs CAP_NET_BIND_SERVICE)"
    )]
    Cannot,
    #[error("it is not an address of the parent")]
    NotAnAddress,
    #[error(
        "this parent listens on all its addresses or none: it is an old one, and the port is not \
         published; leave the address out, or run proxify-relay there"
    )]
    Open,
    #[error("{0}; an old parent says no more when it cannot listen there")]
    Closed(RequestError),
    #[error("the parent listened, and ended it: {0}")]
    Ended(ExchangeError),
    #[error(transparent)]
    Request(RequestError),
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        match &error {
            RequestError::Refused { reply, .. } => match reply {
                Reply::NotAllowed => Self::NotOurs,
                Reply::GeneralFailure => Self::Cannot,
                Reply::HostUnreachable => Self::NotAnAddress,
                _ => Self::Request(error),
            },
            RequestError::Closed { .. } => Self::Closed(error),
            _ => Self::Request(error),
        }
    }
}

impl Failure {
    fn kind(&self) -> Kind {
        match self {
            Self::NotOurs => Kind::Refused(Reply::NotAllowed),
            Self::Cannot => Kind::Refused(Reply::GeneralFailure),
            Self::NotAnAddress => Kind::Refused(Reply::HostUnreachable),
            Self::Open => Kind::Open,
            Self::Request(RequestError::Refused { reply, .. }) => Kind::Refused(*reply),
            Self::Closed(_) | Self::Ended(_) | Self::Request(_) => Kind::Away,
        }
    }

    /// The pause after the `attempt`th failure in a row, from 0.
    pub(crate) fn pause(&self, attempt: u32) -> Duration {
        let (first, longest) = match self.kind() {
            Kind::Away => (SHORTEST, LONGEST),
            Kind::Refused(_) | Kind::Open => (LONGEST, REFUSED),
        };
        first
            .saturating_mul(2_u32.saturating_pow(attempt))
            .min(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_once_and_again_when_it_has_been_over() {
        let now = Instant::now();
        let mut trouble = Trouble::default();
        let said = trouble.say(&Failure::NotOurs, now).unwrap();
        assert!(said.contains("another enclave"), "{said}");
        assert_eq!(trouble.say(&Failure::NotOurs, now), None);
        assert!(trouble.say(&Failure::Cannot, now).is_some());
        assert!(trouble.over());
        assert!(!trouble.over());
        let later = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(trouble.say(&Failure::NotOurs, later(59)), None);
        assert!(!trouble.over(), "nobody was told");
        assert!(trouble.say(&Failure::NotOurs, later(60)).is_some());
    }

    #[test]
    fn a_parent_that_is_away_is_told_of_after_5_s() {
        let now = Instant::now();
        let away = Failure::Closed(RequestError::Closed {
            parent: link::Parent::new(link::Address::PARENT, 8888),
            command: link::Command::ResolvConf,
        });
        let mut trouble = Trouble::default();
        assert_eq!(trouble.say(&away, now), None);
        assert_eq!(trouble.say(&away, now + Duration::from_secs(4)), None);
        assert!(trouble.say(&away, now + Duration::from_secs(5)).is_some());
        assert_eq!(trouble.say(&away, now + Duration::from_secs(50)), None);
        let pauses: Vec<_> = (0..6)
            .map(|attempt| away.pause(attempt).as_millis())
            .collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
        let pauses = [0, 1, 2, 3, 4, 99].map(|attempt| Failure::NotOurs.pause(attempt).as_secs());
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
    }
}
