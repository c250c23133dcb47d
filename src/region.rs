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
mod exit;
mod frame;
mod run;

pub(crate) use adoption::{Batch, Lane, Tally, Wave};
pub(crate) use exit::{Exit, ExitError, ExitWork};
pub(crate) use frame::{Ended, Frame};
pub(crate) use run::Run;

use crate::clock::Clock;
use crate::failure::ExitFailure;
use crate::identity::{Identity, TaskId};
use crate::reason::{Leaving, Reason, ReasonKind};
use crate::report::{Report, report};
use crate::rt;
use crate::sync::{Arc, AtomicU32, AtomicU64, Mutex, Ordering, Weak, next_number};
use crate::wakers::{Wakers, wake_all};
use crate::wrong_task::{Misuse, WrongTask};
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

// Making, entering, leaving.
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

// Who owns it, and what texts say of it.
impl Node {
    fn owner(&self) -> Identity {
        Identity {
            task: self.owner_task.load(Ordering::Relaxed),
            runtime: self.owner_runtime.load(Ordering::Relaxed),
        }
    }

    /// Whether the task that runs now may do what only the owner may; the wrong-task check comes before
    /// every other (R2).
    pub(crate) fn check(
        &self,
        operation: &'static str,
        at: &'static Location<'static>,
    ) -> Result<(), Misuse> {
        self.check_owner(operation, at).map_err(|wrong| Misuse::WrongTask(Box::new(wrong)))
    }

    fn check_owner(
        &self,
        operation: &'static str,
        at: &'static Location<'static>,
    ) -> Result<(), WrongTask> {
        let owner = self.owner();
        if owner.is_unknown() {
            return Ok(());
        }
        let current = ambient::with_current(|node, _| match node {
            Some(node) => match node.owner() {
                same if same.task == owner.task => owner,
                // Inside a task of ours the runtime's id is hidden; a root of its own shows it (R5).
                other if other.runtime == 0 => other,
                root => Identity { task: root.task, runtime: rt::task_number() },
            },
            None => Identity { task: 0, runtime: rt::task_number() },
        });
        if owner.admits(current) {
            return Ok(());
        }
        let entered_at = self.inner.lock().entered_at.unwrap_or(at);
        Err(WrongTask {
            operation,
            region: self.describe(),
            owner: self.owner_id().unwrap_or_else(|| TaskId::moored(owner.task, None)),
            entered_at,
            current: current_task().unwrap_or_else(|| TaskId::moored(current.task, None)),
            attempted_at: at,
        })
    }

    /// The owner's id, with its name: that of the task region around this one.
    pub(crate) fn owner_id(self: &Node) -> Option<TaskId> {
        let owner = self.owner();
        if owner.task == 0 {
            return (owner.runtime != 0).then(|| TaskId::runtime(owner.runtime));
        }
        if matches!(self.kind, Kind::Task | Kind::Child) {
            return Some(TaskId::moored(owner.task, self.inner.lock().name.clone()));
        }
        let mut at = self.parent();
        while let Some(node) = at {
            if node.owner_task.load(Ordering::Relaxed) != owner.task {
                break;
            }
            if matches!(node.kind, Kind::Task | Kind::Child) {
                return Some(TaskId::moored(owner.task, node.inner.lock().name.clone()));
            }
            at = node.parent();
        }
        Some(TaskId::moored(owner.task, None))
    }

    pub(crate) fn describe(&self) -> String {
        let name = self.inner.lock().name.clone();
        self.describe_as(name)
    }

    fn describe_as(&self, name: Option<Arc<str>>) -> String {
        let noun = match self.kind {
            Kind::Task | Kind::Child => "task",
            Kind::Scope => "cancel scope",
            Kind::Stack => "exit stack",
            Kind::Group => "task group",
        };
        match name {
            Some(name) => format!("{noun} `{name}`"),
            None => noun.to_owned(),
        }
    }

