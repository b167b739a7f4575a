//! A parent that lies before a nameserver is reached: replies to DNS (0xD0) and to the CONNECT that may
//! follow it, cut, too long, slow, or of any code.

use resolver::{MAX_ROUTES, Route};
use tokio::io::AsyncReadExt;

use super::*;

/// What the parent says to a request, and what it then does.
struct Parent {
    name: &'static str,
    /// The answer to the greeting too.
    says: &'static [u8],
    /// Between two bytes.
    pace: Option<Duration>,
    closes: bool,
    line: &'static str,
}

/// The start of the line that tells that nobody is reached.
const DOWN: &str = "names that are not cached do not resolve";

const fn closes(name: &'static str, says: &'static [u8]) -> Parent {
    Parent {
        name,
        says,
        pace: None,
        closes: true,
        line: DOWN,
    }
}

const fn hangs(name: &'static str, says: &'static [u8]) -> Parent {
    Parent {
        closes: false,
        ..closes(name, says)
    }
}

const PARENTS: &[Parent] = &[
    closes("nothing", &[]),
    closes("half a method", &[5]),
    closes("a method", &[5, 0]),
    closes("half a reply", &[5, 0, 5, 0, 0, 1, 10, 0]),
    closes(
        "half a reply in IPv6",
        &[5, 0, 5, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0],
    ),
    hangs("nothing, and hangs", &[]),
    hangs("half a method, and hangs", &[5]),
    hangs("half a reply, and hangs", &[5, 0, 5, 0, 0, 1, 10, 0]),
    Parent {
        pace: Some(Duration::from_secs(1)),
        ..hangs("a byte a second", &[5, 0, 5, 0, 0, 1, 10, 0, 0, 2, 0, 53])
    },
    closes("no method that fits", &[5, 0xFF]),
    closes("SOCKS4", &[0, 0x5A, 0, 0, 0, 0, 0, 0]),
    closes(
        "a reply of version 4",
        &[5, 0, 4, 0, 0, 1, 0, 0, 0, 0, 0, 0],
    ),
    closes(
        "HTTP",
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    ),
    closes(
        "a name for an address",
        &[5, 0, 5, 0, 0, 3, 255, b'a', b'a', b'a'],
    ),
    closes(
        "no such type of address",
        &[5, 0, 5, 0, 0, 0xFF, 0, 0, 0, 0, 0, 0],
    ),
    closes("64 KiB of zeros", &[0; 65_536]),
    closes("64 KiB of fives", &[5; 65_536]),
    Parent {
        line: "gave no answer for 3 s",
        ..hangs(
            "a grant, and no frame that ends",
            b"\x05\0\x05\0\0\x01\0\0\0\0\0\0HTTP/1.1 200 OK\r\n\r\n",
        )
    },
    Parent {
        line: "the parent grants connections to it and closes them",
        ..closes(
            "a grant, and its end",
            &[5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        )
    },
];

impl Parent {
    async fn serve(&self, mut stream: Stream) -> io::Result<()> {
        // Greeting and request to a nameserver in IPv4.
        stream.read_exact(&mut [0; 13]).await?;
        match self.pace {
            None => stream.write_all(self.says).await?,
            Some(pace) => {
                for byte in self.says {
                    stream.write_all(&[*byte]).await?;
                    sleep(pace).await;
                }
            }
        }
        if self.closes {
            return Ok(());
        }
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_lying_parent_is_a_failure_in_time_and_one_line() {
    let (log, _guard) = Log::capture();
    let nameserver = |number| SocketAddr::from(([10, 0, 5, number], 53));
    let mut running = JoinSet::new();
    for (parent, number) in PARENTS.iter().zip(1..) {
        running.spawn(async move {
            let serve = move |stream| parent.serve(stream);
            let victim = Victim::of(&[nameserver(number)], Routes::default(), serve);
            let [first, second, third] = NAMES.map(|name| victim.ask(name));
            let replies = tokio::join!(first, second, third);
            for reply in [&replies.0, &replies.1, &replies.2] {
                let name = parent.name;
                assert_eq!(
                    reply.response_code,
                    ResponseCode::ServFail,
                    "{name}: {reply}"
                );
                // Of a parent that hangs it may be the nameserver's silence that was noticed last.
                let codes: &[_] = if parent.closes { &[23] } else { &[22, 23] };
                let code = ede(reply).unwrap();
                assert!(codes.contains(&code), "{name}: {code}");
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    for (parent, number) in PARENTS.iter().zip(1..) {
        assert_one_line(&log, nameserver(number), parent.name, Some(parent.line));
    }
}

/// Each code is a nameserver's own, and a route's.
#[tokio::test]
async fn a_refusal_of_any_code_is_network_error() {
    let (log, _guard) = Log::capture();
    let codes: Vec<u8> = (1..=9).chain([0x7F, 0x80, u8::MAX]).collect();
    let mut running = JoinSet::new();
    for codes in codes.chunks(MAX_ROUTES) {
        let codes = codes.to_vec();
        running.spawn(async move {
            let route = |code: &u8| Route {
                suffix: format!("code{code}.example").parse().unwrap(),
                nameservers: vec![SocketAddr::from(([10, 0, 6, *code], 53))],
            };
            let routes = Routes::new(codes.iter().map(route).collect()).unwrap();
            let victim = Victim::of(&[], routes, |mut stream| async move {
                let mut asked = [0; 13];
                stream.read_exact(&mut asked).await?;
                let code = asked[10];
                stream
                    .write_all(&[5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0])
                    .await
            });
            let victim = Arc::new(victim);
            let mut asking = JoinSet::new();
            for code in codes {
                let victim = Arc::clone(&victim);
                asking.spawn(async move {
                    let reply = victim.ask(&format!("www.code{code}.example.")).await;
                    assert_eq!(reply.response_code, ResponseCode::ServFail, "{reply}");
                    assert_eq!(ede(&reply), Some(23), "{reply}");
                });
            }
            while let Some(ended) = asking.join_next().await {
                ended.unwrap();
            }
        });
    }
    let labs = running.len();
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    // The link is down for all of a stub's nameservers.
    assert_eq!(log.lines(DOWN).len(), labs);
}
