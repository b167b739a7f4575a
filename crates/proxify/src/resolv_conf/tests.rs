use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use nix::mount::{MsFlags, mount};
use tempfile::TempDir;
use vpc::Source;

use super::place::MODE;
use super::*;
use crate::namespaces::in_namespaces;

const TEXT: &str = "# Written by proxify, whose stub answers here; the file from before is put back at the end.\nnameserver 127.0.0.1\n";

fn etc() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("resolv.conf");
    (directory, path)
}

fn names(directory: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(directory.path()).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn names_the_stub_and_carries_the_parents_search_list() {
    let stub = "127.0.0.1".parse().unwrap();
    assert_eq!(
        render(stub, None),
        format!("{HEADER}nameserver 127.0.0.1\noptions timeout:5 attempts:2 ndots:1\n")
    );
    let found = Found {
        nameservers: vec!["10.0.0.2:53".parse().unwrap()],
        search: vec!["ec2.internal".to_owned(), "corp.example".to_owned()],
        timeout: Some(3),
        attempts: Some(4),
        source: Source::Parent,
    };
    let text = render(stub, Some(&found));
    assert_eq!(
        text,
        format!(
            "{HEADER}nameserver 127.0.0.1\nsearch ec2.internal corp.example\n\
             options timeout:3 attempts:4 ndots:1\n"
        )
    );
    assert!(HEADER.len() < 256, "musl reads lines of 255 bytes");
}

#[test]
fn the_images_text_is_known_even_where_ours_was_left_behind() {
    let (_directory, path) = etc();
    assert_eq!(original(&path), b"");
    fs::write(&path, "nameserver 10.0.0.2\n").unwrap();
    assert_eq!(original(&path), b"nameserver 10.0.0.2\n");
    let ours = render("127.0.0.1".parse().unwrap(), None);
    std::mem::forget(Written::write(&path, &ours, false).unwrap());
    assert_eq!(original(&path), b"nameserver 10.0.0.2\n");
    fs::remove_file(&path).unwrap();
    symlink("nowhere", &path).unwrap();
    assert_eq!(original(&path), b"");
}

#[test]
fn a_file_comes_back_as_it_was() {
    let (directory, path) = etc();
    fs::write(&path, "nameserver 10.0.0.2\n").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
    let before = fs::metadata(&path).unwrap();
    let mut written = Written::write(&path, TEXT, false).unwrap();
    assert_eq!(read(&path), TEXT);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, MODE);
    written.rewrite("# another\n".to_owned()).unwrap();
    assert_eq!(read(&path), "# another\n");
    drop(written);
    assert_eq!(read(&path), "nameserver 10.0.0.2\n");
    let after = fs::metadata(&path).unwrap();
    let what = |of: &fs::Metadata| {
        (
            of.ino(),
            of.mode(),
            of.uid(),
            of.gid(),
            of.mtime_nsec(),
            of.nlink(),
        )
    };
    assert_eq!(what(&after), what(&before));
    assert_eq!(names(&directory), ["resolv.conf"]);
}

#[test]
fn nothing_there_is_nothing_again() {
    let (directory, path) = etc();
    let mut written = Written::write(&path, TEXT, false).unwrap();
    assert_eq!(read(&path), TEXT);
    written.rewrite(TEXT.to_owned()).unwrap();
    drop(written);
    assert!(names(&directory).is_empty());
}

