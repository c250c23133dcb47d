//! The private node that all regions share: identity, parent, cancellation, exits, adoption.
//!
//! Thin public types wrap it: a scope, a stack, a group and a task are a `Node` each, and a [`Frame`] polls it.
//! A node outlives its region if a handle or a child still points at it.
//!
//! # Invariants
//!
//! 1. `ENTERED`, `LEFT`, `CANCELLED` and `STOP` are set once and never cleared. Each is stored under the
//!    node's lock, so that a thread that holds the lock reads the current value.
//! 2. A node with `LEFT` has no exits, no adopted waves and no waker of a run, and gets none: code that
//!    adds one does so under the lock, after it has read `LEFT`. So an exit that is handed over meets a
//!    region that will run it, or goes on to the next (R8).
//! 3. The parent is set when the region is entered. It changes only when the region is handed over (R4),
//!    or to skip ancestors that were left: the effective parent is the nearest live ancestor (R1).
//! 4. `inner.waker` wakes the `run` that attends the node. A thread that takes it sets `REWAKE`, and
//!    the run registers anew at its next poll.
//! 5. Every cancellation of an ancestor reaches a node that is linked. It only makes the node look: the state
//!    is never copied, because a region that was only lent survives the region it was lent to (R7). Only
//!    children of a group and stays in a scope are cancelled themselves; they are linked from the start. A
//!    region that is *dropped* with a cancelled region around it keeps that region's reason when it leaves,
//!    for later questions.
//! 6. Numbers grow: of two regions that are entered in one task, the later one has the larger number.
//!    Sorting by it is last in, first out, whatever the order of drops (R7).
//!
//! # Lock order
//!
//! A thread holds one node's lock at a time, and never a group's ledger together with it. No user code
//! runs under either: wakers are cloned before and woken and dropped after, exits are moved out before
//! they are polled or dropped (R18).

mod adoption;
pub(crate) mod ambient;
mod body;
mod cancel;
#[cfg(feature = "testing")]
mod census;
mod crowd;
mod draft;
mod enter;
mod exit;
mod frame;
mod inbox;
mod leave;
mod links;
mod lone;
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
pub(crate) use body::{Body, InPlace};
pub(crate) use cancel::Wait;
pub(crate) use draft::{Draft, Light};
pub(crate) use exit::{Exit, ExitError, ExitWork};
pub(crate) use frame::{Ended, Frame};
use leave::Next;
pub(crate) use lone::Lone;
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
use crate::sync::{Arc, AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering, Weak, next_number};
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
    /// A scope around one future, shielded from cancellation from outside.
    Shield,
    /// A scope around one future, with a deadline.
    Timeout,
    /// One of the runs inside an entered scope: cancelled with the scope, and for the same
    /// reason.
    Stay,
    Stack,
    Group,
}

impl Kind {
    /// The noun for it in texts.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Kind::Task | Kind::Child => "task",
            Kind::Scope | Kind::Stay => "cancel scope",
            Kind::Shield => "shield",
            Kind::Timeout => "timeout",
            Kind::Stack => "exit stack",
            Kind::Group => "task group",
        }
    }
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
/// A task of its own: any task may poll it.
const ROOT: u32 = 1 << 7;
/// Entered inside an exit: a cancellation outside the exit does not reach it.
const SHELTERED: u32 = 1 << 8;
/// A time of the region has changed, and its run has not seen that yet.
const DEADLINE: u32 = 1 << 9;
/// Linked into its parent, invariant 5.
const LINKED: u32 = 1 << 10;
/// A stop was requested (R13).
const STOP: u32 = 1 << 11;
/// Shielded: a cancellation outside does not drop it while it is polled (R12).
const SHIELD: u32 = 1 << 12;
/// It, or a task around it, may have been given a clock of its own.
const CLOCKED: u32 = 1 << 13;
/// A scope that became a stay in another one: its kind is [`Kind::Stay`].
const STAY: u32 = 1 << 14;
/// New children inherit a cancellation that is not the region's own.
const BELOW: u32 = 1 << 15;
/// A child on an executor: a poll of its group does not poll the child.
const AFAR: u32 = 1 << 16;
/// Cancelled, and a shield inside has kept the body once: the children of the groups inside are cancelled (R12).
const HELD: u32 = 1 << 17;
/// Entered by a call, with times that no run watches; see `time.rs`.
const UNWATCHED: u32 = 1 << 18;
/// It, or a region around it, may have times; see `time.rs`.
const TIMED: u32 = 1 << 19;

