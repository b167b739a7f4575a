//! The table of what is measured, in the order of a run: first what needs all servers at once, taken
//! in turns, then what needs one alone.

use clap::ValueEnum;

use crate::failure::Failure;
use crate::lab::{Lab, Server, Start};
use crate::servers::Program;
use crate::table::Row;

mod hits;
mod misses;
mod names;
mod scale;
mod start;

/// Room for all names that a run asks for.
const LARGE_CACHE: &str = "512MiB";

/// A part of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Sizes, and the time to the first answer.
    Start,
    /// Cached answers over UDP: CPU, rate, latency.
    Hits,
    /// Cached answers of all kinds and sizes.
    Mixed,
    /// Cached answers over TCP.
    Tcp,
    /// getaddrinfo.
    Names,
    /// Names that are not cached.
    Misses,
    /// Many names.
    Scale,
    /// What carrying TCP costs names.
    Egress,
}

/// Measures the parts, and shows each row as it comes.
pub(crate) fn measure(
    lab: &mut Lab,
    parts: &[Part],
    mut show: impl FnMut(&Row),
) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    let mut take = |part, measure: &mut dyn FnMut() -> Result<Vec<Row>, Failure>| {
        if !parts.contains(&part) {
            return;
        }
        match measure() {
            Ok(more) => {
                more.iter().for_each(&mut show);
                rows.extend(more);
            }
            Err(error) => eprintln!("not measured: {error}"),
        }
    };
    take(Part::Start, &mut || start::rows(lab));
    let alone = [Part::Start, Part::Egress];
    if parts.iter().any(|part| !alone.contains(part)) {
        let servers = side_by_side(lab)?;
        let servers: Vec<&Server> = servers.iter().collect();
        take(Part::Hits, &mut || hits::rows(lab, &servers));
        take(Part::Mixed, &mut || hits::mixed(lab, &servers));
        take(Part::Tcp, &mut || hits::over_tcp(lab, &servers));
        take(Part::Names, &mut || names::rows(lab));
        take(Part::Misses, &mut || misses::rows(lab, &servers));
        take(Part::Scale, &mut || scale::peers(lab, &servers));
    }
    take(Part::Scale, &mut || scale::proxify(lab));
    take(Part::Scale, &mut || scale::bounded(lab));
    // The last: what it does to the namespace stays.
    take(Part::Egress, &mut || hits::with_egress(lab));
    Ok(rows)
}

/// The floor, our stub, and the other caches that come up.
fn side_by_side(lab: &mut Lab) -> Result<Vec<Server>, Failure> {
    let large = Start {
        cache_size: Some(LARGE_CACHE),
        address: Some(names::STUB),
        ..Start::default()
    };
    let mut servers = vec![
        lab.start(Program::Floor, Start::default())?.0,
        lab.start(Program::Proxify, large)?.0,
    ];
    servers.extend(lab.start_peers());
    Ok(servers)
}
