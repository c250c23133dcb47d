//! The ambient context: the region that is being polled on this thread, and the regions around
//! it.
//!
//! It is set while polling and while dropping; at any other time no region is current (R5). A poll of a region that has
//! a node moves the node into the thread-local, puts the former node aside, and swaps them back afterwards; regions
//! further out are the parents of the node. Regions that are polled without a node, most of them for the first time,
//! are in a list above it, because few of them know their parent. Panics of user code are caught inside, so that no
//! unwinding passes through.

use super::draft::Light;
use super::{Kind, Node};
use crate::sync::{Arc, ambient};
use crate::unwind::{self, Payload};
use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::time::Instant;

/// The state that every poll sets and restores. It is empty when no region is polled, so it needs no destructor, and an
/// access need not check whether it has been destroyed.
struct Here {
    /// The owner of the innermost region, 0 if none is known: every use of a region compares it.
    task: Cell<u64>,
    flags: Cell<u32>,
    /// Index of the first entry of `LIGHTS` that lies inside `node`. Every entry below it has a node, because making a
    /// node current gives one to every region around it.
    base: Cell<u32>,
    /// The number of entries in `LIGHTS`.
    count: Cell<u32>,
    /// The innermost region that was made current with its node.
    node: ManuallyDrop<Cell<Option<Arc<Node>>>>,
    /// The place in which other threads find the child that is polled for the first time with
    /// `node` as its group.
    home: ManuallyDrop<Cell<Option<Arc<dyn Home>>>>,
}

/// The place in which other threads find a child's node. It makes the node and stores it at once, during the
/// child's poll.
pub(crate) trait Home {
    fn make_node(&self, group: &Arc<Node>, at: &'static Location<'static>) -> Arc<Node>;
}

/// The group of an executor child, and the child's home.
pub(crate) type Posting = (Arc<Node>, Arc<dyn Home>);

/// A region in its first poll.
struct FirstPoll {
    light: Light,
    /// Set when the node is needed.
    node: Option<Arc<Node>>,
}

ambient! {
    static HERE: Here = Here {
        task: Cell::new(0),
        flags: Cell::new(0),
        base: Cell::new(0),
        count: Cell::new(0),
        node: ManuallyDrop::new(Cell::new(None)),
        home: ManuallyDrop::new(Cell::new(None)),
    };
}
ambient! {
    /// Regions in their first poll, innermost last.
    static LIGHTS: RefCell<Vec<FirstPoll>> = RefCell::new(Vec::new());
}

/// A region is current.
const INSIDE: u32 = 1;
/// An exit of `node` runs: a region that is entered in it is shielded from the cancellation of
/// the exit's home (R14).
const IN_EXIT: u32 = 1 << 1;
/// A shield that holds was polled since the innermost region was made current (R12).
const SHIELD_UP: u32 = 1 << 2;
/// The innermost region is in its first poll and has a node, and so have the regions around it.
const MADE: u32 = 1 << 3;
/// The outermost region without a node is an executor child, and `home` is its home.
const POSTED: u32 = 1 << 4;

impl Here {
    /// Makes a region of `task` current; returns the state to be restored.
    #[inline]
    fn enter(&self, task: u64, flags: u32, base: u32) -> (u64, u32, u32) {
        (self.task.replace(task), self.flags.replace(flags), self.base.replace(base))
    }

    /// Whether a shield inside was polled and holds.
    #[inline]
    fn leave(&self, (task, flags, base): (u64, u32, u32)) -> bool {
        self.task.set(task);
        self.base.set(base);
        self.flags.replace(flags) & SHIELD_UP != 0
    }
}

#[inline(always)]
fn here<R>(look: impl FnOnce(&Here) -> R) -> R {
    HERE.with(look)
}

fn is(flag: u32) -> bool {
    here(|here| here.flags.get() & flag != 0)
}

fn base() -> usize {
    here(|here| here.base.get()) as usize
}

/// The task that owns the innermost region; 0 if none is known.
#[inline]
pub(crate) fn task() -> u64 {
    here(|here| here.task.get())
}

