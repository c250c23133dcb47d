//! The other ways out of a transaction.

use crate::support::{Database, everywhere};
use async_channel::bounded;
use moored::testing::MockClock;
use moored::{
    CancelScope, Cause, ChildError, ExitStack, Failure, ReasonKind, Spawn, TaskGroup, task,
};
use smol::future::FutureExt;
use sqlite_pool::{Error, Pool, Transaction};
use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

everywhere! {
    the_loser_of_a_select_gives_its_permit_back_while_the_winner_goes_on,
    a_connection_whose_transaction_lost_a_select_goes_on,
    a_deadline_rolls_back,
    a_panic_in_the_body_rolls_back_and_goes_on,
    an_error_of_the_body_rolls_back_and_is_the_cause,
    two_tasks_compete_for_one_permit_and_the_one_that_has_it_is_cancelled,
    two_tasks_compete_for_one_permit_and_the_one_that_waits_is_cancelled,
    a_commit_that_is_refused_is_rolled_back_and_told,
    a_transaction_that_was_ended_behind_its_back_is_told,
    what_a_borrower_left_open_is_rolled_back,
    a_file_that_cannot_be_opened_costs_no_permit,
    with_nothing_around_it_the_connection_is_closed,
}

/// A row, in a transaction that is over.
async fn insert(pool: &Pool) -> Result<(), Failure<Error>> {
    pool.transaction(async |tx| tx.execute("INSERT INTO entry VALUES (1)", ()).await.map(drop))
        .await
}

/// A row, in a transaction that never ends; `begun` tells when the row is there.
async fn insert_and_wait(pool: &Pool, begun: impl AsyncFnOnce()) -> Result<(), Failure<Error>> {
    pool.transaction(async |tx| {
        tx.execute("INSERT INTO entry VALUES (1)", ()).await?;
        begun().await;
        pending().await
    })
    .await
}

async fn the_loser_of_a_select_gives_its_permit_back_while_the_winner_goes_on(_: impl Spawn) {
    let database = Database::new();
    let pool = database.pool(1);
    let around = CancelScope::new().named("a region that lives long");
    let body = async {
        for _ in 0..20 {
            let (begun, has_begun) = bounded(1);
            tokio::select! {
                biased;
                _ = insert_and_wait(&pool, async || begun.send(()).await.unwrap()) => unreachable!(),
                _ = has_begun.recv() => {}
            }
            // There is one permit, and the loser has it until its exits have run: beside this very body.
            insert(&pool).await.unwrap();
        }
    };
    around.run(body).await.unwrap();
    assert_eq!((pool.available(), database.rows()), (1, 20));
}

async fn a_connection_whose_transaction_lost_a_select_goes_on(_: impl Spawn) {
    let database = Database::new();
    let pool = database.pool(1);
    let stack = ExitStack::new().named("connection");
    let body = async {
        let mut connection = pool.connection(&stack).await?;
        for _ in 0..20 {
            let (begun, has_begun) = bounded(1);
            let loser = connection.transaction(async |tx| {
                tx.execute("INSERT INTO entry VALUES (1)", ()).await?;
                begun.send(()).await.unwrap();
                pending::<Result<(), Error>>().await
            });
            tokio::select! {
                biased;
                _ = loser => unreachable!(),
                _ = has_begun.recv() => {}
            }
            // The exits of the loser run beside this body: neither of these statements may come in
            // between.
            let count = "SELECT count(*) FROM entry WHERE id = 1";
            let count =
                connection.call(|connection| connection.query_row(count, (), |row| row.get(0)));
            let count: i64 = count.await?;
            assert_eq!(count, 0);
            let winner = async |tx: &Transaction<'_>| {
                tx.execute("INSERT INTO entry VALUES (2)", ()).await.map(drop)
            };
            let won: Result<(), Failure<Error>> = connection.transaction(winner).await;
            won.unwrap();
        }
        Ok::<_, Error>(())
    };
    stack.run(body).await.unwrap();
    assert_eq!((pool.available(), database.rows()), (1, 20));
}

