//! Schedules, and executors for them.
//!
//! Each test runs under random and under PCT schedules, from a fixed seed and from a seed that is new each time. Both
//! seeds are printed. `SHUTTLE_SEED=n` runs that seed alone. `SHUTTLE_REPLAY=schedule` replays one schedule: the text
//! that a failure printed, or the path of a file that contains it. `SHUTTLE_ITERATIONS=n` sets the number of iterations
//! of each kind.

use moored::{BoxTask, Refused, Spawn};
use shuttle::rand::Rng;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::thread;
use shuttle::{Config, Runner};
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

/// The number of points at which PCT changes a thread's priority. It finds a bug of that depth with a known
/// probability.
const DEPTH: usize = 3;

/// The stack of each thread, in bytes. The explorer's atomics and mutexes are many times larger than real ones, and so are
/// futures with a few exit stacks in them, which a spawn moves.
const STACK: usize = 0x4_0000;

pub(crate) fn explore(test: impl Fn() + Send + Sync + 'static) {
    let variable = |name| std::env::var(name).ok();
    let test = Arc::new(test);
    let run = |scheduler: Box<dyn shuttle::scheduler::Scheduler + Send>| {
        let test = Arc::clone(&test);
        let mut config = Config::new();
        config.stack_size = STACK;
        Runner::new(scheduler, config).run(move || test());
    };
    if let Some(schedule) = variable("SHUTTLE_REPLAY") {
        match std::path::Path::new(&schedule).exists() {
            true => shuttle::replay_from_file(move || test(), &schedule),
            false => shuttle::replay(move || test(), &schedule),
        }
        return;
    }
    let number = |name| variable(name).map(|n| n.parse::<u64>().expect("a number"));
    let iterations = number("SHUTTLE_ITERATIONS").unwrap_or(2_000) as usize;
    let seeds = match number("SHUTTLE_SEED") {
        Some(seed) => vec![seed],
        None => vec![1, RandomState::new().hash_one("a fresh seed")],
    };
    // The form that ci/proof.py reads.
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    println!("explored {name}: {} schedules", 2 * iterations * seeds.len());
    for seed in seeds {
        println!("SHUTTLE_SEED={seed}, {iterations} random schedules and as many of PCT");
        run(Box::new(RandomScheduler::new_from_seed(seed, iterations)));
        run(Box::new(PctScheduler::new_from_seed(seed, DEPTH, iterations)));
    }
}

/// A number below `bound`, which is part of the schedule.
pub(crate) fn random(bound: usize) -> usize {
    shuttle::rand::thread_rng().gen_range(0..bound)
}

/// Pending a random number of times, woken at once.
pub(crate) async fn dawdle() {
    let mut left = random(3);
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls on this thread, only when it is woken, and at most `polls` times; then the future is dropped.
fn drive<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = Box::pin(future);
    for poll in 1..=polls {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return Some(output),
            // The thread is unparked only by a wake-up, so a lost wake-up is a deadlock in shuttle.
            Poll::Pending if poll < polls => thread::park(),
            Poll::Pending => {}
        }
    }
    None
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    drive(future, usize::MAX).expect("nobody polls that often")
}

/// An executor of one thread for each task.
#[derive(Clone, Default)]
pub(crate) struct Threads {
    threads: Arc<Mutex<Vec<thread::JoinHandle<()>>>>,
    aborts: bool,
}

impl Threads {
    pub(crate) fn new() -> Self {
        Threads::default()
    }

    /// An executor that may drop a task after any of its first polls, as a runtime does when it
    /// shuts down.
    pub(crate) fn that_aborts() -> Self {
        Threads { aborts: true, ..Threads::default() }
    }

    pub(crate) fn join(&self) {
        while let Some(thread) = self.next() {
            thread.join().unwrap();
        }
    }

    fn next(&self) -> Option<thread::JoinHandle<()>> {
        self.threads.lock().unwrap().pop()
    }
}

impl Spawn for Threads {
    fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
        let polls = match (self.aborts, random(8)) {
            // Refuses the task.
            (true, 7) => return Err(Refused(task)),
            (true, polls) if polls < 5 => polls,
            _ => usize::MAX,
        };
        let thread = thread::spawn(move || {
            let _ = drive(task, polls);
        });
        self.threads.lock().unwrap().push(thread);
        Ok(())
    }

    fn keep(&self) -> Option<Arc<dyn Spawn + Send + Sync>> {
        Some(Arc::new(self.clone()))
    }
}
