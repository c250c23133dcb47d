//! Many adopted exits that are half-way at once: each is polled when it is woken, and only then (R8, R19).

use crate::support::{Gate, Log, hand, poll_once, yield_now};
use moored::{CancelScope, ExitStack, TaskGroup, task};
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;

const MANY: usize = 100;

/// An exit that counts its polls, and waits for its gate.
fn slow(
    polls: &Arc<AtomicUsize>,
    gate: &Gate,
    log: &Log,
) -> impl Future<Output = ()> + Send + 'static {
    let (polls, log) = (Arc::clone(polls), log.clone());
    let mut gate = Box::pin(gate.wait());
    std::future::poll_fn(move |cx| {
        polls.fetch_add(1, Ordering::SeqCst);
        let polled = gate.as_mut().poll(cx);
        if polled.is_ready() {
            log.add("ended");
        }
        polled
    })
}

/// Abandons a stack with one exit in the region that is current.
async fn abandon(exit: impl Future<Output = ()> + Send + 'static) {
    let stack = ExitStack::new();
    let mut run = Box::pin(stack.run(async {
        stack.defer(exit);
        pending::<Result<(), ()>>().await
    }));
    assert!(poll_once(&mut run).await.is_pending());
}

/// As many exits in flight, each abandoned in a poll of its own.
async fn abandon_many(polls: &Arc<AtomicUsize>, gates: &[Gate], log: &Log) {
    for gate in gates {
        abandon(slow(polls, gate, log)).await;
        yield_now().await;
    }
}

#[test]
fn r19_of_many_adopted_exits_a_poll_polls_those_that_were_woken() {
    let (polls, log, go) = (Arc::default(), Log::new(), Gate::new());
    let gates: Vec<_> = (0..MANY).map(|_| Gate::new()).collect();
    let mut run = hand(task(async {
        abandon_many(&polls, &gates, &log).await;
        go.wait().await;
    }));
    run.idle();
    let before = polls.load(Ordering::SeqCst);
    run.pending();
    run.pending();
    assert_eq!(polls.load(Ordering::SeqCst), before, "nobody was woken");
    gates[MANY / 2].open();
    run.idle();
    assert_eq!(polls.load(Ordering::SeqCst), before + 1);
    assert_eq!(log.lines().len(), 1);
    go.open();
    run.idle();
    gates.iter().for_each(Gate::open);
    run.drive();
    assert_eq!(log.lines().len(), MANY);
    assert_eq!(Arc::strong_count(&run.wakes), 1, "the waker of a task that has ended is kept");
}

#[test]
fn r19_a_kept_waker_of_an_exit_in_flight_does_not_keep_the_task() {
    let kept: Arc<Mutex<Vec<Waker>>> = Arc::default();
    let gates: Vec<_> = (0..MANY).map(|_| Gate::new()).collect();
    let mut run = hand(task(async {
        for gate in &gates {
            let (kept, mut wait) = (Arc::clone(&kept), Box::pin(gate.wait()));
            abandon(std::future::poll_fn(move |cx| {
                kept.lock().unwrap().push(cx.waker().clone());
                wait.as_mut().poll(cx)
            }))
            .await;
            yield_now().await;
        }
    }));
    run.idle();
    // The first few exits were polled with the task's own waker.
    kept.lock().unwrap().clear();
    gates.iter().for_each(Gate::open);
    run.drive();
    assert_eq!(kept.lock().unwrap().len(), MANY);
    assert_eq!(Arc::strong_count(&run.wakes), 1);
}

#[test]
fn r19_exits_that_a_dropped_groups_children_have_begun_are_polled_when_they_are_woken() {
    let (polls, log) = (Arc::default(), Log::new());
    let gates: Vec<_> = (0..MANY).map(|_| Gate::new()).collect();
    let mut run = hand(task(async {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let mut group_run = Box::pin(group.run(async {
            for gate in &gates {
                let (exit, log) = (slow(&polls, gate, &log), &log);
                group.spawn(async move {
                    let stack = ExitStack::new();
                    stack
                        .run(async {
                            stack.defer(exit);
                            log.add("began");
                            Ok::<_, ()>(())
                        })
                        .await
                        .map_err(drop)
                });
            }
            Ok(())
        }));
        for _ in 0..3 {
            assert!(poll_once(&mut group_run).await.is_pending());
        }
        drop(group_run);
        pending::<()>().await;
    }));
    run.idle();
    let before = polls.load(Ordering::SeqCst);
    run.pending();
    assert_eq!(polls.load(Ordering::SeqCst), before, "nobody was woken");
    gates[7].open();
    run.idle();
    assert_eq!(polls.load(Ordering::SeqCst), before + 1);
}

#[test]
fn r08_many_exits_in_flight_go_on_in_the_region_that_adopts_them_next() {
    let (polls, log) = (Arc::default(), Log::new());
    let gates: Vec<_> = (0..MANY).map(|_| Gate::new()).collect();
    let mut run = hand(task(async {
        let scope = CancelScope::new();
        let mut inner = Box::pin(scope.run(async {
            abandon_many(&polls, &gates, &log).await;
            pending::<()>().await;
        }));
        for _ in 0..=MANY {
            assert!(poll_once(&mut inner).await.is_pending());
        }
        gates[..10].iter().for_each(Gate::open);
        assert!(poll_once(&mut inner).await.is_pending());
        drop(inner);
        log.add("handed over");
    }));
    run.pending();
    gates.iter().for_each(Gate::open);
    run.drive();
    assert_eq!(log.lines().len(), MANY + 1);
    assert_eq!(log.lines()[10], "handed over");
}
