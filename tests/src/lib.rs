//! The harness of the end-to-end tests: a shell script in an enclave of the sandbox's, and what it
//! printed.
//!
//! The tests need root (or user namespaces) and the Debian packages that `tests/run` installs. One
//! that cannot run fails and says why; none is skipped.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub mod guest;
pub mod known;
pub mod old_parent;

/// An enclave, a parent and a VPC, to be made for one script.
#[derive(Debug)]
pub struct Sandbox {
    command: Command,
}

/// A sandbox of this package's own build. A macro, since only a test knows where its programs are.
#[macro_export]
macro_rules! sandbox {
    () => {
        $crate::Sandbox::new(
            env!("CARGO_BIN_EXE_tests-sandbox"),
            env!("CARGO_BIN_EXE_probe"),
        )
    };
}

/// Compiles a C program of `tests/clients` as a test's own client.
#[macro_export]
macro_rules! compile {
    ($compiler:expr, $source:expr, $($argument:expr),*) => {
        $crate::compile($compiler, $source, &[$($argument),*], env!("CARGO_TARGET_TMPDIR"))
    };
}

/// Makes a client, and gives the variables by which its commands name things.
#[macro_export]
macro_rules! build {
    ($name:expr, $command:expr) => {
        $crate::build($name, $command, env!("CARGO_TARGET_TMPDIR"))
    };
}

/// Writes a file for a script and gives its path.
#[macro_export]
macro_rules! file {
    ($name:expr, $text:expr $(,)?) => {
        $crate::file(env!("CARGO_TARGET_TMPDIR"), $name, $text)
    };
}

/// `wait_for ADDRESS` for a script: returns once a nameserver answers there, in the VPC's network.
pub const WAIT_FOR: &str = "
wait_for() {
    for attempt in $(seq 100); do
        $SANDBOX ctl vpc dig +time=1 +tries=1 @$1 ec2.us-east-1.amazonaws.com >/dev/null 2>&1 && return
        sleep 0.1
    done
    echo \"nothing answers at $1\" >&2; exit 1
}
";

/// The configuration of an unbound that serves `clients` at `address`, from these lines of local
/// zones and data alone.
#[must_use]
pub fn unbound_conf(address: &str, clients: &str, local: &[&str]) -> String {
    let local: String = local.iter().map(|line| format!("    {line}\n")).collect();
    format!(
        "server:
    interface: {address}
    access-control: {clients} allow
    directory: \"/tmp\"
    chroot: \"\"
    username: \"\"
    pidfile: \"\"
    use-syslog: no
    do-daemonize: no
    module-config: \"iterator\"
{local}"
    )
}

impl Sandbox {
    /// A sandbox whose script finds the client `probe` as `$PROBE`.
    #[must_use]
    pub fn new(program: &str, probe: &str) -> Self {
        let mut command = Command::new(program);
        command.env("PROBE", probe);
        Self { command }
    }

    /// Adds options of the `sandbox` command.
    #[must_use]
    pub fn options(mut self, options: &[&str]) -> Self {
        self.command.args(options);
        self
    }

    /// Sets a variable for proxify and the script.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<Path>) -> Self {
        self.command.env(name, value.as_ref());
        self
    }

    /// Runs a script in the enclave under proxify. `set -u` holds in it; the last command's status
    /// is the script's.
    ///
    /// # Panics
    /// If the sandbox cannot be started at all.
    pub fn run(mut self, script: &str) -> Ran {
        let script = format!("set -u\n{script}");
        self.command.args(["--", "sh", "-c", &script]);
        let output = self
            .command
            .output()
            .expect("the sandbox is built with the tests");
        Ran { script, output }
    }
}

/// What a script did.
pub struct Ran {
    script: String,
    output: Output,
}

impl Ran {
    /// What it printed.
    #[must_use]
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// What it, proxify and the relay complained of.
    #[must_use]
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Its exit status; `None` if a signal ended the sandbox itself.
    #[must_use]
    pub fn status(&self) -> Option<i32> {
        self.output.status.code()
    }

    /// The lines it printed, if it succeeded.
    ///
    /// # Panics
    /// If it did not, with all that it said.
    #[must_use]
    #[track_caller]
    pub fn lines(&self) -> Vec<String> {
        assert_eq!(self.status(), Some(0), "{self}");
        self.stdout().lines().map(str::to_owned).collect()
    }

    /// # Panics
    /// If it failed or printed anything else, with all that it said.
    #[track_caller]
    pub fn assert_prints(&self, expected: &[&str]) {
        assert_eq!(self.lines(), expected, "{self}");
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { script, output } = self;
        let (stdout, stderr) = (self.stdout(), self.stderr());
        write!(
            f,
            "{}\n-- script\n{script}\n-- stdout\n{stdout}-- stderr\n{stderr}",
            output.status
        )
    }
}

/// See [`file!`].
///
/// # Panics
/// If it cannot be written.
#[must_use]
pub fn file(directory: &str, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = Path::new(directory).join(name);
    fs::write(&path, text).expect("the directory is cargo's own for tests");
    path
}

/// Runs a shell command that makes `$OUT` from the sources in `$CLIENTS`, and gives these
/// and `$ROOTS`, what `tests/roots` made.
///
/// # Panics
/// If it fails.
#[must_use]
pub fn build(name: &str, command: &str, target: &str) -> [(&'static str, PathBuf); 3] {
    let target = Path::new(target);
    let variables = [
        (
            "CLIENTS",
            Path::new(env!("CARGO_MANIFEST_DIR")).join("clients"),
        ),
        ("ROOTS", target.join("clients")),
        ("OUT", target.join(format!("client-{name}"))),
    ];
    let status = Command::new("sh")
        .args(["-euc", command])
        .env("GOCACHE", target.join("go"))
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .status()
        .expect("there is a shell");
    assert!(
        status.success(),
        "{command}: {status}; `tests/run` installs what it needs"
    );
    variables
}

/// Compiles `tests/clients/SOURCE` with `compiler` and gives the program's path.
///
/// # Panics
/// If the compiler is missing or fails.
#[must_use]
pub fn compile(compiler: &str, source: &str, arguments: &[&str], target: &str) -> PathBuf {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
    let program = Path::new(target).join(format!("{source}.{compiler}{}", arguments.concat()));
    // Two tests may make the same program, and one run it meanwhile.
    let own = tempfile::Builder::new()
        .prefix("compile-")
        .tempdir_in(target)
        .expect("the directory is cargo's own for tests");
    let made = own.path().join("program");
    let status = Command::new(compiler)
        .args(["-O1", "-Wall", "-Werror", "-o"])
        .arg(&made)
        .arg(clients.join(source))
        .args(arguments)
        .status()
        .unwrap_or_else(|error| panic!("{compiler}: {error}; `tests/run` installs it"));
    assert!(status.success(), "{compiler} {source}: {status}");
    fs::rename(&made, &program).expect("it is in the same directory");
    program
}
