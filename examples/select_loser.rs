//! The loser of a `select!` gives its permit back, with an async exit, while the winner goes on.
//!
//! Two mirrors are asked for the same file, over a pool of two connections; the first answer wins. Dropping the loser
//! would skip its clean-up. Here its exit runs in the scope around both, beside the winner.
//!
//! `cargo run --example select_loser`

use futures::executor::block_on;
use futures::future::{Either, select};
use futures::lock::Mutex;
use moored::{CancelScope, ExitStack, Failure};
use std::convert::Infallible;
use std::sync::Arc;

/// A connection. It is good for the next user only after it was reset, and that takes a round trip.
pub(crate) struct Connection(pub(crate) &'static str);

/// The free connections.
pub(crate) type Pool = Arc<Mutex<Vec<Connection>>>;

impl Connection {
    async fn reset(self, pool: Pool) {
        moored::checkpoint().await;
        pool.lock().await.push(self);
    }
}

async fn fetch(
    mirror: &'static str,
    round_trips: usize,
    pool: &Pool,
) -> Result<&'static str, Failure<Infallible>> {
    let stack = ExitStack::new().named(mirror);
    stack
        .run(async {
            let connection = pool.lock().await.pop().expect("there is one for each mirror");
            // Lent out to this body, and given back however the body ends.
            let pool = Arc::clone(pool);
            let connection = stack.hold(connection, |connection| connection.reset(pool));
            for _ in 0..round_trips {
                println!("{mirror}: waiting, on connection {}", connection.0);
                moored::checkpoint().await;
            }
            Ok(mirror)
        })
        .await
}

/// Returns the mirror that answered first. Both connections are back when this ends.
pub(crate) async fn race(pool: &Pool) -> Result<&'static str, Failure<Infallible>> {
    let scope = CancelScope::new();
    let winner = scope.run(async {
        let fast = Box::pin(fetch("fast mirror", 1, pool));
        let slow = Box::pin(fetch("slow mirror", 100, pool));
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
    });
    winner.await.expect("nobody cancels the scope")
}

fn main() {
    let pool: Pool = Arc::new(Mutex::new(vec![Connection("a"), Connection("b")]));
    assert_eq!(block_on(race(&pool)).unwrap(), "fast mirror");

    let mut back: Vec<_> = block_on(pool.lock()).iter().map(|connection| connection.0).collect();
    back.sort_unstable();
    println!("in the pool: {back:?}");
    assert_eq!(back, ["a", "b"]);
}

#[test]
fn it_runs() {
    main();
}
