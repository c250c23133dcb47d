//! A region before it has a node: the cheap form of a scope that gets no request, and of a task, a time limit and a stack.
//!
//! A node is made when it is needed: by a handle, by a request, by a region inside that has to know its
//! parent, or by the first poll that is pending. A body that is ready at its first poll leaves without a node
//! (R19).
//!
//! The node may be made at two places at once: by the polling thread from inside, through the [ambient
//! context](super::ambient), and through the draft by a caller that has the scope. On one thread each finds the
//! node of the other. A request of another thread during the first poll does not find the node that was made
//! inside meanwhile: then both nodes exist, and the inner one becomes a [stay](super::stay::stay_in) in the
//! other.
//!
//! # Invariants
//!
//! 1. A draft has one node at most, and never gets another. A thread that stores the node and a thread that leaves the region
//!    without one both change the word of the [stamp](super::stamp): the second of them marks the node as left.
//! 2. Of several threads that enter the region, the first to change the stamp enters it, and the others find the owner there
//!    (R2).
//! 3. A node that was made inside is entered from the start. A node that was made from outside is entered by the run, or becomes
//!    the scope in which the node that was made inside is a stay.

mod settings;

pub(crate) use settings::{OfStack, Set, Settings};

use super::ambient::{self, Light};
use super::child_id;
use super::enter;
use super::flags::{ATTENDED, DEADLINE, ENTERED, ROOT, SHELTERED};
use super::kind::Kind;
use super::leave;
use super::node::Node;
use super::observe;
use super::own_exits::OwnExits;
use super::owner;
use super::stamp::{Signature, Stamp};
use super::time;
use crate::identity::Identity;
use crate::rt;
use crate::sync::{Arc, Once, next_number};
use crate::wrong_task::Misuse;
use std::panic::Location;
use std::task::Waker;
use std::time::{Duration, Instant};

/// The state of a region that has no node, and its node, once that is made.
pub(crate) struct Draft<T = Settings> {
    settings: T,
    node: Once<Arc<Node>>,
    /// The place of the entry, the owner, and whether the region has been left without a node; used if other threads can
    /// reach the draft.
    pub(super) stamp: Stamp,
    #[cfg(feature = "testing")]
    live: super::live::LiveEntry,
}

impl Draft {
    #[inline]
    pub(crate) fn new(kind: Kind) -> Self {
        Draft::timed(kind, None, None)
    }

    /// A region with a deadline, or with a time from its entry.
    #[inline]
    pub(crate) fn timed(kind: Kind, deadline: Option<Instant>, timeout: Option<Duration>) -> Self {
        Draft::with(Settings { kind, deadline, timeout })
    }

    /// Cancels the region at `at`, or at the deadline that was set before, whichever is
    /// earlier.
    pub(crate) fn set_deadline(&mut self, at: Instant) {
        let at = self.settings.deadline.map_or(at, |before| before.min(at));
        self.settings.deadline = Some(at);
        if let Some(node) = self.node.get() {
            time::set_deadline(node, at);
        }
    }

    pub(crate) fn set_timeout(&mut self, timeout: Duration) {
        self.settings.timeout = Some(timeout);
        if let Some(node) = self.node.get() {
            time::set_timeout(node, timeout);
        }
    }
}

impl Draft<OfStack> {
    #[inline]
    pub(crate) fn of_stack() -> Self {
        Draft::with(OfStack)
    }
}

impl<T: Set> Draft<T> {
    #[inline]
    fn with(settings: T) -> Self {
        Draft {
            settings,
            node: Once::new(),
            stamp: Stamp::new(),
            #[cfg(feature = "testing")]
            live: super::live::LiveEntry::new(),
        }
    }

    /// The region's node.
    #[inline]
    pub(crate) fn node(&self) -> &Arc<Node> {
        match self.node.get() {
            // A thread that leaves may have stamped the draft and not yet marked the node. Then `make_node` marks it,
            // so that the caller finds it left.
            Some(node) if !self.stamp.has_left() || node.has_left() => node,
            _ => self.make_node(),
        }
    }

    #[cold]
    fn make_node(&self) -> &Arc<Node> {
        if let (None, Some(node)) = (self.node.get(), ambient::node_of(self.id())) {
            return self.node.fill(node);
        }
        let node = match self.node.get() {
            Some(node) => node,
            None => self.node.fill(self.fresh_node()),
        };
        // The run may have left the region since without a node (invariant 1).
        if self.stamp.has_left_or_will_find_node() {
            self.leave(node);
        }
        node
    }

