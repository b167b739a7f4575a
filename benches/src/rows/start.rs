//! What a server is before it has answered anything: its size, the time to its first answer, its
//! memory.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use crate::failure::Failure;
use crate::lab::{Lab, Start};
use crate::outcome::count;
use crate::servers::{PEERS, Program};
use crate::table::{Limit, Row, median};

/// Starts of proxify for one of a peer: its time is the shortest, and has a goal.
const STARTS: usize = 3;

pub(super) fn rows(lab: &mut Lab) -> Result<Vec<Row>, Failure> {
    let mut size = Row::new("size of the program", "MiB");
    let path = &lab.settings.proxify;
    let length = fs::metadata(path)
        .map_err(|source| Failure::io(format!("cannot see {}", path.display()), source))?
        .len();
    size.add("proxify", mebibytes(length));
    size.own_goal("proxify", Limit::AtMost(8.0));

    let mut time = Row::new("start, execution to first answer", "ms");
    let mut memory = Row::new("resident memory idle", "MiB");
    let address = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 53)));
    let programs = [Program::Floor, Program::Proxify];
    for program in programs.into_iter().chain(PEERS) {
        let starts = match program {
            Program::Proxify => STARTS * lab.settings.rounds,
            _ => 1,
        };
        let (mut times, mut sizes) = (Vec::new(), Vec::new());
        for _ in 0..starts {
            let start = Start {
                address,
                ..Start::default()
            };
            match lab.start(program, start) {
                Ok((server, took)) => {
                    times.push(took.as_secs_f64() * 1e3);
                    sizes.push(mebibytes(server.process.resident()?.0));
                }
                Err(error) => eprintln!("{}: {error}", program.name()),
            }
        }
        if let Some((took, resident)) = median(times).zip(median(sizes)) {
            time.add(program.name(), took);
            memory.add(program.name(), resident);
        }
    }
    time.own_goal("proxify", Limit::AtMost(15.0));
    memory.own_goal("proxify", Limit::AtMost(6.0));
    Ok(vec![size, time, memory])
}

pub(super) fn mebibytes(bytes: u64) -> f64 {
    count(bytes) / f64::from(1 << 20)
}
