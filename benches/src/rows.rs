//! The table of what is measured, in the order of a run: first what needs all servers at once, taken
//! in turns, then what needs one alone.

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

/// Measures everything.
pub(crate) fn all(lab: &mut Lab, mut show: impl FnMut(&Row)) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    let mut take = |more: Result<Vec<Row>, Failure>| match more {
        Ok(more) => {
            more.iter().for_each(&mut show);
            rows.extend(more);
        }
        Err(error) => eprintln!("not measured: {error}"),
    };
    take(start::rows(lab));
    let large = Start {
        cache_size: Some(LARGE_CACHE),
        address: Some(names::STUB),
        ..Start::default()
    };
    {
        let mut servers = vec![
            lab.start(Program::Floor, Start::default())?.0,
            lab.start(Program::Proxify, large)?.0,
        ];
        servers.extend(lab.start_peers());
        let servers: Vec<&Server> = servers.iter().collect();
        {
            let batched = lab.start(Program::DnsdistInBatches, Start::default())?.0;
            let servers: Vec<&Server> = servers.iter().copied().chain([&batched]).collect();
            take(hits::cached(lab, &servers));
            take(hits::alone(lab, &servers));
        }
        take(hits::mixed(lab, &servers));
        take(hits::over_tcp(lab, &servers));
        take(names::rows(lab));
        take(misses::rows(lab, &servers));
        take(scale::peers(lab, &servers));
    }
    take(scale::proxify(lab));
    take(scale::bounded(lab));
    Ok(rows)
}
