//! Runs one hot path and nothing else. `counts.py` runs it under callgrind, which counts the
//! instructions.
//!
//! `counts --list` prints the paths: name, iterations, items of an iteration. `counts NAME [ITERATIONS]` runs one of
//! them. Only code inside [`measured`] is counted, because valgrind's `--toggle-collect` names that function. Setting
//! up costs nothing, and every path has been run once before, so that one-time work is not counted.
//!
//! A build with the feature `count` prints the allocations inside `measured`. Other builds do not count them, because
//! the counter's own instructions would be in every figure.

mod ours;
mod peers;

use benches::{COUNTS, allocations};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

static ALLOCATED: AtomicU64 = AtomicU64::new(0);

/// A hot path.
pub(crate) struct Path {
    name: &'static str,
    /// Items of one iteration: counts are those of one item.
    items: u64,
    iterations: u64,
    run: fn(items: u64, iterations: u64),
}

pub(crate) const fn path(name: &'static str, run: fn(u64, u64)) -> Path {
    Path { name, items: 1, iterations: 1_000, run }
}

pub(crate) const fn path_of(name: &'static str, items: u64, run: fn(u64, u64)) -> Path {
    let iterations = if items < 1_000 { 1_000 / items } else { 2 };
    Path { name, items, iterations, run }
}

/// Does `work` so many times, counted.
#[inline(never)]
pub(crate) fn measured<T>(iterations: u64, mut work: impl FnMut() -> T) {
    let before = allocations();
    for _ in 0..iterations {
        black_box(work());
    }
    if COUNTS {
        ALLOCATED.fetch_add(allocations().since(before).count, Ordering::Relaxed);
    }
}

/// Counts `work`, and neither `set_up` nor the drop of the value that `work` returns.
pub(crate) fn measured_apart<S, T>(
    iterations: u64,
    mut set_up: impl FnMut() -> S,
    mut work: impl FnMut(S) -> T,
) {
    for _ in 0..iterations {
        let mut state = Some(set_up());
        let mut done = None;
        measured(1, || done = state.take().map(&mut work));
        drop(black_box(done));
    }
}

/// The cost of the loop itself, which is subtracted from every count.
fn empty(_: u64, iterations: u64) {
    measured(iterations, || black_box(1));
}

fn main() {
    let paths = || std::iter::once(path("empty", empty)).chain(ours::paths()).chain(peers::paths());
    let mut arguments = std::env::args().skip(1);
    let Some(name) = arguments.next().filter(|name| name != "--list") else {
        for path in paths() {
            println!("{}\t{}\t{}", path.name, path.iterations, path.items);
        }
        return;
    };
    let Some(path) = paths().find(|path| path.name == name) else { panic!("no path {name}") };
    let iterations = arguments.next().map_or(path.iterations, |n| n.parse().unwrap());
    (path.run)(path.items, iterations);
    if COUNTS {
        println!("{}", ALLOCATED.load(Ordering::Relaxed));
    }
}