    fn fresh_node(&self) -> Arc<Node> {
        let node = Node::new(self.settings.get().kind);
        self.give_up_live_entry();
        let Settings { deadline, timeout, .. } = self.settings.get();
        if let Some(timeout) = timeout {
            time::set_timeout(&node, timeout);
        }
        if let Some(deadline) = deadline {
            time::set_deadline(&node, deadline);
        }
        node
    }

    /// Marks a node that was made late as entered and left, as the stamp says.
    #[cold]
    fn leave(&self, node: &Arc<Node>) {
        if let Some((entered_at, who)) = self.stamp.owner() {
            leave::mark_entered(node, entered_at, who);
            // A thread that has marked it as entered may not have closed it yet. The caller must find it left.
            if !node.has_left() {
                drop(leave::close_now(node, None, None));
            }
        }
    }

    /// The node, if it has been made.
    #[inline]
    pub(crate) fn made(&self) -> Option<&Arc<Node>> {
        self.node.get()
    }

    /// Stores the node that was made inside, unless there is one; returns the stored one.
    pub(super) fn store_node(&self, node: Arc<Node>) -> &Arc<Node> {
        self.node.fill(node)
    }

    pub(super) fn give_up_live_entry(&self) {
        #[cfg(feature = "testing")]
        self.live.give_up();
    }

    fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Enters the region without a node, if that is possible.
    #[inline(always)]
    pub(super) fn light(&self, at: &'static Location<'static>) -> Option<Light> {
        if observe::OBSERVED || self.node.get().is_some() {
            return None;
        }
        let task = ambient::task();
        let Settings { kind, deadline, timeout } = self.settings.get();
        let usual = task != 0 && kind != Kind::Task && timeout.is_none();
        let (task, root, deadline) =
            if usual { (task, None, deadline) } else { self.light_otherwise(task)? };
        Some(Light { id: self.id(), kind, at, task, root, deadline, in_exit: false })
    }

    /// The task of the region, its root and its deadline. `None` if the region needs its node.
    #[inline(never)]
    fn light_otherwise(&self, task: u64) -> Option<(u64, Option<u64>, Option<Instant>)> {
        let Settings { kind, deadline, timeout } = self.settings.get();
        let (task, root) = match (kind, task) {
            (Kind::Task, _) => ambient::is_empty().map(|_| (next_number(), Some(0)))?,
            (_, 0) => ambient::is_empty()?.then(|| (next_number(), Some(rt::task_number())))?,
            _ => (task, None),
        };
        let Some(timeout) = timeout else { return Some((task, root, deadline)) };
        // A relative deadline starts here (R11). A timeout of zero cancels before the first poll.
        if timeout.is_zero() {
            return None;
        }
        let due = ambient::now().checked_add(timeout);
        Some((task, root, [deadline, due].into_iter().flatten().min()))
    }

    /// Records that the region is entered; an error if it was before (invariant 2). For a draft that other threads can reach.
    #[inline]
    pub(super) fn note_entered(
        &self,
        who: Signature,
        at: &'static Location<'static>,
    ) -> Result<(), Box<Misuse>> {
        if self.stamp.enter(who) { Ok(()) } else { Err(self.twice(Identity::UNKNOWN, at)) }
    }

    /// The error of a second run. `owner` is the owner, if that is known.
    #[cold]
    fn twice(&self, owner: Identity, at: &'static Location<'static>) -> Box<Misuse> {
        let node = self.described(owner);
        // The wrong task comes before every other misuse (R2).
        let misuse = owner::check(&node, "run", at).err();
        Box::new(misuse.unwrap_or_else(|| enter::twice(&node, at)))
    }

    /// Enters a stack without a node, if that is possible; an error if a run has done so before.
    #[inline(always)]
    pub(super) fn enter_light(
        &self,
        at: &'static Location<'static>,
        exits: &OwnExits,
    ) -> Result<Option<Light>, Box<Misuse>> {
        let Some(light) = self.light(at) else { return Ok(None) };
        let Some(who) = Signature::of(light.who(), at) else { return Ok(None) };
        if self.stamp.enter(who) {
            exits.enter(Identity { task: light.task, runtime: light.root.unwrap_or(0) });
            return Ok(Some(light));
        }
        // Its first use may have entered it meanwhile.
        if self.is_entered_light() { Err(self.twice(exits.owner(), at)) } else { Ok(None) }
    }

