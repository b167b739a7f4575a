//! Names of AWS, and what they tell (AWS PrivateLink Guide, "Access AWS services through interface
//! endpoints"; S3 User Guide, "Methods for accessing a bucket").
//!
//! ```text
//! ec2.us-east-1.amazonaws.com                                    a service; with private DNS, its interface endpoint
//! vpce-0123-abcd.ec2.us-east-1.vpce.amazonaws.com                an endpoint's regional name
//! vpce-0123-abcd-us-east-1a.ec2.us-east-1.vpce.amazonaws.com     its name in one zone
//! vpce-0123-abcd.vpce-svc-0fed.us-east-1.vpce.amazonaws.com      the endpoint of an endpoint service
//! ```

/// Services that a KV server uses, and those that most programs on AWS do: what is checked where no name
/// is given. S3 and DynamoDB may have gateway endpoints, the others have interface endpoints.
const SERVICES: [&str; 15] = [
    "s3",
    "dynamodb",
    "ec2",
    "ssm",
    "ssmmessages",
    "ec2messages",
    "sqs",
    "sns",
    "logs",
    "autoscaling",
    "xray",
    "aps-workspaces",
    "kms",
    "sts",
    "api.ecr",
];

/// Services with gateway endpoints (AWS PrivateLink Guide, "Gateway endpoints"): the labels by which their
/// names are known. Some of S3's begin so: `s3-accesspoint`, `s3express-use1-az4`.
const GATEWAY_LABELS: [&str; 3] = ["s3", "dynamodb", "ddb"];

/// The most zones that a region has had: a to f.
const ZONE_LETTERS: std::ops::RangeInclusive<char> = 'a'..='f';

/// What is to be known of a name by its labels alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An endpoint's own name.
    Endpoint {
        /// Of an endpoint service, which is not AWS's own.
        is_service: bool,
        /// The one zone that it stands for.
        zone: Option<String>,
    },
    /// A name of S3 or DynamoDB, whose gateway endpoints leave their public addresses as they are.
    Gateway,
    /// A name of another service of AWS.
    Service,
    /// None of AWS's.
    Other,
}

/// The regional endpoints that are checked where no name is given.
#[must_use]
pub fn usual(region: &str) -> Vec<String> {
    let domain = match region.starts_with("cn-") {
        true => "amazonaws.com.cn",
        false => "amazonaws.com",
    };
    SERVICES
        .iter()
        .map(|service| format!("{service}.{region}.{domain}"))
        .collect()
}

impl Kind {
    /// Reads a name as DNS writes it, with or without the final dot.
    pub(crate) fn of(name: &str) -> Self {
        let name = plain(name);
        if let Some(endpoint) = Endpoint::of(&name) {
            return Self::Endpoint {
                is_service: endpoint.service.starts_with("vpce-svc-"),
                zone: endpoint.zone().map(str::to_owned),
            };
        }
        let Some(labels) = aws_labels(&name) else {
            return Self::Other;
        };
        let is_gateway = labels.split('.').any(|label| {
            GATEWAY_LABELS.contains(&label)
                || ["s3-", "s3express-"]
                    .iter()
                    .any(|prefix| label.starts_with(prefix))
        });
        match is_gateway {
            true => Self::Gateway,
            false => Self::Service,
        }
    }
}

/// The names that an endpoint has in each zone, where `name` is its regional one.
pub(crate) fn zonal(name: &str) -> Vec<(String, String)> {
    let name = plain(name);
    let Some(endpoint) = Endpoint::of(&name) else {
        return Vec::new();
    };
    if endpoint.zone().is_some() {
        return Vec::new();
    }
    let Endpoint {
        id,
        service,
        region,
    } = endpoint;
    ZONE_LETTERS
        .map(|letter| {
            let zone = format!("{region}{letter}");
            let name = format!("{id}-{zone}.{service}.{region}.vpce.amazonaws.com");
            (name, zone)
        })
        .collect()
}

/// An endpoint's own name, taken apart.
struct Endpoint<'a> {
    /// `vpce-0123-abcd`, in a zone `vpce-0123-abcd-us-east-1a`.
    id: &'a str,
    /// `ec2`, or `vpce-svc-0fed`.
    service: &'a str,
    region: &'a str,
}

