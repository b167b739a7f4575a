//! Names under a suffix go to nameservers of their own.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::timeout;

use super::relay::Manner;
use super::{CLIENT_TIMEOUT, Lab, ask_udp, assert_right};
use crate::{Reach, Route, Routes};

fn nameserver(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 53))
}

fn routes(routes: &[(&str, u8)]) -> Routes {
    let route = |&(suffix, host): &(&str, u8)| Route {
        suffix: suffix.parse().unwrap(),
        nameservers: vec![nameserver(host)],
    };
    Routes::new(routes.iter().map(route).collect()).unwrap()
}

impl Lab {
    async fn reaches(&mut self, reach: Reach) {
        let reached = self.reach.wait_for(|now| *now == reach);
        timeout(CLIENT_TIMEOUT, reached).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn routed_names_resolve_before_a_nameserver_is_discovered_and_keep_to_their_own_after() {
    let mut lab = Lab::with_routes(Manner::Answers, &[], routes(&[("corp.example", 9)]));
    assert_right(&lab.ask(1, "a.corp.example.").await);
    assert_eq!(lab.relay.last_nameserver(), Some(nameserver(9)));
    lab.reaches(Reach::Routed).await;

    let waits = tokio::spawn(ask_udp(lab.stub, 2, "www.example."));
    lab.nameservers.send_replace(Arc::from([nameserver(2)]));
    assert_right(&waits.await.unwrap());
    assert_eq!(lab.relay.last_nameserver(), Some(nameserver(2)));
    lab.reaches(Reach::Discovered).await;

    assert_right(&lab.ask(3, "B.Corp.Example.").await);
    assert_eq!(lab.relay.last_nameserver(), Some(nameserver(9)));

    // What has been reached counts, though it be lost again.
    lab.nameservers.send_replace(Arc::from([]));
    assert_right(&lab.ask(4, "c.corp.example.").await);
    assert_eq!(*lab.reach.borrow(), Reach::Discovered);
}

#[tokio::test]
async fn a_nameserver_of_several_routes_has_one_connection_for_as_long_as_one_needs_it() {
    let both = routes(&[("a.example", 9), ("b.example", 9)]);
    let mut lab = Lab::with_routes(Manner::Answers, &[], both);
    assert_right(&lab.ask(1, "x.a.example.").await);
    assert_right(&lab.ask(2, "x.b.example.").await);
    lab.reaches(Reach::Routed).await;
    // It is there already when it is discovered, too.
    lab.nameservers.send_replace(Arc::from([nameserver(9)]));
    lab.reaches(Reach::Discovered).await;
    assert_right(&lab.ask(3, "x.example.").await);
    assert_eq!(lab.relay.connections(), 1);

    lab.nameservers.send_replace(Arc::from([nameserver(2)]));
    assert_right(&lab.ask(4, "y.example.").await);
    assert_right(&lab.ask(5, "y.a.example.").await);
    assert_eq!(lab.relay.last_nameserver(), Some(nameserver(9)));
    assert_eq!(lab.relay.connections(), 2);
}
