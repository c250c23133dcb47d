//! Second panics, after which no caller waits: of a drop after the value was returned, and of an exit after its first
//! panic (R15, R18).

use crate::support::{Gate, Loud, Reports, boom, hand, lose, panic_text, yield_now};
use moored::testing::MockClock;
use moored::{
    CancelScope, Cause, Clock, ExitFailure, ExitStack, ReasonKind, Sleep, TaskGroup, fail_after,
    local, move_on_after, shield, task,
};
use std::future::{Future, pending};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// Ready at once; its drop panics.
struct LoudlyReady(#[allow(dead_code, reason = "its drop is what matters")] Loud);

impl Future for LoudlyReady {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

fn loudly_ready() -> LoudlyReady {
    LoudlyReady(Loud("dropped"))
}

#[test]
fn r15_a_body_that_ends_and_panics_in_its_drop_panics_after_the_exits() {
    let scope = CancelScope::new();
    assert_eq!(panic_text(|| hand(scope.run(loudly_ready())).poll().is_ready()), "dropped");
    assert_eq!(panic_text(|| hand(task(loudly_ready())).poll().is_ready()), "dropped");
    assert_eq!(panic_text(|| hand(shield(loudly_ready())).poll().is_ready()), "dropped");
    let entered = CancelScope::new().enter().unwrap();
    assert_eq!(panic_text(|| hand(entered.run(loudly_ready())).poll().is_ready()), "dropped");
    let left = entered.exit().unwrap();
    assert!(left.reason().is_none(), "a panic does not cancel it");
}

/// Abandons an exit that waits for `gate`, and panics.
async fn panics_with_an_exit_parked(gate: Gate) {
    let stack = ExitStack::new();
    stack.defer(gate.wait());
    lose(stack.run(pending::<Result<(), ()>>())).await;
    boom("of the body")
}

#[test]
fn r15_a_panic_of_a_timed_body_goes_on_when_its_exits_have_run() {
    let gate = Gate::new();
    let mut run = hand(move_on_after(SECOND, panics_with_an_exit_parked(gate.clone())));
    run.pending();
    gate.open();
    assert_eq!(panic_text(|| run.poll().is_ready()), "of the body");
    let gate = Gate::new();
    let mut run = hand(fail_after(SECOND, panics_with_an_exit_parked(gate.clone())));
    run.pending();
    gate.open();
    assert_eq!(panic_text(|| run.poll().is_ready()), "of the body");
}

#[test]
fn r02_a_panic_of_a_body_is_not_lost_where_another_task_polls_its_exits() {
    let gate = Gate::new();
    let scope = CancelScope::new();
    let mut run = Box::pin(scope.run(panics_with_an_exit_parked(gate.clone())));
    let outer = CancelScope::new();
    let mut around = hand(outer.run(async {
        task(async { assert!(crate::support::poll_once(&mut run).await.is_pending()) }).await;
        task(async { run.as_mut().await.unwrap() }).await;
    }));
    around.pending();
    gate.open();
    // The task that owned the exit has adopted it; the panic is resumed.
    assert_eq!(panic_text(|| around.drive()), "of the body");
}

#[test]
fn r02_a_cancelled_run_that_another_task_polls_has_the_wrong_task_as_its_reason() {
    let gate = Gate::new();
    let scope = CancelScope::new().named("misplaced");
    let mut run = Box::pin(scope.run(async {
        let stack = ExitStack::new();
        stack.defer(gate.wait());
        lose(stack.run(pending::<Result<(), ()>>())).await;
        pending::<()>().await
    }));
    let mut owner = hand(task(async {
        assert!(crate::support::poll_once(&mut run).await.is_pending());
        scope.cancel();
        assert!(crate::support::poll_once(&mut run).await.is_pending(), "its exit is parked");
        task(async {
            let cancelled = run.as_mut().await.unwrap_err();
            assert_eq!(cancelled.reason().kind(), ReasonKind::WrongTask);
        })
        .await;
    }));
    owner.pending();
    gate.open();
    owner.drive();
}

#[test]
fn r02_a_shield_that_another_task_polls_panics_with_both_tasks() {
    let mut shielded = Box::pin(shield(pending::<()>()));
    hand(task(async {
        assert!(crate::support::poll_once(&mut shielded).await.is_pending());
    }))
    .drive();
    let text = panic_text(|| hand(task(shielded.as_mut())).poll().is_ready());
    assert!(text.contains(" may not poll shield at "), "{text}");
    assert!(text.contains("it was entered by task "), "{text}");
}

#[test]
fn r15_an_exit_that_panics_and_panics_again_in_its_drop_is_two_failures() {
    let stack = ExitStack::new();
    stack.defer(async {
        let _held = Loud("in its drop");
        yield_now().await;
    });
    struct Both(#[allow(dead_code, reason = "its drop is what matters")] Loud);
    impl Future for Both {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            panic!("in its poll")
        }
    }
    stack.defer(Both(Loud("in its drop, second")));
    let outer = ExitStack::new();
    let mut run = hand(outer.run(async {
        let close = std::panic::AssertUnwindSafe(stack.close());
        let payload = futures::FutureExt::catch_unwind(close).await.unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"in its poll"));
        Ok::<_, &str>(())
    }));
    let failure = run.drive().unwrap_err();
    let texts: Vec<_> = failure.causes().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].ends_with("panicked: in its drop, second"), "{}", texts[0]);
    assert!(texts[1].ends_with("panicked: in its drop"), "{}", texts[1]);
}

