//! The relay as an enclave meets it.

use super::*;

#[test]
fn the_limits_are_those_of_the_design() {
    let limits = Limits::default();
    assert_eq!(limits.connections_per_enclave, 16_384);
    assert_eq!(limits.connections, 65_536);
    assert_eq!(limits.queries_in_flight, 1024);
    assert_eq!(limits.handshake, Duration::from_secs(10));
    assert_eq!(limits.buffer, 64 * 1024);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_stalls_is_closed_after_10_s_and_harms_nobody() {
    let (log, _guard) = Log::capture();
    let world = World::new(&Config::default());
    let started = Instant::now();
    let mut stalled = world.dial(16);
    stalled.write_all(&[5, 1]).await.unwrap();
    let mut other = world.dial(16);
    let served = link::socks::client::request(&mut other, Command::ResolvConf).await;
    assert!(served.is_ok());
    assert!(read_all(stalled).await.is_empty());
    assert!(started.elapsed() >= Duration::from_secs(10));
    assert_eq!(log.lines("handshake stalled").len(), 1);
}

#[tokio::test]
async fn malformed_and_oversized_handshakes_are_closed_with_one_line_each() {
    for (bytes, line) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "malformed: version 0x47"),
        (&[5, 200, 1, 2, 3], "oversized: methods of 200, at most 16"),
        (
            &[5, 1, 0, 5, 1, 0, 3, 255, 97],
            "oversized: name of 255, at most 253",
        ),
        (&[5, 1, 2], "no method without authentication"),
    ] {
        let (log, _guard) = Log::capture();
        let relay = Running::start(loopback());
        let mut client = relay.dial().await;
        client.write_all(bytes).await.unwrap();
        read_all(client).await;
        assert_eq!(log.lines(line).len(), 1, "{line}: {:?}", log.lines(""));
        assert!(relay.parent.request(Command::ResolvConf).await.is_ok());
    }
}

#[tokio::test]
async fn a_flood_of_malformed_handshakes_is_one_line_a_minute() {
    let (log, _guard) = Log::capture();
    let relay = Running::start(loopback());
    for _ in 0..50 {
        let mut client = relay.dial().await;
        client.write_all(b"GET /").await.unwrap();
        read_all(client).await;
    }
    let lines = log.lines("malformed");
    assert_eq!(lines.len(), 1, "{lines:?}");
}

#[tokio::test]
async fn a_name_gets_reply_8_and_an_unknown_command_reply_7() {
    let (log, _guard) = Log::capture();
    let relay = Running::start(loopback());
    for (request, reply) in [
        (&b"\x05\x01\x00\x03\x0bexample.com\x01\xbb"[..], 8),
        (&[5, 0xF0, 0, 1, 10, 0, 0, 1, 0, 80], 7),
    ] {
        let mut client = relay.dial().await;
        client.write_all(&[5, 1, 0]).await.unwrap();
        client.write_all(request).await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(
            read_all(client).await,
            [&[5, 0, 5, reply, 0, 1][..], &[0; 6]].concat()
        );
    }
    assert_eq!(log.lines("handshake refused why=asked for a name").len(), 1);
    let named = log.lines("example.com");
    assert!(named.iter().all(|line| line.contains("DEBUG")), "{named:?}");
}

#[tokio::test]
async fn the_parent_itself_is_not_reachable_unless_allowed() {
    let (log, _guard) = Log::capture();
    let relay = Running::start(Config::default());
    let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = open.local_addr().unwrap().port();
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped().into();
    for ip in [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        Ipv4Addr::UNSPECIFIED.into(),
        mapped,
    ] {
        let to = SocketAddr::new(ip, port);
        for command in [Command::Connect(to), Command::Dns(to)] {
            assert_eq!(
                reply_of(relay.parent.request(command).await),
                Reply::NotAllowed
            );
        }
    }
    // Each was asked for twice, the last is refused for what it is written as.
    assert_eq!(log.lines("it is the parent itself").len(), 2);
    assert_eq!(log.lines("mapped into IPv6").len(), 1);
    let relay = Running::start(loopback());
    let to = open.local_addr().unwrap();
    assert!(relay.parent.request(Command::Connect(to)).await.is_ok());
}