    /// Whether a run has entered the region without a node. It may have left it, or have a node by now.
    fn is_entered_light(&self) -> bool {
        self.stamp.owner().is_some()
    }

    /// Before the first use of a stack enters it with a node: `false` if a run has entered it, and it has no node.
    #[cold]
    pub(crate) fn may_enter_node(&self) -> bool {
        // Of this use and a run that enters it without a node, one comes first.
        self.made().is_some() || {
            self.stamp.enter(Signature::or_elsewhere(None));
            !self.is_entered_light()
        }
    }

    /// The node; or a node like it, for texts and for a comparison of its owner, which is `owner` if that is known. The node
    /// itself may not be entered yet while the region is in its first poll elsewhere.
    #[cold]
    pub(crate) fn described(&self, owner: Identity) -> Arc<Node> {
        let made = self.made();
        if let Some(node) = made.filter(|node| node.is_entered() || !self.is_entered_light()) {
            return Arc::clone(node);
        }
        let node = Node::new(self.settings.get().kind);
        let name = made.and_then(|node| node.inner.lock().name());
        if let Some(name) = name {
            node.set_name(name);
        }
        self.mark_entered(&node, owner);
        if self.stamp.has_left() {
            drop(leave::close_now(&node, None, None));
        }
        node
    }

    /// The node of a stack that no run borrows. If a run was leaked before it had a node, the node is entered here in its place.
    pub(crate) fn entered_node(&self, owner: Identity) -> &Arc<Node> {
        let node = self.node();
        if !node.is_entered() {
            self.mark_entered(node, owner);
        }
        node
    }

    #[cold]
    fn mark_entered(&self, node: &Arc<Node>, owner: Identity) {
        if let Some((entered_at, who)) = self.stamp.owner() {
            let owner = if owner.is_unknown() { who } else { owner };
            leave::mark_entered(node, entered_at, owner);
        }
    }

    /// Whether the region was left.
    pub(crate) fn has_left(&self) -> bool {
        self.made().map_or_else(|| self.stamp.has_left(), |node| node.has_left())
    }

    /// Records that the region has been left without a node. For a draft that other threads can reach: one of them may store a
    /// node meanwhile (invariant 1).
    #[inline]
    pub(super) fn note_left(&self) {
        self.stamp.leave();
        if let Some(node) = self.node.get() {
            self.leave(node);
        }
    }
}

impl Light {
    /// The identity that enters: the runtime's task if it is known, because a root's own number is never current again
    /// once the root has been left.
    pub(super) fn who(&self) -> Identity {
        match self.root {
            Some(runtime) if runtime != 0 => Identity { task: 0, runtime },
            _ => Identity { task: self.task, runtime: 0 },
        }
    }

    /// Makes the region's node, inside `parent`; the flag is `true` if the region was entered in an exit. `waker` is that of
    /// its run, if the run is pending.
    pub(super) fn node(
        &self,
        parent: Option<(Arc<Node>, bool)>,
        waker: Option<Waker>,
    ) -> Arc<Node> {
        if let (Kind::Child, Some((parent, _))) = (self.kind, &parent) {
            return child_id::make_node(parent, (self.task, None), self.at, false);
        }
        let in_exit = parent.as_ref().is_some_and(|(_, in_exit)| *in_exit);
        let flags = ENTERED
            | ATTENDED
            | if self.root.is_some() { ROOT } else { 0 }
            | if in_exit { SHELTERED } else { 0 }
            | if self.deadline.is_some() { DEADLINE } else { 0 };
        let parent = parent.map(|(parent, _)| parent);
        let around = parent.as_ref().map_or(0, |parent| parent.owner.get().runtime);
        let runtime = self.root.unwrap_or(around);
        let owner = Identity { task: self.task, runtime };
        enter::entered(self.kind, owner, flags, parent, self.at, self.deadline, waker)
    }

    /// Makes the node of an executor child of `group`, during its first poll.
    pub(super) fn executor_child(&self, group: &Arc<Node>) -> Arc<Node> {
        child_id::make_node(group, (self.task, None), self.at, true)
    }
}

impl<T> std::fmt::Debug for Draft<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.node.get() {
            Some(node) => node.fmt(f),
            None => f.debug_struct("CancelScope").finish_non_exhaustive(),
        }
    }
}
