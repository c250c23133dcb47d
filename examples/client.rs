//! A library author's type: a client that is opened in one task and closed in another.
//!
//! Its exits live in a stack that is *released* where the client is opened and *adopted* where it is closed, so that no task
//! owns it in between (R4). Every call takes a lease, whose exit gives it back however the call ends; `close` waits for
//! nobody longer than its grace. Nothing here knows a runtime, and the crate's features are the program's choice.
//!
//! `cargo run --example client --features tokio`

#![allow(
    clippy::disallowed_types,
    reason = "an example has nothing that loom could take the place of"
)]

use moored::{BoxError, ExitStack, Failure, Released, fail_after, task};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The messages that a server was sent, in order. A real client has a socket here.
type Wire = Arc<Mutex<Vec<String>>>;

/// The time that an exit may take.
const GRACE: Duration = Duration::from_secs(1);
/// The first message of a server that takes no more clients.
const FULL: &str = "full";

fn say(wire: &Wire, what: impl Into<String>) {
    wire.lock().expect("nobody panics while it is locked").push(what.into());
}

/// A client of some server.
///
/// # Task affinity
///
/// None: it may be opened, used and closed by different tasks.
///
/// # On drop
///
/// The goodbye goes to the region that is current there; where there is none, it is reported lost.
pub(crate) struct Client {
    wire: Wire,
    /// Unowned: see [`Client::close`].
    exits: Released<ExitStack>,
}

impl Client {
    /// Opens a client. If that fails, the goodbye has been said when the error is there.
    ///
    /// # Cancel safety
    ///
    /// Dropped at its await, it says goodbye in the region around.
    pub(crate) async fn open(wire: Wire) -> Result<Client, BoxError> {
        let opening = ExitStack::new().named("client").grace(GRACE);
        let opened: Result<ExitStack, Failure<BoxError>> = opening
            .run(async {
                say(&wire, "hello");
                let goodbye = Arc::clone(&wire);
                opening.defer(async move { say(&goodbye, "goodbye") });
                // An error here runs the exits before it is returned.
                fail_after(Duration::from_secs(5), greet(&wire)).await??;
                Ok(opening.pop_all()) // with the name and the grace
            })
            .await;
        let exits = opened.map_err(Failure::boxed)?;
        Ok(Client { wire, exits: exits.release().expect("this task has just entered it") })
    }

    /// One call, undone on the server where it does not come to its end.
    ///
    /// # Cancel safety
    ///
    /// Dropped at its await, it tells the server to forget the call, in the region around.
    pub(crate) async fn call(&self, what: &str) -> Result<usize, BoxError> {
        let stack = ExitStack::new().named("call").grace(GRACE);
        let (wire, name) = (Arc::clone(&self.wire), what.to_owned());
        let answer: Result<usize, Failure<BoxError>> = stack
            .run(async {
                stack.defer_with(move |why| async move {
                    if !matches!(why, moored::Leaving::Completed) {
                        say(&wire, format!("forget {name}"));
                    }
                });
                say(&self.wire, what);
                if what == "never" { std::future::pending().await } else { Ok(what.len()) }
            })
            .await;
        answer.map_err(Failure::boxed)
    }

    /// Says goodbye, in whatever task this is awaited.
    ///
    /// # Cancel safety
    ///
    /// Dropped at its await, the rest goes to the region around.
    pub(crate) async fn close(self) -> Result<(), BoxError> {
        Ok(self.exits.adopt().close().await?)
    }
}

async fn greet(wire: &Wire) -> Result<(), BoxError> {
    moored::checkpoint().await;
    if wire.lock().expect("nobody panics while it is locked").first().is_some_and(|it| it == FULL) {
        return Err("the server is full".into());
    }
    say(wire, "greeted");
    Ok(())
}

#[tokio::main]
async fn main() {
    let wire = Wire::default();
    // Opened in one task, used in another, closed in a third: with the feature `tokio`, each is known.
    let opened = tokio::spawn(task(Client::open(Arc::clone(&wire))).named("opener"));
    let client = Arc::new(opened.await.unwrap().unwrap());
    let user = Arc::clone(&client);
    let used = task(async move {
        let answer = user.call("count").await?;
        // A call that is given up is undone.
        let late = moored::move_on_after(Duration::from_millis(5), user.call("never")).await;
        assert!(late.is_none());
        Ok::<_, BoxError>(answer)
    });
    assert_eq!(tokio::spawn(used.named("user")).await.unwrap().unwrap(), 5);
    let client = Arc::into_inner(client).expect("the user has ended");
    tokio::spawn(task(client.close()).named("closer")).await.unwrap().unwrap();
    let told = wire.lock().unwrap().join(", ");
    println!("{told}");
    assert_eq!(told, "hello, greeted, count, never, forget never, goodbye");
    // A client that could not be opened has said goodbye too.
    let wire = Arc::new(Mutex::new(vec![FULL.to_owned()]));
    let refused = tokio::spawn(task(Client::open(Arc::clone(&wire))).named("refused"));
    assert!(refused.await.unwrap().is_err());
    assert_eq!(*wire.lock().unwrap(), [FULL, "hello", "goodbye"]);
}

#[test]
fn it_runs() {
    main();
}
