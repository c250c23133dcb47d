//! The private node that all regions share: identity, parent, cancellation, exits, adoption.
//!
//! Thin public types stand over it: a scope, a stack, a group and a task are a `Node` each, and a
//! [`Frame`] polls it. A node outlives its region where a handle or a child still points at it.
//!
//! # Invariants
//!
//! 1. `ENTERED`, `LEFT`, `CANCELLED` and `STOP` are set once and never cleared. Each is stored under the
//!    node's lock, so that whoever holds the lock reads the last word.
//! 2. A node with `LEFT` has no exits, nothing adopted, no run's waker, and gets none: whoever adds does
//!    so under the lock, after a look at `LEFT`. So an exit that is handed over meets a region that will
//!    run it, or goes on to the next (R8).
//! 3. The parent is set when the region is entered, and changes only where it is handed over (R4), or to
//!    skip ancestors that were left: the effective parent is the nearest live ancestor (R1).
//! 4. `inner.waker` wakes the `run` that attends the node. Whoever takes it sets `REWAKE`, and the run
//!    registers anew at its next poll.
//! 5. A node that is linked is told of every cancellation of an ancestor. What it is told is to look: the
//!    state is never copied, because a region that was only lent survives what it was lent to (R7). Only
//!    children of a group and stays in a scope are cancelled themselves; they are linked from the start.
//!    A region that is *dropped* with what is around it keeps that reason when it leaves, for who looks late.
//! 6. Numbers grow: what is entered later in a task has the larger one. Sorting by it is last in, first
//!    out, whatever the order of drops (R7).
//!
//! # Lock order
//!
//! One node's lock at a time; a group's ledger may be held by the same thread never together with a
//! node's. No user code runs under either: wakers are cloned before and woken and dropped after, exits
//! are moved out before they are polled or dropped (R18).

mod adoption;
pub(crate) mod ambient;
mod cancel;
#[cfg(feature = "testing")]
mod census;
mod exit;
mod frame;
mod inbox;
mod observe;
mod owner;
#[cfg(feature = "inspect")]
pub(crate) mod register;
mod run;
mod ticket;
mod timers;
mod voyage;

#[cfg(feature = "testing")]
pub use census::live_regions;

pub(crate) use adoption::{Batch, Lane, Tally, Wave};
pub(crate) use exit::{Exit, ExitError, ExitWork};
pub(crate) use frame::{Ended, Frame};
pub(crate) use observe::Phase;
pub(crate) use owner::current_task;
pub(crate) use run::Run;
pub(crate) use ticket::Ticket;

use crate::clock::Clock;
use crate::failure::ExitFailure;
use crate::identity::Identity;
use crate::reason::{Reason, ReasonKind};
use crate::report::{Report, report};
use crate::rt;
use crate::spawn::Spawn;
use crate::sync::{Arc, AtomicU32, AtomicU64, Mutex, Ordering, Weak, next_number};
use crate::unwind::{self, Payload};
use crate::wakers::Wakers;
use crate::wrong_task::Misuse;
use slab::Slab;
use std::panic::Location;
use std::task::Waker;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Task,
    /// A task that a group spawned: the group can cancel it.
    Child,
    Scope,
    /// One of the runs inside an entered scope: cancelled with it, as it.
    Stay,
    Stack,
    Group,
}

/// Cancelled itself: its run drops the body.
const CANCELLED: u32 = 1;
/// The owner is recorded.
const ENTERED: u32 = 1 << 2;
/// A `run` or a `close` polls it, so it can adopt.
const ATTENDED: u32 = 1 << 3;
/// Closed for good.
const LEFT: u32 = 1 << 4;
/// `inner.adopted` or `inner.records` is not empty.
const INBOX: u32 = 1 << 5;
/// The run has to register its waker anew.
const REWAKE: u32 = 1 << 6;
/// A task of its own: who polls it does not matter.
const ROOT: u32 = 1 << 7;
/// Entered inside an exit: cancellation of what is outside does not reach in.
const SHELTERED: u32 = 1 << 8;
/// A deadline is set, and the run has not seen it yet.
const DEADLINE: u32 = 1 << 9;
/// Linked into its parent, invariant 5.
const LINKED: u32 = 1 << 10;
/// Asked to wind down (R13).
const STOP: u32 = 1 << 11;
/// Not dropped by what is cancelled outside, while it is polled (R12).
const SHIELD: u32 = 1 << 12;

