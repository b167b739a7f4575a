//! What is answered here and never goes upstream.
//!
//! Of the special names (RFC 6761) only `localhost` and `invalid`: `.local`, `.internal`, `.test`
//! and the private reverse zones go upstream, since private hosted zones live there. ANY is answered
//! with the HINFO of RFC 8482. Types that no zone holds, and classes other than IN, are refused.

use wire::{CLASS_IN, Question, rcode, rtype};

use crate::failure::Failure;

/// A verdict on a question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// For the cache and upstream.
    Forward,
    /// ANY: HINFO, unless the name is known not to exist.
    Any,
    /// Answered with at most one record of the question's name, else with an SOA.
    Local { rcode: u8, record: Option<Vec<u8>> },
    /// REFUSED.
    Refuse(Failure),
}

/// TTL of what is answered here, in seconds.
const LOCAL_TTL: u32 = 3600;

/// `localhost.` on the wire.
const LOCALHOST: &[u8] = b"\x09localhost\0";

/// `invalid.` on the wire.
const INVALID: &[u8] = b"\x07invalid\0";

/// `1.0.0.127.in-addr.arpa.`: hosts files know it, and so should the stub (RFC 6303).
const LOOPBACK_V4: &[u8] = b"\x011\x010\x010\x03127\x07in-addr\x04arpa\0";

/// `::1` in ip6.arpa.
const LOOPBACK_V6: &[u8] = b"\x011\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\
\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\
\x03ip6\x04arpa\0";

/// Judges a question. Costs a comparison of the name's end for all that is forwarded.
pub(crate) fn judge(question: &Question<'_>) -> Verdict {
    if question.qclass != CLASS_IN {
        return Verdict::Refuse(Failure::Class);
    }
    let is_meta = (rtype::FIRST_QTYPE..rtype::ANY).contains(&question.qtype);
    if is_meta || question.qtype == rtype::OPT || question.qtype == 0 {
        return Verdict::Refuse(Failure::QueryType);
    }
    if ends_with(question.name, INVALID) {
        return Verdict::Local {
            rcode: rcode::NXDOMAIN,
            record: None,
        };
    }
    if question.qtype == rtype::ANY {
        return Verdict::Any;
    }
    if ends_with(question.name, LOCALHOST) {
        let rdata: Option<&[u8]> = match question.qtype {
            rtype::A => Some(&[127, 0, 0, 1]),
            rtype::AAAA => Some(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            _ => None,
        };
        return Verdict::Local {
            rcode: rcode::NOERROR,
            record: rdata.map(|rdata| record(question, question.qtype, rdata)),
        };
    }
    let is = |name: &[u8]| question.name.eq_ignore_ascii_case(name);
    if question.qtype == rtype::PTR && (is(LOOPBACK_V4) || is(LOOPBACK_V6)) {
        return Verdict::Local {
            rcode: rcode::NOERROR,
            record: Some(record(question, rtype::PTR, LOCALHOST)),
        };
    }
    Verdict::Forward
}

/// The answer to ANY (RFC 8482 section 4.2).
pub(crate) fn hinfo(question: &Question<'_>) -> Vec<u8> {
    record(question, rtype::HINFO, b"\x07RFC8482\0")
}

/// The SOA under a negative answer of our own: musl and others take NODATA without one for a broken
/// server.
pub(crate) fn soa(question: &Question<'_>) -> Vec<u8> {
    let mut rdata = Vec::with_capacity(64);
    rdata.extend_from_slice(LOCALHOST);
    rdata.extend_from_slice(b"\x06nobody\x07invalid\0");
    for number in [1, LOCAL_TTL, 1200, 604_800, LOCAL_TTL] {
        rdata.extend_from_slice(&number.to_be_bytes());
    }
    let zone = Question {
        name: last_label(question.name),
        ..*question
    };
    record(&zone, rtype::SOA, &rdata)
}

fn record(question: &Question<'_>, rtype: u16, rdata: &[u8]) -> Vec<u8> {
    let mut record = question.name.to_vec();
    record.extend_from_slice(&rtype.to_be_bytes());
    record.extend_from_slice(&CLASS_IN.to_be_bytes());
    record.extend_from_slice(&LOCAL_TTL.to_be_bytes());
    record.extend_from_slice(&u16::try_from(rdata.len()).unwrap_or(0).to_be_bytes());
    record.extend_from_slice(rdata);
    record
}

/// Whether the name is `suffix`, one label and the root, or below it.
fn ends_with(name: &[u8], suffix: &[u8]) -> bool {
    name.len()
        .checked_sub(suffix.len())
        .and_then(|at| name.get(at..))
        .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
        && last_label(name).len() == suffix.len()
}

/// The name's last label and the root.
fn last_label(name: &[u8]) -> &[u8] {
    let mut rest = name;
    loop {
        let label = rest.first().map_or(0, |&length| usize::from(length) + 1);
        match rest.get(label..) {
            Some(next) if next.len() > 1 => rest = next,
            _ => return rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge_name(name: &[u8], qtype: u16) -> Verdict {
        judge(&Question {
            name,
            qtype,
            qclass: CLASS_IN,
        })
    }

    #[test]
    fn a_name_is_special_by_its_last_label_only() {
        let forwarded: [&[u8]; 6] = [
            b"\x03aws\0",
            b"\x0cnotlocalhost\0",
            b"\x09localhost\x03com\0",
            b"\x05local\0",
            b"\x04test\0",
            b"\0",
        ];
        for name in forwarded {
            assert_eq!(judge_name(name, rtype::A), Verdict::Forward, "{name:?}");
        }
        // A label's length byte is not a label's character: 0x09 within a label is no `localhost`.
        assert_eq!(
            judge_name(b"\x0bx\x09localhost\0", rtype::A),
            Verdict::Forward
        );
        assert!(matches!(
            judge_name(b"\x01a\x09LocalHost\0", rtype::A),
            Verdict::Local {
                rcode: 0,
                record: Some(_)
            }
        ));
        assert!(matches!(
            judge_name(b"\x01a\x07invalid\0", rtype::A),
            Verdict::Local {
                rcode: 3,
                record: None
            }
        ));
    }

    #[test]
    fn loopback_addresses_have_a_name() {
        for name in [LOOPBACK_V4, LOOPBACK_V6] {
            assert!(matches!(
                judge_name(name, rtype::PTR),
                Verdict::Local {
                    rcode: 0,
                    record: Some(_)
                }
            ));
        }
        assert_eq!(LOOPBACK_V6.len(), 32 * 2 + 4 + 5 + 1);
    }

    #[test]
    fn types_that_no_zone_holds_are_refused() {
        for qtype in [0, 41, 128, 249, 250, 251, 252, 254] {
            assert_eq!(
                judge_name(b"\x01a\0", qtype),
                Verdict::Refuse(Failure::QueryType)
            );
        }
        assert_eq!(judge_name(b"\x01a\0", 65280), Verdict::Forward);
        assert_eq!(judge_name(b"\x01a\0", 256), Verdict::Forward);
    }
}
