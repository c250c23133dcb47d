//! Errors in the hands of a caller that passes them on: one line, a tree, a chain of sources, `?`, and
//! reports as `anyhow` and `eyre` print them (R15).

use crate::support::{Gate, hand, poll_once};
use moored::testing::MockClock;
use moored::{
    BoxError, CancelScope, Cause, ExitFailure, ExitStack, Failure, Misuse, TaskGroup, fail_after,
    task,
};
use std::error::Error;
use std::fmt;
use std::future::pending;
use std::time::Duration;

/// An error with one below it.
#[derive(Debug)]
struct Layer(&'static str, Option<Box<Layer>>);

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Layer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|below| below as _)
    }
}

fn layers() -> Layer {
    Layer("cannot save", Some(Box::new(Layer("disk full", Some(Box::new(Layer("quota", None)))))))
}

/// A stand-in for `anyhow::Error` and `eyre::Report`: any error, boxed by `?`.
struct Report(BoxError);

impl<E: Error + Send + Sync + 'static> From<E> for Report {
    fn from(error: E) -> Self {
        Report(Box::new(error))
    }
}

impl Report {
    fn chain(&self) -> Vec<String> {
        let first: &(dyn Error + 'static) = &*self.0;
        std::iter::successors(Some(first), |&error| error.source()).map(|e| e.to_string()).collect()
    }
}

/// As `anyhow` prints `{:#}` on one line, and `eyre` its numbered list.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain().join(": "))
    }
}

/// Fails in the body and in two exits.
async fn fails() -> Result<(), Failure<Layer>> {
    let stack = ExitStack::new().named("books");
    stack
        .run(async {
            stack.defer(async { Err::<(), _>("the last exit") });
            stack.defer(async { Err::<(), BoxError>(Box::new(layers())) });
            Err(layers())
        })
        .await
}

#[track_caller]
fn is_one_line(text: &str) {
    assert!(!text.is_empty() && !text.contains('\n') && !text.ends_with('.'), "{text:?}");
    let first = text.chars().next().unwrap();
    assert!(!first.is_uppercase(), "{text:?}");
}

#[test]
fn r15_one_line_tells_the_primary_and_how_many_more() {
    let failure = hand(fails()).drive().unwrap_err();
    is_one_line(&failure.to_string());
    assert_eq!(failure.to_string(), "cannot save (and 2 more)");
}

#[test]
fn r15_the_tree_tells_every_cause_in_order_and_the_sources_of_exits() {
    let failure = hand(fails()).drive().unwrap_err();
    let tree = format!("{failure:#}");
    let at = |what: &str| tree.find(what).unwrap_or_else(|| panic!("{what} is not in {tree}"));
    assert_eq!(tree.lines().next(), Some("cannot save"));
    assert!(at("failed: cannot save") < at("because: disk full"));
    assert!(at("because: disk full") < at("because: quota"));
    assert!(at("because: quota") < at("failed: the last exit"));
    assert_eq!(tree.matches("teach.rs:").count(), 2, "{tree}");
}

#[test]
fn r15_a_question_mark_makes_a_report_with_the_whole_chain() {
    async fn caller() -> Result<(), Report> {
        fails().await?;
        Ok(())
    }
    let report = hand(caller()).drive().err().unwrap();
    assert_eq!(report.chain(), ["cannot save (and 2 more)", "disk full", "quota"]);
    assert_eq!(report.to_string(), "cannot save (and 2 more): disk full: quota");
}

#[test]
fn r15_a_report_can_be_taken_apart_again() {
    async fn caller() -> Result<(), Report> {
        Ok(fails().await?)
    }
    let report = hand(caller()).drive().err().unwrap();
    let failure = *report.0.downcast::<Failure<Layer>>().unwrap();
    assert!(matches!(failure.cause(), Cause::Body(Layer("cannot save", _))));
    let exits = failure.rest().filter(|cause| matches!(cause, Cause::Exit(_))).count();
    assert_eq!(exits, 2);
}

#[test]
fn r15_an_exits_failure_chains_to_the_sources_of_its_error() {
    let stack = ExitStack::new();
    stack.defer(async { Err::<(), BoxError>(Box::new(layers())) });
    let failed = hand(stack.close()).drive().unwrap_err();
    let report = Report::from(failed);
    let chain = report.chain();
    assert!(chain[0].contains("failed: cannot save"), "{chain:?}");
    assert_eq!(chain[1..], ["disk full", "quota"], "nothing twice, nothing left out");
}

#[test]
fn r15_the_error_of_a_child_chains_as_the_bodys_does() {
    let group: TaskGroup<'_, Layer> = TaskGroup::new();
    group.spawn(async { Err::<(), _>(layers()) });
    let report = Report::from(hand(group.run(async { Ok(()) })).drive().unwrap_err());
    let chain = report.chain();
    assert!(chain[0].starts_with("task ") && chain[0].ends_with(": cannot save"), "{chain:?}");
    assert_eq!(chain[1..], ["disk full", "quota"]);
}

