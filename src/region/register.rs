//! The register of open regions (feature `inspect`).

mod look;
mod shown;

#[cfg(feature = "testing")]
pub(super) use look::without_looks;
pub(crate) use look::{Found, FoundExit, found};
pub(super) use shown::OnShow;
pub(super) use shown::{count_begun, show_exit};

use super::flags::LEFT;
use super::kind::Kind;
use super::node::Node;
use super::observe::Phase;
use super::owner;
use crate::identity::TaskId;
use crate::sync::{Arc, Register, Switch, Weak, next_number};
use std::panic::Location;
use std::time::Instant;

static OPEN: Register<Weak<Node>> = Register::new();
static ENDED: Register<Interval> = Register::new();
static RECORDING: Switch = Switch::new();

/// The state that a node keeps for `inspect`.
#[derive(Default)]
pub(super) struct Entry {
    key: Option<usize>,
    /// Numbers are in the order of entering.
    number: u64,
    /// Of a child: the number of its group.
    group: Option<u64>,
    entered: Option<Instant>,
    phase: Option<(Phase, Instant)>,
    /// The number of its exits that have begun.
    begun: usize,
    /// Of a group: whether it stays in the register after its run was dropped, because children have not left.
    kept: bool,
}

/// A region or an exit that has ended, for a timeline.
#[derive(Clone)]
pub(crate) struct Interval {
    pub(crate) what: String,
    pub(crate) owner: Option<TaskId>,
    pub(crate) at: Option<&'static Location<'static>>,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
}

pub(super) fn enter(node: &Arc<Node>) {
    let key = OPEN.insert(Arc::downgrade(node));
    let group = node.parent().filter(|_| node.kind() == Kind::Child);
    let group = group.and_then(|group| number_of(&group));
    let mut inner = node.inner.lock();
    let now = Instant::now();
    inner.rest().entry = Entry {
        key: Some(key),
        number: next_number(),
        group,
        entered: Some(now),
        phase: Some((Phase::Body, now)),
        ..Entry::default()
    };
}

/// The number of a region that is in the register.
fn number_of(node: &Node) -> Option<u64> {
    let inner = node.inner.lock();
    inner.rest_seen().filter(|rest| rest.entry.key.is_some()).map(|rest| rest.entry.number)
}

pub(super) fn note(node: &Node, phase: Phase) {
    let mut inner = node.inner.lock();
    let entry = &mut inner.rest().entry;
    if entry.phase.is_none_or(|(old, _)| old != phase) {
        entry.phase = Some((phase, Instant::now()));
    }
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

fn remove(node: &Node, entry: Entry) {
    if let Some(key) = entry.key {
        drop(OPEN.remove(key));
    }
    if let (true, Some(began)) = (RECORDING.is_set(), entry.entered) {
        ENDED.insert(Interval {
            what: owner::describe(node),
            owner: owner::id(node),
            at: node.entered_at(),
            began,
            ended: Instant::now(),
        });
    }
}

/// Keeps a group in the register after it is left, because children have not left.
pub(super) fn keep(node: &Node) {
    let mut inner = node.inner.lock();
    let entry = &mut inner.rest().entry;
    if entry.key.is_some() {
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

/// For a node that is dropped without having been left, because its `run` was leaked.
pub(super) fn forget(entry: &mut Entry) {
    if let Some(key) = entry.key.take() {
        drop(OPEN.remove(key));
    }
}

/// Starts to keep the regions and exits that end from now on; or stops, and returns those that were kept.
pub(crate) fn record(on: bool) -> Vec<Interval> {
    RECORDING.set(on);
    ENDED.take()
}
