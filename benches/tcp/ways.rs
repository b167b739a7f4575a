//! The ways out of an enclave that are compared, each with its processes.

use std::fs;
use std::process::Command;

use link::socks::server::{read_request, write_reply};
use link::{Command as Asked, Reply};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpStream, UnixListener};

use crate::Error;
use crate::agent::Agent;
use crate::server::PORT;
use crate::usage;
use crate::world::{Enclave, Process, SERVER, World, again, ip, listening};

/// A way, set up.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) agent: Agent,
    /// Whether it has a process for each connection, or a bounded number a process.
    pub(crate) forks: bool,
    /// The processes that forward; of the direct way load and server.
    counted: Vec<u32>,
    /// The load, where it is a child of one of these.
    but: Option<u32>,
    _processes: Vec<Process>,
    _enclave: Option<Enclave>,
}

impl Way {
    /// Processor seconds of the forwarding processes so far.
    pub(crate) fn cpu(&self) -> Result<f64, Error> {
        usage::cpu(&self.counted, self.but)
    }

    /// Their resident memory, in MiB.
    pub(crate) fn memory(&self) -> Result<f64, Error> {
        usage::memory(&self.counted, self.but)
    }
}

type Make = fn(&World) -> Result<Way, Error>;

/// All ways but the direct one.
pub(crate) const ALL: [Make; 6] = [
    redirect,
    detour,
    relay_alone,
    old_path,
    socat,
    redsocks_and_dante,
];

/// Load and server on one loopback device.
pub(crate) fn direct(_: &World, server: &Process) -> Result<Way, Error> {
    let agent = Agent::start(&mut again(&["agent"]), format!("tcp:{SERVER}:{PORT}"))?;
    let counted = vec![agent.pid(), server.pid()];
    Ok(Way {
        name: "direct",
        agent,
        forks: false,
        counted,
        but: None,
        _processes: Vec::new(),
        _enclave: None,
    })
}

/// A way whose load is in `enclave`.
fn way(
    name: &'static str,
    enclave: Enclave,
    via: String,
    processes: Vec<Process>,
) -> Result<Way, Error> {
    let agent = Agent::start(&mut enclave.command(&["self", "agent"]), via)?;
    way_of(name, enclave, agent, processes)
}

/// A way of this load.
fn way_of(
    name: &'static str,
    enclave: Enclave,
    mut agent: Agent,
    processes: Vec<Process>,
) -> Result<Way, Error> {
    agent.wait().map_err(|error| format!("{name}: {error}"))?;
    Ok(Way {
        name,
        forks: false,
        counted: processes.iter().map(Process::pid).collect(),
        but: Some(agent.pid()),
        agent,
        _processes: processes,
        _enclave: Some(enclave),
    })
}

fn old_path(world: &World) -> Result<Way, Error> {
    let path = world.path("old");
    let proxy = Process::start(&mut again(&["old-proxy", &path]))?;
    listening(&path)?;
    let via = format!("socks:{path}={SERVER}:{PORT}");
    way("old path (model)", Enclave::make()?, via, vec![proxy])
}

fn relay(world: &World, name: &str) -> Result<(Process, String), Error> {
    let prefix = world.path(name);
    let listen = format!("unix:{prefix}");
    let allow = format!("{SERVER}/32");
    let arguments = [
        "proxify-relay",
        "--listen",
        &listen,
        "--allow",
        &allow,
        "--log",
        "error",
    ];
    let process = Process::start(&mut again(&arguments))?;
    listening(&format!("{prefix}_{}", link::DEFAULT_PORT))?;
    Ok((process, prefix))
}

fn relay_alone(world: &World) -> Result<Way, Error> {
    let (relay, prefix) = relay(world, "relay")?;
    let via = format!("socks:{prefix}_{}={SERVER}:{PORT}", link::DEFAULT_PORT);
    way("relay alone", Enclave::make()?, via, vec![relay])
}

fn redirect(world: &World) -> Result<Way, Error> {
    proxify(world, "proxify, redirect", "redirect")
}

fn detour(world: &World) -> Result<Way, Error> {
    proxify(world, "proxify, detour", "detour")
}

