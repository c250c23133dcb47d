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
mod draft;
mod exit;
mod frame;
mod inbox;
mod links;
mod newborn;
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
pub(crate) use cancel::Wait;
pub(crate) use draft::{Draft, Light};
pub(crate) use exit::{Exit, ExitError, ExitWork};
pub(crate) use frame::{Ended, Frame};
pub(crate) use newborn::Newborn;
pub(crate) use observe::Phase;
pub(crate) use owner::current_task;
pub(crate) use run::Run;
pub(crate) use ticket::Ticket;

use crate::clock::Clock;
use crate::failure::ExitFailure;
use crate::identity::Identity;
use crate::reason::{Reason, ReasonKind};
use crate::report::{Report, report};
use crate::spawn::Spawn;
use crate::sync::{Arc, AtomicU32, AtomicU64, Mutex, Ordering, Weak, next_number};
use crate::unwind::{self, Payload};
use crate::wakers::{Wakers, wake_all};
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
/// `adopted` or `records` is not empty.
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
/// It, or a task around it, was given a clock of its own.
const CLOCKED: u32 = 1 << 13;
/// A scope that became a stay in another one: its kind is [`Kind::Stay`].
const STAY: u32 = 1 << 14;
/// New children inherit a cancellation that is not the region's own.
const BELOW: u32 = 1 << 15;

pub(crate) struct Node {
    flags: AtomicU32,
    /// How often the waiters were taken: one who waits compares it, to know whether its waker is still here.
    calls: AtomicU32,
    /// The epoch in which nothing around was found cancelled; see `cancel.rs`.
    quiet: AtomicU64,
    owner_task: AtomicU64,
    owner_runtime: AtomicU64,
    kind: Kind,
    /// Where among its parent's links it is, if it is there.
    place: AtomicU32,
    inner: Mutex<Inner>,
    #[cfg(feature = "testing")]
    _census: census::Census,
}

/// What every region needs; the rest is in boxes of their own, for those that need any of it.
#[derive(Default)]
struct Inner {
    parent: Option<Arc<Node>>,
    entered_at: Option<&'static Location<'static>>,
    waker: Option<Waker>,
    reach: Option<Box<Reach>>,
    more: Option<Box<More>>,
}

/// Whom a cancellation or a stop of the region reaches.
#[derive(Default)]
struct Reach {
    waiters: Wakers,
    stop_waiters: Wakers,
    links: Slab<Weak<Node>>,
}

/// What a region has that owns exits or was cancelled: small, as there may be one for each of thousands of children.
#[derive(Default)]
struct More {
    /// Of a stack and a group, whose exits are sorted by it.
    number: u64,
    exits: Vec<Exit>,
    adopted: Vec<Wave>,
    reason: Option<Reason>,
    rest: Option<Box<Rest>>,
}

#[derive(Default)]
struct Rest {
    name: Option<Arc<str>>,
    clock: Option<Arc<dyn Clock>>,
    timeout: Option<Duration>,
    deadline: Option<Instant>,
    grace: Option<Duration>,
    /// What new children inherit where the region itself is not cancelled: a group that has its success.
    below: Option<Reason>,
    stop: Option<Reason>,
    /// When the grace after a stop is over, once the region's run has seen it begin.
    stop_due: Option<Instant>,
    /// What was cancelled around a region that was dropped.
    dropped_for: Option<Reason>,
    spawner: Option<Arc<dyn Spawn + Send + Sync>>,
    /// What it is linked in, where that is not its parent.
    link: Option<(Weak<Node>, usize)>,
    records: Vec<ExitFailure>,
    /// An exit's, kept for whoever goes on leaving a stack that was handed back.
    panic: Option<Payload>,
    #[cfg(feature = "inspect")]
    entry: register::Entry,
}

impl Inner {
    fn reach(&mut self) -> &mut Reach {
        self.reach.get_or_insert_default()
    }

