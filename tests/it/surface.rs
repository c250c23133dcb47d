//! Texts and places that users see: the task that a spawn or turn belongs to, the place of a panic, and names with
//! control characters (R2, R8, R16).

use crate::support::{Executor, Gate, Log, Reports, hand, panic_text, poll_once, yield_now};
use moored::{CancelScope, ExitStack, TaskGroup, local, task};
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Waker};

// The order of a limit.

#[test]
fn r16_a_limit_goes_by_the_order_of_spawns_in_the_task_and_on_executors_alike() {
    let (log, gate, exec) = (Log::new(), Gate::new(), Executor::new());
    let group: TaskGroup<'_, ()> = TaskGroup::new().limit(1);
    let mut run = hand(group.run(async { Ok(()) }));
    let child = |name: &'static str| {
        let (log, gate) = (log.clone(), gate.clone());
        async move {
            log.add(name);
            gate.wait().await;
            Ok(())
        }
    };
    group.spawn(child("in the task"));
    group.spawn_on(&exec, child("on an executor"));
    group.spawn(child("in the task, later"));
    // The executor comes first, and its child waits for the one that was spawned before it.
    exec.run();
    log.is(&[]);
    run.pending();
    log.is(&["in the task"]);
    gate.open();
    run.pending();
    exec.run();
    run.drive().unwrap();
    log.is(&["in the task", "on an executor", "in the task, later"]);
}

#[test]
fn r16_a_child_that_was_spawned_before_the_limit_was_set_goes_first() {
    let (log, exec) = (Log::new(), Executor::new());
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let child = |name: &'static str| {
        let log = log.clone();
        async move {
            log.add(name);
            yield_now().await;
            Ok(())
        }
    };
    group.spawn(child("before"));
    let group = group.limit(1);
    group.spawn_on(&exec, child("after"));
    let mut run = hand(group.run(async { Ok(()) }));
    run.pending();
    exec.run();
    run.pending();
    exec.run();
    run.drive().unwrap();
    log.is(&["before", "after"]);
}

#[test]
fn r16_an_executor_child_that_is_dropped_unpolled_gives_its_place_in_the_line_up() {
    let exec = Executor::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new().limit(1);
    group.spawn_on(&exec, async { Ok(()) });
    let second = group.spawn(async { Ok(()) });
    let mut run = hand(group.run(async { Ok(()) }));
    run.pending();
    assert!(!second.is_finished());
    exec.shut_down();
    run.drive().unwrap();
    assert!(second.is_finished());
}

// Places of panics.

/// The file and line of the panic that `f` ends with, as the panic hook gets them.
fn place_of(f: impl FnOnce()) -> (String, u32) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    std::thread_local! {
        static PLACE: std::cell::RefCell<Option<(String, u32)>> = const { std::cell::RefCell::new(None) };
    }
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(|at| (at.file().to_owned(), at.line()));
        PLACE.set(place);
    }));
    let caught = catch_unwind(AssertUnwindSafe(f));
    std::panic::set_hook(before);
    assert!(caught.is_err());
    PLACE.take().unwrap()
}

#[track_caller]
fn panics_here(f: impl FnOnce()) {
    let expected = std::panic::Location::caller();
    let (file, line) = place_of(f);
    assert!(
        file.ends_with("surface.rs") && line.abs_diff(expected.line()) <= 3,
        "{file}:{line}, not {expected}"
    );
}

