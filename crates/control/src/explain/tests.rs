use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Name, RData, Record as Decoded};

use super::*;
use crate::protocol::Hex;
use report::Health;
use report::Style;

/// What upstream says of a name: an address, no such type, no such name, or a failure.
enum Says {
    Address(u8),
    NoData,
    NxDomain,
    Fails,
}

fn message(name: &str, rtype: u16, says: &Says) -> Hex {
    let owner = Name::from_ascii(name).unwrap();
    let mut message = Message::response(0, OpCode::Query);
    message.add_query(Query::query(owner.clone(), rtype.into()));
    let (rcode, code, text) = match says {
        Says::Fails => (ResponseCode::ServFail, 22_u16, "10.0.0.2:53 did not answer"),
        Says::NxDomain => (ResponseCode::NXDomain, 0, "10.0.0.2:53 answered"),
        _ => (ResponseCode::NoError, 0, "10.0.0.2:53 answered"),
    };
    message.metadata.response_code = rcode;
    if let Says::Address(host) = says {
        let data = RData::A(A::new(10, 0, 1, *host));
        message.add_answer(Decoded::from_rdata(owner, 60, data));
    }
    let mut edns = Edns::new();
    let value = [&code.to_be_bytes()[..], text.as_bytes()].concat();
    edns.options_mut().insert(EdnsOption::Unknown(15, value));
    message.edns = Some(edns);
    Hex(message.to_vec().unwrap())
}

fn explanation(name: &str, rtype: u16, now: &Says) -> Explanation {
    Explanation {
        route: ".".to_owned(),
        nameservers: vec![Nameserver {
            address: "10.0.0.2:53".to_owned(),
            route: ".".to_owned(),
            source: "IMDS".to_owned(),
            health: Health::Answers,
            connected: true,
        }],
        now: Some(Looked {
            took_us: 1300,
            message: message(name, rtype, now),
        }),
        ..Explanation::default()
    }
}

/// A stub that knows `db.a.test`, A alone; `down` fails, `gone` has vanished from upstream and is in
/// the cache still.
fn ask(request: &Request) -> Result<Reply, AskError> {
    let Request::Explain { name, rtype } = request else {
        panic!("{request:?}");
    };
    let says = match (&**name, *rtype) {
        ("db.a.test", 1) => Says::Address(7),
        ("db.a.test" | "empty", _) => Says::NoData,
        ("down", _) => Says::Fails,
        _ => Says::NxDomain,
    };
    let mut explanation = explanation(name, *rtype, &says);
    if name == "gone" && *rtype == 1 {
        explanation.cached = Some(Cached {
            age_ms: 38_000,
            left: Left::Fresh(22_000),
            message: message(name, 1, &Says::Address(9)),
        });
    }
    if name == "old" && *rtype == 1 {
        explanation.now = Some(Looked {
            took_us: 4_000_000,
            message: message(name, 1, &Says::Fails),
        });
        explanation.cached = Some(Cached {
            age_ms: 90_000_000,
            left: Left::Stale(1_000),
            message: message(name, 1, &Says::Address(9)),
        });
    }
    if name == "denied" {
        let says = match rtype {
            1 => Says::Address(9),
            _ => Says::NoData,
        };
        explanation.now = Some(Looked {
            took_us: 400,
            message: message(name, *rtype, &says),
        });
        explanation.cached = Some(Cached {
            age_ms: 1,
            left: Left::Fresh(1_000),
            message: message(name, *rtype, &Says::NxDomain),
        });
    }
    if name == "down" {
        explanation.last_failure = Some(LastFailure {
            ago_ms: 192_000,
            ede: 22,
            text: "10.0.0.3:53 did not answer".to_owned(),
        });
    }
    Ok(Reply::Explained(Box::new(explanation)))
}

fn report(name: &str) -> Report {
    let libc = Libc {
        resolv_conf: b"search a.test\n".to_vec(),
        hosts: "10.9.9.9 static\n".to_owned(),
        ..Libc::default()
    };
    explain(name, None, &libc, ask).unwrap()
}

#[test]
fn the_first_name_that_has_records_ends_the_search() {
    let report = report("db");
    assert_eq!(report.verdict, Verdict::Resolves);
    assert_eq!(report.because, ["10.0.1.7"]);
    let tried: Vec<_> = report.tried.iter().map(|t| (&*t.name, &*t.rtype)).collect();
    assert_eq!(tried, [("db.a.test", "A"), ("db.a.test", "AAAA")]);
    let text = report.show(Style::default());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "db resolves: 10.0.1.7",
            "",
            "  search    db.a.test, then db (ndots is 1)",
            "  hosts     not in /etc/hosts",
            "",
            "db.a.test",
            "  route     no --route takes it",
            "  asked     10.0.0.2:53  answers  IMDS",
            "",
            "  A",
            "  cache     nothing",
            "  now       10.0.0.2:53 answered in 1.3 ms",
            "              60  A  10.0.1.7",
            "",
            "  AAAA",
            "  cache     nothing",
            "  now       10.0.0.2:53 answered in 1.3 ms: no such type",
        ]
    );
}

