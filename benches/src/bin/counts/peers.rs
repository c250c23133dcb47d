//! The tools that people use instead, for the page. These counts are not pinned.

use crate::{Path, measured, measured_apart, path, path_of};
use benches::{ChildTokens, Runtimes, Wakes, caught, finish, poll, poll_with, yield_once};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use std::future::{Future, pending, ready};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) fn paths() -> impl Iterator<Item = Path> {
    [
        path("peer_check", |_, n| check(1, n)),
        path("peer_check_at_depth_8", |_, n| check(8, n)),
        path("peer_enter_leave", |_, n| enter_leave(1, n)),
        path("peer_enter_leave_in_8", |_, n| enter_leave(8, n)),
        path("peer_enter_leave_deadline", enter_leave_deadline),
        path("peer_scope_yields", |_, n| scope_yields(n)),
        path("peer_poll", guarded_poll),
        path("peer_poll_nested_8", guarded_poll_nested_8),
        path("peer_move_on_after", timed),
        path("peer_move_on_after_yields", |_, n| in_a_runtime(|| measured(n, timed_yields))),
        path("peer_wait", wait),
        path("peer_wait_again", wait_again),
        path_of("peer_cancel_waiter_100", 100, cancel_waiters),
        path_of("peer_cancel_waiter_10000", 10_000, cancel_waiters),
        path_of("peer_cancel_child_waiter_100", 100, cancel_children),
        path_of("peer_cancel_child_waiter_10000", 10_000, cancel_children),
        path_of("peer_cancel_chain_100", 100, cancel_chain),
        path_of("peer_cancel_chain_10000", 10_000, cancel_chain),
        path_of("peer_child_100", 100, |n, iterations| children(n, iterations, |_| async {})),
        path_of("peer_child_10000", 10_000, |n, iterations| children(n, iterations, |_| async {})),
        path_of("peer_child_yields_100", 100, |n, i| children(n, i, |_| yield_once())),
        path("peer_child_joined", one_child_joined),
        path_of("peer_executor_child_100", 100, executor_children),
        path_of("peer_executor_child_1000", 1_000, executor_children),
        path("peer_exit_1", exits),
        path_of("peer_exit_10", 10, exits),
        path_of("peer_exit_100", 100, exits),
        path_of("peer_exit_1000", 1_000, exits),
        path_of("peer_exit_10000", 10_000, exits),
        path("peer_stack_2_yields", |_, n| measured(n, || finish(with_two_exits(one())))),
        path("peer_group_1_yields", |_, n| measured(n, || finish(with_one_child()))),
        path("peer_request", |_, n| in_a_runtime(|| measured(n, request))),
    ]
    .into_iter()
}

fn check(depth: u64, iterations: u64) {
    let tokens = ChildTokens::chain(depth - 1);
    measured(iterations, || black_box(tokens.innermost()).is_cancelled());
}

fn enter_leave(depth: u64, iterations: u64) {
    let tokens = ChildTokens::chain(depth);
    let once = || {
        let child = tokens.innermost().child_token();
        finish(child.run_until_cancelled(ready(black_box(1)))).unwrap()
    };
    once();
    measured(iterations, once);
}

fn enter_leave_deadline(_: u64, iterations: u64) {
    let runtimes = Runtimes::new().unwrap();
    let _inside = runtimes.current.enter();
    let parent = CancellationToken::new();
    let once = || {
        let child = parent.child_token();
        finish(tokio::time::timeout(HOUR, child.run_until_cancelled(ready(black_box(1))))).unwrap()
    };
    once();
    measured(iterations, once);
}

fn timed(_: u64, iterations: u64) {
    let runtimes = Runtimes::new().unwrap();
    let _inside = runtimes.current.enter();
    measured(iterations, || finish(tokio::time::timeout(HOUR, ready(black_box(1)))).unwrap());
}

/// Work that waits once.
async fn one() -> u64 {
    yield_once().await;
    black_box(1)
}

fn in_a_runtime(work: impl FnOnce()) {
    let runtimes = Runtimes::new().unwrap();
    let _inside = runtimes.current.enter();
    work();
}

fn scope_yields(iterations: u64) {
    let tokens = ChildTokens::chain(1);
    measured(iterations, || {
        let child = tokens.innermost().child_token();
        finish(child.run_until_cancelled(one())).unwrap()
    });
}

fn timed_yields() -> Option<u64> {
    finish(tokio::time::timeout(HOUR, one())).ok()
}

async fn with_two_exits(body: impl Future<Output = u64>) -> u64 {
    let mut stack: Vec<Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>> = Vec::new();
    for exit in 0..2 {
        stack.push(Box::new(move || {
            Box::pin(async move {
                let _ = black_box(exit);
            })
        }));
    }
    let value = body.await;
    while let Some(exit) = stack.pop() {
        caught(exit()).await.unwrap();
    }
    value
}