/// Runs `user_code` with the region in `slot` current.
#[inline]
pub(crate) fn within<R>(
    slot: &mut Option<Arc<Node>>,
    in_exit: bool,
    user_code: impl FnOnce() -> R,
) -> Result<R, Payload> {
    within_caught(slot, in_exit, || unwind::catch(user_code))
}

/// As [`within`], for a closure that catches the panics of user code itself.
#[inline]
pub(super) fn within_caught<R>(
    slot: &mut Option<Arc<Node>>,
    in_exit: bool,
    caught: impl FnOnce() -> R,
) -> R {
    let (result, shield) = enter_node(slot, inside(in_exit), next_base(), caught);
    if shield {
        hold_shield();
    }
    result
}

fn inside(in_exit: bool) -> u32 {
    if in_exit { INSIDE | IN_EXIT } else { INSIDE }
}

/// As [`within`]; returns as well whether a shield inside was polled and holds. A region that stays pending passes
/// this on to the regions around it, with [`hold_shield`].
///
/// The region moves into the thread-local and out of it, so that no reference is counted.
#[inline(always)]
pub(super) fn watch_within<R>(
    slot: &mut Option<Arc<Node>>,
    in_exit: bool,
    user_code: impl FnOnce() -> R,
) -> (Result<R, Payload>, bool) {
    enter_node(slot, inside(in_exit), next_base(), || unwind::catch(user_code))
}

/// The base for a region that is made current with its node. The regions around it that are in
/// their first poll get nodes.
#[inline(always)]
fn next_base() -> u32 {
    let (base, count) = here(|here| (here.base.get(), here.count.get()));
    if base != count && !is(MADE) {
        give_nodes(count as usize - 1);
    }
    count
}

/// Does not restore the state if `caught` unwinds, so `caught` has to catch the panics of user
/// code.
#[inline(always)]
fn enter_node<R>(
    slot: &mut Option<Arc<Node>>,
    flags: u32,
    count: u32,
    caught: impl FnOnce() -> R,
) -> (R, bool) {
    let task = slot.as_ref().map_or(0, |node| node.owner_task());
    let (before, node_before) =
        here(|here| (here.enter(task, flags, count), here.node.replace(slot.take())));
    let result = caught();
    here(|here| {
        *slot = here.node.replace(node_before);
        (result, here.leave(before))
    })
}

/// As [`watch_within`], with the node, if it was made.
type InLight<R> = (Result<R, Payload>, bool, Option<Arc<Node>>);

/// Runs `user_code` in a region that has no node. `None` if no region can become current,
/// because the thread is exiting.
#[inline(always)]
pub(super) fn watch_light<R>(light: Light, user_code: impl FnOnce() -> R) -> Option<InLight<R>> {
    let task = light.task;
    LIGHTS.try_with(|lights| lights.borrow_mut().push(FirstPoll { light, node: None })).ok()?;
    let before = here(|here| {
        here.count.set(here.count.get() + 1);
        here.enter(task, (here.flags.get() | INSIDE) & !(SHIELD_UP | MADE), here.base.get())
    });
    let result = unwind::catch(user_code);
    let shield = here(|here| {
        here.count.set(here.count.get() - 1);
        here.leave(before)
    });
    let popped = LIGHTS.try_with(|lights| lights.borrow_mut().pop().and_then(|first| first.node));
    Some((result, shield, popped.ok().flatten()))
}

/// As [`watch_light`], for the first poll of an executor child: inside its group, as an in-task child is. Other threads
/// that make a request during the poll find its node at `home` once it is made.
pub(super) fn watch_posted<R>(
    (group, home): Posting,
    light: Light,
    user_code: impl FnOnce() -> R,
) -> Option<InLight<R>> {
    let count = next_base();
    let home_before = here(|here| here.home.replace(Some(home)));
    let first_poll = || watch_light(light, user_code);
    let (polled, _) = enter_node(&mut Some(group), INSIDE | POSTED, count, first_poll);
    let home = here(|here| here.home.replace(home_before));
    drop(home);
    polled
}

