//! Log lines on standard error, which APP shares: warnings and worse, unless told otherwise.

use std::io::IsTerminal;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

use crate::cli::LogFormat;

/// Starts logging. Where a subscriber is set already, as in a test, that one stays.
pub(crate) fn start(filter: &Targets, format: LogFormat) {
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        // A reader of the log that has gone must not end proxify: telling of it would panic.
        .log_internal_errors(false);
    let layer = match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let _ = registry()
        .with(layer.with_filter(filter.clone()))
        .try_init();
}
