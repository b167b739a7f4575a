use std::fmt::Write as _;

use hickory_proto::rr::Name;

use super::*;

fn zone() -> Zone {
    Zone::builtin("10.0.0.0/16".parse().unwrap()).unwrap()
}

fn ask(zone: &Zone, name: &str, kind: RecordType, without: &[&str]) -> Answer {
    let name = LowerName::new(&name.parse::<Name>().unwrap());
    zone.answer(&name, kind, &|service| without.contains(&service))
}

fn addresses(answer: &Answer) -> Vec<String> {
    let data = answer.records.iter().map(|record| &record.data);
    data.filter_map(RData::ip_addr)
        .map(|address| address.to_string())
        .collect()
}

fn parse(text: &str) -> Zone {
    Zone {
        layers: vec![Layer::always(text, "test").unwrap()],
    }
}

#[test]
fn every_endpoint_has_an_address_in_each_of_two_zones() {
    let zone = zone();
    let services = "sns sqs logs ec2 ec2messages ssm ssmmessages autoscaling xray aps-workspaces";
    for service in services.split(' ') {
        let answer = ask(
            &zone,
            &format!("{service}.us-east-1.amazonaws.com."),
            RecordType::A,
            &[],
        );
        let found = addresses(&answer);
        assert_eq!(found.len(), 2, "{service}");
        assert!(
            found[0].starts_with("10.0.1.") && found[1].starts_with("10.0.2."),
            "{found:?}"
        );
    }
}

#[test]
fn regional_and_zonal_names_agree_with_the_service_name() {
    let zone = zone();
    let id = "vpce-0123456789abcde17-a1b2c3d4";
    let domain = "ec2.us-east-1.vpce.amazonaws.com.";
    let both = addresses(&ask(
        &zone,
        "ec2.us-east-1.amazonaws.com.",
        RecordType::A,
        &[],
    ));
    assert_eq!(both, ["10.0.1.17", "10.0.2.17"]);
    assert_eq!(
        addresses(&ask(&zone, &format!("{id}.{domain}"), RecordType::A, &[])),
        both
    );
    let a = ask(
        &zone,
        &format!("{id}-us-east-1a.{domain}"),
        RecordType::A,
        &[],
    );
    assert_eq!(addresses(&a), both[..1]);
    let b = ask(
        &zone,
        &format!("{id}-us-east-1b.{domain}"),
        RecordType::A,
        &[],
    );
    assert_eq!(addresses(&b), both[1..]);
}

#[test]
fn the_zone_follows_the_vpc_block() {
    let zone = Zone::builtin("172.31.0.0/16".parse().unwrap()).unwrap();
    let answer = ask(&zone, "ec2.us-east-1.amazonaws.com.", RecordType::A, &[]);
    assert_eq!(addresses(&answer), ["172.31.1.17", "172.31.2.17"]);
    let answer = ask(&zone, "17.1.31.172.in-addr.arpa.", RecordType::PTR, &[]);
    assert_eq!(
        answer.records[0].data.to_string(),
        "ip-172-31-1-17.ec2.internal."
    );
    let answer = ask(&zone, "keys.partner.example.", RecordType::A, &[]);
    assert_eq!(addresses(&answer), ["172.31.1.40", "172.31.2.40"]);
}

#[test]
fn without_its_endpoint_a_service_is_public_and_the_endpoint_names_are_gone() {
    let zone = zone();
    let answer = ask(
        &zone,
        "ec2.us-east-1.amazonaws.com.",
        RecordType::A,
        &["ec2"],
    );
    assert_eq!(addresses(&answer), ["3.218.180.17", "3.218.181.17"]);
    let endpoint = "vpce-0123456789abcde17-a1b2c3d4.ec2.us-east-1.vpce.amazonaws.com.";
    let answer = ask(&zone, endpoint, RecordType::A, &["ec2"]);
    assert_eq!(answer.code, ResponseCode::NXDomain);
    let answer = ask(
        &zone,
        "sqs.us-east-1.amazonaws.com.",
        RecordType::A,
        &["ec2"],
    );
    assert_eq!(
        addresses(&answer),
        ["10.0.1.12", "10.0.2.12"],
        "others are as before"
    );
}

