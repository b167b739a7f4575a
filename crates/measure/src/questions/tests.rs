use std::io::Write as _;

use wire::{Query, suffixes};

use super::*;

fn file(text: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text).unwrap();
    file
}

fn filled(questions: &Questions, number: u64) -> Lookup {
    let mut lookup = Lookup::default();
    questions.fill(number, &mut lookup);
    lookup
}

#[test]
fn a_lookup_is_a_whole_query_for_the_name_in_turn() {
    let mut questions = Questions::new(false);
    questions
        .add("One.Example.", &[Rtype::A, Rtype::AAAA])
        .unwrap();
    questions.add("two.example", &[Rtype::A]).unwrap();
    for (number, name, rtype) in [
        (0, &b"\x03one\x07example\0"[..], 1),
        (1, b"\x03one\x07example\0", 28),
        (2, b"\x03two\x07example\0", 1),
        (3, b"\x03one\x07example\0", 1),
    ] {
        let lookup = filled(&questions, number);
        let query = Query::parse(&lookup.packet).unwrap();
        assert_eq!((query.question.name, query.question.qtype), (name, rtype));
        assert_eq!(query.edns.unwrap().udp_size, UDP_SIZE);
        assert!(query.flags.has(Flags::RD));
        assert_eq!(lookup.question_end, HEADER + name.len() + 4);
    }
    assert_eq!(
        filled(&questions, 0).host,
        "One.Example.",
        "as it was given"
    );
}

#[test]
fn a_cold_name_is_another_each_time() {
    let mut questions = Questions::new(true);
    questions.add("*.s3.example", &[Rtype::A]).unwrap();
    let lookups = [0, 1].map(|number| filled(&questions, number));
    assert_ne!(lookups[0].host, lookups[1].host);
    for lookup in &lookups {
        let query = Query::parse(&lookup.packet).unwrap();
        let name: Name = lookup.host.parse().unwrap();
        assert_eq!(
            query.question.name,
            name.as_bytes(),
            "getaddrinfo asks for the same"
        );
        let parent = suffixes(query.question.name).nth(1);
        assert_eq!(parent, Some(&b"\x02s3\x07example\0"[..]));
        assert_eq!(query.question.name[0] as usize + 1, FRESH_LABEL);
    }
    assert_eq!(questions.shown().next().unwrap().0, "*.s3.example");
}

#[test]
fn names_that_are_cold_and_warm_do_not_mix() {
    let add = |cold, name| Questions::new(cold).add(name, &[Rtype::A]);
    let error = add(true, "s3.example").unwrap_err().to_string();
    assert!(error.contains("*.DOMAIN"), "{error}");
    let error = add(false, "*.s3.example").unwrap_err().to_string();
    assert!(error.contains("--cold"), "{error}");
    let long = ["a"; 118].join(".");
    assert!(add(false, &long).is_ok());
    assert!(
        add(true, &format!("*.{long}")).is_err(),
        "no room for the label"
    );
}

#[test]
fn a_file_has_names_types_and_comments() {
    let file = file(b"# names\none.example\r\n\n  two.example  TXT # why\nthree.example\n");
    let mut questions = Questions::new(false);
    questions
        .add_file(file.path(), &[Rtype::A, Rtype::AAAA])
        .unwrap();
    let shown: Vec<String> = questions
        .shown()
        .map(|(name, rtype)| format!("{name} {rtype}"))
        .collect();
    assert_eq!(
        shown,
        [
            "one.example A",
            "one.example AAAA",
            "two.example TXT",
            "three.example A",
            "three.example AAAA"
        ]
    );
}

#[test]
fn hostile_lines_are_told_with_their_number_and_harmlessly() {
    for (text, tells) in [
        (&b"ok.example\n<script>alert(1)</script>\n"[..], "line 2: "),
        (b"\x1b[2Jx.example", "\\u{1b}[2Jx.example"),
        (b"a b c", "is not NAME or NAME TYPE"),
        (b"a.example NOTYPE", "is not NAME or NAME TYPE"),
        (b"\xff\xfe\n", "is no name"),
        (b"a..b", "is no name"),
        (b"x\0y", "is no name"),
        (&[b'a'; 70_000], "more than 63 characters"),
    ] {
        let file = file(text);
        let mut questions = Questions::new(false);
        let error = questions.add_file(file.path(), &[Rtype::A]).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(tells), "{error}");
        assert!(
            !error.contains(['\x1b', '\0']) && error.len() < 300,
            "{error}"
        );
    }
}

#[test]
fn what_is_too_much_is_refused() {
    let many = file("a.example\n".repeat(MAX_NAMES + 1).as_bytes());
    let mut questions = Questions::new(false);
    let error = questions.add_file(many.path(), &[Rtype::A]).unwrap_err();
    assert!(error.to_string().contains("more than 100000"), "{error}");
    let large = file(&vec![b'\n'; usize::try_from(MAX_FILE).unwrap() + 1]);
    let error = questions.add_file(large.path(), &[Rtype::A]).unwrap_err();
    assert!(error.to_string().contains("larger than 8 MiB"), "{error}");
    let error = questions.add_file(Path::new("/no/such"), &[Rtype::A]);
    assert!(error.unwrap_err().to_string().contains("cannot be read"));
}
