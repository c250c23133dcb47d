//! Futures that are dropped half-way, by their task or by their executor.

use crate::book::Book;
use crate::support::{Threads, block_on, dawdle, explore, random};
use moored::testing::{cut, live_regions};
use moored::{CancelScope, ExitStack, TaskGroup, task};
use shuttle::thread;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

/// An executor that drops tasks at random, and refuses some: each exit has run once or was reported lost once, and no
/// exit runs after the group's `run` has returned.
#[test]
fn r08_exits_of_children_that_the_executor_drops() {
    explore(|| {
        let (book, threads) = (Book::open(), Threads::that_aborts());
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        for _ in 0..3 {
            let book = book.clone();
            drop(group.spawn_on(&threads, async move {
                book.stack(2, async {
                    book.stack(1, dawdle()).await;
                    dawdle().await;
                })
                .await;
                Ok(())
            }));
        }
        block_on(group.run(async { Ok(()) })).unwrap();
        let (_, _, ended) = book.figures();
        threads.join();
        assert_eq!(book.figures().2, ended, "an exit ran after the group was left");
        book.is_accounted_for();
    });
}

/// A group whose `run` is dropped at any of its polls, inside a scope that another thread cancels: the scope is left after
/// the children and after every exit.
#[test]
fn r08_r16_exits_of_a_group_that_is_dropped() {
    explore(|| {
        let (book, threads) = (Book::open(), Threads::new());
        let scope = CancelScope::new();
        let handle = scope.handle();
        let canceller = thread::spawn(move || handle.cancel());
        let polls = random(5);
        let _ = block_on(scope.run(book.stack(1, async {
            let group: TaskGroup<'static, ()> = TaskGroup::new();
            for n in 0..3 {
                let child = {
                    let book = book.clone();
                    async move {
                        book.stack(2, dawdle()).await;
                        Ok(())
                    }
                };
                drop(match n {
                    0 => group.spawn(child),
                    _ => group.spawn_on(&threads, child),
                });
            }
            let body = async {
                book.stack(1, pending::<()>()).await;
                Ok(())
            };
            let _ = cut(polls, group.run(body)).await;
            dawdle().await;
        })));
        book.is_closed();
        canceller.join().unwrap();
        threads.join();
        drop(scope);
        assert_eq!(live_regions(), 0, "a region outlives its task");
    });
}

/// A task that moves between threads from poll to poll, and is dropped on one of them, while the scope that it is lent
/// to leaves: its exits run in the scope, or are lost, and no exit runs twice.
#[test]
fn r08_exits_of_a_task_that_is_dropped_elsewhere() {
    explore(|| {
        let book = Book::open();
        let scope = CancelScope::new();
        let thief = Arc::new(Mutex::new(None));
        let _ = block_on(scope.run(async {
            let theirs = book.clone();
            let mut lent = Box::pin(task(async move { theirs.stack(3, pending::<()>()).await }));
            poll_so_often(random(4), &mut lent).await;
            *thief.lock().unwrap() = Some(thread::spawn(move || drop(lent)));
            dawdle().await;
        }));
        let (_, running, ended) = book.figures();
        let thread = thief.lock().unwrap().take();
        thread.unwrap().join().unwrap();
        assert_eq!((running, book.figures().2), (0, ended), "an exit ran after the scope was left");
        book.is_accounted_for();
    });
}

/// Polls `future` up to `polls` times, woken or not, until it is ready.
async fn poll_so_often<F: Future + Unpin>(mut polls: usize, future: &mut F) {
    std::future::poll_fn(|cx| {
        if polls == 0 || Pin::new(&mut *future).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        polls -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Two permits, lent out by four children that lose and win: all are back when the group has been left.
#[test]
fn r08_permits_come_back() {
    explore(|| {
        let threads = Threads::new();
        let pool = Arc::new(Mutex::new(vec![1, 2]));
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        for _ in 0..4 {
            let pool = Arc::clone(&pool);
            drop(group.spawn_on(&threads, async move {
                let loser = async {
                    let Some(permit) = pool.lock().unwrap().pop() else { return };
                    let pool = Arc::clone(&pool);
                    let stack = ExitStack::new();
                    let body = async {
                        let _permit = stack.hold(permit, |permit| async move {
                            dawdle().await;
                            pool.lock().unwrap().push(permit);
                        });
                        dawdle().await;
                        Ok::<_, ()>(())
                    };
                    stack.run(body).await.unwrap();
                };
                let _ = cut(random(4), loser).await;
                dawdle().await;
                Ok(())
            }));
        }
        if random(2) == 0 {
            group.cancel();
        }
        block_on(group.run(async { Ok(()) })).unwrap();
        assert_eq!(pool.lock().unwrap().len(), 2);
        threads.join();
    });
}