    /// The nodes that are linked below.
    fn links(&self) -> impl Iterator<Item = &Weak<Node>> {
        self.reach.iter().flat_map(|reach| reach.links.iter().map(|(_, node)| node))
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    fn rest(&mut self) -> &mut Rest {
        self.more().rest.get_or_insert_default()
    }

    fn rest_seen(&self) -> Option<&Rest> {
        self.more.as_ref()?.rest.as_deref()
    }

    fn rest_mut(&mut self) -> Option<&mut Rest> {
        self.more.as_mut()?.rest.as_deref_mut()
    }

    fn reason(&self) -> Option<&Reason> {
        self.more.as_ref()?.reason.as_ref()
    }

    fn exits(&self) -> usize {
        self.more.as_ref().map_or(0, |more| more.exits.len())
    }

    fn name(&self) -> Option<Arc<str>> {
        self.rest_seen().and_then(|rest| rest.name.clone())
    }

    fn is_timed(&self) -> bool {
        self.rest_seen().is_some_and(|rest| rest.timeout.is_some())
    }

    /// Whether somebody may wait here or below for what happens above.
    fn is_awaited(&self) -> bool {
        self.reach.as_ref().is_some_and(|reach| {
            !(reach.waiters.is_empty() && reach.stop_waiters.is_empty() && reach.links.is_empty())
        })
    }
}

/// What one who has entered a region knows of it.
struct Entry {
    around: Option<Arc<Node>>,
    /// Whether it is attended, too.
    attended: bool,
    awaited: bool,
    timed: bool,
}

impl Node {
    pub(crate) fn new(kind: Kind) -> Arc<Self> {
        Node::with(kind, Identity::UNKNOWN, 0, Inner::default())
    }

    fn with(kind: Kind, owner: Identity, flags: u32, inner: Inner) -> Arc<Self> {
        Arc::new(Node {
            flags: AtomicU32::new(flags),
            calls: AtomicU32::new(0),
            quiet: AtomicU64::new(0),
            owner_task: AtomicU64::new(owner.task),
            owner_runtime: AtomicU64::new(owner.runtime),
            kind,
            place: AtomicU32::new(links::NOWHERE),
            inner: Mutex::new(inner),
            #[cfg(feature = "testing")]
            _census: census::Census::new(),
        })
    }

    /// A region that is entered and attended from the start.
    fn entered(
        kind: Kind,
        owner: Identity,
        flags: u32,
        parent: Option<Arc<Node>>,
        at: &'static Location<'static>,
        deadline: Option<Instant>,
    ) -> Arc<Self> {
        let clocked = parent.as_ref().map_or(0, |parent| parent.flags() & CLOCKED);
        let mut inner = Inner { parent, entered_at: Some(at), ..Inner::default() };
        if deadline.is_some() {
            inner.rest().deadline = deadline;
        }
        Node::with(kind, owner, flags | clocked, inner)
    }

    /// A child of `parent`, a task of its own, entered and attended from the start and linked.
    fn child(parent: &Arc<Node>, task: u64, at: &'static Location<'static>) -> Arc<Self> {
        let owner = Identity { task, runtime: 0 };
        let flags = ENTERED | ATTENDED | ROOT;
        let around = Some(Arc::clone(parent));
        Node::entered(Kind::Child, owner, flags, around, at, None).put_into(parent)
    }

    /// One run inside the entered scope `parent`: it belongs to that scope's owner and is cancelled with it.
    pub(crate) fn stay(parent: &Arc<Node>, at: &'static Location<'static>) -> Arc<Self> {
        let flags = ENTERED | ATTENDED | DEADLINE | (parent.flags() & SHIELD);
        let around = Some(Arc::clone(parent));
        let node = Node::entered(Kind::Stay, parent.owner(), flags, around, at, None);
        node.take_after(parent);
        node.put_into(parent)
    }

