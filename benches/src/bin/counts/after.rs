//! Paths after a cancellation: a check elsewhere, a region that has adopted exits, a group that is cancelled. Ours and
//! the peers'.

use crate::{Path, measured, path, path_of};
use benches::{
    ChildTokens, Runtimes, caught, finish, inside_a_task, inside_scopes, poll, yield_once,
};
use futures::future::BoxFuture;
use moored::rt::tokio::Tokio;
use moored::{CancelScope, ExitStack, TaskGroup};
use std::convert::Infallible;
use std::future::pending;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) fn ours() -> impl Iterator<Item = Path> {
    [
        path("check_after_cancel", |_, n| check(1, n)),
        path("check_at_depth_64_after_cancel", |_, n| check(64, n)),
        path("check_current_in_8_after_cancel", check_current),
        path("poll_adopted_10", |_, n| poll_adopted(10, n)),
        path("poll_adopted_100", |_, n| poll_adopted(100, n)),
        path("poll_adopted_10000", |_, n| poll_adopted(10_000, n)),
        path_of("cancelled_with_3_exits_1000", 1_000, cancelled_with_exits),
    ]
    .into_iter()
}

pub(crate) fn peers() -> impl Iterator<Item = Path> {
    [
        path("peer_check_after_cancel", |_, n| check_token(1, n)),
        path("peer_check_at_depth_64_after_cancel", |_, n| check_token(64, n)),
        path("peer_check_current_in_8_after_cancel", |_, n| check_token(8, n)),
        path_of("peer_cancelled_with_3_exits_1000", 1_000, tokens_with_exits),
    ]
    .into_iter()
}

/// A region of another task, in which something was entered, is cancelled and stays so.
fn cancel_elsewhere() -> impl Sized {
    inside_a_task(|| {
        let outer = CancelScope::new().enter().unwrap();
        let inner = finish(outer.run(async { CancelScope::new().enter().unwrap() })).unwrap();
        let handle = inner.handle();
        outer.handle().cancel();
        assert!(handle.is_cancelled());
        (inner, outer)
    })
}

fn check(depth: u64, iterations: u64) {
    let _elsewhere = cancel_elsewhere();
    inside_scopes(depth - 1, &mut || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let mut run = pin!(scope.run(pending::<()>()));
        assert!(poll(run.as_mut()).is_pending());
        measured(iterations, || black_box(&handle).is_cancelled());
    });
}

fn check_current(_: u64, iterations: u64) {
    let _elsewhere = cancel_elsewhere();
    inside_scopes(8, &mut || measured(iterations, moored::is_cancelled));
}

fn check_token(depth: u64, iterations: u64) {
    ChildTokens::chain(1).0[0].cancel();
    let tokens = ChildTokens::chain(depth - 1);
    measured(iterations, || black_box(tokens.innermost()).is_cancelled());
}

/// A scope that has adopted `n` exits which wait, polled when something else has woken it.
pub(crate) fn poll_adopted(n: u64, iterations: u64) {
    inside_a_task(|| {
        let (scope, end) = (CancelScope::new(), CancellationToken::new());
        let mut run = pin!(scope.run(async {
            for _ in 0..n {
                abandon_an_exit(&end);
            }
            pending::<()>().await;
        }));
        assert!(poll(run.as_mut()).is_pending());
        measured(iterations, || assert!(poll(run.as_mut()).is_pending()));
        end.cancel();
    });
}

fn abandon_an_exit(end: &CancellationToken) {
    let stack = ExitStack::new();
    let mut run = pin!(stack.run(async {
        stack.defer(end.clone().cancelled_owned());
        pending::<Result<(), Infallible>>().await
    }));
    assert!(poll(run.as_mut()).is_pending());
}

/// Children that wait, and exits that ran.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) waiting: AtomicU64,
    pub(crate) ran: AtomicU64,
}

pub(crate) fn all_left(n: u64, iterations: u64, once: impl Fn(Arc<Counts>)) {
    let once = || {
        let counts = Arc::<Counts>::default();
        once(Arc::clone(&counts));
        assert_eq!(counts.ran.load(Ordering::Relaxed), 3 * n);
    };
    once();
    measured(iterations, once);
}

pub(crate) async fn all_wait(n: u64, counts: &Counts) {
    while counts.waiting.load(Ordering::Relaxed) < n {
        yield_once().await;
    }
}

pub(crate) async fn exit(counts: Arc<Counts>) {
    counts.ran.fetch_add(1, Ordering::Relaxed);
}

/// `n` executor children with three exits each, cancelled where they wait.
fn cancelled_with_exits(n: u64, iterations: u64) {
    let runtimes = Runtimes::new().unwrap();
    let spawner = Tokio::new(runtimes.current.handle().clone());
    all_left(n, iterations, |counts| {
        runtimes.current.block_on(moored::task(async {
            let group = TaskGroup::<Infallible>::new();
            let body = async {
                for _ in 0..n {
                    let counts = Arc::clone(&counts);
                    group.spawn_on(&spawner, with_exits(counts));
                }
                all_wait(n, &counts).await;
                group.cancel();
                Ok(())
            };
            drop(group.run(body).await);
        }));
    });
}

async fn with_exits(counts: Arc<Counts>) -> Result<(), Infallible> {
    let stack = ExitStack::new();
    let body = async {
        for _ in 0..3 {
            stack.defer(exit(Arc::clone(&counts)));
        }
        counts.waiting.fetch_add(1, Ordering::Relaxed);
        pending::<Result<(), Infallible>>().await
    };
    drop(stack.run(body).await);
    Ok(())
}

/// The same as people have to write it: a token for each child, exits in boxed closures, each under its own catch.
fn tokens_with_exits(n: u64, iterations: u64) {
    let runtimes = Runtimes::new().unwrap();
    all_left(n, iterations, |counts| {
        runtimes.current.block_on(async {
            let (mut set, parent) = (JoinSet::new(), CancellationToken::new());
            for _ in 0..n {
                set.spawn(with_boxed_exits(parent.child_token(), Arc::clone(&counts)));
            }
            all_wait(n, &counts).await;
            parent.cancel();
            while let Some(joined) = set.join_next().await {
                joined.unwrap();
            }
        });
    });
}

async fn with_boxed_exits(token: CancellationToken, counts: Arc<Counts>) {
    let mut exits: Vec<Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>> = Vec::new();
    let body = async {
        for _ in 0..3 {
            let counts = Arc::clone(&counts);
            exits.push(Box::new(|| Box::pin(exit(counts))));
        }
        counts.waiting.fetch_add(1, Ordering::Relaxed);
        pending::<()>().await;
    };
    token.run_until_cancelled(body).await;
    while let Some(exit) = exits.pop() {
        caught(exit()).await.unwrap();
    }
}
