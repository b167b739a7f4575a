use tokio::task::yield_now;
use tokio::time::timeout;

use super::*;
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
