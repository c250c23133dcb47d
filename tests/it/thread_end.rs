//! Polls during thread exit, in the drop of a thread-local. Some thread-locals of the crate and of the runtime are
//! destroyed by then, and nothing panics (R18).

use crate::support::{Gate, Log, hand};
use moored::{CancelScope, ExitStack, TaskGroup, move_on_after, task};
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

struct AtTheEnd(RefCell<Option<Box<dyn FnOnce()>>>);

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        if let Some(work) = self.0.borrow_mut().take() {
            work();
        }
    }
}

std::thread_local! {
    static AT_THE_END: AtTheEnd = const { AtTheEnd(RefCell::new(None)) };
}

/// Runs `work` at the end of a thread that has called `before`. Thread-locals are dropped in reverse order of their
/// first use: those of `before` first, then the one that calls `work`.
fn at_the_end(before: fn(), work: impl FnOnce() + Send + 'static) {
    let (told, done) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let work = move || {
            work();
            told.send(()).unwrap();
        };
        AT_THE_END.with(|end| *end.0.borrow_mut() = Some(Box::new(work)));
        before();
    });
    // A panic in the drop of a thread-local ends the process.
    thread.join().unwrap();
    done.recv().unwrap();
}

/// Makes this thread's list of drafts.
fn uses_scopes() {
    hand(CancelScope::new().run(async { CancelScope::new().run(async {}).await.unwrap() }))
        .ready()
        .unwrap();
}

#[test]
fn r18_a_scope_at_the_end_of_its_thread_is_entered_once() {
    at_the_end(uses_scopes, || hand(CancelScope::new().run(async {})).ready().unwrap());
    at_the_end(uses_scopes, || {
        let stack = ExitStack::new();
        let body = async {
            let scope = CancelScope::new();
            scope.run(async {}).await.unwrap();
            scope.handle().cancel();
            assert!(!scope.is_cancelled(), "it has been left");
            Ok::<_, Infallible>(())
        };
        hand(stack.run(body)).ready().unwrap();
    });
    at_the_end(uses_scopes, || {
        let group = TaskGroup::<Infallible>::new();
        let body = async {
            let child =
                group.spawn(async { Ok(CancelScope::new().run(async { 1 }).await.unwrap()) });
            Ok(child.join().await.unwrap())
        };
        assert_eq!(hand(group.run(body)).drive().unwrap(), 1);
    });
}

/// Polls a stack inside another one.
fn uses_stacks_in_stacks() {
    uses_scopes();
    let (outer, inner) = (ExitStack::new(), ExitStack::new());
    let body = async {
        inner.run(async { Ok::<_, Infallible>(()) }).await.unwrap();
        Ok::<_, Infallible>(())
    };
    hand(outer.run(body)).ready().unwrap();
}

#[test]
fn r18_a_stack_in_a_stack_at_the_end_of_its_thread_keeps_the_order_of_its_exits() {
    let log = Log::new();
    let entries = log.clone();
    at_the_end(uses_stacks_in_stacks, move || {
        let (outer, inner) = (ExitStack::new(), ExitStack::new());
        let body = async {
            outer.defer(entries.entry("first"));
            let inside = async {
                outer.defer(entries.entry("second"));
                inner.defer(entries.entry("inner"));
                Ok::<_, Infallible>(())
            };
            inner.run(inside).await.unwrap();
            outer.defer(entries.entry("third"));
            Ok::<_, Infallible>(())
        };
        hand(outer.run(body)).drive().unwrap();
    });
    log.is(&["inner", "third", "second", "first"]);
}

#[test]
fn r18_a_time_limit_a_task_and_a_stack_inside_a_region_at_the_end_of_its_thread() {
    at_the_end(uses_scopes, || {
        let body = async {
            assert_eq!(move_on_after(HOUR, async { 1 }).await, Some(1));
            assert_eq!(task(async { 2 }).await, 2);
            let stack = ExitStack::new();
            stack.run(async { Ok::<_, Infallible>(3) }).await.unwrap()
        };
        assert_eq!(hand(CancelScope::new().run(body)).ready().unwrap(), 3);
    });
}

#[test]
fn r18_a_task_that_was_entered_elsewhere_ends_at_the_end_of_a_thread() {
    let gate = Gate::new();
    let waits = gate.wait();
    let mut run = hand(task(async {
        let before = task::current();
        move_on_after(HOUR, waits).await.unwrap();
        before == task::current()
    }));
    run.pending();
    gate.open();
    at_the_end(uses_scopes, move || assert!(run.ready(), "it is the same task"));
}

#[test]
fn r14_exits_at_the_end_of_their_thread_run_as_their_task() {
    let log = Log::new();
    let seen = log.clone();
    at_the_end(uses_scopes, move || {
        let stack = ExitStack::new();
        let body = async {
            stack.defer(seen.entry("first"));
            let (owner, log) = (task::current(), seen.clone());
            stack.defer(async move {
                log.add(if task::current() == owner { "its task" } else { "another" });
            });
            Ok::<_, Infallible>(())
        };
        hand(stack.run(body)).ready().unwrap();
    });
    log.is(&["its task", "first"]);
}

#[cfg(feature = "tokio")]
#[test]
fn r18_a_timeout_at_the_end_of_a_thread_whose_runtime_has_paused_its_clock() {
    let paused = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async { tokio::time::sleep(HOUR).await });
        uses_scopes();
    };
    at_the_end(paused, || hand(CancelScope::new().timeout(HOUR).run(async {})).ready().unwrap());
    at_the_end(paused, || {
        let scope = CancelScope::new().timeout(HOUR);
        let mut run = hand(scope.run(pending::<()>()));
        run.pending();
        scope.cancel();
        run.ready().unwrap_err();
    });
}
