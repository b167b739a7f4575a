//! A parent that speaks only what the `proxy` speaks that we replace, and nameservers that treat TCP
//! as they like.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use link::{Address, Parent};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use self::stand_in::{Manner, Nameserver, OldParent};
use super::{CLIENT_TIMEOUT, NAMESERVER, ask_udp, assert_right};
use crate::{Config, Pins, Reach, Routes, Stub};

mod stand_in;

/// A nameserver that the stand-in cannot reach.
const DEAD: &str = "10.0.0.9:53";

struct Lab {
    parent: OldParent,
    stub: SocketAddr,
    _nameservers: watch::Sender<Arc<[SocketAddr]>>,
    _dir: tempfile::TempDir,
}

impl Lab {
    fn start(manner: Manner, nameservers: &[&str]) -> Self {
        Self::with_quota(manner, nameservers, 0)
    }

    fn with_quota(manner: Manner, nameservers: &[&str], upstream_pps: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let prefix = dir.path().join("v.sock");
        let parent = OldParent::start(&prefix, manner);
        let config = Config {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            cache_size: 1 << 20,
            routes: Routes::default(),
            pins: Pins::default(),
            upstream_pps,
            query_log: false,
        };
        let stub = Stub::bind(&config).unwrap();
        let address = stub.local_addrs()[0];
        let dialled = Parent::new(Address::Unix(prefix), link::DEFAULT_PORT);
        let list = nameservers.iter().map(|at| at.parse().unwrap());
        let (nameservers, following) = watch::channel(list.collect());
        let (reach, _) = watch::channel(Reach::Nobody);
        tokio::spawn(stub.run(dialled, following, reach, std::future::pending()));
        Self {
            parent,
            stub: address,
            _nameservers: nameservers,
            _dir: dir,
        }
    }

    fn with(nameserver: Nameserver) -> Self {
        Self::start(Manner::Old(nameserver), &[NAMESERVER])
    }

    async fn ask(&self, name: &str) -> hickory_proto::op::Message {
        ask_udp(self.stub, 1, name).await
    }

    /// Clients that ask for so many names at once, each one packet.
    fn ask_many(&self, prefix: &str, count: u16) -> JoinSet<hickory_proto::op::Message> {
        let mut clients = JoinSet::new();
        for id in 0..count {
            let (stub, name) = (self.stub, format!("{prefix}{id}.example.com."));
            clients.spawn(async move { ask_udp(stub, id, &name).await });
        }
        clients
    }
}

async fn assert_all_right(mut clients: JoinSet<hickory_proto::op::Message>) {
    while let Some(reply) = clients.join_next().await {
        assert_right(&reply.unwrap());
    }
}

#[tokio::test]
async fn names_resolve_over_one_connection_to_the_nameserver() {
    let lab = Lab::with(Nameserver::Answers);
    for number in 0..20 {
        assert_right(&lab.ask(&format!("n{number}.example.com.")).await);
    }
    assert_all_right(lab.ask_many("m", 100)).await;
    let seen = lab.parent.seen();
    assert_eq!((seen.connects, seen.asked), (1, 120));
}

/// Five packets to connect and ask, and 45 lookups of two each in a second.
#[tokio::test]
async fn a_lookup_over_tcp_costs_two_packets_of_the_quota() {
    let lab = Lab::with_quota(Manner::Old(Nameserver::Answers), &[NAMESERVER], 100);
    assert_right(&lab.ask("first.example.com.").await);
    let mut clients = lab.ask_many("n", 300);
    let mut right = 0;
    while let Some(reply) = clients.join_next().await {
        right += usize::from(reply.unwrap().response_code == ResponseCode::NoError);
    }
    // Some time passes while they are asked for.
    assert!((45..=80).contains(&right), "{right}");
}