async fn a_deadline_rolls_back(_: impl Spawn) {
    let database = Database::new();
    let pool = database.pool(1);
    let clock = MockClock::new();
    let hour = Duration::from_secs(3600);
    let scope = CancelScope::new().timeout(hour);
    let late = scope.run(insert_and_wait(&pool, async || clock.advance(hour)));
    let cancelled = task(late).clock(clock.clone()).await.unwrap_err();
    assert_eq!(cancelled.reason().kind(), ReasonKind::Deadline);
    assert!(cancelled.failures().is_empty());
    assert_eq!((pool.available(), database.rows()), (1, 0));
}

async fn a_panic_in_the_body_rolls_back_and_goes_on(_: impl Spawn) {
    let database = Database::new();
    let pool = database.pool(1);
    let panics = insert_and_wait(&pool, async || panic!("the body's own"));
    // No region around it: its own exits run before the panic goes on.
    let panic = AssertUnwindSafe(panics).catch_unwind().await.unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"the body's own"));
    assert_eq!((pool.available(), database.rows()), (1, 0));
}

async fn an_error_of_the_body_rolls_back_and_is_the_cause(_: impl Spawn) {
    let database = Database::new();
    let pool = database.pool(1);
    let failure = pool
        .transaction(async |tx| {
            tx.execute("INSERT INTO entry VALUES (1)", ()).await?;
            tx.execute("INSERT INTO no_such_table VALUES (1)", ()).await
        })
        .await
        .unwrap_err();
    assert!(matches!(failure.cause(), Cause::Body(Error::Rusqlite(_))), "{failure:#}");
    assert_eq!(failure.rest().count(), 0);
    assert_eq!((pool.available(), database.rows()), (1, 0));
}

async fn two_tasks_compete_for_one_permit_and_the_one_that_has_it_is_cancelled(
    spawner: impl Spawn,
) {
    let database = Database::new();
    let pool = database.pool(1);
    let group: TaskGroup<'_, Failure<Error>> = TaskGroup::new();
    let body = async {
        let (begun, has_begun) = bounded(1);
        let holds = group.spawn_on(&spawner, {
            let pool = pool.clone();
            async move { insert_and_wait(&pool, async || begun.send(()).await.unwrap()).await }
        });
        has_begun.recv().await.unwrap();
        let waits = group.spawn_on(&spawner, {
            let pool = pool.clone();
            async move { insert(&pool).await }
        });
        holds.cancel();
        waits.join().await.unwrap();
        assert!(matches!(holds.join().await, Err(ChildError::Cancelled(_))));
        Ok(())
    };
    group.run(body).await.unwrap();
    assert_eq!((pool.available(), database.rows()), (1, 1));
}

async fn two_tasks_compete_for_one_permit_and_the_one_that_waits_is_cancelled(spawner: impl Spawn) {
    let database = Database::new();
    let pool = database.pool(1);
    let group: TaskGroup<'_, Failure<Error>> = TaskGroup::new();
    let body = async {
        let (begun, has_begun) = bounded(1);
        let (go_on, goes_on) = bounded::<()>(1);
        let holds = group.spawn_on(&spawner, {
            let pool = pool.clone();
            async move {
                pool.transaction(async |tx| {
                    begun.send(()).await.unwrap();
                    goes_on.recv().await.unwrap();
                    tx.execute("INSERT INTO entry VALUES (1)", ()).await.map(drop)
                })
                .await
            }
        });
        has_begun.recv().await.unwrap();
        let waits = group.spawn_on(&spawner, {
            let pool = pool.clone();
            async move { insert(&pool).await }
        });
        waits.cancel();
        assert!(matches!(waits.join().await, Err(ChildError::Cancelled(_))));
        assert_eq!(pool.available(), 0);
        go_on.send(()).await.unwrap();
        holds.join().await.unwrap();
        Ok(())
    };
    group.run(body).await.unwrap();
    assert_eq!((pool.available(), database.rows()), (1, 1));
}

