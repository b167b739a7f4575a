use hickory_proto::op::{Message, ResponseCode};

use super::*;
use crate::questions::Questions;

fn answered(asked: &Asked) -> (Message, usize) {
    let questions = Questions::new([asked.clone()]).unwrap();
    let query = questions.at(0);
    let mut out = [0; 4096];
    let length = answer(query.packet, &mut out).unwrap();
    assert!(query.is_answered_by(&out[..length]), "{asked:?}");
    (Message::from_vec(&out[..length]).unwrap(), length)
}

#[test]
fn each_kind_is_answered_as_its_name_says() {
    let kinds = [
        (Kind::Host, 1),
        (Kind::Fresh, 1),
        (Kind::Secure, 1),
        (Kind::Twenty, 20),
        (Kind::Large, 1),
        (Kind::Alias, 3),
        (Kind::Absent, 0),
    ];
    for (kind, records) in kinds {
        let (message, length) = answered(&kind.asked(7));
        assert_eq!(message.answers.len(), records, "{kind:?}");
        let absent = message.metadata.response_code == ResponseCode::NXDomain;
        assert_eq!(absent, kind == Kind::Absent, "{kind:?}");
        assert_eq!(message.authorities.len(), usize::from(absent), "{kind:?}");
        if kind == Kind::Large {
            assert_eq!(length, 1200);
        }
    }
}

#[test]
fn the_case_of_a_name_says_nothing() {
    let mut asked = Kind::Host.asked(7);
    asked.name = asked.name.replace("svc.example", "sVc.eXample");
    assert_eq!(answered(&asked).0.answers.len(), 1);
}

#[test]
fn a_chain_leads_from_name_to_name() {
    let (message, _) = answered(&Kind::Alias.asked(7));
    let targets: Vec<String> = message
        .answers
        .iter()
        .map(|record| record.name.to_ascii())
        .collect();
    assert_eq!(
        targets,
        [
            "c0000007.svc.example.com.",
            "x0000007.svc.example.com.",
            "y0000007.svc.example.com."
        ]
    );
    // A server that follows the chain by itself finds its end.
    for (first, records) in [("x", 2), ("y", 1)] {
        let mut asked = Kind::Alias.asked(7);
        asked.name.replace_range(..1, first);
        assert_eq!(answered(&asked).0.answers.len(), records);
    }
}
