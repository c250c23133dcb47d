//! Real requests over loopback: answered, timed out, hung up on, and all of it undone when the server ends.
#![forbid(unsafe_code)]

use axum_server::{Pool, run};
use moored::CancelScope;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Starts a server; returns its address, the handle that stops it, and its task.
async fn start(
    pool: &Pool,
    limit: Duration,
) -> (SocketAddr, moored::CancelHandle, JoinHandle<io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let scope = CancelScope::new();
    let (asks, handle, pool) = (scope.handle(), scope.handle(), pool.clone());
    let server = tokio::spawn(moored::task(async move {
        scope.run(run(listener, pool, limit, handle)).await.expect("nobody cancels it")
    }));
    (at, asks, server)
}

async fn ask(at: SocketAddr, page: &str) -> TcpStream {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = format!("GET /{page} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// Waits until the pool has `n` connections. The server decides when: there is nothing else to wait for.
async fn until_available(pool: &Pool, n: usize) {
    let waits = async {
        while pool.available().await != n {
            tokio::task::yield_now().await;
        }
    };
    moored::fail_after(Duration::from_secs(30), waits).await.expect("in thirty seconds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_answered_and_its_connection_is_back_before_the_answer() {
    let pool = Pool::new(1);
    let (at, asks, server) = start(&pool, Duration::from_secs(60)).await;
    for _ in 0..3 {
        let text = answer(ask(at, "hello").await).await;
        assert!(
            text.starts_with("HTTP/1.1 200") && text.ends_with("through connection 0"),
            "{text}"
        );
        assert_eq!(pool.available().await, 1);
    }
    asks.stop();
    server.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_takes_too_long_is_undone_before_it_is_answered() {
    let pool = Pool::new(1);
    let (at, asks, server) = start(&pool, Duration::from_millis(20)).await;
    let text = answer(ask(at, "slow").await).await;
    assert!(text.starts_with("HTTP/1.1 504"), "{text}");
    assert_eq!(pool.available().await, 1);
    asks.stop();
    server.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hangs_up_costs_no_connection() {
    let pool = Pool::new(1);
    let (at, asks, server) = start(&pool, Duration::from_secs(60)).await;
    let slow = ask(at, "slow").await;
    until_available(&pool, 0).await;
    drop(slow); // axum drops the handler in the middle of its await
    until_available(&pool, 1).await;
    let text = answer(ask(at, "hello").await).await;
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    asks.stop();
    server.await.unwrap().unwrap();
    assert_eq!(pool.available().await, 1);
}

/// A client that sends no more than the beginning of a request.
async fn begin_to_ask(at: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(b"GET /hello HTTP/1.1\r\nHost: loc").await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_within_its_request_holds_up_nothing() {
    let pool = Pool::new(1);
    let (at, asks, server) = start(&pool, Duration::from_secs(60)).await;
    let half = begin_to_ask(at).await;
    let text = answer(ask(at, "hello").await).await;
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    asks.stop();
    drop(half);
    server.await.unwrap().unwrap();
    assert_eq!(pool.available().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hangs_within_its_request_holds_the_server_up_for_the_grace_and_no_longer() {
    let pool = Pool::new(1);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let scope = CancelScope::new();
    let (asks, handle, served) = (scope.handle(), scope.handle(), pool.clone());
    let server = tokio::spawn(moored::task(async move {
        scope.run(run(listener, served, Duration::from_secs(60), handle)).await
    }));
    let half = begin_to_ask(at).await;
    // The server takes connections in their order, so it has the first one when it answers on the second.
    let text = answer(ask(at, "hello").await).await;
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    let grace = Duration::from_millis(50);
    asks.stop_within(grace);
    match server.await.unwrap() {
        // axum has its own opinion whether a connection without a whole request is idle.
        Ok(ended) => ended.unwrap(),
        Err(cancelled) => assert_eq!(cancelled.reason().grace(), Some(grace)),
    }
    assert_eq!(pool.available().await, 1);
    drop(half);
}
