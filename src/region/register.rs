//! The register of open regions (feature `inspect`).
//!
//! # Invariants
//!
//! 1. A region is listed from its entry until it is left. After a drop of its `run`, a group is listed until its last child
//!    has left.
//! 2. An entry is dropped outside the lock of its node, because the drop takes the lock of the register.
//! 3. A scan drops no region: a reference that turns out to be the last is dropped after the scan (R18).

pub(super) mod listed;
mod scan;
pub(super) mod scans;
mod shown;

pub(crate) use scan::{Found, FoundExit, found};
pub(super) use shown::{comes_before, count_begun, note_due, show_exit};

use super::flags::LEFT;
use super::kind::Kind;
use super::node::Node;
use super::owner;
use super::phase::Phase;
use crate::identity::TaskId;
use crate::sync::{Arc, Global, Weak, next_number};
use listed::{Entry, Listed};
use slab::Slab;
use std::panic::Location;
use std::time::Instant;

static OPEN: Global<Slab<Weak<Node>>> = Global::new(Slab::new());
/// The regions and exits that have ended since the recording began; `None` if there is no recording.
static ENDED: Global<Option<Vec<Interval>>> = Global::new(None);

/// A region or an exit, for a timeline.
pub(crate) struct Interval {
    pub(crate) label: String,
    pub(crate) owner: Option<TaskId>,
    pub(crate) at: Option<&'static Location<'static>>,
    pub(crate) began: Instant,
    /// `None` while it is open.
    pub(crate) ended: Option<Instant>,
}

pub(super) fn enter(node: &Arc<Node>) {
    let listed = Listed::new(OPEN.write().insert(Arc::downgrade(node)), forget);
    let group = node.parent().filter(|_| node.kind == Kind::Child);
    let group = group.and_then(|group| number_of(&group));
    let now = Instant::now();
    let entry = Entry {
        listed: Some(listed),
        number: next_number(),
        group,
        entered: Some(now),
        phase: Some((Phase::Body, now)),
        ..Entry::default()
    };
    let former = std::mem::replace(&mut node.inner.lock().rest().entry, entry);
    drop(former);
}

fn forget(key: usize) {
    let node = OPEN.write().remove(key);
    drop(node);
}

/// The number of a region that is in the register.
fn number_of(node: &Node) -> Option<u64> {
    let inner = node.inner.lock();
    inner.rest_seen().filter(|rest| rest.entry.listed.is_some()).map(|rest| rest.entry.number)
}

pub(super) fn note(node: &Node, phase: Phase) {
    let mut inner = node.inner.lock();
    let entry = &mut inner.rest().entry;
    if entry.phase.is_none_or(|(old, _)| old != phase) {
        entry.phase = Some((phase, Instant::now()));
    }
}

pub(super) fn count_exits(node: &Node, exits: usize) {
    node.inner.lock().rest().entry.exits = exits;
}

/// The number of exits of the region that have not begun.
fn exits_of(node: &Node) -> usize {
    node.inner.lock().rest_seen().map_or(0, |rest| rest.entry.exits)
}

pub(super) fn leave(node: &Node) {
    let entry = {
        let mut inner = node.inner.lock();
        let entry = &mut inner.rest().entry;
        if entry.kept {
            return;
        }
        std::mem::take(entry)
    };
    remove(node, entry);
}

/// To be called outside the lock of the node (invariant 2).
fn remove(node: &Node, entry: Entry) {
    drop(entry.listed);
    if let (true, Some(began)) = (is_recording(), entry.entered) {
        keep_interval(Interval {
            label: owner::describe(node),
            owner: owner::id(node),
            at: node.entered_at(),
            began,
            ended: Some(Instant::now()),
        });
    }
}

/// Keeps a group in the register after it is left, because children have not left (invariant 1).
pub(super) fn keep(node: &Node) {
    let mut inner = node.inner.lock();
    let entry = &mut inner.rest().entry;
    if entry.listed.is_some() {
        entry.kept = true;
        entry.phase = Some((Phase::Children, Instant::now()));
    }
}

pub(super) fn let_go_of_group(node: &Node) {
    let entry = {
        let mut inner = node.inner.lock();
        let entry = &mut inner.rest().entry;
        entry.kept = false;
        // Otherwise its own leaving removes it.
        if node.has(LEFT) { std::mem::take(entry) } else { return }
    };
    remove(node, entry);
}

/// Starts to keep the regions and exits that end from now on; or stops, and returns those that were kept.
pub(crate) fn record(on: bool) -> Vec<Interval> {
    let ended = std::mem::replace(&mut *ENDED.write(), on.then(Vec::new));
    ended.unwrap_or_default()
}

fn is_recording() -> bool {
    ENDED.read().is_some()
}

fn keep_interval(interval: Interval) {
    if let Some(ended) = &mut *ENDED.write() {
        ended.push(interval);
    }
}