/// Runs `poll`, and returns whether a shield inside it was polled and holds. For a group, which looks at each
/// of its members.
pub(crate) fn watch_shields<R>(poll: impl FnOnce() -> R) -> (R, bool) {
    let before = set_shield(false);
    let polled = poll();
    (polled, set_shield(before))
}

/// A shield inside the current poll holds: no region around it may drop its body for a cancellation in this
/// poll.
pub(crate) fn hold_shield() {
    set_shield(true);
}

fn set_shield(up: bool) -> bool {
    here(|here| {
        let flags = here.flags.get();
        let up = if up && flags & INSIDE != 0 { SHIELD_UP } else { 0 };
        here.flags.set((flags & !SHIELD_UP) | up);
        flags & SHIELD_UP != 0
    })
}

/// Whether no region is current. `None` if no region can become current, because the thread is
/// exiting.
pub(crate) fn is_empty() -> Option<bool> {
    LIGHTS.try_with(|_| !is(INSIDE)).ok()
}

/// The current region, which gets a node if it has none, and whether an exit runs in it.
pub(crate) fn current() -> Option<(Arc<Node>, bool)> {
    let (base, count) = here(|here| (here.base.get(), here.count.get()));
    if count == base {
        return Some((innermost_made()?, is(IN_EXIT)));
    }
    let node = if is(MADE) { look_at_lights(|lights| lights.last()?.node.clone()) } else { None };
    Some((node.or_else(|| give_nodes(count as usize - 1))?, false))
}

/// Whether `around` is the current region, with the mark that an exit of it runs; or whether no region is current.
pub(super) fn is_in(around: Option<&(Arc<Node>, bool)>) -> bool {
    match around {
        Some((node, in_exit)) if here(|here| here.base.get() == here.count.get()) => {
            is(IN_EXIT) == *in_exit && is_innermost(node)
        }
        // The node of a region that is polled without it.
        Some((node, in_exit)) => {
            let is_it = |made: &Arc<Node>| Arc::ptr_eq(made, node);
            !in_exit
                && look_at_lights(|lights| lights.last()?.node.as_ref().map(is_it)) == Some(true)
        }
        None => is_empty() == Some(true),
    }
}

/// Whether `node` is the current region, and no region without a node is inside it.
pub(super) fn is_innermost(node: &Arc<Node>) -> bool {
    here(|here| here.base.get() == here.count.get())
        && look_at_made(|made| made.is_some_and(|made| Arc::ptr_eq(made, node)))
}

/// The node of the region with this `id`, if the region is in its first poll on this thread. The
/// node is made if it has none.
pub(crate) fn node_of(id: usize) -> Option<Arc<Node>> {
    let position = |lights: &[FirstPoll]| lights.iter().rposition(|first| first.light.id == id);
    give_nodes(look_at_lights(position)?)
}

