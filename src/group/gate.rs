//! The gate of a group: counts the children inside, and closes behind the last one.
//!
//! # Invariants
//!
//! 1. A spawn is either counted before the group checks whether it is empty, or finds the group closed: one word holds the
//!    count and the flag, and each change of it is a read-modify-write, so a later change sees the earlier ones (R16).
//! 2. The count goes down before the waker of the wait is taken, and the wait registers its waker before it reads the count.
//!    So the last child that leaves wakes the wait, or the wait finds it gone.

use super::turns::{Turn, Turns};
use crate::reason::Leaving;
use crate::region::observe;
use crate::region::record;
use crate::region::time;
use crate::region::{Caught, ExitError, ExitWork, Node};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering, Weak};
use crate::unwind;
use crate::wakers::{MemberWaker, WakeQueue};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

/// The gate does not name the types that children borrow or return, so that the wait for them can
/// outlive the group.
pub(crate) struct Gate {
    /// The group. Weak, because a waker of a child may keep the gate for longer than the group lives.
    group: Weak<Node>,
    /// The number of children inside, in units of `ONE`, and of guards, in units of `GUARD`, with the flags below (invariant 1).
    inside: AtomicU64,
    /// Whether `run` polls the body, and takes the arrivals after that. Only code of the owner's task acts on it.
    in_poll: AtomicBool,
    waiting: Mutex<WaitState>,
    pub(crate) turns: Turns,
}

/// The wait for the last child to leave.
#[derive(Default)]
struct WaitState {
    waker: Option<Waker>,
    /// Whether a region has adopted the wait. It goes on with the panic of a child.
    adopted: bool,
    panic: Option<Caught>,
}

/// The gate of a group, with the queue of its in-task children.
pub(crate) type Core = WakeQueue<Gate>;

/// The waker of an in-task child.
pub(crate) type ChildWaker = MemberWaker<Gate>;

const CLOSED: u64 = 1;
/// A stream of results was opened, so a child that leaves has to wake its reader.
pub(super) const READ: u64 = 1 << 1;
/// There may be a waker of the wait for the last child.
const AWAITED: u64 = 1 << 2;
/// `run` was dropped, or never polled.
pub(super) const ABANDONED: u64 = 1 << 3;
/// The policy is, or was, to end with the first success.
pub(super) const FIRST_WINS: u64 = 1 << 4;
/// A child's panic goes to its handle instead of cancelling the group.
pub(super) const ISOLATES: u64 = 1 << 5;
/// One child in the count.
pub(super) const ONE: u64 = 1 << 6;
/// One guard in the count.
pub(super) const GUARD: u64 = 1 << 38;

/// The number of children in a value of `inside`.
fn children(inside: u64) -> u32 {
    (inside / ONE) as u32
}

/// Whether the guards of foreign work count in a wait for the end of a group.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Guards {
    Awaited,
    /// The group is cancelled, or its `run` was dropped. It cannot drop foreign work, which must not hold a cancellation
    /// up (R7).
    Ignored,
}

impl Gate {
    pub(super) fn new(group: &Arc<Node>) -> Self {
        Gate {
            group: Arc::downgrade(group),
            inside: AtomicU64::new(0),
            in_poll: AtomicBool::new(false),
            waiting: Mutex::default(),
            turns: Turns::default(),
        }
    }

    /// For a request to a child alone: a time of the group that has come counts before it. A panic of the clock ends here,
    /// because the request is made all the same.
    pub(super) fn ask_clock(&self) {
        if let Some(group) = self.group.upgrade() {
            unwind::quietly(|| time::ask_clock_of_group(&group));
        }
    }

    pub(crate) fn open(&self) -> usize {
        children(self.inside.load(Ordering::Acquire)) as usize
    }

    /// Counts one more child or guard, unless the group has closed.
    #[inline(always)]
    pub(super) fn admit(&self, unit: u64) -> bool {
        let admitted = self.inside.fetch_add(unit, Ordering::AcqRel) & CLOSED == 0;
        if !admitted {
            self.turn_away(unit);
        }
        admitted
    }

    #[cold]
    fn turn_away(&self, unit: u64) {
        // The wait for the last child may have seen the count with this one.
        self.count_out(unit);
    }

    /// Counts a child or a guard out, and returns the former value of `inside`.
    #[inline(always)]
    pub(super) fn count_out(&self, unit: u64) -> u64 {
        // Before the waker is taken (invariant 2); `poll_close` sets `AWAITED` as it reads the count. In the other order a
        // wake-up is lost: this thread finds no waker; the waiter registers, reads the old count and sleeps; this thread counts
        // down.
        let before = self.inside.fetch_sub(unit, Ordering::AcqRel);
        let last = if unit == GUARD { before / GUARD == 1 } else { children(before) == 1 };
        // Either `AWAITED` is in the word as this thread has changed it, or the wait reads the word later.
        if last && before & AWAITED != 0 {
            let waiting = self.waiting.lock().waker.take();
            crate::wakers::wake_all(waiting);
        }
        before
    }