#[test]
fn each_verdict_is_told_and_decides_what_resolves() {
    for (name, verdict, resolves, says) in [
        ("static", Verdict::Hosts, true, "programs ask nobody"),
        (
            "old.",
            Verdict::Cached,
            true,
            "old. resolves from the cache alone, upstream does not answer: 10.0.1.9",
        ),
        (
            "denied.",
            Verdict::NxDomain,
            false,
            "denied. does not exist\nThat is the cache's word",
        ),
        ("nobody", Verdict::NxDomain, false, "nobody does not exist"),
        (
            "empty.",
            Verdict::NoData,
            false,
            "empty. exists, without A or AAAA",
        ),
        (
            "down.",
            Verdict::Fails,
            false,
            "down. does not resolve: SERVFAIL, 10.0.0.2:53 did not answer (EDE 22: No Reachable Authority)",
        ),
        (
            "down.",
            Verdict::Fails,
            false,
            "failed    3 min 12 s ago: 10.0.0.3:53 did not answer (EDE 22)",
        ),
        (
            "gone.",
            Verdict::Resolves,
            true,
            "gone. resolves: 10.0.1.9\nThat is the cache's word: upstream says otherwise now. `proxify \
             cache flush gone`",
        ),
        (
            "gone.",
            Verdict::Resolves,
            true,
            "cache     fresh for 22 s, 38 s old",
        ),
    ] {
        let report = report(name);
        let text = report.show(Style::default());
        assert_eq!(
            (report.verdict, report.resolves()),
            (verdict, resolves),
            "{text}"
        );
        assert!(text.contains(says), "{says}\n{text}");
    }
}

#[test]
fn the_pin_that_holds_is_named_and_whether_it_decides() {
    let held = |by: &[&str], exempt_from: Option<&str>| Held {
        by: by.iter().map(|pin| (*pin).to_owned()).collect(),
        exempt_from: exempt_from.map(str::to_owned),
    };
    let corp = "corp.example=10.8.0.0/16,fd00::/64";
    for (held, ede, line) in [
        (
            held(&[corp], None),
            0,
            "--pin corp.example=10.8.0.0/16,fd00::/64",
        ),
        (
            held(&[corp], None),
            15,
            "--pin corp.example=10.8.0.0/16,fd00::/64; it refuses what upstream says",
        ),
        (held(&[], None), 0, "no --pin holds it"),
        (
            held(&[], Some("amazonaws.com")),
            0,
            "--pin amazonaws.com exempts it: gateway endpoints keep public addresses",
        ),
    ] {
        let mut report = report("down.");
        for tried in &mut report.tried {
            tried.held = Some(held.clone());
            let now = tried.now.as_mut().unwrap();
            now.answer.ede = Some(Ede::new(ede, "10.0.0.2:53 said so"));
        }
        let text = report.show(Style::default());
        assert!(
            text.contains(&format!("  pin       {line}\n")),
            "{line}\n{text}"
        );
    }
}

#[test]
fn an_address_is_asked_for_by_its_name() {
    let report = report("10.0.1.17");
    assert_eq!(report.tried[0].name, "17.1.0.10.in-addr.arpa");
    assert_eq!(report.tried[0].rtype, "PTR");
    assert_eq!(report.expansion, None);
    assert_eq!(
        reverse("fd00::1a".parse().unwrap()),
        format!("a.1.{}0.0.d.f.ip6.arpa", "0.".repeat(26))
    );
}

#[test]
fn a_stub_that_cannot_be_asked_is_an_error() {
    let nobody = |_: &Request| Err(AskError::Silent { program: "proxify" });
    let error = explain("db", None, &Libc::default(), nobody).unwrap_err();
    assert!(matches!(error, AskError::Silent { .. }));
}

#[test]
fn machines_get_the_same() {
    let json = serde_json::to_value(report("db")).unwrap();
    assert_eq!(json["verdict"], "resolves");
    assert_eq!(json["tried"][0]["type"], "A");
    assert_eq!(
        json["tried"][0]["now"]["answer"]["records"][0]["data"],
        "10.0.1.7"
    );
    assert_eq!(json["expansion"]["names"][1], "db");
}
