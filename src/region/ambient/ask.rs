//! Questions to the ambient context: the current region, its owner, and the regions around it.

use super::lights::{give_nodes, is_empty, read_lights};
use super::{IN_EXIT, IN_LIGHT_EXIT, MADE, base, here, is, task};
use crate::region::node::Node;
use crate::region::time::clock;
use crate::region::walk;
use crate::sync::Arc;
use std::time::Instant;

/// The current region, which gets a node if it has none, and whether an exit runs in it.
pub(crate) fn current() -> Option<(Arc<Node>, bool)> {
    let (base, count) = here(|here| (here.base.get(), here.count.get()));
    if count == base {
        return Some((innermost_made()?, is(IN_EXIT)));
    }
    let node = if is(MADE) { read_lights(|lights| lights.last()?.node.clone()) } else { None };
    let node = node.or_else(|| give_nodes(count as usize - 1))?;
    let in_exit =
        is(IN_LIGHT_EXIT) && read_lights(|lights| Some(lights.last()?.light.in_exit)) == Some(true);
    Some((node, in_exit))
}

/// Whether `around` is the current region, with the mark that an exit of it runs; or whether no region is current.
pub(in crate::region) fn is_in(around: Option<&(Arc<Node>, bool)>) -> bool {
    match around {
        Some((node, in_exit)) if here(|here| here.base.get() == here.count.get()) => {
            is(IN_EXIT) == *in_exit && is_innermost(node)
        }
        // The node of a region that is polled without it.
        Some((node, in_exit)) => {
            let is_it = |made: &Arc<Node>| Arc::ptr_eq(made, node);
            !in_exit && read_lights(|lights| lights.last()?.node.as_ref().map(is_it)) == Some(true)
        }
        None => is_empty() == Some(true),
    }
}

/// Whether `node` is the current region, and no region without a node is inside it.
pub(in crate::region) fn is_innermost(node: &Arc<Node>) -> bool {
    here(|here| here.base.get() == here.count.get())
        && read_made(|made| made.is_some_and(|made| Arc::ptr_eq(made, node)))
}

/// The innermost region with a node, if `is` holds for it: the region that was made current with its
/// node, or a region that is polled without its node and has got one.
fn innermost_if(is: impl Fn(&Node) -> bool) -> Option<Arc<Node>> {
    let if_it_is = |node: &Arc<Node>| is(node).then(|| Arc::clone(node));
    let of_lights = read_lights(|lights| {
        let made = lights[base()..].iter().rev().find_map(|polled| polled.node.as_ref());
        made.map(if_it_is)
    });
    of_lights.unwrap_or_else(|| read_made(|made| made.and_then(if_it_is)))
}

/// The innermost region with a node.
fn innermost() -> Option<Arc<Node>> {
    innermost_if(|_| true)
}

/// The content of `node`.
pub(in crate::region) fn innermost_made() -> Option<Arc<Node>> {
    read_made(|node| node.cloned())
}

/// Calls `read` with the content of `node`. It must not run user code, because `node` is empty meanwhile (invariant 3 of
/// `ambient`).
pub(in crate::region) fn read_made<R>(read: impl FnOnce(Option<&Arc<Node>>) -> R) -> R {
    let node = here(|here| here.node.take());
    let result = read(node.as_ref());
    here(|here| here.node.set(node));
    result
}

/// The owner of the innermost region: the runtime's id that its root recorded, 0 if it has none, and the innermost
/// node of the same task. `None` if no region is current.
pub(crate) fn owner() -> Option<(u64, Option<Arc<Node>>)> {
    let root = read_lights(|lights| {
        let light = lights[base()..].iter().rev().take_while(|polled| polled.node.is_none());
        light.filter_map(|polled| polled.light.root).next()
    });
    let innermost = innermost();
    let runtime = match (root, &innermost) {
        (Some(runtime), _) => runtime,
        (None, node) => node.as_ref()?.owner.get().runtime,
    };
    Some((runtime, innermost.filter(|node| node.owner.task() == task())))
}

/// A region that belongs to `task`, among the current region and those around it.
pub(crate) fn node_of_task(task: u64) -> Option<Arc<Node>> {
    let is_of_task = |node: &Arc<Node>| node.owner.task() == task;
    let innermost = innermost()?;
    match is_of_task(&innermost) {
        true => Some(innermost),
        false => walk::past_all(&innermost).find(is_of_task),
    }
}

/// The present instant, by the clock of the current task.
pub(crate) fn now() -> Instant {
    // A region without a node was given no clock.
    match innermost_if(Node::is_clocked) {
        Some(node) => clock::now(&node),
        None => crate::rt::now(),
    }
}