#[test]
fn s3_is_public_by_its_own_name_and_private_by_its_endpoint_names() {
    let zone = zone();
    for name in [
        "s3.us-east-1.amazonaws.com.",
        "my-bucket.s3.us-east-1.amazonaws.com.",
    ] {
        let found = addresses(&ask(&zone, name, RecordType::A, &[]));
        assert!(
            found.iter().all(|address| address.starts_with("52.216.")),
            "{name}: {found:?}"
        );
        assert!(found.len() >= 2, "{name}: {found:?}");
    }
    let endpoint = "vpce-0123456789abcde21-a1b2c3d4.s3.us-east-1.vpce.amazonaws.com.";
    for prefix in [
        "bucket",
        "my-bucket.bucket",
        "accesspoint",
        "mine-123456789012.accesspoint",
    ] {
        let answer = ask(&zone, &format!("{prefix}.{endpoint}"), RecordType::A, &[]);
        assert_eq!(addresses(&answer), ["10.0.1.21", "10.0.2.21"], "{prefix}");
    }
    let dynamodb = addresses(&ask(
        &zone,
        "dynamodb.us-east-1.amazonaws.com.",
        RecordType::A,
        &[],
    ));
    assert!(
        dynamodb.iter().all(|address| address.starts_with("3.218.")),
        "{dynamodb:?}"
    );
}

#[test]
fn an_endpoint_service_has_its_vpce_svc_name_and_its_private_name() {
    let zone = zone();
    let private = addresses(&ask(&zone, "keys.partner.example.", RecordType::A, &[]));
    let service =
        "vpce-0a1b2c3d4e5f60718-k9x8w7v6.vpce-svc-0fedcba9876543210.us-east-1.vpce.amazonaws.com.";
    assert_eq!(addresses(&ask(&zone, service, RecordType::A, &[])), private);
    assert_eq!(private, ["10.0.1.40", "10.0.2.40"]);
}

#[test]
fn a_cname_chain_comes_whole_with_the_ttl_of_each_link() {
    let answer = ask(&zone(), "chain.kv.internal.", RecordType::A, &[]);
    let ttls: Vec<u32> = answer.records.iter().map(|record| record.ttl).collect();
    assert_eq!(ttls, [300, 30, 7, 120]);
    assert_eq!(addresses(&answer), ["10.0.1.51"]);
}

#[test]
fn a_chain_to_nowhere_is_nxdomain_with_the_chain() {
    let answer = ask(&zone(), "broken.kv.internal.", RecordType::A, &[]);
    assert_eq!(answer.code, ResponseCode::NXDomain);
    assert_eq!(answer.records.len(), 1);
    assert!(answer.soa.is_some());
}

#[test]
fn a_chain_that_loops_is_servfail() {
    let zone = parse("a. 60 IN CNAME b.\nb. 60 IN CNAME a.\n");
    let answer = ask(&zone, "a.", RecordType::A, &[]);
    assert_eq!(answer.code, ResponseCode::ServFail);
}

#[test]
fn nodata_and_nxdomain_carry_the_soa_of_the_closest_zone_with_the_negative_ttl() {
    let zone = zone();
    for (name, kind, code, owner, ttl) in [
        (
            "v4only.kv.internal.",
            RecordType::AAAA,
            ResponseCode::NoError,
            "kv.internal.",
            5,
        ),
        (
            "v6only.kv.internal.",
            RecordType::A,
            ResponseCode::NoError,
            "kv.internal.",
            5,
        ),
        (
            "missing.kv.internal.",
            RecordType::A,
            ResponseCode::NXDomain,
            "kv.internal.",
            5,
        ),
        (
            "ec2.us-east-1.amazonaws.com.",
            RecordType::AAAA,
            ResponseCode::NoError,
            "amazonaws.com.",
            60,
        ),
        (
            "nowhere.test.",
            RecordType::A,
            ResponseCode::NXDomain,
            ".",
            60,
        ),
        // No record of its own, but names below it: it exists (RFC 8020).
        (
            "us-east-1.amazonaws.com.",
            RecordType::A,
            ResponseCode::NoError,
            "amazonaws.com.",
            60,
        ),
    ] {
        let answer = ask(&zone, name, kind, &[]);
        assert_eq!(answer.code, code, "{name}");
        assert!(answer.records.is_empty(), "{name}");
        let soa = answer.soa.expect(name);
        assert_eq!(
            (soa.name.to_string().as_str(), soa.ttl),
            (owner, ttl),
            "{name}"
        );
    }
}

#[test]
fn an_aaaa_only_name_has_its_aaaa() {
    assert_eq!(
        addresses(&ask(&zone(), "v6only.kv.internal.", RecordType::AAAA, &[])),
        ["fd00:ec2:7::52"]
    );
}

#[test]
fn names_are_found_whatever_their_case() {
    let answer = ask(&zone(), "EC2.us-East-1.AmazonAWS.com.", RecordType::A, &[]);
    assert_eq!(addresses(&answer).len(), 2);
}

