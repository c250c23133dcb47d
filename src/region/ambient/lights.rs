//! Regions that are polled without a node, innermost last, and how they get their nodes.

use super::ask::{innermost_made, read_made};
use super::{
    AskedOf, IN_EXIT, IN_LIGHT_EXIT, INSIDE, MADE, POSTED, SHIELD_UP, base, enter_node, here, is,
    next_base,
};
use crate::region::kind::Kind;
use crate::region::node::Node;
use crate::sync::{Arc, ambient};
use crate::unwind::{self, Payload};
use crate::wakers::Asked;
use std::cell::RefCell;
use std::panic::Location;
use std::time::Instant;

/// The slot of an executor child, in which other threads find its node. It makes the node and stores it at once, during
/// the child's poll.
pub(crate) trait NodeStore {
    fn make_node(&self, group: &Arc<Node>, at: &'static Location<'static>) -> Arc<Node>;
}

/// The group of an executor child, and the child's slot: `None` for a child without a handle, to which no request comes
/// alone.
pub(crate) type Posting = (Arc<Node>, Option<Arc<dyn NodeStore>>);

/// A region that is polled without a node: in its first poll; a child, a task, a time limit or a stack also in later ones.
#[derive(Clone, Copy)]
pub(crate) struct Light {
    /// The address of the region's draft or identity: no other object has it while the region is polled.
    pub(in crate::region) id: usize,
    pub(in crate::region) kind: Kind,
    pub(in crate::region) at: &'static Location<'static>,
    pub(in crate::region) task: u64,
    /// If this region is a task of its own: the id of the runtime's task, 0 if it is not recorded.
    pub(in crate::region) root: Option<u64>,
    pub(in crate::region) deadline: Option<Instant>,
    /// An exit of the region runs: a region that is entered in it is sheltered (R14).
    pub(in crate::region) in_exit: bool,
}

/// A region that is polled without a node, and its node, if this poll has made it.
pub(super) struct Polled {
    pub(super) light: Light,
    /// Set when a region inside, or a request, needs the node.
    pub(super) node: Option<Arc<Node>>,
}

/// How a request of another thread to a child alone gets into a poll without a node.
pub(crate) enum Reach {
    Posted(Posting),
    /// A request may come, and then the child's checks find it here. The child gets its node at its next poll.
    Asked(Option<Arc<dyn Asked>>),
}

ambient! {
    /// The regions that are polled without a node on this thread, innermost last.
    static LIGHTS: RefCell<Vec<Polled>> = RefCell::new(Vec::new());
}

/// As [`within_noting_shields`](super::within_noting_shields), with the node, if this poll has made it.
type LightPoll<R> = (R, bool, Option<Arc<Node>>);

/// Runs `user_code` in a region that has no node. `None` if no region can become current,
/// because the thread is exiting.
#[inline(always)]
pub(in crate::region) fn within_light<R>(
    light: &Light,
    user_code: impl FnOnce() -> R,
) -> Option<LightPoll<Result<R, Payload>>> {
    within_flagged(light, 0, || unwind::catch(user_code))
}

/// As [`within_light`], for the exits of the region; `caught` catches the panics of user code itself.
#[inline(always)]
pub(in crate::region) fn within_light_exits<R>(
    light: &Light,
    caught: impl FnOnce() -> R,
) -> Option<LightPoll<R>> {
    within_flagged(&Light { in_exit: true, ..*light }, IN_LIGHT_EXIT, caught)
}

#[inline(always)]
fn within_flagged<R>(light: &Light, flag: u32, caught: impl FnOnce() -> R) -> Option<LightPoll<R>> {
    let task = light.task;
    LIGHTS
        .try_with(|lights| lights.borrow_mut().push(Polled { light: *light, node: None }))
        .ok()?;
    let before = here(|here| {
        here.count.set(here.count.get() + 1);
        let flags = (here.flags.get() | INSIDE | flag) & !(SHIELD_UP | MADE);
        here.enter(task, flags, here.base.get())
    });
    let result = caught();
    let shield = here(|here| {
        here.count.set(here.count.get() - 1);
        here.leave(before)
    });
    let popped = LIGHTS.try_with(|lights| lights.borrow_mut().pop().and_then(|polled| polled.node));
    Some((result, shield, popped.ok().flatten()))
}

/// For a later poll of the child with this `id`, which has a handle: while the value exists, a check finds a request that another
/// thread has noted in `asked`.
pub(in crate::region) struct Asking {
    before: Option<AskedOf>,
}

impl Asking {
    #[inline(never)]
    pub(in crate::region) fn new(id: usize, asked: Arc<dyn Asked>) -> Self {
        Asking { before: here(|here| here.asked.replace(Some((id, asked)))) }
    }
}

impl Drop for Asking {
    #[inline(never)]
    fn drop(&mut self) {
        let asked = here(|here| here.asked.replace(self.before.take()));
        drop(asked);
    }
}

/// Whether another thread has made a request to the child with this `id`, which is being polled.
fn is_asked(id: usize) -> bool {
    here(|here| {
        let asked = here.asked.take();
        let is = asked.as_ref().is_some_and(|(child, asked)| *child == id && asked.is_asked());
        here.asked.set(asked);
        is
    })
}

/// As [`within_light`], for the first poll of an executor child: inside its group, as an in-task child is. Other threads
/// that make a request during the poll find its node in `store` once it is made.
pub(in crate::region) fn within_posted<R>(
    (group, store): Posting,
    light: &Light,
    user_code: impl FnOnce() -> R,
) -> Option<LightPoll<Result<R, Payload>>> {
    let count = next_base();
    let store_before = here(|here| here.store.replace(store));
    let first_poll = || within_light(light, user_code);
    let (polled, _) = enter_node(&mut Some(group), INSIDE | POSTED, count, first_poll);
    let store = here(|here| here.store.replace(store_before));
    drop(store);
    polled
}

