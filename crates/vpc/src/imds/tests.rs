//! Against a parent of this process, in paused time.

use super::*;
use crate::fake_parent::FakeParent;

const MAC: &str = "0e:49:61:0f:c3:11";
const BLOCK: &str =
    "GET /latest/meta-data/network/interfaces/macs/0e:49:61:0f:c3:11/vpc-ipv4-cidr-block ";

fn ok(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// What comes of an IMDS that gives these texts.
async fn given(token: &str, mac: &str, block: &str) -> Result<Vec<SocketAddr>, String> {
    let directory = tempfile::tempdir().unwrap();
    let parent = FakeParent::at(&directory.path().join("relay"));
    let (token, mac, block) = (token.to_owned(), mac.to_owned(), block.to_owned());
    let asked = ask(parent.address());
    let serve = parent.serve_imds(move |request| {
        let with_token = request.contains(&format!("\r\nX-aws-ec2-metadata-token: {token}\r\n"));
        Some(if request.starts_with("PUT /latest/api/token ") {
            assert!(request.contains("\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n"));
            ok(&token)
        } else if !with_token {
            b"HTTP/1.1 401 Unauthorized\r\n\r\n".to_vec()
        } else if request.starts_with("GET /latest/meta-data/mac ") {
            ok(&mac)
        } else if request.starts_with(BLOCK) {
            ok(&block)
        } else {
            b"HTTP/1.1 404 Not Found\r\n\r\n".to_vec()
        })
    });
    tokio::select! {
        found = asked => found.map(|found| found.nameservers).map_err(|error| error.to_string()),
        () = serve => unreachable!("it serves for ever"),
    }
}

#[tokio::test(start_paused = true)]
async fn base_plus_two_of_the_primary_block() {
    let token = "AQAEAGpTfHYJvRDbAA==";
    for (mac, block, nameserver) in [
        (MAC, "10.7.0.0/16", "10.7.0.2:53"),
        ("0E:49:61:0F:C3:11", "192.168.4.16/28", "192.168.4.18:53"),
        (MAC, "172.31.0.0/16\n", "172.31.0.2:53"),
    ] {
        let found = given(token, mac, block).await;
        assert_eq!(found, Ok(vec![nameserver.parse().unwrap()]), "{block}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_text_of_another_kind_is_refused_and_shown_in_bounds() {
    for (token, mac, block, why) in [
        (
            "",
            MAC,
            "10.0.0.0/16",
            "PUT /latest/api/token: `` is not one word",
        ),
        ("a b", MAC, "10.0.0.0/16", "not one word"),
        ("a\r\nX-Other: b", MAC, "10.0.0.0/16", "not one word"),
        ("t", "../../user-data", "10.0.0.0/16", "hardware address"),
        ("t", "0e:49:61:0f:c3", "10.0.0.0/16", "hardware address"),
        (
            "t",
            "0e:49:61:0f:c3:11:00",
            "10.0.0.0/16",
            "hardware address",
        ),
        ("t", "+e:49:61:0f:c3:11", "10.0.0.0/16", "hardware address"),
        ("t", "0e:49:61:0f:c3:\u{b5}", "10.0.0.0/16", "not one word"),
        ("t", MAC, "10.0.0.0/16\0", "not one word"),
        ("t", MAC, "10.0.0.0/16 10.1.0.0/16", "not one word"),
        ("t", MAC, "<html>", "`<html>` is not a VPC's IPv4 block"),
        ("t", MAC, "10.0.0.0", "not a VPC's IPv4 block"),
        ("t", MAC, "10.0.0.7/16", "write 10.0.0.0/16"),
        ("t", MAC, "10.0.0.0/31", "/30 is the least"),
        ("t", MAC, "10.0.0.0/29", "prefix of 16 to 28"),
        ("t", MAC, "0.0.0.0/0", "prefix of 16 to 28"),
        ("t", MAC, "127.0.0.0/16", "that can be asked"),
        ("t", MAC, "224.0.0.0/16", "that can be asked"),
        ("t", MAC, "fd00::/56", "IPv6"),
    ] {
        let error = given(token, mac, block).await.unwrap_err();
        assert!(error.contains(why), "{token:?} {mac:?} {block:?}: {error}");
    }
    let long = given("t", MAC, &"\u{1}x".repeat(400)).await.unwrap_err();
    assert!(long.len() < 400 && !long.contains('\u{1}'), "{long}");
    let escaped = given("t", &"`".repeat(1024), "").await.unwrap_err();
    assert!(escaped.len() < 200, "{escaped}");
}

/// What is known of a place where the service gives these texts, by the end of their paths.
async fn place_with(texts: &'static [(&'static str, &'static str)]) -> Result<Place, String> {
    let directory = tempfile::tempdir().unwrap();
    let parent = FakeParent::at(&directory.path().join("relay"));
    let asked = place(Via::Link(parent.address()));
    let serve = parent.serve_imds(move |request| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let text = texts.iter().find(|(end, _)| path.ends_with(end));
        Some(match text {
            Some((_, text)) => ok(text),
            None => b"HTTP/1.1 404 Not Found\r\n\r\n".to_vec(),
        })
    });
    tokio::select! {
        place = asked => place.map_err(|error| error.to_string()),
        () = serve => unreachable!("it serves for ever"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_is_a_region_and_all_blocks_of_the_vpc() {
    let place = place_with(&[
        ("token", "AQ=="),
        ("mac", MAC),
        ("region", "us-east-1"),
        ("vpc-ipv4-cidr-blocks", "100.64.0.0/16\n10.7.0.0/16"),
    ]);
    let expected = Place {
        region: "us-east-1".to_owned(),
        blocks: vec![
            "100.64.0.0/16".parse().unwrap(),
            "10.7.0.0/16".parse().unwrap(),
        ],
    };
    assert_eq!(place.await, Ok(expected.clone()));
    let place = place_with(&[
        ("token", "AQ=="),
        ("mac", MAC),
        ("region", "us-east-1"),
        ("vpc-ipv4-cidr-blocks", "10.7.0.0/16"),
        ("vpc-ipv6-cidr-blocks", "2600:1f18::/56"),
    ]);
    let blocks = place.await.unwrap().blocks;
    assert_eq!(blocks.get(1), Some(&"2600:1f18::/56".parse().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_place_that_cannot_be_is_refused() {
    for (region, blocks, why) in [
        ("US East", "10.7.0.0/16", "not one word"),
        ("US_EAST", "10.7.0.0/16", "`US_EAST` is not a region"),
        (
            "us-east-1",
            "10.7.0.0",
            "`10.7.0.0` is not a VPC's IPv4 block",
        ),
    ] {
        let texts: &'static [(&str, &str)] = Box::leak(Box::new([
            ("token", "AQ=="),
            ("mac", MAC),
            ("region", region),
            ("vpc-ipv4-cidr-blocks", blocks),
        ]));
        let error = place_with(texts).await.unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_hangs_costs_two_seconds() {
    let directory = tempfile::tempdir().unwrap();
    let parent = FakeParent::at(&directory.path().join("relay"));
    let start = tokio::time::Instant::now();
    let asked = place(Via::Link(parent.address()));
    let serve = parent.serve_imds(|_| None);
    let error = tokio::select! {
        place = asked => place.unwrap_err().to_string(),
        () = serve => unreachable!("it serves for ever"),
    };
    assert_eq!(error, "IMDS did not answer within 2 s");
    assert_eq!(start.elapsed().as_secs(), 2);
}
