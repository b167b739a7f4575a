//! Services with explicit paths and ports of their own; none touches /etc, /run or port 53.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};

use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::work::PORT_HANDOVER;
use super::*;
use crate::cli::ResolvConfFile;

/// A directory that stands for /etc and /run, and the address of one stub.
struct Machine {
    directory: TempDir,
    address: SocketAddr,
}

impl Machine {
    fn new() -> Self {
        // Below the ports that the system gives out, at an address that no other test has.
        static MACHINES: AtomicU8 = AtomicU8::new(2);
        let [.., high, low] = std::process::id().to_be_bytes();
        let ip = [127, high, low, MACHINES.fetch_add(1, Ordering::Relaxed)];
        Self {
            directory: tempfile::tempdir().unwrap(),
            address: SocketAddr::from((ip, 5300)),
        }
    }

    fn start(&self) -> Result<Service, ServiceError> {
        let line = [
            "proxify".to_owned(),
            format!("--listen={}", self.address),
            "--parent=unix:/nonexistent/proxify".to_owned(),
            "--nameservers=10.0.0.2".to_owned(),
            "--resolv-conf=none".to_owned(),
            "app".to_owned(),
        ];
        let mut config = Config::parse(line, |_| None).unwrap();
        config.egress = None;
        let nameserver = IpAddr::from([127, 0, 0, 1]);
        config.resolv_conf = Some(ResolvConfFile {
            path: self.resolv_conf(),
            nameserver,
        });
        Service::start(&config, &self.directory.path().join("proxify.lock"))
    }

    fn resolv_conf(&self) -> PathBuf {
        self.directory.path().join("resolv.conf")
    }

    fn is_ours(&self) -> bool {
        std::fs::read_to_string(self.resolv_conf()).is_ok_and(|text| text.contains("proxify"))
    }
}

async fn until(service: &mut Service, state: State) {
    let reached = service.state.wait_for(|now| *now == state);
    timeout(Duration::from_secs(10), reached)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_an_upstream_app_starts_after_five_seconds() {
    let machine = Machine::new();
    let mut service = machine.start().unwrap();
    let start = Instant::now();
    assert_eq!(service.names().await.unwrap(), Names::NotYet);
    assert_eq!(start.elapsed().as_secs(), WAIT_FOR_UPSTREAM.as_secs());
    assert!(machine.is_ours());
    service.end().await;
    assert!(!machine.is_ours());
}

#[tokio::test]
async fn the_second_uses_the_firsts_stub_and_takes_over_at_its_end() {
    let machine = Machine::new();
    let mut first = machine.start().unwrap();
    until(&mut first, State::Serving).await;
    let mut second = machine.start().unwrap();
    assert_eq!(second.names().await.unwrap(), Names::Served);
    assert_eq!(*second.state.borrow(), State::Waiting);
    first.end().await;
    until(&mut second, State::Serving).await;
    assert!(machine.is_ours());
    second.end().await;
    assert!(!machine.is_ours());
}

#[tokio::test]
async fn the_second_may_end_first() {
    let machine = Machine::new();
    let mut first = machine.start().unwrap();
    until(&mut first, State::Serving).await;
    let mut second = machine.start().unwrap();
    assert_eq!(second.names().await.unwrap(), Names::Served);
    second.end().await;
    assert!(machine.is_ours(), "it belongs to the first");
    assert!(
        std::net::UdpSocket::bind(machine.address).is_err(),
        "and so does the stub"
    );
    first.end().await;
}

#[tokio::test(start_paused = true)]
async fn another_programs_resolv_conf_stands_for_two_seconds_at_most_and_not_at_the_end() {
    let machine = Machine::new();
    std::fs::write(machine.resolv_conf(), "nameserver 192.0.2.1\n").unwrap();
    let mut service = machine.start().unwrap();
    until(&mut service, State::Serving).await;
    for _ in 0..3 {
        std::fs::write(machine.resolv_conf(), "nameserver 6.6.6.6\n").unwrap();
        sleep(Duration::from_secs(2)).await;
        assert!(machine.is_ours());
    }
    std::fs::write(machine.resolv_conf(), "nameserver 6.6.6.6\n").unwrap();
    service.end().await;
    let left = std::fs::read_to_string(machine.resolv_conf()).unwrap();
    assert_eq!(left, "nameserver 192.0.2.1\n");
}

#[tokio::test(start_paused = true)]
async fn a_foreign_listener_is_an_error_that_names_its_process() {
    let machine = Machine::new();
    let _foreign = std::net::UdpSocket::bind(machine.address).unwrap();
    let mut service = machine.start().unwrap();
    let error = service.names().await.unwrap_err().to_string();
    let us = format!("(pid {})", std::process::id());
    assert!(error.contains(&us) && error.contains("--listen"), "{error}");
    service.end().await;
    assert!(!machine.is_ours());
}

#[tokio::test(start_paused = true)]
async fn a_port_that_is_given_up_late_is_waited_for() {
    let machine = Machine::new();
    let foreign = std::net::UdpSocket::bind(machine.address).unwrap();
    let mut service = machine.start().unwrap();
    sleep(PORT_HANDOVER / 2).await;
    drop(foreign);
    until(&mut service, State::Serving).await;
    service.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_resolv_conf_that_cannot_be_written_ends_the_start() {
    let machine = Machine::new();
    std::fs::create_dir(machine.resolv_conf()).unwrap();
    let mut service = machine.start().unwrap();
    let error = service.names().await.unwrap_err().to_string();
    assert!(error.contains("--resolv-conf none"), "{error}");
    service.end().await;
}

#[tokio::test]
async fn operators_ask_beside_the_lock_as_long_as_it_serves() {
    assert_eq!(
        Path::new(owner::LOCK).with_extension("sock"),
        Path::new(control::SOCKET)
    );
    let machine = Machine::new();
    let mut service = machine.start().unwrap();
    until(&mut service, State::Serving).await;
    let socket = machine.directory.path().join("proxify.sock");
    let status = async || {
        let socket = socket.clone();
        let ask = move || control::ask(&socket, &control::Request::Status);
        match tokio::task::spawn_blocking(ask).await.unwrap().unwrap() {
            control::Reply::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    };
    let found = async {
        loop {
            let status = status().await;
            if !status.nameservers.is_empty() {
                return status;
            }
        }
    };
    let status = timeout(Duration::from_secs(10), found).await.unwrap();
    assert_eq!(status.pid, std::process::id());
    assert_eq!(status.parent.kind, control::ParentKind::None);
    let [nameserver] = &status.nameservers[..] else {
        panic!("{status:?}")
    };
    assert_eq!(nameserver.address, "10.0.0.2:53");
    assert_eq!(nameserver.source, "the command line");
    service.end().await;
    assert!(!socket.exists());
}
