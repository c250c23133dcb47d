//! The ambient context: which regions are being polled on this thread, innermost last.
//!
//! A push on the way in, a pop on the way out. It is set while polling and while dropping; at any other time
//! nothing is current (R5). What is polled or dropped inside is caught, so that no unwinding passes an entry.

use super::Node;
use super::draft::Light;
use crate::sync::{Arc, ambient};
use crate::unwind::{self, Payload};
use std::cell::{Cell, RefCell};
use std::time::Instant;

struct Ambient {
    /// The owner of the innermost region, 0 where none is known: every poll and every use of a region compares it.
    task: Cell<u64>,
    entries: RefCell<Vec<Entry>>,
}

/// A region that is being polled, or in which something is being dropped.
struct Entry {
    /// `None` in a first poll, until somebody asks for the node.
    node: Option<Arc<Node>>,
    /// The task that was current before.
    task_before: u64,
    /// Whether an exit runs: what it enters is shielded from what cancelled its home (R14).
    in_exit: bool,
    /// Whether a shield was polled, and is still up, since the region was made current (R12).
    shield: bool,
    /// Of a region in its first poll.
    light: Option<Light>,
}

ambient! {
    static CURRENT: Ambient = Ambient { task: Cell::new(0), entries: RefCell::new(Vec::new()) };
}

impl Ambient {
    #[inline]
    fn push(&self, node: Option<Arc<Node>>, task: u64, in_exit: bool, light: Option<Light>) {
        let task_before = self.task.replace(task);
        let entry = Entry { node, task_before, in_exit, shield: false, light };
        self.entries.borrow_mut().push(entry);
    }

    /// What was pushed is popped by whoever pushed it.
    #[inline]
    fn pop(&self) -> (Option<Arc<Node>>, bool) {
        match self.entries.borrow_mut().pop() {
            Some(entry) => {
                self.task.set(entry.task_before);
                (entry.node, entry.shield)
            }
            None => (None, false),
        }
    }

    /// The innermost region that has a node, if it is what is looked for.
    fn innermost(&self, is_it: impl FnOnce(&Arc<Node>) -> bool) -> Option<Arc<Node>> {
        let entries = self.entries.borrow();
        let node = entries.iter().rev().find_map(|entry| entry.node.as_ref());
        node.filter(|node| is_it(node)).cloned()
    }
}

/// Gives a node to the entry `at` and to every one around it, outermost first: a node knows its parent.
fn give_node(entries: &mut [Entry], at: usize) -> Option<Arc<Node>> {
    let made = entries[..=at].iter().rposition(|entry| entry.node.is_some());
    for at in made.map_or(0, |made| made + 1)..=at {
        let (around, here) = entries.split_at_mut(at);
        let around = around.last();
        let parent = around.and_then(|e| Some((Arc::clone(e.node.as_ref()?), e.in_exit)));
        here[0].node = here[0].light.map(|light| light.node(parent));
    }
    entries[at].node.clone()
}

/// The task that owns the innermost region, 0 where none is known.
#[inline]
pub(crate) fn task() -> u64 {
    CURRENT.try_with(|current| current.task.get()).unwrap_or(0)
}

/// Runs `user_code` with the region in `slot` current, and puts the region back into `slot`. The region moves
/// into the thread-local and out of it, so that no reference is counted.
#[inline]
pub(crate) fn within<R>(
    slot: &mut Option<Arc<Node>>,
    in_exit: bool,
    user_code: impl FnOnce() -> R,
) -> Result<R, Payload> {
    let (result, shield) = watch_within(slot, in_exit, user_code);
    if shield {
        hold_shield();
    }
    result
}

/// What a body is polled in: a region with a node, or one in its first poll without.
pub(crate) trait Inside {
    type Back;

    /// As [`within`]; tells too whether a shield inside it was polled and holds. Whoever goes on to be pending says
    /// so to what is around it, with [`hold_shield`].
    fn poll<R>(self, user_code: impl FnOnce() -> R) -> (Result<R, Payload>, bool, Self::Back);
}

impl Inside for &mut Option<Arc<Node>> {
    type Back = ();

    #[inline]
    fn poll<R>(self, user_code: impl FnOnce() -> R) -> (Result<R, Payload>, bool, ()) {
        let (result, shield) = watch_within(self, false, user_code);
        (result, shield, ())
    }
}

impl Inside for Light {
    /// The node, if somebody asked for it.
    type Back = Option<Arc<Node>>;

    #[inline]
    fn poll<R>(self, user_code: impl FnOnce() -> R) -> (Result<R, Payload>, bool, Self::Back) {
        let task = self.task;
        let pushed = CURRENT.try_with(|current| current.push(None, task, false, Some(self)));
        let result = unwind::catch(user_code);
        if pushed.is_err() {
            return (result, false, None);
        }
        let (node, shield) = CURRENT.try_with(Ambient::pop).unwrap_or_default();
        (result, shield, node)
    }
}

