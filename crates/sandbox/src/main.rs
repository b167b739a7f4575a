//! See the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    sandbox::main(std::env::args_os())
}
