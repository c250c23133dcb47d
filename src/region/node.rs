//! The node: the state of a region that other regions and handles can reach.

use super::flags::{ATTENDED, CANCELLED, CLOCKED, ENTERED, LEFT, STAY};
use super::keyed::Keyed;
use super::kind::Kind;
#[cfg(feature = "testing")]
use super::live;
use super::quiet::word::{Encloses, Quiet};
#[cfg(feature = "inspect")]
use super::register::listed::Entry;
use super::tally::Caught;
use super::time::limits::{Limits, Times};
use super::wave::Wave;
use crate::clock::Clock;
use crate::failure::Failures;
use crate::identity::{Identity, SharedIdentity};
use crate::reason::Reason;
use crate::spawn::Spawn;
use crate::sync::{Arc, AtomicU32, Mutex, Ordering, Weak, next_number};
use crate::wakers::Wakers;
use std::panic::Location;
use std::task::Waker;
use std::time::Instant;

/// The state of a region that other regions and handles can reach. Most fields stand behind the lock, in [`Inner`].
pub(crate) struct Node {
    /// The bits of [`flags`](super::flags).
    pub(super) flags: AtomicU32,
    /// The number of times that the waiters were taken. A waiter compares it, to see whether its waker is
    /// still registered.
    pub(super) calls: AtomicU32,
    pub(super) quiet: Quiet,
    pub(super) owner: SharedIdentity,
    pub(super) kind: Kind,
    pub(super) encloses: Encloses,
    /// The key of the region among the links of the region in which it is linked.
    pub(super) link_key: AtomicU32,
    pub(super) inner: Mutex<Inner>,
    #[cfg(feature = "testing")]
    pub(super) live: live::LiveEntry,
}

/// The [`Node::link_key`] of a region that is not linked.
pub(super) const NO_KEY: u32 = u32::MAX;

/// The state that every region needs. Further state is in boxes, for the regions that need it.
#[derive(Default)]
pub(super) struct Inner {
    pub(super) parent: Option<Arc<Node>>,
    pub(super) entered_at: Option<&'static Location<'static>>,
    pub(super) waker: Option<Waker>,
    /// The link at key 0: most regions have at most one region that is linked below.
    pub(super) first_link: Option<Weak<Node>>,
    pub(super) deadline: Option<Instant>,
    pub(super) more: Option<Box<More>>,
}

/// The state of a region that adopted exits, has a waiter or more than one link, or was cancelled. It is small,
/// because each of thousands of children may have it.
#[derive(Default)]
pub(super) struct More {
    pub(super) adopted: Vec<Wave>,
    pub(super) reason: Option<Reason>,
    /// The reason of the cancelled region around, for a region that was dropped with it.
    pub(super) dropped_for: Option<Reason>,
    /// Of a group: the number of the first request that cancelled its children; 0 before.
    pub(super) children_cancelled_at: u64,
    /// The waiters for a cancellation.
    pub(super) waiters: Wakers,
    /// The link at key `n + 1` is at `n`.
    pub(super) links: Option<Box<Keyed<Weak<Node>>>>,
    pub(super) rest: Option<Box<Rest>>,
}

/// The state of a region that has a name, a setting, a stop or failures from other regions, or that walks have left shortcuts
/// in.
#[derive(Default)]
pub(super) struct Rest {
    pub(super) name: Option<Arc<str>>,
    pub(super) times: Limits,
    /// The reason that new children inherit although the region itself is not cancelled: in a group that
    /// has its first success.
    pub(super) below: Option<Reason>,
    pub(super) stop: Option<Reason>,
    /// The waiters for a stop.
    pub(super) stop_waiters: Wakers,
    pub(super) spawner: Option<Arc<dyn Spawn + Send + Sync>>,
    /// The [moment](super::request) up to which the region, and the regions that were linked below it then, were told to
    /// look.
    pub(super) told_to_look: u64,
    pub(super) shortcuts: Option<Box<Shortcuts>>,
    /// Failures that were sent here, until the run takes them.
    pub(super) sent: Failures,
    /// The number of failures that the region's record keeps, if it was set.
    pub(super) cap: Option<usize>,
    /// The panic of an exit, kept for the run or close that goes on with a stack that was
    /// handed back.
    pub(super) panic: Option<Caught>,
    #[cfg(feature = "inspect")]
    pub(super) entry: Entry,
}

/// The ends of the last walks outwards from a region.
#[derive(Default)]
pub(super) struct Shortcuts {
    /// Each with the number of events at which it was found; see `shortcut.rs`.
    pub(super) ends: [Option<(u64, Option<Weak<Node>>)>; 7],
    pub(super) first: Option<First>,
}

