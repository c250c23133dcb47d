//! The texts of docs/errors.md: each is made here, and stands there.

use crate::support::{boom, hand, yield_now};
use moored::{CancelScope, ChildError, ExitStack, TaskGroup, fail_after, task};
use std::future::pending;
use std::time::Duration;

/// Whether one of the document's texts matches; a part between `‹` and `›` matches any text.
fn documented(text: &str) -> bool {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors.md");
    let page = std::fs::read_to_string(page).unwrap();
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
