//! Groups with children on many threads, each with exits.

use crate::book::Book;
use crate::support::{Threads, block_on, dawdle, explore, random};
use moored::{Cause, ChildError, GroupSpawner, TaskGroup};
use shuttle::thread;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const CHILDREN: usize = 3;

/// Counts the children that are inside.
#[derive(Clone, Default)]
struct Inside(Arc<AtomicUsize>);

impl Inside {
    fn enter(&self) -> Self {
        self.0.fetch_add(1, SeqCst);
        self.clone()
    }
}

struct Guard(Inside);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, SeqCst);
    }
}

/// Children that have children, through a spawner, while the group is cancelled from another thread: every exit has run
/// and no child is inside when `run` returns.
#[test]
fn r16_no_child_outlives_a_group_that_is_cancelled() {
    /// Boxed, because its type is recursive.
    fn child(
        book: Book,
        inside: Inside,
        spawner: GroupSpawner<'static, ()>,
        threads: Threads,
        depth: usize,
    ) -> BoxChild {
        Box::pin(async move {
            let _guard = Guard(inside.enter());
            book.stack(2, async {
                dawdle().await;
                if depth > 0 {
                    let (book, inside) = (book.clone(), inside.clone());
                    let next = child(book, inside, spawner.clone(), threads.clone(), depth - 1);
                    // Refused where the group has closed.
                    drop(spawner.spawn_on(&threads, next));
                }
                dawdle().await;
            })
            .await;
            Ok(())
        })
    }
    type BoxChild = std::pin::Pin<Box<dyn Future<Output = Result<(), ()>> + Send>>;

    explore(|| {
        let (book, inside, threads) = (Book::open(), Inside::default(), Threads::new());
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        for _ in 0..CHILDREN {
            let child =
                child(book.clone(), inside.clone(), group.spawner(), threads.clone(), random(2));
            drop(group.spawn_on(&threads, child));
        }
        let handle = group.handle();
        let canceller = thread::spawn(move || handle.cancel());
        let _ = block_on(group.run(async {
            dawdle().await;
            Ok(())
        }));
        assert_eq!(inside.0.load(SeqCst), 0, "a child outlived its group");
        book.is_closed();
        assert!(group.is_empty());
        canceller.join().unwrap();
        threads.join();
    });
}

/// Children in the task and on threads, some of which fail: every error is reported once, the group returns, and if
/// one failure is enough the body is cancelled as well.
#[test]
fn r15_r17_every_error_is_told_once() {
    explore(|| {
        let (book, threads) = (Book::open(), Threads::new());
        let keeps_going = random(2) == 0;
        let group: TaskGroup<'static, usize> = match keeps_going {
            true => TaskGroup::new().keep_going(),
            false => TaskGroup::new(),
        };
        let failed = Arc::new(AtomicUsize::new(0));
        for n in 0..CHILDREN + 1 {
            let (book, failed) = (book.clone(), Arc::clone(&failed));
            let child = async move {
                book.stack(1, dawdle()).await;
                if n > 0 {
                    failed.fetch_add(1, SeqCst);
                    return Err(n);
                }
                Ok(())
            };
            drop(match n % 2 {
                0 => group.spawn(child),
                _ => group.spawn_on(&threads, child),
            });
        }
        let body = async {
            if !keeps_going {
                pending::<()>().await;
            }
            Ok(())
        };
        let failure = block_on(group.run(body)).unwrap_err();
        let errors = failure.causes().filter(|cause| matches!(cause, Cause::Child { .. }));
        // An error counts once it is returned; a child that was cancelled before has none.
        assert_eq!(errors.count(), failed.load(SeqCst));
        assert!(!keeps_going || failed.load(SeqCst) == CHILDREN);
        book.is_closed();
        threads.join();
    });
}

/// More children than may run at once, joined on other threads, one of them cancelled: each child gets a turn or
/// is cancelled, and every join ends.
#[test]
fn r16_everybody_has_a_turn() {
    explore(|| {
        let (book, inside, threads) = (Book::open(), Inside::default(), Threads::new());
        let group: TaskGroup<'static, ()> = TaskGroup::new().limit(2);
        let mut joiners = Vec::new();
        for n in 0..4 {
            let (book, inside) = (book.clone(), inside.clone());
            let child = group.spawn_on(&threads, async move {
                // A child that was cancelled before its turn is polled to its first await without a turn.
                let _guard = (n != 2).then(|| Guard(inside.enter()));
                assert!(inside.0.load(SeqCst) <= 2, "three at once");
                book.stack(1, dawdle()).await;
                Ok(n)
            });
            if n == 2 {
                child.cancel();
            }
            joiners.push(thread::spawn(move || (n, block_on(child.join()))));
        }
        block_on(group.run(async { Ok(()) })).unwrap();
        for joiner in joiners {
            match joiner.join().unwrap() {
                (n, Ok(value)) => assert_eq!(n, value),
                (n, Err(error)) => assert!(n == 2 && matches!(error, ChildError::Cancelled(_))),
            }
        }
        book.is_closed();
        threads.join();
    });
}
