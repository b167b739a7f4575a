//! What operators ask of the shard, see [`Handle`](crate::Handle).

use std::sync::Arc;

use resolver::{Action, Explained, Step};
use tokio::sync::mpsc;
use wire::Name;

use super::{Client, Core, now};
use crate::handle::{Nameserver, Status};

impl Core {
    pub(crate) fn status(&self) -> Status {
        let now = now();
        let (counters, durations, load, groups) = {
            let shard = &self.lock().shard;
            (
                shard.counters(),
                shard.durations(),
                shard.load(now),
                shard.nameservers(now),
            )
        };
        let upstreams = self.upstreams();
        let nameservers = groups.into_iter().flat_map(|(route, nameservers)| {
            nameservers
                .into_iter()
                .map(move |nameserver| (route, nameserver))
        });
        Status {
            counters,
            durations,
            load,
            link: upstreams.link(),
            has_relay: upstreams.has_relay(),
            nameservers: nameservers
                .map(|(route, nameserver)| Nameserver {
                    route,
                    address: nameserver.address,
                    health: nameserver.health,
                    is_connected: upstreams.has(nameserver.address),
                })
                .collect(),
        }
    }

    pub(crate) fn explain(&self, name: &Name, qtype: u16) -> Explained {
        self.lock().shard.explain(now(), name, qtype)
    }

    pub(crate) fn flush(&self, name: Option<&Name>) -> usize {
        self.lock().shard.flush(name)
    }

    /// Gives where the reply will come.
    pub(crate) fn look_up(self: &Arc<Self>, name: &Name, qtype: u16) -> mpsc::Receiver<Vec<u8>> {
        let (sender, reply) = mpsc::channel(1);
        self.act(|state| {
            let out = &mut state.reply;
            let client = Client::Operator(sender.clone());
            match state.shard.look_up(now(), client, name, qtype, out) {
                Step::Reply(length) | Step::ReplyAndAsk(length, _) => {
                    // There is room for one.
                    let _ = sender.try_send(out.get(..length).unwrap_or_default().to_vec());
                }
                Step::Ask(ask) => state.actions.push(Action::Ask(ask)),
                Step::Wait | Step::Drop => {}
            }
        });
        reply
    }
}
