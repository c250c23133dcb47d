//! How a region is entered: its owner, its parent and its place are recorded, once (R1, R4, R5).

use super::{
    ATTENDED, CLOCKED, Caught, ENTERED, Kind, LEFT, LINKED, Node, ROOT, SHELTERED, SHIELD,
    UNWATCHED, ambient,
};
use crate::identity::Identity;
use crate::rt;
use crate::sync::{Arc, Ordering, next_number};
use crate::wrong_task::Misuse;
use std::panic::Location;

/// What one who has entered a region knows of it.
struct Entry {
    /// The region around, where it is still needed: where this one is not attended yet, or may have been looked at before.
    around: Option<Arc<Node>>,
    /// Whether it is attended, too.
    attended: bool,
    awaited: bool,
    timed: bool,
}

impl Node {
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
        self.raise(&inner, ENTERED | attended | Node::inherited(parent.as_ref(), in_exit));
        // Nobody can have looked at a stack before, to find that nothing is cancelled around it.
        let looked_at = self.kind != Kind::Stack;
        let around = if looked_at || attended == 0 { parent.clone() } else { None };
        inner.parent = parent;
        let (awaited, timed) = (inner.is_awaited(), inner.is_timed());
        drop(inner);
        if looked_at {
            self.quiet.store(0, Ordering::Relaxed);
            self.unsettle_inside(around.as_ref());
        }
        self.tell_entered();
        Some(Entry { around, attended: attended != 0, awaited, timed })
    }

    /// The flags that a region has from what it is entered in.
    pub(super) fn inherited(parent: Option<&Arc<Node>>, in_exit: bool) -> u32 {
        let clocked = parent.map_or(0, |parent| parent.flags() & CLOCKED);
        clocked | if in_exit { SHELTERED } else { 0 }
    }

    /// A run takes the region up, once: it is entered unless it was, and can adopt from now on.
    ///
    /// A region that nothing of this crate encloses becomes its own root task here (R5); a [`Kind::Task`]
    /// is one wherever it is. Returns the panic that was kept by who left it before, and handed it back.
    pub(super) fn attend(
        self: &Arc<Self>,
        operation: &'static str,
        at: &'static Location<'static>,
    ) -> Result<Option<Caught>, Misuse> {
        let entry = if self.has(ENTERED) { None } else { self.enter_around(at, ATTENDED) };
        // Not where somebody else has entered it meanwhile.
        let fresh = entry.is_some();
        if !fresh {
            self.check(operation, at)?;
        }
        if entry.as_ref().is_none_or(|entry| entry.timed) {
            self.start_timeout();
        }
        if let Some(entry) = entry.as_ref().filter(|entry| entry.attended) {
            self.link_up_if(entry.awaited);
            return Ok(None);
        }
        let mut around = entry.and_then(|entry| entry.around);
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
                self.raise(&inner, ROOT);
            } else if self.owner().task == 0 {
                // Entered by its first use where no task of ours was known: it belongs to the one that runs it,
                // and to the region around that. Where there is none, it is its own root; and only if it was
                // never anybody's may it move with its future (R5).
                drop(inner);
                around = around.or_else(|| Some(ambient::current()?.0));
                inner = self.inner.lock();
                match &around {
                    Some(around) => {
                        self.owner_task.store(around.owner().task, Ordering::Relaxed);
                        // Not moved in: where there is a parent already, it would be dropped under the lock.
                        inner.parent.get_or_insert_with(|| Arc::clone(around));
                        self.unsettle();
                    }
                    None => {
                        self.owner_task.store(next_number(), Ordering::Relaxed);
                        self.raise(&inner, if fresh { ROOT } else { 0 });
                    }
                }
            }
            self.raise(&inner, ATTENDED);
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
        // Beside the draft's own.
        let known = Arc::strong_count(self) > 1;
        self.enter(at);
        self.start_timeout();
        self.begin_unwatched(known);
        let awaited = self.inner.lock().is_awaited();
        self.link_up_if(awaited);
        Ok(())
    }

    /// Makes the running task the owner, and the region current here the parent (R4).
    pub(crate) fn take_over(self: &Arc<Self>) {
        if self.has(LEFT) || !self.has(ENTERED) {
            return;
        }
        let (parent, in_exit) = ambient::current().unzip();
        let in_exit = in_exit.unwrap_or(false);
        let owner = Node::owner_in(parent.as_ref());
        if let Some(parent) = &parent {
            self.move_out_of_the_way_to(parent);
        }
        {
            let mut inner = self.inner.lock();
            self.record_owner(owner);
            self.lower(&inner, SHELTERED | CLOCKED);
            self.raise(&inner, Node::inherited(parent.as_ref(), in_exit));
            if let Some(more) = &mut inner.more {
                // Entered anew, as far as the order of exits goes.
                more.number = next_number();
            }
        }
        self.move_into(parent);
    }

    /// Makes `parent` the region around this one.
    fn move_into(self: &Arc<Self>, parent: Option<Arc<Node>>) {
        let (former, link, awaited) = {
            let mut inner = self.inner.lock();
            self.lower(&inner, LINKED);
            let (awaited, link) = (inner.is_awaited(), self.take_link(&mut inner));
            (std::mem::replace(&mut inner.parent, parent.clone()), link, awaited)
        };
        if parent.is_some_and(|parent| !parent.is_found_quiet()) {
            self.unsettle();
        }
        let was_linked = link.is_some();
        self.drop_link(link);
        self.link_up_if(awaited || was_linked);
        drop(former);
        if awaited && self.has(UNWATCHED) {
            // Its clock may be another one.
            self.look_after();
        }
    }

    /// This region is about to be inside `inner`. Where it is around that, it would be inside itself, and a walk outwards
    /// would not end: what was entered in it and is around `inner` goes to the region around this one first.
    fn move_out_of_the_way_to(self: &Arc<Self>, inner: &Arc<Node>) {
        let mut at = Some(Arc::clone(inner));
        while let Some(node) = at {
            let around = node.live_parent();
            if around.as_ref().is_some_and(|around| Arc::ptr_eq(around, self)) {
                return node.move_into(self.live_parent());
            }
            at = around;
        }
    }

    /// For what is dropped after its owner has let go of it. What nobody takes over goes home from where it was, as its
    /// former owner's.
    pub(crate) fn take_over_if_inside(self: &Arc<Self>) {
        if ambient::is_empty() == Some(false) {
            self.take_over();
        } else {
            // Who drops it is no thief.
            self.owner_runtime.store(rt::task_number(), Ordering::Relaxed);
        }
    }

    pub(super) fn twice(&self, at: &'static Location<'static>) -> Misuse {
        let (name, entered_at) = {
            let inner = self.inner.lock();
            (inner.name(), inner.entered_at.unwrap_or(at))
        };
        Misuse::EnteredTwice { region: self.describe_as(name), entered_at, attempted_at: at }
    }
}
