//! The chain of sources, asked one after the other.
//!
//! | | |
//! |---|---|
//! | the first pass | each source in its turn, until one has nameservers; one that hangs costs [`STEP`], all of them [`PASS`] |
//! | later passes | the sources that are better than the one in effect, and that one if it can change; see [`Chain::rest`] |
//! | the relay | is followed from its first turn on: what it says is in effect at once, if nothing better is |
//!
//! What was known stays in effect while its source is away: an enclave whose parent restarts its
//! relay keeps asking the nameservers that it had. Only a file of the enclave's own that is taken
//! away is a decision, and opens the whole chain again.
//!
//! Nothing is taken unproven. An AmazonDNS address of the last two steps counts once it has
//! answered a query; while no source has anything, queries wait in the stub, and the chain is asked
//! again each second.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use link::Parent;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use crate::amazon_dns::{self, ProbeError};
use crate::files::{FileError, Files};
use crate::getter::{self, GetterError};
use crate::imds::{self, ImdsError};
use crate::relay::{self, State};
use crate::{Found, Source};

/// What one source may cost when it hangs.
pub(crate) const STEP: Duration = Duration::from_secs(1);

/// What a pass may cost when all of them hang: APP waits 5 s for its names.
pub(crate) const PASS: Duration = Duration::from_secs(4);

/// Between two passes while no source has anything.
const NOTHING_KNOWN: Duration = Duration::from_secs(1);

/// Between two passes on a parent with our relay, or with nobody at the port.
const RETRY: Duration = Duration::from_secs(5);

/// Between two passes on a parent without our relay: each request costs it a connection, and
/// packets of the quota that IMDS and DNS share.
pub(crate) const RETRY_WITHOUT_RELAY: Duration = Duration::from_secs(60);

/// How often a reason is given again that has come back.
const SAID: Duration = Duration::from_secs(60);

/// Reasons given within [`SAID`] for one source.
const REASONS: usize = 4;

/// The sources of one run, and what is known of them.
pub(crate) struct Chain {
    parent: Parent,
    /// `--nameservers`, where it lists any.
    given: Vec<SocketAddr>,
    files: Files,
    sources: &'static [Source],
    /// The source in effect.
    held: Option<Source>,
    relay: Followed,
    /// What was said of each source that was passed over.
    said: BTreeMap<Source, Said>,
    warned: bool,
    /// The receivers know that there is none.
    told: bool,
    found: watch::Sender<Option<Arc<Found>>>,
}

/// The relay as its follower sees it.
struct Followed {
    start: Arc<Notify>,
    found: watch::Sender<Option<Arc<Found>>>,
    state: watch::Sender<State>,
}

impl Chain {
    pub(crate) fn new(
        parent: Parent,
        given: Vec<SocketAddr>,
        files: Files,
        sources: &'static [Source],
        found: watch::Sender<Option<Arc<Found>>>,
    ) -> Self {
        Self {
            parent,
            given,
            files,
            sources,
            held: None,
            relay: Followed {
                start: Arc::new(Notify::new()),
                found: watch::Sender::new(None),
                state: watch::Sender::new(State::Asking),
            },
            said: BTreeMap::new(),
            warned: false,
            told: false,
            found,
        }
    }

    /// Asks the sources for ever, best first.
    pub(crate) async fn follow(mut self) {
        let parent = self.parent.clone();
        let start = Arc::clone(&self.relay.start);
        let (found, state) = (self.relay.found.clone(), self.relay.state.clone());
        let in_effect = self.found.clone();
        let follower = async {
            start.notified().await;
            relay::follow(&parent, &found, &state, || in_effect.borrow().is_none()).await;
        };
        tokio::select! {
            () = follower => {}
            () = self.passes() => {}
        }
    }

    async fn passes(&mut self) {
        let mut told = self.relay.found.subscribe();
        let mut state = self.relay.state.subscribe();
        loop {
            tokio::select! {
                passed = timeout(PASS, self.pass()) => if passed.is_err() {
                    info!(seconds = PASS.as_secs(), "the sources of nameservers took longer than they may");
                },
                // A lesser source is not waited for while the relay's word is there.
                Ok(()) = told.changed() => continue,
            }
            if self.held.is_none() && !std::mem::replace(&mut self.warned, true) {
                warn!(parent = %self.parent, "no source has a nameserver yet; asking again each second");
            }
            // Without its word the link may be down, and nobody has been asked.
            let is_empty = *self.relay.state.borrow() == State::Empty;
            if self.held.is_none() && is_empty && !std::mem::replace(&mut self.told, true) {
                self.found.send_modify(|_| ());
            }
            let passed = Instant::now();
            loop {
                tokio::select! {
                    () = sleep_until(passed + self.rest()) => break,
                    Ok(()) = told.changed() => break,
                    // It says how long to rest.
                    Ok(()) = state.changed() => {}
                }
            }
        }
    }

