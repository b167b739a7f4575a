//! The chain of sources: each is asked in its turn, and the first that has nameservers is followed.
//!
//! What is not known yet stays `None`, and what was known once stays in effect while its source is
//! away: an enclave whose parent restarts its relay keeps asking the nameservers that it had.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use link::Parent;
use tokio::sync::watch;
use tracing::info;

use crate::{Nameservers, relay};

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

/// Who named the nameservers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `--nameservers`.
    CommandLine,
    /// The parent's resolv.conf, told by the relay (RESOLV_CONF).
    Parent,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CommandLine => "the command line",
            Self::Parent => "the parent's resolv.conf",
        })
    }
}

/// Finds nameservers and keeps `found` in step with their source. Runs until it is dropped.
pub async fn discover(
    wanted: Nameservers,
    parent: Parent,
    found: watch::Sender<Option<Arc<Found>>>,
) {
    for step in chain(wanted) {
        step.follow(&parent, &found).await;
    }
    std::future::pending::<()>().await;
}

/// One source of nameservers.
enum Step {
    Given(Vec<SocketAddr>),
    Relay,
}

/// The sources in their order. Given nameservers are all that is wanted; otherwise the parent is
/// asked.
fn chain(wanted: Nameservers) -> Vec<Step> {
    match wanted {
        Nameservers::Fixed(addresses) => vec![Step::Given(addresses)],
        Nameservers::Auto | Nameservers::Parent => vec![Step::Relay],
    }
}

impl Step {
    /// Publishes what the source gives for as long as it can be followed.
    async fn follow(self, parent: &Parent, found: &watch::Sender<Option<Arc<Found>>>) {
        match self {
            Self::Given(nameservers) => {
                let (search, timeout, attempts) = (Vec::new(), None, None);
                publish(
                    found,
                    Found {
                        nameservers,
                        search,
                        timeout,
                        attempts,
                        source: Source::CommandLine,
                    },
                );
            }
            Self::Relay => relay::follow(parent, found).await,
        }
    }
}

/// Tells the receivers, and the log, if it is news.
pub(crate) fn publish(found: &watch::Sender<Option<Arc<Found>>>, new: Found) {
    found.send_if_modified(|current| {
        if current.as_deref() == Some(&new) {
            return false;
        }
        let Found {
            nameservers,
            search,
            source,
            ..
        } = &new;
        info!(?nameservers, ?search, %source, "nameservers taken");
        *current = Some(Arc::new(new));
        true
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn given_nameservers_are_there_at_once_and_nobody_is_asked() {
        let (sender, mut receiver) = watch::channel(None);
        // Nothing listens there; a step that asked would only be able to fail.
        let parent = Parent::new("unix:/nonexistent/proxify".parse().unwrap(), 8888);
        let task = tokio::spawn(discover(
            "cidr:10.7.0.0/16,10.0.0.2".parse().unwrap(),
            parent,
            sender,
        ));
        receiver.changed().await.unwrap();
        let found = receiver.borrow().clone().unwrap();
        assert_eq!(
            found.nameservers,
            [
                "10.7.0.2:53".parse().unwrap(),
                "10.0.0.2:53".parse().unwrap()
            ]
        );
        assert_eq!(found.source, Source::CommandLine);
        assert!(
            !task.is_finished(),
            "the sender stays, so that receivers are not told of an end"
        );
        task.abort();
    }
}
