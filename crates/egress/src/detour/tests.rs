//! Which connection gets which stream. Without sockets for packets, and with the self-test's answers.

use link::Parent;
use tokio::task::yield_now;

use super::*;
use crate::activity::Activity;

const OPEN: u16 = 1;
const OTHER: [u8; 4] = [192, 0, 2, 2];

fn detour(seats: usize) -> Arc<Detour> {
    let parent = Parent::new("unix:/nonexistent/relay".parse().unwrap(), 8888);
    let dialer = Dialer::new(parent, Vec::new(), Activity::default());
    dialer.fakes.set(true);
    let seats = Arc::new(Semaphore::new(seats));
    Arc::new(Detour::new(&[], Arc::new(dialer), seats).unwrap())
}

fn program(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

fn far(port: u16) -> SocketAddr {
    SocketAddr::from((OTHER, port))
}

/// A SYN from a program's port.
fn syn(from: u16, to: u16, sequence: u8) -> Syn {
    let [from_high, from_low] = from.to_be_bytes();
    let [to_high, to_low] = to.to_be_bytes();
    let packet = [
        0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, from_high, from_low,
        to_high, to_low, 0, 0, 0, sequence, 0, 0, 0, 0, 0x50, 0x02, 0, 0, 0, 0, 0, 0,
    ];
    match Packet::parse(&packet) {
        Packet::Syn(syn) => syn,
        other => panic!("{other:?}"),
    }
}

fn marked(syn: &Syn) -> Syn {
    match Packet::parse(&syn.marked()) {
        Packet::Syn(syn) => syn,
        other => panic!("{other:?}"),
    }
}

/// Lets what was spawned come as far as it can.
async fn settle() {
    for _ in 0..10 {
        yield_now().await;
    }
}

#[tokio::test]
async fn a_connection_gets_its_own_stream_once() {
    let detour = detour(8);
    detour.receive(syn(1000, OPEN, 1));
    assert!(
        detour.claim(program(1000), far(OPEN)).is_none(),
        "not yet connected"
    );
    settle().await;
    assert!(
        detour.claim(program(1000), far(9)).is_none(),
        "another destination"
    );
    let claimed = detour.claim(program(1000), far(OPEN)).unwrap();
    assert!(detour.claim(program(1000), far(OPEN)).is_none(), "taken");
    // A late retransmission opens nothing, another SYN does.
    detour.receive(syn(1000, OPEN, 1));
    settle().await;
    assert!(detour.claim(program(1000), far(OPEN)).is_none());
    detour.receive(syn(1000, OPEN, 2));
    settle().await;
    drop(claimed);
    assert_eq!(
        detour.lock().len(),
        1,
        "the old one's end is not the new one's"
    );
    drop(detour.claim(program(1000), far(OPEN)).unwrap());
    assert!(detour.lock().is_empty());
}

#[tokio::test]
async fn where_the_kernel_changed_the_port_any_stream_to_the_destination_will_do() {
    let detour = detour(8);
    detour.receive(syn(1000, OPEN, 1));
    detour.receive(syn(1001, OPEN, 1));
    settle().await;
    let first = detour.claim(program(7), far(OPEN)).unwrap();
    let second = detour.claim(program(1001), far(OPEN)).unwrap();
    assert!(detour.claim(program(1000), far(OPEN)).is_none());
    drop((first, second));
    assert!(detour.lock().is_empty());
}

#[tokio::test]
async fn beyond_the_seats_a_syn_is_left_to_come_again() {
    let detour = detour(1);
    detour.receive(syn(1000, OPEN, 1));
    settle().await;
    detour.receive(syn(1001, OPEN, 1));
    settle().await;
    assert_eq!(detour.lock().len(), 1);
    drop(detour.claim(program(1000), far(OPEN)).unwrap());
    detour.receive(syn(1001, OPEN, 1));
    settle().await;
    detour.claim(program(1001), far(OPEN)).unwrap();
}

#[tokio::test]
async fn a_failure_is_forgotten_and_a_stray_marked_syn_opens_nothing() {
    let detour = detour(8);
    detour.receive(syn(1000, 2, 1));
    detour.receive(marked(&syn(1001, OPEN, 1)));
    settle().await;
    assert!(detour.lock().is_empty());
    assert_eq!(detour.seats.available_permits(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_handover_is_tried_a_few_times_and_given_up_in_the_end() {
    let detour = detour(8);
    let first = syn(1000, OPEN, 1);
    detour.receive(first.clone());
    settle().await;
    for _ in 0..ROUNDS {
        // A retransmission that is as old as the handover says nothing.
        detour.receive(first.clone());
        detour.receive(marked(&first));
        assert_eq!(detour.lock().len(), 1);
    }
    detour.receive(marked(&first));
    assert!(detour.lock().is_empty());
    // A program that has gone keeps nothing either.
    detour.receive(syn(1001, OPEN, 1));
    settle().await;
    assert_eq!(detour.lock().len(), 1);
    tokio::time::sleep(CLAIM_WITHIN * 2).await;
    assert!(detour.lock().is_empty());
    assert_eq!(detour.seats.available_permits(), 8);
}
