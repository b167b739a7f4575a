//! The server: the first byte of a connection says what it does with it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::thread;

use crate::Error;
use crate::world::SERVER;

pub(crate) const PORT: u16 = 4000;

/// Reads to the end, then answers a byte: what was sent has arrived.
pub(crate) const SINK: u8 = b's';
/// Writes until the client goes.
pub(crate) const SOURCE: u8 = b'w';
/// Answers a byte, and closes after the client.
pub(crate) const ECHO: u8 = b'e';
/// Answers a byte, and keeps the connection until a [`RELEASE`].
pub(crate) const HOLD: u8 = b'h';
/// Closes all that is kept, and answers a byte.
pub(crate) const RELEASE: u8 = b'r';

/// Bytes of one read or write.
pub(crate) const PIECE: usize = 128 * 1024;

static KEPT: Mutex<Vec<TcpStream>> = Mutex::new(Vec::new());

pub(crate) fn serve() -> Result<(), Error> {
    let listener = TcpListener::bind((SERVER, PORT))?;
    for stream in listener.incoming() {
        let stream = stream?;
        thread::Builder::new()
            .stack_size(256 * 1024)
            .spawn(move || one(stream))?;
    }
    Ok(())
}

/// What goes wrong is the client's to notice.
fn one(mut stream: TcpStream) {
    let mut command = [0];
    if stream.read_exact(&mut command).is_err() {
        return;
    }
    let _ = stream.set_nodelay(true);
    match command[0] {
        SINK => {
            let mut piece = vec![0; PIECE];
            while stream.read(&mut piece).is_ok_and(|read| read > 0) {}
            let _ = stream.write_all(&[SINK]);
        }
        SOURCE => {
            let piece = vec![0; PIECE];
            while stream.write_all(&piece).is_ok() {}
        }
        HOLD => {
            let _ = stream.write_all(&[HOLD]);
            kept().push(stream);
        }
        RELEASE => {
            kept().clear();
            let _ = stream.write_all(&[RELEASE]);
        }
        _ => {
            let _ = stream.write_all(&[ECHO]);
            let _ = stream.read(&mut [0]);
        }
    }
}

fn kept() -> std::sync::MutexGuard<'static, Vec<TcpStream>> {
    KEPT.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