/// The earliest time from a region outwards, as a walk has found it; see `time/around.rs`.
pub(super) struct First {
    pub(super) number: u64,
    pub(super) times: Times,
    pub(super) first: Option<(Instant, Weak<Node>)>,
    pub(super) clocked: Option<Weak<Node>>,
}

impl Inner {
    pub(super) fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    pub(super) fn rest(&mut self) -> &mut Rest {
        self.more().rest.get_or_insert_default()
    }

    pub(super) fn rest_seen(&self) -> Option<&Rest> {
        self.more.as_ref()?.rest.as_deref()
    }

    pub(super) fn shortcuts(&mut self) -> &mut Shortcuts {
        self.rest().shortcuts.get_or_insert_default()
    }

    pub(super) fn rest_mut(&mut self) -> Option<&mut Rest> {
        self.more.as_mut()?.rest.as_deref_mut()
    }

    /// Records the number of a request that cancels the children, if it is the first.
    pub(super) fn tell_children(&mut self) {
        let more = self.more();
        if more.children_cancelled_at == 0 {
            more.children_cancelled_at = next_number();
        }
    }

    pub(super) fn reason(&self) -> Option<&Reason> {
        self.more.as_ref()?.reason.as_ref()
    }

    pub(super) fn dropped_for(&self) -> Option<&Reason> {
        self.more.as_ref()?.dropped_for.as_ref()
    }

    pub(super) fn name(&self) -> Option<Arc<str>> {
        self.rest_seen().and_then(|rest| rest.name.clone())
    }

    /// Whether there may be a waiter for events above, here or below.
    pub(super) fn is_awaited(&self) -> bool {
        self.link_count() > 0 || self.has_waiters()
    }

    pub(super) fn has_waiters(&self) -> bool {
        let stops =
            |more: &More| more.rest.as_ref().is_some_and(|rest| !rest.stop_waiters.is_empty());
        self.more.as_ref().is_some_and(|more| !more.waiters.is_empty() || stops(more))
    }
}

/// The links of the regions below, each at a key of its own. The first one needs no allocation.
impl Inner {
    pub(super) fn links(&self) -> impl Iterator<Item = &Weak<Node>> {
        let further = self.more.iter().flat_map(|more| more.links.iter());
        self.first_link.iter().chain(further.flat_map(|further| further.iter()))
    }

    #[inline]
    pub(super) fn link_count(&self) -> usize {
        let further = self.more.as_ref().and_then(|more| more.links.as_ref());
        usize::from(self.first_link.is_some()) + further.map_or(0, |further| further.len())
    }

    /// The link of a region that never had a second one.
    #[inline]
    pub(super) fn only_link(&self) -> Option<&Weak<Node>> {
        let further = self.more.as_ref().and_then(|more| more.links.as_ref());
        if further.is_none() { self.first_link.as_ref() } else { None }
    }

    pub(super) fn add_link(&mut self, node: Weak<Node>) -> u32 {
        if self.first_link.is_none() {
            self.first_link = Some(node);
            return 0;
        }
        self.more().links.get_or_insert_default().insert(node) + 1
    }

    /// Takes the link at `key`, if it is that of `node`.
    pub(super) fn remove_link(&mut self, key: u32, node: &Arc<Node>) -> Option<Weak<Node>> {
        let is_it = |link: &mut Weak<Node>| link.as_ptr() == Arc::as_ptr(node);
        let Some(key) = key.checked_sub(1) else { return self.first_link.take_if(is_it) };
        self.more.as_mut()?.links.as_mut()?.remove_if(key, is_it)
    }
}

impl Node {
    pub(crate) fn new(kind: Kind) -> Arc<Self> {
        Node::with(kind, Identity::UNKNOWN, 0, Inner::default())
    }

    pub(super) fn with(kind: Kind, owner: Identity, flags: u32, inner: Inner) -> Arc<Self> {
        Arc::new(Node {
            flags: AtomicU32::new(flags),
            calls: AtomicU32::new(0),
            quiet: Quiet::new(),
            owner: SharedIdentity::new(owner),
            kind,
            encloses: Encloses::new(),
            link_key: AtomicU32::new(NO_KEY),
            inner: Mutex::new(inner),
            #[cfg(feature = "testing")]
            live: live::LiveEntry::new(),
        })
    }

    pub(crate) fn has_left(&self) -> bool {
        self.has(LEFT)
    }

    pub(crate) fn is_entered(&self) -> bool {
        self.has(ENTERED)
    }

