use std::os::unix::fs::symlink;

use tempfile::{TempDir, tempdir};
use tokio::io::duplex;
use tokio::task::JoinHandle;

use super::*;

struct Parent {
    directory: TempDir,
    files: Files,
}

impl Parent {
    fn new(text: &str) -> Self {
        let directory = tempdir().unwrap();
        let files = Files {
            file: directory.path().join("resolv.conf"),
            behind_loopback: directory.path().join("behind"),
        };
        let parent = Self { directory, files };
        parent.write(text);
        parent
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.files.file, text).unwrap();
    }

    fn watch(&self) -> (watch::Receiver<Text>, JoinHandle<()>) {
        let (texts, received) = watch::channel(None);
        (
            received,
            tokio::spawn(watch(self.files.clone(), texts, Arc::default())),
        )
    }
}

async fn known(texts: &mut watch::Receiver<Text>) -> String {
    texts.changed().await.unwrap();
    texts.borrow_and_update().as_deref().unwrap().to_owned()
}

fn feed(text: &str) -> (watch::Sender<Text>, watch::Receiver<Text>) {
    watch::channel(Some(text.into()))
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_file_is_seen_within_2_s() {
    let parent = Parent::new("nameserver 10.0.0.2\n");
    let (mut texts, _watcher) = parent.watch();
    assert_eq!(known(&mut texts).await, "nameserver 10.0.0.2\n");
    parent.write("nameserver 10.0.0.3\n");
    let started = Instant::now();
    assert_eq!(known(&mut texts).await, "nameserver 10.0.0.3\n");
    assert!(started.elapsed() <= REREAD);
    // Another file in its place, as editors and DHCP clients do it.
    let other = parent.directory.path().join("other");
    std::fs::write(&other, "nameserver 10.0.0.4\n").unwrap();
    std::fs::remove_file(&parent.files.file).unwrap();
    symlink(&other, &parent.files.file).unwrap();
    assert_eq!(known(&mut texts).await, "nameserver 10.0.0.4\n");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_goes_leaves_the_last_known_and_is_logged_once() {
    let (log, _guard) = crate::tests::Log::capture();
    let parent = Parent::new("nameserver 10.0.0.2\n");
    let (mut texts, _watcher) = parent.watch();
    known(&mut texts).await;
    std::fs::remove_file(&parent.files.file).unwrap();
    tokio::time::sleep(4 * REREAD).await;
    assert!(!texts.has_changed().unwrap());
    assert_eq!(log.lines("cannot read").len(), 1);
    parent.write("nameserver 10.0.0.3\n");
    assert_eq!(known(&mut texts).await, "nameserver 10.0.0.3\n");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_never_was_is_an_empty_text() {
    let parent = Parent::new("");
    std::fs::remove_file(&parent.files.file).unwrap();
    let (mut texts, _watcher) = parent.watch();
    assert_eq!(known(&mut texts).await, "");
}

#[test]
fn behind_a_loopback_nameserver_are_the_real_ones() {
    let parent = Parent::new("nameserver 127.0.0.53\noptions edns0 trust-ad\n");
    std::fs::write(
        &parent.files.behind_loopback,
        "nameserver 10.0.0.2\nnameserver 10.0.0.2\nsearch ec2.internal\n",
    )
    .unwrap();
    assert_eq!(
        parent.files.read().unwrap(),
        "nameserver 10.0.0.2\nsearch ec2.internal\n"
    );
    // Its own search list wins, and the order stays.
    parent.write("nameserver 127.0.0.53\nnameserver 10.0.0.9\nsearch example.com\n");
    assert_eq!(
        parent.files.read().unwrap(),
        "nameserver 10.0.0.2\nnameserver 10.0.0.9\nsearch example.com\n"
    );
}

#[test]
fn without_a_loopback_nameserver_nobody_looks_behind() {
    let parent = Parent::new("nameserver 10.0.0.9\n");
    std::fs::write(&parent.files.behind_loopback, "nameserver 10.0.0.2\n").unwrap();
    assert_eq!(parent.files.read().unwrap(), "nameserver 10.0.0.9\n");
}

#[test]
fn what_an_enclave_cannot_use_is_left_out() {
    let parent = Parent::new("nameserver 127.0.0.1\nnameserver ::1\nnameserver 0.0.0.0\n");
    assert_eq!(parent.files.read().unwrap(), "");
}

#[test]
fn of_a_huge_file_only_the_head_is_read() {
    let mut text = "nameserver 10.0.0.2\n".to_owned();
    text.push_str(&"# filler\n".repeat(resolv::MAX_TEXT));
    text.push_str("nameserver 10.0.0.3\n");
    let parent = Parent::new(&text);
    assert_eq!(
        bounded(&parent.files.file).unwrap().len(),
        resolv::MAX_TEXT + 1
    );
    assert_eq!(parent.files.read().unwrap(), "nameserver 10.0.0.2\n");
}

#[test]
fn the_largest_text_fits_a_frame() {
    let mut text = String::new();
    for number in 0..20 {
        text.push_str(&format!(
            "nameserver 2001:db8:aaaa:bbbb:cccc:dddd:eeee:{number}\n"
        ));
    }
    let name = [&"a".repeat(63), &"b".repeat(63), &"c".repeat(63)]
        .map(String::as_str)
        .join(".");
    text.push_str(&format!(
        "search {}\noptions timeout:5 attempts:5\n",
        [name.as_str(); 9].join(" ")
    ));
    assert!(Parent::new(&text).files.read().unwrap().len() <= MAX_FRAME);
}

#[tokio::test(start_paused = true)]
async fn a_frame_comes_on_connect_on_change_and_every_5_s() {
    let (near, far) = duplex(4096);
    let (texts, received) = feed("one");
    let (_drain, draining) = watch::channel(false);
    tokio::spawn(serve(far, received, draining));
    let mut frames = frame::Reader::new(near);
    let started = Instant::now();
    assert_eq!(frames.next().await.unwrap().unwrap(), b"one");
    assert_eq!(started.elapsed(), Duration::ZERO);
    for beat in 1..=3 {
        assert_eq!(frames.next().await.unwrap().unwrap(), b"one");
        assert_eq!(started.elapsed(), beat * HEARTBEAT);
    }
    texts.send_replace(Some("two".into()));
    assert_eq!(frames.next().await.unwrap().unwrap(), b"two");
    assert_eq!(started.elapsed(), 3 * HEARTBEAT);
    assert_eq!(frames.next().await.unwrap().unwrap(), b"two");
    assert_eq!(started.elapsed(), 4 * HEARTBEAT);
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_leaves_babbles_or_stalls_is_closed() {
    let (_drain, draining) = watch::channel(false);
    let serve = |far, text: &str| serve(far, feed(text).1, draining.clone());

    let (near, far) = duplex(4096);
    drop(near);
    let (_texts, received) = feed("text");
    let ended = super::serve(far, received, draining.clone()).await;
    assert!(
        !matches!(ended, Err(FeedError::NotAFeed | FeedError::Stalled)),
        "{ended:?}"
    );

    let (mut near, far) = duplex(4096);
    let (_texts, received) = feed("text");
    near.write_all(b"?").await.unwrap();
    let ended = super::serve(far, received, draining.clone()).await;
    assert!(matches!(ended, Err(FeedError::NotAFeed)), "{ended:?}");

    let (_near, far) = duplex(1);
    let started = Instant::now();
    let ended = serve(far, "longer than the pipe").await;
    assert!(matches!(ended, Err(FeedError::Stalled)), "{ended:?}");
    assert_eq!(started.elapsed(), STALLED);
}
