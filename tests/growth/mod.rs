//! The work of deep and wide trees, counted in steps from region to region: ten times as many regions take ten times as
//! many steps (R19).

mod requests;
#[cfg(feature = "inspect")]
mod snapshots;
mod times;

use crate::checkpoint::cancelled;
use crate::region::steps_of;
use crate::scope::{CancelScope, EnteredScope, StopRequest};
use crate::shield::shield;
use crate::stack::ExitStack;
use crate::sync::{Arc, AtomicU32, Ordering};
use crate::task::task;
use crate::testing::{Hand, hand};
use crate::timeout::move_on_after;
use futures::channel::oneshot::channel;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use std::future::{Future, pending, ready};
use std::time::Duration;

/// Runs `work` for 100 and for 1,000 regions: one region may take `most` steps. A cancellation in another test ends the
/// shortcuts of all regions, so the run that was disturbed least counts.
#[track_caller]
fn steps_per_region(most: usize, work: impl Fn(usize)) {
    for n in [100, 1_000] {
        let bound = most * n + 100;
        let mut runs = (0..20).map(|_| steps_of(|| work(n)));
        let first = runs.next().unwrap();
        assert!(
            first <= bound || runs.any(|steps| steps <= bound),
            "{first} steps for {n} regions"
        );
    }
}

/// Scopes, each entered inside the one before.
fn chain(n: usize) -> Vec<EnteredScope> {
    chain_in(CancelScope::new(), n)
}

fn chain_in(outermost: CancelScope, n: usize) -> Vec<EnteredScope> {
    let mut outermost = Some(outermost);
    chain_with(n, |_| outermost.take().unwrap_or_default())
}

/// A chain of the scopes that `scope` returns, the outermost one first.
fn chain_with(n: usize, mut scope: impl FnMut(usize) -> CancelScope) -> Vec<EnteredScope> {
    let mut all = vec![scope(0).enter().unwrap()];
    while let (at, true) = (all.len(), all.len() < n) {
        let inner = scope(at);
        let inner = hand(all[at - 1].run(async { inner.enter().unwrap() })).ready().unwrap();
        all.push(inner);
    }
    all
}

/// A stack with an exit, first used inside `outer`.
fn stack_inside(outer: &EnteredScope) -> ExitStack {
    let used = async {
        let stack = ExitStack::new();
        stack.defer(async {});
        stack
    };
    hand(outer.run(used)).ready().unwrap()
}

fn in_a_task(work: impl FnOnce()) {
    hand(task(async { work() })).drive();
}

#[test]
fn r19_exits_that_are_handed_over_through_a_chain_of_scopes() {
    steps_per_region(48, |n| {
        in_a_task(|| {
            let chain = chain(n);
            let stacks: Vec<_> = chain.iter().map(stack_inside).collect();
            drop(stacks);
        });
    });
    steps_per_region(48, |n| {
        in_a_task(|| {
            let chain = chain(n);
            let mut stacks: Vec<_> = chain.iter().map(stack_inside).collect();
            while let Some(innermost) = stacks.pop() {
                drop(innermost);
            }
        });
    });
    steps_per_region(48, |n| {
        in_a_task(|| {
            let chain = chain(n);
            let stacks: Vec<_> = (0..n).map(|_| stack_inside(&chain[n - 1])).collect();
            drop(stacks);
        });
    });
    // Outside every task there is no region that takes them.
    steps_per_region(48, |n| {
        let chain = chain(n);
        let stacks: Vec<_> = chain.iter().map(stack_inside).collect();
        stacks.iter().for_each(|stack| drop(stack.pop_all()));
    });
}

#[test]
fn r19_a_region_that_is_adopted_into_each_scope_of_a_chain() {
    steps_per_region(12, |n| {
        in_a_task(|| {
            let chain = chain(n);
            let mut stack = stack_inside(&chain[0]);
            for scope in &chain {
                let released = stack.release().unwrap();
                stack = hand(scope.run(async { released.adopt() })).ready().unwrap();
            }
        });
    });
}

#[test]
fn r04_exits_inside_a_chain_that_was_adopted_go_to_its_new_home() {
    let mut run = hand(task(async {
        let chain = chain(20);
        let (ran, innermost) = (Arc::new(AtomicU32::new(0)), &chain[19]);
        let stack_inside = || {
            let ran = Arc::clone(&ran);
            let used = async {
                let stack = ExitStack::new();
                stack.defer(async move {
                    ran.fetch_add(1, Ordering::SeqCst);
                });
                stack
            };
            hand(innermost.run(used)).ready().unwrap()
        };
        let (first, second) = (stack_inside(), stack_inside());
        // The walk to the task leaves shortcuts in the scopes.
        drop(first);
        let mut chain = chain.into_iter();
        let released = chain.next().unwrap().release().unwrap();
        let home = CancelScope::new();
        let adopts = async {
            let outermost = released.adopt();
            drop(second);
            outermost
        };
        let outermost = home.run(adopts).await.unwrap();
        assert_eq!(ran.load(Ordering::SeqCst), 1, "it runs before its home is left");
        drop((outermost, chain));
    }));
    run.drive();
}

type Body = BoxFuture<'static, ()>;

/// `n` regions inside each other, with the future of `wrap` around each.
fn nested(n: usize, innermost: Body, wrap: fn(Body) -> Body) -> Body {
    (0..n).fold(innermost, |body, _| wrap(body))
}

const WRAPS: [fn(Body) -> Body; 3] = [
    |body| async move { drop(CancelScope::new().run(body).await) }.boxed(),
    |body| move_on_after(Duration::from_secs(3_600), body).map(|_| ()).boxed(),
    |body| {
        let stack = async move {
            let stack = ExitStack::new();
            let body = async {
                stack.defer(async {});
                body.map(Ok::<_, ()>).await
            };
            stack.run(body).await.unwrap();
        };
        stack.boxed()
    },
];

