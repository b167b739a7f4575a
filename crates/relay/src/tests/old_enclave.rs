//! An enclave with the `proxify` that this one replaces, byte for byte: its library does SOCKS5 inside
//! connect(), and the program then owns the socket of the link.

use super::*;

/// Greeting and request as the old library sends them, in one write.
fn connect_request(to: SocketAddr) -> Vec<u8> {
    let mut bytes = vec![5, 1, 0, 5, 1, 0];
    match to.ip() {
        IpAddr::V4(ip) => {
            bytes.push(1);
            bytes.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            bytes.push(4);
            bytes.extend_from_slice(&ip.octets());
        }
    }
    bytes.extend_from_slice(&to.port().to_be_bytes());
    bytes
}

/// Method and reply, read by the sizes that the protocol gives them.
async fn take_reply(link: &mut UnixStream) -> (u8, SocketAddr) {
    let mut head = [0; 6];
    link.read_exact(&mut head).await.unwrap();
    let [5, 0, 5, reply, 0, address_type] = head else {
        panic!("{head:?}");
    };
    let ip = match address_type {
        1 => {
            let mut ip = [0; 4];
            link.read_exact(&mut ip).await.unwrap();
            IpAddr::from(ip)
        }
        4 => {
            let mut ip = [0; 16];
            link.read_exact(&mut ip).await.unwrap();
            IpAddr::from(ip)
        }
        other => panic!("address type {other}"),
    };
    (reply, SocketAddr::new(ip, link.read_u16().await.unwrap()))
}

async fn carries_a_connection(relay: &Running, listen: &str, pieces: &[usize]) {
    let target = TcpListener::bind(listen).await.unwrap();
    let request = connect_request(target.local_addr().unwrap());
    let mut program = relay.dial().await;
    let mut rest = &request[..];
    for piece in pieces {
        let (now, later) = rest.split_at(*piece);
        program.write_all(now).await.unwrap();
        // The relay takes what there is before the next piece comes.
        tokio::task::yield_now().await;
        rest = later;
    }
    program.write_all(rest).await.unwrap();
    let (mut server, from) = timeout(SOON, target.accept()).await.unwrap().unwrap();
    assert_eq!(take_reply(&mut program).await, (0, from), "{pieces:?}");
    program.write_all(b"question").await.unwrap();
    server.read_exact(&mut [0; 8]).await.unwrap();
    server.write_all(b"answer").await.unwrap();
    program.read_exact(&mut [0; 6]).await.unwrap();
    // close() of the program's socket closes both halves.
    program.write_all(b"last words").await.unwrap();
    drop(program);
    assert_eq!(read_all(server).await, b"last words");
}

#[tokio::test]
async fn a_connection_is_carried_however_its_request_is_cut() {
    let relay = Running::start(loopback());
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        let length = connect_request(listen.parse().unwrap()).len();
        carries_a_connection(&relay, listen, &[]).await;
        for boundary in 1..length {
            carries_a_connection(&relay, listen, &[boundary]).await;
        }
        carries_a_connection(&relay, listen, &vec![1; length - 1]).await;
    }
}

#[tokio::test]
async fn bytes_sent_right_behind_the_request_reach_the_server() {
    let relay = Running::start(loopback());
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut bytes = connect_request(target.local_addr().unwrap());
    bytes.extend_from_slice(b"early");
    let mut program = relay.dial().await;
    program.write_all(&bytes).await.unwrap();
    let (mut server, _) = target.accept().await.unwrap();
    server.read_exact(&mut [0; 5]).await.unwrap();
}

#[tokio::test]
async fn a_refusal_is_a_reply_and_an_end() {
    let relay = Running::start(Config::default());
    for to in ["127.0.0.1:9", "[::1]:9"] {
        let mut program = relay.dial().await;
        let request = connect_request(to.parse().unwrap());
        program.write_all(&request).await.unwrap();
        assert_eq!(take_reply(&mut program).await.0, 2);
        assert!(read_all(program).await.is_empty());
    }
}
