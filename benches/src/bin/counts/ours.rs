//! The crate's own hot paths: the names that `benches/counts.tsv` pins.

use crate::{Path, measured, measured_apart, path, path_of};
use benches::{Runtimes, Wakes, finish, inside_a_task, inside_scopes, poll, poll_with, yield_once};
use moored::rt::tokio::Tokio;
use moored::{CancelScope, EnteredScope, ExitStack, TaskGroup, move_on_after};
use std::convert::Infallible;
use std::future::{Future, pending, ready};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) fn paths() -> impl Iterator<Item = Path> {
    [
        path("check", check),
        path("check_at_depth_8", check_at_depth_8),
        path("check_current_in_8", check_current_in_8),
        path("enter_leave_alone", |_, n| measured(n, enter_leave)),
        path("enter_leave", |_, n| inside_a_task(|| measured(n, enter_leave))),
        path("enter_leave_in_8", |_, n| inside_scopes(8, &mut || measured(n, enter_leave))),
        path("enter_leave_deadline", |_, n| in_a_runtime(|| measured(n, enter_leave_deadline))),
        path("enter_leave_handle", |_, n| inside_a_task(|| measured(n, enter_leave_handle))),
        path("scope_yields", |_, n| inside_a_task(|| measured(n, scope_yields))),
        path("poll", guarded_poll),
        path("poll_nested_8", guarded_poll_nested_8),
        path("move_on_after", |_, n| in_a_runtime(|| measured(n, timed))),
        path("move_on_after_yields", |_, n| in_a_runtime(|| measured(n, timed_yields))),
        path("wait", wait),
        path("wait_again", wait_again),
        path_of("cancel_waiter_100", 100, cancel_waiters),
        path_of("cancel_waiter_10000", 10_000, cancel_waiters),
        path_of("cancel_child_waiter_100", 100, cancel_children),
        path_of("cancel_child_waiter_10000", 10_000, cancel_children),
        path_of("cancel_chain_100", 100, cancel_chain),
        path_of("cancel_chain_10000", 10_000, cancel_chain),
        path_of("child_100", 100, children),
        path_of("child_10000", 10_000, children),
        path_of("child_yields_100", 100, children_that_yield),
        path("child_joined", one_child_joined),
        path("child_detached", one_child_detached),
        path("child_without_handle", one_child_without_handle),
        path_of("child_without_handle_100", 100, children_without_handles),
        path_of("executor_child_100", 100, |n, i| executor_children(n, i, true)),
        path_of("executor_child_1000", 1_000, |n, i| executor_children(n, i, true)),
        path_of("executor_child_without_handle_100", 100, |n, i| executor_children(n, i, false)),
        path("exit_1", exits),
        path_of("exit_10", 10, exits),
        path_of("exit_100", 100, exits),
        path_of("exit_1000", 1_000, exits),
        path_of("exit_10000", 10_000, exits),
        path("defer", defer),
        path("stack_2_yields", |_, n| inside_a_task(|| measured(n, stack_yields))),
        path("group_1_yields", |_, n| inside_a_task(|| measured(n, group_yields))),
        path("request", |_, n| in_a_runtime(|| measured(n, request))),
    ]
    .into_iter()
}

fn check(_: u64, iterations: u64) {
    inside_a_task(|| {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let mut run = pin!(scope.run(pending::<()>()));
        assert!(poll(run.as_mut()).is_pending());
        measured(iterations, || black_box(&handle).is_cancelled());
    });
}

fn check_at_depth_8(_: u64, iterations: u64) {
    inside_scopes(7, &mut || check(1, iterations));
}

fn check_current_in_8(_: u64, iterations: u64) {
    inside_scopes(8, &mut || measured(iterations, moored::is_cancelled));
}

fn enter_leave() -> u64 {
    finish(CancelScope::new().run(ready(black_box(1)))).unwrap()
}

fn enter_leave_deadline() -> u64 {
    finish(CancelScope::new().timeout(HOUR).run(ready(black_box(1)))).unwrap()
}

/// Where tokio's timer is found.
fn in_a_runtime(work: impl FnOnce()) {
    let runtimes = Runtimes::new().unwrap();
    let _inside = runtimes.current.enter();
    inside_a_task(work);
}

fn enter_leave_handle() -> u64 {
    let scope = CancelScope::new();
    let handle = scope.handle();
    let left = finish(scope.run(ready(black_box(1)))).unwrap();
    drop(black_box(handle));
    left
}