    pub(crate) fn left_misuse(
        &self,
        operation: &'static str,
        at: &'static Location<'static>,
    ) -> Misuse {
        let inner = self.inner.lock();
        Misuse::Left {
            operation,
            region: self.describe_as(inner.name.clone()),
            entered_at: inner.entered_at.unwrap_or(at),
            attempted_at: at,
        }
    }

    fn parent(&self) -> Option<Arc<Node>> {
        self.inner.lock().parent.clone()
    }

    /// The nearest live ancestor: the effective parent (R1).
    fn live_parent(&self) -> Option<Arc<Node>> {
        let mut at = self.parent();
        while let Some(node) = at {
            if !node.has(LEFT) {
                return Some(node);
            }
            at = node.parent();
        }
        None
    }

    /// The clock of the nearest region around that was given one, else the default.
    fn clock(&self) -> Arc<dyn Clock> {
        if let Some(clock) = self.inner.lock().clock.clone() {
            return clock;
        }
        let mut at = self.parent();
        while let Some(node) = at {
            if let Some(clock) = node.inner.lock().clock.clone() {
                return clock;
            }
            at = node.parent();
        }
        crate::clock::default()
    }
}

// Cancellation (R3, R6, R7, R9, R10).
impl Node {
    /// Cancels this region for `reason`, unless it is cancelled already or was left. Reaches what is
    /// linked below it in a loop, not by recursion (R14).
    pub(crate) fn cancel(&self, reason: Reason) -> bool {
        let mut wakers = Vec::new();
        let mut below = Vec::new();
        if !self.mark(reason, CANCELLED, &mut wakers, &mut below) {
            return false;
        }
        Node::spread(&mut wakers, below);
        wake_all(wakers);
        true
    }

    /// Cancels what is linked below this region, which itself is left (a group's children, R16).
    pub(crate) fn cancel_below(&self, reason: &Reason) {
        let below = std::mem::take(&mut self.inner.lock().links);
        let below = below.into_iter().map(|(_, node)| (node, reason.clone())).collect();
        let mut wakers = Vec::new();
        Node::spread(&mut wakers, below);
        wake_all(wakers);
    }

    fn spread(wakers: &mut Vec<Waker>, mut below: Vec<(Weak<Node>, Reason)>) {
        while let Some((node, reason)) = below.pop() {
            if let Some(node) = node.upgrade() {
                node.mark(reason, node.inherits_as(), wakers, &mut below);
            }
        }
    }

    /// A child task is cancelled by its group itself; anything else is dropped with what is around it.
    fn inherits_as(&self) -> u32 {
        if self.kind == Kind::Child { CANCELLED } else { INHERITED }
    }

    fn mark(
        &self,
        reason: Reason,
        bit: u32,
        wakers: &mut Vec<Waker>,
        below: &mut Vec<(Weak<Node>, Reason)>,
    ) -> bool {
        let mut inner = self.inner.lock();
        if self.has(LEFT | bit) {
            return false;
        }
        let told_before = self.has(CANCELLED | INHERITED);
        if !told_before {
            wakers.extend(inner.waiters.take());
            let seen_as = match reason.kind() {
                kind @ (ReasonKind::SiblingFailed | ReasonKind::OwnerGone) => kind,
                _ => ReasonKind::Parent,
            };
            below
                .extend(inner.links.iter().map(|(_, n)| (Weak::clone(n), reason.seen_as(seen_as))));
        }
        if bit == CANCELLED {
            inner.reason = Some(reason);
            if let Some(waker) = inner.waker.take() {
                self.raise(REWAKE);
                wakers.push(waker);
            }
        } else {
            inner.inherited = Some(reason);
        }
        self.raise(bit);
        true
    }

    /// Whether this region itself was cancelled.
    pub(crate) fn is_cancelled_itself(&self) -> bool {
        self.has(CANCELLED)
    }

