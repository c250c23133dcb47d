//! Where the crate does not keep to its rules yet, and the book looks away: each to be taken out with its repair.

use super::{Reference, Shield, State};
use crate::model::RegionId;

impl Reference {
    /// R6, R12: whether the body of a cancelled region may be there although no shield holds it.
    pub(super) fn body_may_stay_by_fault(&self, region: RegionId) -> bool {
        // A group's `run` that wakes a shield in a child, after another child took its waker, is not polled again, and drops
        // its body no sooner than it is woken by something else.
        let forgotten = self
            .children(region)
            .iter()
            .any(|child| self.regions[*child].cancelled.is_some() && self.is_held(*child));
        // The grace of a shield inside another one does not begin when that one's is over; and a shield that is being left
        // has none.
        let outlasts = self.inside(region).iter().any(|id| {
            let at = &self.regions[*id];
            let endless = at.state == State::Leaving || self.is_under_a_fallen_shield(at.parent);
            at.shield == Shield::Down && endless
        });
        forgotten || outlasts
    }

    /// R10, R12: what is inside a shield whose grace is over hears of no cancellation around that.
    pub(super) fn is_under_a_fallen_shield(&self, region: RegionId) -> bool {
        let fallen = |id: RegionId| self.regions[id].shield == Shield::Down;
        (0..self.regions.len()).any(|id| fallen(id) && (id == region || self.is_inside(region, id)))
    }
}
