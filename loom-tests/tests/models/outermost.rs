//! Two nested regions that are cancelled at once (R9), and the reach of a cancellation beside a shield (R12).

use crate::executors::Threads;
use crate::support::{Count, Gate, coarse_model, model, poll_once};
use loom::future::block_on;
use loom::thread;
use moored::{CancelScope, TaskGroup, shield};
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;

/// The outer scope is cancelled before the inner one: the code after the inner scope never runs, because a thread
/// that sees the inner cancellation sees the outer one.
#[test]
fn r09_the_inner_of_two_cancelled_scopes_does_not_go_on() {
    model(|| {
        let (outer, inner, resumed) = (CancelScope::new(), CancelScope::new(), Count::new());
        let handles = [outer.handle(), inner.handle()];
        let canceller = thread::spawn(move || handles.map(|handle| handle.cancel()));
        let body = async {
            let _ = inner.run(pending::<()>()).await;
            resumed.add();
        };
        block_on(outer.run(body)).unwrap_err();
        assert_eq!(resumed.get(), 0, "the inner scope caught what was for the outer one");
        canceller.join().unwrap();
    });
}

/// Two threads cancel them in either order while they are pending: the outer one ends, because an inner one that waits to
/// be dropped is dropped.
#[test]
fn r09_cancel_of_the_outer_scope_against_cancel_of_the_inner_one() {
    coarse_model(|| {
        let (outer, inner) = (CancelScope::new(), CancelScope::new());
        let (first, second) = (outer.handle(), inner.handle());
        let body = async {
            let _ = inner.run(pending::<()>()).await;
            pending::<()>().await;
        };
        let mut run = pin!(outer.run(body));
        assert!(poll_once(run.as_mut()).is_pending());
        let cancellers =
            [thread::spawn(move || first.cancel()), thread::spawn(move || second.cancel())];
        block_on(run).unwrap_err();
        cancellers.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// A scope in a child leaves its cancellation to an outer scope, to which the group was only lent. When the outer scope
/// has left on another thread, the inner scope is woken, and catches.
#[test]
fn r09_what_waits_for_the_outer_scope_is_woken_when_that_leaves_on_another_thread() {
    coarse_model(|| {
        let (threads, outer, inner) = (Threads::default(), CancelScope::new(), CancelScope::new());
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        outer.cancel();
        inner.cancel();
        let body = async {
            let child = async move { Ok(inner.run(pending::<()>()).await.is_err()) };
            Ok(group.spawn_on(&threads, child).join().await.unwrap())
        };
        block_on(async {
            let mut lent = pin!(group.run(body));
            let caught = match outer.run(lent.as_mut()).await {
                Ok(ended) => ended,
                Err(_) => lent.await,
            };
            assert!(caught.unwrap());
        });
        threads.join();
    });
}

/// Opens its gate when it is dropped.
struct Opens(Arc<Gate>);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// A shield waits for a child of a group beside it to be gone, which may be in its first poll: the cancellation reaches
/// the child, or both wait for ever.
#[test]
fn r12_cancel_reaches_a_child_on_an_executor_beside_a_shield() {
    coarse_model(|| {
        let (threads, gate, outer) = (Threads::default(), Gate::new(), CancelScope::new());
        outer.cancel();
        let body = async {
            let group: TaskGroup<'static, ()> = TaskGroup::new();
            let opens = Opens(Arc::clone(&gate));
            drop(group.spawn_on(&threads, async move {
                let _opens = opens;
                pending::<Result<(), ()>>().await
            }));
            let mut run = pin!(group.run(pending::<Result<(), ()>>()));
            let mut shielded = pin!(shield(gate.wait()));
            poll_fn(|cx| {
                let _ = run.as_mut().poll(cx);
                shielded.as_mut().poll(cx)
            })
            .await;
        };
        block_on(outer.run(body)).unwrap();
        threads.join();
    });
}

/// The same for a child that comes after the last poll of its group's run: it links the group, before the cancellation or
/// after it.
#[test]
fn r12_cancel_reaches_a_child_that_comes_to_a_group_that_is_not_polled() {
    coarse_model(|| {
        let (threads, gate, outer) = (Threads::default(), Gate::new(), CancelScope::new());
        let body = async {
            let group: TaskGroup<'static, ()> = TaskGroup::new();
            let mut run = pin!(group.run(pending::<Result<(), ()>>()));
            assert!(poll_once(run.as_mut()).is_pending());
            let opens = Opens(Arc::clone(&gate));
            drop(group.spawn_on(&threads, async move {
                let _opens = opens;
                pending::<Result<(), ()>>().await
            }));
            outer.cancel();
            shield(gate.wait()).await;
        };
        block_on(outer.run(body)).unwrap();
        threads.join();
    });
}
