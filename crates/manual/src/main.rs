//! Man pages and shell completions, written from the command lines themselves, so that they cannot tell
//! anything else than `--help` does.
//!
//! `manual DIR` writes `DIR/man/NAME.SECTION` and `DIR/completions/SHELL/FILE`. Not shipped.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap_complete::{Shell, generate_to};

mod page;
#[cfg(test)]
mod tests;

/// The shells that packages have completions for.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// User commands (man-pages(7)).
const USER: &str = "1";

/// System administration commands.
const SYSTEM: &str = "8";

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1) else {
        eprintln!("usage: manual DIR");
        return ExitCode::from(64);
    };
    match write(Path::new(&directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("manual: {}: {error}", Path::new(&directory).display());
            ExitCode::FAILURE
        }
    }
}

/// The programs, with their commands, and the section of their pages.
fn programs() -> [(clap::Command, &'static str); 2] {
    [
        (proxify::command_line(), USER),
        (relay::command_line(), SYSTEM),
    ]
}

fn write(directory: &Path) -> io::Result<()> {
    let pages = directory.join("man");
    fs::create_dir_all(&pages)?;
    for (program, section) in programs() {
        for (name, text) in page::all(&program, section) {
            fs::write(pages.join(format!("{name}.{section}")), text)?;
        }
        let name = program.get_name().to_owned();
        for shell in SHELLS {
            let completions = directory.join("completions").join(shell.to_string());
            fs::create_dir_all(&completions)?;
            generate_to(shell, &mut program.clone(), &name, &completions)?;
        }
    }
    Ok(())
}
