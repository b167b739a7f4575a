//! Against a relay made of the link's own server side, on a unix socket, in paused time.

use link::socks::{UNSPECIFIED, server};
use link::{ListenAddress, Listener, Stream};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinHandle;

use super::*;

/// A relay that the test drives, and an enclave that follows it.
struct Lab {
    directory: tempfile::TempDir,
    found: watch::Receiver<Option<Arc<Found>>>,
    follower: JoinHandle<()>,
}

impl Lab {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let prefix = directory.path().join("relay");
        let parent = Parent::new(link::Address::Unix(prefix), link::DEFAULT_PORT);
        let (sender, found) = watch::channel(None);
        let state = watch::Sender::new(State::Asking);
        let follower = tokio::spawn(async move { follow(&parent, &sender, &state, || true).await });
        Self {
            directory,
            found,
            follower,
        }
    }

    fn listen(&self) -> Listener {
        let prefix = self.directory.path().join("relay");
        Listener::bind(&ListenAddress::Unix(prefix), link::DEFAULT_PORT).unwrap()
    }

    /// The next values, in the shape that the assertions want.
    async fn next(&mut self) -> (Vec<String>, Vec<String>) {
        self.found.changed().await.unwrap();
        self.last()
    }

    fn last(&self) -> (Vec<String>, Vec<String>) {
        let found = self.found.borrow().clone().unwrap();
        (
            found.nameservers.iter().map(ToString::to_string).collect(),
            found.search.clone(),
        )
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

/// Takes the follower's connection and grants RESOLV_CONF.
async fn grant(listener: &Listener) -> Stream {
    let (mut stream, _) = listener.accept().await.unwrap();
    assert_eq!(
        server::read_request(&mut stream).await.unwrap(),
        Command::ResolvConf
    );
    server::write_reply(&mut stream, Reply::Succeeded, UNSPECIFIED)
        .await
        .unwrap();
    stream
}

async fn say(stream: &mut Stream, text: &str) {
    frame::write(stream, text.as_bytes()).await.unwrap();
}

/// Lets the follower read what was said, also when it has just told of something.
async fn settle() {
    sleep(LEAST_LIFE + Duration::from_millis(1)).await;
}

fn one(address: &str) -> (Vec<String>, Vec<String>) {
    (vec![address.to_owned()], Vec::new())
}

#[tokio::test(start_paused = true)]
async fn a_change_on_the_parent_is_told_and_a_heartbeat_is_not() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    let mut relay = grant(&listener).await;
    say(
        &mut relay,
        "nameserver 10.0.0.2\nsearch ec2.internal\noptions timeout:2 attempts:9\n",
    )
    .await;
    assert_eq!(
        lab.next().await,
        (
            vec!["10.0.0.2:53".to_owned()],
            vec!["ec2.internal".to_owned()]
        )
    );
    let found = lab.found.borrow().clone().unwrap();
    assert_eq!(
        (found.timeout, found.attempts, found.source),
        (Some(2), Some(5), Source::Parent)
    );

    say(
        &mut relay,
        "nameserver 10.0.0.2\nsearch ec2.internal\noptions attempts:5 timeout:2\n",
    )
    .await;
    settle().await;
    assert!(!lab.found.has_changed().unwrap());

    say(&mut relay, "nameserver 10.7.0.2\n").await;
    assert_eq!(lab.next().await, one("10.7.0.2:53"));
}

#[tokio::test(start_paused = true)]
async fn what_was_known_stays_while_the_relay_is_away_and_its_return_is_seen_within_a_second() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    let mut relay = grant(&listener).await;
    say(&mut relay, "nameserver 10.0.0.2\n").await;
    assert_eq!(lab.next().await, one("10.0.0.2:53"));
    drop((relay, listener));
    sleep(Duration::from_secs(600)).await;
    assert_eq!(lab.last(), one("10.0.0.2:53"));

    let listener = lab.listen();
    let back = Instant::now();
    let mut relay = grant(&listener).await;
    assert!(back.elapsed() <= LONGEST_PAUSE, "{:?}", back.elapsed());
    say(&mut relay, "nameserver 10.0.0.2\n").await;
    settle().await;
    assert!(
        !lab.found.has_changed().unwrap(),
        "the same values are no news"
    );
}

