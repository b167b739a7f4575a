//! The floor: the least that a server can do for a query over UDP. It reads a batch, sets QR, appends
//! bytes without looking anything up, and sends the batch.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::str::FromStr;

use nix::sys::socket::{setsockopt, sockopt};
use wire::{HEADER, rcode, rtype};

use crate::datagrams::{BATCH, Datagrams};

/// Bytes that may wait in the socket: what our stub asks for.
const RECEIVE_BUFFER: usize = 4 << 20;

/// An address record that points at the question, up to its address.
const RECORD: [u8; 12] = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4];

/// How long the reply to a name that begins with this letter is, and its response code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) letter: u8,
    pub(crate) length: usize,
    pub(crate) rcode: u8,
}

/// Answers on `address` until the process is killed. A reply has the length that `replies` say, at
/// least the query's, and that with one address where they say nothing.
pub(crate) fn serve(address: SocketAddr, replies: &[Reply]) -> io::Result<Infallible> {
    let mut by_letter = [None; 256];
    for reply in replies {
        by_letter[usize::from(reply.letter)] = Some(*reply);
    }
    let socket = UdpSocket::bind(address)?;
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
    }
    let mut batch = Datagrams::new();
    loop {
        let received = batch.receive(&socket, BATCH)?;
        for index in 0..received {
            batch.edit(index, |packet, length| answer(packet, length, &by_letter));
        }
        batch.send(&socket, received)?;
    }
}

fn answer(packet: &mut [u8], length: usize, by_letter: &[Option<Reply>; 256]) -> usize {
    if length <= HEADER + 1 {
        return length;
    }
    packet[2] |= 0x80;
    packet[3] |= 0x80;
    let letter = packet[HEADER + 1];
    let reply = by_letter[usize::from(letter)];
    let code = reply.map_or(rcode::NOERROR, |reply| reply.rcode);
    packet[3] |= code;
    packet[7] = u8::from(code == rcode::NOERROR);
    // Without EDNS the question's type stands before its class, at the end.
    let is_v6 = packet[length - 4..length - 2] == rtype::AAAA.to_be_bytes();
    let rdata = if is_v6 { 16 } else { 4 };
    let record = &mut packet[length..length + RECORD.len() + rdata];
    record[..RECORD.len()].copy_from_slice(&RECORD);
    record[RECORD.len()..].fill(10);
    if is_v6 {
        record[3] = 28;
        record[11] = 16;
    }
    let least = length + record.len();
    reply.map_or(least, |reply| reply.length.clamp(length, packet.len()))
}

impl FromStr for Reply {
    type Err = String;

    /// `LETTER=BYTES` or `LETTER=BYTES:RCODE`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (letter, rest) = text.split_once('=')?;
            let (length, rcode) = rest.split_once(':').unwrap_or((rest, "0"));
            let [letter] = letter.as_bytes() else {
                return None;
            };
            Some(Self {
                letter: *letter,
                length: length.parse().ok()?,
                rcode: rcode.parse().ok()?,
            })
        };
        parse().ok_or_else(|| "write LETTER=BYTES or LETTER=BYTES:RCODE".to_owned())
    }
}
