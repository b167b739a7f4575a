//! A scenario that is wrong fails, and says where and why: what else would its success mean?

use crate::play;

/// Comes out as written.
const GOOD: &str = "\
nameservers: 10.0.0.2 10.0.0.3:5353
CONFIG_END
SCENARIO_BEGIN One question, one answer
RANGE_BEGIN 20 29
ADDRESS 10.0.0.3:5353
ENTRY_BEGIN
MATCH subdomain
REPLY QR RD RA NXDOMAIN
ADJUST copy_query
SECTION QUESTION
test. A
ENTRY_END
RANGE_END
STEP 10 QUERY
ENTRY_BEGIN
REPLY RD
EDNS 1232
SECTION QUESTION
a.test. IN A
ENTRY_END
STEP 11 CHECK_OUT_QUERY ADDRESS 10.0.0.2
ENTRY_BEGIN
MATCH all
REPLY RD
EDNS 1232
SECTION QUESTION
a.test. A
ENTRY_END
STEP 12 TIMEOUT ELAPSE 1.5
STEP 13 REPLY ADDRESS 10.0.0.3:5353
ENTRY_BEGIN
MATCH question
REPLY QR RD RA NOERROR
SECTION QUESTION
a.test. A
SECTION ANSWER
a.test. 60 A 10.0.1.1
ENTRY_END
STEP 14 CHECK_ANSWER
ENTRY_BEGIN
MATCH all ttl
REPLY QR RD RA NOERROR
EDNS 1232
SECTION QUESTION
a.test. A
SECTION ANSWER
a.test. 60 A 10.0.1.1
ENTRY_END
STEP 20 QUERY COUNT 2
ENTRY_BEGIN
REPLY RD
SECTION QUESTION
test. A
ENTRY_END
STEP 21 CHECK_ANSWER COUNT 2
ENTRY_BEGIN
MATCH rcode
REPLY NXDOMAIN
ENTRY_END
STEP 22 NOTHING
SCENARIO_END
";

