//! What a parent sends, and what clients leave unread, takes a bounded share of memory: every byte that
//! this process holds is counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use link::socks::server::{read_request, write_reply};
use link::{Address, ListenAddress, Listener, Parent, Reply, Stream, frame};
use stub::{Config, Reach, Routes, Stub};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};

struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

/// A test has one thread, with the stub, the parent and the clients on it.
fn count(bytes: usize, sign: isize) {
    let held = HELD.get() + sign * bytes.cast_signed();
    HELD.set(held);
    MOST.set(MOST.get().max(held));
}

// SAFETY: every call is passed on to the system's allocator as it came. Counting touches
// thread-locals that need no allocation and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller keeps this method's contract, which is `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: isize = 1 << 20;

/// A cache of 1 MiB and what the stub has beside it, before anything happens.
fn start(directory: &Path) -> SocketAddr {
    let config = Config {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        cache_size: 1 << 20,
        pins: stub::Pins::default(),
        routes: Routes::default(),
        upstream_pps: 0,
        query_log: false,
    };
    let stub = Stub::bind(&config).unwrap();
    let address = stub.local_addrs()[0];
    let parent = Parent::new(Address::Unix(directory.join("parent")), link::DEFAULT_PORT);
    let nameserver = SocketAddr::from(([10, 0, 0, 2], 53));
    let (nameservers, following) = watch::channel(Arc::from([nameserver]));
    let (reach, _) = watch::channel(Reach::Nobody);
    tokio::spawn(async move {
        let _kept = nameservers;
        stub.run(parent, following, reach, std::future::pending())
            .await;
    });
    address
}

fn listen(directory: &Path) -> Listener {
    let address = ListenAddress::Unix(directory.join("parent"));
    Listener::bind(&address, link::DEFAULT_PORT).unwrap()
}

/// Grants the stub its connection for DNS.
async fn grant(listener: &Listener) -> Stream {
    let (mut stream, _) = listener.accept().await.unwrap();
    read_request(&mut stream).await.unwrap();
    let unspecified = link::socks::UNSPECIFIED;
    write_reply(&mut stream, Reply::Succeeded, unspecified)
        .await
        .unwrap();
    stream
}

/// A query for A of `a.test`.
fn query(id: u16) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    bytes.extend_from_slice(b"\x01a\x04test\x00\x00\x01\x00\x01");
    bytes
}

/// An answer as long as one can be, with TTL 0.
fn longest(query: &[u8]) -> Vec<u8> {
    let end = 12 + 12;
    let mut bytes = query[..end].to_vec();
    bytes[2] |= 0x80;
    bytes[7] = 1;
    bytes[10..12].fill(0);
    bytes.extend_from_slice(&[0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 0]);
    let rest = 65_535 - bytes.len() - 2;
    bytes.extend_from_slice(&u16::try_from(rest).unwrap().to_be_bytes());
    bytes.resize(65_535, 7);
    bytes
}

async fn ask(stub: SocketAddr) -> Vec<u8> {
    let mut client = TcpStream::connect(stub).await.unwrap();
    frame::write(&mut client, &query(1)).await.unwrap();
    let mut reply = Vec::new();
    frame::read(&mut client, &mut reply).await.unwrap().unwrap();
    reply
}

#[tokio::test]
async fn a_flood_of_answers_that_nobody_asked_for_is_not_held() {
    let directory = tempfile::tempdir().unwrap();
    let listener = listen(directory.path());
    let stub = start(directory.path());
    let before = HELD.get();
    let parent = tokio::spawn(async move {
        let mut stream = grant(&listener).await;
        let mut asked = Vec::new();
        frame::read(&mut stream, &mut asked).await.unwrap().unwrap();
        let mut stranger = longest(&asked);
        stranger[0] ^= 0x80;
        for _ in 0..1000 {
            frame::write(&mut stream, &stranger).await.unwrap();
        }
        frame::write(&mut stream, &longest(&asked)).await.unwrap();
    });
    assert_eq!(ask(stub).await.len(), 65_535);
    parent.await.unwrap();
    // Of 64 MiB.
    assert!(MOST.get() - before < 2 * MIB, "{}", MOST.get() - before);
}

/// All wait for one answer, and read nothing of it.
#[tokio::test]
async fn replies_that_clients_leave_unread_are_bounded_in_bytes() {
    const CLIENTS: usize = 32;
    const QUERIES: u16 = 128;
    let directory = tempfile::tempdir().unwrap();
    let listener = listen(directory.path());
    let stub = start(directory.path());
    let answers = Arc::new(Notify::new());
    let answered = Arc::clone(&answers);
    let parent = tokio::spawn(async move {
        let mut stream = grant(&listener).await;
        let mut asked = Vec::new();
        while let Ok(Some(())) = frame::read(&mut stream, &mut asked).await {
            answered.notified().await;
            answered.notify_one();
            frame::write(&mut stream, &longest(&asked)).await.unwrap();
        }
    });
    let mut frames = Vec::new();
    for id in 0..QUERIES {
        frame::encode(&query(id), &mut frames).unwrap();
    }
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = TcpStream::connect(stub).await.unwrap();
        client.write_all(&frames).await.unwrap();
        clients.push(client);
    }
    // The stub takes them meanwhile.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    let before = HELD.get();
    answers.notify_one();
    clients[0].readable().await.unwrap();
    // One that reads is served beside them.
    assert_eq!(ask(stub).await.len(), 65_535);
    assert!(MOST.get() - before < 16 * MIB, "{}", MOST.get() - before);
    // Of 256 MiB. Who left the most is closed.
    assert!(HELD.get() - before < 8 * MIB, "{}", HELD.get() - before);
    parent.abort();
}