    /// To those inside a stay it is the scope, and its run watches the scope's times.
    fn take_after(&self, scope: &Node) {
        let (name, grace) = {
            let inner = scope.inner.lock();
            (inner.name(), inner.rest_seen().and_then(|rest| rest.grace))
        };
        if name.is_some() || grace.is_some() {
            let mut inner = self.inner.lock();
            let rest = inner.rest();
            (rest.name, rest.grace) = (name, grace);
        }
    }

    fn put_into(self: Arc<Self>, parent: &Arc<Node>) -> Arc<Self> {
        self.tell_entered();
        parent.link(&self);
        // Also where the parent has left: a group that was abandoned has a reason for who slipped in.
        if parent.has(CANCELLED | STOP | BELOW) {
            parent.catch_up(&self);
        }
        self
    }

    /// Makes this region, which was entered before anybody asked for `scope`, one run inside it: both are the
    /// same to their owner, who had a node made inside while another thread had one made outside.
    fn stay_in(self: &Arc<Self>, scope: &Arc<Node>) {
        let (parent, entered_at, link) = {
            let mut inner = self.inner.lock();
            self.lower(LINKED);
            let link = self.take_link(&mut inner);
            (inner.parent.replace(Arc::clone(scope)), inner.entered_at, link)
        };
        self.drop_link(link);
        {
            let mut inner = scope.inner.lock();
            (inner.parent, inner.entered_at) = (parent.clone(), entered_at);
            scope.record_owner(self.owner());
            scope.raise(ENTERED | (self.flags() & (ROOT | SHELTERED | CLOCKED)));
        }
        self.take_after(scope);
        {
            let _inner = self.inner.lock();
            self.raise(STAY | DEADLINE | (scope.flags() & SHIELD));
            self.lower(SHELTERED);
        }
        scope.unsettle_inside(parent.as_ref());
        scope.tell_entered();
        scope.link(self);
        scope.catch_up(self);
        if scope.inner.lock().is_awaited() {
            scope.link_up();
        }
    }

    /// Marks a region as left that was left before it had a node, unless that was done.
    fn born_left(self: &Arc<Self>, entered_at: &'static Location<'static>, task: u64) {
        {
            let mut inner = self.inner.lock();
            if self.has(ENTERED) {
                return;
            }
            inner.entered_at = Some(entered_at);
            // For the owner's name, where that task is around.
            inner.parent = ambient::node_of_task(task);
            self.record_owner(Identity { task, runtime: 0 });
            self.raise(ENTERED);
        }
        drop(self.leave_now(None));
    }

    pub(crate) fn set_name(&self, name: impl Into<Arc<str>>) {
        self.inner.lock().rest().name = Some(name.into());
    }

    pub(crate) fn set_clock(&self, clock: Arc<dyn Clock>) {
        let old = {
            let mut inner = self.inner.lock();
            self.raise(CLOCKED);
            inner.rest().clock.replace(clock)
        };
        drop(old);
    }

    pub(crate) fn set_timeout(&self, timeout: Duration) {
        self.inner.lock().rest().timeout = Some(timeout);
    }

    pub(crate) fn set_grace(&self, grace: Duration) {
        self.inner.lock().rest().grace = Some(grace);
    }

    pub(crate) fn set_spawner(&self, spawner: Arc<dyn Spawn + Send + Sync>) {
        let old = self.inner.lock().rest().spawner.replace(spawner);
        drop(old);
    }

    pub(crate) fn set_shielded(&self) {
        self.raise(SHIELD);
    }

    fn grace(&self) -> Option<Duration> {
        self.inner.lock().rest_seen()?.grace
    }

    /// By which exits of different regions of one task are sorted.
    fn number(&self) -> u64 {
        self.inner.lock().more.as_ref().map_or(0, |more| more.number)
    }

    /// Records the owner, the parent and the place, unless that was done before (R1).
    #[inline]
    pub(crate) fn enter(self: &Arc<Self>, at: &'static Location<'static>) {
        if !self.has(ENTERED) {
            self.enter_around(at, 0);
        }
    }

