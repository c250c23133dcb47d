//! The register of open regions (feature `inspect`).

use super::observe::Phase;
use super::{CANCELLED, Kind, LEFT, Node, STOP};
use crate::identity::TaskId;
use crate::sync::{Arc, Looks, Register, Weak, next_number};
use crate::unwind;
use std::collections::HashMap;
use std::panic::Location;
use std::time::Instant;

static OPEN: Register<Weak<Node>> = Register::new();
static ENDED: Register<Span> = Register::new();

/// The state that a node keeps for `inspect`.
#[derive(Default)]
pub(super) struct Entry {
    key: Option<usize>,
    /// Numbers are in the order of entering.
    number: u64,
    entered: Option<Instant>,
    phase: Option<(Phase, Instant)>,
}

/// An open region, as a look finds it.
pub(crate) struct Found {
    /// Numbers are in the order of entering, and no two regions have the same.
    pub(crate) number: u64,
    /// The number of the nearest live region around it.
    pub(crate) parent: Option<u64>,
    pub(crate) kind: Kind,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) owner: Option<TaskId>,
    pub(crate) entered_at: Option<&'static Location<'static>>,
    pub(crate) entered: Instant,
    pub(crate) phase: Phase,
    pub(crate) since: Instant,
    pub(crate) cancelled: bool,
    pub(crate) stopped: bool,
    pub(crate) exits: usize,
}

/// A region that has been left, for a timeline.
#[derive(Clone)]
pub(crate) struct Span {
    pub(crate) region: String,
    pub(crate) owner: Option<TaskId>,
    pub(crate) entered_at: Option<&'static Location<'static>>,
    pub(crate) entered: Instant,
    pub(crate) left: Instant,
}

pub(super) fn enter(node: &Arc<Node>) {
    let key = OPEN.insert(Arc::downgrade(node));
    let mut inner = node.inner.lock();
    let now = Instant::now();
    inner.rest().entry = Entry {
        key: Some(key),
        number: next_number(),
        entered: Some(now),
        phase: Some((Phase::Body, now)),
    };
}

pub(super) fn note(node: &Node, phase: Phase) {
    let mut inner = node.inner.lock();
    let entry = &mut inner.rest().entry;
    if entry.phase.is_none_or(|(old, _)| old != phase) {
        entry.phase = Some((phase, Instant::now()));
    }
}

pub(super) fn leave(node: &Node) {
    let entry = std::mem::take(&mut node.inner.lock().rest().entry);
    if let Some(key) = entry.key {
        drop(OPEN.remove(key));
    }
    if let (true, Some(entered)) = (RECORDING.is_set(), entry.entered) {
        ENDED.insert(Span {
            region: node.describe(),
            owner: node.owner_id(),
            entered_at: node.entered_at(),
            entered,
            left: Instant::now(),
        });
    }
}

/// For a node that is dropped without having been left, because its `run` was leaked.
pub(super) fn forget(entry: &mut Entry) {
    if let Some(key) = entry.key.take() {
        drop(OPEN.remove(key));
    }
}

static RECORDING: crate::sync::Switch = crate::sync::Switch::new();

/// Starts to keep the regions that are left from now on; or stops, and returns those that were
/// kept.
pub(crate) fn record(on: bool) -> Vec<Span> {
    RECORDING.set(on);
    ENDED.take()
}

/// Every open region, in the order of entering.
///
/// The look holds the regions meanwhile, while other threads may leave them and drop their references. The drop of a
/// region's content is user code, so it comes after the look (R18).
pub(crate) fn found() -> Vec<Found> {
    let (mut found, dead) = {
        let _look = LOOKS.join();
        let mut held: Vec<_> = OPEN.all().iter().filter_map(Weak::upgrade).collect();
        let mut owners = HashMap::new();
        let mut found = Vec::with_capacity(held.len());
        for at in 0..held.len() {
            let node = Arc::clone(&held[at]);
            found.extend(look(&node, &mut owners, &mut held));
            held.push(node);
        }
        (found, let_go(held))
    };
    unwind::drop_each(dead).into_iter().for_each(unwind::discard);
    found.sort_unstable_by_key(|region: &Found| region.number);
    found
}

/// Looks at one region. The id of a task is kept in `owners`, so that its name is not searched from each of its
/// regions. The regions on the way are added to `held`.
fn look(
    node: &Arc<Node>,
    owners: &mut HashMap<(u64, u64), Option<TaskId>>,
    held: &mut Vec<Arc<Node>>,
) -> Option<Found> {
    let owner = node.owner();
    let owner = owners.entry((owner.task, owner.runtime));
    let owner = owner.or_insert_with(|| node.owner_id_past(|node| held.push(node))).clone();
    let mut around = node.parent();
    while let Some(left) = around.take_if(|around| around.has(LEFT)) {
        around = left.parent();
        held.push(left);
    }
    let parent = around.as_ref().and_then(|around| {
        let inner = around.inner.lock();
        inner.rest_seen().map(|rest| rest.entry.number)
    });
    held.extend(around);
    let inner = node.inner.lock();
    let rest = inner.rest_seen()?;
    let (entered, (phase, since)) = (rest.entry.entered?, rest.entry.phase?);
    Some(Found {
        number: rest.entry.number,
        parent,
        kind: node.kind(),
        name: rest.name.clone(),
        owner,
        entered_at: inner.entered_at,
        entered,
        phase,
        since,
        cancelled: node.has(CANCELLED),
        stopped: node.has(STOP),
        exits: inner.exits(),
    })
}

/// Drops the references in `held`, and returns the regions that have no other: no longer counted, and not dropped
/// yet.
fn let_go(held: Vec<Arc<Node>>) -> Vec<Node> {
    let mut dead = Vec::new();
    for node in held {
        // The region around it may have no other reference, either.
        let mut next = Some(node);
        while let Some(mut node) = next.and_then(Arc::into_inner) {
            next = node.inner.get_mut().parent.take();
            #[cfg(feature = "testing")]
            node.count_out();
            dead.push(node);
        }
    }
    dead
}

static LOOKS: Looks = Looks::new();

/// Waits until no look is under way. While the guard is kept, no region is held by a snapshot alone.
#[cfg(feature = "testing")]
#[must_use = "looks go on when it is dropped"]
pub(super) fn without_looks() -> impl Sized {
    LOOKS.keep_out()
}