/// Futures inside each other need a deep stack.
fn on_a_deep_stack(work: fn()) {
    let thread = std::thread::Builder::new().stack_size(1 << 28);
    thread.spawn(work).unwrap().join().unwrap();
}

#[test]
fn r19_nested_runs_that_are_dropped() {
    on_a_deep_stack(|| {
        for wrap in WRAPS {
            steps_per_region(16, |n| {
                let body = nested(n, pending().boxed(), wrap);
                in_a_task(|| {
                    let mut run = hand(body);
                    run.pending();
                    drop(run);
                });
            });
        }
    });
}

#[test]
fn r19_nested_runs_that_are_cancelled_from_outside() {
    on_a_deep_stack(|| {
        for wrap in WRAPS {
            steps_per_region(24, |n| {
                let waits = cancelled().then(|()| pending()).boxed();
                let scope = CancelScope::new();
                let mut run = hand(scope.run(nested(n, waits, wrap)));
                run.pending();
                scope.cancel();
                assert!(run.drive().is_err());
            });
        }
    });
}

/// Shields in a cancelled body that end one after the other; `shielded` makes each of them.
fn shields_that_end<F>(
    n: usize,
    first_to_last: bool,
    shielded: impl Fn(BoxFuture<'static, ()>) -> F,
) where
    F: Future<Output = ()>,
{
    let (mut ends, waits): (Vec<_>, Vec<_>) = (0..n).map(|_| channel::<()>()).unzip();
    let shields = waits.into_iter().map(|end| shielded(end.map(drop).boxed()));
    let shields: FuturesUnordered<_> = shields.collect();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(shields.for_each(|()| ready(()))));
    run.pending();
    scope.cancel();
    if first_to_last {
        ends.reverse();
    }
    while let Some(end) = ends.pop() {
        if !ends.is_empty() {
            run.pending();
        }
        end.send(()).unwrap();
    }
    assert!(run.drive().is_ok());
}

#[test]
fn r19_a_cancelled_body_with_many_shields_that_ends_one_of_them_after_the_other() {
    for first_to_last in [false, true] {
        steps_per_region(12, |n| shields_that_end(n, first_to_last, shield));
    }
}

#[test]
fn r19_a_cancelled_body_with_many_scopes_that_ends_the_shield_in_one_of_them_after_the_other() {
    for first_to_last in [false, true] {
        let in_a_scope = |end| async { CancelScope::new().run(shield(end)).await.unwrap() };
        steps_per_region(40, |n| shields_that_end(n, first_to_last, in_a_scope));
    }
}

/// Polls a wait of each scope once: for a stop, because a wait for a cancellation looks for the times around it.
fn awaited(scopes: &[EnteredScope]) -> Vec<Hand<StopRequest>> {
    let wait = |scope: &EnteredScope| {
        let mut wait = hand(scope.handle().stop_requested());
        wait.pending();
        wait
    };
    scopes.iter().map(wait).collect()
}

#[test]
fn r19_awaited_scopes_around_which_a_chain_is_left_from_outside_in() {
    // Nothing around them; a deadline; a stop; a cancellation beyond a shield.
    for around in 0..4 {
        steps_per_region(24, |n| {
            let work = || {
                let outer = CancelScope::new().enter().unwrap();
                let first = CancelScope::new();
                let first = if around == 3 { first.shielded() } else { first };
                let chain = hand(outer.run(async { chain_in(first, n) })).ready().unwrap();
                let mut chain = chain.into_iter();
                let kept = if around == 3 { chain.next() } else { None };
                let waits = awaited(chain.as_slice());
                match around {
                    2 => outer.handle().stop(),
                    3 => outer.handle().cancel(),
                    _ => {}
                }
                chain.for_each(drop);
                drop((waits, kept, outer));
            };
            let time = if around == 1 { Duration::from_secs(3_600) } else { Duration::MAX };
            in_a_task(|| {
                let scope = CancelScope::new().timeout(time);
                hand(scope.run(async { work() })).ready().unwrap();
            });
        });
    }
}

#[test]
fn r19_waits_and_questions_that_come_after_one_cancellation_around() {
    steps_per_region(48, |n| {
        in_a_task(|| {
            let chain = chain(n);
            let wait = |scope: &EnteredScope| hand(scope.handle().cancelled());
            let mut waits: Vec<_> = chain.iter().map(wait).collect();
            waits.iter_mut().for_each(Hand::pending);
            chain[0].handle().cancel();
            waits.iter_mut().for_each(|wait| wait.ready());
        });
    });
    // All of them in the innermost scope, and from the innermost one outwards.
    steps_per_region(48, |n| {
        in_a_task(|| {
            let chain = chain(n);
            let innermost = &chain[n - 1];
            let mut waits: Vec<_> = (0..n).map(|_| hand(innermost.handle().cancelled())).collect();
            waits.iter_mut().for_each(Hand::pending);
            chain[0].handle().cancel();
            waits.iter_mut().for_each(|wait| wait.ready());
            assert!(chain.iter().rev().all(|scope| scope.handle().is_cancelled()));
            assert!(chain.iter().all(|scope| scope.handle().reason().is_some()));
        });
    });
    steps_per_region(48, |n| {
        in_a_task(|| {
            let chain = chain(n);
            let mut waits = awaited(&chain);
            chain[0].handle().stop();
            waits.iter_mut().for_each(|wait| wait.ready());
            assert!(chain.iter().rev().all(|scope| scope.handle().is_stop_requested()));
        });
    });
}