#[test]
fn a_wrong_scenario_fails_and_says_where_and_why() {
    assert_eq!(play("good.rpl", GOOD), Ok(()));
    let last = |text: &'static str| (text, GOOD.rfind(text).unwrap());
    let first = |text: &'static str| (text, GOOD.find(text).unwrap());
    let cases = [
        // What goes out is not as written.
        (
            last("10.0.1.1"),
            "10.0.1.9",
            ":39: STEP 14 CHECK_ANSWER, 1.500 s from the start: \
         answer: expected `a.test. 60 IN A 10.0.1.9`, got `a.test. 60 IN A 10.0.1.1`",
        ),
        (
            last("60 A"),
            "61 A",
            "answer: expected `a.test. 61 IN A 10.0.1.1`, got `a.test. 60",
        ),
        (
            last("RA NOERROR\nEDNS 1232"),
            "RA SERVFAIL\nEDNS 512\nEDE 22",
            "rcode: expected SERVFAIL, \
         got NOERROR; edns: expected 512, got 1232; ede: expected 22, got none",
        ),
        (last("EDNS 1232\n"), "", "edns: expected none, got 1232"),
        (
            last("QR RD RA NOERROR"),
            "QR AA RD RA NOERROR",
            "flags: expected QR AA RD RA, got QR RD RA",
        ),
        (
            first("ADDRESS 10.0.0.2\nENTRY_BEGIN\nMATCH all"),
            "ADDRESS 10.0.0.9\nENTRY_BEGIN\nMATCH all",
            ":21: STEP 11 CHECK_OUT_QUERY, 0.000 s from the start: nameserver: expected 10.0.0.9:53, got",
        ),
        (
            first("REPLY RD\nEDNS 1232\nSECTION QUESTION\na.test. A"),
            "REPLY RD CD DO\nEDNS 1232\n\
         SECTION QUESTION\na.test. AAAA",
            "qtype: expected AAAA, got A; flags: expected RD CD, got RD",
        ),
        (first("1.5"), "1.4", "expected to wait 1.4 s, waited 1.5 s"),
        (
            first("REPLY ADDRESS 10.0.0.3:5353"),
            "REPLY ADDRESS 10.0.0.2",
            "no question without a result",
        ),
        (
            first("MATCH question\nREPLY QR RD RA NOERROR\nSECTION QUESTION\na.test. A"),
            "MATCH question\nREPLY QR\nSECTION QUESTION\nb.test. A",
            "qname: expected b.test., got a.test.",
        ),
        (
            first("CHECK_ANSWER COUNT 2"),
            "CHECK_ANSWER COUNT 3",
            ":55: STEP 21 CHECK_ANSWER, 1.500 s from \
         the start: expected a reply to a client, got none",
        ),
        (
            first("CHECK_ANSWER COUNT 2"),
            "CHECK_ANSWER",
            "a client got `n2.test. A NXDOMAIN`, which no step checks",
        ),
        (
            first("RANGE_BEGIN 20"),
            "RANGE_BEGIN 21",
            "expected a reply",
        ),
        (
            first("STEP 12 TIMEOUT ELAPSE 1.5"),
            "STEP 12 NOTHING",
            "no question",
        ),
        (
            first("STEP 22 NOTHING"),
            "STEP 22 QUERY\nENTRY_BEGIN\nSECTION QUESTION\nx.example. A\nENTRY_END",
            "`x.example. A` went to 10.0.0.3:5353, which no step checks",
        ),
        (
            first("STEP 22 NOTHING"),
            "STEP 22 NAMESERVERS\nSTEP 23 QUERY\nENTRY_BEGIN\nSECTION QUESTION\n\
         x.example. A\nENTRY_END",
            ":66: SCENARIO_END, 1.500 s from the start: query 4 has no reply",
        ),
        // What is written would not be looked at.
        (
            first("REPLY RD\n"),
            "MATCH qname\nREPLY RD\n",
            ":21: MATCH says only TCP or UDP in the entry of QUERY",
        ),
        (
            last("MATCH rcode\n"),
            "",
            ":58: MATCH is missing in the entry of CHECK_ANSWER",
        ),
        (
            last("MATCH rcode\n"),
            "MATCH TCP rcode\n",
            "neither TCP nor UDP are in the entry of CHECK_ANSWER",
        ),
        (
            last("MATCH rcode\n"),
            "MATCH qname\n",
            "`rcode` is written, and not in MATCH,",
        ),
        (
            last("MATCH rcode\n"),
            "MATCH rcode edns\nEDE 3\n",
            "`ede` is written, and not in MATCH,",
        ),
        (
            last("MATCH rcode\n"),
            "MATCH rcode\nADJUST copy_query\n",
            "nothing is adjusted",
        ),
        (
            first("COUNT 2"),
            "COUNT 0",
            ":49: expected a number above 0, not `0`",
        ),
        // What is written is not understood.
        (
            first("nameservers:"),
            "nameserver:",
            ":1: `nameserver:` is no option",
        ),
        (
            first("CONFIG_END"),
            "upstream-pps: many\nCONFIG_END",
            ":2: expected packets a second, not `many`",
        ),
        (
            first("CONFIG_END"),
            "cache-size: 10 MiB\nCONFIG_END",
            ":2: `MiB` is not understood here",
        ),
        (
            first("CONFIG_END"),
            "route: . 10.0.0.2\nCONFIG_END",
            "would take every name",
        ),
        (
            first("10.0.0.3:5353"),
            "10.0.0",
            ":1: expected an address, not `10.0.0`",
        ),
        (
            first("SCENARIO_BEGIN"),
            "SCENARIO",
            ":3: expected SCENARIO_BEGIN and a title",
        ),
        (
            first("STEP 22 NOTHING"),
            "STEP 22 TRAFFIC",
            ":60: `TRAFFIC` is no step",
        ),
        (
            first("STEP 22 NOTHING"),
            "STEP 22 NOTHING more",
            ":60: `more` is not understood here",
        ),
        (
            first("STEP 22 NOTHING"),
            "STEP 21 NOTHING",
            ":60: the numbers of steps must grow",
        ),
        (
            first("STEP 22 NOTHING"),
            "STEP 22 TIME_PASSES 5",
            ":60: expected ELAPSE and seconds",
        ),
        (
            first("STEP 22 NOTHING"),
            "STEP 22 ERROR",
            ":60: expected LINK, LOST, UNREACHABLE or CLOSED",
        ),
        (
            first("STEP 22 NOTHING"),
            "NOTHING",
            ":60: expected RANGE_BEGIN, STEP or SCENARIO_END",
        ),
        (
            first("SCENARIO_END"),
            "",
            ":61: the file ends here, without SCENARIO_END",
        ),
        (
            first("MATCH subdomain"),
            "MATCH serial",
            ":7: `serial` is not understood here",
        ),
        (
            first("ADJUST copy_query"),
            "ADJUST copy_id",
            ":9: `ADJUST copy_id` is not understood",
        ),
        (
            first("REPLY RD\n"),
            "REPLY RD XX\n",
            ":16: `XX` is not understood here",
        ),
        (
            first("SECTION ANSWER"),
            "SECTION ANSWERS",
            ":36: `ANSWERS` is not understood here",
        ),
        (
            first("a.test. 60 A 10.0.1.1"),
            "a.test 60 A 10.0.1.1",
            ":37: `a.test`: names end with a dot",
        ),
        (
            first("a.test. 60 A 10.0.1.1"),
            "a.test. 60 A 10.0.1",
            ":37: `10.0.1`",
        ),
        (
            first("a.test. 60 A 10.0.1.1"),
            "a.test. 60 AA 10.0.1.1",
            ":37: `AA` is no type",
        ),
        (
            first("a.test. 60 A 10.0.1.1"),
            "a.test. TYPE9 \\# 2 0a",
            ":37: the rdata has 1 bytes",
        ),
    ];
    let mut others = Vec::new();
    for ((from, at), to, said) in cases {
        let text = [&GOOD[..at], to, &GOOD[at + from.len()..]].concat();
        let error = play("wrong.rpl", &text).expect_err(to);
        if !error.contains(said) {
            others.push(format!("for `{to}`:\n{error}\nis not\n{said}"));
        }
    }
    assert!(others.is_empty(), "{}", others.join("\n"));
}