    /// How long until better sources are tried again.
    fn rest(&self) -> Duration {
        let state = *self.relay.state.borrow();
        match self.held {
            None => NOTHING_KNOWN,
            Some(_) if state == State::NotOurs => RETRY_WITHOUT_RELAY,
            Some(_) => RETRY,
        }
    }

    /// Asks each source that may know better than the one in effect, until one does.
    async fn pass(&mut self) {
        for &source in self.sources {
            match self.held {
                Some(held) if source > held => return,
                Some(held) if source == held && !can_change(source) => return,
                _ => {}
            }
            let asked = timeout(STEP, self.ask(source)).await;
            match asked.unwrap_or(Err(PassedOver::Hung)) {
                Ok(found) => return self.take(found),
                Err(why) => {
                    self.pass_over(source, &why);
                    let is_gone = matches!(why, PassedOver::File(FileError::Absent));
                    if self.held == Some(source) && is_gone {
                        self.held = None;
                    }
                }
            }
        }
    }

    async fn ask(&self, source: Source) -> Result<Found, PassedOver> {
        match source {
            Source::CommandLine => Ok(Found::only(self.given.clone(), source)),
            Source::Override => Ok(self.files.overriding()?),
            Source::Parent => self.ask_relay().await,
            Source::Getter => self.ask_getter().await,
            Source::Imds => Ok(imds::ask(&self.parent).await?),
            Source::Image => Ok(self.files.baked_in()?),
            Source::LinkLocal => {
                Ok(amazon_dns::probe(&self.parent, amazon_dns::LINK_LOCAL, source).await?)
            }
            Source::Ipv6 => Ok(amazon_dns::probe(&self.parent, amazon_dns::IPV6, source).await?),
        }
    }

    /// What the relay said last; on its first turn its first word is waited for.
    async fn ask_relay(&self) -> Result<Found, PassedOver> {
        self.relay.start.notify_one();
        let mut state = self.relay.state.subscribe();
        // The sender is ours, and lives.
        let _ = state.wait_for(|state| *state != State::Asking).await;
        let found = self.relay.found.borrow().clone();
        let state = *state.borrow();
        found
            .map(Arc::unwrap_or_clone)
            .ok_or(PassedOver::Relay(state))
    }

    /// Where the relay is, no getter is needed, and the relay would refuse its address.
    async fn ask_getter(&self) -> Result<Found, PassedOver> {
        let state = *self.relay.state.borrow();
        match state {
            State::NotOurs => Ok(getter::ask(&self.parent).await?),
            state => Err(PassedOver::NotOld(state)),
        }
    }

    /// Puts what was found into effect, and tells the receivers and the log if it is news.
    fn take(&mut self, new: Found) {
        self.held = Some(new.source);
        self.said.remove(&new.source);
        self.found.send_if_modified(|current| {
            if current.as_deref() == Some(&new) {
                return false;
            }
            let Found {
                nameservers,
                search,
                source,
                ..
            } = &new;
            info!(%source, ?nameservers, ?search, "nameservers taken");
            *current = Some(Arc::new(new));
            true
        });
    }

    /// Says why a source was not taken, where it was not said before.
    fn pass_over(&mut self, source: Source, why: &PassedOver) {
        let why = why.to_string();
        if self
            .said
            .entry(source)
            .or_default()
            .admits(&why, Instant::now())
        {
            info!(%source, why, "passed over");
        } else {
            debug!(%source, why, "passed over");
        }
    }
}

/// Why a source was passed over, as far as the log knows: a reason that stays is a line once, others one
/// a minute, and no more than [`REASONS`], since the words may be the parent's.
#[derive(Default)]
struct Said {
    last: Option<String>,
    recent: Vec<(String, Instant)>,
}

impl Said {
    fn admits(&mut self, why: &str, now: Instant) -> bool {
        if self.last.as_deref() == Some(why) {
            return false;
        }
        self.last = Some(why.to_owned());
        self.recent
            .retain(|(_, said)| now.saturating_duration_since(*said) < SAID);
        let is_known = self.recent.iter().any(|(reason, _)| reason == why);
        if is_known || self.recent.len() >= REASONS {
            return false;
        }
        self.recent.push((why.to_owned(), now));
        true
    }
}

/// Whether a source in effect is asked again: what IMDS says holds for an instance's life, and the
/// image for the enclave's.
fn can_change(source: Source) -> bool {
    matches!(source, Source::Override | Source::Parent | Source::Getter)
}

/// Why a source was not taken.
#[derive(Debug, thiserror::Error)]
enum PassedOver {
    #[error("it hung for {} s", STEP.as_secs())]
    Hung,
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{0}")]
    Relay(State),
    #[error("only an old parent has one, and {0}")]
    NotOld(State),
    #[error(transparent)]
    Getter(#[from] GetterError),
    #[error(transparent)]
    Imds(#[from] ImdsError),
    #[error(transparent)]
    AmazonDns(#[from] ProbeError),
}

#[cfg(test)]
mod tests;
