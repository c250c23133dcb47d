//! The cost of a poll of a region that has adopted exits which wait (R19).
//!
//! `n` exits are in flight. The region is polled because something else has woken it.

use benches::floor::{Scope, Stack};
use benches::{Bench, inside_a_task, poll};
use moored::{CancelScope, ExitStack};
use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;
use tokio_util::sync::CancellationToken;

const IN_FLIGHT: &[u64] = &[10, 100, 10_000];

pub(crate) fn ask(bench: &mut Bench) {
    inside_a_task(|| bench.sizes(IN_FLIGHT).iter().for_each(|n| in_flight(bench, *n)));
}

/// Without a peer: nothing else runs the exits of a future that was dropped.
fn in_flight(bench: &mut Bench, n: u64) {
    let (ours, floor, end) = (CancelScope::new(), Scope::default(), CancellationToken::new());
    let mut ours = pin!(ours.run(async {
        (0..n).for_each(|_| abandon(&end));
        pending::<()>().await;
    }));
    let mut floor = pin!(floor.run(async {
        (0..n).for_each(|_| abandon_floor(&end));
        pending::<()>().await;
    }));
    bench
        .question("a poll with n slow adopted exits in flight", n)
        .each("moored: CancelScope", || assert!(poll(ours.as_mut()).is_pending()))
        .each("floor: a scope without a handle", || assert!(poll(floor.as_mut()).is_pending()))
        .ask();
    end.cancel();
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
