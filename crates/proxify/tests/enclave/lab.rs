//! An enclave made of namespaces, and a relay that grants what it is asked.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use link::socks::{UNSPECIFIED, server};
use link::{ListenAddress, Listener, Reply, Stream, frame};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};
use tempfile::TempDir;

/// What stands in resolv.conf before proxify, and again afterwards.
pub(crate) const ORIGINAL: &str = "nameserver 192.0.2.1\n";

/// Functions for the scripts. `until` asks again and again for 10 s at most.
const PRELUDE: &str = r#"
until_true() {
    tries=500
    until eval "$1"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || { echo "never true: $1" >&2; exit 99; }
        sleep 0.02
    done
}
serves() { grep -q ':0035 ' /proc/net/udp; }
"#;

/// One enclave with its parent.
pub(crate) struct Enclave {
    directory: TempDir,
}

impl Enclave {
    /// With a relay whose parent's resolv.conf names 10.0.0.2 and the search list `ec2.internal`.
    pub(crate) fn new() -> Self {
        Self::behind(b"nameserver 10.0.0.2\nsearch ec2.internal\n")
    }

    /// With a relay that sends this as its parent's resolv.conf.
    pub(crate) fn behind(conf: &'static [u8]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let enclave = Self { directory };
        std::fs::write(enclave.path("resolv.conf"), ORIGINAL).unwrap();
        let listen = ListenAddress::Unix(enclave.path("relay"));
        let (ready, is_ready) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = Listener::bind(&listen, link::DEFAULT_PORT).unwrap();
                ready.send(()).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(serve(stream, conf));
                }
            });
        });
        is_ready.recv().unwrap();
        enclave
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn resolv_conf(&self) -> String {
        std::fs::read_to_string(self.path("resolv.conf")).unwrap()
    }

    /// A shell in the enclave, in its directory; `$PROXIFY` is the program.
    pub(crate) fn command(&self, shell: &str, script: &str) -> Command {
        let mut command = Command::new("timeout");
        command
            .args(["--foreground", "--kill-after=1", "60", shell, "-c"])
            .arg(format!("{PRELUDE}{script}"))
            .current_dir(self.directory.path())
            .env("PROXIFY", env!("CARGO_BIN_EXE_proxify"))
            .env(
                "PROXIFY_PARENT",
                format!("unix:{}", self.path("relay").display()),
            )
            .env("PROXIFY_RESOLV_CONF", self.path("resolv.conf"))
            .stdin(Stdio::null());
        // SAFETY: between fork and exec this makes system calls and allocates; glibc keeps its
        // allocator usable in the child of a process with threads.
        unsafe { command.pre_exec(enter) };
        command
    }

    /// Runs a script to its end.
    pub(crate) fn run(&self, script: &str) -> Outcome {
        Outcome::of(
            self.command("sh", script)
                .output()
                .expect("root or user namespaces"),
        )
    }
}

/// How a script ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        Self {
            status: output.status.code(),
            stdout,
            stderr,
        }
    }

    /// The lines of a script that went well.
    pub(crate) fn lines(&self) -> Vec<&str> {
        assert_eq!(self.status, Some(0), "{self:?}");
        self.stdout.lines().collect()
    }
}

fn enter() -> std::io::Result<()> {
    let (user, group) = (geteuid(), getegid());
    let mut flags = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    if !user.is_root() {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(flags)?;
    if !user.is_root() {
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
        std::fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
    }
    let none = None::<&Path>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(Some("run"), "/run", Some("tmpfs"), MsFlags::empty(), none)?;
    Ok(())
}

/// Grants everything; tells a resolv.conf, and answers no query.
async fn serve(mut stream: Stream, conf: &[u8]) {
    let Ok(command) = server::read_request(&mut stream).await else {
        return;
    };
    if server::write_reply(&mut stream, Reply::Succeeded, UNSPECIFIED)
        .await
        .is_err()
    {
        return;
    }
    if command == link::Command::ResolvConf {
        let _ = frame::write(&mut stream, conf).await;
    }
    let mut ignored = Vec::new();
    while let Ok(Some(())) = frame::read(&mut stream, &mut ignored).await {}
}
