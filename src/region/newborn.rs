//! A child that has no node: it has its identity from its spawn, and everything else when something needs it.
//!
//! Unlike a [draft](super::Draft), it knows its parent, may be pending as it is once its handle is gone, and nobody else
//! makes its node: who asks for something from outside leaves word in the child's slot, and the child finds it when it has
//! its node. Of what its group is told it hears from the group's `run`, which polls it.

use super::draft::Light;
use super::{BELOW, CANCELLED, Kind, LEFT, Node, STOP, ambient};
use crate::identity::TaskId;
use crate::reason::{Reason, ReasonKind};
use crate::sync::{Arc, next_number};
use std::panic::Location;

pub(crate) struct Newborn {
    task: u64,
    #[cfg(feature = "testing")]
    census: super::census::Handover,
}

impl Newborn {
    pub(crate) fn new() -> Self {
        Newborn {
            task: next_number(),
            #[cfg(feature = "testing")]
            census: super::census::Handover::new(),
        }
    }

    /// As which it is found while it is polled without a node.
    pub(crate) fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Its task's number, which is larger in a child that is spawned later.
    pub(crate) fn task(&self) -> u64 {
        self.task
    }

    pub(crate) fn task_id(&self) -> TaskId {
        TaskId::moored(self.task, None)
    }

    /// Who looks on wants to see every region from its beginning.
    pub(crate) const WATCHED: bool = cfg!(any(feature = "inspect", feature = "tracing"));

    /// A poll of it without a node inside `parent`, where that has not been told what a child hears when it comes. A
    /// cancellation farther out it finds as any region does. `posted` tells whether it is not current here, but made so.
    pub(crate) fn light(
        &self,
        parent: &Arc<Node>,
        at: &'static Location<'static>,
        posted: bool,
    ) -> Option<Light> {
        let told = parent.has(CANCELLED | STOP | BELOW | LEFT);
        if Newborn::WATCHED || told || !(posted || ambient::is_innermost(parent)) {
            return None;
        }
        Some(Light {
            id: self.id(),
            kind: Kind::Child,
            at,
            task: self.task,
            root: Some(0),
            deadline: None,
        })
    }

    /// Its node, which hears what was told to `parent` before; or what it was `asked` itself, if that came first (R10).
    pub(crate) fn node(
        &self,
        parent: &Arc<Node>,
        at: &'static Location<'static>,
        asked: Option<(Reason, u64)>,
        posted: bool,
    ) -> Arc<Node> {
        self.give_up_census();
        let asked = asked.filter(|(_, number)| parent.told_at().is_none_or(|told| *number < told));
        let asked = asked.map(|(reason, _)| reason);
        Node::child(parent, self.task, at, asked, posted)
    }

    /// Cancels `node`, which was made while it was polled, for what it was `asked` before that, and when. That counts before
    /// what its group was told later, though the node may have heard that first (R10).
    pub(crate) fn ask(node: &Node, (reason, number): (Reason, u64)) {
        let told = node.parent().and_then(|group| group.told_at());
        let overruled = if told.is_some_and(|told| number < told) {
            let mut inner = node.inner.lock();
            let heard = inner.more.as_mut().and_then(|more| more.reason.as_mut());
            heard
                .filter(|heard| heard.kind() != ReasonKind::Requested)
                .map(|heard| std::mem::replace(heard, reason.clone()))
        } else {
            None
        };
        drop(overruled);
        // Unless it has heard of anything.
        node.cancel(reason);
    }

    /// `node` was made while it was polled.
    pub(crate) fn has_node(&self, node: &Node) {
        self.give_up_census();
        #[cfg(feature = "testing")]
        node.count_as_node();
        let _ = node;
    }

    fn give_up_census(&self) {
        #[cfg(feature = "testing")]
        self.census.give_up();
    }
}
