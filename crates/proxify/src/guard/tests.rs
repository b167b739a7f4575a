use std::fs::{self, File};
use std::net::IpAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;
use vpc::Source;

use super::*;
use crate::namespaces::in_namespaces;

const FOREIGN: &str = "nameserver 6.6.6.6\noptions use-vc\n";
const ORIGINAL: &str = "nameserver 192.0.2.1\n";

/// A directory that stands for /etc.
struct Etc {
    directory: TempDir,
}

impl Etc {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory }
    }

    fn with(text: &str) -> Self {
        let etc = Self::new();
        fs::write(etc.path(), text).unwrap();
        etc
    }

    fn path(&self) -> PathBuf {
        self.beside("resolv.conf")
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn guard(&self) -> Guard {
        let nameserver = IpAddr::from([127, 0, 0, 1]);
        let path = self.path();
        Guard::new(ResolvConfFile { path, nameserver }, false).unwrap()
    }

    fn read(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    fn bind(&self, source: &Path) {
        let (path, none) = (self.path(), None::<&str>);
        mount(Some(source), &path, none, MsFlags::MS_BIND, none).unwrap();
    }

    fn unmount(&self) {
        umount2(&self.path(), MntFlags::MNT_DETACH).unwrap();
    }
}

fn ours() -> String {
    render(IpAddr::from([127, 0, 0, 1]), None)
}

/// What another program does to the file, and how the log calls what it left.
type Deed = (fn(&Etc), &'static str);

const DEEDS: [Deed; 9] = [
    // A DHCP hook's `cat > /etc/resolv.conf`.
    (
        |etc| fs::write(etc.path(), FOREIGN).unwrap(),
        "a file of 34 bytes",
    ),
    (
        |etc| {
            fs::write(etc.beside("new"), FOREIGN).unwrap();
            fs::rename(etc.beside("new"), etc.path()).unwrap();
        },
        "a file of 34 bytes",
    ),
    (
        |etc| {
            fs::write(etc.beside("new"), FOREIGN).unwrap();
            fs::set_permissions(etc.beside("new"), fs::Permissions::from_mode(0o000)).unwrap();
            fs::rename(etc.beside("new"), etc.path()).unwrap();
        },
        "a file of 34 bytes",
    ),
    // `ln -sf /run/systemd/resolve/stub-resolv.conf /etc/resolv.conf`.
    (
        |etc| {
            fs::remove_file(etc.path()).unwrap();
            fs::write(etc.beside("target"), FOREIGN).unwrap();
            symlink("target", etc.path()).unwrap();
        },
        "a link to \"target\"",
    ),
    (
        |etc| {
            fs::remove_file(etc.path()).unwrap();
            symlink("nowhere", etc.path()).unwrap();
        },
        "a link to \"nowhere\"",
    ),
    (|etc| fs::remove_file(etc.path()).unwrap(), "nothing"),
    (
        |etc| drop(File::create(etc.path()).unwrap()),
        "a file of 0 bytes",
    ),
    // Neither size, time nor inode tell of this one.
    (
        |etc| {
            let before = fs::metadata(etc.path()).unwrap().modified().unwrap();
            let text = ours().replace("127.0.0.1", "127.0.0.9");
            fs::write(etc.path(), text).unwrap();
            let file = File::options().write(true).open(etc.path()).unwrap();
            file.set_modified(before).unwrap();
        },
        "a file of 150 bytes",
    ),
    (
        |etc| {
            fs::remove_file(etc.path()).unwrap();
            let made = Command::new("mkfifo").arg(etc.path()).status();
            assert!(made.unwrap().success());
        },
        "something that is no file",
    ),
];

#[test]
fn whatever_another_program_does_is_put_right_and_never_becomes_the_original() {
    for (deed, name) in DEEDS {
        let etc = Etc::with(ORIGINAL);
        let mut guard = etc.guard();
        assert!(guard.look(Instant::now()).is_none());
        deed(&etc);
        let report = guard.look(Instant::now()).unwrap();
        assert_eq!(
            (report.times, report.foreign.to_string().as_str()),
            (1, name)
        );
        report.restored.unwrap();
        assert_eq!(etc.read(), ours(), "after {name}");
        assert!(fs::symlink_metadata(etc.path()).unwrap().is_file());
        assert!(guard.look(Instant::now()).is_none(), "once is enough");

        // The last word before our end is theirs.
        deed(&etc);
        drop(guard);
        assert_eq!(etc.read(), ORIGINAL, "after {name}");
        assert!(fs::symlink_metadata(etc.path()).unwrap().is_file());
        assert!(!etc.beside(".resolv.conf.proxify-kept").exists());
    }
}

#[test]
fn where_there_was_nothing_or_a_link_that_is_put_back() {
    for (deed, _) in DEEDS {
        let etc = Etc::new();
        let mut guard = etc.guard();
        deed(&etc);
        guard.look(Instant::now()).unwrap();
        deed(&etc);
        drop(guard);
        assert!(fs::symlink_metadata(etc.path()).is_err());

        let etc = Etc::new();
        symlink("/run/resolvconf/none", etc.path()).unwrap();
        let mut guard = etc.guard();
        deed(&etc);
        guard.look(Instant::now()).unwrap();
        deed(&etc);
        drop(guard);
        let target = fs::read_link(etc.path()).unwrap();
        assert_eq!(target, Path::new("/run/resolvconf/none"));
    }
}

#[test]
fn what_a_link_leads_to_is_not_touched() {
    let etc = Etc::with(ORIGINAL);
    let mut guard = etc.guard();
    let (deed, _) = DEEDS[3];
    deed(&etc);
    guard.look(Instant::now()).unwrap();
    assert_eq!(fs::read_to_string(etc.beside("target")).unwrap(), FOREIGN);
}

#[test]
fn a_program_that_writes_every_second_costs_a_line_a_minute() {
    let etc = Etc::with(ORIGINAL);
    let mut guard = etc.guard();
    let start = Instant::now();
    let mut lines = Vec::new();
    for second in 0..200 {
        // It gives up after 130 s.
        if second < 130 {
            fs::write(etc.path(), FOREIGN).unwrap();
        }
        let report = guard.look(start + Duration::from_secs(second));
        lines.extend(report.map(|report| (second, report.times)));
        assert_eq!(etc.read(), ours());
    }
    assert_eq!(lines, [(0, 1), (60, 60), (120, 60), (180, 9)]);
}

#[test]
fn a_new_search_list_is_no_foreign_hand_and_is_what_is_put_right() {
    let etc = Etc::with(ORIGINAL);
    let mut guard = etc.guard();
    let found = Found {
        nameservers: vec!["10.0.0.2:53".parse().unwrap()],
        search: vec!["ec2.internal".to_owned()],
        timeout: None,
        attempts: None,
        source: Source::Parent,
    };
    guard.rewrite(&found);
    assert!(guard.look(Instant::now()).is_none());
    let ours = etc.read();
    assert!(ours.contains("search ec2.internal\n"));
    fs::write(etc.path(), FOREIGN).unwrap();
    guard.look(Instant::now()).unwrap();
    assert_eq!(etc.read(), ours);
    // Theirs stands there when the next list comes.
    fs::write(etc.path(), FOREIGN).unwrap();
    let found = Found {
        search: Vec::new(),
        ..found
    };
    guard.rewrite(&found);
    assert!(guard.look(Instant::now()).is_none());
    drop(guard);
    assert_eq!(etc.read(), ORIGINAL);
}

#[test]
fn what_cannot_be_put_right_is_said_and_tried_again() {
    let etc = Etc::with(ORIGINAL);
    let mut guard = etc.guard();
    let start = Instant::now();
    fs::remove_file(etc.path()).unwrap();
    fs::create_dir(etc.path()).unwrap();
    let report = guard.look(start).unwrap();
    let failure = report.restored.unwrap_err().to_string();
    assert!(failure.contains("resolv.conf"), "{failure}");
    assert!(guard.look(start + CHECK_EVERY).is_none());
    fs::remove_dir(etc.path()).unwrap();
    let report = guard.look(start + TELL_EVERY).unwrap();
    assert_eq!(report.times, 2);
    report.restored.unwrap();
    assert_eq!(etc.read(), ours());
}

#[test]
fn a_mount_over_it_is_written_through_and_shows_the_original_at_the_end() {
    let name = "guard::tests::a_mount_over_it_is_written_through_and_shows_the_original_at_the_end";
    in_namespaces(name, || {
        for original in [ORIGINAL, ""] {
            let etc = Etc::new();
            if !original.is_empty() {
                fs::write(etc.path(), original).unwrap();
            }
            let mut guard = etc.guard();
            let engines = etc.beside("engines");
            fs::write(&engines, FOREIGN).unwrap();
            etc.bind(&engines);
            let report = guard.look(Instant::now()).unwrap();
            report.restored.unwrap();
            assert_eq!(etc.read(), ours());
            fs::write(etc.path(), FOREIGN).unwrap();
            guard.look(Instant::now() + TELL_EVERY).unwrap();
            assert_eq!(etc.read(), ours());
            drop(guard);
            assert_eq!(etc.read(), original);

            // Beneath the mount ours stands still; the next proxify puts back what it replaced.
            etc.unmount();
            assert_eq!(etc.read(), ours());
            drop(etc.guard());
            assert_eq!(fs::read_to_string(etc.path()).unwrap_or_default(), original);
        }
    });
}

#[test]
fn a_mount_that_cannot_be_written_is_said() {
    let name = "guard::tests::a_mount_that_cannot_be_written_is_said";
    in_namespaces(name, || {
        let etc = Etc::with(ORIGINAL);
        let mut guard = etc.guard();
        etc.bind(Path::new("/dev/null"));
        let report = guard.look(Instant::now()).unwrap();
        assert_eq!(report.foreign, Foreign::Other);
        report.restored.unwrap_err();
        etc.unmount();
        assert!(guard.look(Instant::now()).is_none());
        drop(guard);
        assert_eq!(etc.read(), ORIGINAL);

        etc.bind(Path::new("/dev/null"));
        let nameserver = IpAddr::from([127, 0, 0, 1]);
        let path = etc.path();
        let failure = Guard::new(ResolvConfFile { path, nameserver }, false).unwrap_err();
        assert!(failure.to_string().contains("no regular file"), "{failure}");
    });
}

#[test]
fn a_mount_that_was_there_before_is_the_original() {
    let name = "guard::tests::a_mount_that_was_there_before_is_the_original";
    in_namespaces(name, || {
        for unmounted in [false, true] {
            let etc = Etc::with("beneath\n");
            let engines = etc.beside("engines");
            fs::write(&engines, ORIGINAL).unwrap();
            etc.bind(&engines);
            let mut guard = etc.guard();
            fs::write(&engines, FOREIGN).unwrap();
            guard.look(Instant::now()).unwrap().restored.unwrap();
            assert_eq!(etc.read(), ours());
            if unmounted {
                etc.unmount();
                let later = Instant::now() + TELL_EVERY;
                guard.look(later).unwrap().restored.unwrap();
                assert_eq!(etc.read(), ours());
            }
            drop(guard);
            assert_eq!(etc.read(), ORIGINAL);
        }
    });
}
