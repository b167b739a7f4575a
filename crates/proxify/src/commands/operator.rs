//! What commands have in common: how they ask a running proxify, and how they print.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use control::{AskError, Reply, Request, SOCKET};

use super::NO;
use crate::Failure;

/// Asks the proxify that serves names here.
pub(super) fn ask(request: &Request) -> Result<Reply, AskError> {
    control::ask(Path::new(SOCKET), request)
}

/// Says why there is no answer, and with which code to exit: that nobody is there is an answer.
pub(super) fn failed(command: &str, error: &AskError) -> ExitCode {
    let _ = writeln!(io::stderr(), "proxify {command}: {error}");
    match error {
        AskError::Nobody { .. } => NO.into(),
        _ => Failure::UNAVAILABLE.into(),
    }
}

/// A reader that has gone has read enough.
pub(super) fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}