#[test]
fn r14_an_exit_that_is_cut_off_and_panics_in_its_drop_is_both_failures() {
    let clock = MockClock::new();
    let outer = ExitStack::new();
    let body = async {
        let run = outer.run(async {
            let stack = ExitStack::new().grace(SECOND);
            stack.defer(async {
                let _held = Loud("cut off");
                pending::<()>().await
            });
            let close = std::panic::AssertUnwindSafe(stack.close());
            let payload = futures::FutureExt::catch_unwind(close).await.unwrap_err();
            assert_eq!(payload.downcast_ref::<String>().map(String::as_str), Some("cut off"));
            Ok::<_, &str>(())
        });
        run.await.unwrap_err()
    };
    let failure = moored::testing::hand(task(body).clock(clock.clone())).drive_with(&clock);
    let causes: Vec<_> = failure.causes().collect();
    assert!(
        matches!(causes[..], [Cause::Exit(ExitFailure::TimedOut { grace: SECOND, .. })]),
        "{failure:?}"
    );
}

/// A clock with timers that panic when they are dropped.
struct LoudClock;

impl Clock for LoudClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, _: Instant) -> Sleep {
        let loud = Loud("a timer's drop");
        Box::pin(async move {
            let _loud = loud;
            pending::<()>().await
        })
    }
}

#[test]
fn r18_a_timer_that_panics_in_its_drop_is_reported_where_the_run_is_dropped() {
    let reports = Reports::watch();
    let scope = CancelScope::new().named("loud-timer").timeout(SECOND);
    let mut run = hand(task(scope.run(pending::<()>())).clock(LoudClock));
    run.pending();
    drop(run);
    let told = reports.of("loud-timer");
    assert!(matches!(&told[..], [one] if one.contains("a timer's drop")), "{told:?}");
}

#[test]
fn r14_a_timer_that_panics_in_its_drop_is_the_failure_of_the_exit_that_it_bounds() {
    let stack = ExitStack::new().grace(SECOND);
    let body = async {
        stack.defer(yield_now());
        Ok::<_, &str>(())
    };
    let failure = hand(task(stack.run(body)).clock(LoudClock)).drive().unwrap_err();
    let text = failure.to_string();
    assert!(text.contains("the clock of its stack's grace panicked: a timer's drop"), "{text}");
    assert_eq!(failure.causes().count(), 1, "{text}");
}

#[test]
fn r15_an_exit_that_ends_and_panics_in_its_drop_has_panicked() {
    let log = crate::support::Log::new();
    let stack = ExitStack::new();
    let body = async {
        stack.defer(log.entry("the next one"));
        stack.defer(loudly_ready());
        Ok::<_, &str>(())
    };
    assert_eq!(panic_text(|| hand(stack.run(body)).drive().is_ok()), "dropped");
    log.is(&["the next one"]);
}

#[test]
fn r15_a_value_that_panics_in_its_drop_beside_a_childs_panic_is_recorded() {
    let outer = ExitStack::new();
    let mut run = hand(outer.run(async {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let inner = group.run(async {
            group.spawn(async {
                let stack = ExitStack::new();
                stack.defer(async { boom("of an exit") });
                lose(stack.run(pending::<Result<(), ()>>())).await;
                Ok(Loud("of the value"))
            });
            Ok(())
        });
        let inner = std::panic::AssertUnwindSafe(inner);
        let payload = futures::FutureExt::catch_unwind(inner).await.unwrap_err();
        assert_eq!(payload.downcast_ref::<String>().map(String::as_str), Some("of an exit"));
        Ok::<_, &str>(())
    }));
    let failure = run.drive().unwrap_err();
    assert_eq!(failure.causes().count(), 1, "{failure:?}");
    assert!(failure.to_string().ends_with("panicked: of the value"), "{failure}");
}

