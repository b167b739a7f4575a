//! Many names.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, Zipf};

use super::LARGE_CACHE;
use super::start::mebibytes;
use crate::failure::Failure;
use crate::lab::{Lab, NAMES, Server, Start, WINDOW};
use crate::outcome::count;
use crate::questions::Questions;
use crate::servers::Program;
use crate::table::{Limit, Row, median};
use crate::udp::{self, Plan, Until};
use crate::zone::Kind;

/// Names with which the slope of memory begins.
const FEW: usize = 10_000;

/// Names with which it ends for the other caches: their slopes need no more.
const PEERS_MANY: usize = 100_000;

/// Places in an order of names; then it is repeated.
const ORDER: usize = 1 << 22;

/// Steepness of Zipf's law for names that clients ask for (Jung et al., "DNS performance and the
/// effectiveness of caching", 2002, find 0.9).
const STEEPNESS: f64 = 0.9;

/// Memory for each name more in the caches of the others.
pub(super) fn peers(lab: &mut Lab, servers: &[&Server]) -> Result<Vec<Row>, Failure> {
    let many = PEERS_MANY.min(lab.settings.many);
    let mut row = Row::new(format!("memory per name, to {many} names"), "bytes");
    let few = hosts(FEW)?;
    let all = hosts(many)?;
    for server in servers {
        if matches!(server.program, Program::Floor | Program::Dnsmasq) {
            continue;
        }
        server.warm(&few)?;
        let before = server.process.resident()?.0;
        server.warm(&all)?;
        let after = server.process.resident()?.0;
        let slope = (count(after) - count(before)) / count((many - FEW) as u64);
        row.add(server.program.name(), slope);
    }
    Ok(vec![row])
}

/// Our own with a million names: memory for each, and the rate beside that with few.
pub(super) fn proxify(lab: &mut Lab) -> Result<Vec<Row>, Failure> {
    let many = lab.settings.many;
    let start = Start {
        cache_size: Some(LARGE_CACHE),
        ..Start::default()
    };
    let (server, _) = lab.start(Program::Proxify, start)?;
    server.warm(&hosts(FEW)?)?;
    let before = server.process.resident()?.0;
    let all = hosts(many)?;
    server.warm(&all)?;
    let after = server.process.resident()?.0;
    let asked = lab.upstream.asked(Kind::Host);

    let mut random = StdRng::seed_from_u64(5);
    let few = u32::try_from(NAMES).unwrap_or(u32::MAX);
    let most = u32::try_from(many).unwrap_or(u32::MAX);
    let zipf = Zipf::new(f64::from(most), STEEPNESS)
        .map_err(|error| Failure::Setting(format!("Zipf's law: {error}")))?;
    let mut order = |next: &mut dyn FnMut(&mut StdRng) -> u32| -> Vec<u32> {
        (0..ORDER).map(|_| next(&mut random)).collect()
    };
    let orders = [
        order(&mut |random| random.random_range(0..few)),
        order(&mut |random| random.random_range(0..most)),
        order(&mut |random| rank(zipf.sample(random), most)),
    ];
    let mut rates = [const { Vec::new() }; 3];
    for round in 0..lab.settings.rounds {
        for (order, rates) in orders.iter().zip(&mut rates) {
            let plan = Plan {
                questions: &all,
                order: Some(order),
                from: round * (ORDER / 7),
                window: WINDOW,
                until: Until::Elapsed(lab.settings.time),
            };
            rates.push(server.load(&plan)?.0.rate());
        }
    }
    let missed = lab.upstream.asked(Kind::Host) - asked;
    if missed * 1000 > ORDER as u64 {
        eprintln!("scale: {missed} of the names were not in the cache");
    }
    let mut memory = Row::new(format!("memory per name, to {many} names"), "bytes");
    let slope = (count(after) - count(before)) / count((many - FEW) as u64);
    memory.add("proxify", slope);
    memory.own_goal("proxify", Limit::AtMost(200.0));
    let mut rate = Row::new("proxify's answers per second", "/s");
    let names = ["1,000 names", "all, uniform", "all, Zipf"];
    for (name, rates) in names.into_iter().zip(rates) {
        if let Some(per_second) = median(rates) {
            rate.add(name, per_second);
        }
    }
    rate.ratio_goal("all, uniform", "1,000 names", Limit::AtLeast(0.7));
    rate.ratio_goal("all, Zipf", "1,000 names", Limit::AtLeast(0.7));
    Ok(vec![memory, rate])
}

/// The place of a rank in an order that is not that of arrival in the cache.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn rank(rank: f64, most: u32) -> u32 {
    // A prime near the golden ratio of a million spreads neighbours.
    let place = (rank as u64 - 1) * 618_041 % u64::from(most);
    place as u32
}

/// A scan of names without end, with a hot set beside it.
pub(super) fn bounded(lab: &mut Lab) -> Result<Vec<Row>, Failure> {
    const CACHE: u32 = 16;
    let scan = lab.settings.many / 2;
    let (server, _) = lab.start(Program::Proxify, Start::default())?;
    let hot = hosts(NAMES)?;
    server.warm(&hot)?;
    let first = lab.take_fresh(scan);
    let asked = (0..2 * scan).map(|index| match index % 2 {
        0 => Kind::Host.asked(index / 2 % NAMES),
        _ => Kind::Fresh.asked(first + index / 2),
    });
    let questions = Questions::new(asked)?;
    let before = lab.upstream.asked(Kind::Host);
    let plan = Plan {
        questions: &questions,
        order: None,
        from: 0,
        window: WINDOW,
        until: Until::Asked(questions.len()),
    };
    let outcome =
        udp::ask(server.address, &plan).map_err(|source| Failure::io("a scan of names", source))?;
    server.judge(&outcome)?;
    let missed = lab.upstream.asked(Kind::Host) - before;
    let mut hits = Row::new(
        format!("hits of the hot set in a scan of {scan} names"),
        "%",
    );
    hits.add(
        "proxify",
        100.0 - 100.0 * count(missed) / count(scan as u64),
    );
    hits.own_goal("proxify", Limit::AtLeast(99.0));
    let mut memory = Row::new(format!("memory at most, --cache-size {CACHE}MiB"), "MiB");
    memory.add("proxify", mebibytes(server.process.resident()?.1));
    memory.own_goal("proxify", Limit::AtMost(f64::from(CACHE) + 8.0));
    Ok(vec![hits, memory])
}

fn hosts(count: usize) -> Result<Questions, Failure> {
    Questions::new((0..count).map(|number| Kind::Host.asked(number)))
}
