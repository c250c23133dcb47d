//! The cost of a poll of a region that has adopted exits which wait (R19).
//!
//! `n` exits are in flight. The region is polled because something else has woken it.

use benches::floor::{Scope, Stack, task};
use benches::{Bench, finish, inside_a_task, poll};
use moored::{CancelScope, ExitStack};
use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;
use tokio_util::sync::CancellationToken;

const IN_FLIGHT: &[u64] = &[10, 100, 10_000];

pub(crate) fn ask(bench: &mut Bench) {
    for n in bench.sizes(IN_FLIGHT) {
        in_flight(bench, *n);
    }
}

fn in_flight(bench: &mut Bench, n: u64) {
    // Without a peer: nothing else runs the exits of what was dropped.
    bench
        .question("a poll with n slow adopted exits in flight", n)
        .custom("moored: CancelScope", |iterations, watch| {
            inside_a_task(|| {
                let (scope, end) = (CancelScope::new(), CancellationToken::new());
                let mut run = pin!(scope.run(async {
                    (0..n).for_each(|_| abandon(&end));
                    pending::<()>().await;
                }));
                assert!(poll(run.as_mut()).is_pending());
                watch.time(|| {
                    for _ in 0..iterations {
                        assert!(poll(run.as_mut()).is_pending());
                    }
                });
                end.cancel();
            });
        })
        .custom("floor: a scope without a handle", |iterations, watch| {
            finish(task(async {
                let (scope, end) = (Scope::default(), CancellationToken::new());
                let mut run = pin!(scope.run(async {
                    (0..n).for_each(|_| abandon_floor(&end));
                    pending::<()>().await;
                }));
                assert!(poll(run.as_mut()).is_pending());
                watch.time(|| {
                    for _ in 0..iterations {
                        assert!(poll(run.as_mut()).is_pending());
                    }
                });
                end.cancel();
            }));
        })
        .ask();
}

fn abandon(end: &CancellationToken) {
    let stack = ExitStack::new();
    let mut run = pin!(stack.run(async {
        stack.defer(end.clone().cancelled_owned());
        pending::<Result<(), Infallible>>().await
    }));
    assert!(poll(run.as_mut()).is_pending());
}

fn abandon_floor(end: &CancellationToken) {
    let stack = Stack::default();
    let mut run = pin!(stack.run(async {
        stack.defer(end.clone().cancelled_owned());
        pending::<()>().await;
    }));
    assert!(poll(run.as_mut()).is_pending());
}
