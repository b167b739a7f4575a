//! Guests with real AF_VSOCK: virtual machines that a sandbox's script boots, with proxify as their
//! first process.
//!
//! `tests/guest/build` makes the machine, `tests/guest/lab.sh` is what scripts boot it with; an
//! image's files are put together here. A guest's connections to its parent come out at a unix
//! socket, which is the sandbox's link or, for guests that talk to each other, nobody's.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::{Ran, Sandbox, compile};

/// A guest of this package's own build, for a script of [`Guest::run`].
#[macro_export]
macro_rules! guest {
    ($name:expr, $app:expr $(,)?) => {
        $crate::guest::Guest::new(
            $crate::sandbox!(),
            ::std::path::Path::new(env!("CARGO_TARGET_TMPDIR")),
            $name,
            $app,
        )
    };
}

/// A sandbox whose script boots guests from one image.
#[derive(Debug)]
pub struct Guest {
    sandbox: Sandbox,
}

impl Guest {
    /// An image whose `/app` is the shell script `app`. What it wants seen it gives to `tell`.
    ///
    /// # Panics
    /// If the machine cannot be made or the image not be written.
    #[must_use]
    pub fn new(sandbox: Sandbox, scratch: &Path, name: &str, app: &str) -> Self {
        let target = scratch.parent().expect("cargo's own is under target");
        build(target);
        let image = scratch.join(format!("guest-{name}"));
        fill(&image, target, scratch, app)
            .unwrap_or_else(|error| panic!("{}: {error}", image.display()));
        let sandbox = sandbox
            .options(&["--no-proxify"])
            .env("GUEST", target.join("guest"))
            .env("IMAGE", image);
        Self { sandbox }
    }

    /// Adds options of the `sandbox` command.
    #[must_use]
    pub fn options(mut self, options: &[&str]) -> Self {
        self.sandbox = self.sandbox.options(options);
        self
    }

    /// Runs a script with the functions of `lab.sh`.
    pub fn run(self, script: &str) -> Ran {
        let lab = sources().join("lab.sh");
        self.sandbox.run(&format!(". {}\n{script}", lab.display()))
    }
}

/// What is made once, for every test of this process: the programs in it must not be older than
/// the sources.
fn build(target: &Path) {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let output = Command::new(sources().join("build"))
            .env("CARGO_TARGET_DIR", target)
            .output()
            .expect("bash is there");
        assert!(
            output.status.success(),
            "tests/guest/build: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
    });
}

fn fill(image: &Path, target: &Path, scratch: &Path, app: &str) -> std::io::Result<()> {
    if image.exists() {
        fs::remove_dir_all(image)?;
    }
    for folder in ["", "dev", "etc"] {
        fs::create_dir(image.join(folder))?;
    }
    let programs = target.join("x86_64-unknown-linux-gnu/debug");
    let enclave = Path::new(env!("CARGO_MANIFEST_DIR")).join("../enclave");
    for (file, name) in [
        (sources().join("guest-init"), "guest-init"),
        (sources().join("parent-init"), "parent-init"),
        (enclave.join("init.sh"), "init.sh"),
        (programs.join("proxify"), "proxify"),
        (programs.join("proxify-relay"), "proxify-relay"),
        (lookup(scratch).to_owned(), "lookup"),
    ] {
        fs::copy(file, image.join(name))?;
    }
    // As in many images: where it points to is nothing.
    symlink("/run/nowhere/resolv.conf", image.join("etc/resolv.conf"))?;
    let path = image.join("app");
    fs::write(
        &path,
        format!("#!/bin/sh\ntell() {{ echo \"= $*\"; }}\n{app}\n"),
    )?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
}

/// getaddrinfo of musl in a static program, compiled once.
fn lookup(scratch: &Path) -> &'static Path {
    static LOOKUP: OnceLock<PathBuf> = OnceLock::new();
    LOOKUP.get_or_init(|| {
        let target = scratch.join("guest-client");
        fs::create_dir_all(&target).expect("cargo's own for tests");
        compile(
            "musl-gcc",
            "lookup.c",
            &["-static"],
            &target.display().to_string(),
        )
    })
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guest")
}
