//! Which of several proxifys owns the stub: the one that holds the lock.
//!
//! Two may run side by side, or one inside the other. The first locks a file (flock(2)), binds the
//! stub and writes resolv.conf; the others use its stub, and wait for the lock in a thread each.
//! The kernel gives a lock up with the process that held it, however that ended, so the next one
//! takes over at once and nothing has to be cleaned up.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

/// Where the lock is, one for all proxifys that share a file system.
pub(crate) const LOCK: &str = "/run/proxify.lock";

/// Between two questions to another proxify's stub, and how long each may take.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// The right to own the stub, until it is dropped.
#[derive(Debug)]
pub(crate) struct Ownership {
    _lock: File,
}

/// Who owns the stub now.
#[derive(Debug)]
pub(crate) enum Claim {
    /// This process.
    Mine(Ownership),
    /// Another; this one is next, or one of the next.
    Waiting(Waiting),
}

/// A place in the queue.
#[derive(Debug)]
pub(crate) struct Waiting {
    path: PathBuf,
    lock: oneshot::Receiver<io::Result<File>>,
}

/// Takes the lock if it is free, and queues for it otherwise. Makes the file and its directory,
/// which an enclave's image may lack.
///
/// # Errors
///
/// The file cannot be made or locked.
pub(crate) fn claim(path: &Path) -> Result<Claim, LockError> {
    let failed = |source| LockError {
        path: path.to_owned(),
        source,
    };
    let file = open(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => return Ok(Claim::Mine(Ownership { _lock: file })),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    let (sender, lock) = oneshot::channel();
    let wait = move || {
        // Nobody to receive it: proxify is ending, and the lock goes on to the next.
        let _ = sender.send(lock_uninterrupted(file));
    };
    // It ends with the process if the lock never comes: nothing can wake a thread in flock.
    thread::Builder::new()
        .name("lock".to_owned())
        .spawn(wait)
        .map_err(failed)?;
    Ok(Claim::Waiting(Waiting {
        path: path.to_owned(),
        lock,
    }))
}

impl Waiting {
    /// Waits until every owner before this process has ended.
    ///
    /// # Errors
    ///
    /// The lock cannot be had at all.
    pub(crate) async fn acquired(self) -> Result<Ownership, LockError> {
        let failed = |source| LockError {
            path: self.path.clone(),
            source,
        };
        match self.lock.await {
            Ok(lock) => lock.map(|lock| Ownership { _lock: lock }).map_err(failed),
            Err(_) => Err(failed(io::Error::other("its thread ended"))),
        }
    }
}

/// Waits until a stub answers at one of these addresses.
pub(crate) async fn answers(listen: &[SocketAddr]) {
    loop {
        for address in listen {
            if let Ok(Ok(())) = timeout(ASK_EVERY, ask(*address)).await {
                return;
            }
        }
        sleep(ASK_EVERY).await;
    }
}

/// Asks for `localhost`, which every stub answers by itself (RFC 6761 §6.3).
async fn ask(stub: SocketAddr) -> io::Result<()> {
    const ID: &[u8] = b"px";
    /// Standard query, recursion desired, one question (RFC 1035 §4.1).
    const QUERY: &[u8] =
        b"px\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x09localhost\x00\x00\x01\x00\x01";
    let any = SocketAddr::new(stub.ip(), 0);
    let socket = UdpSocket::bind(any).await?;
    socket.connect(stub).await?;
    socket.send(QUERY).await?;
    let mut answer = [0; 512];
    loop {
        let length = socket.recv(&mut answer).await?;
        if answer
            .get(..length)
            .is_some_and(|answer| answer.starts_with(ID))
        {
            return Ok(());
        }
    }
}

/// Reading suffices for a lock, so users other than its maker can queue as well.
fn open(path: &Path) -> io::Result<File> {
    let make = || {
        OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o644)
            .open(path)
    };
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory)?;
            }
            make()
        }
        other => other,
    }
}

fn lock_uninterrupted(file: File) -> io::Result<File> {
    loop {
        match file.lock() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result.map(|()| file),
        }
    }
}

/// Why it is not known who owns the stub.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot lock {}: {source}; run proxify as root, or mount a tmpfs over its directory",
    path.display()
)]
pub(crate) struct LockError {
    path: PathBuf,
    source: io::Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(path: &Path) -> Waiting {
        match claim(path).unwrap() {
            Claim::Waiting(waiting) => waiting,
            Claim::Mine(_) => panic!("two owners"),
        }
    }

    #[tokio::test]
    async fn the_next_takes_over_when_the_owner_ends_and_a_third_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/proxify.lock");
        let Claim::Mine(first) = claim(&path).unwrap() else {
            panic!("the lock is free")
        };
        let (second, third) = (waiting(&path), waiting(&path));
        drop(first);
        // The kernel wakes one of the two, whichever it likes.
        let (mut second, mut third) = (Box::pin(second.acquired()), Box::pin(third.acquired()));
        let other = tokio::select! {
            lock = &mut second => { drop(lock.unwrap()); third }
            lock = &mut third => { drop(lock.unwrap()); second }
        };
        let last = other.await.unwrap();
        assert!(matches!(claim(&path).unwrap(), Claim::Waiting(_)));
        drop(last);
    }

    #[tokio::test]
    async fn one_that_stops_waiting_does_not_keep_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("proxify.lock");
        let Claim::Mine(first) = claim(&path).unwrap() else {
            panic!("the lock is free")
        };
        drop(waiting(&path));
        let last = waiting(&path);
        drop(first);
        last.acquired().await.unwrap();
    }

    #[test]
    fn a_lock_that_cannot_be_made_is_an_error_with_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let error = claim(&file.join("proxify.lock")).unwrap_err().to_string();
        assert!(
            error.contains("file/proxify.lock") && error.contains("tmpfs"),
            "{error}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_stub_answers_as_soon_as_it_is_there() {
        let stub = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let nobody = "127.0.0.1:1".parse().unwrap();
        let address = stub.local_addr().unwrap();
        let answer = async {
            let mut query = [0; 512];
            // The first question goes unanswered, as while the stub starts.
            stub.recv_from(&mut query).await.unwrap();
            let (length, from) = stub.recv_from(&mut query).await.unwrap();
            assert_eq!(length, 27, "header, \\x09localhost\\x00, A, IN");
            stub.send_to(&query[..length], from).await.unwrap();
        };
        let listen = [nobody, address];
        let both = async { tokio::join!(answers(&listen), answer) };
        timeout(Duration::from_secs(5), both).await.unwrap();
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let listen = [silent.local_addr().unwrap()];
        timeout(Duration::from_secs(5), answers(&listen))
            .await
            .unwrap_err();
    }
}
