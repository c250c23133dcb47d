//! Operations whose whole cost is fitted over their size: `counts --grow NAME N`. `counts.py growth` runs them with 100 to
//! 100,000 items and prints the exponents.
//!
//! A cost that is linear has the exponent 1. A path of the other modules is an operation too, with other numbers of
//! items.

use crate::after::poll_adopted;
use crate::{Path, measured, measured_apart, path};
use benches::{Runtimes, Wakes, finish, inside_a_task, poll, poll_with};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use moored::{CancelScope, EnteredScope, ExitStack, Released, TaskGroup};
use std::convert::Infallible;
use std::future::{Future, pending};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

const HOUR: Duration = Duration::from_secs(3_600);

/// The paths of the other modules that are operations.
pub(crate) const OTHERS: [&str; 8] = [
    "child_100",
    "child_yields_100",
    "executor_child_100",
    "cancelled_with_3_exits_1000",
    "cancel_waiter_100",
    "cancel_child_waiter_100",
    "cancel_chain_100",
    "exit_100",
];

pub(crate) fn paths() -> impl Iterator<Item = Path> {
    [
        path("scopes_left_inside_out", |n, _| left(n, true)),
        path("scopes_left_outside_in", |n, _| left(n, false)),
        path("scopes_released_and_adopted", released_and_adopted),
        path("check_at_depth", check_at_depth),
        path("current_deadline_at_depth", current_deadline_at_depth),
        path("deadlines_side_by_side", deadlines_side_by_side),
        path("deadlines_in_a_chain", deadlines_in_a_chain),
        path("deadline_moved_above_waits", deadline_moved),
        path("shields_woken_one_by_one", shields),
        path("exits_of_one_stack_abandoned", one_batch),
        path("exits_adopted_and_woken_one_by_one", adopted),
        path("poll_with_adopted_exits", |n, _| poll_adopted(n, 1)),
        path("exits_popped", exits_popped),
        path("values_held", values_held),
        path("children_woken_one_by_one", children_woken),
        path("children_that_fail", children_that_fail),
        path("children_dropped_with_exits", children_dropped),
        path("children_cancelled_one_by_one", children_cancelled),
        path("children_stopped", children_stopped),
        path("results_read", results_read),
        #[cfg(feature = "inspect")]
        path("snapshot_side_by_side", |n, _| snapshot(n, false)),
        #[cfg(feature = "inspect")]
        path("snapshot_of_a_chain", |n, _| snapshot(n, true)),
    ]
    .into_iter()
}

fn entered_in(scope: &EnteredScope, inner: CancelScope) -> EnteredScope {
    finish(scope.run(async { inner.enter().unwrap() })).unwrap()
}

/// A root and `n` regions, each inside the one before.
fn chain(n: u64, inner: impl Fn() -> CancelScope) -> Vec<EnteredScope> {
    let mut all = vec![CancelScope::new().enter().unwrap()];
    for at in 0..n as usize {
        all.push(entered_in(&all[at], inner()));
    }
    all
}

fn left(n: u64, inside_out: bool) {
    inside_a_task(|| {
        measured(1, || {
            let mut all = chain(n, CancelScope::new);
            if inside_out {
                all.reverse();
            }
            all.into_iter().for_each(drop);
        });
    });
}

fn released_and_adopted(n: u64, _: u64) {
    inside_a_task(|| {
        let enter = || CancelScope::new().enter().unwrap();
        measured_apart(
            1,
            || (0..n).map(|_| enter()).collect::<Vec<_>>(),
            |all| {
                let released: Vec<_> = all.into_iter().map(|s| s.release().unwrap()).collect();
                released.into_iter().map(Released::adopt).collect::<Vec<_>>()
            },
        );
    });
}

fn check_at_depth(n: u64, _: u64) {
    inside_a_task(|| {
        let mut all = chain(n, CancelScope::new);
        all.reverse();
        let handle = all[0].handle();
        measured(1, || black_box(&handle).is_cancelled());
        all.into_iter().for_each(drop);
    });
}

fn in_a_runtime(work: impl FnOnce()) {
    let runtimes = Runtimes::new().unwrap();
    let _inside = runtimes.current.enter();
    inside_a_task(work);
}

fn timed() -> CancelScope {
    CancelScope::new().timeout(HOUR)
}

fn current_deadline_at_depth(n: u64, _: u64) {
    in_a_runtime(|| {
        let mut all = chain(n, timed);
        all.reverse();
        let look = async { measured(1, moored::current_deadline) };
        finish(all[0].run(look)).unwrap();
        all.into_iter().for_each(drop);
    });
}