fn timed() -> Option<u64> {
    finish(move_on_after(HOUR, ready(black_box(1))))
}

/// Work that waits once.
async fn one() -> u64 {
    yield_once().await;
    black_box(1)
}

fn scope_yields() -> u64 {
    finish(CancelScope::new().run(one())).unwrap()
}

fn timed_yields() -> Option<u64> {
    finish(move_on_after(HOUR, one()))
}

async fn scope<F: Future>(body: F) -> Option<F::Output> {
    CancelScope::new().run(body).await.ok()
}

fn again<F: Future>(mut future: Pin<&mut F>, iterations: u64) {
    assert!(poll(future.as_mut()).is_pending());
    measured(iterations, || assert!(poll(future.as_mut()).is_pending()));
}

fn guarded_poll(_: u64, iterations: u64) {
    inside_a_task(|| again(pin!(scope(pending::<()>())), iterations));
}

fn guarded_poll_nested_8(_: u64, iterations: u64) {
    let four = || scope(scope(scope(scope(pending::<()>()))));
    inside_a_task(|| again(pin!(scope(scope(scope(scope(four()))))), iterations));
}

fn wait(_: u64, iterations: u64) {
    let (_wakes, waker) = Wakes::new();
    inside_a_task(|| {
        let scope = CancelScope::new().enter().unwrap();
        let handle = scope.handle();
        let once = || {
            let mut waits = pin!(handle.cancelled());
            assert!(poll_with(waits.as_mut(), &waker).is_pending());
        };
        once();
        measured(iterations, once);
    });
}

fn wait_again(_: u64, iterations: u64) {
    let (_wakes, waker) = Wakes::new();
    inside_a_task(|| {
        let scope = CancelScope::new().enter().unwrap();
        let handle = scope.handle();
        let mut waits = pin!(handle.cancelled());
        assert!(poll_with(waits.as_mut(), &waker).is_pending());
        measured(iterations, || assert!(poll_with(waits.as_mut(), &waker).is_pending()));
    });
}

fn cancel_waiters(n: u64, iterations: u64) {
    let (wakes, waker) = Wakes::new();
    let set_up = || {
        let scope = CancelScope::new().enter().unwrap();
        let handle = scope.handle();
        let mut waits: Vec<_> = (0..n).map(|_| Box::pin(handle.cancelled())).collect();
        for wait in &mut waits {
            assert!(poll_with(wait.as_mut(), &waker).is_pending());
        }
        (scope, handle, waits)
    };
    inside_a_task(|| {
        measured_apart(iterations, set_up, |all| {
            all.1.cancel();
            all
        });
    });
    assert_eq!(wakes.count(), n * iterations);
}

fn entered_in(scope: &EnteredScope) -> EnteredScope {
    finish(scope.run(async { CancelScope::new().enter().unwrap() })).unwrap()
}

fn cancel_children(n: u64, iterations: u64) {
    cancel_regions(n, iterations, |scopes| entered_in(&scopes[0]));
}

fn cancel_chain(n: u64, iterations: u64) {
    cancel_regions(n, iterations, |scopes| entered_in(&scopes[scopes.len() - 1]));
}

/// A root and `n` regions with a waiter each.
fn cancel_regions(n: u64, iterations: u64, next: impl Fn(&[EnteredScope]) -> EnteredScope) {
    let (wakes, waker) = Wakes::new();
    let set_up = || {
        let mut scopes = vec![CancelScope::new().enter().unwrap()];
        for _ in 0..n {
            scopes.push(next(&scopes));
        }
        let wait = |scope: &EnteredScope| Box::pin(scope.handle().cancelled());
        let mut waits: Vec<_> = scopes[1..].iter().map(wait).collect();
        for wait in &mut waits {
            assert!(poll_with(wait.as_mut(), &waker).is_pending());
        }
        let root = scopes[0].handle();
        // The last one first, as a program leaves them.
        scopes.reverse();
        (root, scopes, waits)
    };
    inside_a_task(|| {
        measured_apart(iterations, set_up, |all| {
            all.0.cancel();
            all
        });
    });
    assert_eq!(wakes.count(), n * iterations);
}

type Group = TaskGroup<'static, Infallible>;

fn children(n: u64, iterations: u64) {
    spawned(n, iterations, |group, i| {
        group.spawn(async move { Ok(black_box(i)) });
    });
}

