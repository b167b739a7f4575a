//! Lines of the kernel's tables of sockets: what it writes is read, and anything else does no harm.

use std::net::{IpAddr, SocketAddr};

use crate::proc_net::Socket;

/// Reads the bytes as a line, and as a socket whose line the kernel would write.
pub fn proc_net(data: &[u8]) {
    let _ = Socket::of_line(&String::from_utf8_lossy(data));
    let Some((ip, rest)) = data.split_first_chunk::<16>() else {
        return;
    };
    let Some((&[high, low, state, inode], rest)) = rest.split_first_chunk() else {
        return;
    };
    let ip = match rest.is_empty() {
        true => IpAddr::from([ip[0], ip[1], ip[2], ip[3]]),
        false => IpAddr::from(*ip),
    };
    let words = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let word = |word: &[u8; 4]| format!("{:08X}", u32::from_ne_bytes(*word));
    let address: String = words.as_chunks().0.iter().map(word).collect();
    let port = u16::from_be_bytes([high, low]);
    let line = format!(
        "   0: {address}:{port:04X} 00000000:0000 {state:02X} 00000000:00000000 00:00000000 00000000 \
         0        0 {inode} 1 0000000000000000 100 0 0 10 0"
    );
    let expected = Socket {
        address: SocketAddr::new(ip.to_canonical(), port),
        inode: inode.into(),
        listens: state == 0x0a,
    };
    assert_eq!(Socket::of_line(&line), Some(expected));
}
