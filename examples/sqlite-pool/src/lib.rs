//! A pool of SQLite connections, for any executor. A transaction whose future is dropped half-way, by a deadline, a
//! `select!` or an abort, is rolled back asynchronously, and its connection is back in the pool before the region around
//! it is left.
//!
//! ```
//! use moored::Failure;
//! use sqlite_pool::{Error, Pool};
//!
//! # async fn story(path: &std::path::Path) -> Result<(), Failure<Error>> {
//! let pool = Pool::new(path, 4);
//! let id = pool
//!     .transaction(async |tx| {
//!         tx.execute("INSERT INTO jobs (state) VALUES ('new')", ()).await?;
//!         tx.query_one::<i64>("SELECT last_insert_rowid()", ()).await
//!     })
//!     .await?;
//! # let _ = id; Ok(())
//! # }
//! ```
//!
//! The body's end decides: if it returned `Ok`, the transaction is committed, even if its future is dropped during the
//! commit. In every other case it is rolled back.

pub mod accounts;
mod lease;

use crate::lease::{Lease, Slots};
use async_lock::Mutex;
use async_sqlite::Client;
use async_sqlite::rusqlite::{self, Params, ffi, types::FromSql};
use moored::{ExitStack, Failure, Held, Leaving};
use std::path::PathBuf;
use std::sync::Arc;

pub use async_sqlite::Error;

/// A pool of connections to one database. Clones are the same pool.
///
/// Connections are opened when they are first needed. A caller that takes one holds its permit until an exit gives it
/// back.
#[derive(Clone, Debug)]
pub struct Pool {
    slots: Slots,
}

impl Pool {
    /// A pool of at most `size` connections to the file at `path`.
    ///
    /// # Panics
    ///
    /// Where `size` is zero.
    pub fn new(path: impl Into<PathBuf>, size: usize) -> Self {
        Self { slots: Slots::new(path.into(), size) }
    }

    /// The largest number of connections that the pool has.
    pub fn size(&self) -> usize {
        self.slots.size()
    }

    /// The number of connections that could be taken without waiting.
    pub fn available(&self) -> usize {
        self.slots.available()
    }

    /// Waits for a connection and lends it out until `stack` is left: then an exit of `stack` rolls back a
    /// transaction that was left open, and gives the connection back.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no connection: one that was taken is given back.
    ///
    /// # Errors
    ///
    /// Where the connection cannot be opened.
    ///
    /// # Panics
    ///
    /// Where `stack` belongs to another task or was left.
    pub async fn connection(&self, stack: &ExitStack) -> Result<Connection, Error> {
        let lease = self.slots.take().await;
        // Registered before the connection is opened, and with no await in between.
        let mut lease = stack.hold(lease, Lease::give_back);
        lease.open().await?;
        Ok(Connection { lease, turn: Arc::default() })
    }

    /// Runs `body` in a transaction on a connection of its own: commits where it returns `Ok`, rolls back otherwise.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the rest to the nearest region around it: the rollback, or the commit if the body had
    /// returned `Ok`; then the connection goes back to the pool. Where nothing of `moored` is around, the connection is
    /// closed, which rolls back, and its place in the pool becomes free.
    ///
    /// # Errors
    ///
    /// The body's error as [`Cause::Body`](moored::Cause::Body), or that of the transaction's beginning; a commit or a
    /// rollback that failed as [`Cause::Exit`](moored::Cause::Exit).
    pub async fn transaction<T, E>(
        &self,
        body: impl AsyncFnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, Failure<E>>
    where
        E: From<Error>,
    {
        // One stack for both: its exits end the transaction first and give the connection back after that.
        let stack = ExitStack::new().named("transaction");
        stack
            .run(async {
                let connection = self.connection(&stack).await?;
                body(&connection.begin(&stack).await?).await
            })
            .await
    }
}

/// A connection that was lent out by a [`Pool`], and is given back by an exit.
#[derive(Debug)]
pub struct Connection {
    lease: Held<Lease>,
    /// The exit that ends a transaction holds it until the transaction has ended. If a transaction lost a `select!`,
    /// its exit runs beside the calls that come next, and those have to wait.
    turn: Arc<Mutex<()>>,
}

impl Connection {
    /// Runs `call` on the connection's own thread, after the transaction that is ending there, if one is.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future skips the call if it has not begun. The next call runs after it.
    ///
    /// # Errors
    ///
    /// The call's own, and [`Error::Panic`] where it panicked.
    pub async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let _turn = self.turn.lock().await;
        self.client().conn(call).await
    }