async fn with_one_child() -> u64 {
    let mut all: FuturesUnordered<BoxFuture<'static, u64>> = FuturesUnordered::new();
    all.push(Box::pin(one()));
    all.next().await.unwrap()
}

fn request() -> Option<u64> {
    finish(tokio::time::timeout(HOUR, with_two_exits(with_one_child()))).ok()
}

async fn token<F: Future>(parent: &CancellationToken, body: F) -> Option<F::Output> {
    parent.child_token().run_until_cancelled(body).await
}

fn again<F: Future>(mut future: Pin<&mut F>, iterations: u64) {
    assert!(poll(future.as_mut()).is_pending());
    measured(iterations, || assert!(poll(future.as_mut()).is_pending()));
}

fn guarded_poll(_: u64, iterations: u64) {
    let parent = CancellationToken::new();
    again(pin!(token(&parent, pending::<()>())), iterations);
}

fn guarded_poll_nested_8(_: u64, iterations: u64) {
    let t = &CancellationToken::new();
    let four = token(t, token(t, token(t, token(t, pending::<()>()))));
    again(pin!(token(t, token(t, token(t, token(t, four))))), iterations);
}

fn wait(_: u64, iterations: u64) {
    let (_wakes, waker) = Wakes::new();
    let token = CancellationToken::new();
    measured(iterations, || {
        let mut waits = pin!(token.cancelled());
        assert!(poll_with(waits.as_mut(), &waker).is_pending());
    });
}

fn wait_again(_: u64, iterations: u64) {
    let (_wakes, waker) = Wakes::new();
    let token = CancellationToken::new();
    let mut waits = pin!(token.cancelled());
    assert!(poll_with(waits.as_mut(), &waker).is_pending());
    measured(iterations, || assert!(poll_with(waits.as_mut(), &waker).is_pending()));
}

fn cancel_waiters(n: u64, iterations: u64) {
    cancel_tokens(n, iterations, |tokens| tokens[0].clone());
}

fn cancel_children(n: u64, iterations: u64) {
    cancel_tokens(n, iterations, |tokens| tokens[0].child_token());
}

fn cancel_chain(n: u64, iterations: u64) {
    cancel_tokens(n, iterations, |tokens| tokens[tokens.len() - 1].child_token());
}

fn cancel_tokens(
    n: u64,
    iterations: u64,
    next: impl Fn(&[CancellationToken]) -> CancellationToken,
) {
    let (wakes, waker) = Wakes::new();
    let set_up = || {
        let mut tokens = vec![CancellationToken::new()];
        for _ in 0..n {
            tokens.push(next(&tokens));
        }
        let wait = |token: &CancellationToken| Box::pin(token.clone().cancelled_owned());
        let mut waits: Vec<_> = tokens[1..].iter().map(wait).collect();
        for wait in &mut waits {
            assert!(poll_with(wait.as_mut(), &waker).is_pending());
        }
        let root = tokens[0].clone();
        tokens.reverse();
        (root, tokens, waits)
    };
    measured_apart(iterations, set_up, |all| {
        all.0.cancel();
        all
    });
    assert_eq!(wakes.count(), n * iterations);
}

fn children<F>(n: u64, iterations: u64, child: impl Fn(u64) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let once = || {
        let mut all: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
        for i in 0..n {
            all.push(Box::pin(child(i)));
        }
        finish(async { while all.next().await.is_some() {} });
    };
    once();
    measured(iterations, once);
}

fn one_child_joined(_: u64, iterations: u64) {
    let mut all: FuturesUnordered<BoxFuture<'static, u64>> = FuturesUnordered::new();
    all.push(Box::pin(pending()));
    measured(iterations, || {
        all.push(Box::pin(ready(black_box(1))));
        finish(all.next()).unwrap()
    });
}

fn executor_children(n: u64, iterations: u64) {
    let runtimes = Runtimes::new().unwrap();
    let once = || {
        runtimes.current.block_on(async {
            let mut set = JoinSet::new();
            for i in 0..n {
                set.spawn(async move { black_box(i) });
            }
            while let Some(joined) = set.join_next().await {
                joined.unwrap();
            }
        });
    };
    once();
    measured(iterations, once);
}

fn exits(n: u64, iterations: u64) {
    let once = || {
        let mut stack: Vec<Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>> = Vec::new();
        for exit in 0..n {
            stack.push(Box::new(move || {
                Box::pin(async move {
                    let _ = black_box(exit);
                })
            }));
        }
        finish(async {
            while let Some(exit) = stack.pop() {
                caught(exit()).await.unwrap();
            }
        });
    };
    once();
    measured(iterations, once);
}
