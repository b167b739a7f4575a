//! The two halves of a table's interface: what getsockopt(2) reads, and setsockopt(2) replaces, on
//! any raw socket. The structures are those of linux/netfilter_ipv4/ip_tables.h; IPv6's have the
//! same layout but for their entries, and the same option numbers.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use super::Family;

/// Hooks of a table: PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING (linux/netfilter.h).
pub(super) const HOOKS: usize = 5;

/// IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES and IPT_SO_SET_REPLACE.
const GET_INFO: libc::c_int = 64;
const GET_ENTRIES: libc::c_int = 65;
const SET_REPLACE: libc::c_int = 64;

/// A table's name with its terminator (XT_TABLE_MAXNAMELEN).
const NAME: usize = 32;

/// The entries stand behind a name and a size, at the alignment of their counters.
const ENTRIES_AT: usize = 40;

/// Counters of an entry: packets and bytes (`struct xt_counters`).
const COUNTERS: usize = 16;

/// What a table looks like (`struct ipt_getinfo`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Info {
    pub(super) name: [u8; NAME],
    /// One bit a hook.
    pub(super) valid_hooks: u32,
    /// Where each hook's rules start, in bytes.
    pub(super) hook_entry: [u32; HOOKS],
    /// Where each hook's policy stands.
    pub(super) underflow: [u32; HOOKS],
    pub(super) entries: u32,
    pub(super) size: u32,
}

/// A table to be: its shape and its entries.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rendered {
    pub(super) valid_hooks: u32,
    pub(super) hook_entry: [u32; HOOKS],
    pub(super) underflow: [u32; HOOKS],
    pub(super) entries: u32,
    pub(super) bytes: Vec<u8>,
}

/// A raw socket of a family; nothing is sent on it.
#[derive(Debug)]
pub(super) struct TableSocket {
    descriptor: OwnedFd,
    level: libc::c_int,
}

impl TableSocket {
    pub(super) fn open(family: Family) -> io::Result<Self> {
        let (domain, level) = match family {
            Family::V4 => (AddressFamily::Inet, libc::SOL_IP),
            Family::V6 => (AddressFamily::Inet6, libc::SOL_IPV6),
        };
        let flags = SockFlag::SOCK_CLOEXEC;
        let descriptor = socket(domain, SockType::Raw, flags, SockProtocol::Raw)?;
        Ok(Self { descriptor, level })
    }

    /// A table's shape and entries. EAGAIN says that it changed in between.
    pub(super) fn read(&self, table: &str) -> io::Result<(Info, Vec<u8>)> {
        let mut info = [0; size_of::<Info>()];
        put_name(&mut info, table);
        self.get(GET_INFO, &mut info)?;
        // SAFETY: the kernel has filled all of it, and every pattern of bytes is a valid Info.
        let info: Info = unsafe { std::mem::transmute(info) };

        let size = usize::try_from(info.size).map_err(io::Error::other)?;
        // A trailing alignment is not in the structure's own size.
        let mut answer = vec![0; ENTRIES_AT + size];
        put_name(&mut answer, table);
        if let Some(field) = answer.get_mut(NAME..NAME + 4) {
            field.copy_from_slice(&info.size.to_ne_bytes());
        }
        self.get(GET_ENTRIES, &mut answer)?;
        Ok((info, answer.split_off(ENTRIES_AT)))
    }

    /// Puts `new` in the place of the table that `old` describes (`struct ipt_replace`). EAGAIN says
    /// that it is not that one any more.
    pub(super) fn replace(&self, table: &str, old: &Info, new: &Rendered) -> io::Result<()> {
        // The kernel gives back what the old entries had counted.
        let old_entries = usize::try_from(old.entries).map_err(io::Error::other)?;
        let mut counters = vec![0_u8; old_entries * COUNTERS];
        let size = u32::try_from(new.bytes.len()).map_err(io::Error::other)?;

        let mut request = vec![0; NAME];
        put_name(&mut request, table);
        let mut put = |number: u32| request.extend_from_slice(&number.to_ne_bytes());
        put(new.valid_hooks);
        put(new.entries);
        put(size);
        new.hook_entry.into_iter().for_each(&mut put);
        new.underflow.into_iter().for_each(&mut put);
        put(old.entries);
        request.extend_from_slice(&counters.as_mut_ptr().addr().to_ne_bytes());
        // What the kernel writes through that address is exposed to it here.
        let _ = counters.as_mut_ptr().expose_provenance();
        request.extend_from_slice(&new.bytes);

        let length = libc::socklen_t::try_from(request.len()).map_err(io::Error::other)?;
        // SAFETY: `request` is valid for `length` bytes, and the counters it points to have room for
        // as many as it says.
        let done = unsafe {
            libc::setsockopt(
                self.descriptor.as_raw_fd(),
                self.level,
                SET_REPLACE,
                request.as_ptr().cast(),
                length,
            )
        };
        drop(counters);
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    fn get(&self, option: libc::c_int, answer: &mut [u8]) -> io::Result<()> {
        let mut length = libc::socklen_t::try_from(answer.len()).map_err(io::Error::other)?;
        // SAFETY: `answer` is valid for `length` bytes.
        let done = unsafe {
            libc::getsockopt(
                self.descriptor.as_raw_fd(),
                self.level,
                option,
                answer.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

fn put_name(request: &mut [u8], name: &str) {
    for (to, from) in request.iter_mut().take(NAME - 1).zip(name.bytes()) {
        *to = from;
    }
}
