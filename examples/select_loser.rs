//! The loser of a `select!` gives its permit back, with an async exit, while the winner goes on.
//!
//! Two mirrors are asked for the same file, over a pool of two connections; the first answer wins. Dropping the loser
//! would skip whatever it had to do on the way out. Here its exit runs in the scope around both, beside the winner.
//!
//! `cargo run --example select_loser`

use futures::channel::mpsc;
use futures::executor::block_on;
use futures::future::{Either, select};
use futures::stream::StreamExt;
use moored::{CancelScope, ExitStack, Failure};
use std::convert::Infallible;

/// A connection. It is good for the next user only after it was reset, and that takes a round trip.
struct Connection {
    name: &'static str,
}

impl Connection {
    async fn reset(self, mut pool: mpsc::Sender<Connection>) {
        moored::checkpoint().await;
        pool.try_send(self).expect("the pool has room for all its connections");
    }
}

async fn fetch(
    mirror: &'static str,
    round_trips: usize,
    connection: Connection,
    pool: mpsc::Sender<Connection>,
) -> Result<&'static str, Failure<Infallible>> {
    let stack = ExitStack::new().named(mirror);
    stack
        .run(async {
            // Lent out to this body, and given back however the body ends.
            let connection = stack.hold(connection, |connection| connection.reset(pool));
            for _ in 0..round_trips {
                println!("{mirror}: waiting, on connection {}", connection.name);
                moored::checkpoint().await;
            }
            Ok(mirror)
        })
        .await
}

fn main() {
    let (pool, mut connections) = mpsc::channel(2);
    let (a, b) = (Connection { name: "a" }, Connection { name: "b" });
    let scope = CancelScope::new();
    let winner = block_on(scope.run(async {
        let fast = Box::pin(fetch("fast mirror", 1, a, pool.clone()));
        let slow = Box::pin(fetch("slow mirror", 100, b, pool.clone()));
        // The loser is dropped here, as `tokio::select!` would do.
        let winner = match select(fast, slow).await {
            Either::Left((winner, _)) | Either::Right((winner, _)) => winner,
        };
        println!("first: {}", winner.as_ref().unwrap());
        for _ in 0..2 {
            println!("going on with the winner, while the loser's connection is reset");
            moored::checkpoint().await;
        }
        winner
    }));
    assert_eq!(winner.unwrap().unwrap(), "fast mirror");

    // Both connections are back when the scope has been left.
    drop(pool);
    let mut back: Vec<_> =
        block_on(connections.by_ref().map(|connection| connection.name).collect());
    back.sort_unstable();
    println!("in the pool: {back:?}");
    assert_eq!(back, ["a", "b"]);
}

#[test]
fn it_runs() {
    main();
}