    #[cfg(feature = "tracing")]
    pub(super) fn is_shielded(&self) -> bool {
        self.has(super::flags::SHIELD)
    }

    /// Whether it is a scope that was entered by a call: it has no run of its own.
    pub(super) fn is_entered_by_call(&self) -> bool {
        self.kind == Kind::Scope && self.has(ENTERED) && !self.has(ATTENDED)
    }

    /// Whether a run attends it, or will: a group has children before it is run, and will be run or dropped.
    pub(super) fn is_open(&self) -> bool {
        self.has(ATTENDED) || self.kind == Kind::Group
    }

    /// Whether it is one of the runs inside a scope that was entered by a call; see [`stay`](super::stay).
    pub(super) fn is_stay(&self) -> bool {
        self.has(STAY)
    }

    /// The bits; without the lock, each may be read a bit late (invariant 2 of `flags`).
    #[inline]
    pub(super) fn flags(&self) -> u32 {
        self.flags.load(Ordering::Acquire)
    }

    #[inline]
    pub(super) fn has(&self, any_of: u32) -> bool {
        self.flags() & any_of != 0
    }

    /// Whether it, or a task around it, may have been given a clock of its own.
    pub(super) fn is_clocked(&self) -> bool {
        self.has(CLOCKED)
    }

    pub(crate) fn entered_at(&self) -> Option<&'static Location<'static>> {
        self.inner.lock().entered_at
    }

    pub(crate) fn set_name(&self, name: impl Into<Arc<str>>) {
        self.inner.lock().rest().name = Some(name.into());
    }

    /// Gives its name and its grace to `other` as well.
    pub(super) fn lend_settings(&self, other: &Node) {
        let (name, grace) = {
            let inner = self.inner.lock();
            (inner.name(), inner.rest_seen().and_then(|rest| rest.times.grace))
        };
        if name.is_some() || grace.is_some() {
            let mut inner = other.inner.lock();
            let rest = inner.rest();
            (rest.name, rest.times.grace) = (name, grace);
        }
    }

    pub(super) fn is_task(&self) -> bool {
        matches!(self.kind, Kind::Task | Kind::Child)
    }

    #[inline]
    pub(super) fn parent(&self) -> Option<Arc<Node>> {
        self.inner.lock().parent.clone()
    }

    pub(super) fn given_clock(&self) -> Option<Arc<dyn Clock>> {
        self.inner.lock().rest_seen().and_then(|rest| rest.times.clock.clone())
    }

    /// Takes the lock, and raises `bits`.
    pub(super) fn lock_and_raise(&self, bits: u32) {
        self.raise(&self.inner.lock(), bits);
    }

    /// Takes the lock, and lowers `bits`.
    pub(super) fn lock_and_lower(&self, bits: u32) {
        self.lower(&self.inner.lock(), bits);
    }

    /// Under the lock no other thread changes a flag, so no read-modify-write is needed (invariant 1 of `flags`).
    pub(super) fn raise(&self, _locked: &Inner, bits: u32) {
        self.flags.store(self.flags.load(Ordering::Relaxed) | bits, Ordering::Release);
    }

    pub(super) fn lower(&self, _locked: &Inner, bits: u32) {
        self.flags.store(self.flags.load(Ordering::Relaxed) & !bits, Ordering::Release);
    }
}

impl Node {
    /// `exits` is the number of exits of a stack, if it is known without a wait.
    pub(crate) fn show(
        &self,
        f: &mut std::fmt::Formatter<'_>,
        exits: Option<usize>,
    ) -> std::fmt::Result {
        let mut shown = f.debug_struct(match self.kind {
            Kind::Task | Kind::Child => "Task",
            Kind::Scope => "CancelScope",
            Kind::Shield => "Shield",
            Kind::Timeout => "Timeout",
            Kind::Stack => "ExitStack",
            Kind::Group => "TaskGroup",
        });
        // Does not block: while the node is locked, only the fields that need no lock are
        // shown.
        if let Some(inner) = self.inner.try_lock() {
            shown.field("name", &inner.name()).field("entered_at", &inner.entered_at);
        }
        if let Some(exits) = exits {
            shown.field("exits", &exits);
        }
        shown.field("cancelled", &self.has(CANCELLED)).field("left", &self.has(LEFT));
        shown.finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.show(f, None)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A chain of 10,000 regions must not be dropped by recursion (R14).
        let mut next = self.inner.get_mut().parent.take();
        while let Some(node) = next {
            next = Arc::into_inner(node).and_then(|mut node| node.inner.get_mut().parent.take());
        }
    }
}
