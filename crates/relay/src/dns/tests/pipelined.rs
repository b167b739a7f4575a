//! End to end: a client of the link, a relay on a unix socket, a nameserver on UDP.

use super::*;

const QUERIES: u16 = 1024;

/// A query whose name says its id.
fn numbered(id: u16) -> Vec<u8> {
    let mut bytes = query(id, false);
    bytes.splice(12..16, format!("\x04{id:04}").into_bytes());
    bytes
}

#[tokio::test]
async fn of_1024_pipelined_queries_each_gets_its_own_answer_in_any_order() {
    crate::cli::raise_descriptor_limit();
    let nameserver = Nameserver::bind().await;
    let relay = Running::start(limited(|limits| limits.upstream_pps = 0));
    let request = relay.parent.request(Command::Dns(nameserver.address));
    let (read, mut write) = tokio::io::split(request.await.unwrap().stream);
    let mut frames = Vec::new();
    for id in 0..QUERIES {
        frame::encode(&numbered(id), &mut frames).unwrap();
    }
    let ask = async { write.write_all(&frames).await.unwrap() };
    let serve = async {
        // None is answered before all are in flight; then the last comes first.
        let mut waiting: Vec<(Vec<u8>, SocketAddr)> = Vec::new();
        let mut seen = HashSet::new();
        while seen.len() < usize::from(QUERIES) {
            let (packet, from) = nameserver.receive().await;
            if seen.insert(from) {
                waiting.push((packet, from));
            }
        }
        for (packet, from) in waiting.iter().rev() {
            nameserver.send(&answer(packet, 0), *from).await;
        }
    };
    let collect = async {
        let mut reader = frame::Reader::new(read);
        let mut ids = Vec::new();
        while ids.len() < usize::from(QUERIES) {
            let next = timeout(SOON, reader.next()).await.unwrap();
            let bytes = next.unwrap().unwrap();
            let id = u16::from_be_bytes([bytes[0], bytes[1]]);
            assert_eq!(bytes, answer(&numbered(id), 0));
            ids.push(id);
        }
        ids
    };
    let ((), (), ids) = tokio::join!(ask, serve, collect);
    assert!(!ids.is_sorted(), "not in the order of asking");
    let distinct: HashSet<_> = ids.into_iter().collect();
    assert_eq!(distinct, (0..QUERIES).collect());
}
