use std::path::Path;

use tracing::{info, subscriber, warn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry;

use super::*;

/// Lines of a test's own, and what the layer makes of events meanwhile.
fn told(events: impl FnOnce()) -> Vec<String> {
    let lines: &'static Lines = Box::leak(Box::new(Lines::new()));
    let ours = OURS.map(|target| (target, LevelFilter::WARN));
    let layer = lines.with_filter(Targets::new().with_targets(ours));
    // As with `--log debug` beside it.
    let all = tracing_subscriber::fmt::layer().with_writer(std::io::sink);
    subscriber::with_default(registry().with(all).with(layer), events);
    let mut waiting = lines.waiting();
    waiting.lines.drain(..).map(|line| line.text).collect()
}

#[test]
fn warnings_of_ours_are_told_with_numbers_and_addresses() {
    let told = told(|| {
        warn!(left_out = 3_u64, is = true, "10.0.0.2:53 did not answer");
        tracing::error!(error = "no route", nameserver = %"10.0.0.2:53", "it failed");
        info!("not this");
        warn!(target: "h2::client", "nor that");
    });
    assert_eq!(
        told,
        [
            "10.0.0.2:53 did not answer left_out=3 is=true",
            "it failed error=no route nameserver=10.0.0.2:53",
        ]
    );
}

#[test]
fn a_name_is_in_no_field_and_no_word() {
    let name = "canary.example";
    let told = told(|| {
        warn!(name, "the field of that name");
        warn!(name = "canary", pin = %name, question = ?name, "nor others");
        warn!("it says canary.example, (Canary.Example.) and \"x.canary.example\"");
        warn!(error = %format_args!("about {name}:53"), "or an error");
    });
    assert_eq!(
        told,
        [
            "the field of that name",
            "nor others",
            "it says … … and …",
            "or an error error=about …",
        ]
    );
}

#[test]
fn words_with_a_dot_are_addresses_or_left_out() {
    for kept in [
        "",
        "  two  blanks ",
        "10.0.0.2:53 did not answer; ask later.",
        "[fd00:ec2::253]:53, tcp:10.0.0.9: (10.0.0.0/16) 2.5 s",
        "another program put nameserver 6.6.6.6 at /etc/resolv.conf; it names the stub again",
        "unix:/run/sandbox/link_8888 is away... and back",
    ] {
        assert_eq!(without_names(kept), kept);
    }
    for left_out in [
        "ec2.us-east-1.amazonaws.com",
        "17.1.0.10.in-addr.arpa",
        "_sip._tcp.example.",
        "*.example",
        "10.0.0.2.example:53",
        "10.0.0.2/example",
        "a.b/c",
        "/etc/hosts.d",
        "tcp:a.b",
        "naïve.example",
    ] {
        assert_eq!(without_names(left_out), "…", "{left_out}");
    }
}

#[tokio::test]
async fn ten_a_minute_go_out_with_a_count_of_the_others() {
    let lines = Lines::new();
    let start = Instant::now();
    for number in 0..100 {
        lines.put(Level::Warn, number.to_string(), start);
    }
    for number in 0..10 {
        assert_eq!(lines.next().await.text, number.to_string());
    }
    lines.put(
        Level::Error,
        "later".to_owned(),
        start + Duration::from_secs(6),
    );
    let later = lines.next().await;
    assert_eq!((later.text.as_str(), later.left_out), ("later", 90));
}

#[tokio::test]
async fn while_the_link_is_down_the_last_are_kept() {
    let lines = Lines::new();
    let start = Instant::now();
    for number in 0..100 {
        let now = start + EVERY * number;
        lines.put(Level::Warn, number.to_string(), now);
    }
    let first = lines.next().await;
    assert_eq!((first.text.as_str(), first.left_out), ("68", 68));
    assert_eq!(lines.waiting().lines.len(), MOST - 1);
}

#[test]
fn a_line_is_cut() {
    let told = told(|| warn!("{}", "é".repeat(MAX_LINE)));
    assert_eq!(told[0].len(), MAX_LINE);
}

/// The sentences themselves: nothing that stands for a name is written into one, in any crate of which
/// events are taken.
#[test]
fn no_sentence_of_ours_says_a_name() {
    /// What names are called in our sources.
    const NAMES: [&str; 8] = [
        "domain", "host", "name", "names", "qname", "query", "question", "search",
    ];
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut seen = 0;
    for ours in OURS {
        let mut directories = vec![crates.join(ours).join("src")];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs")
                    && !path.ends_with("tests.rs")
                    && !path.components().any(|part| part.as_os_str() == "tests")
                {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
                    for sentence in sentences(text) {
                        seen += 1;
                        for said in placeholders(sentence) {
                            let word = said.rsplit(['.', ' ']).next().unwrap_or_default();
                            assert!(!NAMES.contains(&word), "{}: {sentence}", path.display());
                        }
                    }
                }
            }
        }
    }
    assert!(seen > 30, "{seen}");
}

/// What stands between the brackets of `warn!` and `error!`.
fn sentences(text: &str) -> impl Iterator<Item = &str> {
    let macros = ["warn!(", "error!("];
    macros.into_iter().flat_map(move |begin| {
        text.split(begin).skip(1).map(|behind| {
            let mut depth = 1_u32;
            let end = behind.find(|character| {
                match character {
                    '(' => depth += 1,
                    ')' => depth -= 1,
                    _ => {}
                }
                depth == 0
            });
            &behind[..end.unwrap_or(behind.len())]
        })
    })
}

/// `{said}`, `{said:?}`, and the arguments behind the text.
fn placeholders(sentence: &str) -> Vec<&str> {
    let mut quoted = sentence.split('"');
    quoted.next();
    let text = quoted.next().unwrap_or_default();
    let inline = text.split('{').skip(1).filter_map(|rest| {
        let said = rest.split(['}', ':']).next()?;
        (!said.is_empty()).then_some(said)
    });
    let behind = sentence.rsplit('"').next().unwrap_or_default();
    let arguments = behind
        .split(',')
        .map(|word| word.trim().trim_end_matches("()"));
    inline.chain(arguments).collect()
}

#[test]
fn sentences_are_read_as_they_stand() {
    let source = "warn!(name, left_out, \"{nameserver} {what}{more}\");
        error!(\"{} is {said:?}\", failure.name);";
    let found: Vec<_> = sentences(source).map(placeholders).collect();
    assert_eq!(found[0], ["nameserver", "what", "more", ""]);
    assert_eq!(found[1], ["said", "", "failure.name"]);
}
