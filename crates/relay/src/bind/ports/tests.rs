use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::*;
use crate::admission::Admission;
use crate::tests::seat;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_connection_on_its_way_to_a_place_that_is_left_goes_to_another() {
    let limits = Limits::default();
    let (_drain, draining) = watch::channel(false);
    let ports = Arc::new(Ports::new(BindTo::Any, &limits, draining));
    let seat = seat(&limits);
    let any = "127.0.0.1:0".parse().unwrap();
    let mut stays = ports.queue(any, &seat).await.unwrap();
    let leaves = ports.queue(stays.bound(), &seat).await.unwrap();
    let client = TcpStream::connect(stays.bound()).await.unwrap();
    let handed = async {
        while leaves.client.is_empty() {
            yield_now().await;
        }
    };
    timeout(SOON, handed).await.unwrap();
    drop(leaves);
    let served = timeout(SOON, stays.client()).await.unwrap().unwrap();
    assert_eq!(served.address, client.local_addr().unwrap());
}

/// The enclave takes so long to be told of its connection that it has lost the port meanwhile.
#[tokio::test]
async fn a_connection_that_comes_back_late_is_reset_and_not_the_next_enclaves() {
    let limits = Limits {
        port_grace: Duration::from_millis(10),
        ..Limits::default()
    };
    let (_drain, draining) = watch::channel(false);
    let ports = Arc::new(Ports::new(BindTo::Any, &limits, draining));
    let admission = Arc::new(Admission::new(&limits));
    let [slow, next] = [16, 17].map(|cid| admission.admit(Peer::Cid(cid)).unwrap());
    for given_back in [true, false] {
        let any = "127.0.0.1:0".parse().unwrap();
        let mut place = ports.queue(any, &slow).await.unwrap();
        let address = place.bound();
        let client = TcpStream::connect(address).await.unwrap();
        let theirs = async {
            while place.client.is_empty() {
                yield_now().await;
            }
            while ports.state().ports.contains_key(&address) {
                yield_now().await;
            }
        };
        timeout(SOON, theirs).await.unwrap();
        let mut other = ports.queue(address, &next).await.unwrap();
        match given_back {
            true => {
                let client = place.client().await.unwrap();
                place.give_back(client);
            }
            false => drop(place),
        }
        timeout(SOON, client.readable()).await.unwrap().unwrap();
        let read = client.try_read(&mut [0]);
        assert!(read.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
        let own = TcpStream::connect(address).await.unwrap();
        let served = timeout(SOON, other.client()).await.unwrap().unwrap();
        assert_eq!(served.address, own.local_addr().unwrap());
    }
}
