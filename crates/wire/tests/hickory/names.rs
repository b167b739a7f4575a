//! Names: bounds, compression, comparison.

use proptest::prelude::*;
use wire::{MAX_NAME, Name, NameError, Query, Reader};

use crate::generate::name;
use wire::fuzz::{cased, lower};

proptest! {
    #[test]
    fn a_name_reads_as_hickory_has_it(name in name()) {
        let bytes = cased(&name);
        let read = Name::read(&bytes, 0).unwrap();
        prop_assert_eq!(read.as_bytes(), lower(&name));
        let mut reader = Reader::new(&bytes, 0);
        reader.skip_name().unwrap();
        prop_assert!(reader.is_empty());
    }

    #[test]
    fn a_name_is_under_what_hickory_says(name in name(), other in name(), up in 0..9_usize) {
        let read = Name::read(&cased(&name), 0).unwrap();
        let ancestor = name.trim_to(usize::from(name.num_labels()).saturating_sub(up));
        for other in [&other, &ancestor] {
            prop_assert_eq!(read.is_under(&lower(other)), other.zone_of(&name));
        }
    }
}

/// Behind 12 bytes of header, so that pointers may lead there.
fn behind_header(bytes: &[u8]) -> Vec<u8> {
    [&[0; 12], bytes].concat()
}

/// A name of `length` bytes: labels of at most 63, and the root.
fn name_of(length: usize) -> Vec<u8> {
    let mut name = Vec::new();
    while name.len() + 1 < length {
        let label = (length - name.len() - 2).min(63);
        // No label is empty: the last two share what is left.
        let label = if length - name.len() - 2 == 64 {
            62
        } else {
            label
        };
        name.push(u8::try_from(label).unwrap());
        name.extend(std::iter::repeat_n(b'a', label));
    }
    name.push(0);
    name
}

fn skipped(message: &[u8], at: usize) -> Result<usize, NameError> {
    let mut reader = Reader::new(message, at);
    reader.skip_name().map(|()| reader.at())
}

#[test]
fn names_have_at_most_255_bytes() {
    for length in [1, 3, 64, 65, 66, 67, 128, 254, MAX_NAME] {
        let name = name_of(length);
        assert_eq!(name.len(), length);
        assert_eq!(Name::read(&name, 0).unwrap().as_bytes(), name);
        assert_eq!(skipped(&name, 0), Ok(length));
    }
    for length in [MAX_NAME + 1, MAX_NAME + 2, 300, 5000] {
        let name = name_of(length);
        assert_eq!(Name::read(&name, 0), Err(NameError::TooLong));
        assert_eq!(skipped(&name, 0), Err(NameError::TooLong));
    }
    let query = |name: &[u8]| {
        let header = [0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        [&header[..], name, &[0, 1, 0, 1]].concat()
    };
    assert!(Query::parse(&query(&name_of(MAX_NAME))).is_ok());
    assert!(Query::parse(&query(&name_of(MAX_NAME + 1))).is_err());
}

#[test]
fn compression_does_not_make_names_longer() {
    // 200 bytes without the root, then labels in front of a pointer to them.
    let far = name_of(201);
    for (prefix, fits) in [(54, true), (55, false)] {
        let mut message = behind_header(&far);
        let at = message.len();
        message.extend_from_slice(&name_of(prefix + 1)[..prefix]);
        message.extend_from_slice(&[0xc0, 12]);
        assert_eq!(Name::read(&message, at).is_ok(), fits);
    }
}

#[test]
fn labels_have_at_most_63_bytes() {
    let label = |length: u8| [&[length][..], &vec![b'a'; length.into()], &[0]].concat();
    assert!(Name::read(&label(63), 0).is_ok());
    for length in [64, 100, 128, 191] {
        assert_eq!(Name::read(&label(length), 0), Err(NameError::LabelType));
        assert_eq!(skipped(&label(length), 0), Err(NameError::LabelType));
    }
}

#[test]
fn a_name_cut_anywhere_is_no_name() {
    let name = b"\x03www\x07example\xc0\x0c";
    for length in 0..name.len() {
        assert_eq!(Name::read(&name[..length], 0), Err(NameError::Cut));
        assert_eq!(skipped(&name[..length], 0), Err(NameError::Cut));
    }
}

#[test]
fn pointers_lead_backwards() {
    let message = behind_header(b"\x03com\x00\x07example\xc0\x0c\x03www\xc0\x11");
    let read = |at| Name::read(&message, at).unwrap().as_bytes().to_vec();
    assert_eq!(read(12), b"\x03com\0");
    assert_eq!(read(17), b"\x07example\x03com\0");
    assert_eq!(read(27), b"\x03www\x07example\x03com\0");
}

#[test]
fn pointers_elsewhere_are_refused() {
    let refused: [(&[u8], usize, &str); 6] = [
        (b"\xc0\x0c", 12, "to itself"),
        (b"\xc0\x0e\x00", 12, "forwards"),
        (b"\xc0\x0e\xc0\x0c", 14, "a loop of two"),
        (b"\x01a\xc0\x0c", 12, "to the labels before it"),
        (b"\xc0\x04", 12, "into the header"),
        (b"\xff\xff", 12, "past the end"),
    ];
    for (bytes, at, what) in refused {
        let message = behind_header(bytes);
        assert_eq!(Name::read(&message, at), Err(NameError::Pointer), "{what}");
    }
}

#[test]
fn no_more_pointers_are_followed_than_a_name_has_labels() {
    let mut message = behind_header(&[0]);
    let mut target: u16 = 12;
    for pointers in 1..=200 {
        let at = message.len();
        message.extend_from_slice(&(0xc000 | target).to_be_bytes());
        target = u16::try_from(at).unwrap();
        assert_eq!(Name::read(&message, at).is_ok(), pointers <= 127);
    }
    // 127 labels, each behind a pointer: the longest name, compressed the most.
    let mut message = behind_header(&[0]);
    let mut target = 12;
    for _ in 0..127 {
        let at = message.len();
        message.extend_from_slice(b"\x01a");
        message.extend_from_slice(&(0xc000 | u16::try_from(target).unwrap()).to_be_bytes());
        target = at;
    }
    assert_eq!(Name::read(&message, target).unwrap().as_bytes().len(), 255);
}

#[test]
fn case_is_no_difference_and_labels_are() {
    let read = |bytes: &[u8]| Name::read(bytes, 0).unwrap();
    assert_eq!(read(b"\x03WwW\x03cOm\0"), read(b"\x03www\x03com\0"));
    // Only ASCII letters have case (RFC 4343).
    assert_ne!(read(b"\x02\xc3\x84\0"), read(b"\x02\xc3\xa4\0"));
    assert_ne!(read(b"\x07www.com\0"), read(b"\x03www\x03com\0"));
    assert!(!read(b"\x05axcom\0").is_under(b"\x03com\0"));
    assert!(read(b"\x01a\x03com\0").is_under(Name::ROOT.as_bytes()));
}
