//! The register of open regions (feature `inspect`).

use super::observe::Phase;
use super::{CANCELLED, Kind, Node, STOP};
use crate::identity::TaskId;
use crate::sync::{Arc, Register, Weak, next_number};
use std::panic::Location;
use std::time::Instant;

static OPEN: Register<Weak<Node>> = Register::new();
static ENDED: Register<Span> = Register::new();

/// What a node keeps for those who look on.
#[derive(Default)]
pub(super) struct Entry {
    key: Option<usize>,
    /// In the order of entering.
    number: u64,
    entered: Option<Instant>,
    phase: Option<(Phase, Instant)>,
}

/// An open region, as it is found.
pub(crate) struct Found {
    pub(crate) node: Arc<Node>,
    pub(crate) number: u64,
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
    pub(crate) parent: Option<Arc<Node>>,
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

/// For a node that is dropped without having been left: one whose `run` was leaked.
pub(super) fn forget(entry: &mut Entry) {
    if let Some(key) = entry.key.take() {
        drop(OPEN.remove(key));
    }
}

static RECORDING: crate::sync::Switch = crate::sync::Switch::new();

/// Starts keeping what is left from now on, or stops and returns what was kept.
pub(crate) fn record(on: bool) -> Vec<Span> {
    RECORDING.set(on);
    ENDED.take()
}

pub(crate) fn found() -> Vec<Found> {
    let nodes: Vec<_> = OPEN.all().iter().filter_map(Weak::upgrade).collect();
    nodes.into_iter().filter_map(look).collect()
}

fn look(node: Arc<Node>) -> Option<Found> {
    let owner = node.owner_id();
    let parent = node.live_parent();
    let inner = node.inner.lock();
    let rest = inner.rest_seen()?;
    let (entered, (phase, since)) = (rest.entry.entered?, rest.entry.phase?);
    let found = Found {
        number: rest.entry.number,
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
        parent,
        node: Arc::clone(&node),
    };
    drop(inner);
    Some(found)
}
