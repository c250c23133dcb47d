//! A server that is told to shut down: every connection says goodbye, in its own time, before `main` ends.
//!
//! Each connection is a child of a group on tokio's threads. Its exits are async, and run although the child was
//! cancelled in the middle of an await. The handle asks; the group waits.
//!
//! `cargo run --example graceful --features tokio`

use moored::rt::tokio::Tokio;
use moored::{Cause, ExitStack, Failure, Leaving, TaskGroup};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const CONNECTIONS: usize = 3;

/// One connection, until it is cancelled.
pub(crate) async fn serve(connection: usize, goodbyes: Arc<AtomicUsize>) -> Result<(), Infallible> {
    let stack = ExitStack::new();
    let left: Result<(), Failure<Infallible>> = stack
        .run(async {
            stack.defer_with(move |why| async move {
                // May await: an exit is shielded from the cancellation of the body.
                tokio::time::sleep(Duration::from_millis(10)).await;
                match why {
                    Leaving::Cancelled(reason) => println!("connection {connection}: {reason}"),
                    other => println!("connection {connection}: {other:?}"),
                }
                goodbyes.fetch_add(1, Ordering::SeqCst);
            });
            println!("connection {connection}: open");
            std::future::pending().await
        })
        .await;
    left.expect("its body never ends, and its exit does not fail");
    Ok(())
}

/// Runs the server until it is told to shut down; returns the reason of its end.
pub(crate) async fn run(goodbyes: &Arc<AtomicUsize>) -> Failure<Infallible> {
    let server: TaskGroup<'_, Infallible> = TaskGroup::new().named("server");

    // In a real server this waits for a signal; a handle may be anywhere.
    let shutdown = server.handle();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        println!("shutting down");
        shutdown.cancel_because("somebody asked for it");
    });

    let executor = Tokio::current();
    server
        .run(async {
            for connection in 0..CONNECTIONS {
                server.spawn_on(&executor, serve(connection, Arc::clone(goodbyes)));
            }
            // Accepts until it is cancelled.
            std::future::pending::<Result<Infallible, Infallible>>().await
        })
        .await
        .unwrap_err()
}

#[tokio::main]
async fn main() {
    let goodbyes = Arc::new(AtomicUsize::new(0));
    let failure = run(&goodbyes).await;
    println!("the server: {failure}");
    assert_eq!(goodbyes.load(Ordering::SeqCst), CONNECTIONS);
    assert!(matches!(
        failure.cause(),
        Cause::Cancelled(reason) if reason.message() == Some("somebody asked for it")
    ));
}

#[test]
fn it_runs() {
    main();
}