/// The default of the time that a cancelled region waits for a shield that it has woken.
const SHIELD_PATIENCE: Duration = Duration::from_millis(100);

pub(crate) struct Node {
    flags: AtomicU32,
    /// The number of times that the waiters were taken. A waiter compares it, to see whether its waker is
    /// still registered.
    calls: AtomicU32,
    /// The epoch in which no cancellation was found here or around; see `cancel.rs`.
    quiet: AtomicU64,
    owner_task: AtomicU64,
    owner_runtime: AtomicU64,
    kind: Kind,
    /// Whether a region was ever entered in this one; see [`unsettle_held`](Node::unsettle_held).
    holds: AtomicBool,
    /// The region's place among its parent's links, if it has one there.
    place: AtomicU32,
    inner: Mutex<Inner>,
    #[cfg(feature = "testing")]
    census: census::Handover,
}

/// The state that every region needs. Further state is in boxes, for the regions that need it.
#[derive(Default)]
struct Inner {
    parent: Option<Arc<Node>>,
    entered_at: Option<&'static Location<'static>>,
    waker: Option<Waker>,
    reach: Option<Box<Reach>>,
    more: Option<Box<More>>,
}

/// The waiters and regions that a cancellation or a stop of the region reaches.
#[derive(Default)]
struct Reach {
    waiters: Wakers,
    stop_waiters: Wakers,
    links: Slab<Weak<Node>>,
}

/// The state of a region that owns exits, has a deadline or was cancelled. It is small, because each of thousands of
/// children may have it.
#[derive(Default)]
struct More {
    /// Of a stack and a group: the number by which their exits are sorted.
    number: u64,
    exits: Vec<Exit>,
    adopted: Vec<Wave>,
    reason: Option<Reason>,
    /// The reason of the cancelled region around, for a region that was dropped with it.
    dropped_for: Option<Reason>,
    deadline: Option<Instant>,
    /// Of a group: the number of the first request that cancelled its children; 0 before.
    told: u64,
    rest: Option<Box<Rest>>,
}

#[derive(Default)]
struct Rest {
    name: Option<Arc<str>>,
    clock: Option<Arc<dyn Clock>>,
    timeout: Option<Duration>,
    grace: Option<Duration>,
    /// The reason that new children inherit although the region itself is not cancelled: in a group that
    /// has its first success.
    below: Option<Reason>,
    stop: Option<Reason>,
    /// The end of the grace after a stop, once the region's run has seen the stop.
    stop_due: Option<Instant>,
    /// The cancellation around a shield for which its grace has begun, and the end of that
    /// grace.
    shield_due: Option<(Reason, Instant)>,
    /// The time that the regions inside wait for a shield that they have woken.
    patience: Option<Duration>,
    spawner: Option<Arc<dyn Spawn + Send + Sync>>,
    /// The region in which it is linked, and its place there, if that is not its parent.
    link: Option<(Weak<Node>, usize)>,
    /// Failures that were sent here, until the region's run takes them.
    records: Failures,
    /// The number of failures that its record keeps, if it was set.
    cap: Option<usize>,
    /// The panic of an exit, kept for the run or close that goes on with a stack that was
    /// handed back.
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

    /// Records the number of a request that cancels the children, if it is the first.
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

