use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::Command;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::Local;

/// Longer than anything here takes, short enough that a hang is seen.
const SOON: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
enum Family {
    Tcp,
    Unix,
}

/// A program's socket, and the one that is carried.
async fn pair(family: Family) -> (Stream, Stream) {
    match family {
        Family::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let near = TcpStream::connect(listener.local_addr().unwrap());
            let (near, far) = tokio::join!(near, listener.accept());
            (Stream::Tcp(near.unwrap()), Stream::Tcp(far.unwrap().0))
        }
        Family::Unix => {
            let (near, far) = UnixStream::pair().unwrap();
            let local = |stream| Stream::Unix(Local::try_from(stream).unwrap());
            (local(near), local(far))
        }
    }
}

/// A tunnel between two programs.
async fn tunnel(a: Family, b: Family) -> (Stream, Stream, JoinHandle<Carried>) {
    let (program_a, a) = pair(a).await;
    let (program_b, b) = pair(b).await;
    (program_a, program_b, tokio::spawn(carry(a, b)))
}

async fn end_of(tunnel: JoinHandle<Carried>) -> Carried {
    timeout(SOON, tunnel).await.unwrap().unwrap()
}

async fn read_all(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    timeout(SOON, read).await.unwrap().map(|_| bytes)
}

fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    StdRng::seed_from_u64(seed).fill(&mut bytes[..]);
    bytes
}

/// Writes in pieces of random sizes with random pauses, and ends.
async fn write_in_pieces(mut to: WriteHalf<Stream>, bytes: Vec<u8>, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        // From a byte to half a megabyte, evenly by magnitude.
        let size = (1_usize << random.random_range(0..20)).min(rest.len());
        let (piece, after) = rest.split_at(size);
        to.write_all(piece).await.unwrap();
        if random.random_bool(0.3) {
            tokio::task::yield_now().await;
        }
        rest = after;
    }
    to.shutdown().await.unwrap();
}

/// Reads to the end in pieces of random sizes.
async fn read_in_pieces(mut from: ReadHalf<Stream>, seed: u64) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut bytes = Vec::new();
    loop {
        let mut piece = vec![0; 1 << random.random_range(0..20)];
        let read = from.read(&mut piece).await.unwrap();
        if read == 0 {
            return bytes;
        }
        bytes.extend_from_slice(&piece[..read]);
    }
}

async fn carries_exactly(a: Family, b: Family, seed: u64, length: usize) {
    let (program_a, program_b, tunnel) = tunnel(a, b).await;
    let (from_a, to_a) = split(program_a);
    let (from_b, to_b) = split(program_b);
    let (out, back) = (bytes(seed, length), bytes(seed + 1, length / 3));
    let writing = async {
        tokio::join!(
            write_in_pieces(to_a, out.clone(), seed + 2),
            write_in_pieces(to_b, back.clone(), seed + 3),
            read_in_pieces(from_b, seed + 4),
            read_in_pieces(from_a, seed + 5),
        )
    };
    let ((), (), at_b, at_a) = timeout(SOON, writing).await.unwrap();
    assert!(at_b == out, "{a:?} to {b:?}, seed {seed}: bytes differ");
    assert!(at_a == back, "{b:?} to {a:?}, seed {seed}: bytes differ");
    let carried = end_of(tunnel).await;
    carried.ended.unwrap();
    assert_eq!(carried.a_to_b, out.len() as u64);
    assert_eq!(carried.b_to_a, back.len() as u64);
}

#[tokio::test]
async fn what_is_counted_on_the_way_is_what_was_carried() {
    let (mut program_a, a) = pair(Family::Tcp).await;
    let (mut program_b, b) = pair(Family::Unix).await;
    let (seen, mut counted) = tokio::sync::mpsc::unbounded_channel();
    let tunnel = tokio::spawn(async move {
        let count = |to_b, to_a| seen.send((to_b, to_a)).unwrap();
        carry_counted(a, b, count).await
    });
    program_b.write_all(b"hello").await.unwrap();
    program_a.read_exact(&mut [0; 5]).await.unwrap();
    // While it is open.
    assert_eq!(timeout(SOON, counted.recv()).await.unwrap(), Some((0, 5)));
    let sent = bytes(7, 1 << 20);
    let (read, ()) = tokio::join!(read_all(&mut program_b), async {
        program_a.write_all(&sent).await.unwrap();
        program_a.shutdown().await.unwrap();
    });
    assert_eq!(read.unwrap(), sent);
    program_b.shutdown().await.unwrap();
    let carried = end_of(tunnel).await;
    let mut sum = (0, 5);
    while let Some((to_b, to_a)) = counted.recv().await {
        sum = (sum.0 + to_b, sum.1 + to_a);
    }
    assert_eq!(sum, (carried.a_to_b, carried.b_to_a));
    assert_eq!(sum, (1 << 20, 5));
}

