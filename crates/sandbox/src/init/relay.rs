//! The relay as the parent instance's service: started, stopped and killed at the wish of `sandbox ctl relay`, and
//! left alone when it dies.
//!
//! A wish is one line on a unix socket in the run directory; the answer is one line, `ok` or what went wrong, once
//! the relay listens or is gone.

use std::env;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::handover::{self, Readiness};
use crate::host::pid;
use crate::run_dir;
use crate::signals::Mask;

/// A client of the control socket gets this long to say its line.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(1);

/// The relay, running or not, and the control socket.
#[derive(Debug)]
pub(crate) struct Relay {
    control: UnixListener,
    running: Option<Pid>,
    /// Those who wait for its end.
    waiting: Vec<UnixStream>,
    /// What it starts with.
    mask: Mask,
}

impl Relay {
    pub(crate) fn new(mask: Mask) -> Result<Self, RelayError> {
        let control = UnixListener::bind(run_dir::CONTROL).map_err(RelayError::Control)?;
        Ok(Self {
            control,
            running: None,
            waiting: Vec::new(),
            mask,
        })
    }

    /// Starts it, and waits until it listens.
    pub(crate) fn start(&mut self) -> Result<(), RelayError> {
        if let Some(running) = self.running {
            return Err(RelayError::Running { pid: running });
        }
        let mut command = Command::new(run_dir::program("proxify-relay"));
        command
            .arg0("proxify-relay")
            .args(["--port", "8888", "--listen"])
            .arg(format!("unix:{}", run_dir::LINK))
            .env_remove(handover::VARIABLE)
            // The terminal's ^C is for CMD.
            .process_group(0);
        if env::var_os("PROXIFY_RELAY_LOG").is_none() {
            // Its daily news would stand between CMD's lines.
            command.args(["--log", "warn"]);
        }
        self.mask.apply(&mut command);
        let pipe = Readiness::new().map_err(RelayError::Start)?;
        let (child, starting) = pipe
            .spawn_with_option(&mut command)
            .map_err(RelayError::Start)?;
        self.running = Some(pid(child.id()));
        fs::write(run_dir::RELAY_PID, format!("{}\n", child.id())).map_err(RelayError::Start)?;
        starting.wait().map_err(RelayError::Ready)
    }

    /// Notes that the child `ended` is gone, if it is the relay.
    pub(crate) fn ended(&mut self, ended: Pid, code: u8) {
        if self.running != Some(ended) {
            return;
        }
        self.running = None;
        // Who reads it must not find the id of a process that is gone.
        let _ = fs::remove_file(run_dir::RELAY_PID);
        tracing::info!(code, "the relay ended");
        for client in self.waiting.drain(..) {
            answer(client, "ok");
        }
    }

    /// Readable when someone wishes something.
    pub(crate) fn control(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    /// Serves one wish.
    pub(crate) fn serve(&mut self) {
        let Ok((client, _)) = self.control.accept() else {
            return;
        };
        match read_line(&client).as_deref() {
            Ok("start") => match self.start() {
                Ok(()) => answer(client, "ok"),
                Err(error) => answer(client, &error.to_string()),
            },
            Ok("stop") => self.end(client, Signal::SIGTERM),
            Ok("kill") => self.end(client, Signal::SIGKILL),
            _ => answer(client, "the wish is not start, stop or kill"),
        }
    }

    fn end(&mut self, client: UnixStream, signal: Signal) {
        match self.running {
            // Gone but not yet reaped: `ended` comes all the same.
            Some(running) => {
                let _ = kill(running, signal);
                self.waiting.push(client);
            }
            None => answer(client, "the relay does not run"),
        }
    }
}

/// Wishes something of the sandbox that this process runs in.
pub(crate) fn wish(action: &str) -> io::Result<String> {
    let mut control = UnixStream::connect(run_dir::CONTROL)?;
    writeln!(control, "{action}")?;
    let mut line = String::new();
    BufReader::new(control).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

fn read_line(client: &UnixStream) -> io::Result<String> {
    client.set_read_timeout(Some(CONTROL_TIMEOUT))?;
    let mut line = String::new();
    BufReader::new(client).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

fn answer(mut client: UnixStream, line: &str) {
    // A client that has left needs no answer.
    let _ = writeln!(client, "{line}");
}

/// Why the relay is not as wished.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    #[error("cannot listen on {}: {_0}", run_dir::CONTROL)]
    Control(io::Error),
    #[error("the relay runs already, as process {pid}")]
    Running { pid: Pid },
    #[error("cannot start the relay: {0}")]
    Start(io::Error),
    #[error("the relay did not become ready: {0}")]
    Ready(io::Error),
}
