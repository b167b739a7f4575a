//! The servers under test and how each is set up: one thread, everything forwarded to one nameserver,
//! no validation, a cache that holds all that is asked for, and nothing else said.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;
use crate::floor::Reply;

/// A server under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Floor,
    Proxify,
    Dnsdist,
    /// dnsdist with an option that nobody sets: it reads its queries in batches as we do.
    DnsdistInBatches,
    Unbound,
    /// unbound that keeps nothing: what a forwarder alone costs.
    UnboundWithoutCache,
    Recursor,
    Bind,
    Knot,
    Dnsmasq,
}

/// The other caches, which goals are about.
pub(crate) const PEERS: [Program; 6] = [
    Program::Dnsdist,
    Program::Unbound,
    Program::Recursor,
    Program::Bind,
    Program::Knot,
    Program::Dnsmasq,
];

/// What a server is started with.
pub(crate) struct Setting<'a> {
    /// A directory of its own.
    pub(crate) dir: &'a Path,
    pub(crate) address: SocketAddr,
    pub(crate) upstream: SocketAddr,
    pub(crate) paths: &'a Paths,
    /// The floor's replies.
    pub(crate) replies: &'a [Reply],
    /// Proxify's `--cache-size`; its default if there is none.
    pub(crate) cache_size: Option<&'a str>,
    /// Whether proxify is to carry TCP, by packet rules of this namespace.
    pub(crate) egress: bool,
}

/// What was built.
pub(crate) struct Paths {
    pub(crate) proxify: PathBuf,
    /// Where the relay listens: `--parent` of proxify.
    pub(crate) parent: String,
}

/// Entries that a cache which counts entries may hold: twice the most that is asked for.
const ENTRIES: usize = 2_000_000;

