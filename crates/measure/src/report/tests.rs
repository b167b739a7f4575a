use super::*;

use crate::Failure;

/// A target whose lookups took so many microseconds.
pub(crate) fn measured(label: &str, micros: &[u64]) -> Measured {
    let mut latencies = Latencies::new();
    for &micros in micros {
        latencies.record(Duration::from_micros(micros));
    }
    let answered = latencies.count();
    let points = micros.iter().zip(0u32..).map(|(&micros, second)| Point {
        at: Duration::from_secs(second.into()),
        p50: Duration::from_micros(micros),
        p99: Duration::from_micros(micros * 2),
        answered: answered / 2,
        failed: 0,
    });
    Measured {
        label: label.to_owned(),
        what: format!("what {label} is"),
        points: points.collect(),
        latencies,
        failures: Failures::default(),
        empty: 0,
        spent: Duration::from_secs(2),
        intended: None,
        held_back: false,
    }
}

fn report(targets: Vec<Measured>) -> Report {
    Report {
        began: UNIX_EPOCH + Duration::from_secs(1_795_262_400),
        names: vec!["a.example".to_owned(), "b.example".to_owned()],
        questions: 2,
        types: vec!["A".to_owned()],
        pace: Pace::Closed,
        concurrency: 1,
        duration: Duration::from_secs(4),
        cold: false,
        upstream_pps: Some(100),
        warming_held: false,
        targets,
        missing: Vec::new(),
    }
}

const PLAIN: Terminal = Terminal {
    width: 60,
    colour: false,
};

#[test]
fn text_has_a_column_for_each_target_on_one_axis() {
    let mut fast = vec![20; 95];
    fast.extend([45; 5]);
    let report = report(vec![
        measured("udp", &fast),
        measured("getaddrinfo", &[100, 100]),
    ]);
    let text = report.text(PLAIN);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..17],
        [
            "2 names (A), warm, one lookup at a time, 4 s in all",
            "",
            "udp          what udp is",
            "getaddrinfo  what getaddrinfo is",
            "",
            "          udp                      getaddrinfo",
            "p50       20.0 µs                  100 µs",
            "p90       20.0 µs                  –",
            "p99       45.0 µs                  –",
            "p99.9     –                        –",
            "p99.99    –                        –",
            "max       45.0 µs                  100 µs",
            "answers   100                      2",
            "a second  50.0                     1.0",
            "failed    0                        0",
            "",
            "   20 µs  █████████████████████▉",
        ]
    );
    let row = |edge| {
        lines
            .iter()
            .find(|line| line.trim_start().starts_with(edge))
    };
    assert_eq!(row("45 µs"), Some(&"   45 µs  █▏"));
    assert!(row("100 µs").unwrap().ends_with("███████████████████████"));
    assert!(text.contains("–: not known, of too few lookups."));
    assert!(!text.contains('\x1b'));
}

#[test]
fn colours_are_for_terminals_and_lines_keep_their_width() {
    let report = report(vec![measured("udp", &[20]), measured("tcp", &[30])]);
    let colour = Terminal {
        colour: true,
        ..PLAIN
    };
    let text = report.text(colour);
    assert!(text.contains("\x1b[36mudp") && text.contains("\x1b[33m"));
    for line in report.text(PLAIN).lines().skip(5).take(30) {
        assert!(line.chars().count() <= PLAIN.width + 20, "{line}");
    }
}

#[test]
fn nothing_is_said_that_is_not_known() {
    let mut silent = measured("upstream", &[]);
    silent.failures.count(Failure::Timeout);
    silent.failures.count(Failure::Timeout);
    silent.held_back = true;
    let mut report = report(vec![silent]);
    report.missing.push(Missing {
        label: "getaddrinfo".to_owned(),
        why: "no reason".to_owned(),
    });
    let text = report.text(PLAIN);
    for part in [
        "max       –",
        "upstream: 2 × timeout, in no percentile",
        "held back to 100 packets a second to where AmazonDNS may be (--upstream-pps): upstream",
        "getaddrinfo is left out: no reason",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let json = report.json();
    assert_eq!(json["targets"][0]["latency_ns"]["p50"], Value::Null);
    assert_eq!(json["targets"][0]["latency_ns"]["max"], Value::Null);
    assert_eq!(json["targets"][0]["failures"]["timeout"], 2);
    assert_eq!(json["missing"][0]["target"], "getaddrinfo");
    assert!(report.svg().contains("no answers"));
    assert!(!report.has_answers());
}

#[test]
fn an_open_loop_tells_what_could_not_begin() {
    let mut late = measured("udp", &[20; 10]);
    late.intended = Some(1000);
    let mut report = report(vec![late]);
    report.pace = Pace::Open(500);
    let text = report.text(PLAIN);
    assert!(
        text.contains("udp: 990 lookups could not begin in time"),
        "{text}"
    );
    assert!(
        text.contains("Open loop:") && text.contains("500 lookups a second"),
        "{text}"
    );
}

#[test]
fn pages_load_nothing_and_take_no_markup_from_outside() {
    const HOSTILE: &str = "<script>alert('\"&\u{1b}')</script>";
    let mut target = measured(HOSTILE, &[20, 30, 40]);
    target.failures.count(Failure::System(HOSTILE.to_owned()));
    let mut report = report(vec![target, measured("b", &[100, 101])]);
    report.names = vec![HOSTILE.to_owned()];
    report.questions = 1;
    report.types = vec![HOSTILE.to_owned()];
    report.missing.push(Missing {
        label: HOSTILE.to_owned(),
        why: HOSTILE.to_owned(),
    });
    let (html, svg) = (report.html(), report.svg());
    for page in [&html, &svg] {
        assert!(
            !page.contains("<script") && !page.contains("alert('"),
            "{page}"
        );
        assert!(page.contains("&lt;script&gt;alert(&#39;&quot;&amp;\u{fffd}&#39;)"));
        let outside = page.replace("http://www.w3.org/2000/svg", "");
        for loads in [
            "http:", "https:", "//", "src=", "href=", "url(", "@import", "<link",
        ] {
            assert!(!outside.contains(loads), "{loads} in {outside}");
        }
        for tag in ["svg", "g", "text", "style"] {
            let opened = page.matches(&format!("<{tag}>")).count()
                + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
        assert!(page.contains("prefers-color-scheme:dark"));
    }
    assert!(html.contains("<table>") && html.contains("default-src 'none'"));
    assert!(svg.matches("<path ").count() >= 6, "three curves a target");
}
