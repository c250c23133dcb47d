//! A stack without a node: its exits run without one too, as long as they end at once.
//!
//! # Invariants
//!
//! 1. Other tasks compare themselves with the owner in the stack's cell, or with the stamp, and never make its node. A stack
//!    whose first use is no run gets its node there and then; the stamp decides which of two first uses comes first (R2).
//! 2. A stack with a name, a grace or a cap has its node from the start, so an exit without a node has no time.

use super::LoneRef;
use crate::reason::Leaving;
use crate::region::ambient::Light;
use crate::region::draft::{Draft, OfStack};
use crate::region::exit;
use crate::region::frame;
use crate::region::frame::{Ended, Frame, Progress, Quick};
use crate::region::own_exits::OwnExits;
use crate::region::run::{NodeSource, Parts};
use crate::region::tally::Tally;
use crate::sync::Arc;
use std::task::Context;

/// The draft of a stack, and its exits.
impl NodeSource for (&Draft<OfStack>, &OwnExits) {
    #[inline]
    fn parts(&self) -> Parts<'_> {
        Parts::Stack(self.0, self.1)
    }
}

impl LoneRef<'_> {
    /// The body of a stack has ended: runs its exits as long as they end at once, as most do, and leaves. The first one that
    /// does not gives the stack its node; so does a failure, which has to be sent on.
    #[inline(never)]
    pub(super) fn run_exits(
        &mut self,
        frame: &mut Frame,
        light: Light,
        why: Leaving,
        cx: &mut Context<'_>,
    ) -> Quick {
        let mut tally = Tally::default();
        let mut take = self.parts.exits().map(|exits| exits.take_each(None));
        // The exits have no time (invariant 2).
        let ran = exit::run_light(&light, || take.as_mut()?(), &why, cx, &mut tally);
        if tally.is_empty() && matches!(ran, Some((None, None))) && self.close() {
            self.end();
            frame::end(frame);
            return Quick::Left;
        }
        let (parked, node) = ran.unwrap_or_default();
        self.give_node(frame, light, node);
        frame.progress = Progress::Ended(Ended::Value);
        let home = Some(Arc::clone(frame.node()));
        let running = parked.and_then(|parked| parked.running(home, &why, cx, &mut tally));
        frame::go_on_with(frame, running, why, tally, cx)
    }

    /// Leaves the region, which has no node, unless it has exits. From now on the stamp tells other tasks so (invariant 1).
    pub(super) fn close(&self) -> bool {
        match self.parts {
            Parts::Stack(draft, exits) => exits.close_light(|| draft.stamp.leave()),
            _ => true,
        }
    }
}
