//! Runs of this very test program, which stands for proxify: told to be `the_child` of one kind, it does
//! what that says.

use std::io::Write as _;

use super::*;

/// Its words: cargo's harness runs the one test of this name.
fn words(child: &str) -> Vec<String> {
    let path = format!("reporter::run::tests::{child}");
    ["--exact", &path, "--nocapture", "--quiet"]
        .map(str::to_owned)
        .into()
}

/// Whether this process is a run's.
fn is_child() -> bool {
    std::env::args()
        .next()
        .is_some_and(|name| name == "proxify")
}

#[test]
fn child_tells_what_it_was_given() {
    if !is_child() {
        return;
    }
    let mut given = vec![format!("variables {}", std::env::vars_os().count())];
    let numbers = |number: &i32| is_open(*number);
    given.push(format!(
        "open {:?}",
        (3..1000).filter(numbers).collect::<Vec<_>>()
    ));
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let told = ["CapEff", "CapPrm", "NoNewPrivs", "SigBlk"];
    let lines = status
        .lines()
        .filter(|line| told.iter().any(|field| line.starts_with(field)));
    given.extend(lines.map(|line| line.replace('\t', " ")));
    // The harness has said something before.
    println!("\n{}", given.join("\n"));
    eprintln!("and an error");
    std::process::exit(3);
}

fn is_open(number: RawFd) -> bool {
    // SAFETY: a flag is read; of a number that is not open, an error.
    unsafe { libc::fcntl(number, libc::F_GETFD) >= 0 }
}

#[test]
fn child_prints_for_ever() {
    while is_child() {
        let _ = io::stdout().write_all(&[b'x'; 4096]);
    }
}

#[test]
fn child_hangs() {
    while is_child() {
        println!("{}", std::process::id());
        std::thread::sleep(RUN * 10);
    }
}

#[test]
fn child_prints_half_a_character() {
    if is_child() {
        let mut out = io::stdout();
        for piece in [&b"\n\xe2"[..], b"\x9c", b"\x93 \xff ", b"\xe2\x9c"] {
            out.write_all(piece).unwrap();
            out.flush().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        std::process::exit(0);
    }
}

/// All that a run says; the last is its end.
async fn all(runs: &mut Runs) -> (String, String, FromEnclave) {
    let (mut out, mut err) = (String::new(), String::new());
    loop {
        match runs.said().await {
            FromEnclave::Output {
                id: 7,
                stream,
                text,
            } => {
                assert!(text.len() <= MAX_PIECE);
                match stream {
                    Stream::Out => out.push_str(&text),
                    Stream::Err => err.push_str(&text),
                }
            }
            last => return (out, err, last),
        }
    }
}

#[tokio::test]
async fn a_child_has_nothing_of_proxifys_but_its_output() {
    // As an init script's descriptor that APP is to have.
    let (reader, _writer) = io::pipe().unwrap();
    let inherited = nix::unistd::dup(&reader).unwrap();
    assert!(is_inherited(std::os::fd::AsRawFd::as_raw_fd(&inherited)));
    let mut runs = Runs::default();
    runs.begin(7, words("child_tells_what_it_was_given"))
        .unwrap();
    runs.begin(8, Vec::new()).unwrap_err();
    let (out, err, last) = all(&mut runs).await;
    assert_eq!(last, FromEnclave::Ended { id: 7, code: 3 });
    for line in [
        "variables 0",
        "open []",
        "CapEff: 0000000000000000",
        "CapPrm: 0000000000000000",
        "NoNewPrivs: 1",
        "SigBlk: 0000000000000000",
    ] {
        assert!(out.lines().any(|said| said == line), "{line}: {out}");
    }
    assert_eq!(err, "and an error\n");
    drop(inherited);
}

#[tokio::test]
async fn output_is_bounded() {
    let mut runs = Runs::default();
    runs.begin(7, words("child_prints_for_ever")).unwrap();
    let (out, _, last) = all(&mut runs).await;
    assert!(out.len() <= MAX_OUTPUT);
    let FromEnclave::Refused { id: 7, reason } = last else {
        panic!("{last:?}")
    };
    assert_eq!(reason, "it printed more than 1 MiB");
}

#[tokio::test]
async fn characters_stay_whole() {
    let mut runs = Runs::default();
    runs.begin(7, words("child_prints_half_a_character"))
        .unwrap();
    let (out, _, last) = all(&mut runs).await;
    assert_eq!(last, FromEnclave::Ended { id: 7, code: 0 });
    assert!(out.ends_with("\n✓ \u{fffd} \u{fffd}"), "{out}");
}

/// The child that hangs, by what it prints.
async fn hanging(runs: &mut Runs) -> Pid {
    runs.begin(7, words("child_hangs")).unwrap();
    loop {
        let FromEnclave::Output { text, .. } = runs.said().await else {
            panic!("it ends")
        };
        if let Some(pid) = text.lines().find_map(|line| line.parse().ok()) {
            return Pid::from_raw(pid);
        }
    }
}

async fn is_killed(pid: Pid) {
    for _ in 0..1000 {
        if kill(pid, None).is_err() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{pid} lives");
}

#[tokio::test]
async fn a_run_ends_when_it_is_stopped_or_nobody_listens() {
    let mut runs = Runs::default();
    let pid = hanging(&mut runs).await;
    runs.stop(8);
    assert!(kill(pid, None).is_ok(), "another run's number");
    runs.stop(7);
    is_killed(pid).await;
    let FromEnclave::Refused { id: 7, reason } = runs.said().await else {
        panic!("the relay is told so")
    };
    assert_eq!(reason, "it was stopped");

    let pid = hanging(&mut runs).await;
    drop(runs);
    is_killed(pid).await;
}

#[tokio::test]
async fn a_run_is_killed_at_its_deadline() {
    let mut runs = Runs::default();
    let pid = hanging(&mut runs).await;
    tokio::time::pause();
    let last = runs.said().await;
    let FromEnclave::Refused { id: 7, reason } = last else {
        panic!("{last:?}")
    };
    assert_eq!(reason, "it took longer than 60 s");
    tokio::time::resume();
    is_killed(pid).await;
}

#[tokio::test]
async fn after_a_run_rests_what_it_took() {
    let mut runs = Runs::default();
    let _pid = hanging(&mut runs).await;
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(20)).await;
    runs.end();
    runs.begin(7, words("child_hangs")).unwrap();
    let begins = runs.current.as_ref().unwrap().began;
    let rest = begins.saturating_duration_since(Instant::now());
    assert!(rest.as_secs() >= 20 && rest.as_secs() <= 25, "{rest:?}");
    // Nor does one that is stopped while it rests cut the rest short.
    runs.stop(7);
    runs.begin(8, words("child_hangs")).unwrap();
    assert_eq!(runs.current.as_ref().unwrap().began, begins);
}

#[test]
fn pieces_end_where_characters_do() {
    for (bytes, length) in [
        (&b"abc"[..], 3),
        (b"ab\xe2\x9c", 2),
        (b"ab\xe2\x9c\x93", 5),
        // No character at all.
        (b"ab\xff", 3),
        (b"", 0),
    ] {
        assert_eq!(whole(bytes), length);
    }
}
