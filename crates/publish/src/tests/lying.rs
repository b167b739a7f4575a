//! A parent that answers BIND with anything at all: no connection reaches a program that was not
//! announced in whole, it is asked again at most so often, and the log says it once.

use self::log::Log;
use super::*;

#[path = "../../../relay/src/tests/log.rs"]
mod log;

/// What it says in place of the greeting's answer and both replies, and what the log says of it.
struct Lie {
    name: &'static str,
    says: Vec<u8>,
    line: &'static str,
}

/// A grant, before a second reply.
const GRANT: &[u8] = &[5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0x1F, 0x90];

/// On this thread, unlike [`Publisher`], whose log could not be told from that of other tests.
fn port(relay: &Relay, listen: &str, program: u16) -> tokio::task::JoinHandle<()> {
    let publication = Publication {
        parent: listen.parse().unwrap(),
        program,
    };
    let parent = Parent::new(Address::Unix(relay.prefix.clone()), PORT);
    let connections = Arc::new(Semaphore::new(CONNECTIONS as usize));
    let program = Program::named(program);
    let port = Port::new(
        publication,
        parent,
        program,
        connections,
        Activity::default(),
    );
    tokio::spawn(port.run())
}

fn lies() -> Vec<Lie> {
    let lie = |name, says: &[u8], line| Lie {
        name,
        says: says.to_vec(),
        line,
    };
    let closed = "closed without a reply";
    let no_socks = "gave no SOCKS5 answer";
    let granted = |name, then: &[u8]| {
        let ended = "the parent listened, and ended it";
        lie(name, &[GRANT, then].concat(), ended)
    };
    vec![
        lie("nothing", &[], closed),
        lie("half a method", &[5], closed),
        lie("half a first reply", &GRANT[..7], closed),
        lie("no method that fits", &[5, 0xFF], no_socks),
        lie("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n", no_socks),
        lie(
            "a name for an address",
            &[5, 0, 5, 0, 0, 3, 255, b'a'],
            no_socks,
        ),
        granted("no second reply", &[]),
        granted("half a second reply", &[5, 0, 0, 4, 0, 0, 0]),
        granted(
            "a second reply that refuses",
            &[5, 1, 0, 1, 0, 0, 0, 0, 0, 0],
        ),
        granted("a second reply with a name", &[5, 0, 0, 3, 255, b'a', b'a']),
        granted(
            "a second reply of version 4",
            &[4, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        ),
        granted("HTTP for a second reply", b"HTTP/1.1 200 OK\r\n\r\n"),
        granted("64 KiB for a second reply", &[0; 65_536]),
    ]
}

/// Six seconds: a parent that is away is told of after five.
const WHILE: Duration = Duration::from_millis(6500);

/// Attempts in [`WHILE`] with pauses of 0.1, 0.2, 0.4, 0.8 and 1 s, and those of a pool that had grown.
const ATTEMPTS: usize = 4 * 12;

#[tokio::test]
async fn no_lie_makes_a_connection_or_a_busy_loop_or_a_second_line() {
    let (log, _guard) = Log::capture();
    let mut running = JoinSet::new();
    for (lie, number) in lies().into_iter().zip(1_u16..) {
        running.spawn(async move {
            let relay = Relay::start();
            let (listener, program) = program().await;
            let listen = format!("0.0.0.0:{}", 8000 + number);
            let port = port(&relay, &listen, program);
            let mut asked = 0;
            let answer = async {
                loop {
                    let (mut stream, _) = relay.listener.accept().await.unwrap();
                    stream.read_exact(&mut [0; 13]).await.unwrap();
                    asked += 1;
                    // The enclave may leave at any byte.
                    let _ = stream.write_all(&lie.says).await;
                }
            };
            tokio::select! {
                () = answer => {}
                _ = listener.accept() => panic!("{}: a connection", lie.name),
                () = tokio::time::sleep(WHILE) => {}
            }
            port.abort();
            assert!((2..=ATTEMPTS).contains(&asked), "{}: {asked}", lie.name);
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    for (lie, number) in lies().into_iter().zip(1_u16..) {
        let mut lines = log.lines(&format!("parent=0.0.0.0:{} ", 8000 + number));
        lines.retain(|line| line.contains(" WARN "));
        assert_eq!(lines.len(), 1, "{}: {lines:#?}", lie.name);
        assert!(lines[0].contains(lie.line), "{}: {lines:#?}", lie.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_every_code_is_one_line_and_growing_pauses() {
    for code in 1..=u8::MAX {
        let (log, _guard) = Log::capture();
        let relay = Relay::start();
        let port = port(&relay, PARENT, 80);
        // Rests of 1, 2, 4 and 8 s lie between them.
        let start = tokio::time::Instant::now();
        for _ in 0..5 {
            let mut stream = relay.asked().await;
            server::write_refusal(&mut stream, Reply::from(code))
                .await
                .unwrap();
        }
        assert!(
            start.elapsed() >= Duration::from_secs(15),
            "{:?}",
            start.elapsed()
        );
        port.abort();
        assert_eq!(log.lines("is not published").len(), 1, "code {code}");
    }
}
