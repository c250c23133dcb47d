//! The queue of the members that have to be polled, of many that one run polls.

use crate::sync::{Arc, AtomicBool, AtomicUsize, Mutex, Ordering};
use std::ops::Deref;
use std::task::{Wake, Waker};

/// The queue between the wakers of the members, such as a group's in-task children, and the run that polls them. It
/// holds no future, so a waker that outlives the run keeps nothing alive.
///
/// The queue goes through the states of the rows: each knows the row that was queued before it. So no wake-up
/// allocates. The waker of the first row is the queue itself, so that a single member needs no waker of its own. `beside` is
/// further state that the run and its members share, in the same allocation.
#[derive(Default)]
pub(crate) struct WakeQueue<B = ()> {
    queue: Mutex<Queue>,
    /// Whether the run's waker is in the queue: then no member has been queued and none has arrived since the run put it there.
    /// Changed under the lock; the run reads it without the lock, because a change that it misses wakes it.
    rests: AtomicBool,
    /// Whether a member has arrived that is not in the queue.
    arrived: AtomicBool,
    /// The state of the first row.
    first: RowState,
    beside: B,
}

/// Ends a queue: no row has this number.
pub(super) const END: usize = usize::MAX;

struct Queue {
    /// The row that was queued last, or `END`.
    last: usize,
    /// Wakes the run; taken by the first thread that queues a member or an arrival.
    run: Option<Waker>,
}

impl Default for Queue {
    fn default() -> Self {
        Queue { last: END, run: None }
    }
}

impl<B> WakeQueue<B> {
    pub(crate) fn new(beside: B) -> Arc<Self> {
        let (rests, arrived) = (AtomicBool::new(false), AtomicBool::new(false));
        let (queue, first) = (Mutex::default(), RowState::default());
        Arc::new(WakeQueue { queue, rests, arrived, first, beside })
    }

    /// A member has arrived, which is not in the queue. The caller is the run's own task, in a poll in which the run takes
    /// the arrivals later.
    pub(crate) fn note_arrival(&self) {
        self.arrived.store(true, Ordering::Release);
    }

    /// As [`note_arrival`](WakeQueue::note_arrival), for any other caller: wakes the run.
    pub(crate) fn notify(&self) {
        self.note_arrival();
        let run = self.take_run(&mut self.queue.lock());
        super::wake_all(run);
    }

    fn take_run(&self, queue: &mut Queue) -> Option<Waker> {
        self.rests.store(false, Ordering::Relaxed);
        queue.run.take()
    }

    fn wake_row(&self, row: usize, state: &RowState) {
        if state.queued.swap(true, Ordering::SeqCst) {
            return;
        }
        let run = {
            let mut queue = self.queue.lock();
            state.before.store(queue.last, Ordering::Relaxed);
            queue.last = row;
            self.take_run(&mut queue)
        };
        super::wake_all(run);
    }

    pub(super) fn first(&self) -> &RowState {
        &self.first
    }

    /// Whether the waker that the run has registered last is still here, and nothing has come since.
    #[inline]
    pub(super) fn rests(&self) -> bool {
        self.rests.load(Ordering::Relaxed)
    }

    /// Registers the run's waker, if there is one, and empties the queue. Returns the row that was queued last, or `END`.
    pub(super) fn take(&self, run: Option<Waker>) -> usize {
        let (last, old) = {
            let mut queue = self.queue.lock();
            self.rests.store(run.is_some(), Ordering::Relaxed);
            (std::mem::replace(&mut queue.last, END), std::mem::replace(&mut queue.run, run))
        };
        drop(old);
        last
    }

    /// Whether a member has arrived since the last call. To be called with the run's waker registered, and before the
    /// arrivals are taken, so that each arrival is found now or wakes the run.
    #[inline]
    pub(crate) fn take_arrived(&self) -> bool {
        let arrived = self.arrived.load(Ordering::Acquire);
        if arrived {
            self.arrived.store(false, Ordering::Relaxed);
        }
        arrived
    }

