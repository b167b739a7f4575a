use std::thread;

use super::*;
use crate::zone::{self, Kind};

/// A server that leaves every seventh query unanswered and answers every tenth wrongly.
fn faulty_server(queries: usize) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let (mut query, mut reply) = ([0; 512], [0; 4096]);
        for number in 1..=queries {
            let (length, peer) = socket.recv_from(&mut query).unwrap();
            let length = zone::answer(&query[..length], &mut reply).unwrap();
            if number % 10 == 0 {
                reply[3] |= wire::rcode::SERVFAIL;
            }
            if number % 7 != 0 {
                socket.send_to(&reply[..length], peer).unwrap();
            }
        }
    });
    address
}

#[test]
fn answers_wrong_ones_and_lost_ones_are_told_apart() {
    let questions = Questions::new((0..20).map(|number| Kind::Host.asked(number))).unwrap();
    let plan = Plan {
        questions: &questions,
        order: None,
        from: 3,
        window: 9,
        until: Until::Asked(70),
    };
    let outcome = ask(faulty_server(70), &plan).unwrap();
    assert_eq!(outcome.answered, 60);
    assert_eq!(outcome.lost, 10);
    assert_eq!(outcome.wrong, 6, "the seventieth is lost");
    assert!(outcome.micros(0.5) > 0.0 && outcome.rate() > 0.0);
}
