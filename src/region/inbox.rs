//! A region's exits, and what other regions send it: exits to adopt, failures to record (R8, R14, R15).

use super::{ATTENDED, Batch, Exit, INBOX, Kind, LEFT, Node, REWAKE, Wave};
use crate::failure::ExitFailure;
use crate::reason::Leaving;
use crate::report::{Report, report};
use crate::sync::Arc;
use crate::wakers::wake_all;

impl Node {
    /// Registers an exit, or hands it back where the region was left.
    pub(crate) fn push_exit(&self, exit: Exit) -> Result<(), Exit> {
        let mut inner = self.inner.lock();
        if self.has(LEFT) {
            return Err(exit);
        }
        inner.exits.push(exit);
        Ok(())
    }

    /// A wave of one exit of this region.
    pub(crate) fn wave_of(self: &Arc<Self>, exit: Exit, why: Leaving) -> Wave {
        let number = self.inner.lock().number;
        let mut wave = Wave::new(self.owner().task);
        wave.add_batch(Batch { number, why, home: Arc::clone(self), exits: vec![exit] });
        wave
    }

    pub(crate) fn exits(&self) -> usize {
        self.inner.lock().exits.len()
    }

    pub(super) fn pop_exit(&self) -> Option<Exit> {
        self.inner.lock().exits.pop()
    }

    /// The run's side of the inbox: what was handed over, and the failures that were sent here.
    pub(super) fn take_inbox(&self) -> (Vec<Wave>, Vec<ExitFailure>) {
        let mut inner = self.inner.lock();
        self.lower(INBOX);
        (std::mem::take(&mut inner.adopted), std::mem::take(&mut inner.records))
    }

    /// Gives `wave` to the nearest live region around this one, or reports its exits lost (R8).
    pub(crate) fn hand_over(&self, mut wave: Wave) {
        if wave.is_empty() {
            return;
        }
        let mut at = self.parent();
        while let Some(node) = at {
            match node.adopt(wave) {
                Ok(()) => return,
                Err(back) => wave = back,
            }
            at = node.parent();
        }
        report(&Report::LostExits { region: self.describe(), registered_at: wave.places() });
        // Dropping them is user code; they are reported, and a panic must not hide that.
        drop(crate::unwind::catch(|| drop(wave)));
    }

    /// As [`hand_over`](Node::hand_over), beginning with this region itself.
    pub(crate) fn hand_in(&self, wave: Wave) {
        if let Err(wave) = self.adopt(wave) {
            self.hand_over(wave);
        }
    }

    pub(super) fn adopt(&self, wave: Wave) -> Result<(), Wave> {
        let waker = {
            let mut inner = self.inner.lock();
            if self.has(LEFT) || !self.has(ATTENDED) {
                return Err(wave);
            }
            inner.adopted.push(wave);
            self.raise(INBOX | REWAKE);
            inner.waker.take()
        };
        wake_all(waker);
        Ok(())
    }

    /// Sends failures without a record of their own to the nearest record outwards, else to the hook
    /// (R15).
    pub(crate) fn send_failures(&self, failures: Vec<ExitFailure>) {
        if failures.is_empty() {
            return;
        }
        let mut at = self.parent();
        while let Some(node) = at {
            if matches!(node.kind, Kind::Stack | Kind::Group) {
                let mut inner = node.inner.lock();
                if !node.has(LEFT) && node.has(ATTENDED) {
                    inner.records.extend(failures);
                    node.raise(INBOX);
                    return;
                }
            }
            at = node.parent();
        }
        let region = self.describe();
        for failure in failures {
            report(&Report::Unrecorded { region: region.clone(), failure });
        }
    }
}
