//! Chains of regions of which each gets a request of its own, and shields inside each other.

use super::{awaited, chain, chain_with, in_a_task, on_a_deep_stack, steps_per_region};
use crate::region::steps_of;
use crate::scope::{CancelScope, EnteredScope};
use crate::shield::shield;
use crate::task::task;
use crate::testing::{Hand, MockClock, hand};
use futures::channel::oneshot::{Receiver, channel};
use futures::future::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use std::future::poll_fn;
use std::time::Duration;

/// Each scope of a chain, with two waits in each, gets a request of its own; the waits look, and the chain is left from outside
/// in.
fn each_asked(n: usize, inside_out: bool, ask: fn(&EnteredScope)) {
    in_a_task(|| {
        let chain = chain(n);
        let wait = |scope: &EnteredScope| hand(scope.handle().cancelled());
        let mut waits: Vec<_> = chain.iter().map(wait).collect();
        waits.iter_mut().for_each(Hand::pending);
        let mut stops = awaited(&chain);
        match inside_out {
            true => chain.iter().rev().for_each(ask),
            false => chain.iter().for_each(ask),
        }
        waits.iter_mut().for_each(|wait| _ = wait.poll());
        stops.iter_mut().for_each(|wait| _ = wait.poll());
        chain.into_iter().for_each(drop);
    });
}

#[test]
fn r19_a_chain_in_which_each_scope_is_cancelled() {
    for inside_out in [false, true] {
        steps_per_region(100, |n| each_asked(n, inside_out, |scope| scope.handle().cancel()));
    }
}

#[test]
fn r19_a_chain_in_which_each_scope_is_stopped() {
    for inside_out in [false, true] {
        steps_per_region(100, |n| each_asked(n, inside_out, |scope| scope.handle().stop()));
    }
}

#[test]
fn r07_a_scope_inside_a_cancelled_one_that_is_cancelled_itself_wakes_the_waits_inside_once() {
    let mut run = hand(crate::task::task(async {
        let chain = chain(30);
        let mut waits: Vec<_> =
            chain.iter().map(|scope| hand(scope.handle().cancelled())).collect();
        waits.iter_mut().for_each(Hand::pending);
        let mut chain = chain.into_iter();
        let (outermost, second) = (chain.next().unwrap(), chain.next().unwrap());
        outermost.handle().cancel();
        second.handle().cancel();
        assert!(waits.iter().all(|wait| wait.wakes() == 1));
        // The wait looks once more only after the outermost one has left, and finds the other one.
        drop(outermost);
        waits.iter_mut().skip(1).for_each(Hand::ready);
        drop((second, chain));
    }));
    run.drive();
}

#[test]
fn r19_shields_inside_each_other_that_end_one_after_the_other() {
    on_a_deep_stack(|| {
        for n in [50, 200] {
            let (ends, waits): (Vec<_>, Vec<_>) = (0..n).map(|_| channel::<()>()).unzip();
            let innermost = async {}.boxed();
            let body = waits.into_iter().fold(innermost, |body, end| {
                let both = async move {
                    body.await;
                    end.await.unwrap();
                };
                shield(both).boxed()
            });
            let scope = CancelScope::new();
            let mut run = hand(scope.run(body));
            run.pending();
            scope.cancel();
            // Each poll goes through all of them that are left, as each poll of futures inside each other.
            let steps = steps_of(|| {
                for end in ends {
                    run.pending();
                    end.send(()).unwrap();
                }
                assert!(run.drive().is_ok());
            });
            assert!(steps <= 24 * n, "{steps} steps for {n} shields");
        }
    });
}

/// Scopes that are shields, each entered inside the one before, with a wait in each, inside `outer`; `ask` makes a request.
fn chain_of_shields(n: usize, inside_out: bool, ask: fn(&EnteredScope)) {
    in_a_task(|| {
        let outer = CancelScope::new().enter().unwrap();
        let shields = async { chain_with(n, |_| CancelScope::new().shielded()) };
        let mut shields = hand(outer.run(shields)).ready().unwrap();
        let mut waits = awaited(&shields);
        ask(&outer);
        waits.iter_mut().for_each(|wait| _ = wait.poll());
        if inside_out {
            shields.reverse();
        }
        shields.into_iter().for_each(drop);
        drop((waits, outer));
    });
}

#[test]
fn r19_a_chain_of_shields_that_were_entered_by_a_call() {
    for inside_out in [false, true] {
        steps_per_region(40, |n| chain_of_shields(n, inside_out, |_| ()));
        steps_per_region(40, |n| chain_of_shields(n, inside_out, |outer| outer.handle().cancel()));
        steps_per_region(40, |n| chain_of_shields(n, inside_out, |outer| outer.handle().stop()));
    }
}

#[test]
fn r19_shields_that_take_longer_to_be_polled_than_a_cancelled_region_waits_for_them() {
    steps_per_region(30, |n| {
        let (clock, scope) = (MockClock::new(), CancelScope::new());
        let (ends, waits): (Vec<_>, Vec<_>) = (0..n).map(|_| channel::<()>()).unzip();
        let body = async {
            let slow = |mut end: Receiver<()>| {
                let clock = clock.clone();
                shield(poll_fn(move |cx| {
                    clock.advance(Duration::from_millis(2));
                    end.poll_unpin(cx).map(drop)
                }))
            };
            let mut all: FuturesUnordered<_> = waits.into_iter().map(slow).collect();
            while all.next().await.is_some() {}
        };
        let mut run = hand(task(scope.run(body)).clock(clock.clone()));
        run.pending();
        scope.cancel();
        for end in ends {
            run.pending();
            end.send(()).unwrap();
        }
        assert!(run.drive().is_ok());
    });
}