pub(crate) struct Node {
    kind: Kind,
    flags: AtomicU32,
    owner_task: AtomicU64,
    owner_runtime: AtomicU64,
    inner: Mutex<Inner>,
    #[cfg(feature = "testing")]
    _census: census::Census,
}

struct Inner {
    name: Option<Arc<str>>,
    entered_at: Option<&'static Location<'static>>,
    number: u64,
    parent: Option<Arc<Node>>,
    clock: Option<Arc<dyn Clock>>,
    timeout: Option<Duration>,
    deadline: Option<Instant>,
    grace: Option<Duration>,
    reason: Option<Reason>,
    /// What new children inherit where the region itself is not cancelled: a group that has its success.
    below: Option<Reason>,
    stop: Option<Reason>,
    /// When the grace after a stop is over, once the region's run has seen it begin.
    stop_due: Option<Instant>,
    /// What was cancelled around a region that was dropped.
    dropped_for: Option<Reason>,
    spawner: Option<Arc<dyn Spawn + Send + Sync>>,
    waker: Option<Waker>,
    waiters: Wakers,
    stop_waiters: Wakers,
    links: Slab<Weak<Node>>,
    link: Option<(Weak<Node>, usize)>,
    exits: Vec<Exit>,
    adopted: Vec<Wave>,
    records: Vec<ExitFailure>,
    /// An exit's, kept for whoever goes on leaving a stack that was handed back.
    panic: Option<Payload>,
    #[cfg(feature = "inspect")]
    entry: register::Entry,
}

impl Inner {
    /// Whether somebody may wait here or below for what happens above.
    fn is_awaited(&self) -> bool {
        !(self.waiters.is_empty() && self.stop_waiters.is_empty() && self.links.is_empty())
    }

    /// Everything here that wakes, to be dropped outside the lock: it may hold the task that holds the node
    /// (R19).
    fn wakers(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        self.waiters.take_into(&mut wakers);
        self.stop_waiters.take_into(&mut wakers);
        wakers.extend(self.waker.take());
        wakers
    }
}

impl Node {
    pub(crate) fn new(kind: Kind) -> Arc<Self> {
        Arc::new(Node {
            kind,
            flags: AtomicU32::new(0),
            owner_task: AtomicU64::new(0),
            owner_runtime: AtomicU64::new(0),
            #[cfg(feature = "testing")]
            _census: census::Census::new(),
            inner: Mutex::new(Inner {
                name: None,
                entered_at: None,
                number: 0,
                parent: None,
                clock: None,
                timeout: None,
                deadline: None,
                grace: None,
                reason: None,
                below: None,
                stop: None,
                stop_due: None,
                dropped_for: None,
                spawner: None,
                waker: None,
                waiters: Wakers::new(),
                stop_waiters: Wakers::new(),
                links: Slab::new(),
                link: None,
                exits: Vec::new(),
                adopted: Vec::new(),
                records: Vec::new(),
                panic: None,
                #[cfg(feature = "inspect")]
                entry: register::Entry::default(),
            }),
        })
    }

    /// A child of `parent`, a task of its own, entered and attended from the start and linked.
    pub(crate) fn child(parent: &Arc<Node>, at: &'static Location<'static>) -> Arc<Self> {
        let node = Node::new(Kind::Child);
        let number = next_number();
        node.owner_task.store(number, Ordering::Relaxed);
        node.put_into(parent, number, at, ENTERED | ATTENDED | ROOT);
        node
    }