impl<'a> Endpoint<'a> {
    fn of(name: &'a str) -> Option<Self> {
        let labels = name
            .strip_suffix(".vpce.amazonaws.com")
            .or_else(|| name.strip_suffix(".vpce.amazonaws.com.cn"))?;
        let (rest, region) = labels.rsplit_once('.')?;
        // S3's have `bucket.` and the like before the id, ECR's service has a dot.
        let start = match rest.starts_with("vpce-") {
            true => 0,
            false => rest.find(".vpce-")? + 1,
        };
        let (id, service) = rest.get(start..)?.split_once('.')?;
        Some(Self {
            id,
            service,
            region,
        })
    }

    /// `us-east-1a`, if the name is one zone's.
    fn zone(&self) -> Option<&'a str> {
        let at = self.id.len().checked_sub(self.region.len() + 1)?;
        let zone = self.id.get(at..)?;
        let (region, letter) = zone.split_at_checked(self.region.len())?;
        let is_zone = region == self.region
            && letter.bytes().all(|byte| byte.is_ascii_lowercase())
            && self.id.get(..at)?.ends_with('-');
        is_zone.then_some(zone)
    }
}

/// What stands before AWS's own domain.
fn aws_labels(name: &str) -> Option<&str> {
    [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"]
        .into_iter()
        .find_map(|domain| name.strip_suffix(domain))
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_what_it_is() {
        let endpoint = |is_service, zone: Option<&str>| Kind::Endpoint {
            is_service,
            zone: zone.map(str::to_owned),
        };
        for (name, kind) in [
            ("ec2.us-east-1.amazonaws.com.", Kind::Service),
            ("API.ECR.us-east-1.amazonaws.com", Kind::Service),
            ("s3.us-east-1.amazonaws.com", Kind::Gateway),
            ("bucket.s3.dualstack.us-east-1.amazonaws.com", Kind::Gateway),
            ("s3-r-w.us-east-1.amazonaws.com", Kind::Gateway),
            ("s3.amazonaws.com", Kind::Gateway),
            ("dynamodb.cn-north-1.amazonaws.com.cn", Kind::Gateway),
            ("1234.ddb.us-east-1.amazonaws.com", Kind::Gateway),
            ("amazonaws.com", Kind::Other),
            ("s3.us-east-1.amazonaws.com.evil.example", Kind::Other),
            ("kv.kv.internal", Kind::Other),
            (
                "vpce-0123-abcd.ec2.us-east-1.vpce.amazonaws.com",
                endpoint(false, None),
            ),
            (
                "vpce-0123-abcd-us-east-1a.ec2.us-east-1.vpce.amazonaws.com",
                endpoint(false, Some("us-east-1a")),
            ),
            (
                "bucket.vpce-0123-abcd-us-east-1b.s3.us-east-1.vpce.amazonaws.com",
                endpoint(false, Some("us-east-1b")),
            ),
            (
                "vpce-0123-abcd.vpce-svc-0fed.us-east-1.vpce.amazonaws.com",
                endpoint(true, None),
            ),
        ] {
            assert_eq!(Kind::of(name), kind, "{name}");
        }
    }

    #[test]
    fn a_regional_name_has_one_in_each_zone() {
        let names = zonal("vpce-0123-abcd.api.ecr.us-east-1.vpce.amazonaws.com.");
        assert_eq!(names.len(), 6);
        assert_eq!(
            names.first(),
            Some(&(
                "vpce-0123-abcd-us-east-1a.api.ecr.us-east-1.vpce.amazonaws.com".to_owned(),
                "us-east-1a".to_owned()
            ))
        );
        for name in [
            "vpce-0123-abcd-us-east-1a.ec2.us-east-1.vpce.amazonaws.com",
            "ec2.us-east-1.amazonaws.com",
            "vpce.amazonaws.com",
            ".vpce.amazonaws.com",
            "vpce-.vpce.amazonaws.com",
        ] {
            assert_eq!(zonal(name), [], "{name}");
        }
    }

    #[test]
    fn the_usual_names_are_those_of_the_region() {
        let names = usual("eu-central-1");
        assert!(names.contains(&"ssm.eu-central-1.amazonaws.com".to_owned()));
        let names = usual("cn-north-1");
        assert!(names.contains(&"sts.cn-north-1.amazonaws.com.cn".to_owned()));
    }
}
