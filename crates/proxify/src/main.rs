//! `proxify`: see the library.

fn main() -> std::process::ExitCode {
    proxify::main(std::env::args_os())
}
