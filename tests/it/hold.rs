use crate::support::{Gate, Log, Reports, hand, lose, panic_text, yield_now};
use moored::{CancelScope, Cause, ExitFailure, ExitStack, Failure, task};
use std::future::pending;
use std::sync::{Arc, Mutex};

#[test]
fn r14_the_exit_gets_the_held_value_as_it_was_left() {
    let log = Log::new();
    let stack = ExitStack::new();
    let mut value = stack.hold(vec![1], {
        let log = log.clone();
        move |value: Vec<u8>| async move { log.add(format!("{value:?}")) }
    });
    value.push(2);
    assert_eq!(value.len(), 2);
    drop(value);
    log.is(&[]);
    hand(stack.close()).ready().unwrap();
    log.is(&["[1, 2]"]);
}

#[test]
fn r15_a_value_that_is_still_out_is_recorded_and_unwinding_goes_on() {
    let log = Log::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let stack = ExitStack::new();
        stack.defer(log.entry("oldest"));
        let back = log.clone();
        let (held, line) =
            (stack.hold(7, |n: i32| async move { back.add(format!("back: {n}")) }), line!());
        let failure: Failure<()> = stack.run(async { Ok(()) }).await.unwrap_err();
        let Cause::Exit(exit @ ExitFailure::StillHeld { .. }) = failure.cause() else {
            panic!("{failure:?}")
        };
        assert_eq!(exit.registered_at().line(), line);
        log.add("left");
        drop(held);
        log.add("dropped");
        yield_now().await;
        log.add("on");
    }));
    run.drive().unwrap();
    log.is(&["oldest", "left", "dropped", "back: 7", "on"]);
}

#[test]
fn r08_a_value_dropped_while_the_stack_still_unwinds_is_given_back_by_it() {
    let log = Log::new();
    let gate = Gate::new();
    let stack = ExitStack::new();
    stack.defer({
        let gate = gate.clone();
        async move { gate.wait().await }
    });
    let back = log.clone();
    let held = stack.hold((), |()| async move { back.add("back") });
    let mut close = hand(stack.close());
    close.pending();
    log.is(&[]);
    drop(held);
    assert!(close.wakes.count() > 0);
    close.pending();
    log.is(&["back"]);
    gate.open();
    let error = close.ready().unwrap_err();
    assert!(error.to_string().contains("still held"), "{error}");
}

#[test]
fn r08_a_value_dropped_on_another_thread_is_given_back_at_home() {
    let log = Log::new();
    let out = Arc::new(Mutex::new(None));
    let mut run = hand(
        task({
            let (log, out) = (log.clone(), Arc::clone(&out));
            async move {
                let stack = ExitStack::new();
                let back = log.clone();
                let held = stack.hold((), |()| async move {
                    back.add(task::current().unwrap().name().unwrap());
                });
                *out.lock().unwrap() = Some(held);
                stack.close().await.unwrap_err();
                yield_now().await;
                yield_now().await;
            }
        })
        .named("home"),
    );
    run.pending();
    let held = out.lock().unwrap().take();
    std::thread::spawn(move || drop(held)).join().unwrap();
    log.is(&[]);
    run.drive();
    log.is(&["home"]);
}

#[test]
fn r08_a_value_dropped_where_no_region_lives_is_reported_lost() {
    let reports = Reports::watch();
    let stack = ExitStack::new().named("hold-without-home");
    let held = stack.hold((), |()| async {});
    hand(stack.close()).ready().unwrap_err();
    assert_eq!(reports.of("hold-without-home").len(), 0);
    drop(held);
    let lines = reports.of("hold-without-home");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("lost") && lines[0].contains("hold.rs"), "{lines:?}");
}

#[test]
fn r08_a_held_value_of_a_select_loser_goes_back() {
    let log = Log::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        lose(async {
            let stack = ExitStack::new();
            let body = async {
                let back = log.clone();
                let _permit = stack.hold("permit", |what| async move { back.add(what) });
                pending::<Result<(), ()>>().await
            };
            stack.run(body).await
        })
        .await;
        log.add("winner");
        yield_now().await;
        log.add("on");
    }));
    run.drive().unwrap();
    log.is(&["winner", "permit", "on"]);
}

#[test]
fn r14_a_panic_of_the_closure_that_gives_back_is_an_exits_panic() {
    let stack = ExitStack::new();
    drop(stack.hold((), |()| {
        if true {
            panic!("no way back");
        }
        async {}
    }));
    let mut close = hand(stack.close());
    assert_eq!(panic_text(|| close.poll()), "no way back");
}

#[test]
fn r02_try_hold_hands_back_the_value_and_the_closure() {
    let log = Log::new();
    hand(task(async {
        let stack = ExitStack::new();
        stack.defer(log.entry("exit"));
        let back = log.clone();
        let rejected = task(async {
            let give_back = |value: String| async move { back.add(value) };
            stack.try_hold(String::from("value"), give_back).unwrap_err()
        })
        .await;
        let (value, give_back) = rejected.into_inner();
        let held = stack.try_hold(value, give_back).unwrap();
        assert_eq!(*held, "value");
        drop(held);
        stack.close().await.unwrap();
    }))
    .ready();
    log.is(&["value", "exit"]);
}

#[test]
fn r14_held_values_go_back_last_in_first_out_whatever_the_order_of_drops() {
    let log = Log::new();
    let stack = ExitStack::new();
    let give = |what: &'static str| {
        let log = log.clone();
        stack.hold(what, move |what| async move { log.add(what) })
    };
    let (first, second, third) = (give("first"), give("second"), give("third"));
    drop(second);
    drop(third);
    drop(first);
    hand(stack.close()).ready().unwrap();
    log.is(&["third", "second", "first"]);
}

#[test]
fn r14_a_value_whose_exit_never_runs_is_dropped_once() {
    let value = Arc::new(());
    let reports = Reports::watch();
    let stack = ExitStack::new().named("never-run");
    let held = stack.hold(Arc::clone(&value), |_| async {});
    drop(stack);
    assert_eq!(reports.of("never-run").len(), 1);
    assert_eq!(Arc::strong_count(&value), 2);
    drop(held);
    assert_eq!(Arc::strong_count(&value), 1);
}
