//! `old-parent SOCKET`: the replaced `proxy` on a unix socket, in the place of the relay. Each request
//! is a line on standard output; `listening` is the first.

use std::error::Error;
use std::os::unix::net::UnixListener;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os()
        .nth(1)
        .ok_or("usage: old-parent SOCKET")?;
    // Of one that was killed.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    println!("listening");
    tests::old_parent::serve(&listener, |command, address| {
        println!("{command:#04x} {address}");
    })?;
    Ok(())
}
