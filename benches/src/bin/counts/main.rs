//! Runs one hot path and nothing else. `counts.py` runs it under callgrind, which counts the
//! instructions.
//!
//! `counts --list` prints the paths: name, iterations, items of an iteration. `counts NAME [ITERATIONS]` runs one of
//! them, and `counts --time NAME` prints the nanoseconds of an item. Only code inside [`measured`] is counted, because
//! valgrind's `--toggle-collect` names that function. Setting up costs nothing, and every path has been run once before,
//! so that one-time work is not counted.
//!
//! `counts --grow NAME N` runs an operation with `N` items, and `counts --operations` prints their names.
//!
//! A build with the feature `count` prints the allocations inside `measured`. Other builds do not count them, because
//! the counter's own instructions would be in every figure.
//!
//! A build with the feature `inspect` has the paths that are counted with that feature; `counts --snapshots` prints what
//! large snapshots cost.

mod after;
mod floors;
mod growth;
#[cfg(feature = "inspect")]
mod inspected;
mod ours;
mod peers;

use benches::{COUNTS, allocations};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

static ALLOCATED: AtomicU64 = AtomicU64::new(0);
/// Only read on request: a look at the clock would be in every count.
static TIMED: AtomicBool = AtomicBool::new(false);
static NANOSECONDS: AtomicU64 = AtomicU64::new(0);

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
pub(crate) fn measured<T>(iterations: u64, work: impl FnMut() -> T) {
    let start = TIMED.load(Ordering::Relaxed).then(Instant::now);
    repeat(iterations, work);
    if let Some(start) = start {
        NANOSECONDS.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
    }
}

/// A function of its own, because the start of the time would take a register of the loop.
#[inline(never)]
fn repeat<T>(iterations: u64, mut work: impl FnMut() -> T) {
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

/// The least time of an item in 20 runs, because other programs only ever add to it.
fn print_time(path: &Path) {
    TIMED.store(true, Ordering::Relaxed);
    let iterations = (20_000 / path.items).max(path.iterations);
    let runs = (0..20).map(|_| {
        (path.run)(path.items, iterations);
        NANOSECONDS.swap(0, Ordering::Relaxed)
    });
    println!("{:.1}", runs.min().unwrap_or(0) as f64 / (iterations * path.items) as f64);
}

fn paths() -> impl Iterator<Item = Path> {
    let ours = ours::paths().chain(after::ours());
    let peers = peers::paths().chain(after::peers());
    let all = std::iter::once(path("empty", empty)).chain(ours).chain(peers).chain(floors::paths());
    #[cfg(feature = "inspect")]
    let all = all.filter(inspected::is_counted);
    all
}

fn operations() -> impl Iterator<Item = Path> {
    growth::paths().chain(paths().filter(|path| growth::OTHERS.contains(&path.name)))
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let find = |name: &str| {
        paths().find(|path| path.name == name).unwrap_or_else(|| panic!("no path {name}"))
    };
    match arguments[..] {
        [] | ["--list"] => {
            for path in paths() {
                println!("{}\t{}\t{}", path.name, path.iterations, path.items);
            }
        }
        #[cfg(feature = "inspect")]
        ["--snapshots"] => inspected::print_snapshots(),
        ["--time", name] => print_time(&find(name)),
        ["--operations"] => operations().for_each(|path| println!("{}", path.name)),
        ["--grow", name, n] => {
            let path = operations().find(|path| path.name == name);
            (path.unwrap_or_else(|| panic!("no operation {name}")).run)(n.parse().unwrap(), 1);
        }
        [name, ref iterations @ ..] => {
            let path = find(name);
            let iterations = iterations.first().map_or(path.iterations, |n| n.parse().unwrap());
            (path.run)(path.items, iterations);
            if COUNTS {
                println!("{}", ALLOCATED.load(Ordering::Relaxed));
            }
        }
    }
}
