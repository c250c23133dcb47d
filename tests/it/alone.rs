//! Tasks and time limits that nobody but their own run can reach, polled where they were entered and elsewhere (R1, R2, R7, R8).

use crate::support::{Gate, Log, Reports, as_owner, hand, lose, poll_once, yield_now};
use moored::{CancelScope, ExitStack, current_deadline, fail_after, move_on_after, task};
use std::future::{Future, pending};
use std::pin::Pin;
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3_600);

/// Tells its deadline in every poll.
async fn deadlines(told: &std::cell::RefCell<Vec<Option<Instant>>>) {
    for _ in 0..3 {
        told.borrow_mut().push(current_deadline());
        yield_now().await;
    }
}

#[test]
fn r01_a_time_limit_stays_inside_what_it_was_entered_in_wherever_it_is_polled() {
    let told = std::cell::RefCell::new(Vec::new());
    let soon = Instant::now() + HOUR;
    as_owner(async {
        let mut lent = Box::pin(move_on_after(HOUR * 9, deadlines(&told)));
        let scope = CancelScope::new().deadline(soon);
        let mut around = Box::pin(scope.run(async {
            assert!(poll_once(&mut lent).await.is_pending());
            assert!(poll_once(&mut lent).await.is_pending());
            pending::<()>().await;
        }));
        assert!(poll_once(&mut around).await.is_pending());
        // Its parent is alive, though not what is current here.
        drop(around);
        let _ = poll_once(&mut lent).await;
    });
    let told = told.into_inner();
    assert_eq!(told[..2], [Some(soon); 2]);
    assert!(told[2] > Some(soon), "the scope around it was left");
}

#[test]
fn r07_a_time_limit_that_was_lent_goes_on_after_what_it_was_lent_to() {
    let (log, gate) = (Log::new(), Gate::new());
    let mut run = hand(task(async {
        let mut lent = Box::pin(fail_after(HOUR, {
            let (log, gate) = (log.clone(), gate.clone());
            async move {
                gate.wait().await;
                let stack = ExitStack::new();
                stack.defer(log.entry("exit"));
                let went_on = stack.run(async { Ok::<_, ()>(moored::is_cancelled()) }).await;
                log.add(format!("cancelled {went_on:?}"));
            }
        }));
        let scope = CancelScope::new();
        let lost = scope.run(async {
            assert!(poll_once(&mut lent).await.is_pending());
            scope.cancel();
            pending::<()>().await;
        });
        lost.await.unwrap_err();
        gate.open();
        lent.await.unwrap();
    }));
    run.drive();
    log.is(&["exit", "cancelled Ok(false)"]);
}

#[test]
fn r02_another_task_does_not_poll_a_time_limit_that_is_pending() {
    let reports = Reports::watch();
    let log = Log::new();
    let mut limit = Box::pin(move_on_after(HOUR, {
        let dropped = log.on_drop("dropped");
        async move {
            pending::<()>().await;
            drop(dropped);
        }
    }));
    as_owner(async {
        assert!(poll_once(&mut limit).await.is_pending());
        assert!(poll_once(&mut limit).await.is_pending());
    });
    let mut thief = hand(task(limit).named("alone thief"));
    assert_eq!(thief.ready(), None);
    log.is(&["dropped"]);
    assert_eq!(reports.of("alone thief").len(), 1, "{:?}", reports.of("alone thief"));
}

#[test]
fn r02_a_time_limit_that_is_pending_and_dropped_by_another_task_is_told_of() {
    let reports = Reports::watch();
    let mut limit = Box::pin(move_on_after(HOUR, pending::<()>()));
    as_owner(async { assert!(poll_once(&mut limit).await.is_pending()) });
    hand(task(async { drop(limit) }).named("dropping thief")).ready();
    assert_eq!(reports.of("dropping thief").len(), 1);
}

