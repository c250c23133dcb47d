//! An executor child in its first poll, which has no node until one is needed, and the requests that reach it then.

use crate::executors::Threads;
use crate::support::model;
use loom::future::block_on;
use loom::sync::atomic::{AtomicBool, Ordering};
use moored::TaskGroup;
use std::future::pending;
use std::sync::Arc;

/// A flag that is set after the request to cancel. A child that has read it must see the cancellation in the
/// same poll.
struct Asked(AtomicBool);

impl Asked {
    fn new() -> Arc<Self> {
        Arc::new(Asked(AtomicBool::new(false)))
    }

    fn say(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn look(&self) {
        // The first look makes the node that the later request reaches.
        let _ = moored::is_cancelled();
        if self.0.load(Ordering::Acquire) {
            assert!(moored::is_cancelled(), "it was asked, and does not see it");
        }
    }
}

/// A child's handle cancels it while it is polled for the first time: the child sees the cancellation in
/// that poll, and ends.
#[test]
fn r06_cancel_of_a_child_against_its_first_poll_that_looks() {
    model(|| {
        let (threads, asked) = (Threads::default(), Asked::new());
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        let looks = Arc::clone(&asked);
        let child = group.spawn_on(&threads, async move {
            looks.look();
            pending::<Result<(), ()>>().await
        });
        child.cancel();
        asked.say();
        block_on(group.run(async { Ok(()) })).unwrap();
        assert!(block_on(child.join()).is_err());
        threads.join();
    });
}

/// The group is cancelled while its child is polled for the first time: the child sees it, is dropped where it waits, and
/// its group returns.
#[test]
fn r06_cancel_of_a_group_against_the_first_poll_of_a_child_that_looks() {
    model(|| {
        let (threads, asked) = (Threads::default(), Asked::new());
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        let looks = Arc::clone(&asked);
        drop(group.spawn_on(&threads, async move {
            looks.look();
            pending::<Result<(), ()>>().await
        }));
        group.cancel();
        asked.say();
        block_on(group.run(async { Ok(()) })).unwrap();
        threads.join();
    });
}

/// A child becomes pending in its first poll, without a look for a cancellation, while its handle cancels it.
#[test]
fn r03_cancel_of_a_child_against_its_first_wait() {
    model(|| {
        let threads = Threads::default();
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        let child = group.spawn_on(&threads, pending::<Result<(), ()>>());
        child.cancel();
        drop(child);
        block_on(group.run(async { Ok(()) })).unwrap();
        threads.join();
    });
}
