use std::sync::Arc;

use super::*;

const GREEDY: Peer = Peer::Cid(16);
const MODEST: Peer = Peer::Cid(17);

fn quota(pps: u32) -> Arc<Quota> {
    let quota = Arc::new(Quota::new(pps));
    let running = Arc::clone(&quota);
    tokio::spawn(async move { running.run().await });
    quota
}

/// Takes so many packets one by one, all at once; gives when each was granted, or refused.
async fn take(
    quota: &Arc<Quota>,
    peer: Peer,
    count: usize,
    packets: u32,
) -> (Vec<Duration>, Vec<Duration>) {
    let start = Instant::now();
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..count {
        let quota = Arc::clone(quota);
        asked.spawn(async move { (quota.take(peer, packets).await, start.elapsed()) });
    }
    let (mut granted, mut refused) = (Vec::new(), Vec::new());
    while let Some(taken) = asked.join_next().await {
        match taken.unwrap() {
            (Ok(_), at) => granted.push(at),
            (Err(OverQuota), at) => refused.push(at),
        }
    }
    (granted, refused)
}

#[tokio::test(start_paused = true)]
async fn a_tenth_goes_at_once_and_half_a_seconds_worth_waits() {
    let (granted, refused) = take(&quota(900), GREEDY, 1000, 1).await;
    let at_once = granted.iter().filter(|at| at.is_zero()).count();
    assert_eq!(at_once, 90);
    // The last of 405 is due with the end of its patience.
    assert!((490..=495).contains(&granted.len()), "{}", granted.len());
    assert!(granted.iter().all(|at| *at <= PATIENCE), "{granted:?}");
    let told_at_once = refused.iter().filter(|at| at.is_zero()).count();
    assert_eq!(told_at_once, 505);
}

#[tokio::test(start_paused = true)]
async fn no_second_sees_more_than_the_quota() {
    let quota = quota(900);
    let start = Instant::now();
    let mut granted = Vec::new();
    for round in 0..40 {
        let begun = start.elapsed();
        // Bunches of all sizes, and pauses.
        let (at, _) = take(&quota, GREEDY, 50 * (round % 7), 1).await;
        granted.extend(at.into_iter().map(|at| begun + at));
        tokio::time::sleep(Duration::from_millis(70)).await;
    }
    granted.sort_unstable();
    let second = Duration::from_secs(1);
    let within = |from: &Duration| {
        let until = granted.partition_point(|at| *at < *from + second);
        until - granted.partition_point(|at| at < from)
    };
    let most = granted.iter().map(within).max().unwrap();
    assert!((800..=900).contains(&most), "{most}");
}

#[tokio::test(start_paused = true)]
async fn a_modest_enclave_is_never_refused_whatever_a_greedy_one_asks() {
    let quota = quota(900);
    let greedy = Arc::clone(&quota);
    let flood = tokio::spawn(async move {
        let mut total = (0, 0);
        for _ in 0..100 {
            let (granted, refused) = take(&greedy, GREEDY, 600, 1).await;
            total = (total.0 + granted.len(), total.1 + refused.len());
        }
        total
    });
    for _ in 0..300 {
        let (granted, refused) = take(&quota, MODEST, 3, 1).await;
        assert_eq!(refused.len(), 0);
        assert!(
            granted.iter().all(|at| *at < Duration::from_millis(20)),
            "{granted:?}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (granted, refused) = flood.await.unwrap();
    assert!(granted > 1000 && refused > 1000, "{granted} {refused}");
}

#[tokio::test(start_paused = true)]
async fn more_packets_cost_more_and_are_paid_back() {
    let quota = quota(10);
    assert_eq!(
        quota.take(GREEDY, 5).await,
        Ok(Waited(false)),
        "more than the bucket holds"
    );
    assert!(!quota.try_take());
    tokio::time::sleep(Duration::from_millis(555)).await;
    assert!(!quota.try_take());
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(quota.try_take());
    assert!(!quota.try_take());
}

/// A packet that is sent again must not pass those that were never sent.
#[tokio::test(start_paused = true)]
async fn nothing_is_to_spare_while_somebody_waits() {
    // Nobody is let go here.
    let quota = Quota::new(10);
    quota.take(GREEDY, 1).await.unwrap();
    let waiting = quota.take(MODEST, 1);
    tokio::pin!(waiting);
    assert!(futures_util::poll!(&mut waiting).is_pending());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!quota.try_take());
    // It gives up, and the next to come is not held up by it.
    assert_eq!(waiting.await, Err(OverQuota));
    assert!(quota.let_go().is_none());
    assert!(quota.try_take());
}

#[tokio::test(start_paused = true)]
async fn who_gave_up_leaves_his_place() {
    // Nobody is let go here.
    let quota = Arc::new(Quota::new(10));
    quota.take(GREEDY, 1).await.unwrap();
    let (granted, refused) = take(&quota, GREEDY, 4, 1).await;
    assert_eq!((granted.len(), refused), (0, vec![PATIENCE; 4]));
    let again = quota.take(GREEDY, 1);
    tokio::pin!(again);
    assert!(futures_util::poll!(&mut again).is_pending());
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_nobody_waits() {
    let quota = Quota::new(0);
    for _ in 0..100_000 {
        quota.take(GREEDY, 5).await.unwrap();
    }
    assert!(quota.try_take());
}

#[tokio::test(start_paused = true)]
async fn the_least_is_ten_packets_a_second() {
    let (granted, refused) = take(&quota(1), GREEDY, 10, 1).await;
    assert_eq!((granted.len(), refused.len()), (1 + 4, 5));
}

/// The one test in which threads meet: what they meet in are tokio's Notify, channels and clock, which
/// loom cannot take the place of.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_many_threads_nobody_is_left_waiting() {
    let quota = quota(10_000);
    for _ in 0..8 {
        take(&quota, GREEDY, 1200, 1).await;
        // Who was granted has left, and who has given up leaves with his turn: if the runner sleeps
        // through that, somebody stays.
        let all_have_left = async {
            while !quota.state().turns.is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(60), all_have_left)
            .await
            .expect("the runner was not woken");
    }
}