#[test]
fn r05_a_task_that_is_pending_may_move_to_where_another_one_is_current() {
    let id = std::cell::Cell::new(None);
    let mut moves: Pin<Box<dyn Future<Output = ()> + '_>> = Box::pin(task(async {
        id.set(moored::task::current());
        yield_now().await;
        assert_eq!(moored::task::current(), id.take(), "the same task");
        let scope = CancelScope::new().enter().unwrap();
        assert!(scope.exit().is_ok());
    }));
    let mut first = hand(poll_once(&mut moves));
    assert!(first.ready().is_pending());
    drop(first);
    as_owner(moves);
}

#[test]
fn r08_what_a_pending_time_limit_leaves_behind_runs_in_what_it_was_entered_in() {
    for polled_before in [false, true] {
        let log = Log::new();
        let mut run = hand(task(async {
            let body = async {
                if polled_before {
                    yield_now().await;
                }
                let stack = ExitStack::new();
                stack.defer(log.entry("exit"));
                pending::<()>().await;
            };
            let mut limit = Box::pin(move_on_after(HOUR, body));
            for _ in 0..2 {
                assert!(poll_once(&mut limit).await.is_pending());
            }
            drop(limit);
            yield_now().await;
            log.add("body");
        }));
        run.drive();
        log.is(&["exit", "body"]);
    }
}

#[test]
fn r08_an_exit_that_the_drop_of_a_pending_time_limit_registers_runs() {
    struct Late(Log);
    impl Drop for Late {
        fn drop(&mut self) {
            let stack = ExitStack::new();
            stack.defer(self.0.entry("late"));
        }
    }
    let log = Log::new();
    let mut run = hand(task(async {
        let late = Late(log.clone());
        let mut limit = Box::pin(move_on_after(HOUR, async move {
            pending::<()>().await;
            drop(late);
        }));
        assert!(poll_once(&mut limit).await.is_pending());
        drop(limit);
    }));
    run.drive();
    log.is(&["late"]);
}

#[test]
fn r15_the_panic_of_a_drop_in_a_pending_time_limit_is_told_of_once() {
    let reports = Reports::watch();
    let mut run = hand(task(async {
        let loud = crate::support::Loud("alone and loud");
        let mut limit = Box::pin(move_on_after(HOUR, async move {
            pending::<()>().await;
            drop(loud);
        }));
        assert!(poll_once(&mut limit).await.is_pending());
        drop(limit);
    }));
    run.drive();
    assert_eq!(reports.of("alone and loud").len(), 1);
}

/// With `inspect` or `tracing` every region has a node, which keeps the waker.
#[cfg(not(any(feature = "inspect", feature = "tracing")))]
#[test]
fn r19_nobody_keeps_the_waker_of_a_task_that_nobody_can_reach() {
    let mut run = hand(task(pending::<()>()));
    run.pending();
    run.pending();
    assert_eq!(std::sync::Arc::strong_count(&run.wakes), 1);
}

/// tokio's timer, because it wakes nobody when it was dropped. The timer thread may still do so.
#[tokio::test(start_paused = true)]
async fn r19_the_timer_of_a_time_limit_whose_body_has_ended_wakes_nobody() {
    let gate = Gate::new();
    let with_a_node = async {
        let inside = CancelScope::new().enter().unwrap();
        yield_now().await;
        assert!(inside.exit().is_ok());
    };
    let with_an_exit = async {
        yield_now().await;
        let stack = ExitStack::new();
        stack.defer(gate.wait());
        lose(stack.run(pending::<Result<(), ()>>())).await;
    };
    let bodies: [Pin<Box<dyn Future<Output = ()> + '_>>; 3] =
        [Box::pin(yield_now()), Box::pin(with_a_node), Box::pin(with_an_exit)];
    for (number, body) in bodies.into_iter().enumerate() {
        let mut limit = hand(move_on_after(HOUR, body));
        limit.pending();
        assert_eq!(limit.poll().is_pending(), number == 2, "body {number}: only its exit waits");
        let before = limit.wakes.count();
        tokio::time::advance(HOUR * 2).await;
        assert_eq!(limit.wakes.count(), before, "body {number}");
        if number == 2 {
            gate.open();
            assert!(limit.drive().is_some());
        }
    }
}
