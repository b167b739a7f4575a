use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::*;

/// An endpoint whose page is long enough that a client which does not read stands in its way.
fn start(page: Option<&'static str>) -> (SocketAddr, JoinSet<()>) {
    let endpoint = Endpoint::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = endpoint.local_addr().unwrap();
    let mut task = JoinSet::new();
    task.spawn(endpoint.serve(move || page.map(str::to_owned)));
    (address, task)
}

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // A reset after the answer is an end, too.
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

#[tokio::test]
async fn one_page_and_a_link_to_it() {
    let (address, _task) = start(Some("proxify_queries_total 1\n"));
    let get = ask(address, "GET /metrics?x HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(get.starts_with("HTTP/1.1 200 OK\r\n"), "{get}");
    assert!(
        get.contains("content-type: text/plain; version=0.0.4\r\n"),
        "{get}"
    );
    assert!(get.ends_with("\r\n\r\nproxify_queries_total 1\n"), "{get}");
    let head = ask(address, "HEAD /metrics HTTP/1.0\r\n\r\n").await;
    assert!(head.contains("content-length: 24\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    let root = ask(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(root.contains("<a href=/metrics>"), "{root}");
    for (request, status) in [
        ("POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "405"),
        ("GET /debug HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("GET ../metrics HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
        ("\x16\x03\x01 TLS\r\n\r\n", "400"),
    ] {
        let answer = ask(address, request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{request}: {answer}"
        );
    }
    let post = ask(address, "POST / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(post.contains("allow: GET, HEAD\r\n"), "{post}");
}

#[tokio::test]
async fn where_nothing_is_served_any_more_that_is_said() {
    let (address, _task) = start(None);
    let get = ask(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(get.starts_with("HTTP/1.1 503"), "{get}");
}

#[tokio::test]
async fn a_request_without_end_is_refused() {
    let (address, _task) = start(Some(""));
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(4 * REQUEST));
    let answer = ask(address, &long).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_holds_a_place_for_ten_seconds() {
    let (address, _task) = start(Some("served\n"));
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let begin = Instant::now();
    let get = ask(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(get.ends_with("served\n"), "{get}");
    assert_eq!(begin.elapsed().as_secs(), DEADLINE.as_secs());
    for mut stream in silent {
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    }
}
