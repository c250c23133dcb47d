//! Which in-task children have to be polled.

use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use std::mem;
use std::task::{Wake, Waker};

/// The queue between the wakers of a group's in-task children and its `run`. It holds no future, so a
/// waker that outlives the group keeps nothing alive.
#[derive(Default)]
pub(super) struct Ready(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    woken: Vec<usize>,
    /// Wakes `run`; taken by the first who has news.
    run: Option<Waker>,
}

impl Ready {
    /// Tells `run` that there is news that is not in the queue: a child has arrived.
    pub(super) fn notify(&self) {
        let run = self.0.lock().run.take();
        crate::wakers::wake_all(run);
    }

    fn push(&self, member: usize) {
        let run = {
            let mut queue = self.0.lock();
            queue.woken.push(member);
            queue.run.take()
        };
        crate::wakers::wake_all(run);
    }

    /// Registers `run`'s waker, and swaps what was woken into `woken`, which must be empty.
    pub(super) fn take(&self, woken: &mut Vec<usize>, run: &Waker) {
        let run = run.clone();
        let old = {
            let mut queue = self.0.lock();
            mem::swap(&mut queue.woken, woken);
            queue.run.replace(run)
        };
        drop(old);
    }

    /// Lets go of `run`'s waker, and with it of the task that holds the group.
    pub(super) fn clear(&self) {
        let (woken, run) = {
            let mut queue = self.0.lock();
            (mem::take(&mut queue.woken), queue.run.take())
        };
        drop((woken, run));
    }
}

/// The waker of a place among the members; kept for the next child that gets the place.
pub(super) struct MemberWaker {
    member: usize,
    /// Whether it is in the queue already.
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl MemberWaker {
    pub(super) fn new(member: usize, ready: Arc<Ready>) -> Arc<Self> {
        Arc::new(MemberWaker { member, queued: AtomicBool::new(false), ready })
    }

    /// Before the poll, so that a wake-up during the poll counts.
    pub(super) fn unqueue(&self) {
        // Nobody else takes the mark down: where it is not up, there is nothing to be seen by others. Where it is, whoever
        // found it up has left its news to this poll, which has to see what came before.
        if self.queued.load(Ordering::Relaxed) {
            self.queued.swap(false, Ordering::AcqRel);
        }
    }
}

impl Wake for MemberWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::SeqCst) {
            self.ready.push(self.member);
        }
    }
}
