//! Records of types without a text form of their own: `TYPE65280 \# 4 DEADBEEF` (RFC 3597 §5).
//!
//! hickory-proto's master file parser refuses them. So such an entry is rewritten, before parsing, as a TXT record
//! that carries type and data, and put right afterwards: owner, TTL and class stay the parser's business. An entry
//! must stand on one line.

use std::borrow::Cow;

use hickory_proto::rr::rdata::NULL;
use hickory_proto::rr::{RData, Record, RecordType};

/// First string of a TXT record that stands for a record of another type. No one writes this by chance.
const MARK: &str = "\u{1}rfc3597";

/// Hex digits in one string of the stand-in; a string of TXT is at most 255 bytes (RFC 1035 §3.3.14).
const HEX_IN_ONE_STRING: usize = 250;

/// `text` with each RFC 3597 entry as a stand-in that the parser takes.
pub(crate) fn disguise(text: &str) -> Result<String, Rfc3597Error> {
    let mut out = String::with_capacity(text.len());
    for (line, number) in text.lines().zip(1..) {
        out.push_str(&disguise_line(line).map_err(|why| Rfc3597Error { line: number, why })?);
        out.push('\n');
    }
    Ok(out)
}

/// `record` as it was meant: a stand-in becomes the record it stands for, another stays as it is.
pub(crate) fn reveal(record: &Record) -> Record {
    let RData::TXT(txt) = &record.data else {
        return record.clone();
    };
    let mut strings = txt
        .txt_data
        .iter()
        .map(|string| String::from_utf8_lossy(string));
    if strings.next().as_deref() != Some(MARK) {
        return record.clone();
    }
    let code = strings
        .next()
        .and_then(|code| code.parse::<u16>().ok())
        .unwrap_or_default();
    let hex: String = strings.collect();
    let rdata = match bytes(&hex) {
        Some(bytes) if !bytes.is_empty() => NULL::with(bytes),
        _ => NULL::new(),
    };
    let code = RecordType::from(code);
    let mut revealed = Record::from_rdata(
        record.name.clone(),
        record.ttl,
        RData::Unknown { code, rdata },
    );
    revealed.dns_class = record.dns_class;
    revealed
}

fn disguise_line(line: &str) -> Result<Cow<'_, str>, &'static str> {
    let Some((head, data)) = line.split_once("\\#") else {
        return Ok(Cow::Borrowed(line));
    };
    // An owner of "\#" or a quoted one is text, not data.
    let head = head.trim_end();
    let Some(at) = head.rfind(|c: char| c.is_ascii_whitespace()) else {
        return Ok(Cow::Borrowed(line));
    };
    let (before, name) = head.split_at(at + 1);
    if head.contains([';', '"']) {
        return Ok(Cow::Borrowed(line));
    }
    let code = type_code(name).ok_or("before \\# stands no type such as TYPE65280")?;

    let data = data.split(';').next().unwrap_or_default();
    let mut words = data.split_whitespace();
    let length: usize = words
        .next()
        .and_then(|length| length.parse().ok())
        .ok_or("after \\# the length of the data in bytes is missing")?;
    let hex: String = words.collect();
    let found = bytes(&hex).ok_or("the data is not made of pairs of hex digits (on this line)")?;
    if found.len() != length {
        return Err("the data is not as long as \\# says");
    }
    let mut out = format!("{before}TXT \"{MARK}\" \"{code}\"");
    for piece in hex.as_bytes().chunks(HEX_IN_ONE_STRING) {
        out.push_str(&format!(" \"{}\"", String::from_utf8_lossy(piece)));
    }
    Ok(Cow::Owned(out))
}

fn type_code(name: &str) -> Option<u16> {
    let upper = name.to_ascii_uppercase();
    match upper.strip_prefix("TYPE") {
        Some(code) => code.parse().ok(),
        None => upper.parse::<RecordType>().ok().map(u16::from),
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = hex.chars().map(|digit| digit.to_digit(16)).collect();
    digits?
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(high * 16 + low).ok(),
            _ => None,
        })
        .collect()
}

/// An RFC 3597 entry that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {why}")]
pub(crate) struct Rfc3597Error {
    line: usize,
    why: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_names_its_line() {
        for (entry, why) in [
            ("a 60 IN TYPE65280 \\# 3 DEADBEEF", "not as long"),
            ("a 60 IN TYPE65280 \\# 2 DEADBE", "not as long"),
            ("a 60 IN TYPE65280 \\# 2 DEADX", "hex"),
            ("a 60 IN TYPE65280 \\#", "length"),
            ("a 60 IN BOGUS \\# 1 00", "TYPE65280"),
        ] {
            let error = disguise(&format!("; first\n{entry}\n"))
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with("line 2: ") && error.contains(why),
                "{entry}: {error}"
            );
        }
    }

    #[test]
    fn text_that_only_looks_like_data_is_left_alone() {
        for line in [
            "a 60 IN TXT \"x \\# y\"",
            "; TYPE1 \\# 4 00",
            "\\# 60 IN A 192.0.2.1",
        ] {
            assert_eq!(disguise(line).unwrap(), format!("{line}\n"));
        }
    }
}
