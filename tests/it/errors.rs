//! The texts of docs/errors.md: each is made here, and stands there.

use crate::support::{boom, hand, yield_now};
use moored::{
    CancelScope, ChildError, Clock, ExitStack, Sleep, TaskGroup, fail_after, local, task,
};
use std::future::pending;
use std::time::{Duration, Instant};

fn page() -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors.md");
    std::fs::read_to_string(page).unwrap()
}

/// Whether one of the document's texts matches; a part between `‹` and `›` matches any text.
fn documented(text: &str) -> bool {
    let page = page();
    let quoted = page.split('`').skip(1).step_by(2);
    quoted.filter(|pattern| !pattern.contains('\n')).any(|pattern| fits(pattern, text))
}

fn fits(pattern: &str, text: &str) -> bool {
    let text = text.replace('`', "'");
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let Some((fixed, after)) = rest.split_once('‹') {
        parts.push(fixed);
        rest = after.split_once('›').map_or("", |(_, after)| after);
    }
    let Some(mut left) = text.strip_prefix(parts.first().copied().unwrap_or("")) else {
        return text == rest;
    };
    for part in parts.iter().skip(1) {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    if parts.is_empty() { left == rest } else { left.ends_with(rest) }
}

#[track_caller]
fn is_documented(text: impl ToString) {
    let text = text.to_string();
    assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
    assert!(documented(&text), "not in docs/errors.md: {text}");
}

#[test]
fn every_text_of_a_misuse_stands_in_the_document() {
    hand(task(async {
        let stack = ExitStack::new().named("s");
        stack.defer(async {});
        let stack = task(async move {
            is_documented(stack.try_defer(async {}).unwrap_err());
            stack
        })
        .await;
        stack.close().await.unwrap();
        let scope = CancelScope::new();
        scope.run(async {}).await.unwrap();
        is_documented(scope.enter().unwrap_err());
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        group.run(async { Ok(()) }).await.unwrap();
        is_documented(group.try_spawn(async { Ok(()) }).unwrap_err());
    }))
    .drive();
}

#[test]
fn every_text_of_an_end_stands_in_the_document() {
    hand(task(async {
        let scope = CancelScope::new();
        scope.cancel_because("enough");
        is_documented(scope.run(pending::<()>()).await.unwrap_err());
        let scope = CancelScope::new();
        scope.stop_within(Duration::ZERO);
        is_documented(scope.run(pending::<()>()).await.unwrap_err());
        is_documented(fail_after(Duration::ZERO, pending::<()>()).await.unwrap_err());
        let group: TaskGroup<'_, &str> = TaskGroup::new();
        let failure = group.run(async {
            let sibling = group.spawn(pending::<Result<(), &str>>());
            let broken = group.spawn(async { Err::<(), _>("broken") });
            let failed = broken.join().await.unwrap_err();
            assert!(matches!(failed, ChildError::Failed(_)));
            is_documented(failed);
            is_documented(sibling.join().await.unwrap_err());
            Ok(())
        });
        failure.await.unwrap_err();
        let group: TaskGroup<'_, &str> = TaskGroup::new();
        let silent = group.run(async {
            is_documented(
                group.start(|_ready: moored::Ready<'_, ()>| async { Ok(()) }).await.unwrap_err(),
            );
            Ok(())
        });
        silent.await.unwrap();
    }))
    .drive();
}

#[test]
fn every_text_of_a_failing_exit_stands_in_the_document() {
    hand(task(async {
        let stack = ExitStack::new();
        let held = stack.hold(1, |_| async {});
        stack.defer(async { Err("gone") });
        stack.defer(async {
            yield_now().await;
            Err("gone as well")
        });
        let error = stack.close().await.unwrap_err();
        is_documented(&error);
        for cause in error.failure().unwrap().causes() {
            is_documented(cause);
        }
        drop(held);
    }))
    .drive();
}

#[test]
fn every_text_of_a_recorded_panic_stands_in_the_document_and_names_the_child() {
    hand(task(async {
        let group: TaskGroup<'_, &str> = TaskGroup::new().isolate_panics();
        let child = async {
            boom("of a child");
            Ok(())
        };
        let spawned_at = line!() + 2;
        let body = async {
            drop(group.spawn_named("fetcher", child));
            Ok(())
        };
        let failure = group.run(body).await.unwrap_err();
        let text = failure.cause().to_string();
        is_documented(&text);
        assert!(text.contains("(fetcher), spawned or run at "), "{text}");
        assert!(text.contains(&format!("errors.rs:{spawned_at}:")), "{text}");
    }))
    .drive();
}

/// The error of an exit of `failed` stands in the document after the text that every failed exit has.
#[track_caller]
fn own_error_is_documented(failed: impl ToString) {
    let text = failed.to_string();
    let own = text.split_once(" failed: ").expect("an exit has failed").1.replace('`', "'");
    assert!(page().contains(&format!("failed: {own}`")), "not in docs/errors.md: {own}");
}

#[test]
fn every_error_that_this_crate_gives_an_exit_stands_in_the_document() {
    struct Broken;
    impl Clock for Broken {
        fn now(&self) -> Instant {
            panic!("‹text›")
        }
        fn sleep_until(&self, _: Instant) -> Sleep {
            unreachable!()
        }
    }
    let bounded = ExitStack::new().grace(Duration::from_secs(1));
    let run = bounded.run(async {
        bounded.defer(yield_now());
        Ok::<_, &str>(())
    });
    own_error_is_documented(hand(task(run).clock(Broken)).drive().unwrap_err());

    let stack = ExitStack::new();
    let mut run = hand(stack.run(async {
        local::ExitStack::new().defer(pending::<()>());
        yield_now().await;
        Ok::<_, &str>(())
    }));
    std::thread::scope(|threads| threads.spawn(|| run.pending()).join().unwrap());
    own_error_is_documented(run.ready().unwrap_err());

    struct AtTheEnd(std::sync::mpsc::Sender<String>);
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            let stack = local::ExitStack::new();
            stack.defer(async {});
            self.0.send(hand(stack.close()).drive().unwrap_err().to_string()).unwrap();
        }
    }
    thread_local! {
        static AT_THE_END: std::cell::OnceCell<AtTheEnd> = const { std::cell::OnceCell::new() };
    }
    let (ended, text) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(|| {
        AT_THE_END.with(|at| assert!(at.set(AtTheEnd(ended)).is_ok()));
        // The thread-locals of this crate come later, and are dropped before.
        local::ExitStack::new().defer(async {});
    });
    thread.join().unwrap();
    own_error_is_documented(text.recv().unwrap());
}

#[test]
fn the_text_of_a_child_that_came_after_the_first_success_stands_in_the_document() {
    let group: TaskGroup<'_, ()> = TaskGroup::new().first_success();
    let mut slower = hand(group.run(async {
        let slower = group.spawn(pending::<Result<(), ()>>());
        group.spawn_detached(async { Ok(()) });
        Ok(slower.join().await)
    }));
    let Err(ChildError::Cancelled(reason)) = slower.drive().unwrap() else { panic!() };
    let text = "cancelled with its parent: another child succeeded first (by ‹task› at ‹place›)";
    assert!(page().contains(&format!("| `{text}` |")), "not in docs/errors.md: {text}");
    assert!(fits(text, &reason.to_string()), "{reason}");
}