    /// One run inside the entered scope `parent`: it belongs to that scope's owner and is cancelled with it.
    pub(crate) fn stay(parent: &Arc<Node>, at: &'static Location<'static>) -> Arc<Self> {
        let node = Node::new(Kind::Stay);
        let owner = parent.owner();
        node.owner_task.store(owner.task, Ordering::Relaxed);
        node.owner_runtime.store(owner.runtime, Ordering::Relaxed);
        {
            // It is the scope to those inside, and its run watches the scope's times.
            let scope = parent.inner.lock();
            let (name, grace) = (scope.name.clone(), scope.grace);
            drop(scope);
            let mut inner = node.inner.lock();
            (inner.name, inner.grace) = (name, grace);
        }
        let shield = parent.flags.load(Ordering::Acquire) & SHIELD;
        node.put_into(parent, next_number(), at, ENTERED | ATTENDED | DEADLINE | shield);
        node
    }

    fn put_into(
        self: &Arc<Self>,
        parent: &Arc<Node>,
        number: u64,
        at: &'static Location<'static>,
        flags: u32,
    ) {
        {
            let mut inner = self.inner.lock();
            inner.number = number;
            inner.entered_at = Some(at);
            inner.parent = Some(Arc::clone(parent));
            self.raise(flags);
        }
        self.tell_entered();
        parent.link(self);
        // Also where the parent has left: a group that was abandoned has a reason for who slipped in.
        parent.catch_up(self);
    }

    pub(crate) fn set_name(&self, name: impl Into<Arc<str>>) {
        self.inner.lock().name = Some(name.into());
    }

    pub(crate) fn set_clock(&self, clock: Arc<dyn Clock>) {
        self.inner.lock().clock = Some(clock);
    }

    pub(crate) fn set_timeout(&self, timeout: Duration) {
        self.inner.lock().timeout = Some(timeout);
    }

    pub(crate) fn set_grace(&self, grace: Duration) {
        self.inner.lock().grace = Some(grace);
    }

    pub(crate) fn set_spawner(&self, spawner: Arc<dyn Spawn + Send + Sync>) {
        self.inner.lock().spawner = Some(spawner);
    }

    pub(crate) fn set_shielded(&self) {
        self.raise(SHIELD);
    }

    fn grace(&self) -> Option<Duration> {
        self.inner.lock().grace
    }

    /// Records the owner, the parent and the place, unless that was done before (R1).
    pub(crate) fn enter(self: &Arc<Self>, at: &'static Location<'static>) {
        if self.has(ENTERED) {
            return;
        }
        let (parent, in_exit) = ambient::with_current(|node, in_exit| (node.cloned(), in_exit));
        let owner = match &parent {
            Some(parent) => parent.owner(),
            None => Identity { task: 0, runtime: rt::task_number() },
        };
        let mut inner = self.inner.lock();
        if self.has(ENTERED) {
            return;
        }
        self.owner_task.store(owner.task, Ordering::Relaxed);
        self.owner_runtime.store(owner.runtime, Ordering::Relaxed);
        inner.number = next_number();
        inner.entered_at = Some(at);
        inner.parent = parent;
        self.raise(ENTERED | if in_exit { SHELTERED } else { 0 });
        drop(inner);
        self.tell_entered();
    }