#[test]
fn r15_every_error_passes_a_question_mark_and_is_one_line() {
    fn is_error<E: Error + Send + Sync + 'static>(error: E) -> String {
        fn pass<E: Error + Send + Sync + 'static>(error: E) -> Result<(), Report> {
            Err(error)?
        }
        let report = pass(error).err().unwrap();
        let text = report.chain().remove(0);
        is_one_line(&text);
        text
    }
    let clock = MockClock::new();
    let mut run = moored::testing::hand(
        task(async {
            let late = fail_after(Duration::from_secs(1), pending::<()>()).await.unwrap_err();
            assert!(is_error(late).starts_with("timed out (at "));
            let scope = CancelScope::new();
            scope.cancel_because("closing time");
            let cancelled = scope.run(pending::<()>()).await.unwrap_err();
            assert!(is_error(cancelled).contains("closing time"));
            let scope = CancelScope::new();
            scope.run(async {}).await.unwrap();
            is_error(scope.enter().unwrap_err());
            let group: TaskGroup<'_, Layer> = TaskGroup::new();
            let child = group.spawn(async { Err::<(), _>(layers()) });
            is_error(group.run(async { Ok(()) }).await.unwrap_err());
            is_error(child.join().await.unwrap_err());
            let stack = ExitStack::new();
            stack.defer(async {});
            let rejected = task(async { stack.try_defer(async {}).unwrap_err() }).await;
            let text = is_error(rejected);
            assert!(text.contains("`release` and `adopt`"), "the advice is in it: {text}");
            let rejected = task(stack.close()).await.unwrap_err();
            let stack = rejected.into_inner().unwrap();
            stack.close().await.unwrap();
        })
        .clock(clock.clone()),
    );
    run.drive_with(&clock);
}

#[test]
fn r02_a_rejection_names_both_tasks_both_places_the_region_and_the_way_out() {
    hand(
        task(async {
            let stack = ExitStack::new().named("session");
            stack.defer(async {});
            let rejected =
                task(async { stack.try_defer(async {}).unwrap_err() }).named("github").await;
            let text = rejected.to_string();
            for part in ["(github)", "(host)", "exit stack `session`", "defer", "CancelHandle"] {
                assert!(text.contains(part), "{part} is not in {text}");
            }
            assert_eq!(text.matches("teach.rs:").count(), 2, "{text}");
            let Misuse::WrongTask(wrong) = rejected.error() else { panic!("{rejected}") };
            assert_eq!(wrong.to_string(), text, "the same text at every level");
            stack.close().await.unwrap();
        })
        .named("host"),
    )
    .drive();
}

#[test]
fn r15_a_cancellation_with_failures_says_so_and_the_tree_has_them() {
    let scope = CancelScope::new();
    let gate = Gate::new();
    let body = scope.run(async {
        let stack = ExitStack::new();
        let mut loser = Box::pin(stack.run(async {
            stack.defer(async { Err::<(), _>("sticky") });
            pending::<Result<(), ()>>().await
        }));
        assert!(poll_once(&mut loser).await.is_pending());
        drop(loser);
        gate.wait().await;
    });
    let mut run = hand(body);
    run.pending();
    scope.cancel_because("enough");
    let cancelled = run.drive().unwrap_err();
    is_one_line(&cancelled.to_string());
    assert!(cancelled.to_string().ends_with("(and 1 more)"), "{cancelled}");
    let tree = format!("{cancelled:#}");
    assert!(tree.contains("also: exit registered at") && tree.contains("sticky"), "{tree}");
    assert!(matches!(cancelled.failures(), [ExitFailure::Failed { .. }]));
}

#[test]
fn r15_the_tree_of_a_cancellation_shows_a_hundred_failures_and_counts_the_others() {
    let scope = CancelScope::new();
    let body = scope.run(async {
        let stack = ExitStack::new();
        let mut loser = Box::pin(stack.run(async {
            (0..150).for_each(|n| stack.defer(async move { Err::<(), _>(format!("exit {n}")) }));
            pending::<Result<(), ()>>().await
        }));
        assert!(poll_once(&mut loser).await.is_pending());
        drop(loser);
        pending::<()>().await;
    });
    let mut run = hand(body);
    run.pending();
    scope.cancel_because("enough");
    let cancelled = run.drive().unwrap_err();
    assert_eq!(cancelled.failures().len(), 150);
    assert!(cancelled.to_string().ends_with("(and 150 more)"), "{cancelled}");
    let tree = format!("{cancelled:#}");
    assert_eq!(format!("{cancelled:?}"), tree, "`unwrap` prints the tree");
    let lines: Vec<_> = tree.lines().collect();
    assert_eq!(lines.len(), 102, "the reason, the failures, the number of the others");
    assert!(lines[0].starts_with("cancelled: enough (at "), "{tree}");
    assert!(lines[1].starts_with("  also: exit registered at "), "{tree}");
    assert!(
        lines[1].ends_with("failed: exit 149") && lines[100].ends_with("failed: exit 50"),
        "{tree}"
    );
    assert_eq!(lines[101], "  and 50 more in the record");
    assert!(format!("{cancelled:#?}").contains("exit 0"), "the fields have all of them");
}