fn children_without_handles(n: u64, iterations: u64) {
    spawned(n, iterations, |group, i| group.spawn_detached(async move { Ok(black_box(i)) }));
}

fn children_that_yield(n: u64, iterations: u64) {
    spawned(n, iterations, |group, i| {
        group.spawn(async move {
            yield_once().await;
            Ok(black_box(i))
        });
    });
}

fn spawned(n: u64, iterations: u64, spawn: impl Fn(&Group, u64)) {
    let once = || {
        let group = Group::new();
        finish(group.run(async {
            for i in 0..n {
                spawn(&group, i);
            }
            Ok(())
        }))
        .unwrap();
    };
    inside_a_task(|| {
        once();
        measured(iterations, once);
    });
}

/// The steady state of a group that lives long: its `run` is polled by hand, once for each child.
fn one_child_joined(_: u64, iterations: u64) {
    steady(iterations, |group, run| {
        let child = group.spawn(ready(Ok(black_box(1))));
        assert!(poll(run).is_pending());
        assert!(poll(pin!(child.join())).is_ready());
    });
}

fn one_child_detached(_: u64, iterations: u64) {
    steady(iterations, |group, run| {
        drop(group.spawn(ready(Ok(()))));
        assert!(poll(run).is_pending());
    });
}

fn one_child_without_handle(_: u64, iterations: u64) {
    steady(iterations, |group, run| {
        group.spawn_detached(ready(Ok(())));
        assert!(poll(run).is_pending());
    });
}

type Endless<'a> = Pin<&'a mut (dyn Future<Output = Result<(), moored::Failure<Infallible>>> + 'a)>;

fn steady(iterations: u64, once: impl Fn(&Group, Endless<'_>)) {
    inside_a_task(|| {
        let group = Group::new();
        let mut run = pin!(group.run(pending::<Result<(), Infallible>>()));
        assert!(poll(run.as_mut()).is_pending());
        once(&group, run.as_mut());
        measured(iterations, || once(&group, run.as_mut()));
        assert!(group.is_empty());
    });
}

fn executor_children(n: u64, iterations: u64, with_handle: bool) {
    let runtimes = Runtimes::new().unwrap();
    let spawner = Tokio::new(runtimes.current.handle().clone());
    let once = || {
        runtimes.current.block_on(moored::task(async {
            let group = Group::new();
            let body = async {
                for i in 0..n {
                    let child = async move { Ok(black_box(i)) };
                    match with_handle {
                        true => drop(group.spawn_on(&spawner, child)),
                        false => group.spawn_detached_on(&spawner, child),
                    }
                }
                Ok(())
            };
            group.run(body).await.unwrap();
        }));
    };
    once();
    measured(iterations, once);
}

fn exits(n: u64, iterations: u64) {
    let once = || {
        let stack = ExitStack::new();
        let body = async {
            for exit in 0..n {
                stack.defer(async move {
                    let _ = black_box(exit);
                });
            }
            Ok::<_, Infallible>(())
        };
        finish(stack.run(body)).unwrap();
    };
    inside_a_task(|| {
        once();
        measured(iterations, once);
    });
}

fn stack_yields() -> u64 {
    finish(with_two_exits(async { Ok(one().await) }))
}

async fn with_two_exits(body: impl Future<Output = Result<u64, Infallible>>) -> u64 {
    let stack = ExitStack::new();
    let body = async {
        for exit in 0..2 {
            stack.defer(async move {
                let _ = black_box(exit);
            });
        }
        body.await
    };
    stack.run(body).await.unwrap()
}

fn group_yields() -> u64 {
    finish(with_one_child()).unwrap()
}

async fn with_one_child() -> Result<u64, Infallible> {
    let group = Group::new();
    let body = async { Ok(group.spawn(async { Ok(one().await) }).join().await.unwrap()) };
    Ok(group.run(body).await.unwrap())
}

/// One request of a server: a task, a deadline, exits and a child.
fn request() -> Option<u64> {
    finish(moored::task(move_on_after(HOUR, with_two_exits(with_one_child()))))
}

/// An exit registered, with its owner check; it is run outside.
fn defer(_: u64, iterations: u64) {
    inside_a_task(|| {
        let stack = ExitStack::new();
        measured(iterations, || assert!(stack.try_defer(async {}).is_ok()));
        finish(stack.close()).unwrap();
    });
}
