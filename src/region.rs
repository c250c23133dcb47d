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
mod enter;
mod exit;
mod frame;
mod inbox;
mod leave;
mod links;
mod newborn;
mod observe;
mod owner;
mod record;
#[cfg(feature = "inspect")]
pub(crate) mod register;
mod run;
mod stamp;
mod tally;
mod ticket;
mod time;
mod timers;
mod voyage;

#[cfg(feature = "testing")]
pub use census::live_regions;

pub(crate) use adoption::{Batch, Lane, Wave};
pub(crate) use cancel::Wait;
pub(crate) use draft::{Draft, Light};
pub(crate) use exit::{Exit, ExitError, ExitWork};
pub(crate) use frame::{Ended, Frame};
use leave::Next;
pub(crate) use newborn::Newborn;
pub(crate) use observe::Phase;
pub(crate) use owner::current_task;
pub(crate) use run::Run;
pub(crate) use tally::{Caught, Tally};
pub(crate) use ticket::Ticket;

use crate::clock::Clock;
use crate::failure::Failures;
use crate::identity::Identity;
use crate::reason::Reason;
use crate::spawn::Spawn;
use crate::sync::{Arc, AtomicU32, AtomicU64, Mutex, Ordering, Weak, next_number};
use crate::wakers::Wakers;
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
/// A time of the region has changed, and its run has not seen that yet.
const DEADLINE: u32 = 1 << 9;
/// Linked into its parent, invariant 5.
const LINKED: u32 = 1 << 10;
/// Asked to wind down (R13).
const STOP: u32 = 1 << 11;
/// Not dropped by what is cancelled outside, while it is polled (R12).
const SHIELD: u32 = 1 << 12;
/// It, or a task around it, may have been given a clock of its own.
const CLOCKED: u32 = 1 << 13;
/// A scope that became a stay in another one: its kind is [`Kind::Stay`].
const STAY: u32 = 1 << 14;
/// New children inherit a cancellation that is not the region's own.
const BELOW: u32 = 1 << 15;
/// A child on an executor: who polls its group does not poll it.
const AFAR: u32 = 1 << 16;
/// Cancelled, and a shield inside has kept the body for once: the children of the groups inside are cancelled (R12).
const HELD: u32 = 1 << 17;
/// Entered by a call, with times that no run watches; see `time.rs`.
const UNWATCHED: u32 = 1 << 18;

/// How long a cancelled region waits for a shield that it has woken, where nothing else is set.
const SHIELD_PATIENCE: Duration = Duration::from_millis(100);

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
    census: census::Handover,
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

/// What a region has that owns exits, has a deadline or was cancelled: small, as there may be one for each of thousands
/// of children.
#[derive(Default)]
struct More {
    /// Of a stack and a group, whose exits are sorted by it.
    number: u64,
    exits: Vec<Exit>,
    adopted: Vec<Wave>,
    reason: Option<Reason>,
    /// What was cancelled around a region that was dropped.
    dropped_for: Option<Reason>,
    deadline: Option<Instant>,
    /// Of a group, when its children were told that they are cancelled: a number, 0 before.
    told: u64,
    rest: Option<Box<Rest>>,
}

#[derive(Default)]
struct Rest {
    name: Option<Arc<str>>,
    clock: Option<Arc<dyn Clock>>,
    timeout: Option<Duration>,
    grace: Option<Duration>,
    /// What new children inherit where the region itself is not cancelled: a group that has its success.
    below: Option<Reason>,
    stop: Option<Reason>,
    /// When the grace after a stop is over, once the region's run has seen it begin.
    stop_due: Option<Instant>,
    /// What was cancelled around a shield, and when its grace after that is over.
    shield_due: Option<(Reason, Instant)>,
    /// How long what is inside waits for a shield that it has woken.
    patience: Option<Duration>,
    spawner: Option<Arc<dyn Spawn + Send + Sync>>,
    /// What it is linked in, where that is not its parent.
    link: Option<(Weak<Node>, usize)>,
    /// Sent here, until the region's run takes them up.
    records: Failures,
    /// How many failures its record keeps, where that was set.
    cap: Option<usize>,
    /// An exit's, kept for whoever goes on leaving a stack that was handed back.
    panic: Option<Caught>,
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

    /// Notes when the children were told for the first time.
    fn tell_children(&mut self) {
        let more = self.more();
        if more.told == 0 {
            more.told = next_number();
        }
    }

    fn reason(&self) -> Option<&Reason> {
        self.more.as_ref()?.reason.as_ref()
    }

    fn dropped_for(&self) -> Option<&Reason> {
        self.more.as_ref()?.dropped_for.as_ref()
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
            census: census::Handover::new(),
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
        // A group whose children are spawned before it is entered may come to be in a task with a clock.
        let clocks = |parent: &Arc<Node>| parent.has(CLOCKED) || !parent.has(ENTERED);
        let clocked = if parent.as_ref().is_some_and(clocks) { CLOCKED } else { 0 };
        let mut inner = Inner { parent, entered_at: Some(at), ..Inner::default() };
        if deadline.is_some() {
            inner.more().deadline = deadline;
        }
        Node::with(kind, owner, flags | clocked, inner)
    }