    /// Whether there is a child or a guard inside.
    pub(super) fn is_occupied(&self) -> bool {
        self.inside.load(Ordering::Acquire) >= ONE
    }

    pub(super) fn has(&self, any_of: u64) -> bool {
        self.inside.load(Ordering::Acquire) & any_of != 0
    }

    /// Sets flags, and returns the former value of `inside`, which is the last one, while a load might return an older one.
    pub(super) fn raise(&self, flags: u64) -> u64 {
        self.inside.fetch_or(flags, Ordering::AcqRel)
    }

    /// Closes the group, because its `run` is not polled any more.
    pub(super) fn abandon(&self) {
        self.raise(CLOSED | ABANDONED);
    }

    /// Drops the waker of the run, which waits no longer. A waker of a child may keep the gate for longer than the run
    /// lives, and must not keep the run's task.
    pub(super) fn forget_run(&self) {
        let waker = self.waiting.lock().waker.take();
        drop(waker);
    }

    pub(super) fn set_in_poll(&self, on: bool) {
        self.in_poll.store(on, Ordering::Relaxed);
    }

    pub(super) fn is_in_poll(&self) -> bool {
        self.in_poll.load(Ordering::Relaxed)
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.has(ABANDONED)
    }

    /// A child has left, before, in or without its turn; `true` if a stream of results is open.
    pub(super) fn left(&self, turn: Turn, task: u64) -> bool {
        self.turns.leave(turn, task);
        self.count_out(ONE) & READ != 0
    }

    /// Closes the group; ready when no child is inside, and no guard that counts.
    pub(super) fn poll_close(&self, guards: Guards, cx: &mut Context<'_>) -> Poll<()> {
        if self.close(guards) {
            if guards == Guards::Ignored {
                // An earlier wait, for the guards too, has left its waker.
                self.forget_run();
            }
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        let old = self.waiting.lock().waker.replace(waker);
        drop(old);
        // A read-modify-write, because a load might return an older value of the count.
        self.raise(AWAITED);
        if !self.close(guards) {
            return Poll::Pending;
        }
        let own = self.waiting.lock().waker.take();
        drop(own);
        Poll::Ready(())
    }

    /// Gives a panic of a child to the region that waits for the children, or hands it back if no region
    /// does.
    pub(super) fn panics(&self, panic: Caught) -> Result<(), Caught> {
        let mut waiting = self.waiting.lock();
        if !waiting.adopted || waiting.panic.is_some() {
            return Err(panic);
        }
        waiting.panic = Some(panic);
        Ok(())
    }

    /// Closes the group, unless a child is inside, or a guard that counts.
    pub(super) fn close(&self, guards: Guards) -> bool {
        let close = |inside: u64| {
            let empty = inside < ONE || (guards == Guards::Ignored && children(inside) == 0);
            empty.then_some(inside | CLOSED)
        };
        self.inside.fetch_update(Ordering::AcqRel, Ordering::Acquire, close).is_ok()
    }
}

/// The wait for the executor children of a group with a dropped `run`, as an abandoned exit (R16).
pub(super) struct WaitForChildren {
    /// The group.
    node: Arc<Node>,
    gate: Arc<Core>,
}

impl WaitForChildren {
    pub(super) fn new(node: Arc<Node>, gate: Arc<Core>) -> Self {
        gate.waiting.lock().adopted = true;
        observe::children_remain(&node);
        WaitForChildren { node, gate }
    }
}

impl ExitWork for WaitForChildren {
    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &Leaving,
    ) -> Poll<Result<(), ExitError>> {
        // Guards hold no group that ends by the drop of its `run`.
        ready!(self.gate.poll_close(Guards::Ignored, cx));
        let panic = self.gate.waiting.lock().panic.take();
        Poll::Ready(panic.map_or(Ok(()), |panic| Err(ExitError::Panicked(panic))))
    }

    fn only_waits(&self) -> bool {
        true
    }
}

impl Drop for WaitForChildren {
    /// The region that waited is gone, so no region resumes a panic: it becomes a failure.
    fn drop(&mut self) {
        let (panic, waker) = {
            let mut waiting = self.gate.waiting.lock();
            waiting.adopted = false;
            (waiting.panic.take(), waiting.waker.take())
        };
        observe::children_gone(&self.node);
        record::send_panic(&self.node, panic);
        unwind::drop_quietly(waker);
    }
}