/// Each is polled once, so that its timer is armed, then dropped.
fn deadlines_side_by_side(n: u64, _: u64) {
    in_a_runtime(|| {
        measured(1, || {
            let mut all: FuturesUnordered<_> =
                (0..n).map(|_| async { timed().run(pending::<()>()).await }).collect();
            assert!(poll(pin!(all.next())).is_pending());
        });
    });
}

/// A wait in the innermost of `n` regions with deadlines.
fn deadlines_in_a_chain(n: u64, _: u64) {
    in_a_runtime(|| {
        measured(1, || {
            let mut all = chain(n, timed);
            all.reverse();
            let handle = all[0].handle();
            assert!(poll(pin!(handle.cancelled())).is_pending());
            all.into_iter().for_each(drop);
        });
    });
}

/// `n` waits in regions inside one whose deadline is put off, and each is polled again.
fn deadline_moved(n: u64, _: u64) {
    in_a_runtime(|| {
        let (_wakes, waker) = Wakes::new();
        let outer = CancelScope::new().timeout(HOUR);
        let mut run = pin!(outer.run(async {
            let inner: Vec<_> = (0..n).map(|_| CancelScope::new().enter().unwrap()).collect();
            let mut waits: Vec<_> =
                inner.iter().map(|scope| Box::pin(scope.handle().cancelled())).collect();
            for wait in &mut waits {
                assert!(poll_with(wait.as_mut(), &waker).is_pending());
            }
            measured(1, || {
                outer.set_deadline(Instant::now() + 2 * HOUR);
                for wait in &mut waits {
                    assert!(poll_with(wait.as_mut(), &waker).is_pending());
                }
            });
        }));
        assert!(poll(run.as_mut()).is_ready());
    });
}

type Gates = Vec<oneshot::Sender<()>>;
type Wait = oneshot::Receiver<()>;

fn gates(n: u64) -> (Gates, Vec<Wait>) {
    (0..n).map(|_| oneshot::channel()).unzip()
}

/// Opens one gate after the other, and polls after each.
fn one_by_one<F: Future + ?Sized>(gates: Gates, mut run: Pin<&mut F>) -> F::Output {
    let last = gates.len() - 1;
    for (at, gate) in gates.into_iter().enumerate() {
        gate.send(()).unwrap();
        match poll(run.as_mut()) {
            std::task::Poll::Ready(output) => {
                assert_eq!(at, last);
                return output;
            }
            std::task::Poll::Pending => {}
        }
    }
    finish(run)
}

/// `n` shields in a scope that is cancelled.
fn shields(n: u64, _: u64) {
    inside_a_task(|| {
        let scope = CancelScope::new();
        let (gates, waits) = gates(n);
        let mut run = pin!(scope.run(async {
            let mut all: FuturesUnordered<_> = waits.into_iter().map(moored::shield).collect();
            while all.next().await.is_some() {}
        }));
        measured(1, || {
            assert!(poll(run.as_mut()).is_pending());
            scope.cancel();
            assert!(poll(run.as_mut()).is_pending());
        });
        let mut gates = Some(gates);
        measured(1, || one_by_one(gates.take().unwrap(), run.as_mut()).unwrap());
    });
}

async fn wait(gate: Wait) {
    gate.await.unwrap();
}

/// A stack with `n` exits that is dropped; they run one after the other.
fn one_batch(n: u64, _: u64) {
    inside_a_task(|| {
        measured(1, || {
            finish(CancelScope::new().run(async {
                let stack = ExitStack::new();
                let mut run = pin!(stack.run(async {
                    (0..n).for_each(|i| stack.defer(async move { _ = black_box(i) }));
                    pending::<Result<(), Infallible>>().await
                }));
                assert!(poll(run.as_mut()).is_pending());
            }))
            .unwrap();
        });
    });
}

/// `n` stacks with an exit each are dropped, and each exit ends alone.
fn adopted(n: u64, _: u64) {
    inside_a_task(|| {
        let (gates, waits) = gates(n);
        let (mut gates, mut waits) = (Some(gates), Some(waits));
        measured(1, || {
            let scope = CancelScope::new();
            let (gates, waits) = (gates.take().unwrap(), waits.take().unwrap());
            let mut run = pin!(scope.run(async { waits.into_iter().for_each(abandon) }));
            assert!(poll(run.as_mut()).is_pending());
            one_by_one(gates, run.as_mut()).unwrap();
        });
    });
}

fn abandon(gate: Wait) {
    let stack = ExitStack::new();
    let mut run = pin!(stack.run(async {
        stack.defer(wait(gate));
        pending::<Result<(), Infallible>>().await
    }));
    assert!(poll(run.as_mut()).is_pending());
}