#[tokio::test]
async fn a_refused_destination_is_one_line_with_the_rule() {
    let (log, _guard) = Log::capture();
    let mut config = loopback();
    config.policy.deny = vec!["192.0.2.0/24:25".parse().unwrap()];
    let relay = Running::start(config);
    for _ in 0..10 {
        for to in ["192.0.2.1:25", "192.0.2.2:25", "198.51.100.1:80"] {
            let refused = relay.parent.request(Command::Connect(to.parse().unwrap()));
            assert_eq!(reply_of(refused.await), Reply::NotAllowed);
        }
    }
    for line in [
        "not allowed command=CONNECT 192.0.2.1:25 why=`--deny 192.0.2.0/24:25` names it",
        "not allowed command=CONNECT 192.0.2.2:25 why=`--deny 192.0.2.0/24:25` names it",
        "not allowed command=CONNECT 198.51.100.1:80 why=no `--allow` names it",
    ] {
        assert_eq!(log.lines(line).len(), 1, "{line}: {:?}", log.lines(""));
    }
}

#[tokio::test]
async fn each_failure_to_connect_has_its_reply() {
    let mut config = limited(|limits| limits.connect = Duration::from_millis(300));
    config.policy.deny = vec!["127.0.0.9/32".parse().unwrap()];
    let relay = Running::start(config);
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    // A listener whose queue is full drops SYNs.
    let deaf = TcpSocket::new_v4().unwrap();
    deaf.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let deaf = deaf.listen(1).unwrap();
    let mut queued = Vec::new();
    let timed_out = loop {
        let to = deaf.local_addr().unwrap();
        match relay.parent.request(Command::Connect(to)).await {
            Ok(accepted) => queued.push(accepted),
            failed => break failed,
        }
        assert!(queued.len() < 10, "the queue never fills");
    };
    assert_eq!(reply_of(timed_out), Reply::TimedOut);
    for (to, reply) in [
        (closed.local_addr().unwrap(), Reply::ConnectionRefused),
        ("127.0.0.9:1".parse().unwrap(), Reply::NotAllowed),
    ] {
        let refused = relay.parent.request(Command::Connect(to)).await;
        assert_eq!(reply_of(refused), reply, "{to}");
    }
}

#[tokio::test]
async fn the_parents_interface_addresses_are_not_reachable() {
    let own = crate::policy::OwnAddresses::default()
        .at(Instant::now())
        .unwrap();
    let relay = Running::start(Config::default());
    for &ip in own.iter() {
        let to = SocketAddr::new(ip, 9);
        let refused = relay.parent.request(Command::Connect(to)).await;
        assert_eq!(reply_of(refused), Reply::NotAllowed, "{ip}");
    }
}