#[inline]
fn watch_within<R>(
    slot: &mut Option<Arc<Node>>,
    in_exit: bool,
    user_code: impl FnOnce() -> R,
) -> (Result<R, Payload>, bool) {
    // Where the thread-local is gone already (a thread's own destruction), nothing becomes current.
    let pushed = CURRENT.try_with(|current| {
        let task = slot.as_ref().map_or(0, |node| node.owner().task);
        current.push(slot.take(), task, in_exit, None);
    });
    let result = unwind::catch(user_code);
    if pushed.is_err() {
        return (result, false);
    }
    let (node, shield) = CURRENT.try_with(Ambient::pop).unwrap_or_default();
    *slot = node;
    (result, shield)
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
    let set = |current: &Ambient| {
        let mut entries = current.entries.borrow_mut();
        entries.last_mut().is_some_and(|innermost| std::mem::replace(&mut innermost.shield, up))
    };
    CURRENT.try_with(set).unwrap_or(false)
}

/// Whether nothing is current.
pub(crate) fn is_empty() -> bool {
    CURRENT.try_with(|current| current.entries.borrow().is_empty()).unwrap_or(true)
}

/// The current region, which is given a node if it has none, and whether an exit runs in it.
pub(crate) fn current() -> Option<(Arc<Node>, bool)> {
    let found = CURRENT.try_with(|current| {
        let mut entries = current.entries.borrow_mut();
        let at = entries.len().checked_sub(1)?;
        Some((give_node(&mut entries, at)?, entries[at].in_exit))
    });
    found.ok().flatten()
}

/// The node of the region that is `id`, if it is being polled on this thread for the first time.
pub(crate) fn node_of(id: usize) -> Option<Arc<Node>> {
    let found = CURRENT.try_with(|current| {
        let mut entries = current.entries.borrow_mut();
        let is_it = |entry: &Entry| entry.light.is_some_and(|light| light.id == id);
        let at = entries.iter().rposition(is_it)?;
        give_node(&mut entries, at)
    });
    found.ok().flatten()
}

/// The innermost region with a node, as far as the next exit that runs: what can be asked without making nodes.
/// What is further in was entered in this very poll, and nobody can have cancelled it. With the earliest deadline
/// of that. `look_at` must not run user code.
pub(crate) fn settled<R>(look_at: impl FnOnce(Option<&Arc<Node>>, Option<Instant>) -> R) -> R {
    let mut look_at = Some(look_at);
    let looked = CURRENT.try_with(|current| {
        let (entries, mut deadline, mut node) = (current.entries.borrow(), None, None);
        for entry in entries.iter().rev() {
            if entry.in_exit || entry.node.is_some() {
                node = entry.node.as_ref().filter(|_| !entry.in_exit);
                break;
            }
            let own = entry.light.and_then(|light| light.deadline);
            deadline = [deadline, own].into_iter().flatten().min();
        }
        look_at.take().map(|look_at| look_at(node, deadline))
    });
    match (looked, look_at) {
        (Ok(Some(looked)), _) => looked,
        (_, Some(look_at)) => look_at(None, None),
        _ => unreachable!("`look_at` is taken only where its result is returned"),
    }
}

/// What is known of the owner of the innermost region: the runtime's id that its root recorded, 0 where it has none,
/// and the innermost node of the same task. `None` where nothing is current.
pub(crate) fn owner() -> Option<(u64, Option<Arc<Node>>)> {
    let looked = CURRENT.try_with(|current| {
        let entries = current.entries.borrow();
        let runtime = entries.iter().rev().find_map(|entry| match (&entry.node, entry.light) {
            (Some(node), _) => Some(node.owner().runtime),
            (None, light) => light.filter(|light| light.root).map(|light| light.runtime),
        })?;
        let task = current.task.get();
        Some((runtime, current.innermost(|node| node.owner().task == task)))
    });
    looked.ok().flatten()
}

/// A region that belongs to `task`, where one is current or around.
pub(crate) fn node_of_task(task: u64) -> Option<Arc<Node>> {
    let found = CURRENT.try_with(|current| {
        let entries = current.entries.borrow();
        let mut nodes = entries.iter().rev().filter_map(|entry| entry.node.as_ref());
        nodes.find(|node| node.owner().task == task).cloned()
    });
    found.ok().flatten()
}

/// The time, by the clock of the task that is current.
pub(crate) fn now() -> Instant {
    // A region that has no node yet was given no clock.
    match CURRENT.try_with(|current| current.innermost(|node| node.is_clocked())) {
        Ok(Some(node)) => node.now(),
        _ => crate::clock::default_now(),
    }
}
