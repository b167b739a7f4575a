use std::os::unix::fs::PermissionsExt;

use tempfile::{TempDir, tempdir};

use super::*;

const PORT: u32 = 8888;

fn prefix(directory: &TempDir) -> (ListenAddress, PathBuf) {
    let prefix = directory.path().join("relay");
    (
        ListenAddress::Unix(prefix),
        directory.path().join("relay_8888"),
    )
}

#[test]
fn a_vsock_peer_is_its_context_id() {
    // Made from numbers: no socket is opened.
    assert_eq!(vsock_peer(VsockAddr::new(16, 50_000)), Peer::Cid(16));
    assert_eq!(
        vsock_peer(VsockAddr::new(16, 50_001)),
        vsock_peer(VsockAddr::new(16, 9))
    );
    assert_eq!(Peer::Cid(16).to_string(), "vsock:16");
    assert_eq!(
        Peer::Tcp("127.0.0.1".parse().unwrap()).to_string(),
        "tcp:127.0.0.1"
    );
}

#[tokio::test]
async fn the_unix_socket_is_for_owner_and_group_and_goes_with_the_listener() {
    let directory = tempdir().unwrap();
    let (address, path) = prefix(&directory);
    let listener = Listener::bind(&address, PORT).unwrap();
    assert_eq!(listener.to_string(), format!("unix:{}", path.display()));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o660);
    drop(listener);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_stale_socket_is_replaced() {
    let directory = tempdir().unwrap();
    let (address, path) = prefix(&directory);
    // A std listener leaves its file behind, as a killed relay does.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let listener = Listener::bind(&address, PORT).unwrap();
    let client = tokio::net::UnixStream::connect(&path).await.unwrap();
    listener.accept().await.unwrap();
    drop(client);
}

#[tokio::test]
async fn a_served_socket_is_left_alone() {
    let directory = tempdir().unwrap();
    let (address, path) = prefix(&directory);
    let first = Listener::bind(&address, PORT).unwrap();
    let error = Listener::bind(&address, PORT).unwrap_err();
    assert!(matches!(error, BindError::InUse { .. }), "{error}");
    let _client = tokio::net::UnixStream::connect(&path).await.unwrap();
    drop(first);
}

#[tokio::test]
async fn of_many_that_start_on_a_stale_socket_one_serves() {
    for _ in 0..20 {
        let directory = tempdir().unwrap();
        let (address, path) = prefix(&directory);
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let runtime = tokio::runtime::Handle::current();
        let start = std::sync::Barrier::new(4);
        let bind = || {
            let _entered = runtime.enter();
            start.wait();
            Listener::bind(&address, PORT)
        };
        let bound: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(bind)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let served: Vec<_> = bound.iter().filter(|result| result.is_ok()).collect();
        assert_eq!(served.len(), 1, "{bound:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let directory = tempdir().unwrap();
    let (address, path) = prefix(&directory);
    std::fs::write(&path, "precious").unwrap();
    let error = Listener::bind(&address, PORT).unwrap_err();
    assert!(matches!(error, BindError::NotASocket { .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[tokio::test]
async fn another_relay_s_socket_is_not_taken_away() {
    let directory = tempdir().unwrap();
    let (address, path) = prefix(&directory);
    let first = Listener::bind(&address, PORT).unwrap();
    // The file moves to another inode while the first still holds its own.
    std::fs::rename(&path, directory.path().join("moved")).unwrap();
    let second = Listener::bind(&address, PORT).unwrap();
    drop(first);
    assert!(path.exists());
    drop(second);
    assert!(!path.exists());
}

#[tokio::test]
async fn bind_errors_say_what_to_try() {
    let missing = ListenAddress::Unix("/nowhere/relay".into());
    let error = Listener::bind(&missing, PORT).unwrap_err().to_string();
    assert!(error.contains("unix:/nowhere/relay_8888"), "{error}");
    assert!(error.contains("does the directory exist?"), "{error}");

    let everywhere = ListenAddress::Tcp("0.0.0.0".parse().unwrap());
    let error = Listener::bind(&everywhere, PORT).unwrap_err();
    assert!(matches!(error, BindError::NotLoopback { .. }), "{error}");

    let loopback = ListenAddress::Tcp("127.0.0.1".parse().unwrap());
    let error = Listener::bind(&loopback, 65_536).unwrap_err();
    assert!(matches!(error, BindError::Port { port: 65_536 }), "{error}");

    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let error = Listener::bind(&loopback, port.into())
        .unwrap_err()
        .to_string();
    assert!(error.contains("is another relay running?"), "{error}");
}
