//! `proxify-relay`: see the crate `relay`.

fn main() -> std::process::ExitCode {
    relay::main(std::env::args_os())
}