#[tokio::test]
async fn every_byte_arrives_in_order_both_ways() {
    use Family::{Tcp, Unix};
    for (a, b) in [(Tcp, Tcp), (Tcp, Unix), (Unix, Tcp), (Unix, Unix)] {
        for (seed, length) in [(1, 0), (2, 1), (3, 70_000), (4, 1_500_000)] {
            carries_exactly(a, b, seed, length).await;
        }
    }
}

#[tokio::test]
async fn each_direction_ends_on_its_own_in_either_order() {
    use Family::{Tcp, Unix};
    for (a, b) in [(Tcp, Tcp), (Tcp, Unix), (Unix, Tcp), (Unix, Unix)] {
        for first_is_a in [true, false] {
            let (program_a, program_b, tunnel) = tunnel(a, b).await;
            let (mut first, mut second) = if first_is_a {
                (program_a, program_b)
            } else {
                (program_b, program_a)
            };
            first.write_all(b"question").await.unwrap();
            first.shutdown().await.unwrap();
            assert_eq!(read_all(&mut second).await.unwrap(), b"question");
            let answer = bytes(9, 300_000);
            let (sent, read) = tokio::join!(
                async {
                    second.write_all(&answer).await?;
                    second.shutdown().await
                },
                read_all(&mut first)
            );
            sent.unwrap();
            assert!(read.unwrap() == answer);
            end_of(tunnel).await.ended.unwrap();
        }
    }
}

#[tokio::test]
async fn a_reset_is_passed_on_as_a_reset() {
    for a_resets in [true, false] {
        let (program_a, program_b, tunnel) = tunnel(Family::Tcp, Family::Tcp).await;
        let (resetting, mut other) = if a_resets {
            (program_a, program_b)
        } else {
            (program_b, program_a)
        };
        let Stream::Tcp(resetting) = resetting else {
            unreachable!()
        };
        resetting.set_zero_linger().unwrap();
        drop(resetting);
        let error = read_all(&mut other).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let expected = if a_resets { Side::A } else { Side::B };
        let ended = end_of(tunnel).await.ended;
        assert!(
            matches!(ended, Err(CarryError::Read { side, .. }) if side == expected),
            "{ended:?}"
        );
    }
}

