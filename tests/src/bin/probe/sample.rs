//! What proxify and the relay hold, a line a second.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::Outcome;
use crate::flood::{descriptors, resident, status};

const EVERY: Duration = Duration::from_secs(1);

/// Prints `PROXIFY RELAY` every second until the file exists, each as `KIB,DESCRIPTORS,THREADS`; for a
/// relay that does not run, whose id is in no file, `-`.
pub(crate) fn sample(until: &Path, proxify: &str, relay: &Path) -> Outcome {
    while !until.exists() {
        let relay = fs::read_to_string(relay).and_then(|pid| held(pid.trim()));
        let relay = relay.unwrap_or_else(|_| "-".to_owned());
        let mut out = io::stdout().lock();
        writeln!(out, "{} {relay}", held(proxify)?)?;
        out.flush()?;
        drop(out);
        thread::sleep(EVERY);
    }
    Ok(())
}

fn held(pid: &str) -> io::Result<String> {
    let threads = status(pid, "Threads:")?;
    Ok(format!(
        "{},{},{threads}",
        resident(pid)?,
        descriptors(pid)?
    ))
}
