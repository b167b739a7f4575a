//! The names of services with gateway endpoints, S3 and DynamoDB: these keep their public addresses
//! where an endpoint takes the traffic, by the route table (AWS PrivateLink Guide, "Gateway
//! endpoints"), so that a public address is no leak.
//!
//! Which names those are is in the AWS General Reference ("Amazon S3 endpoints and quotas", "Amazon
//! DynamoDB endpoints and quotas") and in the Amazon S3 User Guide on directory buckets. Names that
//! no gateway endpoint serves are not among them: DynamoDB Streams, S3's websites, Transfer
//! Acceleration and Outposts, and the names of interface endpoints under `vpce.amazonaws.com`.

use wire::{Name, suffixes};

/// Under which AWS's partitions have their services: of IPv4, then dual-stack.
const DOMAINS: [&[u8]; 6] = [
    b"\x09amazonaws\x03com\0",
    b"\x03api\x03aws\0",
    b"\x09amazonaws\x03com\x02cn\0",
    b"\x03api\x11amazonwebservices\x03com\x02cn\0",
    b"\x09amazonaws\x02eu\0",
    b"\x03api\x11amazonwebservices\x02eu\0",
];

/// Services as in `SERVICE.REGION.amazonaws.com` and `SERVICE.dualstack.REGION.amazonaws.com`, buckets and
/// access points under them.
const S3: [&[u8]; 6] = [
    b"s3",
    b"s3-fips",
    b"s3-accesspoint",
    b"s3-accesspoint-fips",
    b"s3-control",
    b"s3-control-fips",
];

/// How the zones' endpoints of directory buckets begin: `s3express-use1-az4`.
const S3_EXPRESS: &[u8] = b"s3express-";

/// Of DynamoDB, by themselves: `streams.` before them is another service.
const DYNAMODB: [&[u8]; 2] = [b"dynamodb", b"dynamodb-fips"];

/// Of DynamoDB, an account's number before it.
const DYNAMODB_OF_ACCOUNTS: &[u8] = b"ddb";

/// Of S3, without a region's domain: `s3.amazonaws.com`, `s3-us-west-2.amazonaws.com`.
const S3_LEGACY: [&[u8]; 2] = [b"s3", b"s3-external-1"];

/// What such an old name has before its region.
const S3_LEGACY_PREFIXES: [&[u8]; 2] = [b"s3-", b"s3-fips-"];

/// The service of such a name: the part of it from the service's label on.
pub(super) fn service(name: &Name) -> Option<&[u8]> {
    let whole = name.as_bytes();
    suffixes(whole).find(|suffix| is_service(suffix, whole))
}

fn is_service(suffix: &[u8], whole: &[u8]) -> bool {
    let Some((service, rest)) = split(suffix) else {
        return false;
    };
    if DOMAINS.contains(&rest) {
        let has_region = |prefix: &&[u8]| service.strip_prefix(*prefix).is_some_and(is_region);
        return S3_LEGACY.contains(&service) || S3_LEGACY_PREFIXES.iter().any(has_region);
    }
    let region = match split(rest) {
        Some((b"dualstack", region)) => split(region),
        other => other,
    };
    let Some((region, domain)) = region else {
        return false;
    };
    if !is_region(region) || !DOMAINS.contains(&domain) {
        return false;
    }
    let is_whole = suffix.len() == whole.len();
    S3.contains(&service)
        || service.starts_with(S3_EXPRESS)
        || DYNAMODB.contains(&service) && is_whole
        || service == DYNAMODB_OF_ACCOUNTS && !is_whole
}

/// Whether a label is a region's: `us-east-1`, `us-gov-west-1`. The first part has two letters, which
/// tells it from `website-us-east-1`.
fn is_region(label: &[u8]) -> bool {
    let mut parts = label.split(|&byte| byte == b'-');
    let all = |part: Option<&[u8]>, is: fn(&u8) -> bool| {
        part.is_some_and(|part| !part.is_empty() && part.iter().all(is))
    };
    parts
        .next()
        .is_some_and(|part| part.len() == 2 && part.iter().all(u8::is_ascii_lowercase))
        && all(parts.next_back(), u8::is_ascii_digit)
        && all(parts.next(), u8::is_ascii_lowercase)
        && parts.all(|part| all(Some(part), u8::is_ascii_lowercase))
}

/// The first label, and the name behind it.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = name.split_first()?;
    if length == 0 {
        return None;
    }
    rest.split_at_checked(length.into())
}