    /// A run takes the region up, once: it is entered unless it was, and can adopt from now on.
    ///
    /// A region that nothing of this crate encloses becomes its own root task here (R5); a [`Kind::Task`]
    /// is one wherever it is.
    fn attend(
        self: &Arc<Self>,
        operation: &'static str,
        at: &'static Location<'static>,
    ) -> Result<(), Misuse> {
        let fresh = !self.has(ENTERED);
        if !fresh {
            self.check(operation, at)?;
        }
        self.enter(at);
        self.start_timeout();
        let around = ambient::with_current(|node, _| node.cloned());
        let mut inner = self.inner.lock();
        if self.has(LEFT) && operation != "run" {
            drop(inner);
            return Err(self.left_misuse(operation, at));
        }
        if self.has(LEFT | ATTENDED) {
            drop(inner);
            return Err(self.twice(at));
        }
        if self.kind == Kind::Task {
            self.owner_task.store(inner.number, Ordering::Relaxed);
            self.owner_runtime.store(0, Ordering::Relaxed);
            self.raise(ROOT);
        } else if self.owner_task.load(Ordering::Relaxed) == 0 {
            // Entered by its first use where no task of ours was known: it belongs to the one that runs it,
            // and to the region around that. Where there is none, it is its own root; and only if it was
            // never anybody's may it move with its future (R5).
            match around {
                Some(around) => {
                    self.owner_task.store(around.owner().task, Ordering::Relaxed);
                    inner.parent.get_or_insert(around);
                }
                None => {
                    self.owner_task.store(next_number(), Ordering::Relaxed);
                    self.raise(if fresh { ROOT } else { 0 });
                }
            }
        }
        self.raise(ATTENDED);
        let awaited = inner.is_awaited();
        drop(inner);
        if awaited || self.has(SHIELD) {
            // Somebody waited before there was anything around the region; and a shield has to be polled
            // when something outside is cancelled, to hold.
            self.link_up();
        }
        Ok(())
    }

    /// Enters a scope by a call: nobody attends it, its stays do the polling.
    pub(crate) fn enter_dynamic(
        self: &Arc<Self>,
        at: &'static Location<'static>,
    ) -> Result<(), Misuse> {
        if self.has(ENTERED) {
            return Err(self.twice(at));
        }
        self.enter(at);
        self.start_timeout();
        let inner = self.inner.lock();
        let awaited = inner.is_awaited();
        drop(inner);
        if awaited || self.has(SHIELD) {
            self.link_up();
        }
        Ok(())
    }

    /// Leaves a scope that was entered by a call, and tells why it was cancelled, if it was.
    pub(crate) fn leave_dynamic(self: &Arc<Self>) -> Option<Reason> {
        let reason = self.inner.lock().reason.clone();
        let stays = self.stays();
        if stays > 0 {
            report(&Report::StillInUse { region: self.describe(), runs: stays });
        }
        // A stay that was leaked does not outlive the scope.
        self.cancel_below(Reason::new(ReasonKind::OwnerGone, None, None, self.entered_at()));
        drop(self.leave_now(None));
        reason
    }

    /// Makes the running task the owner, and the region current here the parent (R4).
    pub(crate) fn take_over(self: &Arc<Self>) {
        if self.has(LEFT) || !self.has(ENTERED) {
            return;
        }
        let (parent, in_exit) = ambient::with_current(|node, in_exit| (node.cloned(), in_exit));
        let owner = match &parent {
            Some(parent) => parent.owner(),
            None => Identity { task: 0, runtime: rt::task_number() },
        };
        let (former, link, awaited) = {
            let mut inner = self.inner.lock();
            self.owner_task.store(owner.task, Ordering::Relaxed);
            self.owner_runtime.store(owner.runtime, Ordering::Relaxed);
            // Entered anew, as far as the order of exits goes.
            inner.number = next_number();
            self.lower(LINKED | SHELTERED);
            self.raise(if in_exit { SHELTERED } else { 0 });
            let former = std::mem::replace(&mut inner.parent, parent);
            (former, inner.link.take(), inner.is_awaited())
        };
        if let Some((linked_to, key)) = &link {
            if let Some(linked_to) = linked_to.upgrade() {
                linked_to.inner.lock().links.try_remove(*key);
            }
        }
        if awaited || link.is_some() || self.has(SHIELD) {
            self.link_up();
        }
        drop((former, link));
    }