#[tokio::test(start_paused = true)]
async fn after_the_loss_of_a_lasting_connection_the_next_is_dialled_at_once() {
    let lab = Lab::new();
    let listener = lab.listen();
    let mut relay = grant(&listener).await;
    for _ in 0..3 {
        say(&mut relay, "nameserver 10.0.0.2\n").await;
        sleep(Duration::from_millis(HEARTBEAT_MS)).await;
    }
    let lost = Instant::now();
    drop(relay);
    grant(&listener).await;
    assert!(
        lost.elapsed() < Duration::from_millis(10),
        "{:?}",
        lost.elapsed()
    );
    drop(lab);
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_closes_after_each_frame_is_not_dialled_without_pause() {
    let lab = Lab::new();
    let listener = lab.listen();
    let start = Instant::now();
    for _ in 0..20 {
        say(&mut grant(&listener).await, "nameserver 10.0.0.2\n").await;
    }
    assert!(
        start.elapsed() > 10 * LONGEST_PAUSE,
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn silence_for_two_and_a_half_heartbeats_is_a_dead_relay() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    let mut silent = grant(&listener).await;
    say(&mut silent, "nameserver 10.0.0.2\n").await;
    assert_eq!(lab.next().await, one("10.0.0.2:53"));
    let start = Instant::now();
    let mut relay = grant(&listener).await;
    assert!(
        start.elapsed() >= SILENCE && start.elapsed() < SILENCE + LONGEST_PAUSE,
        "{:?}",
        start.elapsed()
    );
    say(&mut relay, "nameserver 10.0.0.3\n").await;
    assert_eq!(lab.next().await, one("10.0.0.3:53"));
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_never_replies_costs_one_second_an_attempt() {
    let lab = Lab::new();
    let listener = lab.listen();
    let (_hanging, _) = listener.accept().await.unwrap();
    let start = Instant::now();
    grant(&listener).await;
    assert!(
        start.elapsed() < REQUEST + LONGEST_PAUSE,
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn an_old_parent_or_a_refusal_is_asked_again() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    let (mut stream, _) = listener.accept().await.unwrap();
    server::read_request(&mut stream).await.unwrap();
    drop(stream);
    let (mut stream, _) = listener.accept().await.unwrap();
    server::read_request(&mut stream).await.unwrap();
    server::write_refusal(&mut stream, Reply::CommandNotSupported)
        .await
        .unwrap();
    say(&mut grant(&listener).await, "nameserver 10.0.0.2\n").await;
    assert_eq!(lab.next().await, one("10.0.0.2:53"));
}

#[tokio::test(start_paused = true)]
async fn a_text_without_a_nameserver_takes_nothing_away() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    let mut relay = grant(&listener).await;
    say(
        &mut relay,
        "nameserver 10.0.0.2\nnameserver fd00:ec2::253\n",
    )
    .await;
    assert_eq!(lab.next().await.0, ["10.0.0.2:53", "[fd00:ec2::253]:53"]);
    for nothing in [
        "",
        "nameserver 127.0.0.53\n",
        "search ec2.internal\n",
        "\0\u{1b}[2J",
    ] {
        say(&mut relay, nothing).await;
        settle().await;
        assert!(
            !lab.found.has_changed().unwrap(),
            "{nothing:?} takes nothing away"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_comes_a_byte_at_a_time_or_with_others() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    let mut relay = grant(&listener).await;
    let mut bytes = Vec::new();
    frame::encode(b"nameserver 10.0.0.2\n", &mut bytes).unwrap();
    for byte in &bytes {
        relay.write_all(&[*byte]).await.unwrap();
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(lab.next().await, one("10.0.0.2:53"));
    bytes.clear();
    frame::encode(b"nameserver 10.0.0.3\n", &mut bytes).unwrap();
    frame::encode(b"nameserver 10.0.0.4\n", &mut bytes).unwrap();
    relay.write_all(&bytes).await.unwrap();
    assert_eq!(lab.next().await, one("10.0.0.3:53"));
    assert_eq!(lab.next().await, one("10.0.0.4:53"));
}
