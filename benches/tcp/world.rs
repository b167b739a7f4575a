//! The namespaces: one of processes, with the parent's network in it, and an enclave's network for
//! each way. The first process of the former ends with the benchmark, and the kernel ends the rest.

use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

use crate::Error;

/// The server's address, on the parent's loopback device.
pub(crate) const SERVER: &str = "10.0.9.1";

/// The benchmark ends after this, whatever hangs.
const AT_MOST: Duration = Duration::from_secs(290);

/// Descriptors of a process that are not a connection's.
const SPARE: u64 = 1024;

/// How long a program may take until it listens.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// The parent's side of the world.
#[derive(Debug)]
pub(crate) struct World {
    /// Sockets and configuration; gone with the mount namespace.
    pub(crate) directory: PathBuf,
}

/// Starts the benchmark as the first process of its own namespaces, and waits for it.
pub(crate) fn begin() -> Result<(), Error> {
    let flags = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    unshare(flags).map_err(|error| format!("cannot make namespaces: {error}; run it as root"))?;
    let status = again(&["world"]).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{status}").into())
    }
}

impl World {
    /// Sets up what [`begin`] made.
    pub(crate) fn make() -> Result<Self, Error> {
        set_pdeathsig(Signal::SIGKILL)?;
        thread::spawn(|| {
            thread::sleep(AT_MOST);
            eprintln!("tcp: not done after {AT_MOST:?}");
            std::process::exit(1);
        });
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none)?;
        mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), none)?;
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        ip("link set lo up")?;
        ip(&format!("address add {SERVER}/32 dev lo"))?;
        reuse_ports()?;
        Ok(Self {
            directory: "/run".into(),
        })
    }

    /// The server of all ways.
    pub(crate) fn server(&self) -> Result<Process, Error> {
        let server = Process::start(&mut again(&["server"]))?;
        listening(&format!("{SERVER}:{}", crate::server::PORT))?;
        Ok(server)
    }

    /// A path in [`Self::directory`].
    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }
}

/// Connections that a process which forwards can hold: each is two descriptors.
pub(crate) fn most_connections() -> Result<usize, Error> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(usize::try_from(soft.saturating_sub(SPARE) / 2)?)
}

/// A network with nothing but `lo`.
#[derive(Debug)]
pub(crate) struct Enclave {
    holder: Process,
}

impl Enclave {
    pub(crate) fn make() -> Result<Self, Error> {
        let (holder, _stdin, stdout) = Process::talk(&mut again(&["hold"]))?;
        let mut ready = String::new();
        BufReader::new(stdout).read_line(&mut ready)?;
        if ready.is_empty() {
            return Err("no network for an enclave".into());
        }
        // The holder lives until it is killed: its standard input is not what it waits for.
        Ok(Self { holder })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.holder.pid()
    }

    /// This program in a role, or another, inside.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let pid = self.pid().to_string();
        again(&[&["enter", &pid], arguments].concat())
    }
}

/// Holds an enclave's network.
pub(crate) fn hold() -> Result<(), Error> {
    set_pdeathsig(Signal::SIGKILL)?;
    unshare(CloneFlags::CLONE_NEWNET)?;
    ip("link set lo up")?;
    reuse_ports()?;
    println!("ready");
    loop {
        thread::park();
    }
}

/// Becomes `command` in the network that `pid` holds; `self` is this program.
pub(crate) fn enter(pid: &str, command: &[&str]) -> Result<(), Error> {
    let network = File::open(format!("/proc/{pid}/ns/net"))?;
    setns(network, CloneFlags::CLONE_NEWNET)?;
    let [program, arguments @ ..] = command else {
        return Err("usage: enter PID COMMAND".into());
    };
    let program = if *program == "self" {
        "/proc/self/exe"
    } else {
        program
    };
    Err(format!(
        "{program}: {}",
        Command::new(program).args(arguments).exec()
    )
    .into())
}

/// Many short connections to one address: their ports must not run out.
fn reuse_ports() -> io::Result<()> {
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "1024 65000")?;
    std::fs::write("/proc/sys/net/ipv4/tcp_tw_reuse", "1")
}

/// This program in another role.
pub(crate) fn again(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into()));
    command.args(arguments);
    command
}

/// `ip ARGUMENTS`.
pub(crate) fn ip(arguments: &str) -> Result<(), Error> {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("ip {arguments}: {other:?}").into()),
    }
}

/// Waits until something accepts at a path or an address.
pub(crate) fn listening(at: &str) -> Result<(), Error> {
    let deadline = Instant::now() + READY_WITHIN;
    while Instant::now() < deadline {
        let accepted = if at.starts_with('/') {
            std::os::unix::net::UnixStream::connect(at).is_ok()
        } else {
            std::net::TcpStream::connect(at).is_ok()
        };
        if accepted {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Err(format!("nothing listens at {at}").into())
}

/// A program that is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Result<Self, Error> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child =
            child.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        Ok(Self { child })
    }

    /// As [`Self::start`], with its standard input and output.
    pub(crate) fn talk(command: &mut Command) -> Result<(Self, ChildStdin, ChildStdout), Error> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (stdin, stdout) = pipes.ok_or("no pipes")?;
        Ok((Self { child }, stdin, stdout))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and is waited for all the same.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
