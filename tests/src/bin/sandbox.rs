//! The sandbox, built with the tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    sandbox::main(std::env::args_os())
}