fn exits_popped(n: u64, _: u64) {
    inside_a_task(|| {
        measured(1, || {
            let stack = ExitStack::new();
            (0..n).for_each(|i| stack.defer(async move { _ = black_box(i) }));
            let popped = stack.pop_all();
            assert_eq!(popped.len() as u64, n);
            finish(stack.close()).unwrap();
            finish(popped.close()).unwrap();
        });
    });
}

fn values_held(n: u64, _: u64) {
    inside_a_task(|| {
        measured(1, || {
            let stack = ExitStack::new();
            let held: Vec<_> =
                (0..n).map(|i| stack.hold(i, |i| async move { _ = black_box(i) })).collect();
            held.into_iter().for_each(drop);
            finish(stack.close()).unwrap();
        });
    });
}

type Group = TaskGroup<'static, u64>;

fn children_woken(n: u64, _: u64) {
    inside_a_task(|| {
        let (gates, waits) = gates(n);
        let (mut gates, mut waits) = (Some(gates), Some(waits));
        measured(1, || {
            let group = Group::new();
            let (gates, waits) = (gates.take().unwrap(), waits.take().unwrap());
            let mut run = pin!(group.run(async {
                for gate in waits {
                    group.spawn(async {
                        wait(gate).await;
                        Ok(())
                    });
                }
                Ok(())
            }));
            assert!(poll(run.as_mut()).is_pending());
            one_by_one(gates, run.as_mut()).unwrap();
        });
    });
}

fn children_that_fail(n: u64, _: u64) {
    inside_a_task(|| {
        measured(1, || {
            let group = Group::new().keep_going();
            let failed = finish(group.run(async {
                (0..n).for_each(|i| drop(group.spawn(async move { Err::<(), u64>(i) })));
                Ok(())
            }));
            assert!(failed.is_err());
        });
    });
}

/// A group with `n` children that wait, each with an exit, is dropped.
fn children_dropped(n: u64, _: u64) {
    inside_a_task(|| {
        measured(1, || {
            finish(CancelScope::new().run(async {
                let group = Group::new();
                let mut run = pin!(group.run(async {
                    (0..n).for_each(|_| drop(group.spawn(child_with_an_exit())));
                    pending::<Result<(), u64>>().await
                }));
                assert!(poll(run.as_mut()).is_pending());
            }))
            .unwrap();
        });
    });
}

async fn child_with_an_exit() -> Result<(), u64> {
    let stack = ExitStack::new();
    let body = async {
        stack.defer(async { _ = black_box(1) });
        pending::<Result<(), Infallible>>().await
    };
    drop(stack.run(body).await);
    Ok(())
}

fn children_cancelled(n: u64, _: u64) {
    inside_a_task(|| {
        measured(1, || {
            let group = Group::new();
            let mut handles = Vec::new();
            let mut run = pin!(group.run(async {
                let spawn = |_| group.spawn(pending::<Result<(), u64>>());
                handles.extend((0..n).map(spawn));
                std::mem::take(&mut handles)
                    .into_iter()
                    .for_each(|child: moored::TaskHandle<()>| child.cancel());
                Ok(())
            }));
            finish(run.as_mut()).unwrap();
        });
    });
}

fn children_stopped(n: u64, _: u64) {
    inside_a_task(|| {
        measured(1, || {
            let group = Group::new();
            let mut run = pin!(group.run(async {
                (0..n).for_each(|_| {
                    drop(group.spawn(async {
                        moored::stop_requested().await;
                        Ok(())
                    }));
                });
                Ok(())
            }));
            assert!(poll(run.as_mut()).is_pending());
            group.stop();
            finish(run.as_mut()).unwrap();
        });
    });
}

fn results_read(n: u64, _: u64) {
    inside_a_task(|| {
        measured(1, || {
            let group = Group::new();
            finish(group.run(async {
                let mut results = group.results();
                (0..n).for_each(|i| drop(group.spawn(async move { Ok(black_box(i)) })));
                for _ in 0..n {
                    results.next().await.unwrap();
                }
                Ok(())
            }))
            .unwrap();
        });
    });
}

#[cfg(feature = "inspect")]
fn snapshot(n: u64, deep: bool) {
    inside_a_task(|| {
        let mut all = if deep {
            chain(n, CancelScope::new)
        } else {
            (0..n).map(|_| CancelScope::new().enter().unwrap()).collect()
        };
        measured(1, || {
            let snapshot = moored::inspect::snapshot();
            black_box((snapshot.to_string(), snapshot.to_json()));
        });
        all.reverse();
        all.into_iter().for_each(drop);
    });
}