    /// Drops the run's waker, and with it the reference to the task that holds the members.
    pub(crate) fn clear(&self) {
        if self.rests() {
            let run = self.take_run(&mut self.queue.lock());
            drop(run);
        }
    }
}

impl<B> Deref for WakeQueue<B> {
    type Target = B;

    #[inline]
    fn deref(&self) -> &B {
        &self.beside
    }
}

/// The state in which another thread notes a request to a member that is being polled.
pub(crate) trait Asked {
    fn is_asked(&self) -> bool;
}

/// The state of a row that its waker changes; kept for the next member that gets the row.
#[derive(Default)]
pub(super) struct RowState {
    /// The row that was queued before this one, or `END`. Written under the lock of the queue, or by the run if the
    /// row is in a queue that the run has taken.
    before: AtomicUsize,
    /// Whether it is in the queue already.
    queued: AtomicBool,
    /// Whether there was a request to the member.
    asked: AtomicBool,
}

impl RowState {
    /// The member leaves the row.
    pub(super) fn forget(&self) {
        self.asked.store(false, Ordering::Relaxed);
    }

    /// The next row in a queue that the run has taken. A row stays in that queue, and is put into no other, until
    /// it is [taken out](RowState::unqueue).
    pub(super) fn next(&self) -> usize {
        self.before.load(Ordering::Relaxed)
    }

    pub(super) fn set_next(&self, next: usize) {
        self.before.store(next, Ordering::Relaxed);
    }

    /// Before the poll, so that a wake-up during the poll counts.
    #[inline]
    pub(super) fn unqueue(&self) {
        // A thread that found the mark set did not queue the row again and relies on this poll, so the poll has to
        // acquire that thread's earlier writes.
        self.queued.swap(false, Ordering::AcqRel);
    }

    fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }
}

/// The waker of a row behind the first.
pub(crate) struct RowWaker<B> {
    row: usize,
    state: RowState,
    ready: Arc<WakeQueue<B>>,
}

impl<B> RowWaker<B> {
    pub(super) fn new(row: usize, ready: Arc<WakeQueue<B>>) -> Arc<Self> {
        Arc::new(RowWaker { row, state: RowState::default(), ready })
    }

    pub(super) fn state(&self) -> &RowState {
        &self.state
    }
}

impl<B: Send + Sync + 'static> Wake for RowWaker<B> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.wake_row(self.row, &self.state);
    }
}

impl<B: Send + Sync + 'static> Wake for WakeQueue<B> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_row(0, &self.first);
    }
}

impl<B> Asked for RowWaker<B> {
    fn is_asked(&self) -> bool {
        self.state.is_asked()
    }
}

impl<B> Asked for WakeQueue<B> {
    fn is_asked(&self) -> bool {
        self.first.is_asked()
    }
}

/// The waker of any row, with the state of the row.
pub(crate) enum MemberWaker<B> {
    First(Arc<WakeQueue<B>>),
    Later(Arc<RowWaker<B>>),
}

impl<B> MemberWaker<B> {
    pub(crate) fn ready(&self) -> &Arc<WakeQueue<B>> {
        match self {
            MemberWaker::First(ready) => ready,
            MemberWaker::Later(waker) => &waker.ready,
        }
    }

    /// Notes a request to the member, which the caller then has to wake.
    pub(crate) fn ask(&self) {
        let state = match self {
            MemberWaker::First(ready) => &ready.first,
            MemberWaker::Later(waker) => &waker.state,
        };
        state.asked.store(true, Ordering::Release);
    }
}

impl<B: Send + Sync + 'static> From<MemberWaker<B>> for Waker {
    fn from(waker: MemberWaker<B>) -> Waker {
        match waker {
            MemberWaker::First(ready) => ready.into(),
            MemberWaker::Later(waker) => waker.into(),
        }
    }
}
