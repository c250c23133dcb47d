//! Chains of regions with times.

use super::{chain_with, in_a_task, nested, on_a_deep_stack, steps_per_region};
use crate::checkpoint::current_deadline;
use crate::scope::{CancelScope, Cancellation, EnteredScope};
use crate::testing::{Hand, MockClock, hand};
use crate::timeout::move_on_after;
use futures::future::FutureExt;
use std::future::pending;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

/// Polls a wait for the cancellation of each scope once.
fn awaited<'a>(scopes: impl IntoIterator<Item = &'a EnteredScope>) -> Vec<Hand<Cancellation>> {
    let wait = |scope: &EnteredScope| {
        let mut wait = hand(scope.handle().cancelled());
        wait.pending();
        wait
    };
    scopes.into_iter().map(wait).collect()
}

/// No deadline; that of the outermost scope comes first; that of the innermost; each has the same.
fn timed(at: usize, which: usize) -> CancelScope {
    let scope = CancelScope::new();
    let minute = Duration::from_secs(60);
    match which {
        0 if at == 0 => scope.timeout(HOUR),
        0 => scope,
        1 => scope.timeout(HOUR + minute * u32::try_from(at).unwrap()),
        2 => scope.timeout(HOUR * 1_000 - minute * u32::try_from(at).unwrap()),
        _ => scope.timeout(HOUR),
    }
}

#[test]
fn r19_waits_in_a_chain_with_deadlines() {
    for which in 0..4 {
        for inside_out in [false, true] {
            steps_per_region(100, |n| {
                in_a_task(|| {
                    let chain = chain_with(n, |at| timed(at, which));
                    let waits = match inside_out {
                        true => awaited(chain.iter().rev()),
                        false => awaited(&chain),
                    };
                    drop((waits, chain));
                });
            });
        }
    }
}

#[test]
fn r19_waits_in_one_region_far_inside_a_deadline() {
    for which in 0..4 {
        steps_per_region(100, |n| {
            in_a_task(|| {
                let chain = chain_with(n, |at| timed(at, which));
                let waits = awaited((0..n).map(|_| &chain[n - 1]));
                drop(waits);
                chain.into_iter().rev().for_each(drop);
            });
        });
    }
}

#[test]
fn r19_questions_in_a_chain_with_deadlines() {
    for which in 0..4 {
        steps_per_region(150, |n| {
            in_a_task(|| {
                let chain = chain_with(n, |at| timed(at, which));
                for scope in &chain {
                    assert!(!scope.handle().is_cancelled());
                    assert!(!scope.handle().is_stop_requested());
                    assert!(scope.handle().reason().is_none());
                    assert!(scope.handle().deadline().is_some());
                    assert!(
                        hand(scope.run(async { current_deadline() })).ready().unwrap().is_some()
                    );
                }
                chain.into_iter().rev().for_each(drop);
            });
        });
    }
}

#[test]
fn r19_a_chain_with_deadlines_that_is_left_from_outside_in_while_it_is_awaited() {
    for which in 0..4 {
        steps_per_region(100, |n| {
            in_a_task(|| {
                let chain = chain_with(n, |at| timed(at, which));
                let waits = awaited(&chain);
                chain.into_iter().for_each(drop);
                drop(waits);
            });
        });
    }
}

#[test]
fn r19_times_that_come_at_once() {
    on_a_deep_stack(|| {
        steps_per_region(100, |n| {
            let clock = MockClock::new();
            let body =
                nested(n, pending().boxed(), |body| move_on_after(HOUR, body).map(|_| ()).boxed());
            let mut run = hand(crate::task::task(body).clock(clock.clone()));
            run.pending();
            clock.advance(HOUR);
            run.drive();
        });
    });
    steps_per_region(100, |n| {
        let clock = MockClock::new();
        let work = async {
            let chain = chain_with(n, |at| timed(at, 3));
            let mut waits = awaited(&chain);
            clock.advance(HOUR);
            waits.iter_mut().rev().for_each(Hand::ready);
            drop((waits, chain));
        };
        hand(crate::task::task(work).clock(clock.clone())).drive();
    });
}
