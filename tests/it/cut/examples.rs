//! The programs of the examples and of the README, cut at every poll: the promise that each makes to its reader holds
//! at every cut. The lines that a program prints show which steps it has done.
//!
//! They run under tokio on one thread with a paused clock. The clock advances as soon as no task is woken, so the test
//! does not wait for real time, and a lost wake-up shows as an hour that has passed.

use crate::support::{Reports, panic_text};
use futures::FutureExt;
use futures::lock::Mutex;
use moored::testing::{cut, live_regions};
use moored::{CancelScope, ExitStack, TaskGroup, move_on_after, shield, task};
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const AN_HOUR: Duration = Duration::from_secs(3600);

std::thread_local! {
    static PRINTED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Replaces the standard macro in the programs below: lines are recorded instead of printed.
macro_rules! println {
    ($($text:tt)*) => { super::PRINTED.with_borrow_mut(|lines| lines.push(format!($($text)*))) };
}

#[path = "../../../examples/graceful.rs"]
mod graceful;
mod readme;
#[path = "../../../examples/select_loser.rs"]
mod select_loser;

type Story = Pin<Box<dyn Future<Output = ()> + Send>>;
/// Checks the recorded lines against the program's promise, when the region around the program
/// has ended.
type Promise = Box<dyn Fn(&[String])>;
type Program = (&'static str, fn() -> Play);

/// A program that is about to run.
struct Play {
    story: Story,
    promise: Promise,
}

impl Play {
    fn new(
        story: impl Future<Output = ()> + Send + 'static,
        promise: impl Fn(&[String]) + 'static,
    ) -> Self {
        Play { story: Box::pin(story), promise: Box::new(promise) }
    }
}

/// The programs, by name.
const PROGRAMS: [Program; 4] = [
    ("README.md", || Play::new(readme::main(), a_begun_transaction_is_rolled_back)),
    ("select_loser", || {
        let connections = ["a", "b"].map(select_loser::Connection);
        let pool: select_loser::Pool = Arc::new(Mutex::new(connections.into()));
        let racing = Arc::clone(&pool);
        let story =
            async move { assert_eq!(select_loser::race(&racing).await.unwrap(), "fast mirror") };
        Play::new(story, move |_| {
            let pool = pool.try_lock().expect("nobody is left who uses it");
            let mut back: Vec<_> = pool.iter().map(|connection| connection.0).collect();
            back.sort_unstable();
            assert_eq!(back, ["a", "b"], "in the pool");
        })
    }),
    ("a connection of graceful", || {
        let goodbyes = Arc::new(AtomicUsize::new(0));
        let served = graceful::serve(0, Arc::clone(&goodbyes));
        let story =
            async move { assert_eq!(move_on_after(Duration::from_secs(1), served).await, None) };
        Play::new(story, move |lines| everybody_says_goodbye(lines, &goodbyes))
    }),
    ("graceful", || {
        let goodbyes = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&goodbyes);
        let story = async move {
            let failure = graceful::run(&counted).await;
            assert!(failure.to_string().contains("somebody asked for it"), "{failure}");
        };
        Play::new(story, move |lines| everybody_says_goodbye(lines, &goodbyes))
    }),
];

fn a_begun_transaction_is_rolled_back(lines: &[String]) {
    match lines.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] | ["begin", "roll back"] => {}
        ["begin", "roll back", end] => assert!(end.starts_with("cancelled: deadline passed (at ")),
        ref lines => panic!("printed {lines:?}"),
    }
}

fn everybody_says_goodbye(lines: &[String], goodbyes: &AtomicUsize) {
    let mut open = 0;
    for connection in 0..3 {
        let name = format!("connection {connection}: ");
        let told: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix(&name)).collect();
        match told[..] {
            [] => {}
            ["open", why] => {
                assert_ne!(why, "open");
                open += 1;
            }
            _ => panic!("printed {lines:?}"),
        }
    }
    assert_eq!(goodbyes.load(SeqCst), open, "connections that said goodbye");
}

/// Plays each program with a cut after 0, 1, 2, … polls, until the program ends before the cut. `way` cuts it, ends the
/// region around it, and returns whether it was cut.
fn everywhere(way: impl AsyncFn(usize, Story) -> bool) {
    let reports = Reports::watch();
    let mut cuts = 0;
    for (name, program) in PROGRAMS {
        let mut polls = 0;
        while play(name, program(), polls, &way) {
            polls += 1;
        }
        assert!(polls > 1, "{name} has no await to be cut at");
        cuts += polls;
    }
    // Every place in the programs is in this folder.
    assert_eq!(reports.of("it/cut/"), [""; 0]);
    // The form that ci/proof.py reads.
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    std::println!("explored {name}: {cuts} cuts");
}

