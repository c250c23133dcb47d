//! The queue of the members that have to be polled, of many that one run polls.

use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use std::mem;
use std::task::{Wake, Waker};

/// The queue between the wakers of the members, such as a group's in-task children, and the run that polls them. It
/// holds no future, so a waker that outlives the run keeps nothing alive.
#[derive(Default)]
pub(crate) struct Ready(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    woken: Vec<usize>,
    /// Wakes the run; taken by the first thread that queues a member or an arrival.
    run: Option<Waker>,
}

impl Ready {
    /// Wakes the run for a member that has arrived, which is not in the queue.
    pub(crate) fn notify(&self) {
        let run = self.0.lock().run.take();
        super::wake_all(run);
    }

    fn push(&self, member: usize) {
        let run = {
            let mut queue = self.0.lock();
            queue.woken.push(member);
            queue.run.take()
        };
        super::wake_all(run);
    }

    /// Registers the run's waker, and swaps the queue of woken members into `woken`, which must
    /// be empty.
    pub(crate) fn take(&self, woken: &mut Vec<usize>, run: &Waker) {
        let run = run.clone();
        let old = {
            let mut queue = self.0.lock();
            mem::swap(&mut queue.woken, woken);
            queue.run.replace(run)
        };
        drop(old);
    }

    /// Drops the run's waker, and with it the reference to the task that holds the members.
    pub(crate) fn clear(&self) {
        let (woken, run) = {
            let mut queue = self.0.lock();
            (mem::take(&mut queue.woken), queue.run.take())
        };
        drop((woken, run));
    }
}

/// The waker of a place among the members; kept for the next member that gets the place.
pub(crate) struct MemberWaker {
    member: usize,
    /// Whether it is in the queue already.
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl MemberWaker {
    pub(crate) fn new(member: usize, ready: Arc<Ready>) -> Arc<Self> {
        Arc::new(MemberWaker { member, queued: AtomicBool::new(false), ready })
    }

    /// Before the poll, so that a wake-up during the poll counts.
    pub(crate) fn unqueue(&self) {
        // Only this function clears the mark. If it is not set, there is no write to synchronise with. If it is set, a
        // thread that found it set did not queue the member again and relies on this poll, so the poll has to acquire
        // that thread's earlier writes.
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
