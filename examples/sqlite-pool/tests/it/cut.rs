//! The whole story of a transaction, cut at every await it has.

mod program;

use crate::support::{Cut, Database, cut, everywhere, explored};
use moored::{CancelScope, ExitStack, Failure, Spawn, TaskGroup, task};
use sqlite_pool::{Error, Pool};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

everywhere! {
    cut_at_every_await_inside_a_scope,
    cut_at_every_await_inside_a_task,
    cut_at_every_await_inside_a_stack,
    cut_at_every_await_inside_a_group,
    cut_at_every_await_inside_a_child,
    cut_at_every_await_by_a_cancelled_scope,
    cut_at_every_await_and_then_again_while_it_leaves,
    cut_at_every_await_of_two_transactions_on_one_connection,
    cut_at_every_await_of_two_transactions_by_a_cancelled_scope,
}

/// Each await is cut this often at least, since it is for the connection's thread to say how far it has come.
const ROUNDS: usize = 3;

/// Where the story was, last time it was seen.
#[derive(Default)]
struct Story {
    step: AtomicI64,
    finished: AtomicI64,
}

impl Story {
    fn step(&self) {
        self.step.fetch_add(1, SeqCst);
    }

    /// Two rows, all or nothing.
    async fn transaction(&self, pool: &Pool) -> Result<(), Failure<Error>> {
        pool.transaction(async |tx| {
            self.step();
            tx.execute("INSERT INTO entry VALUES (1)", ()).await?;
            self.step();
            tx.execute("INSERT INTO entry VALUES (2)", ()).await?;
            self.step();
            assert_eq!(tx.query_one::<i64>("SELECT count(*) FROM entry", ()).await?, 2);
            self.step();
            self.finished.fetch_add(1, SeqCst);
            Ok(())
        })
        .await
    }

    /// Two rows, and two more: on one connection, one permit for both.
    async fn two(&self, pool: &Pool) -> Result<(), Failure<Error>> {
        let stack = ExitStack::new().named("connection");
        stack
            .run(async {
                let opened = pool.connection(&stack).await;
                let mut connection = opened.expect("the file is there");
                for _ in 0..2 {
                    self.step();
                    let insert = async |tx: &sqlite_pool::Transaction<'_>| {
                        self.step();
                        tx.execute("INSERT INTO entry VALUES (1)", ()).await?;
                        self.step();
                        tx.execute("INSERT INTO entry VALUES (2)", ()).await?;
                        self.step();
                        self.finished.fetch_add(1, SeqCst);
                        Ok::<_, Error>(())
                    };
                    connection.transaction(insert).await?;
                }
                self.step();
                Ok(())
            })
            .await
            .map_err(Failure::flatten)
    }
}

/// Cuts the story at its first await, its second, and so on until it is over before it is cut; and all of that again
/// until each of its `steps` was cut. `act` plays one story to the end of the region around it, and tells whether it was
/// cut.
async fn sweep<F>(steps: usize, act: impl Fn(Arc<Story>, Pool, usize) -> F)
where
    F: Future<Output = bool>,
{
    let database = Database::new();
    let mut cut_at = BTreeSet::new();
    let (mut rounds, mut cuts) = (0, 0);
    while rounds < ROUNDS || cut_at.len() < steps {
        rounds += 1;
        assert!(rounds < 1000, "only the steps {cut_at:?} were ever cut");
        for n in 1.. {
            // A new pool, so that opening the connection is cut as well.
            let (story, pool) = (Arc::new(Story::default()), database.pool(1));
            let was_cut = act(story.clone(), pool.clone(), n).await;
            // No transaction is open, none is half done, and no connection is missing. The rows are determined as
            // well: a body that came to its end is committed, and no other.
            assert_eq!(pool.available(), 1, "cut at {n}");
            assert_eq!(database.rows(), 2 * story.finished.load(SeqCst), "cut at {n}");
            // The pool still works.
            Story::default().transaction(&pool).await.unwrap();
            assert_eq!(database.rows(), 2, "cut at {n}");
            if !was_cut {
                break;
            }
            cut_at.insert(story.step.load(SeqCst));
            cuts += 1;
        }
    }
    explored(&act, cuts);
}