/// The load is proxify's APP.
fn proxify(world: &World, name: &'static str, egress: &str) -> Result<Way, Error> {
    let enclave = Enclave::make()?;
    let (relay, prefix) = relay(world, egress)?;
    let parent = format!("unix:{prefix}");
    let mut command = enclave.command(&["self", "proxify", "--parent", &parent]);
    // No name is looked up, so that none has to answer.
    command.args([
        "--nameservers",
        SERVER,
        "--resolv-conf",
        "none",
        "--log",
        "error",
    ]);
    command.args(["--egress", egress, "--", "/proc/self/exe", "agent"]);
    // Only the way out is measured.
    command.env("PROXIFY_PUBLISH", "none");
    let agent = Agent::start(&mut command, format!("tcp:{SERVER}:{PORT}"))?;
    let runner = agent.runner();
    let mut way = way_of(name, enclave, agent, vec![relay])?;
    way.counted.push(runner);
    Ok(way)
}

fn socat(world: &World) -> Result<Way, Error> {
    installed(&["socat"])?;
    let enclave = Enclave::make()?;
    let path = world.path("socat");
    let far = Process::start(Command::new("socat").args([
        &format!("UNIX-LISTEN:{path},fork,backlog=1024"),
        &format!("TCP:{SERVER}:{PORT}"),
    ]))?;
    listening(&path)?;
    let near = Process::start(&mut enclave.command(&[
        "socat",
        "TCP-LISTEN:4001,fork,reuseaddr,backlog=1024",
        &format!("UNIX-CONNECT:{path}"),
    ]))?;
    let mut way = way(
        "socat",
        enclave,
        "tcp:127.0.0.1:4001".into(),
        vec![near, far],
    )?;
    way.forks = true;
    Ok(way)
}

fn redsocks_and_dante(world: &World) -> Result<Way, Error> {
    installed(&["redsocks", "danted", "iptables"])?;
    let enclave = Enclave::make()?;
    let pid = enclave.pid();
    ip(&format!(
        "link add parent0 type veth peer name eth0 netns {pid}"
    ))?;
    ip("address add 10.0.8.1/24 dev parent0")?;
    ip("link set parent0 up")?;
    let redsocks_conf = world.path("redsocks.conf");
    fs::write(
        &redsocks_conf,
        "base { log_debug = off; log_info = off; log = \"stderr\"; daemon = off; redirector = iptables; }
redsocks { local_ip = 127.0.0.1; local_port = 12345; ip = 10.0.8.1; port = 1080; type = socks5; }
",
    )?;
    let danted_conf = world.path("danted.conf");
    fs::write(
        &danted_conf,
        format!(
            "logoutput: /dev/null
internal: 10.0.8.1 port = 1080
external: {SERVER}
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
socks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
"
        ),
    )?;
    let danted = Process::start(Command::new("danted").args(["-f", &danted_conf]))?;
    listening("10.0.8.1:1080")?;
    for command in [
        "ip address add 10.0.8.2/24 dev eth0",
        "ip link set eth0 up",
        "ip route add default via 10.0.8.1",
        &format!("iptables -t nat -A OUTPUT -p tcp -d {SERVER} -j REDIRECT --to-ports 12345"),
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        if !enclave.command(&words).status()?.success() {
            return Err(format!("{command}: failed").into());
        }
    }
    let redsocks = Process::start(&mut enclave.command(&["redsocks", "-c", &redsocks_conf]))?;
    let via = format!("tcp:{SERVER}:{PORT}");
    let mut way = way("redsocks + dante", enclave, via, vec![redsocks, danted])?;
    way.forks = true;
    Ok(way)
}

fn installed(programs: &[&str]) -> Result<(), Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<_> = std::env::split_paths(&path).collect();
    for program in programs {
        if !directories
            .iter()
            .any(|directory| directory.join(program).exists())
        {
            return Err(format!("{program} is not in PATH").into());
        }
    }
    Ok(())
}

/// A model of the parent's half that proxify-relay replaces: SOCKS5, then a copy through user space.
pub(crate) fn old_proxy(path: &str) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = UnixListener::bind(path)?;
        loop {
            let (mut link, _) = listener.accept().await?;
            tokio::spawn(async move {
                let Ok(Asked::Connect(to)) = read_request(&mut link).await else {
                    return;
                };
                let Ok(mut target) = TcpStream::connect(to).await else {
                    return;
                };
                let replied = write_reply(&mut link, Reply::Succeeded, to).await;
                if replied.is_ok() {
                    // How it ends is the business of its two ends.
                    let _ = copy_bidirectional(&mut link, &mut target).await;
                }
            });
        }
    })
}
