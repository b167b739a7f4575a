//! Every client: the same questions, put to it as a program in the enclave, and what it says.
//!
//! A client is a program of `tests/clients`. It takes the questions as arguments: a name, or an IPv4
//! address whose name is asked for. The first line that it prints is its own name and version; then
//! comes a line for each question: addresses in any order or a name, `NXDOMAIN`, `NODATA`, or `NOTHING`
//! where its API does not tell these two apart. A new client is a file there and a line here.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::ops::RangeInclusive;

use tests::{Sandbox, build, sandbox};

clients! {
    // libc
    glibc Client { build: CC, ..WHOLE }
    glibc_of_bullseye Client { build: BULLSEYE_CC, run: "$CLIENTS/in_root.sh $ROOTS/bullseye $OUT", ..WHOLE }
    glibc_of_trixie Client { build: CC, run: "$CLIENTS/in_root.sh $ROOTS/trixie $OUT", ..WHOLE }
    musl_static Client { build: "$CLIENTS/musl-gcc.sh / -static -o $OUT", ..MUSL_WITHOUT_TCP }
    musl_dynamic Client { build: "$CLIENTS/musl-gcc.sh / -o $OUT", ..MUSL_WITHOUT_TCP }
    musl_of_bullseye Client {
        build: "$CLIENTS/musl-gcc.sh $ROOTS/bullseye -o $OUT",
        run: "$CLIENTS/in_root.sh $ROOTS/bullseye $OUT",
        ..MUSL_WITHOUT_TCP
    }
    musl_of_trixie Client {
        build: "$CLIENTS/musl-gcc.sh $ROOTS/trixie -o $OUT",
        run: "$CLIENTS/in_root.sh $ROOTS/trixie $OUT",
        ..MUSL
    }
    // c-ares
    c_ares Client { build: "cc -Wall -Werror -o $OUT $CLIENTS/ares.c -lcares", ..WHOLE }
    grpc_with_c_ares Client {
        before: OWN_ADDRESSES,
        run: "/usr/bin/python3 $CLIENTS/grpc_ares.py",
        asks_reverse: false,
        ..WHOLE
    }
    // languages
    go_netgo Client {
        build: "CGO_ENABLED=0 go build -o $OUT $CLIENTS/lookup.go",
        nxdomain: "NOTHING",
        nodata: "NOTHING",
        ..WHOLE
    }
    go_cgo Client {
        build: "CGO_ENABLED=1 go build -tags netcgo -o $OUT $CLIENTS/lookup.go",
        nxdomain: "NOTHING",
        ..WHOLE
    }
    java Client { build: "ecj -17 -proc:none -d $OUT $CLIENTS/Lookup.java", run: "java -cp $OUT Lookup", ..WHOLE }
    python Client { run: "/usr/bin/python3 $CLIENTS/getaddrinfo.py", ..WHOLE }
    boto3 Client { run: "/usr/bin/python3 $CLIENTS/boto.py", asks_reverse: false, ..WHOLE }
    node_lookup Client { run: "node $CLIENTS/lookup.js lookup", nxdomain: "NOTHING", nodata: "NOTHING", ..WHOLE }
    node_resolve Client { run: "node $CLIENTS/lookup.js resolve", ..WHOLE }
    // programs
    curl_with_threads Client { run: "$CLIENTS/curl.sh curl", ..CURL }
    curl_with_c_ares Client { run: "$CLIENTS/curl.sh $ROOTS/curl/src/curl", ..CURL }
    dig Client { run: "$CLIENTS/dig.sh 127.0.0.1 ''", ..WHOLE }
    // resolvers that forward to the stub
    systemd_resolved Client { run: "$CLIENTS/resolved.sh $ROOTS/bookworm", ..WHOLE }
    dnsmasq Client { run: "$CLIENTS/dnsmasq.sh", ..WHOLE }
}

/// The service clients of boto3 find their endpoints by themselves.
#[test]
fn boto3_finds_interface_endpoints() {
    let services = [
        ("sns", 11),
        ("sqs", 12),
        ("logs", 13),
        ("ssm", 14),
        ("autoscaling", 16),
        ("ec2", 17),
        ("xray", 19),
    ];
    let mut run = "/usr/bin/python3 $CLIENTS/boto.py".to_owned();
    for (service, _) in services {
        write!(run, " {service}.us-east-1.amazonaws.com").expect("a String takes all");
    }
    let ran = sandbox_with("boto3_finds_interface_endpoints", "").run(&run);
    let lines = ran.lines();
    for (line, (service, host)) in lines[1..].iter().zip(services) {
        let expected = format!("10.0.1.{host} 10.0.2.{host}");
        assert_eq!(sorted(line), expected, "{service}: {ran}");
    }
    assert_eq!(lines.len(), 1 + services.len(), "{ran}");
}

/// How a client is made and run, and what it can tell.
struct Client {
    /// Makes `$OUT`, outside of the enclave.
    build: &'static str,
    /// Comes before it, in the enclave.
    before: &'static str,
    run: &'static str,
    nxdomain: &'static str,
    nodata: &'static str,
    /// How many of [`MANY`]'s addresses it gives.
    gives: RangeInclusive<usize>,
    asks_reverse: bool,
}