    /// As [`enter`](Node::enter), where the caller is the one who enters. `attended` is raised in a region that is
    /// inside another one and belongs to that one's owner.
    fn enter_around(
        self: &Arc<Self>,
        at: &'static Location<'static>,
        attended: u32,
    ) -> Option<Entry> {
        let (parent, in_exit) = ambient::current().unzip();
        let in_exit = in_exit.unwrap_or(false);
        let owner = Node::owner_in(parent.as_ref());
        let attended = if owner.task != 0 && self.kind != Kind::Task { attended } else { 0 };
        let mut inner = self.inner.lock();
        if self.has(ENTERED) {
            return None;
        }
        self.record_owner(owner);
        if matches!(self.kind, Kind::Stack | Kind::Group) {
            inner.more().number = next_number();
        }
        inner.entered_at = Some(at);
        inner.parent = parent.clone();
        self.raise(ENTERED | attended | Node::inherited(parent.as_ref(), in_exit));
        let (awaited, timed) = (inner.is_awaited(), inner.is_timed());
        drop(inner);
        self.unsettle_inside(parent.as_ref());
        self.tell_entered();
        Some(Entry { around: parent, attended: attended != 0, awaited, timed })
    }

    /// The flags that a region has from what it is entered in.
    fn inherited(parent: Option<&Arc<Node>>, in_exit: bool) -> u32 {
        let clocked = parent.map_or(0, |parent| parent.flags() & CLOCKED);
        clocked | if in_exit { SHELTERED } else { 0 }
    }

    /// A run takes the region up, once: it is entered unless it was, and can adopt from now on.
    ///
    /// A region that nothing of this crate encloses becomes its own root task here (R5); a [`Kind::Task`]
    /// is one wherever it is. Returns the panic that was kept by who left it before, and handed it back.
    fn attend(
        self: &Arc<Self>,
        operation: &'static str,
        at: &'static Location<'static>,
    ) -> Result<Option<Payload>, Misuse> {
        let fresh = !self.has(ENTERED);
        if !fresh {
            self.check(operation, at)?;
        }
        let entry = if fresh { self.enter_around(at, ATTENDED) } else { None };
        if entry.as_ref().is_none_or(|entry| entry.timed) {
            self.start_timeout();
        }
        if let Some(entry) = entry.as_ref().filter(|entry| entry.attended) {
            self.link_up_if(entry.awaited);
            return Ok(None);
        }
        let around = entry.and_then(|entry| entry.around);
        let (awaited, panic) = {
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
                self.record_owner(Identity { task: next_number(), runtime: 0 });
                self.raise(ROOT);
            } else if self.owner().task == 0 {
                // Entered by its first use where no task of ours was known: it belongs to the one that runs it,
                // and to the region around that. Where there is none, it is its own root; and only if it was
                // never anybody's may it move with its future (R5).
                drop(inner);
                let around = around.or_else(|| Some(ambient::current()?.0));
                inner = self.inner.lock();
                match around {
                    Some(around) => {
                        self.owner_task.store(around.owner().task, Ordering::Relaxed);
                        inner.parent.get_or_insert(around);
                        self.unsettle();
                    }
                    None => {
                        self.owner_task.store(next_number(), Ordering::Relaxed);
                        self.raise(if fresh { ROOT } else { 0 });
                    }
                }
            }
            self.raise(ATTENDED);
            (inner.is_awaited(), inner.rest_mut().and_then(|rest| rest.panic.take()))
        };
        self.link_up_if(awaited);
        Ok(panic)
    }

    /// Links a region that is entered now, where that is needed: somebody waited before there was anything around it,
    /// or it is a shield, which has to be polled when something outside is cancelled, to hold.
    fn link_up_if(self: &Arc<Self>, awaited: bool) {
        if awaited || self.has(SHIELD) {
            self.link_up();
        }
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
        let awaited = self.inner.lock().is_awaited();
        self.link_up_if(awaited);
        Ok(())
    }

