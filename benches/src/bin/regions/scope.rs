//! The cost of making a future cancellable, at any depth, with and without a deadline.
//!
//! The work is ready at once, so that only entering and leaving are measured. `n` is the depth of the scope.

use benches::{Bench, ChildTokens, Runtimes, finish, inside_scopes, poll};
use futures::future::{AbortHandle, Abortable};
use moored::{CancelScope, move_on_after};
use std::future::ready;
use std::hint::black_box;
use std::pin::pin;
use std::time::{Duration, Instant};
use stop_token::StopSource;
use stop_token::future::FutureExt;

const DEPTHS: &[u64] = &[1, 8, 64, 512];
const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) fn ask(bench: &mut Bench) {
    let runtimes = Runtimes::new().unwrap();
    // For tokio's timer, which a scope uses too inside a runtime.
    let _inside = runtimes.current.enter();
    for depth in bench.sizes(DEPTHS) {
        inside_scopes(depth - 1, &mut || {
            enter_and_leave(bench, *depth);
            with_a_deadline(bench, *depth);
        });
    }
    without_a_task(bench);
    time_out(bench);
}

fn one() -> std::future::Ready<u64> {
    ready(black_box(1))
}

fn enter_and_leave(bench: &mut Bench, depth: u64) {
    let tokens = ChildTokens::chain(depth - 1);
    let parent = tokens.innermost();
    let mut question = bench
        .question("enter and leave", depth)
        .each("moored: scope", || finish(CancelScope::new().run(one())).unwrap())
        .each("moored: scope, a handle taken", || {
            let scope = CancelScope::new();
            let handle = scope.handle();
            (finish(scope.run(one())).unwrap(), handle)
        })
        .each("tokio-util: child token, run_until_cancelled", || {
            finish(parent.child_token().run_until_cancelled(one())).unwrap()
        });
    if depth == 1 {
        // Neither knows of a parent: a program has to pass the outer handle down and check it
        // by hand.
        question = question
            .each("futures: Abortable (no parent)", || {
                let (handle, registration) = AbortHandle::new_pair();
                (finish(Abortable::new(one(), registration)).unwrap(), handle)
            })
            .each("stop-token: timeout_at (no parent)", || {
                let source = StopSource::new();
                (finish(one().timeout_at(source.token())).unwrap(), source)
            });
    }
    question.ask();
}

fn with_a_deadline(bench: &mut Bench, depth: u64) {
    let tokens = ChildTokens::chain(depth - 1);
    let parent = tokens.innermost();
    bench
        .question("enter and leave, with a deadline", depth)
        .each("moored: scope", || finish(CancelScope::new().timeout(HOUR).run(one())).unwrap())
        .each("floor: a scope without one, and a look at the clock", || {
            (finish(CancelScope::new().run(one())).unwrap(), Instant::now())
        })
        .each("tokio + tokio-util: timeout, child token, run_until_cancelled", || {
            let child = parent.child_token();
            finish(tokio::time::timeout(HOUR, child.run_until_cancelled(one()))).unwrap().unwrap()
        })
        .ask();
}

/// Where nothing of the crate is around, the scope is a task of its own.
fn without_a_task(bench: &mut Bench) {
    let parent = ChildTokens::chain(0);
    let parent = parent.innermost();
    bench
        .question("enter and leave, outside every task", 1)
        .each("moored: scope", || finish(CancelScope::new().run(one())).unwrap())
        .each("tokio-util: child token, run_until_cancelled", || {
            finish(parent.child_token().run_until_cancelled(one())).unwrap()
        })
        .ask();
}

fn time_out(bench: &mut Bench) {
    benches::inside_a_task(|| {
        bench
            .question("time-out around a ready future", 1)
            .each("moored: move_on_after", || finish(move_on_after(HOUR, one())).unwrap())
            .each("tokio: timeout", || finish(tokio::time::timeout(HOUR, one())).unwrap())
            .ask();
        // Polled once, so that the timer is armed, and dropped.
        bench
            .question("time-out around a pending future", 1)
            .each("moored: move_on_after", || {
                let mut timed = pin!(move_on_after(HOUR, std::future::pending::<()>()));
                assert!(poll(timed.as_mut()).is_pending());
            })
            .each("tokio: timeout", || {
                let mut timed = pin!(tokio::time::timeout(HOUR, std::future::pending::<()>()));
                assert!(poll(timed.as_mut()).is_pending());
            })
            .ask();
    });
}