    /// This region's own reason, else the one of the nearest cancelled region around it, as seen from
    /// here.
    pub(crate) fn effective_reason(&self) -> Option<Reason> {
        {
            let inner = self.inner.lock();
            if let Some(reason) = inner.reason.as_ref().or(inner.inherited.as_ref()) {
                return Some(reason.clone());
            }
        }
        if self.has(SHELTERED | LEFT) {
            return None;
        }
        let mut at = self.live_parent();
        while let Some(node) = at {
            if let Some(reason) = &node.inner.lock().reason {
                return Some(reason.seen_as(ReasonKind::Parent));
            }
            if node.has(SHELTERED) {
                return None;
            }
            at = node.live_parent();
        }
        None
    }

    /// Whether this region or one around it, up to a shield, is cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.has(CANCELLED | INHERITED) || self.effective_reason().is_some()
    }

    /// Registers a waiter, or returns `true` where the region is cancelled. The flag is looked at again
    /// under the lock: one that is set between the look and the insert would be missed otherwise.
    pub(crate) fn wait_cancelled(&self, key: &mut Option<usize>, waker: &Waker) -> bool {
        if self.has(CANCELLED | INHERITED) {
            return true;
        }
        let waker = waker.clone();
        let old = {
            let mut inner = self.inner.lock();
            if self.has(CANCELLED | INHERITED) {
                return true;
            }
            inner.waiters.register(key, waker)
        };
        drop(old);
        false
    }

    pub(crate) fn forget_waiter(&self, key: usize) {
        let old = {
            let mut inner = self.inner.lock();
            // Once cancelled the slots were emptied, and the key means nothing.
            if self.has(CANCELLED | INHERITED) { None } else { inner.waiters.remove(key) }
        };
        drop(old);
    }

    pub(crate) fn set_deadline(&self, at: Instant) {
        let waker = {
            let mut inner = self.inner.lock();
            inner.deadline = Some(at);
            self.raise(DEADLINE | REWAKE);
            inner.waker.take()
        };
        wake_all(waker);
    }

    fn deadline(&self) -> Option<Instant> {
        self.inner.lock().deadline
    }

    /// Makes every cancellation around this region reach it, so that one can wait for it (invariant 5).
    pub(crate) fn link_up(self: &Arc<Self>) {
        let mut node = Arc::clone(self);
        while !node.has(LINKED | SHELTERED | LEFT) {
            let Some(parent) = node.live_parent() else { return };
            parent.link(&node);
            node = parent;
        }
    }

    fn link(self: &Arc<Self>, child: &Arc<Node>) {
        let (key, reason) = {
            let mut inner = self.inner.lock();
            if self.has(LEFT) {
                return;
            }
            let key = inner.links.insert(Arc::downgrade(child));
            (key, inner.reason.clone().or_else(|| inner.inherited.clone()))
        };
        let second = {
            let mut inner = child.inner.lock();
            // Two threads may ask for the same link at once: one of them takes its own back.
            let second = child.has(LINKED | LEFT);
            if !second {
                inner.link = Some((Arc::downgrade(self), key));
                child.raise(LINKED);
            }
            second
        };
        if second {
            self.inner.lock().links.try_remove(key);
        } else if let Some(reason) = reason {
            let mut wakers = Vec::new();
            let below = vec![(Arc::downgrade(child), reason.seen_as(ReasonKind::Parent))];
            Node::spread(&mut wakers, below);
            wake_all(wakers);
        }
    }

    /// Takes a region that was left out of its parent, and gives what was linked below it to the nearest
    /// live ancestor.
    fn unlink(self: &Arc<Self>) {
        // What is not linked has nothing above it that could be told.
        if !self.has(LINKED) {
            return;
        }
        let (link, links) = {
            let mut inner = self.inner.lock();
            (inner.link.take(), std::mem::take(&mut inner.links))
        };
        if let Some((parent, key)) = link {
            if let Some(parent) = parent.upgrade() {
                parent.inner.lock().links.try_remove(key);
            }
        }
        if links.is_empty() {
            return;
        }
        let Some(parent) = self.live_parent() else { return };
        for child in links.into_iter().filter_map(|(_, child)| child.upgrade()) {
            child.inner.lock().link = None;
            child.lower(LINKED);
            parent.link(&child);
        }
        parent.link_up();
    }
}

