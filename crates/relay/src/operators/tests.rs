//! A relay with enclaves, and operators who ask.

use std::os::unix::fs::PermissionsExt;

use link::frame;
use operator::{AskError, ask, listen};
use report::{FromEnclave, ToEnclave};
use tokio::task::spawn_blocking;

use super::*;
use crate::Config;
use crate::tests::{Running, loopback};

/// A relay that answers operators at a path of its own.
struct Lab {
    relay: Running,
    control: std::path::PathBuf,
    directory: tempfile::TempDir,
}

async fn lab() -> Lab {
    let directory = tempfile::tempdir().unwrap();
    let control = directory.path().join("own/control.sock");
    let relay = Running::start(Config {
        control: Some(control.clone()),
        ..loopback()
    });
    while !control.exists() {
        tokio::task::yield_now().await;
    }
    Lab {
        relay,
        control,
        directory,
    }
}

impl Lab {
    async fn asks(&self, request: Request) -> Result<(String, Reply), AskError> {
        let control = self.control.clone();
        let asked = spawn_blocking(move || {
            let (mut text, mut last) = (String::new(), None);
            listen::<Operators>(&control, &request, |reply| match reply {
                Reply::Output { text: more, .. } => text.push_str(&more),
                reply => last = Some(reply),
            })?;
            Ok((text, last.unwrap()))
        });
        asked.await.unwrap()
    }

    async fn state(&self) -> State {
        match self.asks(Request::Status).await.unwrap() {
            (_, Reply::Status(state)) => *state,
            other => panic!("{other:?}"),
        }
    }

    /// An enclave's connection, which has told its status.
    async fn reports(&self) -> link::Stream {
        let granted = self.relay.parent.request(link::Command::Report).await;
        let mut stream = granted.unwrap().stream;
        let status = FromEnclave::Status(Box::default());
        frame::write(&mut stream, &status.write()).await.unwrap();
        let mut heard = Vec::new();
        frame::read(&mut stream, &mut heard).await.unwrap();
        assert_eq!(heard, ToEnclave::Heard.write());
        stream
    }
}

fn check(enclave: Option<&str>) -> Request {
    Request::Run {
        enclave: enclave.map(str::to_owned),
        command: Command::Check(report::Check::default()),
    }
}

#[tokio::test]
async fn the_relay_and_its_enclaves_are_shown() {
    let lab = lab().await;
    let state = lab.state().await;
    assert_eq!((state.pid, state.connections), (std::process::id(), 0));
    assert_eq!(state.upstream_quota_packets_per_second, 900);
    assert!(state.listen.starts_with("unix:"), "{}", state.listen);
    assert_eq!(state.enclaves, []);
    let silent = lab.relay.parent.request(link::Command::ResolvConf).await;
    let told = lab.state().await.enclaves.remove(0);
    assert_eq!((told.connections, told.reports_seconds), (1, None));
    let stream = lab.reports().await;
    let told = lab.state().await.enclaves.remove(0);
    assert_eq!((told.connections, told.reports_seconds), (2, Some(0)));
    assert_eq!(told.status, Some(Status::default()));
    drop((stream, silent));
    while lab.state().await.connections > 0 {
        tokio::task::yield_now().await;
    }
    let told = lab.state().await.enclaves.remove(0);
    assert_eq!((told.reports_seconds, told.ended_seconds), (None, Some(0)));
}

#[tokio::test]
async fn a_run_goes_to_the_enclave_and_comes_back() {
    let lab = lab().await;
    let Ok((_, Reply::NoSuch { reason })) = lab.asks(check(None)).await else {
        panic!("there is none")
    };
    assert_eq!(reason, "no enclave is connected");
    let mut stream = lab.reports().await;
    let name = lab.state().await.enclaves[0].enclave.clone();
    let enclave = async {
        let mut frames = Vec::new();
        frame::read(&mut stream, &mut frames).await.unwrap();
        let Ok(Some(ToEnclave::Run { id, .. })) = ToEnclave::read(&frames) else {
            panic!("no run")
        };
        for said in [
            FromEnclave::Output {
                id,
                stream: Stream::Out,
                text: "private\n".to_owned(),
            },
            FromEnclave::Ended { id, code: 1 },
        ] {
            frame::write(&mut stream, &said.write()).await.unwrap();
        }
    };
    let (asked, ()) = tokio::join!(lab.asks(check(Some(&name))), enclave);
    let Ok((text, Reply::Ended { code: 1 })) = asked else {
        panic!("{asked:?}")
    };
    assert_eq!(text, "private\n");
    let Ok((_, Reply::NoSuch { reason })) = lab.asks(check(Some("vsock:99"))).await else {
        panic!("there is none")
    };
    assert!(reason.contains("no enclave is vsock:99"), "{reason}");
    // It goes while it runs.
    let enclave = async {
        let mut frames = Vec::new();
        frame::read(&mut stream, &mut frames).await.unwrap();
        drop(stream);
    };
    let (asked, ()) = tokio::join!(lab.asks(check(None)), enclave);
    let error = asked.unwrap_err().to_string();
    assert!(error.contains("the enclave has gone"), "{error}");
}

#[tokio::test]
async fn the_socket_is_the_operators_alone_and_another_relays_is_left() {
    let mut lab = lab().await;
    lab.state().await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&lab.control), 0o600);
    assert_eq!(mode(lab.control.parent().unwrap()), 0o700);
    let error = make_room(&lab.control).unwrap_err().to_string();
    assert!(error.contains("another relay answers"), "{error}");
    let error = make_room(&lab.directory.path().join("a/b/c")).unwrap_err();
    assert!(error.to_string().contains("a/b: No such file"), "{error}");
    lab.relay.stop();
    lab.relay.stopped().await;
    let control = lab.control.clone();
    let asked = spawn_blocking(move || ask::<Operators>(&control, &Request::Status));
    let error = asked.await.unwrap().unwrap_err().to_string();
    assert!(error.starts_with("no proxify-relay runs here"), "{error}");
}
