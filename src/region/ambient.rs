//! The ambient context: which region is being polled on this thread, and what is around it.
//!
//! It is set while polling and while dropping; at any other time nothing is current (R5). A region that has a node
//! moves it into the thread-local and takes back what it put aside: what is further out hangs on the node's parents.
//! Regions that are polled without a node, most of them for the first time, stand in a list above it, because few of them
//! know their parent.
//! What is polled or dropped inside is caught, so that no unwinding passes by.

use super::draft::Light;
use super::{Kind, Node};
use crate::sync::{Arc, ambient};
use crate::unwind::{self, Payload};
use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::time::Instant;

/// What every poll sets and puts back: nothing of it is left when nothing is polled. So none of it has to be dropped with
/// the thread, and nobody has to look whether it has been.
struct Here {
    /// The owner of the innermost region, 0 where none is known: every use of a region compares it.
    task: Cell<u64>,
    flags: Cell<u32>,
    /// Where in `LIGHTS` those begin that are inside `node`. Those before have nodes, because something inside them was
    /// made current with its node.
    base: Cell<u32>,
    /// How many there are in `LIGHTS`.
    count: Cell<u32>,
    /// The innermost region that was made current with its node.
    node: ManuallyDrop<Cell<Option<Arc<Node>>>>,
    /// Where others find the child that is polled for the first time with `node` as its group.
    home: ManuallyDrop<Cell<Option<Arc<dyn Home>>>>,
}

/// Where other threads find a child: it makes the child's node, and has it at once, in the middle of a poll.
pub(crate) trait Home {
    fn make_node(&self, group: &Arc<Node>, at: &'static Location<'static>) -> Arc<Node>;
}

/// The group of a child on an executor, and the child's home.
pub(crate) type Posting = (Arc<Node>, Arc<dyn Home>);

/// A region in its first poll.
struct FirstPoll {
    light: Light,
    /// Once somebody asked for it.
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

/// Something is current.
const INSIDE: u32 = 1;
/// An exit of `node` runs: what it enters is shielded from what cancelled its home (R14).
const IN_EXIT: u32 = 1 << 1;
/// A shield was polled, and is still up, since the innermost region was made current (R12).
const SHIELD_UP: u32 = 1 << 2;
/// The innermost region is in its first poll and has a node, and so has what is around it.
const MADE: u32 = 1 << 3;
/// The outermost region without a node is a child on an executor, and `home` is its.
const POSTED: u32 = 1 << 4;

impl Here {
    /// Makes what `task` owns current; returns what is to be put back.
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

/// The task that owns the innermost region, 0 where none is known.
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

/// As [`within`], for what catches by itself what user code panics with.
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

/// As [`within`]; tells too whether a shield inside it was polled and holds. Whoever goes on to be pending says so to
/// what is around it, with [`hold_shield`].
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

/// The base of what is made current with its node. What is in its first poll around it gets one.
#[inline(always)]
fn next_base() -> u32 {
    let (base, count) = here(|here| (here.base.get(), here.count.get()));
    if base != count && !is(MADE) {
        give_nodes(count as usize - 1);
    }
    count
}

/// Nothing is put back where `caught` unwinds: it has caught what user code panics with.
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

/// As [`watch_within`], with the node, if somebody asked for it.
type InLight<R> = (Result<R, Payload>, bool, Option<Arc<Node>>);

/// Runs `user_code` in a region that has no node. `None` where nothing can become current.
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

/// As [`watch_light`], for the first poll of a child on an executor: inside its group, as a child in the task is. Other threads,
/// which may ask for something in the middle of the poll, find its node at `home` once it has one.
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

/// Runs `poll`, and tells whether a shield inside it was polled and holds, for a group, which looks at each of
/// its members.
pub(crate) fn watch_shields<R>(poll: impl FnOnce() -> R) -> (R, bool) {
    let before = set_shield(false);
    let polled = poll();
    (polled, set_shield(before))
}

/// A shield in what is being polled holds: nothing around it may be dropped by a cancellation in this poll.
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

/// Whether nothing is current. `None` where nothing can become current: in a thread's own destruction.
pub(crate) fn is_empty() -> Option<bool> {
    LIGHTS.try_with(|_| !is(INSIDE)).ok()
}

/// The current region, which is given a node if it has none, and whether an exit runs in it.
pub(crate) fn current() -> Option<(Arc<Node>, bool)> {
    let (base, count) = here(|here| (here.base.get(), here.count.get()));
    if count == base {
        return Some((innermost_made()?, is(IN_EXIT)));
    }
    let node = if is(MADE) { look_at_lights(|lights| lights.last()?.node.clone()) } else { None };
    Some((node.or_else(|| give_nodes(count as usize - 1))?, false))
}

/// Whether `node` is what is current, and nothing in its first poll is inside it.
pub(super) fn is_innermost(node: &Arc<Node>) -> bool {
    here(|here| here.base.get() == here.count.get())
        && look_at_made(|made| made.is_some_and(|made| Arc::ptr_eq(made, node)))
}

/// The node of the region that is `id`, if it is being polled on this thread for the first time.
pub(crate) fn node_of(id: usize) -> Option<Arc<Node>> {
    let position = |lights: &[FirstPoll]| lights.iter().rposition(|first| first.light.id == id);
    give_nodes(look_at_lights(position)?)
}

/// Gives a node to the first poll `at` and to every one around it, outermost first: a node knows its parent.
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

/// No user code is run by what makes a node, so that nobody finds the home missing.
fn make_at_home(group: &Arc<Node>, light: Light) -> Option<Arc<Node>> {
    let home = here(|here| here.home.take())?;
    let node = home.make_node(group, light.at);
    here(|here| here.home.set(Some(home)));
    Some(node)
}

/// What stands in `node`.
fn innermost_made() -> Option<Arc<Node>> {
    look_at_made(|node| node.cloned())
}

/// `look_at` must not run user code; neither must that of what follows.
fn look_at_made<R>(look_at: impl FnOnce(Option<&Arc<Node>>) -> R) -> R {
    let node = here(|here| here.node.take());
    let looked = look_at(node.as_ref());
    here(|here| here.node.set(node));
    looked
}

fn look_at_lights<R: Default>(look_at: impl FnOnce(&[FirstPoll]) -> R) -> R {
    LIGHTS.try_with(|lights| look_at(&lights.borrow())).unwrap_or_default()
}

/// The innermost region with a node, which is made current or in its first poll, if it is such a one.
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

/// The innermost region with a node, as far as the next exit that runs: what can be asked without making nodes.
/// What is further in was entered in this very poll, and nobody can have cancelled it; or it is a child of that, and then
/// it hears what that has told its children. With the earliest deadline of that, and whether there is such a child.
pub(crate) fn settled<R>(
    look_at: impl FnOnce(Option<&Arc<Node>>, Option<Instant>, bool) -> R,
) -> R {
    let (base, count) = here(|here| (here.base.get(), here.count.get()));
    if base != count && is(POSTED) {
        // Others have been able to cancel it since it was spawned: they have to find it.
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

/// What is known of the owner of the innermost region: the runtime's id that its root recorded, 0 where it has none,
/// and the innermost node of the same task. `None` where nothing is current.
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

/// A region that belongs to `task`, where one is current or around.
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

/// The time, by the clock of the task that is current.
pub(crate) fn now() -> Instant {
    // A region that has no node yet was given no clock.
    match innermost_if(Node::is_clocked) {
        Some(node) => node.now(),
        None => crate::rt::now(),
    }
}
