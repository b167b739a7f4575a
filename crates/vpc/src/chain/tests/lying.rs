//! A parent that lies about its resolv.conf: what is taken of it or which source is next, and what the
//! log says. IMDS says `10.3.0.0/16` throughout.

use std::iter::repeat_n;

use self::log::Log;
use super::*;

#[path = "../../../../relay/src/tests/log.rs"]
mod log;

/// What it does on RESOLV_CONF, and what comes of it.
struct Lie {
    name: &'static str,
    does: Does,
    taken: Taken,
    /// What the one line says that ten minutes have at `warn`.
    warning: &'static str,
}

enum Does {
    /// A frame with this text.
    Tells(Vec<u8>),
    /// These bytes after the grant, with this pause behind each.
    Sends(Vec<u8>, Duration),
    /// These in place of SOCKS5.
    Answers(Vec<u8>),
}

#[derive(Debug, PartialEq, Eq)]
enum Taken {
    /// From the relay: the nameservers and the search list.
    Theirs(Vec<String>, Vec<String>),
    /// IMDS is asked in its place, since the relay said what does not help.
    Imds(&'static str),
}

/// Text in a frame that is read as an honest parent's would be.
fn tells(
    name: &'static str,
    text: impl Into<Vec<u8>>,
    nameservers: &[&str],
    search: &[&str],
) -> Lie {
    let owned = |list: &[&str]| list.iter().map(|&each| each.to_owned()).collect();
    Lie {
        name,
        does: Does::Tells(text.into()),
        taken: Taken::Theirs(owned(nameservers), owned(search)),
        // It has no heartbeat.
        warning: "sent nothing for 12500 ms",
    }
}

/// Text in a frame without a nameserver that can be used.
fn empty(name: &'static str, text: impl Into<Vec<u8>>) -> Lie {
    Lie {
        taken: Taken::Imds("knows no nameserver"),
        ..tells(name, text, &[], &[])
    }
}

/// Bytes after the grant that never make a frame that is read.
fn sends(
    name: &'static str,
    bytes: impl Into<Vec<u8>>,
    why: &'static str,
    warning: &'static str,
) -> Lie {
    Lie {
        name,
        does: Does::Sends(bytes.into(), Duration::ZERO),
        taken: Taken::Imds(why),
        warning,
    }
}

/// Bytes that are no grant.
fn answers(
    name: &'static str,
    bytes: impl Into<Vec<u8>>,
    why: &'static str,
    warning: &'static str,
) -> Lie {
    Lie {
        does: Does::Answers(bytes.into()),
        ..sends(name, [], why, warning)
    }
}

fn frame(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    link::frame::encode(text, &mut bytes).unwrap();
    bytes
}

fn padded(length: usize) -> Vec<u8> {
    let mut text = b"nameserver 10.1.0.2\n".to_vec();
    text.resize(length, b'#');
    text
}

const OURS: &[&str] = &["10.1.0.2:53"];
const HUNG: &str = "it hung for 1 s";
const AWAY: &str = "no relay answers";
const NOT_OURS: &str = "does not know RESOLV_CONF";

fn lies() -> Vec<Lie> {
    let names = |count| {
        (0..count)
            .map(|n| format!("s{n}.example "))
            .collect::<String>()
    };
    let addresses: String = (2..250)
        .map(|n| format!("nameserver 10.1.0.{n}\n"))
        .collect();
    let eight: Vec<String> = (2..10).map(|n| format!("10.1.0.{n}:53")).collect();
    let eight: Vec<&str> = eight.iter().map(String::as_str).collect();
    let six = [
        "s0.example",
        "s1.example",
        "s2.example",
        "s3.example",
        "s4.example",
        "s5.example",
    ];
    vec![
        tells(
            "500 search names",
            format!("nameserver 10.1.0.2\nsearch {}\n", names(500)),
            OURS,
            &six,
        ),
        tells("248 nameservers", addresses, &eight, &[]),
        tells(
            "a NUL in a nameserver",
            "nameserver 192.0.2.66\0\nnameserver 10.1.0.2\n",
            OURS,
            &[],
        ),
        tells(
            "a NUL before a nameserver",
            "\0nameserver 192.0.2.66\nnameserver 10.1.0.2\n",
            OURS,
            &[],
        ),
        tells(
            "a nameserver in a search name",
            "nameserver 10.1.0.2\nsearch a.example\rnameserver\r192.0.2.66 b\u{2028}nameserver 192.0.2.67\n",
            OURS,
            &[
                "a.example",
                "nameserver",
                "192.0.2.66",
                "b",
                "nameserver",
                "192.0.2.67",
            ],
        ),
        tells(
            "search names that are text for a terminal or a shell",
            "nameserver 10.1.0.2\nsearch \x1b[2J $(reboot) a\\nnameserver ok.example\n",
            OURS,
            &["ok.example"],
        ),
        tells(
            "options that are ours to say",
            "nameserver 10.1.0.2\noptions use-vc trust-ad ndots:15 timeout:0 attempts:99\n",
            OURS,
            &[],
        ),
        tells(
            "addresses that lead back into the enclave, or nowhere",
            "nameserver 127.0.0.53\nnameserver ::1\nnameserver 0.0.0.0\nnameserver 224.0.0.1\n\
             nameserver 255.255.255.255\nnameserver ::ffff:127.0.0.1\nnameserver fe80::1%lo\n\
             nameserver 10.1.0.2\n",
            OURS,
            &[],
        ),
        tells("the longest text", padded(relay::MAX_TEXT), OURS, &[]),
        empty("no text", ""),
        empty("bytes that are no text", vec![0xFF; 4096]),
        empty("only search names", "search corp.example\n"),
        empty("only itself", "nameserver 127.0.0.1\n"),
        sends(
            "a byte more than the longest text",
            frame(&padded(relay::MAX_TEXT + 1)),
            AWAY,
            "a frame of 16385 bytes",
        ),
        sends(
            "64 KiB",
            frame(&padded(65_535)),
            AWAY,
            "a frame of 65535 bytes",
        ),
        sends(
            "half a frame",
            &frame(b"nameserver 10.1.0.2\n")[..9],
            HUNG,
            "sent nothing for 12500 ms",
        ),
        sends(
            "HTTP",
            "HTTP/1.1 200 OK\r\n\r\n",
            HUNG,
            "sent nothing for 12500 ms",
        ),
        Lie {
            does: Does::Sends(frame(b"nameserver 10.1.0.2\n"), Duration::from_secs(1)),
            ..sends("one byte a second", "", HUNG, "sent nothing for 12500 ms")
        },
        answers("no reply", "", NOT_OURS, "closed without a reply"),
        answers(
            "half a reply",
            [5, 0, 5, 0, 0, 1, 0],
            NOT_OURS,
            "closed without a reply",
        ),
        answers(
            "no SOCKS5",
            "HTTP/1.1 400 Bad Request\r\n\r\n",
            NOT_OURS,
            "gave no SOCKS5 answer",
        ),
        answers(
            "a name of 255 bytes for an address",
            [&[5, 0, 5, 0, 0, 3, 255][..], &[b'a'; 257]].concat(),
            NOT_OURS,
            "gave no SOCKS5 answer",
        ),
    ]
}

/// Ten minutes of an enclave with such a parent: what was taken, and the log.
async fn ten_minutes(does: &Does) -> (Option<Arc<Found>>, Log) {
    let (log, _guard) = Log::capture();
    let mut parent = all();
    match does {
        Does::Tells(text) => parent.resolv_conf = Part::Sends(frame(text), Duration::ZERO),
        Does::Sends(bytes, pause) => parent.resolv_conf = Part::Sends(bytes.clone(), *pause),
        Does::Answers(bytes) => parent.socks = Some(bytes.clone()),
    }
    let mut lab = Lab::new("auto", IMAGE, parent);
    let (_, _, took) = lab.next().await;
    assert!(took <= STEP + AT_ONCE, "{took:?}");
    // The first word of a parent that has one.
    let taken = lab.found.borrow().clone();
    sleep(Duration::from_secs(600)).await;
    (taken, log)
}

fn at(log: &Log, level: &str, text: &str) -> Vec<String> {
    let mut lines = log.lines(text);
    lines.retain(|line| line.contains(level));
    lines
}

#[tokio::test(start_paused = true)]
async fn what_the_parent_tells_is_read_in_bounds_or_the_next_source_is_asked() {
    for lie in lies() {
        let (taken, log) = ten_minutes(&lie.does).await;
        let (name, taken) = (lie.name, taken.unwrap());
        let nameservers = taken.nameservers.iter().map(ToString::to_string).collect();
        match lie.taken {
            Taken::Theirs(..) => {
                assert_eq!(taken.source, Source::Parent, "{name}");
                let found = Taken::Theirs(nameservers, taken.search.clone());
                assert_eq!(found, lie.taken, "{name}");
                assert!(
                    taken
                        .timeout
                        .is_none_or(|seconds| (1..=5).contains(&seconds))
                );
                assert!(taken.attempts.is_none_or(|times| (1..=5).contains(&times)));
            }
            Taken::Imds(why) => {
                assert_eq!(taken.source, Source::Imds, "{name}");
                assert_eq!(nameservers, ["10.3.0.2:53"], "{name}");
                let passed_over = at(&log, "INFO", "passed over source=the parent's resolv.conf");
                assert!(passed_over[0].contains(why), "{name}: {passed_over:#?}");
                // That, and that it is away meanwhile, each once a minute.
                assert!(passed_over.len() <= 2 * 11, "{name}: {passed_over:#?}");
            }
        }
        let warnings = at(&log, "WARN", "");
        // What comes and goes all the time is told of once a minute.
        assert!((1..=11).contains(&warnings.len()), "{name}: {warnings:#?}");
        assert!(warnings[0].contains(lie.warning), "{name}: {warnings:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_every_code_leads_to_the_next_source() {
    for code in 1..=u8::MAX {
        let reply = vec![5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0];
        let mut parent = all();
        parent.socks = Some(reply);
        let mut lab = Lab::new("auto", IMAGE, parent);
        lab.assert_next(Source::Imds, "10.3.0.2:53", AT_ONCE).await;
    }
}

/// Each change costs connections and a line: a parent must not have thousands of them.
#[tokio::test(start_paused = true)]
async fn a_parent_that_changes_its_mind_all_the_time_is_followed_once_a_second() {
    let (log, _guard) = Log::capture();
    let change = |host: u8| frame(format!("nameserver 10.1.0.{host}\n").as_bytes());
    let both = [change(2), change(3)].concat();
    let mut parent = all();
    parent.resolv_conf = Part::Sends(repeat_n(both, 500).flatten().collect(), Duration::ZERO);
    let _lab = Lab::new("auto", IMAGE, parent);
    sleep(Duration::from_secs(60)).await;
    let taken = log.lines("nameservers taken").len();
    assert!((50..=61).contains(&taken), "{taken}");
}

#[test]
fn a_reason_is_given_once_and_one_that_comes_back_once_a_minute() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut said = Said::default();
    assert!(said.admits("a", at(0)));
    assert!(!said.admits("a", at(100)));
    assert!(said.admits("b", at(101)));
    assert!(said.admits("a", at(102)));
    for second in 103..161 {
        let why = ["b", "a"][usize::try_from(second % 2).unwrap()];
        assert!(!said.admits(why, at(second)), "{second}");
    }
    assert!(said.admits("a", at(170)));
    // An IMDS with another text each time.
    let told = (0..100).filter(|number| said.admits(&format!("<html>{number}"), at(171)));
    assert_eq!(told.count(), REASONS - 1);
}
