//! The detour's device: a TUN, from which the packets that are routed there are read. Nothing is
//! written to it.
//!
//! It lasts as long as its descriptor, and its routes as long as it does: nothing of it outlives a
//! proxify that is killed.

use std::fs;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep};

mod ioctl {
    use nix::libc::{SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFMTU, TUNSETIFF, ifreq};

    nix::ioctl_write_ptr_bad!(attach, TUNSETIFF, ifreq);
    nix::ioctl_write_ptr_bad!(set_mtu, SIOCSIFMTU, ifreq);
    nix::ioctl_readwrite_bad!(get_flags, SIOCGIFFLAGS, ifreq);
    nix::ioctl_write_ptr_bad!(set_flags, SIOCSIFFLAGS, ifreq);
}

/// The device's name. It is no network to what looks for networks.
pub const DEVICE: &str = "proxify0";

const CLONE_DEVICE: &str = "/dev/net/tun";

/// The device's number (Documentation/admin-guide/devices.txt): an image's /dev may lack it.
const MAJOR: u64 = 10;
const MINOR: u64 = 200;

/// The most that a packet of IPv4 can be, and what the maximum segment sizes on both ends come from:
/// the connection itself stays on lo.
pub(crate) const MTU: u16 = 65535;

/// How long the device may stay after its owner's end: a killed process gives up its lock before it.
const HANDOVER: Duration = Duration::from_millis(500);

/// Between two attempts within [`HANDOVER`].
const ATTACH_EVERY: Duration = Duration::from_millis(10);

/// An open device.
#[derive(Debug)]
pub(crate) struct Tun {
    file: AsyncFd<fs::File>,
}

impl Tun {
    /// Makes the device, and sets it up. To be called within a runtime.
    pub(crate) async fn open() -> Result<Self, TunError> {
        let file = open().map_err(|source| TunError::Open { source })?;
        attach(&file).await.map_err(TunError::make)?;
        // The kernel's own IPv6 has nothing to say here; where /proc is read-only it is not listened to.
        let _ = fs::write(
            format!("/proc/sys/net/ipv6/conf/{DEVICE}/addr_gen_mode"),
            "1",
        );
        set_up().map_err(TunError::make)?;
        // SAFETY: a `File` keeps its descriptor open, and gives the same one, until it is dropped.
        let file = unsafe { AsyncFd::register(file) };
        let file = file.map_err(|error| TunError::Open {
            source: error.into(),
        })?;
        Ok(Self { file })
    }

    /// Waits for the next packet and gives its length.
    pub(crate) async fn read(&self, packet: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.file.readable().await?;
            if let Ok(result) = ready.try_io(|file| file.get_ref().read(packet)) {
                return result;
            }
        }
    }
}

/// Opens the device's file, under another name if the image has none.
fn open() -> io::Result<fs::File> {
    let open = |path: &Path| {
        fs::OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
    };
    match open(Path::new(CLONE_DEVICE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    let path = format!("/run/proxify-{}.tun", std::process::id());
    let path = Path::new(&path);
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    mknod(path, SFlag::S_IFCHR, mode, makedev(MAJOR, MINOR))?;
    let opened = open(path);
    let _ = fs::remove_file(path);
    opened
}

/// Makes the device that belongs to the file, with patience for that of an owner that has just been
/// killed.
async fn attach(file: &fs::File) -> nix::Result<()> {
    let mut request = request();
    request.ifr_ifru.ifru_flags = flags(libc::IFF_TUN | libc::IFF_NO_PI);
    let deadline = Instant::now() + HANDOVER;
    loop {
        // SAFETY: the descriptor is open, and `request` a valid ifreq with a terminated name.
        match unsafe { ioctl::attach(file.as_raw_fd(), &raw const request) } {
            Err(Errno::EBUSY) if Instant::now() < deadline => sleep(ATTACH_EVERY).await,
            done => return done.map(drop),
        }
    }
}

fn set_up() -> nix::Result<()> {
    // Any socket of the network namespace will do.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").map_err(|_| Errno::EADDRNOTAVAIL)?;
    let mut mtu = request();
    mtu.ifr_ifru.ifru_mtu = MTU.into();
    // SAFETY: the descriptor is open, and `mtu` a valid ifreq with a terminated name.
    unsafe { ioctl::set_mtu(socket.as_raw_fd(), &raw const mtu) }?;
    let mut state = request();
    // SAFETY: as above.
    unsafe { ioctl::get_flags(socket.as_raw_fd(), &raw mut state) }?;
    // SAFETY: SIOCGIFFLAGS has filled this member of the union.
    let now = unsafe { state.ifr_ifru.ifru_flags };
    state.ifr_ifru.ifru_flags = now | flags(libc::IFF_UP);
    // SAFETY: as above.
    unsafe { ioctl::set_flags(socket.as_raw_fd(), &raw const state) }?;
    Ok(())
}

fn request() -> libc::ifreq {
    // SAFETY: `ifreq` is plain old data of the C interface, for which all zeroes are a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(DEVICE.bytes()) {
        *to = from.cast_signed();
    }
    request
}

/// The kernel's field has 16 bits, as have all flags that are used here.
fn flags(flags: libc::c_int) -> libc::c_short {
    libc::c_short::try_from(flags).unwrap_or_default()
}

/// Why there is no device.
#[derive(Debug, thiserror::Error)]
pub enum TunError {
    /// Its file.
    #[error("cannot open {CLONE_DEVICE}: {source} (the kernel needs TUN, and proxify root)")]
    Open {
        /// What the system said.
        source: io::Error,
    },
    /// The device itself.
    #[error("cannot make the device {DEVICE}: {source} (it takes CAP_NET_ADMIN)")]
    Make {
        /// What the system said.
        source: Errno,
    },
}

impl TunError {
    fn make(source: Errno) -> Self {
        Self::Make { source }
    }
}
