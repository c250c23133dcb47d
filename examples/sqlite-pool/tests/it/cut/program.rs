//! The story that the two programs tell, cut at every await it has.

use crate::support::{Cut, cut, everywhere, explored};
use async_sqlite::rusqlite::Connection;
use moored::{CancelScope, ExitFailure, Spawn, task};
use sqlite_pool::Pool;
use std::path::Path;
use tempfile::TempDir;

#[allow(dead_code, reason = "a program's own file: here each cut has one")]
#[path = "../../../src/bin/shared/story.rs"]
mod story;

everywhere! {
    cut_at_every_await_of_the_program_at_once,
    cut_at_every_await_of_the_program_unseen,
    cut_at_every_await_of_the_program_by_a_cancelled_scope,
}

/// Cuts the program at its first await, its second, and so on until it is over before it is cut. `act` plays it to the end
/// of the region around it, and tells whether it was cut.
async fn sweep<F>(act: impl Fn(Pool, usize) -> F)
where
    F: Future<Output = bool>,
{
    for n in 1.. {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("db");
        let pool = Pool::new(&path, 1);
        let was_cut = act(pool.clone(), n).await;
        assert_eq!(pool.available(), 1, "in the pool, cut at {n}");
        no_money_is_lost(&path, n);
        if !was_cut {
            assert!(n > 2, "it has no await to be cut at");
            explored(&act, n - 1);
            return;
        }
    }
}

/// With a second pair of eyes: no transaction is open, and each was done or not.
fn no_money_is_lost(path: &Path, n: usize) {
    let eyes = Connection::open(path).unwrap();
    eyes.execute_batch("BEGIN IMMEDIATE").expect("no transaction is open");
    let number = |sql| eyes.query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap();
    let tables = number("SELECT count(*) FROM sqlite_schema");
    assert!(tables == 0 || tables == 2, "{tables} tables, cut at {n}");
    if tables == 2 {
        assert_eq!(number("SELECT sum(balance) FROM account"), 200, "cut at {n}");
        let moved = 100 - number("SELECT balance FROM account WHERE id = 1");
        assert!([0, 10, 20, 30].contains(&moved), "{moved} moved, cut at {n}");
        let written = number("SELECT coalesce(sum(amount), 0) FROM entry WHERE account = 2");
        assert_eq!(written, moved, "cut at {n}");
    }
}

async fn cut_at_every_await_of_the_program_at_once(spawner: impl Spawn) {
    sweep(|pool, n| played(&spawner, pool, n, Cut::AtOnce)).await;
}

async fn cut_at_every_await_of_the_program_unseen(spawner: impl Spawn) {
    sweep(|pool, n| played(&spawner, pool, n, Cut::Unseen)).await;
}

async fn cut_at_every_await_of_the_program_by_a_cancelled_scope(spawner: impl Spawn) {
    let spawner = &spawner;
    sweep(|pool, n| async move {
        let scope = CancelScope::new();
        let program = cut(n, Cut::Cancel(scope.handle()), story::accounts(spawner, &pool));
        match scope.run(program).await {
            Ok(told) => {
                told.expect("it is not dropped").expect("nothing fails");
                false
            }
            Err(cancelled) => {
                // A transfer that was refused, and cut while it was rolled back: no caller is left for its
                // error.
                let unclaimed =
                    |failure: &ExitFailure| matches!(failure, ExitFailure::Unclaimed { .. });
                let failures = cancelled.failures();
                assert!(failures.iter().all(unclaimed), "{cancelled:#}, cut at {n}");
                true
            }
        }
    })
    .await;
}

/// Whether the program was cut, in a task that has come to its end.
async fn played(spawner: &impl Spawn, pool: Pool, n: usize, how: Cut) -> bool {
    match task(cut(n, how, story::accounts(spawner, &pool))).await {
        Some(told) => {
            told.expect("nothing fails");
            false
        }
        None => true,
    }
}
