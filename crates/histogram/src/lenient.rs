//! Counts that come from another version, or from somebody hostile.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};

use crate::BUCKETS;

/// As many counts as there are buckets: those beyond are skipped, and missing ones nothing.
pub(crate) fn counts<'de, D: Deserializer<'de>>(source: D) -> Result<[u64; BUCKETS], D::Error> {
    source.deserialize_seq(Counts)
}

struct Counts;

impl<'de> Visitor<'de> for Counts {
    type Value = [u64; BUCKETS];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("counts, one for each bucket")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut read: A) -> Result<Self::Value, A::Error> {
        let mut counts = [0; BUCKETS];
        for count in &mut counts {
            match read.next_element()? {
                Some(read) => *count = read,
                None => return Ok(counts),
            }
        }
        while read.next_element::<IgnoredAny>()?.is_some() {}
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::Histogram;

    fn read(text: &str) -> Option<Histogram> {
        serde_json::from_str(text).ok()
    }

    #[test]
    fn it_comes_back_as_it_went() {
        let mut histogram = Histogram::default();
        histogram.record(Duration::from_millis(3));
        histogram.record(Duration::MAX);
        let text = serde_json::to_string(&histogram).unwrap();
        assert_eq!(read(&text), Some(histogram));
    }

    #[test]
    fn more_and_fewer_buckets_and_sums_beyond_all_bounds_are_no_trouble() {
        assert_eq!(read("{}"), Some(Histogram::default()));
        assert_eq!(read(r#"{"counts":[2,1]}"#).unwrap().count(), 3);
        let many = format!(r#"{{"counts":[{}1]}}"#, "1,".repeat(100_000));
        assert_eq!(read(&many).unwrap().count(), 17);
        let huge = format!(r#"{{"counts":[{0},{0}],"sum_us":{0}}}"#, u64::MAX);
        let mut huge = read(&huge).unwrap();
        huge.record(Duration::MAX);
        assert_eq!(huge.count(), u64::MAX);
        assert!(huge.buckets().all(|(_, count)| count == u64::MAX));
        assert_eq!(read(r#"{"counts":[-1]}"#), None);
        assert_eq!(read(r#"{"counts":7}"#), None);
    }
}
