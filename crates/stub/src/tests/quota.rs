//! The driver wakes what waits for the upstream quota.

use super::*;

/// Asks for so many names at once; how many have the right answer, and how many SERVFAIL.
async fn ask_many(lab: &Lab, count: u16) -> (usize, usize) {
    let mut clients = JoinSet::new();
    for id in 0..count {
        let (stub, name) = (lab.stub, format!("n{id}.example.com."));
        clients.spawn(async move { ask_udp(stub, id, &name).await });
    }
    let (mut right, mut refused) = (0, 0);
    while let Some(reply) = clients.join_next().await {
        let reply = reply.unwrap();
        match reply.response_code {
            ResponseCode::ServFail => refused += 1,
            _ => {
                assert_right(&reply);
                right += 1;
            }
        }
    }
    (right, refused)
}

#[tokio::test]
async fn what_waits_for_the_quota_goes_out() {
    // Two at once, and 18 in a second.
    let lab = Lab::with_quota(Manner::Answers, 20);
    assert_eq!(ask_many(&lab, 10).await, (10, 0));
    assert_eq!(lab.relay.asked(), 10);
}

#[tokio::test]
async fn what_does_not_fit_is_answered_and_never_sent() {
    let lab = Lab::with_quota(Manner::Answers, 20);
    let (right, refused) = ask_many(&lab, 500).await;
    // Some time passes while they are asked for.
    assert!((20..=40).contains(&right), "{right} {refused}");
    assert_eq!(right, lab.relay.asked());
}
