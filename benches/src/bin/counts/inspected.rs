//! Paths with the feature `inspect`, and snapshots.

use crate::Path;
use benches::{finish, inside_a_task};
use moored::{CancelScope, EnteredScope, inspect};
use std::time::Instant;

/// The paths that are counted with the feature too: the empty loop first, then entering and leaving, a wait, a poll,
/// children, exits, and all of them together.
const COUNTED: [&str; 9] = [
    "empty",
    "enter_leave",
    "scope_yields",
    "poll",
    "child_100",
    "child_yields_100",
    "executor_child_100",
    "exit_100",
    "request",
];

pub(crate) fn is_counted(path: &Path) -> bool {
    COUNTED.contains(&path.name)
}

fn wide(n: u64) -> Vec<EnteredScope> {
    (0..n).map(|_| CancelScope::new().enter().unwrap()).collect()
}

/// Each inside the one before.
fn deep(n: u64) -> Vec<EnteredScope> {
    let mut open = wide(1);
    for at in 1..n as usize {
        let enter = async { CancelScope::new().enter().unwrap() };
        open.push(finish(open[at - 1].run(enter)).unwrap());
    }
    open
}

/// The times and the memory of large snapshots.
pub(crate) fn print_snapshots() {
    println!("| regions | the look | as text | as JSON | memory for each region |");
    println!("|--:|--:|--:|--:|--:|");
    let shapes = [("side by side", wide as fn(u64) -> _), ("inside each other", deep)];
    for ((shape, open), n) in
        shapes.into_iter().flat_map(|shape| [10_000, 100_000].map(|n| (shape, n)))
    {
        inside_a_task(|| {
            let open = open(n);
            let before = resident();
            let (snapshot, look) = timed(inspect::snapshot);
            let memory = resident().saturating_sub(before) / n;
            let (_, text) = timed(|| snapshot.to_string());
            let (_, json) = timed(|| snapshot.to_json());
            println!(
                "| {n} {shape} | {look:.0} ms | {text:.0} ms | {json:.0} ms | {memory} bytes |"
            );
            open.into_iter().rev().for_each(drop);
        });
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed().as_secs_f64() * 1e3)
}

/// The bytes of memory that the process holds; zero where the system does not tell.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4_096
}