    /// Whether there may be a waiter for events above, here or below.
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
            holds: AtomicBool::new(false),
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
        let clocked = Node::clocked_in(parent.as_ref());
        let timed = if deadline.is_some() { TIMED } else { 0 };
        Node::note_held(parent.as_ref());
        let mut inner = Inner { parent, entered_at: Some(at), ..Inner::default() };
        if deadline.is_some() {
            inner.more().deadline = deadline;
        }
        Node::with(kind, owner, flags | clocked | timed, inner)
    }

    /// The flag `CLOCKED` for a region that is entered in `parent`, if a clock may have been given there.
    fn clocked_in(parent: Option<&Arc<Node>>) -> u32 {
        // A group that has children before it is entered may later be entered in a task with a
        // clock.
        let clocks = |parent: &Arc<Node>| parent.flags() & (CLOCKED | ENTERED) != ENTERED;
        if parent.is_some_and(clocks) { CLOCKED } else { 0 }
    }

    /// A child of `parent`, a task of its own, entered and attended from the start and linked. `asked` is a request
    /// that came before the parent's; `afar` marks an executor child.
    fn child(
        parent: &Arc<Node>,
        (task, name): (u64, Option<Arc<str>>),
        at: &'static Location<'static>,
        asked: Option<Reason>,
        afar: bool,
    ) -> Arc<Self> {
        let owner = Identity { task, runtime: 0 };
        let flags = ENTERED | ATTENDED | ROOT | if afar { AFAR } else { 0 };
        let around = Some(Arc::clone(parent));
        let node = Node::entered(Kind::Child, owner, flags, around, at, None);
        if let Some(name) = name {
            node.set_name(name);
        }
        node.tell_entered();
        if let Some(reason) = asked {
            node.cancel(reason);
        }
        node.put_into(parent)
    }

    /// One run inside the entered scope `parent`: it belongs to that scope's owner and is cancelled with it.
    pub(crate) fn stay(parent: &Arc<Node>, at: &'static Location<'static>) -> Arc<Self> {
        let flags = ENTERED | ATTENDED | DEADLINE | (parent.flags() & (SHIELD | TIMED));
        let around = Some(Arc::clone(parent));
        let node = Node::entered(Kind::Stay, parent.owner(), flags, around, at, None);
        node.take_after(parent);
        node.tell_entered();
        node.put_into(parent)
    }

    /// The name and the grace of the scope, because to the regions inside it a stay is the
    /// scope, and its run watches the scope's times.
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
        // Also if the parent has left, because a group that was abandoned has a reason for a child
        // that comes late.
        if parent.has(CANCELLED | STOP | BELOW) {
            parent.catch_up(&self);
        }
        self
    }

    /// Makes this region one run inside `scope`. It was entered with a node of its own, made inside, before
    /// `scope` was made from outside by another thread: for their owner both are the same region.
    fn stay_in(self: &Arc<Self>, scope: &Arc<Node>) {
        let (parent, entered_at, link) = {
            let mut inner = self.inner.lock();
            self.lower(&inner, LINKED);
            let link = self.take_link(&mut inner);
            (inner.parent.replace(Arc::clone(scope)), inner.entered_at, link)
        };
        self.drop_link(link);
        Node::note_held(Some(scope));
        {
            let mut inner = scope.inner.lock();
            (inner.parent, inner.entered_at) = (parent.clone(), entered_at);
            scope.record_owner(self.owner());
            scope.raise(&inner, ENTERED | (self.flags() & (ROOT | SHELTERED | CLOCKED)));
        }
        self.take_after(scope);
        {
            let inner = self.inner.lock();
            self.raise(&inner, STAY | DEADLINE | (scope.flags() & (SHIELD | TIMED)));
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
        let mut inner = self.inner.lock();
        inner.rest().timeout = Some(timeout);
        self.raise(&inner, TIMED);
    }

    pub(crate) fn set_grace(&self, grace: Duration) {
        let mut inner = self.inner.lock();
        inner.rest().grace = Some(grace);
        self.raise(&inner, TIMED | if self.has(STOP) { DEADLINE } else { 0 });
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

    /// The patience of the nearest region around for which one was set.
    fn shield_patience(&self) -> Duration {
        let set = |node: &Node| node.inner.lock().rest_seen().and_then(|rest| rest.patience);
        let mut around = std::iter::successors(self.parent(), |node| node.parent());
        set(self).or_else(|| around.find_map(|node| set(&node))).unwrap_or(SHIELD_PATIENCE)
    }

    /// The number by which the exits of different regions of one task are sorted.
    fn number(&self) -> u64 {
        self.inner.lock().more.as_ref().map_or(0, |more| more.number)
    }

    #[cfg(feature = "tracing")]
    fn is_shielded(&self) -> bool {
        self.has(SHIELD)
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
        if self.kind == Kind::Scope && self.has(STAY) { Kind::Stay } else { self.kind }
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

    /// Under the lock no other thread changes a flag, so no read-modify-write is needed.
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
            Kind::Shield => "Shield",
            Kind::Timeout => "Timeout",
            Kind::Stack => "ExitStack",
            Kind::Group => "TaskGroup",
        });
        // Does not block: while the node is locked, only the fields that need no lock are
        // shown.
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
