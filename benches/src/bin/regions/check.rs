//! The cost of a check in a hot loop: `is_cancelled`.
//!
//! `n` is the depth of the region that is asked. In one question two threads ask the same region. Two questions ask
//! after a cancellation that does not concern the region, and beside a thread that cancels 100,000 scopes a second. The
//! last question is the longest answer on one thread while another thread cancels 100,000 children.

use benches::{Bench, ChildTokens, finish, inside_a_task, inside_scopes, on_two_threads, poll};
use futures::future::AbortHandle;
use moored::{CancelHandle, CancelScope, EnteredScope};
use std::future::pending;
use std::hint::black_box;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const DEPTHS: &[u64] = &[1, 8, 64, 512];
const CANCELLED: &[u64] = &[1, 8, 64];

pub(crate) fn ask(bench: &mut Bench) {
    for depth in bench.sizes(DEPTHS) {
        inside_scopes(depth - 1, &mut || handle_of_a_scope(bench, *depth));
        inside_scopes(*depth, &mut || where_the_code_runs(bench, *depth));
    }
    // At the end, because a cancellation before would be in every other figure.
    for depth in bench.sizes(CANCELLED) {
        inside_scopes(depth - 1, &mut || after_a_cancellation(bench, *depth));
        inside_scopes(depth - 1, &mut || beside_cancellations(bench, *depth));
    }
    longest_stall(bench);
}

/// The handle of a scope that runs, asked from one thread and from two.
fn handle_of_a_scope(bench: &mut Bench, depth: u64) {
    let scope = CancelScope::new();
    let handle = scope.handle();
    let mut run = pin!(scope.run(pending::<()>()));
    assert!(poll(run.as_mut()).is_pending());
    let tokens = ChildTokens::chain(depth - 1);
    let token = tokens.innermost();
    let flag = AtomicBool::new(false);
    let (aborted, _registration) = AbortHandle::new_pair();
    bench
        .question("check", depth)
        .each("moored: handle", || black_box(&handle).is_cancelled())
        .each("tokio-util: token", || black_box(token).is_cancelled())
        .each("futures: AbortHandle (no parent)", || black_box(&aborted).is_aborted())
        .each("floor: an atomic flag", || black_box(&flag).load(Ordering::Acquire))
        .ask();
    if depth > 8 {
        return;
    }
    bench
        .question("check, on two threads", depth)
        .custom("moored: handle", |iterations, watch| {
            on_two_threads(iterations, watch, |_, step| {
                for _ in 0..step {
                    black_box(black_box(&handle).is_cancelled());
                }
            });
        })
        .custom("tokio-util: token", |iterations, watch| {
            on_two_threads(iterations, watch, |_, step| {
                for _ in 0..step {
                    black_box(black_box(token).is_cancelled());
                }
            });
        })
        .ask();
    handle.cancel();
    assert!(handle.is_cancelled() && !token.is_cancelled());
}

/// Without a handle: the scopes around the code that asks.
fn where_the_code_runs(bench: &mut Bench, depth: u64) {
    let tokens = ChildTokens::chain(depth);
    let token = tokens.innermost();
    bench
        .question("check of where the code runs", depth)
        .each("moored: is_cancelled", moored::is_cancelled)
        .each("tokio-util: token, passed down by hand", || black_box(token).is_cancelled())
        .ask();
}

/// A region of another task, with a region inside it, was cancelled and is not left.
fn after_a_cancellation(bench: &mut Bench, depth: u64) {
    let elsewhere = std::thread::spawn(|| {
        inside_a_task(|| {
            let (outer, inner) = family(1);
            outer.handle().cancel();
            (outer, inner)
        })
    });
    let elsewhere = elsewhere.join().unwrap();
    ChildTokens::chain(1).0[0].cancel();
    let scope = CancelScope::new();
    let handle = scope.handle();
    let mut run = pin!(scope.run(pending::<()>()));
    assert!(poll(run.as_mut()).is_pending());
    let tokens = ChildTokens::chain(depth - 1);
    let token = tokens.innermost();
    bench
        .question("check, after a cancellation elsewhere", depth)
        .each("moored: handle", || black_box(&handle).is_cancelled())
        .each("moored: is_cancelled", moored::is_cancelled)
        .each("tokio-util: token", || black_box(token).is_cancelled())
        .ask();
    // Left by another task: reported to the hook, and not to the page.
    std::mem::forget(elsewhere);
}