#[tokio::test]
async fn an_enclave_over_its_limit_is_closed_with_one_line() {
    let (log, _guard) = Log::capture();
    let relay = Running::start(limited(|limits| limits.connections_per_enclave = 3));
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(relay.parent.request(Command::ResolvConf).await.unwrap());
    }
    for _ in 0..5 {
        let refused = relay.parent.request(Command::ResolvConf).await;
        assert!(
            matches!(refused, Err(RequestError::Closed { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(log.lines("it has 3 connections already").len(), 1);
    held.pop();
    let again = async {
        while relay.parent.request(Command::ResolvConf).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, again).await.unwrap();
}

#[tokio::test]
async fn all_enclaves_together_have_a_limit_and_each_counts_for_itself() {
    let (log, _guard) = Log::capture();
    let config = limited(|limits| {
        limits.connections_per_enclave = 2;
        limits.connections = 3;
    });
    let [first, second, third] = Enclave::at_one_relay(config, [1, 2, 3]);
    let _first = [
        first.request(Command::ResolvConf).await.unwrap(),
        first.request(Command::ResolvConf).await.unwrap(),
    ];
    assert!(first.request(Command::ResolvConf).await.is_err());
    let _second = second.request(Command::ResolvConf).await.unwrap();
    assert!(third.request(Command::ResolvConf).await.is_err());
    assert_eq!(log.lines("it has 2 connections already").len(), 1);
    assert_eq!(log.lines("all enclaves together have 3").len(), 1);
}

#[tokio::test]
async fn draining_answers_what_is_in_flight_and_ends_the_rest() {
    let mut relay = Running::start(limited(|limits| limits.grace = Duration::from_secs(4)));
    let nameserver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = nameserver.local_addr().unwrap();
    let mut dns = relay
        .parent
        .request(Command::Dns(address))
        .await
        .unwrap()
        .stream;
    frame::write(&mut dns, &crate::dns::tests::query(7, false))
        .await
        .unwrap();
    let mut packet = [0; 512];
    let (length, from) = nameserver.recv_from(&mut packet).await.unwrap();

    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connect = Command::Connect(target.local_addr().unwrap());
    let mut tunnel = relay.parent.request(connect).await.unwrap().stream;
    let (mut far, _) = target.accept().await.unwrap();
    let idle = relay.dial().await;

    relay.stop();
    // A handshake that has not ended is a new connection: closed at once.
    assert!(read_all(idle).await.is_empty());
    assert!(UnixStream::connect(&relay.socket).await.is_err());
    tunnel.write_all(b"last bytes").await.unwrap();
    drop(tunnel);
    assert_eq!(read_all(&mut far).await, b"last bytes");
    drop(far);

    packet[2] |= 0x80;
    nameserver.send_to(&packet[..length], from).await.unwrap();
    let mut frames = frame::Reader::new(dns);
    let answer = frames.next().await.unwrap().unwrap();
    assert_eq!(answer[..2], [0, 7]);
    assert_eq!(frames.next().await.unwrap(), None);
    relay.stopped().await;
}

#[tokio::test]
async fn a_tunnel_that_does_not_end_is_dropped_after_its_grace() {
    let mut relay = Running::start(limited(|limits| limits.grace = Duration::from_millis(50)));
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connect = Command::Connect(target.local_addr().unwrap());
    let tunnel = relay.parent.request(connect).await.unwrap().stream;
    relay.stop();
    relay.stopped().await;
    assert!(read_all(tunnel).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lasting_connection_ends_when_the_relay_drains() {
    let world = World::new(&Config::default());
    let mut feed = world.dial(16);
    link::socks::client::request(&mut feed, Command::ResolvConf)
        .await
        .unwrap();
    world.drain.send(true).unwrap();
    let sent = read_all(feed).await;
    assert!(sent.is_empty() || sent.ends_with(b"nameserver 10.0.0.2\n"));
}

#[tokio::test]
async fn resolv_conf_comes_over_the_link() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("resolv.conf");
    std::fs::write(&file, "nameserver 10.0.0.2\nsearch ec2.internal\n").unwrap();
    let resolv_conf = Files {
        file,
        ..Files::default()
    };
    let relay = Running::start(Config {
        resolv_conf,
        ..Config::default()
    });
    let stream = relay
        .parent
        .request(Command::ResolvConf)
        .await
        .unwrap()
        .stream;
    let mut frames = frame::Reader::new(stream);
    let frame = timeout(SOON, frames.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(frame, b"nameserver 10.0.0.2\nsearch ec2.internal\n");
}

#[tokio::test]
async fn connect_carries_bytes_both_ways_and_each_end_on_its_own() {
    let relay = Running::start(loopback());
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let target = TcpListener::bind(local).await.unwrap();
        let to = target.local_addr().unwrap();
        let accepted = relay.parent.request(Command::Connect(to)).await.unwrap();
        let (mut far, from): (TcpStream, _) = target.accept().await.unwrap();
        assert_eq!(accepted.bound, from);
        let mut near = accepted.stream;
        near.write_all(b"question").await.unwrap();
        near.shutdown().await.unwrap();
        assert_eq!(read_all(&mut far).await, b"question");
        far.write_all(b"answer after the half-close").await.unwrap();
        drop(far);
        assert_eq!(read_all(near).await, b"answer after the half-close");
    }
}

#[tokio::test]
async fn a_servers_reset_ends_the_tunnel() {
    let relay = Running::start(loopback());
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connect = Command::Connect(target.local_addr().unwrap());
    let mut near = relay.parent.request(connect).await.unwrap().stream;
    let (mut far, _) = target.accept().await.unwrap();
    far.write_all(b"half an answer").await.unwrap();
    near.read_exact(&mut [0; 14]).await.unwrap();
    far.set_zero_linger().unwrap();
    drop(far);
    assert!(read_all(&mut near).await.is_empty());
    // A unix socket has no reset: that nothing more can be sent tells it from a half-close.
    assert!(near.write_all(b"more").await.is_err());
}

#[tokio::test]
async fn a_thousand_tunnels_are_open_at_once() {
    crate::cli::raise_descriptor_limit();
    let relay = Running::start(loopback());
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connect = Command::Connect(target.local_addr().unwrap());
    let mut tunnels = Vec::new();
    for _ in 0..1000 {
        let near = relay.parent.request(connect).await.unwrap().stream;
        let (far, _) = target.accept().await.unwrap();
        tunnels.push((near, far));
    }
    for (near, far) in &mut tunnels {
        near.write_all(b"question").await.unwrap();
        far.read_exact(&mut [0; 8]).await.unwrap();
        far.write_all(b"answer").await.unwrap();
        near.read_exact(&mut [0; 6]).await.unwrap();
    }
}
