//! The log as the tests of several crates look into it.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The log of this thread, and so of a test's whole runtime.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn capture() -> (Self, tracing::subscriber::DefaultGuard) {
        keep_events_on();
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// The lines that contain `text`.
    pub(crate) fn lines(&self, text: &str) -> Vec<String> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let log = String::from_utf8_lossy(&log);
        log.lines()
            .filter(|line| line.contains(text))
            .map(String::from)
            .collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A line that is met for the first time while a thread without a log is alone would stay off for the
/// others: tracing registers it and a new subscriber side by side. One that stays keeps all on.
pub(crate) fn keep_events_on() {
    static KEPT: OnceLock<tracing::Dispatch> = OnceLock::new();
    KEPT.get_or_init(|| {
        let all = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
        all.with_writer(std::io::sink).finish().into()
    });
}