async fn cut_at_every_await_inside_a_scope(_: impl Spawn) {
    for how in [Cut::AtOnce, Cut::Unseen] {
        sweep(5, |story, pool, n| {
            let how = how.clone();
            async move {
                let played = cut(n, how, story.transaction(&pool));
                let played = CancelScope::new().run(played).await.expect("nobody cancels");
                played.map(|result| result.expect("nothing fails")).is_none()
            }
        })
        .await;
    }
}

async fn cut_at_every_await_inside_a_task(_: impl Spawn) {
    for how in [Cut::AtOnce, Cut::Unseen] {
        sweep(5, |story, pool, n| {
            let how = how.clone();
            async move { task(cut(n, how, story.transaction(&pool))).await.is_none() }
        })
        .await;
    }
}

async fn cut_at_every_await_inside_a_stack(_: impl Spawn) {
    for how in [Cut::AtOnce, Cut::Unseen] {
        sweep(5, |story, pool, n| {
            let how = how.clone();
            async move {
                let played = async { Ok::<_, Error>(cut(n, how, story.transaction(&pool)).await) };
                ExitStack::new().run(played).await.expect("no exit fails").is_none()
            }
        })
        .await;
    }
}

async fn cut_at_every_await_inside_a_group(_: impl Spawn) {
    for how in [Cut::AtOnce, Cut::Unseen] {
        sweep(5, |story, pool, n| {
            let how = how.clone();
            async move {
                let group: TaskGroup<'_, Error> = TaskGroup::new();
                let played = async { Ok(cut(n, how, story.transaction(&pool)).await) };
                group.run(played).await.expect("no exit fails").is_none()
            }
        })
        .await;
    }
}

async fn cut_at_every_await_inside_a_child(spawner: impl Spawn) {
    for how in [Cut::AtOnce, Cut::Unseen] {
        sweep(5, |story, pool, n| {
            let how = how.clone();
            let group: TaskGroup<'static, Error> = TaskGroup::new();
            let played = async move { Ok(cut(n, how, story.transaction(&pool)).await.is_none()) };
            let child = group.spawn_on(&spawner, played);
            async move { group.run(async { Ok(child.join().await) }).await.unwrap().unwrap() }
        })
        .await;
    }
}

async fn cut_at_every_await_by_a_cancelled_scope(_: impl Spawn) {
    sweep(5, |story, pool, n| async move {
        let scope = CancelScope::new();
        let played = cut(n, Cut::Cancel(scope.handle()), story.transaction(&pool));
        let played = scope.run(played).await;
        played.is_err_and(|cancelled| cancelled.failures().is_empty())
    })
    .await;
}

async fn cut_at_every_await_and_then_again_while_it_leaves(_: impl Spawn) {
    /// More awaits than there are on the way out.
    const LEAVING: usize = 4;
    for how in [Cut::AtOnce, Cut::Unseen] {
        sweep(5, |story, pool, n| {
            let how = how.clone();
            async move {
                let (first, second) = (n / LEAVING + 1, n / LEAVING + 1 + n % LEAVING);
                let scope = CancelScope::new();
                let played = cut(first, how.clone(), story.transaction(&pool));
                // The scope takes over the exits, one of them half-run, and is cut in the middle of them.
                let played = task(cut(second, how, scope.run(played))).await;
                !matches!(played, Some(Ok(Some(_))))
            }
        })
        .await;
    }
}

async fn cut_at_every_await_of_two_transactions_on_one_connection(_: impl Spawn) {
    for how in [Cut::AtOnce, Cut::Unseen] {
        sweep(10, |story, pool, n| {
            let how = how.clone();
            async move { task(cut(n, how, story.two(&pool))).await.is_none() }
        })
        .await;
    }
}

async fn cut_at_every_await_of_two_transactions_by_a_cancelled_scope(_: impl Spawn) {
    sweep(10, |story, pool, n| async move {
        let scope = CancelScope::new();
        let played = cut(n, Cut::Cancel(scope.handle()), story.two(&pool));
        scope.run(played).await.is_err_and(|cancelled| cancelled.failures().is_empty())
    })
    .await;
}
