//! Over an in-memory stream, in paused time.

use std::time::Duration;

use tokio::io::{duplex, split};
use tokio::time::timeout;

use super::*;

const GET: Request<'_> = Request {
    method: "GET",
    host: "169.254.169.254",
    path: "/latest/meta-data/mac",
    header: ("X-aws-ec2-metadata-token", "dG9rZW4="),
};

/// What comes of a server that says this, `chunk` bytes at a time, and then closes.
async fn said(response: &[u8], chunk: usize) -> Result<Vec<u8>, HttpError> {
    let (mut ours, theirs) = duplex(64 * 1024);
    let (_request, mut writer) = split(theirs);
    let speak = async {
        for part in response.chunks(chunk) {
            let _ = writer.write_all(part).await;
            tokio::task::yield_now().await;
        }
        let _ = writer.shutdown().await;
    };
    tokio::join!(exchange(&mut ours, &GET), speak).0
}

async fn failure(response: &str) -> String {
    said(response.as_bytes(), response.len().max(1))
        .await
        .unwrap_err()
        .to_string()
}

#[tokio::test(start_paused = true)]
async fn the_request_is_one_that_imds_takes() {
    let (mut ours, mut theirs) = duplex(4096);
    let read = async {
        let mut request = [0; 4096];
        let length = theirs.read(&mut request).await.unwrap();
        drop(theirs);
        String::from_utf8(request[..length].to_vec()).unwrap()
    };
    let (result, request) = tokio::join!(exchange(&mut ours, &GET), read);
    assert!(matches!(result, Err(HttpError::Closed)), "{result:?}");
    assert_eq!(
        request,
        "GET /latest/meta-data/mac HTTP/1.1\r\nHost: 169.254.169.254\r\n\
         X-aws-ec2-metadata-token: dG9rZW4=\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_is_read_at_once_or_byte_by_byte() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length:5\r\nContent-Length: 5\r\n\r\nhello, world",
        "HTTP/1.0 200 OK\r\nServer: EC2ws\r\n\r\nhello",
        "HTTP/1.1 200 \r\n\r\nhello",
    ] {
        for chunk in [1, 7, response.len()] {
            let body = said(response.as_bytes(), chunk).await.unwrap();
            assert_eq!(body, b"hello", "{response:?} by {chunk}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_of_known_length_is_not_waited_beyond() {
    let (mut ours, mut theirs) = duplex(4096);
    theirs
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await
        .unwrap();
    let body = timeout(Duration::from_secs(1), exchange(&mut ours, &GET));
    assert_eq!(body.await.unwrap().unwrap(), b"ok");
}

#[tokio::test(start_paused = true)]
async fn everything_else_is_an_error_that_says_what_came() {
    for (response, why) in [
        ("", "closed before the end"),
        ("HTTP/1.1 200 OK\r\nContent-Len", "closed before the end"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
            "closed before the end",
        ),
        (
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
            "401",
        ),
        ("HTTP/1.1 404 Not Found\r\n\r\n<html>", "404"),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\n\r\n",
            "302",
        ),
        ("HTTP/2 200\r\n\r\n", "not HTTP/1.1"),
        ("HTTP/1.1 2000 OK\r\n\r\n", "not HTTP/1.1"),
        ("<html>\r\n\r\n", "not HTTP/1.1"),
        ("\r\n\r\n", "not HTTP/1.1"),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "not HTTP/1.1"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "not HTTP/1.1",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "not HTTP/1.1",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            "not HTTP/1.1",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n",
            "body is longer",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "transfer encoding",
        ),
    ] {
        let said = failure(response).await;
        assert!(said.contains(why), "{response:?}: {said}");
    }
    let said = said(b"HTTP/1.1 200 \xFF\r\n\r\n", 99).await.unwrap_err();
    assert!(matches!(said, HttpError::NotHttp), "{said}");
}

/// However much a server sends, this much is read.
#[tokio::test(start_paused = true)]
async fn what_does_not_end_is_cut() {
    for (start, why) in [
        ("HTTP/1.1 200 OK\r\n", "headers are longer"),
        ("HTTP/1.1 200 OK\r\n\r\n", "body is longer"),
    ] {
        let (mut ours, theirs) = duplex(512);
        let (_request, mut writer) = split(theirs);
        let mut sent = 0;
        let flood = async {
            writer.write_all(start.as_bytes()).await.unwrap();
            while writer.write_all(&[b'a'; 512]).await.is_ok() {
                sent += 512;
            }
        };
        let error = tokio::select! {
            result = exchange(&mut ours, &GET) => result.unwrap_err(),
            () = flood => panic!("read to the end"),
        };
        assert!(error.to_string().contains(why), "{error}");
        assert!(sent < 2 * (MAX_HEAD + MAX_BODY), "{sent}");
    }
}
