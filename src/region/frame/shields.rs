//! Shields that a poll of the body did not reach (R12).
//!
//! What polls its futures only when they are woken, such as `FuturesUnordered`, leaves a shield alone in most polls, and
//! the shield holds all the same. A shield that the body has and will not poll again looks just so, and holds no more. To
//! tell them apart, the shields below are woken: one that is polled next in a poll of this body holds. Such a collection
//! also wakes itself after it has polled something: that poll, again, reaches nothing. So what was found to hold is
//! believed for twice as many such polls as before, or it would be woken for ever.

use super::Frame;
use std::task::Context;

/// How many polls one that was woken may take to be polled: `FuturesUnordered` polls no more than two at once that are
/// always ready.
const POLLS: u32 = 16;

/// What a cancelled region knows of the shields below it.
pub(super) struct Asleep {
    /// The polls since they were woken, if they were since the last poll that a shield held.
    woken: u32,
    /// The polls since then that reached none.
    missed: u32,
    /// How many of these it takes to wake them.
    patience: u32,
}

impl Default for Asleep {
    fn default() -> Self {
        Asleep { woken: 0, missed: 0, patience: 1 }
    }
}

impl Frame {
    /// Whether a shield inside may be up that this poll did not reach.
    pub(super) fn shield_is_asleep(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.node().has_links() {
            return false;
        }
        let Asleep { woken, missed, patience } = &mut self.extras().asleep;
        let wakes = *woken == 0 && {
            *missed += 1;
            *missed >= *patience
        };
        *woken += u32::from(wakes || *woken > 0);
        let waits = *woken > 0;
        if *woken > POLLS {
            return false;
        }
        let found = self.node().shields_below(wakes);
        if waits && found.awake {
            // What was woken need not have this polled: it may have a waker of its own.
            cx.waker().wake_by_ref();
        }
        found.awake || (found.asleep && !waits)
    }

    /// A shield held this poll.
    pub(super) fn shield_was_reached(&mut self) {
        if let Some(extras) = self.extras_seen() {
            let Asleep { woken, missed, patience } = &mut extras.asleep;
            if std::mem::take(woken) > 0 {
                *patience = patience.saturating_mul(2);
            }
            *missed = 0;
        }
    }
}
