//! The sketches of `benches::floor`, for the page. These counts are not pinned.

use crate::after::{Counts, all_left, all_wait, exit};
use crate::{Path, measured, measured_apart, path, path_of};
use benches::floor::{Crew, Group, Node, Scope, Stack, task, timed};
use benches::{Runtimes, Wakes, finish, inside_a_task, poll, yield_once};
use std::convert::Infallible;
use std::future::{Future, pending, ready};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) fn paths() -> impl Iterator<Item = Path> {
    [
        path("floor_enter_leave", |_, n| inside_a_task(|| measured(n, enter_leave))),
        path("floor_scope_yields", |_, n| inside_a_task(|| measured(n, scope_yields))),
        path("floor_poll", guarded_poll),
        path("floor_poll_nested_8", guarded_poll_nested_8),
        path("floor_poll_adopted_10", |_, n| poll_adopted(10, n)),
        path("floor_poll_adopted_100", |_, n| poll_adopted(100, n)),
        path("floor_poll_adopted_10000", |_, n| poll_adopted(10_000, n)),
        path("floor_move_on_after", |_, n| in_a_runtime(|| measured(n, time_out))),
        path("floor_move_on_after_yields", |_, n| in_a_runtime(|| measured(n, time_out_yields))),
        path("floor_wait", wait),
        path_of("floor_cancel_waiter_100", 100, cancel_waiters),
        path_of("floor_cancel_waiter_10000", 10_000, cancel_waiters),
        path_of("floor_cancel_child_waiter_100", 100, cancel_children),
        path_of("floor_cancel_child_waiter_10000", 10_000, cancel_children),
        path_of("floor_cancel_chain_100", 100, cancel_chain),
        path_of("floor_cancel_chain_10000", 10_000, cancel_chain),
        path_of("floor_child_100", 100, children),
        path_of("floor_child_10000", 10_000, children),
        path_of("floor_child_yields_100", 100, children_that_yield),
        path_of("floor_child_without_handle_100", 100, children_without_handle),
        path_of("floor_child_without_handle_10000", 10_000, children_without_handle),
        path("floor_child_joined", one_child_joined),
        path("floor_child_without_handle", one_child_without_handle),
        path_of("floor_executor_child_100", 100, |n, i| executor_children(n, i, true)),
        path_of("floor_executor_child_1000", 1_000, |n, i| executor_children(n, i, true)),
        path_of("floor_executor_child_without_handle_100", 100, |n, i| {
            executor_children(n, i, false);
        }),
        path_of("floor_cancelled_with_3_exits_1000", 1_000, cancelled_with_exits),
        path_of("floor_exit_1", 1, exits),
        path_of("floor_exit_10", 10, exits),
        path_of("floor_exit_100", 100, exits),
        path_of("floor_exit_1000", 1_000, exits),
        path_of("floor_exit_10000", 10_000, exits),
        path("floor_stack_2_yields", |_, n| inside_a_task(|| measured(n, stack_yields))),
        path("floor_group_1_yields", |_, n| inside_a_task(|| measured(n, group_yields))),
        path("floor_request", |_, n| in_a_runtime(|| measured(n, request))),
    ]
    .into_iter()
}

fn in_a_runtime(work: impl FnOnce()) {
    let runtimes = Runtimes::new().unwrap();
    let _inside = runtimes.current.enter();
    inside_a_task(work);
}

/// Work that waits once.
async fn one() -> u64 {
    yield_once().await;
    black_box(1)
}

fn enter_leave() -> u64 {
    finish(Scope::default().run(ready(black_box(1)))).unwrap()
}

fn scope_yields() -> u64 {
    finish(Scope::default().run(one())).unwrap()
}

fn time_out() -> Option<u64> {
    finish(timed(HOUR, ready(black_box(1))))
}

fn time_out_yields() -> Option<u64> {
    finish(timed(HOUR, one()))
}

