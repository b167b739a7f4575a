//! Names, asked for in the enclave through the real proxify and relay, and on the parent without them.

use crate::host::{As, Program, text};

fn sorted_lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn getent_in_the_enclave_finds_the_private_addresses() {
    for user in [As::Root, As::Nobody] {
        let output = Program::new(user).run(&["getent", "hosts", "ec2.us-east-1.amazonaws.com"]);
        assert!(output.status.success(), "{user:?}: {output:?}");
        let found = text(&output.stdout);
        let addresses: Vec<&str> = found
            .lines()
            .filter_map(|line| line.split(' ').next())
            .collect();
        assert_eq!(
            sorted_lines(&addresses.join("\n")),
            ["10.0.1.17", "10.0.2.17"],
            "{user:?}: {output:?}"
        );
    }
}

#[test]
fn another_block_has_its_resolver_and_endpoints_elsewhere() {
    for block in ["10.7", "172.31"] {
        let cidr = format!("{block}.0.0/16");
        let answer = Program::new(As::Root).script(
            &["--vpc-cidr", &cidr, "--no-proxify", "--no-relay"],
            "sandbox ctl parent sh -c 'cat /etc/resolv.conf; dig +short ec2.us-east-1.amazonaws.com'",
        );
        let resolver = format!("nameserver {block}.0.2");
        let expected = [
            &resolver,
            "search ec2.internal",
            &format!("{block}.1.17"),
            &format!("{block}.2.17"),
        ];
        assert_eq!(answer.lines().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn an_endpoint_comes_and_goes_while_the_sandbox_runs() {
    let answer = Program::new(As::Nobody).script(
        &["--without-endpoint", "ec2", "--no-proxify", "--no-relay"],
        "ask() { sandbox ctl parent dig +short ec2.us-east-1.amazonaws.com; }
         ask; rm /run/sandbox/without/ec2; ask; touch /run/sandbox/without/ec2; ask",
    );
    let public = ["3.218.180.17", "3.218.181.17"];
    let expected = [public, ["10.0.1.17", "10.0.2.17"], public].concat();
    assert_eq!(answer.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn each_packet_is_a_line_in_queries() {
    let lines = Program::new(As::Nobody).script(
        &["--no-proxify", "--no-relay"],
        "sandbox ctl parent sh -c 'dig Ec2.us-east-1.amazonaws.com; dig +tcp kv.kv.internal AAAA
         dig unknown.kv.internal TYPE65280; dig @169.254.169.253 short.kv.internal' > /dev/null
         cat /run/sandbox/queries",
    );
    let expected = [
        "udp Ec2.us-east-1.amazonaws.com. A",
        "tcp kv.kv.internal. AAAA",
        "udp unknown.kv.internal. TYPE65280",
        "udp short.kv.internal. A",
    ];
    assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn amazon_dns_answers_as_a_recursive_resolver() {
    let program = Program::new(As::Root);
    let dig = |words: &str| {
        program.script(
            &["--no-proxify", "--no-relay"],
            &format!("sandbox ctl parent dig {words}"),
        )
    };

    let plain = dig("+noedns ec2.us-east-1.amazonaws.com");
    assert!(
        plain.contains("flags: qr rd ra; QUERY: 1, ANSWER: 2, AUTHORITY: 0, ADDITIONAL: 0"),
        "{plain}"
    );

    let missing = dig("missing.kv.internal");
    assert!(missing.contains("status: NXDOMAIN"), "{missing}");
    assert!(missing.contains("kv.internal.\t\t5\tIN\tSOA"), "{missing}");

    let nodata = dig("v4only.kv.internal AAAA");
    assert!(
        nodata.contains("status: NOERROR") && nodata.contains("SOA"),
        "{nodata}"
    );

    let unknown = dig("+short unknown.kv.internal TYPE65280");
    assert_eq!(unknown.trim(), "\\# 6 DEADBEEF0102");

    let version = dig("+edns=1 +noednsnegotiation kv.kv.internal");
    assert!(version.contains("status: BADVERS"), "{version}");

    let reverse = dig("+short -x 10.0.1.17");
    assert_eq!(reverse.trim(), "ip-10-0-1-17.ec2.internal.");
}

#[test]
fn an_answer_too_large_for_the_client_is_cut_and_tcp_has_the_whole() {
    let program = Program::new(As::Root);
    for size in [
        "+noedns",
        "+bufsize=512",
        "+bufsize=1232",
        "+bufsize=4096",
        "+bufsize=65535",
    ] {
        let script = format!("sandbox ctl parent dig +ignore {size} large.kv.internal TXT");
        let cut = program.script(&["--no-proxify", "--no-relay"], &script);
        assert!(
            cut.contains("flags: qr tc rd ra; QUERY: 1, ANSWER: 0"),
            "{size}: {cut}"
        );
    }
    let script = "sandbox ctl parent dig +short +tcp large.kv.internal TXT";
    let whole = program.script(&["--no-proxify", "--no-relay"], script);
    assert_eq!(whole.bytes().filter(u8::is_ascii_digit).count(), 5000);
}

#[test]
fn a_zone_file_takes_the_place_of_the_built_in_zone() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let zone = "$ORIGIN corp.example.\n$TTL 30\n@ IN SOA ns h 1 60 60 60 9\n\
                db IN A 198.51.100.7\nodd IN TYPE65500 \\# 2 CAFE\n";
    std::fs::write(file.path(), zone).unwrap();
    let answer = Program::new(As::Root).script(
        &[
            "--zone",
            file.path().to_str().unwrap(),
            "--no-proxify",
            "--no-relay",
        ],
        "sandbox ctl parent dig +short db.corp.example
         sandbox ctl parent dig +short odd.corp.example TYPE65500
         sandbox ctl parent dig ec2.us-east-1.amazonaws.com | grep -oE 'REFUSED|NXDOMAIN'
         sandbox ctl vpc cat /proc/net/fib_trie | grep -c -m1 198.51.100.7",
    );
    assert_eq!(
        answer.lines().collect::<Vec<_>>(),
        ["198.51.100.7", "\\# 2 CAFE", "NXDOMAIN", "1"]
    );
}

#[test]
fn without_a_resolver_the_address_is_there_and_port_53_free() {
    let sockets = Program::new(As::Nobody).script(
        &["--resolver", "none", "--no-proxify", "--no-relay"],
        "sandbox ctl vpc sh -c 'cat /proc/net/udp /proc/net/tcp | grep -c :0035 || :'
         sandbox ctl vpc grep -c -m1 '10\\.0\\.0\\.2$' /proc/net/fib_trie",
    );
    assert_eq!(sockets.lines().collect::<Vec<_>>(), ["0", "1"]);
}