    /// A child of `parent`, a task of its own, entered and attended from the start and linked. It was `asked` to end
    /// before `parent` told it so; `afar` is one on an executor.
    fn child(
        parent: &Arc<Node>,
        task: u64,
        at: &'static Location<'static>,
        asked: Option<Reason>,
        afar: bool,
    ) -> Arc<Self> {
        let owner = Identity { task, runtime: 0 };
        let flags = ENTERED | ATTENDED | ROOT | if afar { AFAR } else { 0 };
        let around = Some(Arc::clone(parent));
        let node = Node::entered(Kind::Child, owner, flags, around, at, None);
        node.tell_entered();
        if let Some(reason) = asked {
            node.cancel(reason);
        }
        node.put_into(parent)
    }

    /// One run inside the entered scope `parent`: it belongs to that scope's owner and is cancelled with it.
    pub(crate) fn stay(parent: &Arc<Node>, at: &'static Location<'static>) -> Arc<Self> {
        let flags = ENTERED | ATTENDED | DEADLINE | (parent.flags() & SHIELD);
        let around = Some(Arc::clone(parent));
        let node = Node::entered(Kind::Stay, parent.owner(), flags, around, at, None);
        node.take_after(parent);
        node.tell_entered();
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
            self.lower(&inner, LINKED);
            let link = self.take_link(&mut inner);
            (inner.parent.replace(Arc::clone(scope)), inner.entered_at, link)
        };
        self.drop_link(link);
        {
            let mut inner = scope.inner.lock();
            (inner.parent, inner.entered_at) = (parent.clone(), entered_at);
            scope.record_owner(self.owner());
            scope.raise(&inner, ENTERED | (self.flags() & (ROOT | SHELTERED | CLOCKED)));
        }
        self.take_after(scope);
        {
            let inner = self.inner.lock();
            self.raise(&inner, STAY | DEADLINE | (scope.flags() & SHIELD));
            self.lower(&inner, SHELTERED);
        }
        scope.unsettle_inside(parent.as_ref());
        scope.tell_entered();
        scope.link(self);
        scope.catch_up(self);
        if scope.inner.lock().is_awaited() {
            scope.link_up();
        }
    }

    pub(crate) fn set_name(&self, name: impl Into<Arc<str>>) {
        self.inner.lock().rest().name = Some(name.into());
    }

    pub(crate) fn set_clock(&self, clock: Arc<dyn Clock>) {
        let old = {
            let mut inner = self.inner.lock();
            self.raise(&inner, CLOCKED);
            inner.rest().clock.replace(clock)
        };
        drop(old);
    }

    pub(crate) fn set_timeout(&self, timeout: Duration) {
        self.inner.lock().rest().timeout = Some(timeout);
    }

    pub(crate) fn set_grace(&self, grace: Duration) {
        let mut inner = self.inner.lock();
        inner.rest().grace = Some(grace);
        self.raise(&inner, if self.has(STOP) { DEADLINE } else { 0 });
    }

    pub(crate) fn set_spawner(&self, spawner: Arc<dyn Spawn + Send + Sync>) {
        let old = self.inner.lock().rest().spawner.replace(spawner);
        drop(old);
    }

    pub(crate) fn set_shielded(&self) {
        let inner = self.inner.lock();
        self.raise(&inner, SHIELD);
    }

    pub(crate) fn set_shield_patience(&self, patience: Duration) {
        self.inner.lock().rest().patience = Some(patience);
    }

    /// As it was set for the nearest region around that it was set for.
    fn shield_patience(&self) -> Duration {
        let set = |node: &Node| node.inner.lock().rest_seen().and_then(|rest| rest.patience);
        let mut around = std::iter::successors(self.parent(), |node| node.parent());
        set(self).or_else(|| around.find_map(|node| set(&node))).unwrap_or(SHIELD_PATIENCE)
    }

    /// By which exits of different regions of one task are sorted.
    fn number(&self) -> u64 {
        self.inner.lock().more.as_ref().map_or(0, |more| more.number)
    }

    pub(crate) fn has_left(&self) -> bool {
        self.has(LEFT)
    }

    pub(crate) fn is_entered(&self) -> bool {
        self.has(ENTERED)
    }

    /// Whether it is a scope that was entered by a call: it has no run of its own.
    fn is_entered_by_call(&self) -> bool {
        self.kind() == Kind::Scope && self.has(ENTERED) && !self.has(ATTENDED)
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

    /// Whether it, or a task around it, may have been given a clock of its own.
    fn is_clocked(&self) -> bool {
        self.has(CLOCKED)
    }

    /// Under the lock: nobody else changes a flag meanwhile, and no read-modify-write is needed.
    fn raise(&self, _locked: &Inner, bits: u32) {
        self.flags.store(self.flags.load(Ordering::Relaxed) | bits, Ordering::Release);
    }

    fn lower(&self, _locked: &Inner, bits: u32) {
        self.flags.store(self.flags.load(Ordering::Relaxed) & !bits, Ordering::Release);
    }
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
        if let Some(rest) = self.inner.get_mut().rest_mut() {
            register::forget(&mut rest.entry);
        }
        // A chain of 10,000 regions must not be dropped by recursion (R14).
        let mut next = self.inner.get_mut().parent.take();
        while let Some(node) = next {
            next = Arc::into_inner(node).and_then(|mut node| node.inner.get_mut().parent.take());
        }
    }
}