fn beside_cancellations(bench: &mut Bench, depth: u64) {
    let scope = CancelScope::new();
    let handle = scope.handle();
    let mut run = pin!(scope.run(pending::<()>()));
    assert!(poll(run.as_mut()).is_pending());
    let tokens = ChildTokens::chain(depth - 1);
    let token = tokens.innermost();
    beside_cancels(|| {
        bench
            .question("check, beside a thread that cancels 100,000 scopes a second", depth)
            .each("moored: handle", || black_box(&handle).is_cancelled())
            .each("moored: is_cancelled", moored::is_cancelled)
            .each("tokio-util: token", || black_box(token).is_cancelled())
            .ask();
    });
}

/// Does `work` while another thread cancels a scope and a token every ten microseconds; starts when that thread does.
fn beside_cancels(work: impl FnOnce()) {
    const EVERY: Duration = Duration::from_micros(10);
    let cancel = || {
        let (outer, inner) = family(1);
        outer.handle().cancel();
        assert!(inner[0].handle().is_cancelled());
        let parent = CancellationToken::new();
        let child = parent.child_token();
        parent.cancel();
        assert!(child.is_cancelled());
    };
    let (started, done) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            inside_a_task(|| {
                let mut next = Instant::now();
                while !done.load(Ordering::Relaxed) {
                    cancel();
                    started.store(true, Ordering::Release);
                    next += EVERY;
                    while Instant::now() < next && !done.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                }
            });
        });
        while !started.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        work();
        done.store(true, Ordering::Relaxed);
    });
}

/// The longest answer during a cancellation, in the run in which it was shortest, because disturbances only make it
/// longer.
fn longest_stall(bench: &mut Bench) {
    let children = if bench.is_quick() { 1_000 } else { 100_000 };
    inside_a_task(|| {
        bench
            .question("longest check during a cancel of n children", children)
            .least_of(20)
            .custom("moored: handle", |_, watch| {
                let (parent, scopes) = family(children);
                let handle = parent.handle();
                watch.add(stall(&handle, CancelHandle::is_cancelled, CancelHandle::cancel));
                assert!(scopes.iter().all(|scope| scope.handle().is_cancelled()));
            })
            .custom("tokio-util: token", |_, watch| {
                let parent = CancellationToken::new();
                let tokens: Vec<_> = (0..children).map(|_| parent.child_token()).collect();
                watch.add(stall(
                    &parent,
                    CancellationToken::is_cancelled,
                    CancellationToken::cancel,
                ));
                assert!(tokens.iter().all(CancellationToken::is_cancelled));
            })
            .ask();
    });
}

fn family(children: u64) -> (EnteredScope, Vec<EnteredScope>) {
    let parent = CancelScope::new().enter().unwrap();
    let enter = async { (0..children).map(|_| CancelScope::new().enter().unwrap()).collect() };
    let scopes = finish(parent.run(enter)).unwrap();
    (parent, scopes)
}

fn stall<H: Sync>(handle: &H, check: impl Fn(&H) -> bool, cancel: impl Fn(&H) + Sync) -> Duration {
    let (asking, done) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !asking.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
            cancel(handle);
            done.store(true, Ordering::Release);
        });
        let mut longest = Duration::ZERO;
        let (mut last, mut before) = (false, Instant::now());
        while !last {
            last = done.load(Ordering::Acquire);
            black_box(check(handle));
            // From answer to answer: where this thread did not run for a while, that shows, and another run counts.
            let now = Instant::now();
            longest = longest.max(now - before);
            before = now;
            asking.store(true, Ordering::Release);
        }
        assert!(check(handle));
        longest
    })
}
