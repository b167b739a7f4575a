//! The parent's `proxy` that we replace, byte for byte as far as its peers can tell.
//!
//! SOCKS5 without authentication (RFC 1928), CONNECT and BIND with addresses only. It never refuses:
//! on a name (ATYP 3), an unknown command or a failed connect it closes without a reply. Greeting and
//! request may come in one write or a byte at a time. A BIND listens on all addresses, whatever it names,
//! and on a port that others wait for already; its first reply has the bound port and no address; the
//! second, when a connection has come in, is 22 bytes with the peer as IPv6.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Between two looks at a listener, and at the enclave that waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// For a script, which finds the stand-in as `$OLD_PARENT`: `old` and `new` put a parent in the place of whichever there is; what an old one is asked for
/// goes to /run/requests.
pub const SWAPS: &str = "
    PROXIFY=$(dirname $SANDBOX)/proxify
    old() {
        $SANDBOX ctl relay kill 2>/dev/null
        $SANDBOX ctl parent $OLD_PARENT /run/sandbox/link_8888 >> /run/requests &
        OLD=$!
        for attempt in $(seq 100); do grep -q listening /run/requests && break; sleep 0.05; done
    }
    new() {
        kill -KILL $OLD; wait $OLD
        : > /run/requests
        $SANDBOX ctl relay start
    }
    : > /run/requests
    old\n";

const VERSION: u8 = 5;
const SUCCEEDED: u8 = 0;
const CONNECT: u8 = 1;
const BIND: u8 = 2;
const IPV4: u8 = 1;
const IPV6: u8 = 4;

/// Serves until the process ends. `log` gets each request: its command and where it goes.
///
/// # Errors
/// What accepting gives.
pub fn serve(listener: &UnixListener, log: fn(u8, SocketAddr)) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        // One that breaks off is closed, as the proxy does with all it does not like.
        thread::spawn(move || drop(handle(stream, log)));
    }
}

fn handle(mut enclave: UnixStream, log: fn(u8, SocketAddr)) -> io::Result<()> {
    let [_, methods] = take(&mut enclave)?;
    enclave.read_exact(&mut vec![0; methods.into()])?;
    enclave.write_all(&[VERSION, 0])?;
    let [_, command, _, address_type] = take(&mut enclave)?;
    let ip: IpAddr = match address_type {
        IPV4 => take::<4>(&mut enclave)?.into(),
        IPV6 => take::<16>(&mut enclave)?.into(),
        _ => return Ok(()),
    };
    let address = SocketAddr::new(ip, u16::from_be_bytes(take(&mut enclave)?));
    log(command, address);
    match command {
        CONNECT => {
            let other = TcpStream::connect(address)?;
            enclave.write_all(&reply(other.local_addr()?))?;
            carry(enclave, other)
        }
        BIND => {
            let (listener, port) = listener(address.port())?;
            enclave.write_all(&reply(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)))?;
            let Some((other, peer)) = accept(&listener, &mut enclave)? else {
                return Ok(());
            };
            let ip = match peer.ip() {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            enclave.write_all(&reply(SocketAddr::new(ip.into(), peer.port())))?;
            carry(enclave, other)
        }
        _ => Ok(()),
    }
}

/// The listener of a port, on all addresses: bound once, and kept whoever asks for it.
fn listener(port: u16) -> io::Result<(Arc<TcpListener>, u16)> {
    static BOUND: Mutex<BTreeMap<u16, Arc<TcpListener>>> = Mutex::new(BTreeMap::new());
    let mut bound = BOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(listener) = bound.get(&port) {
        return Ok((Arc::clone(listener), port));
    }
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let listener = bound.entry(port).or_insert(Arc::new(listener));
    Ok((Arc::clone(listener), port))
}

/// A connection, unless the enclave is gone before there is one.
fn accept(
    listener: &TcpListener,
    enclave: &mut UnixStream,
) -> io::Result<Option<(TcpStream, SocketAddr)>> {
    enclave.set_read_timeout(Some(LOOK_EVERY))?;
    loop {
        match enclave.read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => return Ok(None),
        }
        match listener.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            accepted => {
                enclave.set_read_timeout(None)?;
                let (stream, peer) = accepted?;
                stream.set_nonblocking(false)?;
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                return Ok(Some((stream, peer)));
            }
        }
    }
}

fn take<const N: usize>(stream: &mut UnixStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn reply(bound: SocketAddr) -> Vec<u8> {
    let mut reply = vec![VERSION, SUCCEEDED, 0];
    match bound.ip() {
        IpAddr::V4(ip) => {
            reply.push(IPV4);
            reply.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            reply.push(IPV6);
            reply.extend(Ipv6Addr::octets(&ip));
        }
    }
    reply.extend(bound.port().to_be_bytes());
    reply
}

/// Bytes both ways, until both ends have no more.
fn carry(enclave: UnixStream, other: TcpStream) -> io::Result<()> {
    let (mut from_enclave, mut to_other) = (enclave.try_clone()?, other.try_clone()?);
    let sending = thread::spawn(move || {
        let _ = io::copy(&mut from_enclave, &mut to_other);
        let _ = to_other.shutdown(Shutdown::Write);
    });
    let (mut from_other, mut to_enclave) = (other, enclave);
    let _ = io::copy(&mut from_other, &mut to_enclave);
    let _ = to_enclave.shutdown(Shutdown::Write);
    let _ = sending.join();
    Ok(())
}