#[test]
fn the_large_txt_has_5000_bytes_of_text() {
    let answer = ask(&zone(), "large.kv.internal.", RecordType::TXT, &[]);
    let RData::TXT(txt) = &answer.records[0].data else {
        panic!("no TXT: {answer:?}")
    };
    assert_eq!(
        txt.txt_data
            .iter()
            .map(|string| string.len())
            .sum::<usize>(),
        5000
    );
}

#[test]
fn a_hundred_addresses_have_one_name() {
    let answer = ask(&zone(), "many.kv.internal.", RecordType::A, &[]);
    let addresses = addresses(&answer);
    assert_eq!(addresses.len(), 100);
    assert_eq!(
        (&*addresses[0], &*addresses[99]),
        ("10.0.3.1", "10.0.3.100")
    );
}

#[test]
fn an_unknown_type_has_its_bytes() {
    let answer = ask(
        &zone(),
        "unknown.kv.internal.",
        RecordType::Unknown(65280),
        &[],
    );
    let RData::Unknown { rdata, .. } = &answer.records[0].data else {
        panic!("{answer:?}")
    };
    assert_eq!(rdata.anything, [0xDE, 0xAD, 0xBE, 0xEF, 1, 2]);
    assert_eq!(answer.records[0].ttl, 60);
}

#[test]
fn https_srv_short_and_zero_ttls_are_there() {
    let zone = zone();
    for (name, kind, ttl) in [
        ("https.kv.internal.", RecordType::HTTPS, 60),
        ("_kv._tcp.kv.internal.", RecordType::SRV, 60),
        ("short.kv.internal.", RecordType::A, 2),
        ("zero.kv.internal.", RecordType::A, 0),
    ] {
        let answer = ask(&zone, name, kind, &[]);
        assert_eq!(answer.records.len(), 1, "{name}");
        assert_eq!(answer.records[0].ttl, ttl, "{name}");
    }
}

#[test]
fn any_is_every_record_of_the_name() {
    assert_eq!(
        addresses(&ask(&zone(), "dual.kv.internal.", RecordType::ANY, &[])).len(),
        2
    );
}

#[test]
fn a_wildcard_covers_only_what_no_closer_name_does() {
    let zone = parse(
        "example. 60 IN SOA ns.example. h.example. 1 60 60 60 60\n\
         *.example. 60 IN A 192.0.2.1\nsub.example. 60 IN TXT x\n",
    );
    let answer = ask(&zone, "any.where.example.", RecordType::A, &[]);
    assert_eq!(answer.records[0].name.to_string(), "any.where.example.");
    assert_eq!(
        ask(&zone, "x.sub.example.", RecordType::A, &[]).code,
        ResponseCode::NXDomain
    );
    assert!(
        ask(&zone, "sub.example.", RecordType::A, &[])
            .records
            .is_empty()
    );
}

#[test]
fn a_zone_file_may_hold_unknown_types_beside_others_and_relative_names() {
    let mut text = String::from("$ORIGIN corp.example.\n$TTL 30\n@ IN SOA ns h 1 60 60 60 9\n");
    let long = "AB".repeat(300);
    // A TXT at the same name must neither hide nor take the TTL of the unknown type.
    let _ = write!(
        text,
        "u 40 IN TYPE65281 \\# 300 {long} ; note\nu 50 IN TXT \"plain\"\n  IN type700 \\# 0\n"
    );
    let zone = parse(&text);
    let unknown = ask(&zone, "u.corp.example.", RecordType::Unknown(65281), &[]);
    let RData::Unknown { rdata, .. } = &unknown.records[0].data else {
        panic!("{unknown:?}")
    };
    assert_eq!(rdata.anything, [0xAB; 300]);
    assert_eq!(
        ask(&zone, "u.corp.example.", RecordType::TXT, &[])
            .records
            .len(),
        1
    );
    let empty = ask(&zone, "u.corp.example.", RecordType::Unknown(700), &[]);
    assert_eq!(empty.records.len(), 1);
}

#[test]
fn a_zone_file_that_cannot_be_used_is_named() {
    let missing = Zone::read(Path::new("/nonexistent/zone"))
        .unwrap_err()
        .to_string();
    assert!(missing.contains("/nonexistent/zone"), "{missing}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "this is no zone\n").unwrap();
    let error = Zone::read(file.path()).unwrap_err().to_string();
    assert!(
        error.contains("master file") && error.contains(file.path().to_str().unwrap()),
        "{error}"
    );
}

#[test]
fn the_vpc_holds_private_and_public_addresses() {
    let addresses = zone().addresses();
    for address in [
        [10, 0, 1, 17],
        [10, 0, 2, 17],
        [3, 218, 180, 17],
        [52, 216, 8, 45],
        [10, 0, 1, 40],
    ] {
        assert!(addresses.contains(&address.into()), "{address:?}");
    }
}