    /// Leaves a scope that was entered by a call, and tells why it was cancelled, if it was.
    pub(crate) fn leave_dynamic(self: &Arc<Self>) -> Option<Reason> {
        let reason = self.inner.lock().reason().cloned();
        let stays = self.stays();
        if stays > 0 {
            report(&Report::StillInUse { region: self.describe(), runs: stays });
            // A stay that was leaked does not outlive the scope.
            self.cancel_below(Reason::new(ReasonKind::OwnerGone, None, None, self.entered_at()));
        }
        drop(self.leave_now(None));
        reason
    }

    /// Makes the running task the owner, and the region current here the parent (R4).
    pub(crate) fn take_over(self: &Arc<Self>) {
        if self.has(LEFT) || !self.has(ENTERED) {
            return;
        }
        let (parent, in_exit) = ambient::current().unzip();
        let in_exit = in_exit.unwrap_or(false);
        let owner = Node::owner_in(parent.as_ref());
        let (former, link, awaited) = {
            let mut inner = self.inner.lock();
            self.record_owner(owner);
            self.lower(LINKED | SHELTERED | CLOCKED);
            self.raise(Node::inherited(parent.as_ref(), in_exit));
            let awaited = inner.is_awaited();
            if let Some(more) = &mut inner.more {
                // Entered anew, as far as the order of exits goes.
                more.number = next_number();
            }
            let link = self.take_link(&mut inner);
            (std::mem::replace(&mut inner.parent, parent.clone()), link, awaited)
        };
        self.unsettle_inside(parent.as_ref());
        let was_linked = link.is_some();
        self.drop_link(link);
        self.link_up_if(awaited || was_linked);
        drop(former);
    }

    fn twice(&self, at: &'static Location<'static>) -> Misuse {
        let (name, entered_at) = {
            let inner = self.inner.lock();
            (inner.name(), inner.entered_at.unwrap_or(at))
        };
        Misuse::EnteredTwice { region: self.describe_as(name), entered_at, attempted_at: at }
    }

    /// A relative deadline starts when the region is entered (R11).
    fn start_timeout(&self) {
        let timeout = self.inner.lock().rest_mut().and_then(|rest| rest.timeout.take());
        let Some(timeout) = timeout else { return };
        if timeout.is_zero() {
            // It is over at once: the body is polled once, as one that is entered under cancellation (R6).
            self.cancel(Reason::new(ReasonKind::Deadline, None, None, self.entered_at()));
            return;
        }
        let Some(due) = self.clock().now().checked_add(timeout) else { return };
        let mut inner = self.inner.lock();
        let rest = inner.rest();
        rest.deadline = Some(rest.deadline.map_or(due, |deadline| deadline.min(due)));
        self.raise(DEADLINE);
    }

    /// What is left to do in the region; where it is nothing, it is closed.
    fn next_to_do(self: &Arc<Self>) -> Next {
        let (records, leave) = {
            let mut inner = self.inner.lock();
            let mut records = Vec::new();
            if let Some(more) = &mut inner.more {
                if !more.exits.is_empty() {
                    return Next::Exits;
                }
                if !more.adopted.is_empty() {
                    return Next::Inbox;
                }
            }
            if let Some(rest) = inner.rest_mut() {
                records = std::mem::take(&mut rest.records);
            }
            self.raise(LEFT);
            (records, self.take_leave(&mut inner))
        };
        self.after_leaving(leave);
        Next::Left(records)
    }