/// Gives a node to the first poll at index `at` and to every one around it, outermost first, because a node
/// knows its parent.
#[cold]
fn give_nodes(at: usize) -> Option<Arc<Node>> {
    let base = base();
    let given = LIGHTS.try_with(|lights| {
        let mut lights = lights.borrow_mut();
        let made = lights[..=at].iter().rposition(|first| first.node.is_some());
        for at in made.map_or(base, |made| base.max(made + 1))..=at {
            let parent = if at == base {
                innermost_made().map(|node| (node, is(IN_EXIT)))
            } else {
                lights[at - 1].node.clone().map(|node| (node, false))
            };
            let light = lights[at].light;
            let node = match parent {
                Some((group, _)) if at == base && is(POSTED) => make_at_home(&group, light)?,
                parent => {
                    let node = light.node(parent);
                    #[cfg(feature = "testing")]
                    node.count_as_draft();
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

/// Making a node runs no user code, so no code finds `home` empty meanwhile.
fn make_at_home(group: &Arc<Node>, light: Light) -> Option<Arc<Node>> {
    let home = here(|here| here.home.take())?;
    let node = home.make_node(group, light.at);
    here(|here| here.home.set(Some(home)));
    Some(node)
}

/// The content of `node`.
fn innermost_made() -> Option<Arc<Node>> {
    look_at_made(|node| node.cloned())
}

/// `look_at` must not run user code, because `node` is empty meanwhile. The same holds for the
/// closures that the functions below take.
fn look_at_made<R>(look_at: impl FnOnce(Option<&Arc<Node>>) -> R) -> R {
    let node = here(|here| here.node.take());
    let looked = look_at(node.as_ref());
    here(|here| here.node.set(node));
    looked
}

fn look_at_lights<R: Default>(look_at: impl FnOnce(&[FirstPoll]) -> R) -> R {
    LIGHTS.try_with(|lights| look_at(&lights.borrow())).unwrap_or_default()
}

/// The innermost region with a node, if `is` holds for it: the region that was made current with its
/// node, or a region in its first poll.
fn innermost_if(is: impl Fn(&Node) -> bool) -> Option<Arc<Node>> {
    let if_it_is = |node: &Arc<Node>| is(node).then(|| Arc::clone(node));
    let in_first_poll = look_at_lights(|lights| {
        let made = lights[base()..].iter().rev().find_map(|first| first.node.as_ref());
        made.map(if_it_is)
    });
    in_first_poll.unwrap_or_else(|| look_at_made(|made| made.and_then(if_it_is)))
}

/// The innermost region with a node.
fn innermost() -> Option<Arc<Node>> {
    innermost_if(|_| true)
}

/// Asks the innermost region with a node, up to the next exit that runs, so that no node has to be made. Regions
/// further in were entered in this very poll, so no other thread can have cancelled them; or the outermost of them is a
/// child of that region, and then the requests to the region's children count for it. `look_at` also gets the earliest
/// deadline of the regions further in, and whether there is such a child.
pub(crate) fn settled<R>(
    look_at: impl FnOnce(Option<&Arc<Node>>, Option<Instant>, bool) -> R,
) -> R {
    let (base, count) = here(|here| (here.base.get(), here.count.get()));
    if base != count && is(POSTED) {
        // Other threads may have cancelled it since it was spawned: they need its node in its
        // slot.
        give_nodes(base as usize);
    }
    let (node, deadline, in_child) = if base == count {
        (None, None, false)
    } else {
        look_at_lights(|lights| {
            let lights = &lights[base as usize..];
            let inside = lights.iter().rev();
            let node = inside.clone().find_map(|first| first.node.clone());
            let light = inside.take_while(|first| first.node.is_none());
            // A child is polled with its group current, so it is the outermost.
            let in_child = lights.first().is_some_and(|first| first.light.kind == Kind::Child);
            (node, light.filter_map(|first| first.light.deadline).min(), in_child)
        })
    };
    if let Some(node) = node {
        return look_at(Some(&node), deadline, false);
    }
    let in_exit = is(IN_EXIT);
    look_at_made(|node| look_at(node.filter(|_| !in_exit), deadline, in_child))
}

/// The owner of the innermost region: the runtime's id that its root recorded, 0 if it has none, and the innermost
/// node of the same task. `None` if no region is current.
pub(crate) fn owner() -> Option<(u64, Option<Arc<Node>>)> {
    let root = look_at_lights(|lights| {
        let light = lights[base()..].iter().rev().take_while(|first| first.node.is_none());
        light.filter_map(|first| first.light.root).next()
    });
    let innermost = innermost();
    let runtime = match (root, &innermost) {
        (Some(runtime), _) => runtime,
        (None, node) => node.as_ref()?.owner().runtime,
    };
    Some((runtime, innermost.filter(|node| node.owner_task() == task())))
}

/// A region that belongs to `task`, among the current region and those around it.
pub(crate) fn node_of_task(task: u64) -> Option<Arc<Node>> {
    let mut at = innermost();
    while let Some(node) = at {
        if node.owner_task() == task {
            return Some(node);
        }
        at = node.parent();
    }
    None
}

/// The present instant, by the clock of the current task.
pub(crate) fn now() -> Instant {
    // A region without a node was given no clock.
    match innermost_if(Node::is_clocked) {
        Some(node) => node.now(),
        None => crate::rt::now(),
    }
}
