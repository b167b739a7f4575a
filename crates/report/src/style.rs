//! Colours, on a terminal only.

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{self, IsTerminal};

use anstyle::{AnsiColor, Effects};

/// How text is set off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    is_coloured: bool,
}

impl Style {
    /// For this process's standard output.
    #[must_use]
    pub fn of_stdout() -> Self {
        let no_color = std::env::var_os("NO_COLOR");
        Self::new(io::stdout().is_terminal(), no_color.as_deref())
    }

    /// Colours where the output is a terminal and NO_COLOR is not set, or empty
    /// (<https://no-color.org>).
    #[must_use]
    pub fn new(is_terminal: bool, no_color: Option<&OsStr>) -> Self {
        let is_wanted = no_color.is_none_or(OsStr::is_empty);
        Self {
            is_coloured: is_terminal && is_wanted,
        }
    }

    /// What one looks for first.
    #[must_use]
    pub fn bold(self, text: impl Display) -> String {
        self.paint(anstyle::Style::new().effects(Effects::BOLD), text)
    }

    /// All is well.
    #[must_use]
    pub fn good(self, text: impl Display) -> String {
        self.paint(AnsiColor::Green.on_default(), text)
    }

    /// It works, and not as it should.
    #[must_use]
    pub fn poor(self, text: impl Display) -> String {
        self.paint(AnsiColor::Yellow.on_default(), text)
    }

    /// It does not work.
    #[must_use]
    pub fn bad(self, text: impl Display) -> String {
        self.paint(AnsiColor::Red.on_default(), text)
    }

    fn paint(self, style: anstyle::Style, text: impl Display) -> String {
        match self.is_coloured {
            true => format!("{style}{text}{style:#}"),
            false => text.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_whose_user_wants_them() {
        let is_coloured = |terminal, no_color: Option<&str>| {
            let style = Style::new(terminal, no_color.map(OsStr::new));
            let text = style.good("up");
            assert_eq!(text == "up", text == style.bad("up"));
            text != "up"
        };
        assert!(is_coloured(true, None));
        assert!(is_coloured(true, Some("")));
        assert!(!is_coloured(true, Some("1")));
        assert!(!is_coloured(false, None));
    }
}
