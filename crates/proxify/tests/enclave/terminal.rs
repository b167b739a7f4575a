//! APP on a controlling terminal: ctrl-C once, ctrl-Z and `fg`.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};

use nix::pty::openpty;
use nix::unistd::setsid;

use crate::lab::{Enclave, ORIGINAL};

nix::ioctl_none_bad!(set_controlling_terminal, nix::libc::TIOCSCTTY);

/// A script on a terminal of its own, whose other end the test holds.
struct Terminal {
    keyboard: File,
    screen: String,
    shell: Child,
}

impl Terminal {
    fn run(enclave: &Enclave, script: &str) -> Self {
        let pty = openpty(None, None).unwrap();
        let side = || Stdio::from(OwnedFd::try_clone(&pty.slave).unwrap());
        // `timeout` must not stand between the terminal and the shell: exec'd by its own script.
        let mut command = enclave.command("bash", script);
        command.stdin(side()).stdout(side()).stderr(side());
        // SAFETY: only system calls are made between fork and exec; 0 is the terminal by then.
        unsafe {
            command.pre_exec(|| {
                setsid()?;
                set_controlling_terminal(0)?;
                Ok(())
            })
        };
        let shell = command.spawn().unwrap();
        Self {
            keyboard: pty.master.into(),
            screen: String::new(),
            shell,
        }
    }

    fn press(&mut self, key: &[u8]) {
        self.keyboard.write_all(key).unwrap();
    }

    /// Reads until this has been printed `times` times.
    fn see(&mut self, text: &str, times: usize) {
        while self.screen.matches(text).count() < times {
            assert!(
                self.read(),
                "the script ended without `{text}`: {}",
                self.screen
            );
        }
    }

    /// Everything until the script's end, when the terminal hangs up (EIO).
    fn end(mut self) -> String {
        while self.read() {}
        self.shell.wait().unwrap();
        self.screen.replace('\r', "")
    }

    fn read(&mut self) -> bool {
        let mut bytes = [0; 1024];
        match self.keyboard.read(&mut bytes) {
            Ok(0) => false,
            Ok(length) => {
                self.screen
                    .push_str(&String::from_utf8_lossy(&bytes[..length]));
                true
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(_) => false,
        }
    }
}

#[test]
fn ctrl_c_reaches_app_once() {
    let enclave = Enclave::new();
    let mut terminal = Terminal::run(
        &enclave,
        r#"
        cat > app <<'END'
            trap 'echo INTERRUPTED' INT
            trap 'kill $!; echo FINISHED; exit 3' USR1
            echo $PPID > proxify.pid
            sleep 30 &
            echo WAITING
            while :; do wait $!; done
END
        set -m
        "$PROXIFY" --log proxify=debug -- sh ./app
        echo "STATUS $?"
        "#,
    );
    terminal.see("WAITING", 1);
    terminal.press(b"\x03");
    terminal.see("INTERRUPTED", 1);
    terminal.press(b"\x03");
    terminal.see("INTERRUPTED", 2);
    let pid = std::fs::read_to_string(enclave.path("proxify.pid")).unwrap();
    let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGUSR1).unwrap();
    let screen = terminal.end();
    assert_eq!(screen.matches("INTERRUPTED").count(), 2, "{screen}");
    // Two signals in quick succession can be one to APP, so what was sent is looked at as well.
    let passed_on = |line: &&str| line.contains("passed on to APP");
    let passed_on: Vec<&str> = screen.lines().filter(passed_on).collect();
    assert!(
        passed_on.len() == 1 && passed_on[0].contains("SIGUSR1"),
        "{screen}"
    );
    assert!(
        screen.contains("FINISHED") && screen.contains("STATUS 3"),
        "{screen}"
    );
    assert_eq!(enclave.resolv_conf(), ORIGINAL);
}

#[test]
fn ctrl_z_stops_both_and_fg_continues_both() {
    let enclave = Enclave::new();
    let mut terminal = Terminal::run(
        &enclave,
        r#"
        set -m
        "$PROXIFY" -- bash -c 'echo WAITING; read line; echo "READ $line"; exit 3'
        echo "STOPPED $?"
        fg
        echo "STATUS $?"
        "#,
    );
    terminal.see("WAITING", 1);
    terminal.press(b"\x1a");
    terminal.see("STOPPED 148", 1);
    terminal.press(b"word\n");
    let screen = terminal.end();
    assert!(
        screen.contains("READ word") && screen.contains("STATUS 3"),
        "{screen}"
    );
    assert_eq!(enclave.resolv_conf(), ORIGINAL);
}
