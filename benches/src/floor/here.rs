//! The words of a thread that a poll sets and puts back, and the exits that were abandoned during it.

use parking_lot::Mutex;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

/// Work that outlives the region that made it, so it is boxed (R8).
pub(super) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An exit, and where it was registered (R15).
pub(super) struct Exit {
    pub(super) work: Work,
    pub(super) at: &'static Location<'static>,
}

/// The words of a thread.
pub(super) struct Here {
    /// The current task; 0 outside every task (R1).
    pub(super) task: Cell<u64>,
    /// The number of the stack whose exits stand in [`OPEN`].
    pub(super) stack: Cell<u64>,
    next: Cell<u64>,
    end: Cell<u64>,
}

thread_local! {
    pub(super) static HERE: Here = const {
        Here { task: Cell::new(0), stack: Cell::new(0), next: Cell::new(0), end: Cell::new(0) }
    };
    /// The exits of the innermost stack that is being polled.
    pub(super) static OPEN: RefCell<Vec<Exit>> = const { RefCell::new(Vec::new()) };
    /// Exits whose region was dropped during this poll. The region around takes them when the poll returns.
    static ABANDONED: RefCell<Vec<Work>> = const { RefCell::new(Vec::new()) };
    /// Where exits go that are dropped by another task; made by the first stack that waits.
    static HOME: Cell<Option<Arc<Home>>> = const { Cell::new(None) };
}

/// The place of a task that another thread reaches: exits that were dropped there go home (R8).
#[derive(Default)]
pub(super) struct Home(Mutex<(Vec<Work>, Option<Waker>)>);

/// A number for a task or a stack. A thread takes 64 at a time, so that threads do not share the counter.
pub(super) fn number() -> u64 {
    HERE.with(|here| {
        let number = here.next.get();
        if number == here.end.get() {
            return more(here);
        }
        here.next.set(number + 1);
        number
    })
}

#[cold]
fn more(here: &Here) -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(64, Ordering::Relaxed);
    here.next.set(number + 1);
    here.end.set(number + 64);
    number
}

/// Polls with `task` and `home` current, and puts back what was there. `poll` does not unwind.
pub(super) fn inside<R>(task: u64, home: &mut Option<Arc<Home>>, poll: impl FnOnce() -> R) -> R {
    let before = HERE.with(|here| (here.task.replace(task), here.stack.replace(0)));
    let around = HOME.replace(home.take());
    let polled = poll();
    *home = HOME.replace(around);
    HERE.with(|here| {
        here.task.set(before.0);
        here.stack.set(before.1);
    });
    polled
}

pub(super) fn task() -> u64 {
    HERE.with(|here| here.task.get())
}

/// The home of the current task, made where it has none.
pub(super) fn home() -> Arc<Home> {
    let home = HOME.take().unwrap_or_default();
    HOME.set(Some(Arc::clone(&home)));
    home
}

/// Hands work to the region around, which is being polled; outside every task it is lost.
pub(super) fn abandon(work: Work) {
    if task() != 0 {
        ABANDONED.with_borrow_mut(|all| all.push(work));
    }
}

pub(super) fn has_abandoned() -> bool {
    ABANDONED.with_borrow(|all| !all.is_empty())
}

/// The list of the thread keeps its memory.
pub(super) fn take_abandoned(mut take: impl FnMut(Work)) {
    let mut all = ABANDONED.take();
    all.drain(..).for_each(&mut take);
    ABANDONED.with_borrow_mut(|now| {
        if now.capacity() == 0 {
            *now = all;
        }
    });
}

impl Home {
    /// Work for the task at home, which is woken.
    pub(super) fn send(&self, work: Work) {
        let waker = {
            let mut all = self.0.lock();
            all.0.push(work);
            all.1.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// Registers the task's waker, then looks: in the other order a piece of work could wake nobody.
    pub(super) fn receive(&self, waker: &Waker) -> Vec<Work> {
        let waker = waker.clone();
        let (work, old) = {
            let mut all = self.0.lock();
            (std::mem::take(&mut all.0), all.1.replace(waker))
        };
        drop(old);
        work
    }
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Home")
    }
}
