//! Whether the link to the parent gives any sign of life, as the driver notices it.
//!
//! A failure of the link is never remembered as an answer, since it may be over at any moment. But while
//! nothing has come of it for long, what wants it waits only for as long as a new connection takes:
//! a client asks twice, and for each domain of its search list, and would else wait a whole lookup's
//! time for each.

use crate::{Millis, SECOND};

/// Silence after which the link is lost: a live relay answers each question within 2.5 s.
const SILENCE: Millis = 3 * SECOND;

/// How long a lookup goes on while the link is lost: many times what a new connection takes. A name and
/// two domains, each asked for twice, end within 5 s of the first question to a link that is silent.
const PROBE: Millis = 300;

#[derive(Debug, Default)]
pub(crate) struct Link {
    /// When it gave a sign of life last; none before the first, since a parent may come up later than
    /// its enclave.
    heard: Option<Millis>,
    /// Since when something is wanted of it and nothing comes.
    silent: Option<Millis>,
}

impl Link {
    /// Notes a sign of life; true if the link was lost.
    pub(crate) fn is_heard(&mut self, now: Millis) -> bool {
        let was_lost = self.is_lost(now);
        *self = Self {
            heard: Some(now),
            silent: None,
        };
        was_lost
    }

    /// Notes that nothing has come `since`; true if nothing was known of that.
    pub(crate) fn is_silent(&mut self, since: Millis) -> bool {
        let Some(heard) = self.heard else {
            return false;
        };
        let is_news = self.silent.is_none();
        self.silent.get_or_insert(since.max(heard));
        is_news
    }

    pub(crate) fn is_lost(&self, now: Millis) -> bool {
        self.silent.is_some_and(|since| since + SILENCE <= now)
    }

    /// When a lookup that is under way now is to end, if nothing has come by then; none while there is
    /// no silence.
    pub(crate) fn patience(&self, now: Millis) -> Option<Millis> {
        self.silent.map(|since| now.max(since + SILENCE) + PROBE)
    }
}