async fn a_commit_that_is_refused_is_rolled_back_and_told(_: impl Spawn) {
    let database = Database::new();
    let pool = database.pool(1);
    let stack = ExitStack::new();
    let body = async {
        let mut connection = pool.connection(&stack).await?;
        // A constraint that is looked at no earlier than at the commit.
        let tables = "PRAGMA foreign_keys = ON;
            CREATE TABLE parent (id INTEGER PRIMARY KEY);
            CREATE TABLE child (of INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)";
        connection.call(|connection| connection.execute_batch(tables)).await?;
        let refused = connection
            .transaction(async |tx| {
                tx.execute("INSERT INTO entry VALUES (1)", ()).await?;
                tx.execute("INSERT INTO child VALUES (7)", ()).await
            })
            .await;
        // The connection is as good as before.
        let insert = "INSERT INTO entry VALUES (2)";
        let again: Result<usize, Failure<Error>> =
            connection.transaction(async |tx| tx.execute(insert, ()).await).await;
        again.unwrap();
        Ok::<_, Error>(refused)
    };
    let refused: Result<usize, Failure<Error>> = stack.run(body).await.unwrap();
    let failure = refused.unwrap_err();
    assert!(matches!(failure.cause(), Cause::Exit(_)), "{failure:#}");
    assert!(failure.to_string().contains("FOREIGN KEY"), "{failure}");
    assert_eq!((pool.available(), database.rows()), (1, 1));
}

async fn a_transaction_that_was_ended_behind_its_back_is_told(_: impl Spawn) {
    let database = Database::new();
    let pool = database.pool(1);
    let ended = pool.transaction(async |tx| {
        tx.execute("INSERT INTO entry VALUES (1)", ()).await?;
        tx.call(|connection| connection.execute_batch("ROLLBACK")).await?;
        // Refused: it would be committed by itself.
        let after = tx.execute("INSERT INTO entry VALUES (2)", ()).await;
        assert!(after.unwrap_err().to_string().contains("rolled back"));
        Ok::<_, Error>(())
    });
    let failure = ended.await.unwrap_err();
    assert!(failure.to_string().contains("rolled back"), "{failure}");
    assert_eq!((pool.available(), database.rows()), (1, 0));
}

async fn what_a_borrower_left_open_is_rolled_back(_: impl Spawn) {
    let database = Database::new();
    let pool = database.pool(1);
    let stack = ExitStack::new();
    let connection = pool.connection(&stack).await.unwrap();
    let open = "BEGIN IMMEDIATE; INSERT INTO entry VALUES (1)";
    connection.call(|connection| connection.execute_batch(open)).await.unwrap();
    drop(connection);
    assert_eq!(pool.available(), 0);
    stack.close().await.unwrap();
    assert_eq!((pool.available(), database.rows()), (1, 0));
}

async fn a_file_that_cannot_be_opened_costs_no_permit(_: impl Spawn) {
    let database = Database::new();
    let pool = Pool::new(database.path().join("no such folder"), 1);
    for _ in 0..2 {
        let failure = insert(&pool).await.unwrap_err();
        assert!(matches!(failure.cause(), Cause::Body(_)), "{failure:#}");
        assert_eq!(pool.available(), 1);
    }
}

async fn with_nothing_around_it_the_connection_is_closed(_: impl Spawn) {
    let database = Database::new();
    let pool = database.pool(1);
    let (begun, has_begun) = bounded(1);
    tokio::select! {
        biased;
        _ = insert_and_wait(&pool, async || begun.send(()).await.unwrap()) => unreachable!(),
        _ = has_begun.recv() => {}
    }
    // Its exits are lost, which `moored` reports. A connection that was not given back is not
    // used again.
    assert_eq!(pool.available(), 1);
    assert_eq!(database.rows_within(Duration::from_secs(60)), 0);
    insert(&pool).await.unwrap();
    assert_eq!((pool.available(), database.rows()), (1, 1));
}