#[tokio::test]
async fn bytes_that_nobody_takes_any_more_reset_their_sender() {
    let (mut program, gone, tunnel) = tunnel(Family::Tcp, Family::Unix).await;
    // The other direction has ended, so this is known only by writing.
    let (reading, writing) = split(gone);
    drop((reading, writing));
    let sending = async { while program.write_all(&[0; 4096]).await.is_ok() {} };
    timeout(SOON, sending).await.unwrap();
    let ended = end_of(tunnel).await.ended;
    // Whichever is seen first: that it hung up, or that it takes nothing.
    assert!(
        matches!(ended, Ok(()) | Err(CarryError::Write { side: Side::B, .. })),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_dialed_relay_that_hangs_up_resets_the_program() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay");
    let listener = UnixListener::bind(&path).unwrap();
    let link = UnixStream::connect(&path).await.unwrap();
    let (mut relay, _) = listener.accept().await.unwrap();
    let (mut program, near) = pair(Family::Tcp).await;
    let tunnel = tokio::spawn(carry(near, Stream::Unix(link.try_into().unwrap())));
    relay.write_all(b"half an answ").await.unwrap();
    program.read_exact(&mut [0; 12]).await.unwrap();
    drop(relay);
    let error = read_all(&mut program).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    let ended = end_of(tunnel).await.ended;
    assert!(
        matches!(ended, Err(CarryError::HungUp { side: Side::B })),
        "{ended:?}"
    );
}

#[tokio::test]
async fn what_a_client_of_the_link_sent_before_it_hung_up_is_delivered() {
    let (mut program, mut server, tunnel) = tunnel(Family::Unix, Family::Tcp).await;
    let sent = bytes(5, 100_000);
    program.write_all(&sent).await.unwrap();
    drop(program);
    assert!(read_all(&mut server).await.unwrap() == sent);
    // The server has not ended, and nobody would hear it.
    end_of(tunnel).await.ended.unwrap();
}

#[tokio::test]
async fn a_slow_reader_stops_its_own_writer_only_and_holds_a_bounded_amount() {
    let (mut program, slow, tunnel) = tunnel(Family::Unix, Family::Unix).await;
    let mut taken = 0;
    // Nothing else is under way, so a write that waits this long waits for the reader.
    while let Ok(written) = timeout(Duration::from_millis(300), program.write(&[7; 10_000])).await {
        taken += written.unwrap();
        assert!(taken < 1024 * 1024, "the writer is never stopped");
    }
    carries_exactly(Family::Tcp, Family::Unix, 6, 500_000).await;
    let (mut slow, _held_open) = split(slow);
    let reading = async {
        let mut read = vec![0; taken];
        slow.read_exact(&mut read).await.unwrap();
        read
    };
    let read = timeout(SOON, reading).await.unwrap();
    assert!(read.iter().all(|byte| *byte == 7));
    tunnel.abort();
}

#[tokio::test]
async fn dropping_the_tunnel_closes_both_ends() {
    let (mut program_a, mut program_b, tunnel) = tunnel(Family::Tcp, Family::Unix).await;
    program_a.write_all(b"x").await.unwrap();
    program_b.read_exact(&mut [0]).await.unwrap();
    tunnel.abort();
    assert_eq!(read_all(&mut program_a).await.unwrap(), b"");
    assert_eq!(read_all(&mut program_b).await.unwrap(), b"");
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_that_carries_nothing_ends_and_one_that_carries_little_does_not() {
    let (mut program_a, mut program_b, tunnel) = tunnel(Family::Unix, Family::Unix).await;
    // A byte now and then, in either direction alone.
    for _ in 0..3 {
        sleep(IDLE * 9 / 10).await;
        program_a.write_all(&[0]).await.unwrap();
        program_b.read_exact(&mut [0]).await.unwrap();
    }
    for _ in 0..3 {
        sleep(IDLE * 9 / 10).await;
        program_b.write_all(&[0]).await.unwrap();
        program_a.read_exact(&mut [0]).await.unwrap();
    }
    let quiet = Instant::now();
    let ended = tunnel.await.unwrap().ended;
    assert!(matches!(ended, Err(CarryError::Idle)), "{ended:?}");
    assert!((IDLE..=2 * IDLE).contains(&quiet.elapsed()));
}

/// Set in a child process, whose descriptors run out.
const WITHOUT_DESCRIPTORS: &str = "CARRY_WITHOUT_DESCRIPTORS";

#[test]
fn without_descriptors_for_a_pipe_it_goes_on_by_copying() {
    let name = "carry::tests::without_descriptors_for_a_pipe_it_goes_on_by_copying";
    if std::env::var_os(WITHOUT_DESCRIPTORS).is_none() {
        // The limit is the process's: other tests run in this one.
        let child = Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact"])
            .env(WITHOUT_DESCRIPTORS, "1")
            .output()
            .unwrap();
        assert!(
            child.status.success() && child.stdout.windows(8).any(|text| text == b"1 passed"),
            "{child:?}"
        );
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (program_a, program_b, tunnel) = tunnel(Family::Tcp, Family::Tcp).await;
        let next = StdUnixStream::pair().unwrap();
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let used = std::os::fd::AsRawFd::as_raw_fd(&next.0);
        drop(next);
        setrlimit(Resource::RLIMIT_NOFILE, used.try_into().unwrap(), hard).unwrap();
        assert!(pipe::Pipe::lend().is_none(), "a descriptor is left");
        let sent = bytes(8, 1_500_000);
        let (_from_a, to_a) = split(program_a);
        let (from_b, _to_b) = split(program_b);
        let ((), read) = tokio::join!(
            write_in_pieces(to_a, sent.clone(), 1),
            read_in_pieces(from_b, 2)
        );
        assert!(read == sent);
        tunnel.abort();
    });
}
