//! What `enclave/` ships beside the programs. e2e/guest.rs boots its init script and its unit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../enclave")
        .join(name)
}

/// What systemd-analyze says, and whether it is content.
fn systemd_analyze(arguments: &[&str], unit: &Path) -> (bool, String) {
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .arg(unit)
        .output()
        .expect("systemd is there: `tests/run` installs it");
    let mut said = output.stdout;
    said.extend(output.stderr);
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), said)
}

#[test]
fn the_units_exposure_is_2_0_at_most() {
    // In tenths.
    let arguments = ["security", "--offline=true", "--threshold=20", "--no-pager"];
    let (good, said) = systemd_analyze(&arguments, &shipped("proxify-relay.service"));
    assert!(good && said.contains("Overall exposure level"), "{said}");
}

#[test]
fn systemd_understands_every_line_of_the_unit() {
    let unit = fs::read_to_string(shipped("proxify-relay.service")).unwrap();
    let installed = "ExecStart=/usr/local/bin/proxify-relay";
    assert!(unit.contains(installed));
    let here = Path::new(env!("CARGO_TARGET_TMPDIR")).join("proxify-relay.service");
    // It also looks whether the program is there.
    fs::write(&here, unit.replace(installed, "ExecStart=/bin/true")).unwrap();
    let (good, said) = systemd_analyze(&["verify"], &here);
    assert!(good && said.is_empty(), "{said}");
}

#[test]
fn the_image_starts_proxify_however_nitro_cli_reads_it() {
    let dockerfile = fs::read_to_string(shipped("Dockerfile")).unwrap();
    let last = dockerfile.rsplit("\nFROM ").next().unwrap();
    // An ENTRYPOINT of its own would be dropped beside CMD.
    assert!(last.contains("\nENTRYPOINT []\n"), "{last}");
    assert!(last.contains("\nCMD [\"/proxify\", \"--\", \""), "{last}");
}