    /// As [`Pool::transaction`], on this connection.
    ///
    /// # Cancel safety
    ///
    /// As [`Pool::transaction`]: the transaction ends before the connection goes back.
    ///
    /// # Errors
    ///
    /// As [`Pool::transaction`].
    pub async fn transaction<T, E>(
        &mut self,
        body: impl AsyncFnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, Failure<E>>
    where
        E: From<Error>,
    {
        let stack = ExitStack::new().named("transaction");
        stack.run(async { body(&self.begin(&stack).await?).await }).await
    }

    async fn begin(&self, stack: &ExitStack) -> Result<Transaction<'_>, Error> {
        let turn = self.turn.lock_arc().await;
        let client = self.client().clone();
        // Registered before the transaction begins, because a BEGIN may have run although its answer is no
        // longer awaited.
        stack.defer_with(move |why| async move {
            let commit = matches!(why, Leaving::Completed);
            let ended = client.conn(move |connection| end(connection, commit)).await;
            drop(turn);
            ended
        });
        self.client().conn(|connection| connection.execute_batch("BEGIN IMMEDIATE")).await?;
        Ok(Transaction { connection: self })
    }

    fn client(&self) -> &Client {
        self.lease.client().expect("a connection is made when its client was opened")
    }
}

/// An open transaction.
#[derive(Debug)]
pub struct Transaction<'c> {
    connection: &'c Connection,
}

impl Transaction<'_> {
    /// Runs `call` inside the transaction, which must not end it.
    ///
    /// # Cancel safety
    ///
    /// As [`Connection::call`].
    ///
    /// # Errors
    ///
    /// As [`Connection::call`]; and where SQLite has rolled the transaction back by itself, as it does when the disk is
    /// full or a call panicked.
    pub async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        self.connection
            .client()
            .conn(|connection| {
                // Without this check, the following calls would be committed one by one.
                if connection.is_autocommit() { Err(rolled_back()) } else { call(connection) }
            })
            .await
    }

    /// Runs one statement, and tells how many rows it changed.
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub async fn execute(
        &self,
        sql: &'static str,
        params: impl Params + Send + 'static,
    ) -> Result<usize, Error> {
        self.call(move |connection| connection.execute(sql, params)).await
    }

    /// The first column of the first row that a query finds.
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call), and where there is no row.
    pub async fn query_one<T: FromSql + Send + 'static>(
        &self,
        sql: &'static str,
        params: impl Params + Send + 'static,
    ) -> Result<T, Error> {
        self.call(move |connection| connection.query_row(sql, params, |row| row.get(0))).await
    }
}

/// Ends a transaction, whether it is open, over, or has never begun; none is open afterwards.
fn end(connection: &rusqlite::Connection, commit: bool) -> rusqlite::Result<()> {
    match (connection.is_autocommit(), commit) {
        // It never began, or SQLite rolled it back.
        (true, false) => Ok(()),
        (true, true) => Err(rolled_back()),
        (false, false) => connection.execute_batch("ROLLBACK"),
        (false, true) => connection.execute_batch("COMMIT").inspect_err(|_| {
            // A commit that was refused leaves the transaction open. The first error is the one to tell.
            let _ = connection.execute_batch("ROLLBACK");
        }),
    }
}

fn rolled_back() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(
        ffi::Error::new(ffi::SQLITE_ABORT_ROLLBACK),
        Some("the transaction was rolled back before it was committed".into()),
    )
}
