//! Three mirrors of one file: the first that answers wins, and the others are left properly.
//!
//! A group with `first_success`: failures count only where nobody succeeds, and the losers are cancelled, which runs their
//! exits. Each attempt has a time limit of its own, and the race has one for all.
//!
//! `cargo run --example mirrors --features tokio`

use moored::{BoxError, Cause, ExitStack, Failure, ReasonKind, TaskGroup, Values, fail_after};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How many connections are open, as seen from here.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// Reads the file from one mirror. However this ends, and wherever it is cut off, the connection is shut down in both
/// directions, so that the mirror knows.
async fn fetch(mirror: SocketAddr) -> Result<String, BoxError> {
    let stack = ExitStack::new().named("connection").grace(Duration::from_secs(1));
    let file: Result<String, Failure<BoxError>> = stack
        .run(async {
            let connection =
                fail_after(Duration::from_secs(2), TcpStream::connect(mirror)).await??;
            OPEN.fetch_add(1, Ordering::SeqCst);
            let mut connection = stack.hold(connection, |mut connection| async move {
                OPEN.fetch_sub(1, Ordering::SeqCst);
                connection.shutdown().await
            });
            connection.write_all(b"GET\n").await?;
            let mut file = String::new();
            fail_after(Duration::from_secs(2), connection.read_to_string(&mut file)).await??;
            match file.is_empty() {
                true => Err("the mirror has hung up".into()),
                false => Ok(file),
            }
        })
        .await;
    file.map_err(Failure::boxed)
}

/// The file, from whichever mirror has it first.
pub(crate) async fn race(
    mirrors: &[SocketAddr],
    limit: Duration,
) -> Result<String, Failure<BoxError>> {
    let group: TaskGroup<'_, BoxError> =
        TaskGroup::new().named("mirrors").first_success().timeout(limit);
    let winner = group
        .run(async {
            let attempt =
                |mirror: &SocketAddr| group.spawn_named(mirror.to_string(), fetch(*mirror));
            let mut attempts: Values<String> = mirrors.iter().map(attempt).collect();
            while let Some((_mirror, file)) = attempts.next().await {
                if let Ok(file) = file {
                    return Ok(Some(file));
                }
            }
            Ok(None)
        })
        .await?;
    // Where none succeeds, `run` has failed with what each of them said.
    winner.ok_or_else(|| Failure::from(BoxError::from("there is no mirror")))
}

/// A mirror that answers after a while, or hangs up at once where it has nothing to say.
async fn mirror(after: Duration, answer: &'static str) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = connection.read_exact(&mut [0; 4]).await;
                tokio::time::sleep(after).await;
                let _ = connection.write_all(answer.as_bytes()).await;
            });
        }
    });
    Ok(address)
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::main]
async fn main() {
    let broken = mirror(Duration::ZERO, "").await.unwrap();
    let slow = mirror(HOUR, "from the slow mirror").await.unwrap();
    let fast = mirror(Duration::from_millis(20), "from the fast mirror").await.unwrap();

    let file = race(&[broken, slow, fast], Duration::from_secs(10)).await.unwrap();
    println!("{file}");
    assert_eq!(file, "from the fast mirror");
    assert_eq!(
        OPEN.load(Ordering::SeqCst),
        0,
        "every connection was shut down before `race` returned"
    );

    let failure = race(&[broken, broken], Duration::from_secs(10)).await.unwrap_err();
    println!("nobody has it:\n{failure:#}");
    assert_eq!(failure.causes().count(), 2);

    let failure = race(&[slow], Duration::from_millis(50)).await.unwrap_err();
    println!("too late: {failure}");
    let is_late = |cause: &Cause<BoxError>| matches!(cause, Cause::Cancelled(reason) if reason.kind() == ReasonKind::Deadline);
    assert!(is_late(failure.cause()));
    assert_eq!(OPEN.load(Ordering::SeqCst), 0);
}

#[test]
fn it_runs() {
    main();
}
