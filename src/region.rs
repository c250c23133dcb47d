//! The private node that all regions share: identity, parent, cancellation, exits, adoption.
//!
//! Thin public types stand over it: a scope, a stack, a group and a task are a `Node` each, and a
//! [`Frame`] polls it. A node outlives its region where a handle or a child still points at it.
//!
//! # Invariants
//!
//! 1. `ENTERED`, `ATTENDED`, `LEFT`, `CANCELLED` and `INHERITED` are set once and never cleared. Each is
//!    stored under the node's lock, so that whoever holds the lock reads the last word.
//! 2. A node with `LEFT` has no exits, nothing adopted, no run's waker, and gets none: whoever adds does
//!    so under the lock, after a look at `LEFT`. So an exit that is handed over meets a region that will
//!    run it, or goes on to the next (R8).
//! 3. The parent is set when the region is entered and does not change. A parent that was left is walked
//!    past, so the effective parent is the nearest live ancestor (R1).
//! 4. `inner.waker` wakes the `run` that attends the node. Whoever takes it sets `REWAKE`, and the run
//!    registers anew at its next poll.
//! 5. A node that is linked is reached by every cancellation of an ancestor up to a shield; one that is
//!    not is looked up by walking. Children of a group are linked from their spawn.
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
mod exit;
mod frame;
mod inbox;
mod owner;
mod run;

pub(crate) use adoption::{Batch, Lane, Tally, Wave};
pub(crate) use exit::{Exit, ExitError, ExitWork};
pub(crate) use frame::{Ended, Frame};
pub(crate) use owner::current_task;
pub(crate) use run::Run;

use crate::clock::Clock;
use crate::failure::ExitFailure;
use crate::identity::Identity;
use crate::reason::Reason;
use crate::rt;
use crate::sync::{Arc, AtomicU32, AtomicU64, Mutex, Ordering, Weak, next_number};
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
    Stack,
    Group,
}

/// Cancelled itself: its run drops the body.
const CANCELLED: u32 = 1;
/// Something around it was cancelled: only who asks is told, the outer run drops the body.
const INHERITED: u32 = 1 << 1;
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

pub(crate) struct Node {
    kind: Kind,
    flags: AtomicU32,
    owner_task: AtomicU64,
    owner_runtime: AtomicU64,
    inner: Mutex<Inner>,
}

struct Inner {
    name: Option<Arc<str>>,
    entered_at: Option<&'static Location<'static>>,
    number: u64,
    parent: Option<Arc<Node>>,
    clock: Option<Arc<dyn Clock>>,
    timeout: Option<Duration>,
    deadline: Option<Instant>,
    reason: Option<Reason>,
    inherited: Option<Reason>,
    waker: Option<Waker>,
    waiters: Wakers,
    links: Slab<Weak<Node>>,
    link: Option<(Weak<Node>, usize)>,
    exits: Vec<Exit>,
    adopted: Vec<Wave>,
    records: Vec<ExitFailure>,
}

impl Node {
    pub(crate) fn new(kind: Kind) -> Arc<Self> {
        Arc::new(Node {
            kind,
            flags: AtomicU32::new(0),
            owner_task: AtomicU64::new(0),
            owner_runtime: AtomicU64::new(0),
            inner: Mutex::new(Inner {
                name: None,
                entered_at: None,
                number: 0,
                parent: None,
                clock: None,
                timeout: None,
                deadline: None,
                reason: None,
                inherited: None,
                waker: None,
                waiters: Wakers::new(),
                links: Slab::new(),
                link: None,
                exits: Vec::new(),
                adopted: Vec::new(),
                records: Vec::new(),
            }),
        })
    }

    /// A child of `parent`, a task of its own, entered and attended from the start and linked.
    pub(crate) fn child(parent: &Arc<Node>, at: &'static Location<'static>) -> Arc<Self> {
        let node = Node::new(Kind::Child);
        let number = next_number();
        node.owner_task.store(number, Ordering::Relaxed);
        {
            let mut inner = node.inner.lock();
            inner.number = number;
            inner.entered_at = Some(at);
            inner.parent = Some(Arc::clone(parent));
            node.raise(ENTERED | ATTENDED | ROOT);
        }
        parent.link(&node);
        node
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

    /// Records the owner, the parent and the place, unless that was done before (R1).
    pub(crate) fn enter(&self, at: &'static Location<'static>) {
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
        let timeout = self.inner.lock().timeout;
        let due = timeout.and_then(|timeout| self.clock().now().checked_add(timeout));
        let mut inner = self.inner.lock();
        if self.has(LEFT | ATTENDED) {
            let region = self.describe_as(inner.name.clone());
            let entered_at = inner.entered_at.unwrap_or(at);
            return Err(Misuse::EnteredTwice { region, entered_at, attempted_at: at });
        }
        if self.kind == Kind::Task {
            self.owner_task.store(inner.number, Ordering::Relaxed);
            self.owner_runtime.store(0, Ordering::Relaxed);
            self.raise(ROOT);
        } else if self.owner_task.load(Ordering::Relaxed) == 0 {
            self.owner_task.store(next_number(), Ordering::Relaxed);
            // One that was entered by its first use stays with the runtime's task that did so.
            self.raise(if fresh { ROOT } else { 0 });
        }
        if let Some(due) = due {
            inner.deadline = Some(inner.deadline.map_or(due, |deadline| deadline.min(due)));
            self.raise(DEADLINE);
        }
        self.raise(ATTENDED);
        let awaited = inner.waiters.len() != 0;
        drop(inner);
        if awaited {
            // Somebody waited before there was anything around the region.
            self.link_up();
        }
        Ok(())
    }

    /// Closes the region where nothing is left to do in it, and returns the failures that were sent here.
    fn try_leave(self: &Arc<Self>) -> Option<Vec<ExitFailure>> {
        let (records, waker) = {
            let mut inner = self.inner.lock();
            if !inner.exits.is_empty() || !inner.adopted.is_empty() {
                return None;
            }
            self.raise(LEFT);
            (std::mem::take(&mut inner.records), inner.waker.take())
        };
        drop(waker);
        self.unlink();
        Some(records)
    }

    /// Closes the region whatever is left in it, which is returned.
    fn leave_now(self: &Arc<Self>) -> (Vec<Wave>, Vec<Exit>, Vec<ExitFailure>) {
        let (rest, waker) = {
            let mut inner = self.inner.lock();
            self.raise(LEFT);
            let inner = &mut *inner;
            let adopted = std::mem::take(&mut inner.adopted);
            let exits = std::mem::take(&mut inner.exits);
            ((adopted, exits, std::mem::take(&mut inner.records)), inner.waker.take())
        };
        drop(waker);
        self.unlink();
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
            Kind::Scope => "CancelScope",
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
        // A chain of 10,000 regions must not be dropped by recursion (R14).
        let mut next = self.inner.lock().parent.take();
        while let Some(node) = next {
            next = Arc::into_inner(node).and_then(|node| node.inner.lock().parent.take());
        }
    }
}