async fn scope<F: Future>(body: F) -> Option<F::Output> {
    Scope::default().run(body).await
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

/// A scope that has adopted `n` exits which wait.
fn poll_adopted(n: u64, iterations: u64) {
    let end = CancellationToken::new();
    let abandon = || {
        let stack = Stack::default();
        let mut run = pin!(stack.run(async {
            stack.defer(end.clone().cancelled_owned());
            pending::<()>().await;
        }));
        assert!(poll(run.as_mut()).is_pending());
    };
    inside_a_task(|| {
        let body = async {
            (0..n).for_each(|_| abandon());
            pending::<()>().await;
        };
        again(pin!(scope(body)), iterations);
        end.cancel();
    });
}

fn wait(_: u64, iterations: u64) {
    let (_wakes, waker) = Wakes::new();
    let node = Node::default();
    measured(iterations, || {
        let place = node.register(&waker);
        assert!(!node.is_set());
        node.forget(place);
    });
}

fn cancel_waiters(n: u64, iterations: u64) {
    let (wakes, waker) = Wakes::new();
    let set_up = || {
        let node = Arc::new(Node::default());
        (0..n).for_each(|_| _ = node.register(&waker));
        node
    };
    measured_apart(iterations, set_up, |node| {
        node.cancel();
        node
    });
    assert_eq!(wakes.count(), n * iterations);
}

fn cancel_children(n: u64, iterations: u64) {
    cancel_nodes(n, iterations, |all| Node::child(&all[0]));
}

fn cancel_chain(n: u64, iterations: u64) {
    cancel_nodes(n, iterations, |all| Node::child(&all[all.len() - 1]));
}

fn cancel_nodes(n: u64, iterations: u64, next: impl Fn(&[Arc<Node>]) -> Arc<Node>) {
    let (wakes, waker) = Wakes::new();
    let set_up = || {
        let mut all = vec![Arc::<Node>::default()];
        for _ in 0..n {
            all.push(next(&all));
        }
        all[1..].iter().for_each(|node| _ = node.register(&waker));
        let root = Arc::clone(&all[0]);
        all.reverse();
        (root, all)
    };
    measured_apart(iterations, set_up, |all| {
        all.0.cancel();
        all
    });
    assert_eq!(wakes.count(), n * iterations);
}

fn spawned(n: u64, iterations: u64, spawn: impl Fn(&Group<'static, Infallible>, u64)) {
    let once = || {
        let group = Group::default();
        finish(group.run(async {
            for i in 0..n {
                spawn(&group, i);
            }
        }))
        .unwrap();
    };
    inside_a_task(|| {
        once();
        measured(iterations, once);
    });
}

fn children(n: u64, iterations: u64) {
    spawned(n, iterations, |group, i| drop(group.spawn(async move { Ok(black_box(i)) })));
}

fn children_without_handle(n: u64, iterations: u64) {
    spawned(n, iterations, |group, i| group.spawn_detached(async move { Ok(black_box(i)) }));
}

fn children_that_yield(n: u64, iterations: u64) {
    spawned(n, iterations, |group, i| {
        drop(group.spawn(async move {
            yield_once().await;
            Ok(black_box(i))
        }));
    });
}

type Endless<'a> = Pin<&'a mut (dyn Future<Output = Result<(), Vec<(u64, Infallible)>>> + 'a)>;

fn steady(iterations: u64, once: impl Fn(&Group<'static, Infallible>, Endless<'_>)) {
    inside_a_task(|| {
        let group = Group::default();
        let mut run = pin!(group.run(pending::<()>()));
        assert!(poll(run.as_mut()).is_pending());
        once(&group, run.as_mut());
        measured(iterations, || once(&group, run.as_mut()));
    });
}

fn one_child_joined(_: u64, iterations: u64) {
    steady(iterations, |group, run| {
        let child = group.spawn(ready(Ok(black_box(1))));
        assert!(poll(run).is_pending());
        assert!(poll(pin!(child)).is_ready());
    });
}

fn one_child_without_handle(_: u64, iterations: u64) {
    steady(iterations, |group, run| {
        group.spawn_detached(ready(Ok(())));
        assert!(poll(run).is_pending());
    });
}

fn executor_children(n: u64, iterations: u64, with_handle: bool) {
    let runtimes = Runtimes::new().unwrap();
    let once = || {
        runtimes.current.block_on(task(async {
            let crew = Crew::default();
            for i in 0..n {
                let child = async move { black_box(i) };
                if with_handle {
                    drop(crew.spawn(child));
                } else {
                    crew.spawn_detached(child);
                }
            }
            crew.empty().await;
        }));
    };
    once();
    measured(iterations, once);
}

fn cancelled_with_exits(n: u64, iterations: u64) {
    let runtimes = Runtimes::new().unwrap();
    all_left(n, iterations, |counts| {
        runtimes.current.block_on(task(async {
            let crew = Crew::default();
            for _ in 0..n {
                crew.spawn_detached(with_exits(Arc::clone(&counts)));
            }
            all_wait(n, &counts).await;
            crew.cancel();
            crew.empty().await;
        }));
    });
}

async fn with_exits(counts: Arc<Counts>) {
    let stack = Stack::default();
    let body = async {
        for _ in 0..3 {
            stack.defer(exit(Arc::clone(&counts)));
        }
        counts.waiting.fetch_add(1, Ordering::Relaxed);
        pending::<()>().await;
    };
    drop(stack.run(body).await);
}

fn exits(n: u64, iterations: u64) {
    let once = || {
        let stack = Stack::default();
        let body = async {
            for exit in 0..n {
                stack.defer(async move { _ = black_box(exit) });
            }
        };
        finish(stack.run(body)).unwrap();
    };
    inside_a_task(|| {
        once();
        measured(iterations, once);
    });
}

fn stack_yields() -> u64 {
    finish(with_two_exits(one()))
}

async fn with_two_exits<T>(body: impl Future<Output = T>) -> T {
    let stack = Stack::default();
    let body = async {
        for exit in 0..2 {
            stack.defer(async move { _ = black_box(exit) });
        }
        body.await
    };
    stack.run(body).await.unwrap()
}

fn group_yields() -> u64 {
    finish(with_one_child())
}

async fn with_one_child() -> u64 {
    let group = Group::<Infallible>::default();
    let body = async { group.spawn(async { Ok(one().await) }).await.unwrap() };
    group.run(body).await.unwrap()
}

/// A task, a deadline, exits and a child.
fn request() -> Option<u64> {
    finish(task(timed(HOUR, with_two_exits(with_one_child()))))
}
