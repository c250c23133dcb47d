//! The consequences of a cancellation: the regions that it reaches, the answers that bodies
//! get, and the shields that hold it up.

use super::{Reference, Region, State};
use crate::model::{Kind, RegionId, Why};
use moored::ReasonKind::{Parent, SiblingFailed};

impl Why {
    /// R10: the reason of a group's children tells whether the group was asked or a part of it
    /// failed.
    fn below(self) -> Why {
        let kind = if self.kind == SiblingFailed { SiblingFailed } else { Parent };
        Why { kind, ..self }
    }
}

impl Reference {
    /// R6, R10, R11, R16: a cancellation happens once for a region that was not left, from any source; the first
    /// reason stays. It reaches a group's children. The body goes when it [may](Reference::may_be_cut).
    pub(super) fn cancel(&mut self, region: RegionId, why: Why) {
        let at = &mut self.regions[region];
        if !at.lives() || at.cancelled.is_some() {
            return;
        }
        at.cancelled = Some(why);
        self.children(region).into_iter().for_each(|child| self.cancel(child, why.below()));
    }

    /// R6, R10, R12: the reason that is visible inside a region, up to a shield: its own reason, or that of the nearest
    /// cancelled region around it.
    pub(super) fn why(&self, region: RegionId) -> Option<Why> {
        let mut at = region;
        loop {
            let Region { cancelled, parent, .. } = self.regions[at];
            if let Some(why) = cancelled {
                return Some(if at == region { why } else { Why { kind: Parent, ..why } });
            }
            if at == 0 || self.regions[at].shields() {
                return None;
            }
            at = parent;
        }
    }

    /// R9: where a region is cancelled, and another one around it up to a shield, the outermost catches: `run` of the inner
    /// one stays pending until it is dropped, unless it has something real to tell (R15). A child ends for its group.
    pub(super) fn is_caught_outside(&self, region: RegionId) -> bool {
        let at = &self.regions[region];
        let nothing_real = at.cut_short && !at.failed && !at.panicked;
        nothing_real && at.kind != Kind::Child && !at.shields() && self.why(at.parent).is_some()
    }

    /// R12: a shield protects the regions inside it. If a shield keeps the body of a cancelled region, the children of
    /// every group inside that region are cancelled, including those that are spawned later. Of several cancellations,
    /// the one that counts is decided when the first child comes, or when a
    /// region inside waits for the region that catches.
    pub(super) fn cancel_beside_shields(&mut self) {
        for group in 0..self.regions.len() {
            let shown = |id: &RegionId| {
                let waits =
                    self.regions[*id].state == State::Leaving && self.is_caught_outside(*id);
                waits || matches!(self.regions[*id].kind, Kind::Child | Kind::Shield | Kind::Brief)
            };
            let found = self.regions[group].found || self.inside(group).iter().any(shown);
            self.regions[group].found = found;
            if !found {
                continue;
            }
            let Some(why) = self.held_around(group) else { continue };
            let at = &mut self.regions[group];
            if at.cancelled.is_none() {
                at.children_cancelled.get_or_insert(why);
            }
            self.children(group).into_iter().for_each(|child| self.cancel(child, why.below()));
        }
    }

    /// Why the nearest region around a group, up to a shield and within the task, is cancelled that keeps its body.
    fn held_around(&self, group: RegionId) -> Option<Why> {
        if !self.regions[group].kind.is_group() || !self.regions[group].lives() {
            return None;
        }
        let mut id = group;
        while id != 0 {
            id = self.regions[id].parent;
            let at = &self.regions[id];
            if let (Some(why), true) = (at.cancelled, at.has_body()) {
                // Else all in it is dropped with its body.
                return self.is_held(id).then_some(Why { kind: Parent, ..why });
            }
            if at.shields() || at.kind == Kind::Child {
                return None;
            }
        }
        None
    }

    /// R17: a failure in a group cancels it, unless the group keeps going. A panic always does.
    pub(super) fn fails(&mut self, group: RegionId, by: RegionId, panicked: bool) {
        if self.regions[group].kind == Kind::KeepsGoing && !panicked {
            return;
        }
        let by = Some(self.regions[by].task);
        self.cancel(group, Why { kind: SiblingFailed, request: None, by });
    }

    /// R16: a child that comes late is polled once.
    pub(super) fn spawned(&mut self, child: RegionId) {
        let group = &self.regions[self.regions[child].parent];
        if let Some(why) = group.children_cancelled.or(group.cancelled) {
            self.cancel(child, why.below());
        }
    }

    /// R6: the body of a cancelled region is dropped where it is parked. R12: not while a shield inside it holds.
    pub(super) fn may_be_cut(&self, region: RegionId) -> bool {
        let at = &self.regions[region];
        at.cancelled.is_some() && at.has_body() && !self.is_held(region)
    }

    pub(super) fn is_held(&self, region: RegionId) -> bool {
        self.inside_body(region).iter().any(|id| self.regions[*id].shields())
    }

    /// The body is ended by a cancellation and not by its own end.
    pub(super) fn cut(&mut self, region: RegionId) {
        self.regions[region].cut_short = true;
        self.end_body(region);
    }
}
