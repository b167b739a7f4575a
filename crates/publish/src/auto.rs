//! Publishes what programs listen on, as it comes and goes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use link::Parent;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::activity::Activity;
use crate::listeners::Watch;
use crate::port::Port;
use crate::ports::Publication;
use crate::program::Program;

/// Between two looks at the kernel's table, each some tens of microseconds: a program that has just
/// started to listen is published before a person would try it.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Ports at once: as many as `proxify-relay` gives an enclave.
const MOST: usize = 64;

/// One port while it is published. Dropping it withdraws it; connections go on.
struct Published {
    addresses: watch::Sender<Vec<SocketAddr>>,
    _task: JoinSet<()>,
}

/// Publishes until it is dropped.
pub(crate) async fn run(parent: Parent, activity: &Activity, connections: &Arc<Semaphore>) {
    let mut watch = Watch::default();
    let mut published: BTreeMap<u16, Published> = BTreeMap::new();
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut told, mut too_many) = (false, false);
    loop {
        looks.tick().await;
        let mut ports = match watch.ports() {
            Ok(ports) => ports,
            // An image's init may mount it later.
            Err(_) if told => continue,
            Err(error) => {
                told = true;
                warn!(
                    %error,
                    "cannot see which ports programs listen on, so none is published; mount /proc, or \
                     name them with --publish"
                );
                continue;
            }
        };
        published.retain(|port, _| {
            let stays = ports.contains_key(port);
            if !stays {
                info!(port, "withdrawn: nothing listens there any more");
            }
            stays
        });
        for (port, known) in &published {
            let now = ports.remove(port).unwrap_or_default();
            known.addresses.send_if_modified(|addresses| {
                let differ = *addresses != now;
                *addresses = now;
                differ
            });
        }
        for (port, addresses) in ports {
            if published.len() >= MOST {
                if !too_many {
                    warn!(
                        port,
                        most = MOST,
                        "programs listen on too many ports: this one and others are not published"
                    );
                }
                too_many = true;
                break;
            }
            published.insert(
                port,
                publish(port, addresses, &parent, activity, connections),
            );
        }
    }
}

fn publish(
    port: u16,
    seen: Vec<SocketAddr>,
    parent: &Parent,
    activity: &Activity,
    connections: &Arc<Semaphore>,
) -> Published {
    let publication = Publication {
        parent: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port),
        program: port,
    };
    let (addresses, receiver) = watch::channel(seen);
    let program = Program::Seen(receiver);
    let mut task = JoinSet::new();
    task.spawn(
        Port::new(
            publication,
            parent.clone(),
            program,
            Arc::clone(connections),
            activity.clone(),
        )
        .run(),
    );
    Published {
        addresses,
        _task: task,
    }
}
