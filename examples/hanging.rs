//! Finds the exit that holds up a shutdown: of three sessions that stop, one has a server that says no goodbye.
//!
//! The tree of open regions names the exit that hangs: the stack it was registered in, the line, how long it has run, and
//! which task adopted it. `inspect::Snapshot::leaving` is the same as one line.
//!
//! `cargo run --example hanging --features inspect`; with `-- --timeline` it prints the recording as trace events, of which
//! `docs/timeline.py` makes the picture in the guide.

use moored::{ExitStack, Failure, TaskGroup, inspect, stop_requested, task};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Talks to a server until that hangs up, which none of them does.
async fn talk(server: &'static str, answer: Arc<Notify>) -> Result<(), Failure<Infallible>> {
    let stack = ExitStack::new().named(server);
    stack
        .run(async {
            stack.defer(async { /* close the socket */ });
            stack.defer(async move {
                if server == "billing" {
                    answer.notified().await; // the goodbye that does not come
                }
            });
            std::future::pending().await
        })
        .await
}

/// One session: when it is asked to stop, it drops the talk, and its task adopts the goodbye.
async fn session(server: &'static str, answer: Arc<Notify>) -> Result<(), Infallible> {
    tokio::select! {
        () = stop_requested() => {}
        _ = talk(server, answer) => {}
    }
    Ok(())
}

/// The regions and exits that are open while the shutdown hangs: the tree, the culprit, and the recording of all of it.
pub(crate) async fn run() -> (String, String, String) {
    let recording = inspect::record();
    let answer = Arc::new(Notify::new());
    let sessions: TaskGroup<'_, Infallible> = TaskGroup::new().named("sessions");
    let main = task(sessions.run(async {
        for server in ["search", "billing", "files"] {
            sessions.spawn_named(format!("session {server}"), session(server, Arc::clone(&answer)));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        sessions.stop();
        Ok(())
    }));
    let mut main = Box::pin(main.named("main"));
    // In a real program this is `inspect::on_signal()` and `inspect::watch(every, longer_than)`.
    let look = tokio::time::timeout(Duration::from_millis(120), &mut main).await;
    assert!(look.is_err(), "it does not hang");
    let open = inspect::snapshot();
    let tree = open.to_string();
    let culprit = open.leaving(Duration::from_millis(50)).join("\n");
    let timeline = recording.finish().to_trace_json();

    answer.notify_one(); // the server has thought better of it
    main.await.unwrap();
    (tree, culprit, timeline)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (tree, culprit, timeline) = run().await;
    if std::env::args().any(|arg| arg == "--timeline") {
        println!("{timeline}");
    } else {
        println!("{tree}\nThe culprit:\n{culprit}");
    }
}

/// Without what differs from run to run: how long, and the numbers of tasks.
#[cfg(test)]
fn normal(text: &str) -> String {
    let is_time = |word: &str| {
        let unit = word.trim_start_matches(|char: char| char.is_ascii_digit() || char == '.');
        unit.len() < word.len() && matches!(unit, "s" | "ms" | "µs" | "ns")
    };
    let mut after_task = false;
    let words = text.trim().split(' ').map(|word| {
        let number = std::mem::replace(&mut after_task, word.ends_with("task"));
        let (core, mark) = match word.strip_suffix(',') {
            Some(core) => (core, ","),
            None => (word, ""),
        };
        if is_time(core) || (number && core.parse::<u64>().is_ok()) {
            format!("_{mark}")
        } else {
            word.to_owned()
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The guide continues long lines after a backslash.
#[cfg(test)]
fn joined(block: &str) -> String {
    let mut pieces = block.split("\\\n");
    let first = pieces.next().unwrap_or_default();
    pieces.fold(first.to_owned(), |joined, piece| joined + piece.trim_start())
}

#[test]
fn its_output_is_what_the_guide_shows() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (tree, culprit, timeline) = runtime.block_on(run());
    let shown: Vec<_> = include_str!("../src/guide/hangs.md")
        .split("```text\n")
        .skip(1)
        .map(|block| normal(&joined(block.split("```").next().unwrap())))
        .collect();
    assert!(shown.contains(&normal(&tree)), "the guide does not show\n{tree}");
    assert!(shown.contains(&normal(&culprit)), "the guide does not show\n{culprit}");
    assert!(timeline.contains("exit of exit stack `billing`"), "{timeline}");
}