#[test]
fn r02_a_refusal_panics_at_its_callers_place() {
    let stack = ExitStack::new();
    let kept = local::ExitStack::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let of_local: local::TaskGroup<'_, ()> = local::TaskGroup::new();
    let exec = Executor::new();
    hand(stack.run(async { Ok::<_, ()>(()) })).ready().unwrap();
    hand(kept.run(async { Ok::<_, ()>(()) })).ready().unwrap();
    hand(group.run(async { Ok(()) })).ready().unwrap();
    hand(of_local.run(async { Ok(()) })).ready().unwrap();
    panics_here(|| stack.defer(async {}));
    panics_here(|| stack.defer_with(|_| async {}));
    panics_here(|| drop(stack.hold(1, |_| async {})));
    panics_here(|| drop(stack.hold_with(1, |_, _| async {})));
    panics_here(|| drop(stack.pop_all()));
    panics_here(|| kept.defer(async {}));
    panics_here(|| kept.defer_with(|_| async {}));
    panics_here(|| drop(kept.hold(1, |_| async {})));
    panics_here(|| drop(kept.pop_all()));
    panics_here(|| drop(group.spawn(async { Ok(()) })));
    panics_here(|| drop(group.spawn_on(&exec, async { Ok(()) })));
    panics_here(|| drop(group.start(|_: moored::Ready<'_, ()>| async { Ok(()) })));
    panics_here(|| drop(of_local.spawn(async { Ok(()) })));
}

#[test]
fn r01_a_second_run_panics_where_it_is_awaited() {
    fn poll(future: impl Future) {
        let awaited = async { drop(future.await) };
        let _ = pin!(awaited).poll(&mut Context::from_waker(Waker::noop()));
    }
    let scope = CancelScope::new();
    let stack = ExitStack::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    poll(scope.run(async {}));
    poll(stack.run(async { Ok::<_, ()>(()) }));
    poll(group.run(async { Ok(()) }));
    for second in [
        place_of(|| poll(scope.run(async {}))),
        place_of(|| poll(stack.run(async { Ok::<_, ()>(()) }))),
        place_of(|| poll(group.run(async { Ok(()) }))),
    ] {
        assert!(second.0.ends_with("surface.rs"), "{second:?}");
    }
    let text = panic_text(|| poll(scope.run(async {})));
    assert_eq!(text.matches("surface.rs").count(), 2, "both places: {text}");
}

// Advice, numbers, names.

#[test]
fn r02_a_foreign_spawn_is_told_of_the_spawner() {
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut owner = hand(task(async {
        group
            .run(async {
                task(async {
                    let rejected = group.try_spawn(async { Ok(()) }).unwrap_err().to_string();
                    assert!(rejected.contains("`spawner()`"), "{rejected}");
                    assert!(!rejected.contains("`release`"), "{rejected}");
                })
                .await;
                Ok(())
            })
            .await
            .unwrap();
    }));
    owner.drive();
}

#[test]
fn r08_a_lost_exit_names_its_stack_and_its_task_by_number() {
    let reports = Reports::watch();
    let mut number = String::new();
    let mut run = hand(task(async {
        number = moored::task::current().unwrap().to_string();
        let stack = ExitStack::new().named("lost in a task");
        stack.defer(async {});
        pending::<()>().await
    }));
    run.pending();
    drop(run);
    let told = reports.of("lost in a task");
    let [one] = &told[..] else { panic!("{told:?}") };
    assert!(one.starts_with("1 exit of "), "{one}");
    assert!(one.ends_with(&format!(" in exit stack `lost in a task` of {number}")), "{one}");
}

const HOSTILE: &str = "a\nb\u{1b}[31m\u{85}\u{2028}c";
const ESCAPED: &str = "a\\nb\\u{1b}[31m\\u{85}\\u{2028}c";

#[track_caller]
fn is_escaped(text: &str) {
    assert!(text.contains(ESCAPED), "{text:?}");
    assert!(!text.chars().any(|char| char.is_control() || char == '\u{2028}'), "{text:?}");
}

#[test]
fn names_are_escaped_wherever_they_are_shown() {
    let reports = Reports::watch();
    let mut run = hand(
        task(async {
            let id = moored::task::current().unwrap();
            assert_eq!(id.name(), Some(HOSTILE));
            is_escaped(&id.to_string());
            is_escaped(&format!("{id:?}"));
            let stack = ExitStack::new().named(HOSTILE);
            stack.defer(async {});
            let rejected = task(async { stack.try_defer(async {}).unwrap_err() }).await;
            is_escaped(&rejected.to_string());
            let scope = CancelScope::new();
            scope.cancel_because(HOSTILE);
            is_escaped(&scope.handle().reason().unwrap().to_string());
            assert!(poll_once(&mut Box::pin(scope.run(pending::<()>()))).await.is_ready());
            #[cfg(feature = "inspect")]
            {
                let open = moored::inspect::snapshot();
                let text = open.to_string();
                assert!(text.contains(ESCAPED) && !text.contains(HOSTILE), "{text}");
                let json = open.to_json();
                assert!(
                    !json.chars().any(|char| char.is_control() || char == '\u{2028}'),
                    "{json:?}"
                );
                assert!(json.contains("a\\nb\\u001b[31m\\u0085\\u2028c"), "{json}");
            }
            pending::<()>().await
        })
        .named(HOSTILE),
    );
    run.pending();
    drop(run);
    is_escaped(&reports.of("[31m")[0]);
}
