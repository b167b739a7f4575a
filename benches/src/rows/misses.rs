//! Names that are not cached.

use crate::failure::Failure;
use crate::lab::{Lab, Server, Start, WINDOW};
use crate::outcome::count;
use crate::questions::Questions;
use crate::servers::Program;
use crate::table::{Limit, Row, median};
use crate::udp::{self, Plan, Until};
use crate::zone::Kind;

/// Names that one measurement of latency takes, and one of CPU time.
const ONE_BY_ONE: usize = 3000;
const AT_ONCE: usize = 40_000;

pub(super) fn rows(lab: &mut Lab, servers: &[&Server]) -> Result<Vec<Row>, Failure> {
    let stub = servers
        .iter()
        .find(|server| server.program == Program::Proxify);
    let Some(&stub) = stub else {
        return Ok(Vec::new());
    };
    let per_round = 2 * (ONE_BY_ONE + AT_ONCE);
    let first = lab.take_fresh(per_round * lab.settings.rounds);
    let names = first..first + per_round * lab.settings.rounds;
    let questions = Questions::new(names.map(|number| Kind::Fresh.asked(number)))?;
    let (forwarder, _) = lab.start(Program::UnboundWithoutCache, Start::default())?;
    let mut from = 0;
    let mut plan = |window, count| {
        let plan = Plan {
            questions: &questions,
            order: None,
            from,
            window,
            until: Until::Asked(count),
        };
        from += count;
        plan
    };
    let mut latencies = [Vec::new(), Vec::new()];
    let mut costs = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..lab.settings.rounds {
        let direct = udp::ask(lab.upstream.address, &plan(1, ONE_BY_ONE))
            .map_err(|source| Failure::io("asking upstream", source))?;
        let (through, _) = lab.cores.in_enclave(|| stub.load(&plan(1, ONE_BY_ONE)))?;
        latencies[0].push(direct.micros(0.5));
        latencies[1].push(through.micros(0.5));
        let relay = lab.relay.cpu()?;
        let (outcome, cpu) = stub.load(&plan(WINDOW, AT_ONCE))?;
        let relay = (lab.relay.cpu()? - relay).as_secs_f64() * 1e6;
        costs[0].push(cpu);
        costs[1].push(relay / count(outcome.answered));
        costs[2].push(forwarder.load(&plan(WINDOW, AT_ONCE))?.1);
    }
    let mut latency = Row::new("a miss, one at a time, p50", "µs");
    for (name, figures) in ["upstream itself", "proxify"].into_iter().zip(latencies) {
        if let Some(micros) = median(figures) {
            latency.add(name, micros);
        }
    }
    latency.difference_goal("proxify", "upstream itself", Limit::AtMost(100.0));
    let forwarder = Program::UnboundWithoutCache.name();
    let mut cost = Row::new("CPU per miss", "µs");
    for (name, figures) in ["proxify", "relay", forwarder].into_iter().zip(costs) {
        if let Some(micros) = median(figures) {
            cost.add(name, micros);
        }
    }
    cost.ratio_goal("proxify", forwarder, Limit::AtMost(1.0));
    Ok(vec![latency, cost])
}
