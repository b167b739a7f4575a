//! What the owner may ask of a stub that runs.

use super::*;
use crate::{Health, Left, Link};

const NAME: &str = "sqs.us-east-1.amazonaws.com.";

/// Type A.
const A: u16 = 1;

#[tokio::test]
async fn a_status_follows_the_link_and_the_nameserver() {
    let mut lab = Lab::start(Manner::Answers);
    assert_right(&lab.ask(1, NAME).await);
    let status = lab.handle.status().unwrap();
    assert_eq!((status.link, status.has_relay), (Link::Up, Some(true)));
    let [nameserver] = &status.nameservers[..] else {
        panic!("{status:?}")
    };
    assert_eq!(nameserver.address, NAMESERVER.parse().unwrap());
    assert_eq!(
        (nameserver.health, nameserver.is_connected),
        (Health::Answers, true)
    );
    assert_eq!((status.counters.queries, status.load.lookups), (1, 0));
    lab.stop.take().unwrap().send(()).unwrap();
    lab.running.await.unwrap();
    assert_eq!(lab.handle.status(), None, "a handle keeps nothing alive");
    assert_eq!(lab.handle.flush(None), None);
}

#[tokio::test]
async fn a_lookup_past_the_cache_asks_upstream_each_time() {
    let lab = Lab::start(Manner::Answers);
    assert_right(&lab.ask(1, NAME).await);
    let name = NAME.parse().unwrap();
    for asked in 2..4 {
        let reply = timeout(CLIENT_TIMEOUT, lab.handle.look_up(&name, A));
        let reply = reply.await.unwrap().unwrap();
        assert_right(&Message::from_vec(&reply).unwrap());
        assert!(
            reply
                .windows(20)
                .any(|text| text == b"10.0.0.2:53 answered")
        );
        assert_eq!(lab.relay.asked(), asked);
    }
    let cached = lab.handle.explain(&name, A).unwrap().cached.unwrap();
    assert!(matches!(cached.left, Left::Fresh(_)), "{cached:?}");
    assert_eq!(lab.handle.flush(Some(&name)), Some(1));
    assert_eq!(lab.handle.explain(&name, A).unwrap().cached, None);
    // What is known here needs no nameserver.
    let name = "localhost".parse().unwrap();
    let reply = lab.handle.look_up(&name, A).await.unwrap();
    assert_eq!(Message::from_vec(&reply).unwrap().answers.len(), 1);
    assert_eq!(lab.relay.asked(), 3);
}

#[tokio::test]
async fn the_stubs_end_is_the_end_of_a_lookup() {
    let mut lab = Lab::start(Manner::IsSilent);
    let (handle, name) = (lab.handle.clone(), NAME.parse().unwrap());
    let waits = tokio::spawn(async move { handle.look_up(&name, A).await });
    while lab.relay.asked() == 0 {
        tokio::task::yield_now().await;
    }
    lab.stop.take().unwrap().send(()).unwrap();
    lab.running.await.unwrap();
    assert_eq!(timeout(CLIENT_TIMEOUT, waits).await.unwrap().unwrap(), None);
}
