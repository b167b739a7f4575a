//! `peers`: see the library.

fn main() -> std::process::ExitCode {
    benches::main()
}