#[test]
fn a_link_is_replaced_itself_and_comes_back() {
    let (directory, path) = etc();
    let target = directory.path().join("target");
    for dangling in [true, false] {
        if !dangling {
            fs::write(&target, "theirs\n").unwrap();
        }
        symlink(&target, &path).unwrap();
        let written = Written::write(&path, TEXT, false).unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        assert_eq!(read(&path), TEXT);
        drop(written);
        assert_eq!(fs::read_link(&path).unwrap(), target);
        assert_eq!(target.exists(), !dangling);
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(
        read(&target),
        "theirs\n",
        "what the link points to is not touched"
    );
}

#[test]
fn what_a_killed_proxify_left_behind_is_not_taken_for_the_original() {
    let (directory, path) = etc();
    fs::write(&path, "nameserver 10.0.0.2\n").unwrap();
    std::mem::forget(Written::write(&path, TEXT, false).unwrap());
    drop(Written::write(&path, TEXT, false).unwrap());
    assert_eq!(read(&path), "nameserver 10.0.0.2\n");

    fs::remove_file(&path).unwrap();
    std::mem::forget(Written::write(&path, TEXT, false).unwrap());
    drop(Written::write(&path, TEXT, false).unwrap());
    assert!(
        names(&directory).is_empty(),
        "there was none before the first"
    );

    // Half-written files of a killed one are in nobody's way, and an old copy is no original.
    fs::write(&path, "theirs\n").unwrap();
    for leftover in [".resolv.conf.proxify-new", ".resolv.conf.proxify-kept"] {
        fs::write(directory.path().join(leftover), "old\n").unwrap();
    }
    drop(Written::write(&path, TEXT, false).unwrap());
    assert_eq!(read(&path), "theirs\n");
    assert_eq!(names(&directory), ["resolv.conf"]);
}

#[test]
fn what_the_owner_before_us_kept_is_the_original_whatever_came_after_it() {
    let (directory, path) = etc();
    let foreign: [fn(&Path); 3] = [
        |_| {},
        |path| fs::write(path, "nameserver 6.6.6.6\n").unwrap(),
        |path| fs::remove_file(path).unwrap(),
    ];
    for foreign in foreign {
        fs::write(&path, "nameserver 10.0.0.2\n").unwrap();
        std::mem::forget(Written::write(&path, TEXT, false).unwrap());
        foreign(&path);
        let written = Written::write(&path, TEXT, true).unwrap();
        assert_eq!(read(&path), TEXT);
        drop(written);
        assert_eq!(read(&path), "nameserver 10.0.0.2\n");
        assert_eq!(names(&directory), ["resolv.conf"]);
    }
    // A copy from long ago is none.
    fs::remove_file(&path).unwrap();
    fs::write(directory.path().join(".resolv.conf.proxify-kept"), "old\n").unwrap();
    drop(Written::write(&path, TEXT, false).unwrap());
    drop(Written::write(&path, TEXT, true).unwrap());
    assert!(names(&directory).is_empty());
    // One that ended as it should kept nothing.
    fs::write(&path, "theirs\n").unwrap();
    drop(Written::write(&path, TEXT, true).unwrap());
    assert_eq!(read(&path), "theirs\n");
}

#[test]
fn a_bind_mount_is_written_through_and_put_back() {
    in_namespaces(
        "resolv_conf::tests::a_bind_mount_is_written_through_and_put_back",
        || {
            let (directory, path) = etc();
            let outside = directory.path().join("outside");
            fs::write(&outside, "nameserver 10.0.0.2\nsearch a.rather.long.list.that.is.longer.than.ours.example another.one.example\n").unwrap();
            fs::set_permissions(&outside, Permissions::from_mode(0o444)).unwrap();
            let before = read(&outside);
            fs::write(&path, "hidden\n").unwrap();
            mount(
                Some(&outside),
                &path,
                None::<&str>,
                MsFlags::MS_BIND,
                None::<&str>,
            )
            .unwrap();
            let mut written = Written::write(&path, TEXT, false).unwrap();
            assert_eq!(
                (read(&path), read(&outside)),
                (TEXT.to_owned(), TEXT.to_owned())
            );
            written.rewrite("# another\n".to_owned()).unwrap();
            assert_eq!(read(&path), "# another\n");
            drop(written);
            assert_eq!((read(&path), read(&outside)), (before.clone(), before));
            assert_eq!(fs::metadata(&outside).unwrap().mode() & 0o7777, 0o444);
            let mut left = names(&directory);
            left.sort();
            assert_eq!(left, ["outside", "resolv.conf"]);

            std::mem::forget(Written::write(&path, TEXT, false).unwrap());
            for takeover in [true, false] {
                let next = Written::write(&path, TEXT, takeover).unwrap();
                assert_eq!(read(&path), TEXT);
                std::mem::forget(next);
            }
            drop(Written::write(&path, TEXT, false).unwrap());
            assert_eq!(read(&path), read(&outside));
            assert!(
                read(&path).starts_with("nameserver 10.0.0.2\n"),
                "after a killed one too"
            );
        },
    );
}

/// Mounts a tmpfs at `directory`, fills it, and makes it read-only.
fn read_only(directory: &Path, fill: impl FnOnce()) {
    let remount = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(
        Some("none"),
        directory,
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )
    .unwrap();
    fill();
    mount(
        Some("none"),
        directory,
        Some("tmpfs"),
        remount,
        None::<&str>,
    )
    .unwrap();
}

#[test]
fn a_read_only_file_system_is_an_error_that_says_what_to_do() {
    let name = "resolv_conf::tests::a_read_only_file_system_is_an_error_that_says_what_to_do";
    in_namespaces(name, || {
        let (directory, path) = etc();
        read_only(directory.path(), || fs::write(&path, "theirs\n").unwrap());
        let error = Written::write(&path, TEXT, false).unwrap_err().to_string();
        for word in [
            "resolv.conf",
            "Read-only file system",
            "tmpfs",
            "--resolv-conf none",
        ] {
            assert!(error.contains(word), "{error}");
        }
        assert_eq!(read(&path), "theirs\n");
    });
}

#[test]
fn a_writable_file_mounted_in_a_read_only_directory_is_written_through() {
    let name =
        "resolv_conf::tests::a_writable_file_mounted_in_a_read_only_directory_is_written_through";
    in_namespaces(name, || {
        let (directory, path) = etc();
        let (outside, file) = etc();
        fs::write(&file, "theirs\n").unwrap();
        read_only(directory.path(), || fs::write(&path, "").unwrap());
        mount(
            Some(&file),
            &path,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )
        .unwrap();
        let written = Written::write(&path, TEXT, false).unwrap();
        assert_eq!(read(&path), TEXT);
        drop(written);
        assert_eq!(read(&path), "theirs\n");
        drop(outside);
    });
}