#[test]
fn r15_a_child_that_was_never_polled_and_panics_in_its_drop_is_recorded_around_its_group() {
    let outer = ExitStack::new();
    let mut run = hand(outer.run(async {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let loud = Loud("of a child");
        group.spawn(async move {
            let _loud = loud;
            Ok(())
        });
        drop(group);
        Ok::<_, &str>(())
    }));
    let failure = run.drive().unwrap_err();
    assert!(failure.to_string().ends_with("panicked: of a child"), "{failure}");
}

#[test]
fn r18_a_waker_whose_drop_panics_with_what_panics_in_its_own_drop_does_not_replace_the_value() {
    struct DropsLoudly;
    impl std::task::Wake for DropsLoudly {
        fn wake(self: std::sync::Arc<Self>) {}
    }
    impl Drop for DropsLoudly {
        fn drop(&mut self) {
            std::panic::panic_any(Loud("of what it panicked with"));
        }
    }
    let (scope, gate) = (CancelScope::new(), Gate::new());
    let mut run = Box::pin(scope.run(gate.wait()));
    let waker = Waker::from(std::sync::Arc::new(DropsLoudly));
    assert!(run.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    gate.open();
    let polled = run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Ok(()))), "{polled:?}");
}

/// Polls a future while its thread unwinds.
struct PollsInItsDrop<F: Future<Output = ()>>(Pin<Box<F>>);

impl<F: Future<Output = ()>> Drop for PollsInItsDrop<F> {
    fn drop(&mut self) {
        assert!(self.0.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }
}

#[test]
fn r15_an_exit_that_panics_in_a_task_that_is_polled_while_its_thread_unwinds_is_reported() {
    let reports = Reports::watch();
    let adopts = task(async {
        let stack = ExitStack::new();
        stack.defer(async { boom("during the unwinding") });
        drop(stack);
    });
    let adopts = PollsInItsDrop(Box::pin(adopts.named("unwinds")));
    let text = panic_text(|| {
        let _adopts = adopts;
        boom("first")
    });
    assert_eq!(text, "first");
    let told = reports.of("unwinds");
    assert!(matches!(&told[..], [one] if one.contains("during the unwinding")), "{told:?}");
}

#[test]
fn r15_of_errors_that_panic_in_their_drops_each_is_told_beside_the_panic_of_a_child() {
    let reports = Reports::watch();
    let group: TaskGroup<'_, Loud> = TaskGroup::new().keep_going();
    let mut run = hand(group.run(async {
        for text in ["loud error one", "loud error two"] {
            group.spawn(async move { Err::<(), _>(Loud(text)) });
        }
        group.spawn(async {
            boom("of a third child");
            Ok(())
        });
        Ok(())
    }));
    assert_eq!(panic_text(|| run.poll().is_ready()), "of a third child");
    assert_eq!((reports.of("loud error one").len(), reports.of("loud error two").len()), (1, 1));
}

/// An error that panics when it is dropped.
struct LoudError(#[allow(dead_code, reason = "its drop is what matters")] Loud);

impl std::fmt::Debug for LoudError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a loud error")
    }
}

impl std::fmt::Display for LoudError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for LoudError {}

#[test]
fn r15_an_exits_error_over_the_cap_that_panics_in_its_drop_is_a_panic_of_the_stack() {
    for body in [Ok(()), Err("of the body")] {
        let stack = ExitStack::new().max_causes(1);
        let run = stack.run(async {
            stack.defer(async { Err(LoudError(Loud("over the cap"))) });
            stack.defer(async { Err("first") });
            body
        });
        assert_eq!(panic_text(|| hand(run).drive().is_ok()), "over the cap");
    }
    let stack = local::ExitStack::new().max_causes(1);
    let run = stack.run(async {
        stack.defer(async { Err(LoudError(Loud("over the cap"))) });
        Err::<(), _>("of the body")
    });
    assert_eq!(panic_text(|| hand(run).drive().is_ok()), "over the cap");
    let group: TaskGroup<'_, &str> = TaskGroup::new().max_causes(1);
    let run = group.run(async {
        let stack = ExitStack::new();
        stack.defer(async { Err(LoudError(Loud("over the cap"))) });
        drop(stack);
        Err::<(), _>("of the body")
    });
    assert_eq!(panic_text(|| hand(run).drive().is_ok()), "over the cap");
}
