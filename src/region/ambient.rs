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

/// A region that is being polled, or in which something is being dropped.
struct Entry {
    region: Region,
    /// Of a region in its first poll: which draft it is of, also when it has been given a node. Else 0.
    id: usize,
    /// The task that was current before.
    task_before: u64,
    /// Whether an exit runs: what it enters is shielded from what cancelled its home (R14).
    in_exit: bool,
    /// Whether a shield was polled, and is still up, since the region was made current (R12).
    shield: bool,
}

enum Region {
    Node(Arc<Node>),
    /// Polled for the first time, and nobody has asked for its node yet.
    Light(Light),
}

impl Region {
    fn node(&self) -> Option<&Arc<Node>> {
        match self {
            Region::Node(node) => Some(node),
            Region::Light(_) => None,
        }
    }
}

ambient! {
    static CURRENT: RefCell<Vec<Entry>> = RefCell::new(Vec::new());
}

// Beside the entries, because every poll and every use of a region compares it: the owner of the innermost one,
// 0 where none is known.
ambient! {
    static TASK: Cell<u64> = Cell::new(0);
}

/// The task that owns the innermost region, 0 where none is known.
#[inline]
pub(crate) fn task() -> u64 {
    TASK.try_with(Cell::get).unwrap_or(0)
}

fn push(region: &mut Option<Region>, task: u64, in_exit: bool) {
    // Where the thread-local is gone already (a thread's own destruction), nothing becomes current.
    let _ = CURRENT.try_with(|current| {
        if let Some(region) = region.take() {
            let id = match &region {
                Region::Node(_) => 0,
                Region::Light(light) => light.id,
            };
            let task_before = TASK.try_with(|current| current.replace(task)).unwrap_or(0);
            current.borrow_mut().push(Entry { region, id, task_before, in_exit, shield: false });
        }
    });
}

fn pop() -> Option<(Region, bool)> {
    let entry = CURRENT.try_with(|current| current.borrow_mut().pop()).ok().flatten()?;
    let _ = TASK.try_with(|current| current.set(entry.task_before));
    Some((entry.region, entry.shield))
}

/// Runs `user_code` with `region` current; tells too whether a shield inside it was polled and holds.
fn run<R>(
    region: Region,
    task: u64,
    in_exit: bool,
    user_code: impl FnOnce() -> R,
) -> (Result<R, Payload>, Region, bool) {
    let mut region = Some(region);
    push(&mut region, task, in_exit);
    let result = unwind::catch(user_code);
    match region {
        Some(not_current) => (result, not_current, false),
        None => {
            let (region, shield) = pop().expect("what was pushed is popped by whoever pushed it");
            (result, region, shield)
        }
    }
}

/// Runs `user_code` with the region in `slot` current, and puts the region back into `slot`. The region moves
/// into the thread-local and out of it, so that no reference is counted.
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
    /// It comes back with a node, if somebody asked for it.
    type Back = Result<Arc<Node>, Light>;

    #[inline]
    fn poll<R>(self, user_code: impl FnOnce() -> R) -> (Result<R, Payload>, bool, Self::Back) {
        let task = self.task;
        let (result, region, shield) = run(Region::Light(self), task, false, user_code);
        let back = match region {
            Region::Node(node) => Ok(node),
            Region::Light(light) => Err(light),
        };
        (result, shield, back)
    }
}

#[inline]
fn watch_within<R>(
    slot: &mut Option<Arc<Node>>,
    in_exit: bool,
    user_code: impl FnOnce() -> R,
) -> (Result<R, Payload>, bool) {
    let Some(node) = slot.take() else { return (unwind::catch(user_code), false) };
    let task = node.owner().task;
    let (result, region, shield) = run(Region::Node(node), task, in_exit, user_code);
    if let Region::Node(node) = region {
        *slot = Some(node);
    }
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
    look(false, |entries| match entries.last_mut() {
        Some(innermost) => std::mem::replace(&mut innermost.shield, up),
        None => false,
    })
}

