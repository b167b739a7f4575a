//! The results: rows of figures, each beside its goal.

/// One line of the table.
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    /// Server and figure, in the order of the columns.
    pub(crate) values: Vec<(&'static str, f64)>,
    pub(crate) goals: Vec<Goal>,
}

/// What a figure should be.
pub(crate) struct Goal {
    /// What is compared, such as `proxify / floor`.
    pub(crate) what: String,
    pub(crate) got: f64,
    pub(crate) limit: Limit,
    pub(crate) unit: &'static str,
}

#[derive(Clone, Copy)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Row {
    pub(crate) fn new(what: impl Into<String>, unit: &'static str) -> Self {
        Self {
            what: what.into(),
            unit,
            values: Vec::new(),
            goals: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, server: &'static str, value: f64) {
        self.values.push((server, value));
    }

    pub(crate) fn value(&self, server: &str) -> Option<f64> {
        let found = self.values.iter().find(|(name, _)| *name == server);
        found.map(|(_, value)| *value)
    }

    /// The lowest, or highest, figure of the other caches.
    pub(crate) fn best_peer(&self, highest: bool) -> Option<(&'static str, f64)> {
        let peers = self.values.iter().copied().filter(|(name, _)| {
            crate::servers::PEERS
                .iter()
                .any(|peer| peer.name() == *name)
        });
        peers.reduce(|best, next| {
            let better = if highest {
                next.1 > best.1
            } else {
                next.1 < best.1
            };
            if better { next } else { best }
        })
    }

    /// Sets a goal on one figure over another, if both are there.
    pub(crate) fn ratio_goal(&mut self, server: &str, of: &str, limit: Limit) {
        if let Some((value, base)) = self.value(server).zip(self.value(of)) {
            self.goals.push(Goal {
                what: format!("{server} / {of}"),
                got: value / base,
                limit,
                unit: "",
            });
        }
    }

    /// Sets a goal on a figure over that of the best of the other caches: of the lowest where the figure
    /// should be low.
    pub(crate) fn peer_goal(&mut self, server: &str, limit: Limit) {
        let highest = matches!(limit, Limit::AtLeast(_));
        if let Some((name, _)) = self.best_peer(highest) {
            self.ratio_goal(server, name, limit);
        }
    }

    /// Sets a goal on a figure itself.
    pub(crate) fn own_goal(&mut self, server: &str, limit: Limit) {
        if let Some(got) = self.value(server) {
            self.goals.push(Goal {
                what: server.to_owned(),
                got,
                limit,
                unit: self.unit,
            });
        }
    }

    /// Sets a goal on the difference of two figures.
    pub(crate) fn difference_goal(&mut self, server: &str, from: &str, limit: Limit) {
        if let Some((value, base)) = self.value(server).zip(self.value(from)) {
            self.goals.push(Goal {
                what: format!("{server} − {from}"),
                got: value - base,
                limit,
                unit: self.unit,
            });
        }
    }
}

impl Goal {
    pub(crate) fn is_met(&self) -> bool {
        match self.limit {
            Limit::AtMost(most) => self.got <= most,
            Limit::AtLeast(least) => self.got >= least,
        }
    }
}

/// The middle of the figures of some rounds.
pub(crate) fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let upper = figures.get(figures.len() / 2)?;
    let lower = figures.get((figures.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let mut row = Row::new("CPU", "µs");
        row.add("floor", 3.0);
        row.add("proxify", 3.3);
        row.add("unbound", 6.0);
        row.add("dnsdist", 5.5);
        row
    }

    #[test]
    fn a_goal_compares_with_the_best_peer() {
        let mut row = row();
        row.peer_goal("proxify", Limit::AtMost(0.65));
        row.peer_goal("proxify", Limit::AtLeast(1.5));
        let found: Vec<_> = row.goals.iter().map(|goal| goal.what.as_str()).collect();
        assert_eq!(found, ["proxify / dnsdist", "proxify / unbound"]);
        assert!(row.goals[0].is_met() && !row.goals[1].is_met());
        row.difference_goal("proxify", "floor", Limit::AtMost(0.2));
        assert!(!row.goals[2].is_met());
        row.ratio_goal("proxify", "nobody", Limit::AtMost(1.0));
        assert_eq!(row.goals.len(), 3, "nothing to compare with");
    }

    #[test]
    fn the_median_lies_in_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), Some(3.0));
        assert_eq!(median(Vec::new()), None);
    }
}
