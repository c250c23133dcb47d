//! A bank on disk, a second pair of eyes on it, and futures that are cut at a given await.

use async_sqlite::rusqlite::Connection;
use moored::CancelHandle;
use sqlite_pool::Pool;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::time::Duration;
use tempfile::TempDir;

/// Ends a test that hangs. Nothing else waits for time to pass.
const BOUND: Duration = Duration::from_secs(120);

/// Runs `test` on a thread of its own, and fails where it does not end.
pub(crate) fn bounded(test: impl FnOnce() + Send + 'static) {
    let (ended, end) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        test();
        let _ = ended.send(());
    });
    match end.recv_timeout(BOUND) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the test hangs"),
        Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// Makes a test of each story, for each way to run it.
macro_rules! everywhere {
    ($($(#[$doc:meta])* $story:ident,)*) => {
        mod tokio_threads {
            $($(#[$doc])* #[test] fn $story() {
                crate::support::bounded(|| {
                    let mut runtime = tokio::runtime::Builder::new_multi_thread();
                    let runtime = runtime.worker_threads(2).enable_time().build().unwrap();
                    let spawner = moored::rt::tokio::Tokio::new(runtime.handle().clone());
                    runtime.block_on(runtime.spawn(super::$story(spawner))).unwrap();
                });
            })*
        }
        mod tokio_one_thread {
            $($(#[$doc])* #[test] fn $story() {
                crate::support::bounded(|| {
                    let mut runtime = tokio::runtime::Builder::new_current_thread();
                    let runtime = runtime.enable_time().build().unwrap();
                    let spawner = moored::rt::tokio::Tokio::new(runtime.handle().clone());
                    runtime.block_on(super::$story(spawner));
                });
            })*
        }
        mod smol_threads {
            $($(#[$doc])* #[test] fn $story() {
                crate::support::bounded(|| {
                    let spawner = moored::rt::smol::Smol::global();
                    ::smol::block_on(::smol::spawn(super::$story(spawner)));
                });
            })*
        }
    };
}
pub(crate) use everywhere;

/// A database in a folder of its own.
pub(crate) struct Database {
    folder: TempDir,
    /// The second pair of eyes.
    eyes: Connection,
}

impl Database {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let eyes = Connection::open(folder.path().join("db")).unwrap();
        // A journal that costs fewer waits for the disk, for every connection to this file.
        eyes.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE entry (id INTEGER)").unwrap();
        Self { folder, eyes }
    }

    pub(crate) fn pool(&self, size: usize) -> Pool {
        Pool::new(self.path(), size)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("db")
    }

    /// How many rows there are. At this very moment no transaction may be open.
    #[track_caller]
    pub(crate) fn rows(&self) -> i64 {
        self.rows_within(Duration::ZERO)
    }

    /// As [`rows`](Self::rows), waiting for a connection that is being closed.
    #[track_caller]
    pub(crate) fn rows_within(&self, time: Duration) -> i64 {
        let eyes = &self.eyes;
        eyes.busy_timeout(time).unwrap();
        eyes.execute_batch("BEGIN IMMEDIATE").expect("no transaction is open");
        let rows = eyes.query_row("SELECT count(*) FROM entry", (), |row| row.get(0)).unwrap();
        eyes.execute_batch("DELETE FROM entry; COMMIT").unwrap();
        rows
    }
}

/// Prints the number of cuts, in the form that ci/proof.py reads. `act` stands in the test, whose name it bears.
pub(crate) fn explored<F>(act: &F, cuts: usize) {
    let path = std::any::type_name_of_val(act);
    let test = path.split([':', '<']).find(|part| part.starts_with("cut_at_"));
    println!("explored cut::{}: {cuts} cuts", test.unwrap_or(path));
}

/// How a future is cut.
#[derive(Clone, Debug)]
pub(crate) enum Cut {
    /// It is dropped as soon as it waits: the operation that it asked for may have begun or
    /// not.
    AtOnce,
    /// It is dropped when it is woken: the event that it waited for has happened, and it never
    /// sees it.
    Unseen,
    /// The scope around it is cancelled as soon as it waits.
    Cancel(CancelHandle),
}

/// Cuts `future` at the `n`th await that is not ready at once; `None` where it was dropped there.
pub(crate) fn cut<F: Future>(n: usize, how: Cut, future: F) -> CutAt<F> {
    CutAt { future: Box::pin(future), left: n, how }
}

pub(crate) struct CutAt<F> {
    future: Pin<Box<F>>,
    left: usize,
    how: Cut,
}

impl<F: Future> Future for CutAt<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == 0 && !matches!(self.how, Cut::Cancel(_)) {
            return Poll::Ready(None);
        }
        let polled = self.future.as_mut().poll(cx);
        if polled.is_pending() && self.left > 0 {
            self.left -= 1;
            if self.left == 0 {
                match &self.how {
                    Cut::AtOnce => return Poll::Ready(None),
                    Cut::Unseen => {}
                    Cut::Cancel(handle) => handle.cancel(),
                }
            }
        }
        polled.map(Some)
    }
}
