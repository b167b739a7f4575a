//! The service's answers, with the time given.

use super::*;

const MACS: &str = "/latest/meta-data/network/interfaces/macs/";

fn imds() -> Imds {
    Imds::new("10.7.0.0/16".parse().unwrap())
}

fn request(line: &str, headers: &[&str]) -> Request {
    let headers: String = headers
        .iter()
        .map(|header| format!("{header}\r\n"))
        .collect();
    Request::parse(&format!("{line} HTTP/1.1\r\n{headers}\r\n")).unwrap()
}

fn token(imds: &Imds, seconds: &str, now: Instant) -> Response {
    let ttl = format!("x-aws-ec2-metadata-token-ttl-seconds: {seconds}");
    imds.answer(&request("PUT /latest/api/token", &[&ttl]), now)
}

fn get(imds: &Imds, path: &str, token: &str, now: Instant) -> Response {
    let token = format!("X-aws-ec2-metadata-token: {token}");
    imds.answer(&request(&format!("GET {path}"), &[&token]), now)
}

#[test]
fn nothing_is_told_without_a_token_that_lives() {
    let (imds, now) = (imds(), Instant::now());
    let mac = "/latest/meta-data/mac";
    let without = imds.answer(&request(&format!("GET {mac}"), &[]), now);
    assert_eq!(without.status, 401);
    assert_eq!(get(&imds, mac, "invented", now).status, 401);
    let given = token(&imds, "60", now);
    let rendered = String::from_utf8(given.render()).unwrap();
    assert!(rendered.contains("\r\nX-Aws-Ec2-Metadata-Token-Ttl-Seconds: 60\r\n"));
    let told = get(&imds, mac, &given.body, now + Duration::from_secs(59));
    assert_eq!(
        (told.status, told.body.as_str()),
        (200, "0e:49:61:0f:c3:11")
    );
    let late = get(&imds, mac, &given.body, now + Duration::from_secs(60));
    assert_eq!(late.status, 401);
}

#[test]
fn a_token_is_had_by_put_with_a_life_of_up_to_six_hours() {
    let (imds, now) = (imds(), Instant::now());
    for (seconds, status) in [
        ("1", 200),
        ("21600", 200),
        ("0", 400),
        ("21601", 400),
        ("-1", 400),
        ("long", 400),
    ] {
        assert_eq!(token(&imds, seconds, now).status, status, "{seconds}");
    }
    let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60";
    for (line, headers, status) in [
        ("GET /latest/api/token", &[ttl][..], 405),
        ("POST /latest/api/token", &[ttl], 405),
        ("PUT /latest/meta-data/mac", &[ttl], 405),
        ("PUT /latest/api/token", &[], 400),
        (
            "PUT /latest/api/token",
            &[ttl, "X-Forwarded-For: 192.0.2.1"],
            403,
        ),
    ] {
        let answer = imds.answer(&request(line, headers), now);
        assert_eq!(answer.status, status, "{line} {headers:?}");
    }
}

#[test]
fn the_first_of_a_list_is_never_the_right_one() {
    let (imds, now) = (imds(), Instant::now());
    let token = token(&imds, "60", now).body;
    let text = |path: &str| get(&imds, path, &token, now).body;
    assert_eq!(text(MACS), "02:29:96:8f:6a:2d/\n0e:49:61:0f:c3:11/");
    let primary = format!("{MACS}{}/", text("/latest/meta-data/mac"));
    assert_eq!(text(&format!("{primary}device-number")), "0");
    assert_eq!(
        text(&format!("{primary}vpc-ipv4-cidr-block")),
        "10.7.0.0/16"
    );
    let blocks = text(&format!("{primary}vpc-ipv4-cidr-blocks"));
    assert_eq!(blocks, "100.64.0.0/16\n10.7.0.0/16");
    let other = format!("{MACS}02:29:96:8f:6a:2d/vpc-ipv4-cidr-block");
    assert_eq!(text(&other), "192.168.0.0/16");
    let list = text("/latest/meta-data");
    assert!(list.contains("mac\nnetwork/\n"), "{list}");
    for path in ["/latest/meta-data/no", "/", "/latest/meta-data/ma"] {
        assert_eq!(get(&imds, path, &token, now).status, 404, "{path}");
    }
}

#[test]
fn a_fault_is_switched_by_its_file() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(fault(directory.path()), None);
    for (name, expected) in FAULTS {
        let file = directory.path().join(name);
        std::fs::write(&file, "").unwrap();
        assert_eq!(fault(directory.path()), Some(expected), "{name}");
        std::fs::remove_file(&file).unwrap();
    }
}