/// Plays one program, and checks the result.
fn play(name: &str, program: Play, polls: usize, way: impl AsyncFn(usize, Story) -> bool) -> bool {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    let Play { story, promise } = program;
    let played = runtime.block_on(async { timeout(AN_HOUR, way(polls, story)).await });
    let was_cut = played.unwrap_or_else(|_| panic!("nobody woke it, {name} cut at {polls}"));
    let lines = PRINTED.take();
    // Printed only if a promise is broken.
    eprintln!("{name} cut at {polls}: {lines:?}");
    promise(&lines);
    // The task that shuts the server down is outside the region that was cut, so it gets time
    // to end.
    runtime.block_on(async { sleep(Duration::from_millis(50)).await });
    PRINTED.take();
    let tasks = runtime.metrics().num_alive_tasks();
    assert_eq!(tasks, 0, "a task is left, {name} cut at {polls}");
    assert_eq!(live_regions(), 0, "a region is left, {name} cut at {polls}");
    was_cut
}

#[test]
fn r08_the_examples_are_dropped_anywhere_inside_a_task() {
    everywhere(async |polls, story| task(cut(polls, story)).await.is_none());
}

#[test]
fn r08_the_examples_are_dropped_anywhere_inside_each_region() {
    everywhere(async |polls, story| {
        let played = CancelScope::new().run(cut(polls, story)).await;
        played.expect("nobody cancels").is_none()
    });
    everywhere(async |polls, story| {
        let body = async { Ok::<_, ()>(cut(polls, story).await) };
        ExitStack::new().run(body).await.expect("no exit fails").is_none()
    });
    everywhere(async |polls, story| {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let child = group.spawn(async { Ok(cut(polls, story).await.is_none()) });
        let played = group.run(async { Ok(child.join().await) }).await;
        played.expect("no exit fails").expect("it ends well")
    });
    everywhere(async |polls, story| task(shield(cut(polls, story))).await.is_none());
}

/// Dropped with a scope around it, which is itself dropped at each of its polls: exits are adopted while they run.
#[test]
fn r07_the_examples_are_dropped_anywhere_at_two_depths() {
    const OUTER: usize = 6;
    for outer in 0..OUTER {
        everywhere(async |polls, story| {
            let scope = CancelScope::new();
            match task(cut(outer, scope.run(cut(polls, story)))).await {
                Some(played) => played.expect("nobody cancels").is_none(),
                // The outer cut came before the inner one.
                None => polls < OUTER,
            }
        });
    }
}

#[test]
fn r06_the_examples_are_cancelled_anywhere() {
    everywhere(async |polls, story| asked_at(polls, story, CancelScope::cancel).await);
}

#[test]
fn r11_the_examples_are_out_of_time_anywhere() {
    everywhere(async |polls, story| {
        asked_at(polls, story, |scope| scope.set_deadline(Instant::now().into_std())).await
    });
}

/// Calls `ask` with the scope around the story after the story's k-th poll. Returns whether the scope
/// was cancelled before the story had ended.
async fn asked_at(polls: usize, mut story: Story, ask: impl Fn(&CancelScope)) -> bool {
    let scope = CancelScope::new();
    if polls == 0 {
        ask(&scope);
    }
    let (around, mut polled) = (&scope, 0);
    let body = poll_fn(move |cx| {
        let now = story.as_mut().poll(cx);
        polled += 1;
        if polled == polls {
            ask(around);
        }
        now
    });
    scope.run(body).await.is_err()
}

/// The panic payload of a cut. It is raised by `resume_unwind`, which prints no message.
struct Cut;

/// The program panics at its k-th poll, before it does anything in that poll.
#[test]
fn r15_the_examples_panic_anywhere() {
    everywhere(async |polls, mut story| {
        let mut left = polls;
        let panicking = poll_fn(move |cx| {
            let Some(rest) = left.checked_sub(1) else { resume_unwind(Box::new(Cut)) };
            left = rest;
            story.as_mut().poll(cx)
        });
        match AssertUnwindSafe(task(panicking)).catch_unwind().await {
            Ok(()) => false,
            Err(payload) if payload.is::<Cut>() => true,
            Err(other) => resume_unwind(other),
        }
    });
}

/// The program that is cut here is the program that README.md shows.
#[test]
fn the_readme_shows_the_program_that_is_cut() {
    let program =
        include_str!("examples/readme.rs").replace("pub(crate) async", "#[tokio::main]\nasync");
    assert!(include_str!("../../../README.md").contains(&format!("```rust\n{program}```\n")));
}

/// The harness finds the faults that it is made for: a program that loses an exit, a program that leaves a task behind,
/// and a program that nothing wakes.
#[test]
fn the_harness_bites() {
    let bites = |story: Story, promise: fn(&[String])| {
        let program = Play { story, promise: Box::new(promise) };
        panic_text(|| play("a bad one", program, 1, async |polls, s| cut(polls, s).await.is_none()))
    };
    let _reports = Reports::watch();
    let loses = bites(Box::pin(readme::main()), a_begun_transaction_is_rolled_back);
    assert_eq!(loses, r#"printed ["begin"]"#);
    let leaves = async { drop(tokio::spawn(std::future::pending::<()>())) };
    assert!(bites(Box::pin(leaves), |_| {}).contains("a task is left"));
    let asleep = Play::new(std::future::pending(), |_| {});
    let asleep = panic_text(|| {
        play("a bad one", asleep, 1, async |_, story| {
            story.await;
            false
        })
    });
    assert_eq!(asleep, "nobody woke it, a bad one cut at 1");
}