    fn twice(&self, at: &'static Location<'static>) -> Misuse {
        let inner = self.inner.lock();
        let (name, entered_at) = (inner.name.clone(), inner.entered_at.unwrap_or(at));
        drop(inner);
        Misuse::EnteredTwice { region: self.describe_as(name), entered_at, attempted_at: at }
    }

    /// A relative deadline starts when the region is entered (R11).
    fn start_timeout(&self) {
        let Some(timeout) = self.inner.lock().timeout.take() else { return };
        if timeout.is_zero() {
            // It is over at once: the body is polled once, as one that is entered under cancellation (R6).
            self.cancel(Reason::new(ReasonKind::Deadline, None, None, self.entered_at()));
            return;
        }
        let Some(due) = self.clock().now().checked_add(timeout) else { return };
        let mut inner = self.inner.lock();
        inner.deadline = Some(inner.deadline.map_or(due, |deadline| deadline.min(due)));
        self.raise(DEADLINE);
    }

    /// Closes the region where nothing is left to do in it, and returns the failures that were sent here.
    fn try_leave(self: &Arc<Self>) -> Option<Vec<ExitFailure>> {
        let (records, wakers) = {
            let mut inner = self.inner.lock();
            if !inner.exits.is_empty() || !inner.adopted.is_empty() {
                return None;
            }
            self.raise(LEFT);
            (std::mem::take(&mut inner.records), inner.wakers())
        };
        drop(unwind::drop_each(wakers));
        self.unlink();
        self.tell_left();
        Some(records)
    }

    /// Closes the region whatever is left in it, which is returned.
    ///
    /// `dropped_for` is what was cancelled around it: who looks later still hears of it.
    fn leave_now(
        self: &Arc<Self>,
        dropped_for: Option<Reason>,
    ) -> (Vec<Wave>, Vec<Exit>, Vec<ExitFailure>) {
        let (rest, wakers) = {
            let mut inner = self.inner.lock();
            self.raise(LEFT);
            let inner = &mut *inner;
            inner.dropped_for = dropped_for;
            let adopted = std::mem::take(&mut inner.adopted);
            let exits = std::mem::take(&mut inner.exits);
            ((adopted, exits, std::mem::take(&mut inner.records)), inner.wakers())
        };
        drop(unwind::drop_each(wakers));
        self.unlink();
        self.tell_left();
        rest
    }

    pub(crate) fn has_left(&self) -> bool {
        self.has(LEFT)
    }

    pub(crate) fn is_entered(&self) -> bool {
        self.has(ENTERED)
    }

    fn has(&self, any_of: u32) -> bool {
        self.flags.load(Ordering::Acquire) & any_of != 0
    }

    fn raise(&self, bits: u32) {
        self.flags.fetch_or(bits, Ordering::Release);
    }

    fn lower(&self, bits: u32) {
        self.flags.fetch_and(!bits, Ordering::Release);
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct(match self.kind {
            Kind::Task | Kind::Child => "Task",
            Kind::Scope | Kind::Stay => "CancelScope",
            Kind::Stack => "ExitStack",
            Kind::Group => "TaskGroup",
        });
        // Never blocking: a node that is locked shows what needs no lock.
        if let Some(inner) = self.inner.try_lock() {
            shown.field("name", &inner.name).field("entered_at", &inner.entered_at);
            shown.field("exits", &inner.exits.len());
        }
        shown.field("cancelled", &self.has(CANCELLED)).field("left", &self.has(LEFT));
        shown.finish_non_exhaustive()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        #[cfg(feature = "inspect")]
        register::forget(&mut self.inner.lock().entry);
        // A chain of 10,000 regions must not be dropped by recursion (R14).
        let mut next = self.inner.lock().parent.take();
        while let Some(node) = next {
            next = Arc::into_inner(node).and_then(|node| node.inner.lock().parent.take());
        }
    }
}