/// Whether a child without a node is around the current region.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum InChild {
    #[default]
    No,
    Yes,
    /// Another thread has made a request to the child during this poll.
    Asked,
}

/// Calls `read` with the innermost region that has a node, up to the next exit that runs, so that a question makes no new
/// node. No other thread can have cancelled the regions further in, because they have no node. If the outermost of those regions
/// is a child, the requests to the children of its group count for it, and `read` gets an [`InChild`] that says so. `read`
/// also gets the earliest deadline of the regions further in.
pub(crate) fn ask_innermost<R>(
    read: impl FnOnce(Option<&Arc<Node>>, Option<Instant>, InChild) -> R,
) -> R {
    let (base, count) = here(|here| (here.base.get(), here.count.get()));
    if base != count && is(POSTED) {
        // Other threads may have cancelled it since it was spawned: they need its node in its
        // slot.
        give_nodes(base as usize);
    }
    let in_light_exit = is(IN_LIGHT_EXIT);
    let (node, deadline, in_child) = if base == count {
        (None, None, InChild::No)
    } else {
        read_lights(|lights| {
            let mut lights = &lights[base as usize..];
            if in_light_exit {
                // Only the regions that were entered in the exit count.
                let exit = lights.iter().rposition(|polled| polled.light.in_exit);
                lights = &lights[exit.map_or(0, |exit| exit + 1)..];
            }
            // Nodes are made from the outermost region inwards.
            let made = match lights.first() {
                Some(Polled { node: Some(_), .. }) => made_of(lights),
                _ => 0,
            };
            let mut deadline: Option<Instant> = None;
            for polled in &lights[made..] {
                if let Some(at) = polled.light.deadline {
                    deadline = Some(deadline.map_or(at, |other| other.min(at)));
                }
            }
            let node = made.checked_sub(1).and_then(|last| lights[last].node.clone());
            // A child is polled with its group current, so it is the outermost, and in no exit.
            let in_child =
                match lights.first() {
                    Some(Polled { light, .. }) if light.kind == Kind::Child => {
                        if is_asked(light.id) { InChild::Asked } else { InChild::Yes }
                    }
                    _ => InChild::No,
                };
            (node, deadline, in_child)
        })
    };
    if let Some(node) = node {
        let asked = if in_child == InChild::Asked { in_child } else { InChild::No };
        return read(Some(&node), deadline, asked);
    }
    let in_exit = in_light_exit || is(IN_EXIT);
    read_made(|node| read(node.filter(|_| !in_exit), deadline, in_child))
}

/// Whether the innermost region, which is polled without a node, has got one.
pub(in crate::region) fn has_node() -> bool {
    read_lights(|lights| lights.last().is_some_and(|polled| polled.node.is_some()))
}

/// The number of regions that have their node.
fn made_of(lights: &[Polled]) -> usize {
    lights.iter().rposition(|polled| polled.node.is_some()).map_or(0, |last| last + 1)
}

/// The node of the region with this `id`, if the region is polled without a node on this thread. The node is made if there
/// is none yet.
pub(crate) fn node_of(id: usize) -> Option<Arc<Node>> {
    let position = |lights: &[Polled]| lights.iter().rposition(|polled| polled.light.id == id);
    give_nodes(read_lights(position)?)
}

/// Gives a node to the region at index `at` of `LIGHTS` and to every region around it, outermost first, because a node knows
/// its parent (invariant 2 of `ambient`).
#[cold]
pub(in crate::region) fn give_nodes(at: usize) -> Option<Arc<Node>> {
    let base = base();
    let given = LIGHTS.try_with(|lights| {
        let mut lights = lights.borrow_mut();
        let made = lights[..=at].iter().rposition(|polled| polled.node.is_some());
        for at in made.map_or(base, |made| base.max(made + 1))..=at {
            let parent = if at == base {
                innermost_made().map(|node| (node, is(IN_EXIT)))
            } else {
                let Polled { light, node } = &lights[at - 1];
                node.clone().map(|node| (node, light.in_exit))
            };
            let light = lights[at].light;
            let node = match parent {
                Some((group, _)) if at == base && is(POSTED) => make_and_store(&group, light),
                parent => {
                    let node = light.node(parent, None);
                    #[cfg(feature = "testing")]
                    node.live.give_up();
                    node
                }
            };
            lights[at].node = Some(node);
        }
        if at + 1 == lights.len() {
            here(|here| here.flags.set(here.flags.get() | MADE));
        }
        lights[at].node.clone()
    });
    given.ok().flatten()
}

/// Making a node runs no user code, so no code finds `store` empty meanwhile (invariant 3 of `ambient`).
fn make_and_store(group: &Arc<Node>, light: Light) -> Arc<Node> {
    let store = here(|here| here.store.take());
    let node = match &store {
        Some(store) => store.make_node(group, light.at),
        None => light.executor_child(group),
    };
    here(|here| here.store.set(store));
    node
}

/// Calls `read` with the list, which is borrowed meanwhile: no user code must run (invariant 3 of `ambient`).
pub(in crate::region) fn read_lights<R: Default>(read: impl FnOnce(&[Polled]) -> R) -> R {
    LIGHTS.try_with(|lights| read(&lights.borrow())).unwrap_or_default()
}

/// Whether no region is current. `None` if no region can become current, because the thread is
/// exiting.
pub(crate) fn is_empty() -> Option<bool> {
    LIGHTS.try_with(|_| !is(INSIDE)).ok()
}
