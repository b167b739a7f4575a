//! Running the sandbox from outside, and a look at the host that it must not change.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A user without privileges, on every Linux (`nobody`, `nogroup`).
const NOBODY: u32 = 65534;

/// Who starts the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum As {
    Root,
    Nobody,
}

/// The program under test, where the user may run it.
pub(crate) struct Program {
    user: As,
    directory: TempDir,
}

impl Program {
    pub(crate) fn new(user: As) -> Self {
        let root = nix::unistd::geteuid().is_root();
        assert!(
            root || user == As::Nobody,
            "this test must run as root: try `sudo -E cargo test -p sandbox`"
        );
        // The target directory may lie where only its owner gets.
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // By another process: were it ours, a child forked meanwhile would hold the file open for writing, and it
        // could not run (ETXTBSY).
        let copied = Command::new("cp")
            .arg(env!("CARGO_BIN_EXE_sandbox"))
            .arg(directory.path().join("sandbox"))
            .status();
        assert!(copied.unwrap().success());
        Self { user, directory }
    }

    /// A directory that the user may read.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("sandbox")
    }

    /// `sandbox`, not yet started.
    pub(crate) fn command(&self) -> Command {
        self.as_user(Command::new(self.path()))
    }

    /// `sandbox ARGUMENTS` to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    /// `sandbox OPTIONS sh -c SCRIPT`, which must succeed; its output.
    pub(crate) fn script(&self, options: &[&str], script: &str) -> String {
        let output = self.run(&[options, &["sh", "-euc", script]].concat());
        assert!(
            output.status.success(),
            "{:?}: {script}\n{output:#?}",
            self.user
        );
        text(&output.stdout)
    }

    /// `WORDS… sandbox`, to its end.
    pub(crate) fn wrapped(&self, words: &[&str]) -> Output {
        let (first, rest) = words.split_first().unwrap();
        let mut command = self.as_user(Command::new(first));
        command.args(rest).arg(self.path()).output().unwrap()
    }

    fn as_user(&self, mut command: Command) -> Command {
        command.stdin(Stdio::null()).current_dir("/");
        if self.user == As::Nobody && nix::unistd::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What the sandbox must leave as it was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// Path to what is there, its contents included.
    etc: BTreeMap<PathBuf, (u32, u64, i64, i64, Vec<u8>)>,
    run: BTreeMap<PathBuf, u64>,
    interfaces: Vec<String>,
    mounts: String,
}

impl Host {
    pub(crate) fn look() -> Self {
        let mut etc = BTreeMap::new();
        walk(Path::new("/etc"), &mut |path, metadata| {
            let contents = if metadata.is_symlink() {
                fs::read_link(path)
                    .unwrap()
                    .into_os_string()
                    .into_encoded_bytes()
            } else if metadata.is_file() {
                fs::read(path).unwrap()
            } else {
                Vec::new()
            };
            let entry = (
                metadata.mode(),
                metadata.ino(),
                metadata.mtime(),
                metadata.mtime_nsec(),
                contents,
            );
            etc.insert(path.to_owned(), entry);
        });
        let mut run = BTreeMap::new();
        for entry in fs::read_dir("/run").unwrap() {
            let entry = entry.unwrap();
            run.insert(entry.path(), entry.metadata().unwrap().ino());
        }
        let mut interfaces: Vec<String> = fs::read_dir("/sys/class/net")
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        interfaces.sort();
        Self {
            etc,
            run,
            interfaces,
            mounts: fs::read_to_string("/proc/self/mounts").unwrap(),
        }
    }
}

fn walk(path: &Path, see: &mut dyn FnMut(&Path, &fs::Metadata)) {
    let metadata = fs::symlink_metadata(path).unwrap();
    see(path, &metadata);
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            walk(&entry.unwrap().path(), see);
        }
    }
}

/// Ids of the processes whose environment has `variable`.
pub(crate) fn processes_with(variable: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let path = entry.unwrap().path();
        let environment = fs::read(path.join("environ")).unwrap_or_default();
        if environment
            .split(|byte| *byte == 0)
            .any(|word| word == variable.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    found
}