// Exits and adoption (R8, R14).
impl Node {
    /// Registers an exit, or hands it back where the region was left.
    pub(crate) fn push_exit(&self, exit: Exit) -> Result<(), Exit> {
        let mut inner = self.inner.lock();
        if self.has(LEFT) {
            return Err(exit);
        }
        inner.exits.push(exit);
        Ok(())
    }

    /// A wave of one exit of this region.
    pub(crate) fn wave_of(self: &Arc<Self>, exit: Exit, why: Leaving) -> Wave {
        let number = self.inner.lock().number;
        let mut wave = Wave::new(self.owner().task);
        wave.add_batch(Batch { number, why, home: Arc::clone(self), exits: vec![exit] });
        wave
    }

    pub(crate) fn exits(&self) -> usize {
        self.inner.lock().exits.len()
    }

    fn pop_exit(&self) -> Option<Exit> {
        self.inner.lock().exits.pop()
    }

    /// The run's side of the inbox: what was handed over, and the failures that were sent here.
    fn take_inbox(&self) -> (Vec<Wave>, Vec<ExitFailure>) {
        let mut inner = self.inner.lock();
        self.lower(INBOX);
        (std::mem::take(&mut inner.adopted), std::mem::take(&mut inner.records))
    }

    /// Gives `wave` to the nearest live region around this one, or reports its exits lost (R8).
    pub(crate) fn hand_over(&self, mut wave: Wave) {
        if wave.is_empty() {
            return;
        }
        let mut at = self.parent();
        while let Some(node) = at {
            match node.adopt(wave) {
                Ok(()) => return,
                Err(back) => wave = back,
            }
            at = node.parent();
        }
        report(&Report::LostExits { region: self.describe(), registered_at: wave.places() });
        // Dropping them is user code; they are reported, and a panic must not hide that.
        drop(crate::unwind::catch(|| drop(wave)));
    }

    /// As [`hand_over`](Node::hand_over), beginning with this region itself.
    pub(crate) fn hand_in(&self, wave: Wave) {
        if let Err(wave) = self.adopt(wave) {
            self.hand_over(wave);
        }
    }

    fn adopt(&self, wave: Wave) -> Result<(), Wave> {
        let waker = {
            let mut inner = self.inner.lock();
            if self.has(LEFT) || !self.has(ATTENDED) {
                return Err(wave);
            }
            inner.adopted.push(wave);
            self.raise(INBOX | REWAKE);
            inner.waker.take()
        };
        wake_all(waker);
        Ok(())
    }

    /// Sends failures without a record of their own to the nearest record outwards, else to the hook
    /// (R15).
    pub(crate) fn send_failures(&self, failures: Vec<ExitFailure>) {
        if failures.is_empty() {
            return;
        }
        let mut at = self.parent();
        while let Some(node) = at {
            if matches!(node.kind, Kind::Stack | Kind::Group) {
                let mut inner = node.inner.lock();
                if !node.has(LEFT) && node.has(ATTENDED) {
                    inner.records.extend(failures);
                    node.raise(INBOX);
                    return;
                }
            }
            at = node.parent();
        }
        let region = self.describe();
        for failure in failures {
            report(&Report::Unrecorded { region: region.clone(), failure });
        }
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

/// The task that runs now, if it is known; see [`task::current`](crate::task::current).
pub(crate) fn current_task() -> Option<TaskId> {
    ambient::with_current(|node, _| node.and_then(|node| node.owner_id())).or_else(|| {
        match rt::task_number() {
            0 => None,
            number => Some(TaskId::runtime(number)),
        }
    })
}