/// `look` must not run user code.
fn look<R>(gone: R, look: impl FnOnce(&mut Vec<Entry>) -> R) -> R {
    CURRENT.try_with(|current| look(&mut current.borrow_mut())).unwrap_or(gone)
}

/// Whether nothing is current.
pub(crate) fn is_empty() -> bool {
    look(true, |entries| entries.is_empty())
}

/// The current region, which is given a node if it has none, and whether an exit runs in it.
pub(crate) fn current() -> Option<(Arc<Node>, bool)> {
    let found = CURRENT.try_with(|current| {
        let mut entries = current.borrow_mut();
        let last = entries.len().checked_sub(1)?;
        let in_exit = entries[last].in_exit;
        Some((give_node(&mut entries, last), in_exit))
    });
    found.ok().flatten()
}

/// The node of the region that is `id`, if it is being polled on this thread for the first time.
pub(crate) fn node_of(id: usize) -> Option<Arc<Node>> {
    let found = CURRENT.try_with(|current| {
        let mut entries = current.borrow_mut();
        let at = entries.iter().rposition(|entry| entry.id == id)?;
        Some(give_node(&mut entries, at))
    });
    found.ok().flatten()
}

/// Gives a node to the entry `at` and to every one around it, outermost first: a node knows its parent.
fn give_node(entries: &mut [Entry], at: usize) -> Arc<Node> {
    let made = entries[..=at].iter().rposition(|entry| entry.region.node().is_some());
    for at in made.map_or(0, |made| made + 1)..=at {
        let (around, here) = entries.split_at_mut(at);
        if let Region::Light(light) = &here[0].region {
            let parent =
                around.last().and_then(|e| Some((Arc::clone(e.region.node()?), e.in_exit)));
            here[0].region = Region::Node(light.node(parent));
        }
    }
    match &entries[at].region {
        Region::Node(node) => Arc::clone(node),
        Region::Light(_) => unreachable!("every entry up to this one was given a node"),
    }
}

/// The innermost region with a node, as far as the next exit that runs: what can be asked without making nodes.
/// What is further in was entered in this very poll, and nobody can have cancelled it. With the earliest deadline
/// of that.
pub(crate) fn settled<R>(look_at: impl FnOnce(Option<&Arc<Node>>, Option<Instant>) -> R) -> R {
    let mut look_at = Some(look_at);
    let looked = CURRENT.try_with(|current| {
        let (entries, mut deadline, mut node) = (current.borrow(), None, None);
        for entry in entries.iter().rev() {
            match &entry.region {
                _ if entry.in_exit => break,
                Region::Light(light) => {
                    deadline = [deadline, light.deadline].into_iter().flatten().min();
                }
                Region::Node(found) => {
                    node = Some(found);
                    break;
                }
            }
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
        let entries = current.borrow();
        let innermost = entries.iter().rev();
        let runtime = innermost.clone().find_map(|entry| match &entry.region {
            Region::Node(node) => Some(node.owner().runtime),
            Region::Light(light) => light.root.then_some(light.runtime),
        })?;
        let node = innermost.clone().find_map(|entry| entry.region.node());
        Some((runtime, node.filter(|node| node.owner().task == task()).cloned()))
    });
    looked.ok().flatten()
}

/// The time, by the clock of the task that is current.
pub(crate) fn now() -> Instant {
    // A region that has no node yet was given no clock.
    let is_clocked = |node: &Arc<Node>| node.is_clocked();
    let node = |entries: &Vec<Entry>| {
        let innermost = entries.iter().rev().find_map(|entry| entry.region.node());
        innermost.filter(|node| is_clocked(node)).cloned()
    };
    match CURRENT.try_with(|current| node(&current.borrow())) {
        Ok(Some(node)) => node.now(),
        _ => crate::clock::default_now(),
    }
}