impl Program {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Proxify => "proxify",
            Self::Dnsdist => "dnsdist",
            Self::DnsdistInBatches => "dnsdist, batches",
            Self::Unbound => "unbound",
            Self::UnboundWithoutCache => "unbound, no cache",
            Self::Recursor => "PowerDNS recursor",
            Self::Bind => "BIND",
            Self::Knot => "Knot Resolver",
            Self::Dnsmasq => "dnsmasq",
        }
    }

    /// Whether it serves connections over TCP within its one process. dnsmasq forks for each, and
    /// takes 20 at most.
    pub(crate) const fn has_tcp(self) -> bool {
        !matches!(self, Self::Floor | Self::Dnsmasq)
    }

    /// Its command line, and its configuration written.
    pub(crate) fn command(self, setting: &Setting<'_>) -> Result<Command, Failure> {
        let Setting {
            dir,
            address,
            upstream,
            ..
        } = *setting;
        let (ip, port) = (address.ip(), address.port());
        let (to, to_port) = (upstream.ip(), upstream.port());
        let command = match self {
            Self::Floor => {
                let this = std::env::current_exe()
                    .map_err(|source| Failure::io("path of this program", source))?;
                let mut command = Command::new(this);
                command.args(["floor", "--listen", &address.to_string()]);
                for reply in setting.replies {
                    let letter = char::from(reply.letter);
                    let text = format!("{letter}={}:{}", reply.length, reply.rcode);
                    command.args(["--reply", &text]);
                }
                command
            }
            Self::Proxify => {
                let mut command = Command::new(&setting.paths.proxify);
                command.args(["dns", "--force", "--resolv-conf", "none"]);
                command.args(["--publish", "none"]);
                // The others have no such limit.
                command.args(["--upstream-pps", "0"]);
                command.args(["--parent", &setting.paths.parent]);
                command.args(["--nameservers", &upstream.to_string()]);
                command.args(["--listen", &address.to_string()]);
                command.args(["--egress", if setting.egress { "auto" } else { "off" }]);
                if let Some(size) = setting.cache_size {
                    command.args(["--cache-size", size]);
                }
                command
            }
            Self::Dnsdist | Self::DnsdistInBatches => {
                let mut text = String::new();
                let _ = writeln!(text, "setLocal('{address}')");
                let _ = writeln!(text, "newServer({{address='{upstream}'}}):setUp()");
                let _ = writeln!(text, "getPool(''):setCache(newPacketCache({ENTRIES}))");
                text += "setSecurityPollSuffix('')\n";
                if self == Self::DnsdistInBatches {
                    text += "setUDPMultipleMessagesVectorSize(32)\n";
                }
                let config = write(dir, "dnsdist.conf", &text)?;
                let mut command = Command::new("dnsdist");
                command.args(["--supervised", "--disable-syslog", "-C"]);
                command.arg(config);
                command
            }
            Self::Unbound | Self::UnboundWithoutCache => {
                let no_cache = match self {
                    Self::UnboundWithoutCache => "yes",
                    _ => "no",
                };
                let text = format!(
                    "server:\n directory: \"\"\n chroot: \"\"\n username: \"\"\n pidfile: \"\"\n \
                     use-syslog: no\n num-threads: 1\n interface: {ip}@{port}\n do-ip6: no\n \
                     do-not-query-localhost: no\n module-config: \"iterator\"\n \
                     msg-cache-size: 1g\n rrset-cache-size: 1g\n msg-cache-slabs: 1\n \
                     rrset-cache-slabs: 1\n so-rcvbuf: 4m\n outgoing-range: 4096\n \
                     num-queries-per-thread: 4096\n incoming-num-tcp: 256\n\
                     remote-control:\n control-enable: no\n\
                     forward-zone:\n name: \".\"\n forward-addr: {to}@{to_port}\n \
                     forward-no-cache: {no_cache}\n"
                );
                let config = write(dir, "unbound.conf", &text)?;
                let mut command = Command::new("unbound");
                command.args(["-d", "-p", "-c"]).arg(config);
                command
            }
            Self::Recursor => {
                let text = format!(
                    "daemon=no\nlocal-address={ip}\nlocal-port={port}\n\
                     forward-zones-recurse=.={upstream}\ndont-query=\nthreads=1\ndnssec=off\n\
                     max-cache-entries={ENTRIES}\nmax-packetcache-entries={ENTRIES}\n\
                     packetcache-ttl=86400\nmax-tcp-clients=256\nmax-mthreads=4096\n\
                     socket-dir={0}\nwrite-pid=no\nsecurity-poll-suffix=\ndisable-syslog=yes\n\
                     loglevel=2\nquiet=yes\netc-hosts-file=\nhint-file=no\nsetuid=\nsetgid=\n",
                    dir.display()
                );
                write(dir, "recursor.conf", &text)?;
                let mut command = Command::new("pdns_recursor");
                command.arg(format!("--config-dir={}", dir.display()));
                command
            }
            Self::Bind => {
                let text = format!(
                    "options {{ directory \"{0}\"; listen-on port {port} {{ {ip}; }}; \
                     listen-on-v6 {{ none; }}; forwarders {{ {to} port {to_port}; }}; \
                     forward only; dnssec-validation no; recursion yes; allow-query {{ any; }}; \
                     pid-file none; session-keyfile none; lock-file none; empty-zones-enable no; \
                     max-cache-size 1g; tcp-clients 256; recursive-clients 10000; \
                     prefetch 0; }};\ncontrols {{ }};\n",
                    dir.display()
                );
                let config = write(dir, "named.conf", &text)?;
                let mut command = Command::new("named");
                command.args(["-g", "-n", "1", "-c"]).arg(config);
                command
            }
            Self::Knot => {
                let text = format!(
                    "net.ipv6 = false\nnet.listen('{ip}', {port}, {{ kind = 'dns' }})\n\
                     trust_anchors.remove('.')\ncache.size = 1000 * MB\n\
                     policy.add(policy.all(policy.STUB('{to}@{to_port}')))\n"
                );
                let config = write(dir, "kresd.conf", &text)?;
                let mut command = Command::new("kresd");
                command.arg("-n").arg("-c").arg(config).arg(dir);
                command
            }
            Self::Dnsmasq => {
                let mut command = Command::new("dnsmasq");
                command.args([
                    "--keep-in-foreground",
                    "--conf-file=/dev/null",
                    "--pid-file=",
                ]);
                command.args(["--no-resolv", "--no-hosts", "--user=root"]);
                command.args(["--cache-size=10000", "--dns-forward-max=4096"]);
                command.args(["--edns-packet-max=1232", "--bind-interfaces"]);
                command.arg(format!("--server={to}#{to_port}"));
                command.arg(format!("--listen-address={ip}"));
                command.arg(format!("--port={port}"));
                command
            }
        };
        Ok(command)
    }
}

fn write(dir: &Path, name: &str, text: &str) -> Result<PathBuf, Failure> {
    let path = dir.join(name);
    fs::write(&path, text)
        .map_err(|source| Failure::io(format!("cannot write {}", path.display()), source))?;
    Ok(path)
}