/// A client that can ask all, and tells all apart.
const WHOLE: Client = Client {
    build: "",
    before: "",
    run: "$OUT",
    nxdomain: "NXDOMAIN",
    nodata: "NODATA",
    gives: MANY_ADDRESSES..=MANY_ADDRESSES,
    asks_reverse: true,
};

/// musl keeps at most 48 addresses (MAXADDRS of its lookup.h).
const MUSL: Client = Client {
    gives: 48..=48,
    ..WHOLE
};

/// musl before 1.2.4 asks in no TCP and takes what fits into 512 bytes; it has one error for both.
const MUSL_WITHOUT_TCP: Client = Client {
    gives: 28..=28,
    nodata: "NXDOMAIN",
    ..WHOLE
};

/// It has one error for both, tries few of many addresses, and cannot ask for an address's name.
const CURL: Client = Client {
    nxdomain: "NOTHING",
    nodata: "NOTHING",
    gives: 1..=MANY_ADDRESSES,
    asks_reverse: false,
    ..WHOLE
};

const CC: &str = "cc -Wall -Werror -o $OUT $CLIENTS/getaddrinfo.c";

/// The compiler of this Debian with the headers and libraries of an older one.
const BULLSEYE_CC: &str = "lib=$ROOTS/bullseye/usr/lib/x86_64-linux-gnu
cc -Wall -Werror --sysroot=$ROOTS/bullseye -B$lib/ -L$lib -o $OUT $CLIENTS/getaddrinfo.c";

/// Gives the enclave the addresses that are found, so that a call to one of them arrives.
const OWN_ADDRESSES: &str = "(
    for address in 10.0.1.17 10.0.2.17 10.0.1.51 10.0.1.53 fd00:ec2:7::52 fd00:ec2:7::53 \\
        $(seq -f 10.0.3.%g 100); do echo \"address add $address dev lo\"; done
) | ip -batch -";

/// Its answer is larger than 1232 bytes.
const MANY: &str = "many.kv.internal";
const MANY_ADDRESSES: usize = 100;

impl Client {
    /// Each question, and the answer.
    fn questions(&self) -> Vec<(&'static str, String)> {
        let mut questions = vec![
            ("ec2.us-east-1.amazonaws.com", "10.0.1.17 10.0.2.17".into()),
            ("no-such-name.kv.internal", self.nxdomain.into()),
            ("large.kv.internal", self.nodata.into()),
            ("v6only.kv.internal", "fd00:ec2:7::52".into()),
            ("dual.kv.internal", "10.0.1.53 fd00:ec2:7::53".into()),
            ("chain.kv.internal", "10.0.1.51".into()),
            (MANY, String::new()),
        ];
        if self.asks_reverse {
            questions.push(("10.0.1.17", "ip-10-0-1-17.ec2.internal".into()));
        }
        questions
    }

    #[track_caller]
    fn answers(&self, name: &str) {
        let questions = self.questions();
        let words: Vec<&str> = questions.iter().map(|(word, _)| *word).collect();
        // At last what went upstream over TCP: the answer was too large for a datagram.
        let script = format!(
            "{}\n{} {} || exit\ngrep '^tcp' /run/sandbox/queries",
            self.before,
            self.run,
            words.join(" ")
        );
        let ran = sandbox_with(name, self.build).run(&script);
        let lines = ran.lines();
        assert_eq!(lines.len(), questions.len() + 2, "{ran}");
        for ((word, expected), line) in questions.iter().zip(&lines[1..]) {
            if *word == MANY {
                self.assert_many(line, &ran);
            } else {
                assert_eq!(sorted(line), *expected, "{word}: {ran}");
            }
        }
        let upstream = lines.last().map(String::as_str);
        assert_eq!(upstream, Some("tcp many.kv.internal. A"), "{ran}");
        // Past libtest, which swallows what a passed test prints.
        let said = writeln!(io::stderr(), "{name}: {}", lines[0]);
        said.expect("standard error takes a line");
    }

    #[track_caller]
    fn assert_many(&self, line: &str, ran: &tests::Ran) {
        let all: BTreeSet<String> = (1..=MANY_ADDRESSES)
            .map(|host| format!("10.0.3.{host}"))
            .collect();
        let found: Vec<&str> = line.split_whitespace().collect();
        let different: BTreeSet<String> = found.iter().map(|&word| word.to_owned()).collect();
        assert!(different.is_subset(&all), "{ran}");
        assert_eq!(found.len(), different.len(), "{ran}");
        assert!(self.gives.contains(&found.len()), "{}: {ran}", found.len());
    }
}

/// A sandbox whose script finds a client and what belongs to it.
fn sandbox_with(name: &str, build: &str) -> Sandbox {
    build!(name, build)
        .into_iter()
        .fold(sandbox!(), |sandbox, (name, value)| {
            sandbox.env(name, value)
        })
        // Connections that the clients try to make lead nowhere.
        .env("PROXIFY_EGRESS", "off")
}

fn sorted(line: &str) -> String {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    words.sort_unstable();
    words.join(" ")
}

/// A test for each client.
macro_rules! clients {
    ($($name:ident $client:expr)*) => {
        $(
            #[test]
            fn $name() {
                $client.answers(stringify!($name));
            }
        )*
    };
}
use clients;
