//! The ambient context: the region that is being polled on this thread, and the regions around
//! it.
//!
//! It is set while polling and while dropping; at any other time no region is current (R5). A poll of a region that has
//! a node moves the node into the thread-local, puts the former node aside, and swaps them back afterwards; regions
//! further out are the parents of the node. Regions that are polled without a node, most of them for the first time,
//! are in a list above it (`LIGHTS`), because few of them know their parent. Panics of user code are caught inside, so that no
//! unwinding passes through.
//!
//! # Invariants
//!
//! 1. The state is empty while no region is polled or dropped on the thread. A poll restores the state that it found.
//! 2. If an entry of `LIGHTS` has a node, so has every entry before it: nodes are made outermost first.
//! 3. No user code runs while `node` is taken out or `LIGHTS` is borrowed (R18).

mod ask;
mod lights;

pub(crate) use ask::{current, node_of_task, now, owner};
pub(super) use ask::{is_in, is_innermost};
use lights::give_nodes;
pub(super) use lights::{Asking, has_node, within_light, within_light_exits, within_posted};
pub(crate) use lights::{InChild, Light, NodeStore, Reach, ask_innermost, is_empty, node_of};

use super::node::Node;
use crate::sync::{Arc, ambient};
use crate::unwind::{self, Payload};
use crate::wakers::Asked;
use std::cell::Cell;
use std::mem::ManuallyDrop;

/// The id of a child, and the waker state in which other threads note a request to it.
type AskedOf = (usize, Arc<dyn Asked>);

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
    /// The slot in which other threads find the node of the child that is polled for the first time with
    /// `node` as its group.
    store: ManuallyDrop<Cell<Option<Arc<dyn NodeStore>>>>,
    /// The child in a later poll without a node, and where other threads note a request to it.
    asked: ManuallyDrop<Cell<Option<AskedOf>>>,
}

ambient! {
    static HERE: Here = Here {
        task: Cell::new(0),
        flags: Cell::new(0),
        base: Cell::new(0),
        count: Cell::new(0),
        node: ManuallyDrop::new(Cell::new(None)),
        store: ManuallyDrop::new(Cell::new(None)),
        asked: ManuallyDrop::new(Cell::new(None)),
    };
}

/// A region is current.
const INSIDE: u32 = 1;
/// An exit of `node` runs: a region that is entered in it is sheltered from the cancellation of
/// the exit's home (R14).
const IN_EXIT: u32 = 1 << 1;
/// A shield that holds was polled since the innermost region was made current (R12).
const SHIELD_UP: u32 = 1 << 2;
/// The innermost region is the last entry of `LIGHTS` and has got a node, and so have the regions around it.
const MADE: u32 = 1 << 3;
/// The outermost region without a node is an executor child, and `store` is its slot, if it has one.
const POSTED: u32 = 1 << 4;
/// An exit of a region without a node runs, and the innermost region is that region or was entered in the exit.
const IN_LIGHT_EXIT: u32 = 1 << 5;

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
fn here<R>(read: impl FnOnce(&Here) -> R) -> R {
    HERE.with(read)
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

/// Runs `user_code` with the region of `node` current.
#[inline]
pub(crate) fn within<R>(
    node: &mut Option<Arc<Node>>,
    in_exit: bool,
    user_code: impl FnOnce() -> R,
) -> Result<R, Payload> {
    within_caught(node, in_exit, || unwind::catch(user_code))
}

/// As [`within`], for a closure that catches the panics of user code itself.
#[inline]
pub(super) fn within_caught<R>(
    node: &mut Option<Arc<Node>>,
    in_exit: bool,
    caught: impl FnOnce() -> R,
) -> R {
    let (result, shield) = enter_node(node, inside(in_exit), next_base(), caught);
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
pub(super) fn within_noting_shields<R>(
    node: &mut Option<Arc<Node>>,
    user_code: impl FnOnce() -> R,
) -> (Result<R, Payload>, bool) {
    enter_node(node, INSIDE, next_base(), || unwind::catch(user_code))
}

/// The base for a region that is made current with its node. The regions around it that are polled without a node get one.
#[inline(always)]
fn next_base() -> u32 {
    let (base, count) = here(|here| (here.base.get(), here.count.get()));
    if base != count && !is(MADE) {
        give_nodes(count as usize - 1);
    }
    count
}

/// Does not restore the state if `caught` unwinds, so `caught` has to catch the panics of user code (invariant 1).
#[inline(always)]
fn enter_node<R>(
    node: &mut Option<Arc<Node>>,
    flags: u32,
    count: u32,
    caught: impl FnOnce() -> R,
) -> (R, bool) {
    let task = node.as_ref().map_or(0, |node| node.owner.task());
    let (before, node_before) =
        here(|here| (here.enter(task, flags, count), here.node.replace(node.take())));
    let result = caught();
    here(|here| {
        *node = here.node.replace(node_before);
        (result, here.leave(before))
    })
}

/// Runs `poll`, and returns whether a shield inside it was polled and holds. For a group, which looks at each
/// of its members.
pub(crate) fn note_shields<R>(poll: impl FnOnce() -> R) -> (R, bool) {
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
