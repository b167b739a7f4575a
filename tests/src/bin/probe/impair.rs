//! A bad network between the relay and a nameserver: UDP both ways, each packet lost, late or sent
//! twice by chance, from a seed. Delays are random, so packets overtake each other.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::net::UdpSocket;

use crate::Outcome;

/// Between two looks for the file that ends it.
const LOOK: Duration = Duration::from_millis(50);

/// What happens to a packet, in percent, and how late it is at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Impairment {
    loss: u8,
    twice: u8,
    delay: Duration,
}

impl FromStr for Impairment {
    type Err = Box<dyn std::error::Error>;

    /// `LOSS,TWICE,MILLISECONDS`
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split(',').collect();
        let [loss, twice, delay] = parts[..] else {
            return Err("LOSS,TWICE,MILLISECONDS".into());
        };
        Ok(Self {
            loss: loss.parse()?,
            twice: twice.parse()?,
            delay: Duration::from_millis(delay.parse()?),
        })
    }
}

/// Carries packets between `listen` and `nameserver` until the file exists; then says what became of
/// them. Makes the file `begun` with the first packet; the network is a good one until `bad` exists.
pub(crate) fn impair(
    listen: SocketAddr,
    nameserver: SocketAddr,
    impairment: Impairment,
    seed: u64,
    begun: &Path,
    bad: &Path,
    until: &Path,
) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let near = Arc::new(UdpSocket::bind(listen).await?);
        let far = Arc::new(UdpSocket::bind((listen.ip(), 0)).await?);
        far.connect(nameserver).await?;
        let mut link = Link {
            near,
            far,
            impairment,
            chance: StdRng::seed_from_u64(seed),
            askers: vec![None; usize::from(u16::MAX) + 1],
            next_id: 0,
            is_bad: false,
            counts: Counts::default(),
        };
        tokio::select! {
            never = link.carry(begun, bad) => match never? {},
            () = async { while !until.exists() { tokio::time::sleep(LOOK).await; } } => {}
        }
        let Counts { came, lost, twice } = link.counts;
        println!("{came} packets, {lost} lost, {twice} twice");
        Ok(())
    })
}

#[derive(Debug, Default)]
struct Counts {
    came: u32,
    lost: u32,
    twice: u32,
}

struct Link {
    near: Arc<UdpSocket>,
    far: Arc<UdpSocket>,
    impairment: Impairment,
    chance: StdRng,
    /// Who asked with which id, by the id that the nameserver sees.
    askers: Vec<Option<(SocketAddr, [u8; 2])>>,
    next_id: u16,
    is_bad: bool,
    counts: Counts,
}

impl Link {
    async fn carry(&mut self, begun: &Path, bad: &Path) -> std::io::Result<Infallible> {
        let (mut question, mut answer) = ([0; 65_535], [0; 65_535]);
        loop {
            self.is_bad = self.is_bad || bad.exists();
            tokio::select! {
                came = self.near.recv_from(&mut question) => {
                    let Ok((length, asker)) = came else { continue };
                    if self.counts.came == 0 {
                        std::fs::write(begun, "")?;
                    }
                    let Some(id) = question.first_chunk().copied() else { continue };
                    self.next_id = self.next_id.wrapping_add(1);
                    self.askers[usize::from(self.next_id)] = Some((asker, id));
                    question[..2].copy_from_slice(&self.next_id.to_be_bytes());
                    let far = Arc::clone(&self.far);
                    self.pass(&question[..length], far, None);
                }
                came = self.far.recv(&mut answer) => {
                    // An ICMP error is the relay's to find out by its silence.
                    let Ok(length) = came else { continue };
                    let Some(id) = answer.first_chunk().copied() else { continue };
                    let Some((asker, id)) = self.askers[usize::from(u16::from_be_bytes(id))] else { continue };
                    answer[..2].copy_from_slice(&id);
                    let near = Arc::clone(&self.near);
                    self.pass(&answer[..length], near, Some(asker));
                }
            }
        }
    }

    fn pass(&mut self, packet: &[u8], socket: Arc<UdpSocket>, to: Option<SocketAddr>) {
        self.counts.came += 1;
        if self.has(self.impairment.loss) {
            self.counts.lost += 1;
            return;
        }
        let mut times = 1;
        if self.has(self.impairment.twice) {
            self.counts.twice += 1;
            times = 2;
        }
        for _ in 0..times {
            let longest = if self.is_bad {
                self.impairment.delay
            } else {
                Duration::ZERO
            };
            let delay = longest.mul_f64(self.chance.random());
            let (packet, socket) = (packet.to_vec(), Arc::clone(&socket));
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                // What cannot be sent is one more that is lost.
                let _ = match to {
                    Some(to) => socket.send_to(&packet, to).await,
                    None => socket.send(&packet).await,
                };
            });
        }
    }

    fn has(&mut self, percent: u8) -> bool {
        self.is_bad && self.chance.random_range(0..100) < percent
    }
}
