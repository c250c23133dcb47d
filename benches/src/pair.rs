//! Two threads at the same time, and proof that they were.

use crate::watch::Watch;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The result of one thread.
struct Ran {
    started: Instant,
    took: Duration,
    /// `None` if the system does not tell.
    processor: Option<u64>,
}

/// Does `work` `iterations` times on each of two threads, and adds the mean of their times.
///
/// `work` gets the number of the thread, and the number of repetitions in this step. A thread that is done goes on,
/// unmeasured, until the other is done too, because a lock that lets one thread pass again and again would otherwise be
/// measured without contention.
///
/// Two threads on one processor run in turns, and such a round shows nothing. So they begin when each has a processor
/// of its own. The share of the time in which both ran is recorded; it is 0 if they ended on one processor.
pub fn on_two_threads(iterations: u64, watch: &mut Watch, work: impl Fn(usize, u64) + Sync) {
    const STEP: u64 = 64;
    let (seats, done) = ([AtomicU64::new(0), AtomicU64::new(0)], AtomicUsize::new(0));
    let run = |me: usize| {
        wait_apart(&seats, me);
        let started = Instant::now();
        let mut left = iterations;
        while left > 0 {
            let step = left.min(STEP);
            work(me, step);
            left -= step;
        }
        let took = started.elapsed();
        let processor = processor();
        done.fetch_add(1, Ordering::Relaxed);
        while done.load(Ordering::Relaxed) < 2 {
            work(me, STEP);
        }
        Ran { started, took, processor }
    };
    let (mine, theirs) = std::thread::scope(|threads| {
        let other = threads.spawn(|| run(1));
        let mine = run(0);
        match other.join() {
            Ok(theirs) => (mine, theirs),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });
    watch.add((mine.took + theirs.took) / 2);
    let first = mine.started.min(theirs.started);
    let alone = mine.started.max(theirs.started) - first;
    let shared = 1.0 - alone.as_secs_f64() / mine.took.min(theirs.took).as_secs_f64().max(1e-9);
    let apart = mine.processor.is_none() || mine.processor != theirs.processor;
    watch.overlapped(if apart { shared.max(0.0) } else { 0.0 });
}

/// Spins, so that the system moves one of the two, until they are on two processors; not for ever.
fn wait_apart(seats: &[AtomicU64; 2], me: usize) {
    const READY: u64 = u64::MAX;
    let patience = Instant::now() + Duration::from_millis(100);
    loop {
        let mine = processor().map_or(1 + me as u64, |processor| 1 + processor);
        seats[me].store(mine, Ordering::SeqCst);
        let other = seats[1 - me].load(Ordering::SeqCst);
        if other == READY || other != 0 && other != mine || Instant::now() > patience {
            break;
        }
        spin_loop();
    }
    // The other one sees that this one is apart, and comes at once.
    seats[me].store(READY, Ordering::SeqCst);
    while seats[1 - me].load(Ordering::SeqCst) != READY {
        spin_loop();
    }
}

/// The processor that this thread runs on: the 39th field of its `stat`, counted after the name, which may have spaces.
fn processor() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(36)?.parse().ok()
}