    /// Closes the region whatever is left in it, which is returned.
    ///
    /// `dropped_for` is what was cancelled around it: who looks later still hears of it.
    fn leave_now(
        self: &Arc<Self>,
        dropped_for: Option<Reason>,
    ) -> (Vec<Wave>, Vec<Exit>, Vec<ExitFailure>) {
        let mut waiters = Vec::new();
        let (rest, leave) = {
            let mut inner = self.inner.lock();
            if dropped_for.is_some() {
                inner.rest().dropped_for = dropped_for;
                // Whoever cancelled what is around may be between its flag and its telling of it, and finds nobody
                // here any more: who waits is told now, and who comes later has to look.
                self.take_waiters(&mut inner, &mut waiters);
                self.unsettle();
            }
            self.raise(LEFT);
            let work = inner
                .more
                .as_mut()
                .map(|more| (std::mem::take(&mut more.adopted), std::mem::take(&mut more.exits)));
            let (adopted, exits) = work.unwrap_or_default();
            let records = inner.rest_mut().map(|rest| std::mem::take(&mut rest.records));
            ((adopted, exits, records.unwrap_or_default()), self.take_leave(&mut inner))
        };
        wake_all(waiters);
        self.after_leaving(leave);
        rest
    }

    /// What a region that is left has to let go of, outside its lock. Its wakers too: they may hold the task that
    /// holds the node (R19).
    fn take_leave(&self, inner: &mut Inner) -> Leave {
        let mut waiters = Vec::new();
        self.take_waiters(inner, &mut waiters);
        Leave { waker: inner.waker.take(), waiters, links: self.take_links(inner) }
    }

    fn after_leaving(self: &Arc<Self>, Leave { waker, waiters, links }: Leave) {
        if waker.is_some() || !waiters.is_empty() {
            drop(unwind::drop_each(waker.into_iter().chain(waiters)));
        }
        self.unlink(links);
        if self.has(SHIELD | SHELTERED) {
            // It holds nothing off any more.
            self.unsettle();
        }
        self.tell_left();
    }

    pub(crate) fn has_left(&self) -> bool {
        self.has(LEFT)
    }

    pub(crate) fn is_entered(&self) -> bool {
        self.has(ENTERED)
    }

    fn kind(&self) -> Kind {
        if self.has(STAY) { Kind::Stay } else { self.kind }
    }

    fn record_owner(&self, owner: Identity) {
        self.owner_task.store(owner.task, Ordering::Relaxed);
        self.owner_runtime.store(owner.runtime, Ordering::Relaxed);
    }

    #[inline]
    fn flags(&self) -> u32 {
        self.flags.load(Ordering::Acquire)
    }

    #[inline]
    fn has(&self, any_of: u32) -> bool {
        self.flags() & any_of != 0
    }

    /// Whether it, or a task around it, was given a clock of its own.
    fn is_clocked(&self) -> bool {
        self.has(CLOCKED)
    }

    fn raise(&self, bits: u32) {
        self.flags.fetch_or(bits, Ordering::Release);
    }

    fn lower(&self, bits: u32) {
        self.flags.fetch_and(!bits, Ordering::Release);
    }
}

/// What there is to do for a region that is leaving.
enum Next {
    Exits,
    /// Something was handed over meanwhile.
    Inbox,
    /// The failures that were sent here.
    Left(Vec<ExitFailure>),
}

struct Leave {
    waker: Option<Waker>,
    waiters: Vec<Waker>,
    links: links::Links,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct(match self.kind() {
            Kind::Task | Kind::Child => "Task",
            Kind::Scope | Kind::Stay => "CancelScope",
            Kind::Stack => "ExitStack",
            Kind::Group => "TaskGroup",
        });
        // Never blocking: a node that is locked shows what needs no lock.
        if let Some(inner) = self.inner.try_lock() {
            shown.field("name", &inner.name()).field("entered_at", &inner.entered_at);
            shown.field("exits", &inner.exits());
        }
        shown.field("cancelled", &self.has(CANCELLED)).field("left", &self.has(LEFT));
        shown.finish_non_exhaustive()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        #[cfg(feature = "inspect")]
        if let Some(rest) = self.inner.lock().rest_mut() {
            register::forget(&mut rest.entry);
        }
        // A chain of 10,000 regions must not be dropped by recursion (R14).
        let mut next = self.inner.lock().parent.take();
        while let Some(node) = next {
            next = Arc::into_inner(node).and_then(|node| node.inner.lock().parent.take());
        }
    }
}