/// 40 lookups, of which ten packets go out at once and 90 in a second: two seconds for five packets
/// each, less than one for two.
#[tokio::test]
async fn a_connection_costs_three_packets_of_the_quota() {
    let closing = Manner::Old(Nameserver::ClosesAfter(1));
    let lab = Lab::with_quota(closing, &[NAMESERVER], 100);
    let start = Instant::now();
    for number in 0..40 {
        assert_right(&lab.ask(&format!("n{number}.example.com.")).await);
    }
    assert!(start.elapsed() >= Duration::from_millis(1800));
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_is_opened_again_when_a_client_asks() {
    let lab = Lab::with(Nameserver::ClosesWhenIdle(Duration::from_millis(20)));
    for number in 0..5 {
        assert_right(&lab.ask(&format!("n{number}.example.com.")).await);
        sleep(Duration::from_millis(200)).await;
    }
    // One more at the most, for the readiness before the first lookup.
    let seen = lab.parent.seen();
    assert!((5..=6).contains(&seen.connects), "{seen:?}");
    assert_eq!((seen.asked, seen.dns), (5, seen.connects));
}

#[tokio::test]
async fn a_nameserver_that_closes_after_each_answer_answers_every_client() {
    let lab = Lab::with(Nameserver::ClosesAfter(1));
    assert_all_right(lab.ask_many("n", 100)).await;
    // All at once on the first connection; on each later one the answered query and, before it
    // closes, the next.
    let seen = lab.parent.seen();
    assert!(seen.asked <= 100 + 2 * 100, "{seen:?}");
}

#[tokio::test]
async fn a_nameserver_that_closes_after_some_answers_answers_every_client() {
    let lab = Lab::with(Nameserver::ClosesAfter(7));
    assert_all_right(lab.ask_many("n", 300)).await;
}

#[tokio::test]
async fn a_connection_closed_within_an_answer_costs_no_client_its_answer() {
    let lab = Lab::with(Nameserver::ClosesMidFrameOnce);
    assert_all_right(lab.ask_many("n", 20)).await;
    assert_eq!(lab.parent.seen().connects, 2);
}

#[tokio::test]
async fn a_connection_that_went_silent_is_replaced_in_time() {
    let lab = Lab::with(Nameserver::IsSilentOnce);
    assert_all_right(lab.ask_many("n", 20)).await;
}

#[tokio::test]
async fn a_silent_nameserver_fails_lookups_before_their_clients_give_up() {
    let lab = Lab::with(Nameserver::IsSilent);
    let start = Instant::now();
    let reply = lab.ask("a.example.com.").await;
    assert_eq!(reply.response_code, ResponseCode::ServFail);
    assert!(start.elapsed() < CLIENT_TIMEOUT);
}

#[tokio::test]
async fn a_question_that_a_nameserver_is_stuck_at_costs_only_its_own_asker() {
    let lab = Lab::with(Nameserver::IsStuckAt("stuck"));
    let stuck = tokio::spawn(ask_udp(lab.stub, 7, "stuck.example.com."));
    while lab.parent.seen().asked == 0 {
        tokio::task::yield_now().await;
    }
    assert_all_right(lab.ask_many("n", 20)).await;
    assert_eq!(stuck.await.unwrap().response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn a_question_that_a_nameserver_closes_on_costs_only_its_own_asker() {
    let lab = Lab::with(Nameserver::ClosesOn("poison"));
    let poison = tokio::spawn(ask_udp(lab.stub, 7, "poison.example.com."));
    assert_all_right(lab.ask_many("n", 20)).await;
    assert_eq!(poison.await.unwrap().response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn a_nameserver_that_closes_on_everything_is_not_dialled_without_rest() {
    let lab = Lab::with(Nameserver::ClosesAfter(0));
    let reply = lab.ask("a.example.com.").await;
    assert_eq!(reply.response_code, ResponseCode::ServFail);
    // A round every 300 ms for 4 s.
    let seen = lab.parent.seen();
    assert!(seen.connects <= 16, "{seen:?}");
}

/// There is no larger transport to ask over.
#[tokio::test]
async fn an_answer_cut_over_tcp_is_a_failure() {
    let lab = Lab::with(Nameserver::Truncates);
    let reply = lab.ask("a.example.com.").await;
    assert_eq!(reply.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn a_nameserver_that_the_parent_cannot_reach_is_passed_by() {
    let lab = Lab::start(Manner::Old(Nameserver::Answers), &[DEAD, NAMESERVER]);
    assert_all_right(lab.ask_many("n", 50)).await;
}

#[tokio::test]
async fn a_parent_swapped_for_a_new_one_and_back_loses_no_lookup() {
    let slow = Duration::from_millis(100);
    let old = Manner::Old(Nameserver::AnswersAfter(slow));
    let new = Manner::New(slow);
    let lab = Lab::start(old, &[NAMESERVER]);
    assert_right(&lab.ask("first.example.com.").await);
    for (round, next) in [new, old, new, old].into_iter().enumerate() {
        let before = lab.parent.seen();
        let clients = lab.ask_many(&format!("r{round}-"), 100);
        while lab.parent.seen().asked < before.asked + 50 {
            tokio::task::yield_now().await;
        }
        lab.parent.is_replaced_by(Manner::Away);
        sleep(Duration::from_millis(50)).await;
        lab.parent.is_replaced_by(next);
        assert_all_right(clients).await;
        assert_right(&lab.ask(&format!("after-{round}.example.com.")).await);
        assert_eq!(lab.parent.seen().last_over_dns, next == new);
    }
}

/// It may only have been restarting when the connection was opened.
#[tokio::test]
async fn a_relay_is_found_while_a_connection_over_tcp_lasts() {
    let lab = Lab::with(Nameserver::Answers);
    assert_right(&lab.ask("a.example.com.").await);
    lab.parent.becomes(Manner::New(Duration::ZERO));
    let found = async {
        while !lab.parent.seen().last_over_dns {
            let number = lab.parent.seen().asked;
            assert_right(&lab.ask(&format!("n{number}.example.com.")).await);
        }
    };
    tokio::time::timeout(CLIENT_TIMEOUT, found).await.unwrap();
    assert_eq!(lab.parent.seen().connects, 1);
}
